"""The tunebooks that come with music21, as pieces and as MIDI files."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from data_prep import midi, tunebook
from data_prep.errors import InputError
from data_prep.files import DistinctNames, slugify, taken
from data_prep.meters import DEFAULT_TEMPO
from data_prep.notation import decoded, read_tunes
from data_prep.piece import Piece


@dataclass(frozen=True, slots=True)
class Book:
    """A tunebook in music21's corpus: ABC files with one or many tunes each."""

    name: str
    description: str
    licence: str
    paths: tuple[Path, ...]

    def texts(self) -> Iterator[str]:
        """The tunes as ABC text, in the order of the files."""
        for path in self.paths:
            yield from tunebook.split(decoded(path.read_bytes()))


_TRADITIONAL = (
    "the tunes are in the public domain; transcribers are named in the ABC files; terms: music21 corpus/license.txt"
)
_BOOKS = {
    "oneills1850": ("O'Neill's Music of Ireland, 1,850 melodies (1903)", _TRADITIONAL),
    "ryansMammoth": ("Ryan's Mammoth Collection of reels and jigs (1883)", _TRADITIONAL),
    "airdsAirs": ("Aird's Selection of Scotch, English, Irish and Foreign Airs (1778-1801)", _TRADITIONAL),
    "miscFolk": ("American fife music and Northumbrian Minstrelsy (1882)", _TRADITIONAL),
    "essenFolksong": ("Essen folksong collection, mostly German and Chinese", "for non-commercial use only"),
}


def corpus_books() -> dict[str, Book]:
    """The tunebooks that the installed music21 holds, by name."""
    spec = find_spec("music21")  # finds the folder without the cost of an import
    if spec is None or spec.origin is None:
        raise InputError("music21 is not installed; its corpus holds the tunebooks")
    root = Path(spec.origin).parent / "corpus"
    books = (Book(name, *about, tuple(sorted((root / name).glob("*.abc")))) for name, about in _BOOKS.items())
    return {book.name: book for book in books if book.paths}


def corpus_tunes(name: str, skipped: list[tuple[str, str]] | None = None) -> Iterator[Piece]:
    """The tunes of one book in order; (title, reason) of those that cannot be read go to `skipped`.

    Raises:
        InputError: there is no such book.
    """
    for tune in _book(name).texts():
        pieces, failed = read_tunes([tune])
        yield from pieces.values()
        if skipped is not None:
            skipped += failed


def _book(name: str) -> Book:
    books = corpus_books()
    if name not in books:
        raise InputError(f"no book is named {name}; there are {', '.join(books) or 'none'}")
    return books[name]


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """What `write_corpus` did: files written by book, and (book, title, reason) of the tunes left out."""

    written: dict[str, int]
    skipped: list[tuple[str, str, str]]


def check_place(names: Sequence[str], out: Path, force: bool) -> None:
    """Raises InputError where a name is of no book, or its folder in `out` holds something and `force` is not given."""
    for folder in [out / _book(name).name for name in names]:
        if taken(folder) and not force:
            raise InputError(f"{folder} exists: write into it with --force, or choose another --out")


def write_corpus(names: Sequence[str], out: Path, *, force: bool = False, progress: bool = False) -> CorpusReport:
    """Write every tune of the books as MIDI: out/BOOK/title-of-the-tune.mid.

    Raises:
        InputError: a name is unknown, or a folder to write to holds something and `force` is not given.
    """
    from tqdm.auto import tqdm

    check_place(names, out, force)
    books = [_book(name) for name in dict.fromkeys(names)]
    written: Counter[str] = Counter()
    skipped: list[tuple[str, str, str]] = []
    for book in books:
        titles = DistinctNames()
        failed: list[tuple[str, str]] = []
        tunes = corpus_tunes(book.name, failed)
        for piece in tqdm(tunes, book.name, unit=" tunes", disable=None if progress else True):
            piece = replace(piece, tempos=piece.tempos or ((0, DEFAULT_TEMPO),))  # a file is to say how it is meant
            midi.write(piece, out / book.name / f"{titles.of(slugify(piece.name))}.mid")
            written[book.name] += 1
        skipped += [(book.name, title, reason) for title, reason in failed]
    return CorpusReport(dict(written), skipped)
