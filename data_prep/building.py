"""What the makers of datasets, `melody_dataset` and `text_dataset`, are given, give back and have in common."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from data_prep.errors import InputError
from data_prep.files import Source, named_sources
from data_prep.wording import Skipped, reasons

if TYPE_CHECKING:
    from tqdm.auto import tqdm

    from data_prep.tokenizers.text import TextTokenizer

T = TypeVar("T")

_MOST_TOLD = 3  # names in a message


@dataclass(frozen=True)
class Files:
    """The files that some paths lead to."""

    given: tuple[Path, ...]
    found: tuple[Source, ...]

    @classmethod
    def of(cls, paths: Sequence[Path], kind: str) -> "Files":
        """Those of a kind. Raises InputError as `named_sources` does."""
        given = tuple(map(Path, paths))
        return cls(given, tuple(named_sources(given, kind)))

    def unusable(self, skipped: Skipped) -> InputError:
        """The error that tells why none of them can serve."""
        names = [str(path) for path in self.given[:_MOST_TOLD]]
        more = f" and {len(self.given) - len(names)} more" if len(self.given) > len(names) else ""
        return InputError(f"nothing in {', '.join(names)}{more} can be used: {reasons(skipped)}")


NO_FILES = Files((), ())


@dataclass(frozen=True)
class Job:
    """A dataset that is to be made in `folder`, which is there and empty.

    `shards` is a folder, there or not, that outlives a run which is cut short: only one of the same sources and options
    finds it again.
    """

    folder: Path
    shards: Path
    train: Files  # and the others too, unless these have their own
    valid: Files
    test: Files
    shares: tuple[float, float, float]
    workers: int | None
    progress: bool
    vocabulary: "TextTokenizer | None" = None  # of text: what is there already; else it is counted in train

    def shown(self, items: Iterable[T], what: str, total: int, unit: str) -> Iterator[T]:
        """The items, while a bar tells how far they are, if it is wanted and somebody looks."""
        with self.bar(what, total, unit) as bar:
            for item in items:
                yield item
                bar.update()

    def bar(self, what: str, total: int, unit: str, done: int = 0) -> "tqdm[Any]":
        """The bar itself, for what comes in parts; some may be done already."""
        from tqdm.auto import tqdm

        return tqdm(None, what, total, unit=f" {unit}", initial=done, disable=None if self.progress else True)

    def tell(self, text: str) -> None:
        """Say something on stderr, if progress is to be seen."""
        if self.progress:
            print(f"seqvae: {text}", file=sys.stderr)


@dataclass(frozen=True)
class Made:
    """What there is to say of a dataset that was made."""

    tokenizer: dict[str, Any]
    counts: dict[str, int]
    skipped: Skipped
    split_by: str
