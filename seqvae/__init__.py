"""Sequence VAEs for music and text.

    import seqvae

    vae = seqvae.load()
    for step in vae.interpolate("a.mid", "b.mid", steps=7):
        print(step)

torch is imported by the first call that needs it.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from seqvae.trained import TrainedModel

__version__ = "0.1.0"


def load(model: str | Path | None = None, device: str = "auto") -> "TrainedModel":
    """Load a model by bundled name, run folder or model file; without a name, the bundled melody model.

    Raises:
        seqvae.errors.ModelError: there is none, or it is damaged.
        seqvae.errors.OptionError: the device is not there.
    """
    from seqvae.trained import load as load_model

    return load_model(model, device)
