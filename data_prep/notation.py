"""Written music through music21: ABC, MusicXML, Humdrum kern, and the tunebooks that come with music21.

Notation tells where the bar lines are; `bars` lays them on the grid that windows expect (pickups, split bars). Tied
notes become one, grace notes and chord symbols are left out, all notes of a chord are kept, every part is a track,
repeats are played once: a second time through adds no window that the first has not.

music21 takes a third of a second to import and some milliseconds a tune: it is imported on use. It is kept off the
network, out of the home folder and from writing to the terminal.
"""

import io
import re
import unicodedata
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data_prep import streams, tunebook
from data_prep.errors import InputError
from data_prep.meters import DEFAULT_TEMPO
from data_prep.piece import Piece


def read_all(path: Path) -> tuple[list[Piece], list[tuple[str, str]]]:
    """The pieces in a notation file, and (title, reason) of the tunes that could not be read."""
    path = Path(path)
    try:
        data = streams.score_bytes(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, UnicodeError) as error:
        raise InputError(f"{path}: this is no compressed MusicXML ({_line(error)})") from error
    if not data.strip():
        raise InputError(f"{path}: the file is empty")
    if path.suffix.lower() == ".abc":
        tunes = tunebook.split(_text(data))
        if not tunes:
            raise InputError(f"{path}: there is no tune in it; each begins with a line X:")
        return _each(tunes, tunebook.parse, tunebook.title)
    if path.suffix.lower() == ".krn":
        return _each([_text(data)], lambda text: streams.parse_kern(text, path.stem), lambda _: path.stem)
    return _each([data], lambda xml: streams.parse_xml(xml, path.stem), lambda _: path.stem)


def _each(
    tunes: Sequence[Any], parse: Callable[[Any], Piece], title: Callable[[Any], str]
) -> tuple[list[Piece], list[tuple[str, str]]]:
    pieces, skipped = [], []
    with _quiet():
        for tune in tunes:
            try:
                pieces.append(parse(tune))
            except RecursionError:
                skipped.append((title(tune), "it is nested too deeply"))
            except Exception as error:  # music21 fails in as many ways as there are wrong files
                skipped.append((title(tune), _short(error)))
    return pieces, skipped


@contextmanager
def _quiet() -> Iterator[None]:
    """music21 warns of every doubt, on stderr and through `warnings`; a user cannot act on it."""
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _short(error: Exception) -> str:
    """An error as a short reason on one line."""
    if isinstance(error, InputError):
        return str(error)
    return f"cannot be read ({type(error).__name__}: {_line(error)})"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__


def _text(data: bytes) -> str:
    """Old tunebooks are in Latin-1, which takes any bytes."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


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
            yield from tunebook.split(_text(path.read_bytes()))


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
        pieces, failed = _each([tune], tunebook.parse, tunebook.title)
        yield from pieces
        if skipped is not None:
            skipped += failed


def _book(name: str) -> Book:
    books = corpus_books()
    if name not in books:
        raise InputError(f"there is no book {name!r} in the corpus; there are: {', '.join(books) or 'none'}")
    return books[name]


@dataclass(frozen=True, slots=True)
class CorpusReport:
    """What `write_corpus` did: files written by book, and (book, title, reason) of the tunes left out."""

    written: dict[str, int]
    skipped: list[tuple[str, str, str]]


def write_corpus(names: Sequence[str], out: Path, *, force: bool = False, progress: bool = False) -> CorpusReport:
    """Write every tune of the books as MIDI: out/BOOK/title-of-the-tune.mid.

    Raises:
        InputError: a name is unknown, or a folder to write to holds something and `force` is not given.
    """
    from tqdm import tqdm

    from data_prep import midi

    books = [_book(name) for name in dict.fromkeys(names)]
    for book in books:
        folder = out / book.name
        if not force and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} exists; choose another folder, or --force to write into it")
    written: Counter[str] = Counter()
    skipped: list[tuple[str, str, str]] = []
    for book in books:
        taken: Counter[str] = Counter()
        failed: list[tuple[str, str]] = []
        tunes = corpus_tunes(book.name, failed)
        for piece in tqdm(tunes, book.name, unit=" tunes", disable=None if progress else True):
            piece = replace(piece, tempos=piece.tempos or ((0, DEFAULT_TEMPO),))  # a file is to say how it is meant
            midi.write(piece, out / book.name / f"{_free_slug(piece.name, taken)}.mid")
            written[book.name] += 1
        skipped += [(book.name, title, reason) for title, reason in failed]
    return CorpusReport(dict(written), skipped)


def _free_slug(title: str, taken: Counter[str]) -> str:
    """A title as a file name; the second of its kind gets a number."""
    slug = slugify(title)
    taken[slug] += 1
    return slug if taken[slug] == 1 else f"{slug}-{taken[slug]}"


def slugify(title: str) -> str:
    """Lower-case letters and digits joined by hyphens: safe as a file name everywhere."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")[:60].strip("-") or "untitled"
