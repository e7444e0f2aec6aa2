"""What `encode` gives: posteriors with where they come from, in memory and as a `.npz` without pickle."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seqvae.config import MUSIC, TEXT
from seqvae.errors import ModelError
from seqvae.writing import write_atomically

SLOWEST, FASTEST = 6e7 / (2**24 - 1), 6e7  # quarters a minute: a MIDI file has 24 bits for the microseconds of one
PLACE = {MUSIC: "bar", TEXT: "line"}  # what a place in a file is called


@dataclass(frozen=True)
class Latents:
    """N posteriors. It is N long, and unpacks as `mean, scale`."""

    mean: np.ndarray  # (N, Z)
    scale: np.ndarray  # (N, Z)
    source: list[str]  # file of each, or the sentence itself
    place: list[int]  # where in the file it begins: the bar or the line, the first one being 1
    tempo: list[float] | None  # of music, quarters per minute; None where it is not known
    model: str  # name of the model that made them
    kind: str = MUSIC  # what they are latents of: "music" or "text"
    remarks: list[str] = field(default_factory=list)  # what a user should be told of a source; not saved

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter((self.mean, self.scale))

    def __len__(self) -> int:
        return len(self.mean)

    def save(self, path: Path | str) -> None:
        """Write a .npz file: mean, scale (N, Z), source, bar and tempo, or line (N), and model."""
        arrays: dict[str, Any] = {
            "mean": self.mean,
            "scale": self.scale,
            "source": np.array(self.source, dtype=np.str_),
            PLACE[self.kind]: np.array(self.place, dtype=np.int64),
            "model": np.array(self.model),
        }
        if self.tempo is not None:
            arrays["tempo"] = np.array(self.tempo, dtype=np.float64)

        def write(to: Path) -> None:
            with open(to, "wb") as file:  # given a name, numpy would add a suffix
                np.savez_compressed(file, **arrays)

        write_atomically(Path(path), write)

    @classmethod
    def load(cls, path: Path | str) -> "Latents":
        """Read what `save` wrote, or any .npz with an array `mean` (N, Z); what else is missing gets a neutral value.

        Raises:
            ModelError: the file is missing, no .npz, needs pickle, or has no latents in it.
        """
        path = Path(path)
        if not path.is_file():
            raise ModelError(f"{path}: no such latents file")
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                found = dict(arrays)
            return cls._of(found, path)
        except ModelError:
            raise
        except Exception:  # numpy and zipfile raise many kinds for a damaged file
            raise ModelError(f"{path} is no latents file: expected a .npz made by seqvae encode") from None

    @classmethod
    def _of(cls, found: dict[str, np.ndarray], path: Path) -> "Latents":
        mean = found.get("mean")
        if mean is None or mean.ndim != 2 or not _real(mean) or not len(mean):
            raise ModelError(f"{path} has no latents in it: expected an array 'mean' of shape (N, Z), of numbers")
        mean = _single(mean)
        if not np.isfinite(mean).all():
            raise ModelError(f"{path}: 'mean' has values that are not finite")
        N = len(mean)
        kind = TEXT if PLACE[TEXT] in found else MUSIC
        for name in ("source", PLACE[kind], "tempo"):
            if name in found and found[name].shape != (N,):
                raise ModelError(f"{path}: '{name}' has the shape {found[name].shape}, for 'mean' it must be ({N},)")
        scale = found.get("scale", np.zeros_like(mean))
        if scale.shape != mean.shape or not _real(scale) or not _possible_scales(scale := _single(scale)):
            raise ModelError(
                f"{path}: 'scale' must have the shape of 'mean', {mean.shape}, of finite values that are 0 or more"
            )
        place = found.get(PLACE[kind], np.ones(N))
        if not _real(place) or not _countable(place.astype(np.float64)):
            raise ModelError(f"{path}: '{PLACE[kind]}' must hold whole numbers from 1")
        if "tempo" in found and not possible_tempos(found["tempo"]).all():
            raise ModelError(
                f"{path}: 'tempo' has values that no MIDI file can hold, not from {SLOWEST:.2f} to {FASTEST:,.0f}"
            )
        return cls(
            mean,
            scale=scale,
            source=[str(name) for name in found.get("source", np.array([path.stem] * N))],
            place=[int(each) for each in place],
            tempo=[float(tempo) for tempo in found["tempo"]] if "tempo" in found else None,
            model=str(model.flat[0]) if (model := found.get("model", np.array(""))).size == 1 else "",
            kind=kind,
        )


def _real(array: np.ndarray) -> bool:
    return array.dtype.kind in "iuf"


def _single(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
        return array.astype(np.float32)


def _countable(place: np.ndarray) -> bool:
    return bool(((place >= 1) & (place < 2**31) & (np.floor(place) == place)).all())


def _possible_scales(scale: np.ndarray) -> bool:
    return bool((np.isfinite(scale) & (scale >= 0)).all())


def possible_tempos(tempo: np.ndarray) -> np.ndarray:
    """Which of these a MIDI file can hold."""
    return (tempo >= SLOWEST) & (tempo <= FASTEST) if _real(tempo) else np.array(False)
