"""Which model file is meant: by the name of a bundled model, by a run folder, or by a path."""

import os
from pathlib import Path
from shlex import quote

from seqvae.errors import ModelError
from seqvae.run_folder import MODEL_FILE, STATE_FILE

BUNDLED = "melody-2bar"  # what no name means

_MODELS = Path(__file__).parent / "models"


def bundled_names() -> list[str]:
    """Names of the models that come with seqvae."""
    return sorted(path.stem for path in _MODELS.glob("*.safetensors"))


def model_name(path: Path) -> str:
    """What a model is called: its run folder, or its file without the suffix."""
    path = Path(os.path.abspath(path))
    return path.parent.name if path.name == MODEL_FILE else path.stem


def find_model(model: str | Path | None = None) -> Path:
    """The model file meant by a bundled name, a run folder or a path; None is the bundled melody model.

    Raises:
        ModelError: there is none.
    """
    name = str(model) if model is not None else BUNDLED
    if name in bundled_names():
        return _MODELS / f"{name}.safetensors"
    path = Path(name)
    if name and path.is_dir():
        if not (path / MODEL_FILE).is_file():
            if (path / STATE_FILE).is_file():
                raise ModelError(f"{path} has no model yet: go on with seqvae train --resume --out {quote(str(path))}")
            raise ModelError(f"{path} has no {MODEL_FILE}: it is no run folder of seqvae train")
        return path / MODEL_FILE
    if not path.is_file():
        raise ModelError(f"no model '{name}': give a model file, a run folder or one of {', '.join(bundled_names())}")
    return path
