"""Commands that take many files: one bad file among them is told and left out, it does not stop the rest."""

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from cli.console import note
from data_prep.errors import InputError
from data_prep.files import DistinctNames, is_path, named_sources, tune_of
from seqvae.config import TEXT
from seqvae.errors import OptionError

if TYPE_CHECKING:
    from data_prep.examples import Example
    from seqvae.latent_file import Latents
    from seqvae.trained import TrainedModel

LONGEST_NAME = 200  # bytes of a file name, which has 255 at most; a suffix and a number still fit
MOST_TOLD = 20  # files left out, or remarks; more are counted alone

T = TypeVar("T")


class Given(NamedTuple):
    """A file, with its path below the folder that was given, or a sentence."""

    item: Path | str
    name: str


def find(items: Sequence[str], vae: "TrainedModel") -> list[Given]:
    """The files that paths and folders lead to, each once, and for a model of text the sentences among `items`.

    Raises:
        InputError: a path is missing, is of the other kind, or leads to nothing.
    """
    taken: dict[str | int, Given] = {}
    if vae.kind != TEXT:
        for of_book, some in groupby(items, lambda item: tune_of(item)[1] is not None):
            for each in map(_tune, some) if of_book else _music(list(some), vae):
                taken.setdefault(os.path.abspath(each.item), each)
        return list(taken.values())
    for place, item in enumerate(items):
        if is_path(item):
            for source in named_sources([Path(item)], TEXT):
                taken.setdefault(os.path.abspath(source.path), Given(source.path, source.name))
        else:
            taken[place] = Given(item, item)  # a sentence that is given twice is two
    return list(taken.values())


def _tune(item: str) -> Given:
    """A tune of a book: dir/book.abc#2, called book-2.abc."""
    path, number = tune_of(item)
    return Given(item, f"{path.stem}-{number}{path.suffix}")


def _music(items: Sequence[str], vae: "TrainedModel") -> list[Given]:
    for item in items:
        if not os.path.exists(item):
            vae.read(item)  # which tells why not, whether it was meant as a file or as a sentence
    return [Given(source.path, source.name) for source in named_sources([Path(item) for item in items])]


def file_names(found: Sequence[Given]) -> list[str]:
    """A file name without suffix for each file, no two the same: sub/tune.mid -> sub-tune; of a long one its end."""
    names = DistinctNames()
    plain = (_end("-".join(PurePosixPath(given.name).with_suffix("").parts)).lstrip("-/") for given in found)
    return [names.of(name or "untitled") for name in plain]


def _end(name: str) -> str:
    data = os.fsencode(name)
    return name if len(data) <= LONGEST_NAME else data[-LONGEST_NAME:].decode(errors="ignore")


def each(found: Sequence[Given], work: Callable[[Path | str], T]) -> list[tuple[int, T]]:
    """Do `work` on each item; (place in `found`, result) of those it could be done on.

    Raises:
        InputError, OptionError: what is wrong with the only item; or that all of several were left out.
    """
    from tqdm import tqdm

    if len(found) == 1:
        return [(0, work(found[0].item))]
    done: list[tuple[int, T]] = []
    for place, given in enumerate(tqdm(found, "reading", unit=" files", disable=None, leave=False)):
        try:
            done.append((place, work(given.item)))
        except (InputError, OptionError) as error:
            if place - len(done) < MOST_TOLD:
                with tqdm.external_write_mode():
                    note(f"left out: {error}")
    what = "files" if all(isinstance(given.item, Path) for given in found) else "items"
    if not done:
        raise InputError(f"none of the {len(found)} {what} could be used")
    if len(done) < len(found):
        note(f"{len(found) - len(done)} of {len(found)} {what} were left out")
    return done


def read_each(
    vae: "TrainedModel",
    found: Sequence[Given],
    bar: int | None = None,
    all_windows: bool | None = None,
    encoding: str | None = None,
) -> "tuple[list[int], list[Example]]":
    """What is in each item: the place in `found` of each sequence, and all sequences. See `each` for errors."""
    done = each(found, lambda item: vae.read(item, bar, all_windows, encoding))
    return [place for place, examples in done for _ in examples], [one for _, examples in done for one in examples]


def encode(vae: "TrainedModel", examples: "Sequence[Example]") -> "Latents":
    """Their latents; what there is to say of them is told."""
    latents = vae.encode_examples(examples)
    for remark in latents.remarks[:MOST_TOLD]:
        note(remark)
    if len(latents.remarks) > MOST_TOLD:
        note(f"and so with {len(latents.remarks) - MOST_TOLD:,} more")
    return latents
