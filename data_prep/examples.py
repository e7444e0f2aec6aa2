"""What the commands that take single files read: one file, one or more sequences of ids.

A file of at most n bars is taken as it stands, from its beginning, its rests included, and filled up with rests: so
what a model wrote is read back unchanged. A longer file gives its n-bar windows, as a dataset does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.errors import InputError
from data_prep.meters import count, steps_per_bar
from data_prep.piece import Piece
from data_prep.reading import read_pieces
from data_prep.tokenizers.melody import NO_EVENT, NOTE_OFF
from data_prep.windows import MelodyOptions, whole, windows


@dataclass(frozen=True, slots=True)
class Example:
    """A sequence of ids (T,) uint8 and where it is from."""

    ids: np.ndarray
    source: str  # the file; in a book of several tunes with the tune's number, "book.abc#3"
    bar: int  # the bar it begins in, the first one being 1, as people count
    tempo: float  # quarters per minute
    remark: str  # what the user should be told, else ""


def examples(path: Path, options: MelodyOptions) -> list[Example]:
    """The sequences in a file, at least one; of a book of tunes those of all tunes in their order.

    Raises:
        InputError: the file cannot be read, or has no melody of the wanted kind; it names the file and the reason.
    """
    path = Path(path)
    pieces = read_pieces(path)
    found: list[Example] = []
    reasons: list[str] = []
    for number, piece in enumerate(pieces, 1):
        source = f"{path}#{number}" if len(pieces) > 1 else str(path)
        try:
            found += _of_piece(piece, source, options)
        except InputError as error:
            reasons.append(str(error))
    if not found:
        raise InputError(f"{path}: {reasons[0]}")
    return found


def _of_piece(piece: Piece, source: str, options: MelodyOptions) -> Iterator[Example]:
    window = whole(piece, options)
    if window is not None:
        yield Example(window.ids, source, window.bar + 1, window.tempo, _remark(window.ids, options))
        return
    for window in windows(piece, options):
        yield Example(window.ids, source, window.bar + 1, window.tempo, "")


def _remark(ids: np.ndarray, options: MelodyOptions) -> str:
    """How much of a sequence was filled up: bars after the one in which its last note ends."""
    last = int(np.flatnonzero(ids != NO_EVENT)[-1])
    end = last if ids[last] == NOTE_OFF else len(ids)
    bars = -(-end // steps_per_bar(options.meter))
    return "" if bars == options.bars else f"{count(bars, 'bar')} long, filled up with rests to {options.bars}"
