"""What callers give to a trained model, checked and brought to one form: latents, tempos and seeds."""

import operator
from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch
from torch import Tensor

from seqvae.config import MOST_RESULTS, MOST_SEED
from seqvae.errors import ModelError, OptionError
from seqvae.latent_file import FASTEST, SLOWEST, Latents, possible_tempos


def number(option: str, value: int, least: int) -> int:
    """How many there are to be. Raises OptionError for fewer than `least`, or for more than memory holds."""
    value = _whole(option, value)
    if not least <= value <= MOST_RESULTS:
        raise OptionError(f"{option} {value}: must be between {least} and {MOST_RESULTS:,}")
    return value


def _whole(option: str, value: int) -> int:
    try:
        return int(operator.index(value))
    except TypeError:
        raise TypeError(f"{option} {value!r}: a whole number is needed, not a {type(value).__name__}") from None


def latents(z: np.ndarray | Tensor | Latents, size: int, model: str) -> Tensor:
    """Latents (N, Z) or (Z), or the means of what `encode` gave, as (N, Z) fp32.

    Raises ModelError for another shape, or numbers that are not finite.
    """
    if z is None or isinstance(z, str | PathLike):
        raise TypeError(
            f"{z!r} is not what is decoded: give latents (N, {size}), what encode gave, or Latents.load of a file"
        )
    z = z.mean if isinstance(z, Latents) else z
    if z.is_complex() if isinstance(z, Tensor) else np.iscomplexobj(z):
        raise TypeError("latents are real numbers, and these are complex")
    z = z if isinstance(z, Tensor) else torch.from_numpy(np.ascontiguousarray(z, np.float32))
    z = z.detach().float()
    z = z.unsqueeze(0) if z.ndim == 1 else z
    if z.ndim != 2 or z.shape[1] != size:
        given = "x".join(map(str, z.shape))
        raise ModelError(f"latents of shape {given} do not fit model '{model}', whose latent size is {size}")
    if not z.isfinite().all():
        raise ModelError("latents must be finite: there are NaN or infinite numbers among them")
    return z


def tempos(tempo: float | Sequence[float], rows: int) -> list[float]:
    """A tempo for each row, of one for all or of as many. Raises OptionError for what a MIDI file cannot hold."""
    try:
        found = np.asarray(tempo, np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if isinstance(tempo, str) or found.shape not in ((), (rows,)):
        raise OptionError(f"tempo: must be a number, or as many as there are rows, {rows}")
    found = np.broadcast_to(found, rows)
    for wrong in found[~possible_tempos(found)]:
        raise OptionError(f"tempo {wrong:g}: must be from {SLOWEST:.2f} to {FASTEST:,.0f} quarters a minute")
    return found.tolist()


def seed(number: int | None) -> int:
    """A seed, or a new one for None. Raises OptionError for one that is out of range."""
    if number is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    number = _whole("--seed", number)
    if not 0 <= number <= MOST_SEED:
        raise OptionError(f"--seed {number}: must be between 0 and {MOST_SEED:,}")
    return number
