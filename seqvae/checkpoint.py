"""Model files and training states.

A model file is one `.safetensors`: the weights, and in its header, as JSON, everything needed to use them
(configuration, tokenizer, version, metrics) and where they come from. A training state is written by `torch.save` and
read with `weights_only=True`: no pickle from a file is ever executed.
"""

import json
import zipfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from seqvae.config import TOKENIZERS, Config
from seqvae.errors import ModelError, OptionError
from seqvae.model_files import model_name
from seqvae.vae import SequenceVAE
from seqvae.writing import write_atomically

FORMAT = 1  # of the header; raised when an older reader would misread a file
STATE_FORMAT = 4  # of training states; raised when a run cannot go on with an older one
HEADER = "seqvae"
MOST_TOLD = 200  # characters of what torch says of weights that do not fit


@dataclass(frozen=True)
class Origin:
    """Where weights come from."""

    seqvae: str  # versions
    torch: str
    device: str
    precision: str
    sequences: int  # that they were trained on
    dataset: str  # the contents, as a hash, of what these are part of


@dataclass(frozen=True)
class ModelFile:
    """What a model file says, its weights loaded."""

    model: SequenceVAE
    config: Config
    tokenizer: dict[str, Any]
    metrics: dict[str, float]
    origin: Origin | None = None


def save_model(
    path: Path,
    model: SequenceVAE,
    config: Config,
    tokenizer: dict[str, Any],
    metrics: dict[str, float],
    origin: Origin | None = None,
    half: bool = False,
) -> None:
    """Write a model file; `half` stores the weights in 16 bits."""
    # places on one machine mean nothing elsewhere
    start = config.start_from and model_name(Path(config.start_from))
    config = replace(config, start_from=start, data=replace(config.data, dataset=None, tokenizer_file=None))
    header = {"format": FORMAT, "config": config.to_dict(), "tokenizer": tokenizer, "metrics": metrics}
    if origin is not None:
        header["origin"] = asdict(origin)
    dtype = torch.float16 if half else torch.float32
    weights = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    content = save(weights, metadata={HEADER: json.dumps(header)})  # save_file would make it unreadable to others
    write_atomically(path, lambda to: to.write_bytes(content))


def load_model(path: Path) -> ModelFile:
    """Read a model file on the CPU, in fp32.

    Raises ModelError when it is missing, no model, damaged, or from a later version of seqvae.
    """
    header = read_header(path)
    config = _settings(header, path)
    try:
        with torch.device("meta"):  # first weights, orthogonal ones too, would take seconds and be thrown away
            model = SequenceVAE(config.model)
        with torch.device("cpu"), safe_open(path, framework="pt") as file:  # safetensors 0.4 takes the default one
            names = file.keys()  # copied: the file may be replaced while the model is in use
            weights = {name: file.get_tensor(name).to(torch.float32, copy=True) for name in names}
        model.load_state_dict(weights, assign=True)
        if wrong := next((name for name, weight in weights.items() if not weight.isfinite().all()), None):
            raise ValueError(f"{wrong} has numbers that are not finite")
        origin = Origin(**header["origin"]) if "origin" in header else None
        if origin is not None and not isinstance(origin.sequences, int):
            raise ValueError(f"trained on {origin.sequences!r} sequences")
        return ModelFile(model.float().eval(), config, header["tokenizer"], header["metrics"], origin)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise _damaged(path, error) from None


def read_settings(path: Path) -> Config:
    """The settings that a model was made with, without its weights. Raises ModelError as `load_model` does."""
    return _settings(read_header(path), path)


def _settings(header: dict[str, Any], path: Path) -> Config:
    try:
        config = Config.from_dict(header["config"])
    except OptionError as error:
        raise _damaged(path, error) from None
    if config.data.tokenizer not in TOKENIZERS:
        raise _damaged(path, f"no tokenizer is called {config.data.tokenizer}")
    return config


def _damaged(path: Path, reason: Exception | str) -> ModelError:
    return ModelError(f"{path} is a damaged seqvae model ({_short(reason)})")


def no_state(path: Path, reason: Exception | str) -> ModelError:
    """What to raise for a training state that cannot be gone on from."""
    return ModelError(f"{path} is damaged and cannot be resumed ({_short(reason)})")


def _short(reason: Exception | str) -> str:
    """On one line, of no more than it takes to understand."""
    told = " ".join(str(reason).split()) or type(reason).__name__
    return told if len(told) <= MOST_TOLD else f"{told[:MOST_TOLD]}..."


def read_header(path: Path) -> dict[str, Any]:
    """The header of a model file, without its weights. Raises ModelError as `load_model` does."""
    if not path.is_file():
        raise ModelError(f"{path}: no such model file")
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        header = json.loads(metadata[HEADER])
    except KeyError:
        raise ModelError(f"{path} is a safetensors file, but no seqvae model") from None
    except (SafetensorError, OSError, ValueError, RecursionError):
        raise ModelError(f"{path} is no seqvae model: expected a .safetensors file made by seqvae train") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is none")
    if not isinstance(header.get("format"), int):
        raise _damaged(path, "its header has no format")
    if header["format"] != FORMAT:
        raise ModelError(f"{path} has format {header['format']}, this seqvae reads {FORMAT}: update seqvae")
    for part in ("config", "tokenizer", "metrics"):
        if not isinstance(header.get(part), dict):
            raise _damaged(path, f"its header has no {part}")
    if not all(isinstance(value, int | float) for value in header["metrics"].values()):
        raise _damaged(path, "metrics that are no numbers")
    return header


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state: nested dictionaries of tensors, numbers and strings."""

    def write(to: Path) -> None:
        with to.open("wb") as file:
            try:
                torch.save({"format": STATE_FORMAT} | state, file)
            except RuntimeError as error:  # torch closes what it could not write, and complains of that
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None

    write_atomically(path, write)


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state. Raises ModelError when it is missing, damaged or of another version of seqvae."""
    if not path.is_file():
        raise ModelError(f"{path}: no training state to resume from; begin again without --resume")
    try:
        with zipfile.ZipFile(path) as parts:
            if wrong := parts.testzip():  # torch does not look at checksums
                raise ValueError(f"its part {wrong} has changed")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise no_state(path, error) from None
    if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
        raise ModelError(f"{path} was written by another version of seqvae; begin again with --force")
    return state
