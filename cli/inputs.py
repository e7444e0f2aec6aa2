"""Commands that take many files: one bad file among them is told and left out, it does not stop the rest."""

from collections.abc import Callable, Sequence
from itertools import chain, count
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from cli.console import note
from data_prep.errors import InputError
from data_prep.files import Source, named_sources
from seqvae.errors import OptionError

if TYPE_CHECKING:
    from seqvae.latent_file import Latents
    from seqvae.trained import TrainedModel

MOST_TOLD = 20  # files left out, each with its reason; more are counted alone

T = TypeVar("T")


def find(files: Sequence[Path]) -> list[Source]:
    """The music files that `files` and folders lead to. Raises InputError when a path is missing or has no music."""
    return named_sources(files)


def file_names(sources: Sequence[Source]) -> list[str]:
    """A file name without suffix for each source, no two the same: sub/tune.mid -> sub-tune."""
    names: dict[str, None] = {}
    for source in sources:
        plain = "-".join(PurePosixPath(source.name).with_suffix("").parts).lstrip("-/")
        numbered = (f"{plain}-{number}" for number in count(2))
        names[next(name for name in chain([plain], numbered) if name not in names)] = None
    return list(names)


def each(sources: Sequence[Source], work: Callable[[Path], T]) -> list[tuple[int, T]]:
    """Do `work` on each file; (place in `sources`, result) of those it could be done on.

    Raises:
        InputError, OptionError: what is wrong with the only file; or that all of several were left out.
    """
    from tqdm import tqdm

    if len(sources) == 1:
        return [(0, work(sources[0].path))]
    done: list[tuple[int, T]] = []
    for place, source in enumerate(tqdm(sources, "reading", unit=" files", disable=None, leave=False)):
        try:
            done.append((place, work(source.path)))
        except (InputError, OptionError) as error:
            if place - len(done) < MOST_TOLD:
                with tqdm.external_write_mode():
                    note(f"left out: {error}")
    if not done:
        raise InputError(f"none of the {len(sources)} files could be used")
    if len(done) < len(sources):
        note(f"{len(sources) - len(done)} of {len(sources)} files were left out")
    return done


def encode_each(
    vae: "TrainedModel", sources: Sequence[Source], bar: int | None = None, all_windows: bool = False
) -> "tuple[list[int], Latents]":
    """Encode each file; the place in `sources` of each latent, and the latents of all. See `each` for errors."""
    import numpy as np

    from seqvae.latent_file import Latents

    found = each(sources, lambda path: vae.encode(path, bar, all_windows))
    for remark in (remark for _, latents in found for remark in latents.remarks):
        note(remark)
    parts = [latents for _, latents in found]
    return [place for place, latents in found for _ in range(len(latents))], Latents(
        mean=np.concatenate([latents.mean for latents in parts]),
        scale=np.concatenate([latents.scale for latents in parts]),
        source=[source for latents in parts for source in latents.source],
        bar=[bar for latents in parts for bar in latents.bar],
        tempo=[tempo for latents in parts for tempo in latents.tempo],
        model=vae.name,
    )
