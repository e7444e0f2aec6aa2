"""One door for every kind of music file: the suffix decides who reads it.

MIDI is read by `midi` (symusic: thousands of files a second), notation by `notation` (music21: some ten tunes a
second). Both give pieces in ticks, so that nobody further down asks where they came from.
"""

from pathlib import Path

from data_prep.errors import InputError
from data_prep.files import MIDI_SUFFIXES, MUSIC, check_file
from data_prep.piece import Piece


def read_pieces(path: Path) -> list[Piece]:
    """The pieces in a file: one in a MIDI or MusicXML file, as many as there are tunes in an ABC tunebook.

    Raises:
        InputError: the file is missing, of an unknown kind, or cannot be read.
    """
    pieces, skipped = read_all(path)
    if not pieces:
        raise InputError(f"{path}: {skipped[0][1]}")
    return list(pieces.values())


def read_all(path: Path) -> tuple[dict[int, Piece], list[tuple[str, str]]]:
    """The pieces in a file by their number in it, from 1, and (title, reason) of the tunes that cannot be read.

    Raises:
        InputError: the file is missing, of an unknown kind, or cannot be read at all.
    """
    path = Path(path)
    check_file(path, MUSIC)
    if path.suffix.lower() in MIDI_SUFFIXES:
        from data_prep import midi

        return {1: midi.read(path)}, []
    from data_prep import notation

    return notation.read_all(path)
