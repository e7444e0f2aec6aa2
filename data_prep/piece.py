"""Music in ticks, as files hold it.

A `Piece` is what a file says, before any grid is laid over it: whole numbers of ticks, so that nothing is rounded
twice. Readers (`midi`, `notation`) make pieces; `windows` quantises them into steps; writers take them back to files.
"""

from dataclasses import dataclass

import numpy as np

START, END, PITCH, VELOCITY = range(4)  # the columns of Track.notes


@dataclass(frozen=True, slots=True)
class Track:
    """One instrument's notes: `notes` is (N, 4) int64 with start, end (ticks), pitch and velocity, sorted by start."""

    name: str
    program: int  # General MIDI, 0-127
    is_drum: bool
    notes: np.ndarray


@dataclass(frozen=True, slots=True)
class Piece:
    """A whole file or one tune of a tunebook."""

    name: str
    ticks_per_quarter: int
    tracks: tuple[Track, ...]
    meters: tuple[tuple[int, int, int], ...] = ()  # tick, numerator, denominator
    tempos: tuple[tuple[int, float], ...] = ()  # tick, quarters per minute
