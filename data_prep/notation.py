"""Written music through music21: ABC, MusicXML and Humdrum kern.

Notation tells where the bar lines are; `bars` lays them on the grid that windows expect (pickups, split bars). Tied
notes become one, grace notes, cues and chord symbols are left out, all notes of a chord are kept, every part is a
track, repeats are played once: a second time through adds no window that the first has not.

music21 takes a third of a second to import and some milliseconds a tune: it is imported on use. It is kept off the
network, out of the home folder and from writing to the terminal.
"""

import io
import threading
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

from data_prep import streams, tunebook
from data_prep.errors import InputError
from data_prep.piece import Piece

_ALONE = threading.Lock()  # stderr and filters are the process's: of two threads one would put back the other's


def read_all(path: Path) -> tuple[dict[int, Piece], list[tuple[str, str]]]:
    """The pieces in a notation file by their number in it, and (title, reason) of the tunes that could not be read."""
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
        tunes = tunebook.split(decoded(data))
        if not tunes:
            raise InputError(f"{path}: there is no tune in it; each begins with a line X:")
        return read_tunes(tunes)
    if path.suffix.lower() == ".krn":
        pieces = streams.kern_pieces(decoded(data))
        return _each(pieces, lambda text: streams.parse_kern(text, path.stem), lambda _: path.stem)
    return _each([data], lambda xml: streams.parse_xml(xml, path.stem), lambda _: path.stem)


def read_tunes(tunes: Sequence[str]) -> tuple[dict[int, Piece], list[tuple[str, str]]]:
    """The pieces of tunes in ABC by their number, from 1, and (title, reason) of those that could not be read."""
    return _each(tunes, tunebook.parse, tunebook.title)


def _each(
    tunes: Sequence[Any], parse: Callable[[Any], Piece], title: Callable[[Any], str]
) -> tuple[dict[int, Piece], list[tuple[str, str]]]:
    pieces, skipped = {}, []
    with _quiet():
        for number, tune in enumerate(tunes, 1):
            try:
                pieces[number] = parse(tune)
            except RecursionError:
                skipped.append((title(tune), "it is nested too deeply"))
            except Exception as error:  # music21 fails in as many ways as there are wrong files
                skipped.append((title(tune), _short(error)))
    return pieces, skipped


@contextmanager
def _quiet() -> Iterator[None]:
    """music21 warns of every doubt, on stderr and through `warnings`; a user cannot act on it."""
    with _ALONE, warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _short(error: Exception) -> str:
    """An error as a short reason on one line."""
    if isinstance(error, InputError):
        return str(error)
    return f"cannot be read ({type(error).__name__}: {_line(error)})"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:100] or type(error).__name__


def decoded(data: bytes) -> str:
    """The text of a notation file; old tunebooks are in Latin-1, which takes any bytes."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")
