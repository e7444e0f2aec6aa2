"""Sequence VAEs for music and text.

    import seqvae

    vae = seqvae.load()
    for number, score in enumerate(vae.interpolate("a.mid", "b.mid", steps=7)):
        score.write_midi(f"step-{number}.mid")

`load` and `TrainedModel` are fetched when first asked for, so that `import seqvae` is quick: torch comes with them.
Their types stand in __init__.pyi.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["TrainedModel", "__version__", "load"]


def __getattr__(name: str) -> Any:
    if name in ("TrainedModel", "load"):
        return getattr(import_module("seqvae.trained"), name)
    raise AttributeError(f"module 'seqvae' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
