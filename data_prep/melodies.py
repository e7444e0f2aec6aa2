"""Melodies in a track, by the rules of Magenta's melody extraction.

Times are ticks from the beginning of a *part*, the stretch between two changes of meter or tempo; a quarter has
`tpq` ticks and four steps. A tick lies on step floor(4 tick / tpq + 1/2), reckoned in whole numbers.

A melody begins at the bar of its first note. Of notes that begin on one step the highest stays; a new note ends the
one that sounds, which does not come back. A rest of a bar or more ends the melody; the next begins at the next bar
with a note. A melody lasts up to the bar line after its last note.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_prep.meters import STEPS_PER_QUARTER
from data_prep.piece import END, PITCH, START
from data_prep.tokenizers.melody import NOTE_OFF, PITCH_OF_ID

Notes = list[tuple[int, int, int]]  # onset, end (steps), pitch; sorted, one for each onset


@dataclass(frozen=True, slots=True)
class Melody:
    """A stretch of one voice: `ids` from its first bar line to its last, which lies on step `begin` of its part."""

    ids: bytearray
    begin: int


def to_steps(ticks: np.ndarray, ticks_per_quarter: int) -> np.ndarray:
    """The step nearest to each tick, the later one of two."""
    return (ticks * (2 * STEPS_PER_QUARTER) + ticks_per_quarter) // (2 * ticks_per_quarter)


def quantize(notes: np.ndarray, ticks_per_quarter: int) -> Notes:
    """Notes (N, 4) in ticks as one voice in steps: the highest of each onset, each at least a step long."""
    if not len(notes):
        return []
    steps, pitch = to_steps(notes[:, : END + 1], ticks_per_quarter), notes[:, PITCH]
    onset = steps[:, START]
    if (onset[1:] <= onset[:-1]).any():  # the highest first; of one pitch twice, the one struck first
        order = np.lexsort((notes[:, END], notes[:, START], -pitch, onset))
        order = order[np.flatnonzero(np.diff(onset[order], prepend=-1))]
        steps, pitch, onset = steps[order], pitch[order], onset[order]
    end = np.maximum(steps[:, END], onset + 1)
    return list(zip(onset.tolist(), end.tolist(), pitch.tolist(), strict=True))


def melodies(notes: Notes, bar: int, max_bars: int) -> Iterator[Melody]:
    """The melodies in one voice; `bar` steps make a bar. What lies beyond `max_bars` bars of a melody is left out."""
    position = 0
    while position < len(notes):
        begin = notes[position][0] // bar * bar
        last = position
        while last + 1 < len(notes) and notes[last + 1][0] - notes[last][1] < bar:
            last += 1
        end = -(-notes[last][1] // bar) * bar
        length = min(end - begin, bar * max_bars)
        yield Melody(line(notes[position : last + 1], begin, length), begin)
        position = last + 1


def line(notes: Notes, begin: int, length: int) -> bytearray:
    """The `length` ids from step `begin` on; a note-off stands where a note ends before another begins."""
    ids = bytearray(length)
    off = length
    for onset, end, pitch in notes:
        if off < onset - begin < length:
            ids[off] = NOTE_OFF
        if onset - begin >= length:
            break
        ids[onset - begin] = pitch - PITCH_OF_ID
        off = end - begin
    if off < length:
        ids[off] = NOTE_OFF
    return ids
