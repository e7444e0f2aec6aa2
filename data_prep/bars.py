"""Written bars on a steady grid.

Windows cut a piece at the bar lines of a steady grid that starts at time 0, as a sequencer does. Notation knows its
bar lines, and they are not steady: a tune begins with a pickup, a section ends short of what its repeat brings, a
scribe forgets a rest. Lengths are in ticks; N is what the meter asks of a bar, L what is written in it:

    L = N        goes to the next bar of the grid
    L < N, and the next is short too, together at most N, across a repeat or double bar line or exactly N
                 share one bar: the first at its beginning, the second at its end
    L < N, first of the tune or of a section
                 a pickup: at the end of its bar, rests before it
    L < N otherwise
                 at the beginning of its bar, rests after it
    L > N        takes as many bars as it needs, rests after it

A second ending starts a bar of its own. Repeats are played as written, once. If less than half of the bars between
the first and the last have the length that the meter asks for, the bar lines tell nothing, and the notes follow each
other as they are written.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from data_prep.errors import InputError
from data_prep.piece import Piece, Track

TICKS = 10080  # a quarter: 2^5 * 3^2 * 5 * 7, exact for 128ths and for triplets, quintuplets and septuplets of 32nds
_FILE_TICKS = (480, 3360, TICKS)  # the first that holds a piece exactly: programs expect a few hundred
_LONGEST = 10**6 * TICKS
_VELOCITY = 80
_METER = re.compile(r"(?:\(?(\d{1,2}(?:\s*\+\s*\d{1,2})*)\)?\s*/\s*\d{1,3}|C\|?|none|)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WrittenNote:
    """One note head: place in its bar and length in ticks; `tied` if it goes on in the next of its pitch."""

    onset: int
    length: int
    pitch: int
    tied: bool = False


@dataclass(slots=True)
class Bar:
    """What is written between two bar lines. `meter` and `tempos` (onset, quarters a minute) only where they change."""

    length: int = 0
    notes: list[WrittenNote] = field(default_factory=list)
    meter: tuple[int, int] | None = None
    tempos: list[tuple[int, float]] = field(default_factory=list)
    section: bool = False  # follows a repeat sign or a double bar line
    ending: bool = False  # begins a second or later ending


@dataclass(frozen=True, slots=True)
class Voice:
    """The bars of one part or voice, with the name and General MIDI program of its instrument."""

    bars: Sequence[Bar]
    name: str = ""
    program: int = 0
    is_drum: bool = False


def to_piece(name: str, voices: Sequence[Voice]) -> Piece:
    """Lay the voices on the grid; meters and tempos are those of the first voice that has any.

    Raises:
        InputError: it is longer than any music.
    """
    if any(sum(bar.length for bar in voice.bars) > _LONGEST for voice in voices):
        raise InputError("it is longer than a million quarter notes")
    tracks: list[tuple[Voice, np.ndarray]] = []
    meters: list[tuple[int, tuple[int, int]]] = []
    tempos: list[tuple[int, float]] = []
    for voice in voices:
        places = place(voice.bars)
        tracks.append((voice, _merge_ties(voice.bars, places)))
        both = list(zip(voice.bars, places, strict=True))
        meters = meters or _changes((line, bar.meter) for bar, (line, _) in both if bar.meter)
        tempos = tempos or _changes(
            # a tempo over a pickup counts from the bar line: it would else cut the pickup's bar in two
            (start + onset if onset else line, tempo)
            for bar, (line, start) in both
            for onset, tempo in bar.tempos
        )
    ticks = _coarsest(np.concatenate([*(rows[:, :2].ravel() for _, rows in tracks), [at for at, _ in meters + tempos]]))
    return Piece(
        name,
        ticks,
        tuple(Track(voice.name or name, voice.program, voice.is_drum, _rescale(rows, ticks)) for voice, rows in tracks),
        tuple((at * ticks // TICKS, *meter) for at, meter in meters),
        tuple((at * ticks // TICKS, tempo) for at, tempo in tempos),
    )


def place(bars: Sequence[Bar]) -> list[tuple[int, int]]:
    """For every bar, in ticks: the bar line where its meter begins to count, and the place of its first note head."""
    if not _lines_tell(bars):
        ends = np.cumsum([bar.length for bar in bars]).tolist()
        return [(start, start) for start in [0, *ends[:-1]]]
    placed: list[tuple[int, int]] = []
    line, full = 0, bar_ticks(None)
    for i, bar in enumerate(bars):
        if len(placed) > i:  # has been put into the bar of the one before
            continue
        full = bar_ticks(bar.meter) if bar.meter else full
        after = bars[i + 1] if i + 1 < len(bars) else None
        short = 0 < bar.length < full
        if after and short and i > 0 and _share(bar, after, full):
            start = line + full - after.length
            placed += [(line, line), (start, start)]
        else:
            pickup = short and ((i == 0 and after is not None) or bar.section)
            placed.append((line, line + full - bar.length if pickup else line))
        line += -(-bar.length // full) * full
    return placed


def bar_ticks(meter: tuple[int, int] | None) -> int:
    """The length of a full bar; 4/4 where nothing is written."""
    numerator, denominator = meter or (4, 4)
    return 4 * TICKS * numerator // denominator


def check_meters(meters: Iterable[str]) -> None:
    """Refuse what is no meter of music: music21 would divide a bar of 5000/4 for minutes.

    Args:
        meters: as they are written: "4/4", "2+2+3/8", "C", "C|", "none", or nothing.

    Raises:
        InputError: one of them is no meter, or has more than 99 beats.
    """
    for meter in map(str.strip, meters):
        numbers = _METER.fullmatch(meter)
        if not numbers or sum(map(int, re.findall(r"\d+", numbers[1] or ""))) > 99:
            raise InputError(f"{meter[:20]} is not a meter")


def _share(bar: Bar, after: Bar, full: int) -> bool:
    both = bar.length + after.length
    return not after.ending and not after.meter and (both == full or (both < full and after.section))


def _lines_tell(bars: Sequence[Bar]) -> bool:
    """Whether most bars have the length they should; the first and the last may be short for good reasons."""
    fits = counted = 0
    full = bar_ticks(None)
    for i, bar in enumerate(bars):
        full = bar_ticks(bar.meter) if bar.meter else full
        inner = 0 < i < len(bars) - 1 and bar.length > 0
        counted += inner
        fits += inner and bar.length == full
    return 2 * fits >= counted


def _merge_ties(bars: Sequence[Bar], places: Sequence[tuple[int, int]]) -> np.ndarray:
    """All notes as (N, 4) rows of Track.notes, in TICKS, tied heads made one."""
    rows: list[list[int]] = []
    held: dict[int, tuple[int, int]] = {}  # pitch: row, and the *written* end: a rest may have been put in between
    written = 0
    for bar, (_, start) in zip(bars, places, strict=True):
        for note in bar.notes:
            end = start + note.onset + note.length
            row, until = held.pop(note.pitch, (-1, -1))
            if until == written + note.onset:
                rows[row][1] = end
            else:
                row = len(rows)
                rows.append([start + note.onset, end, note.pitch, _VELOCITY])
            if note.tied:
                held[note.pitch] = (row, written + note.onset + note.length)
        written += bar.length
    rows = sorted(row for row in rows if row[1] > row[0])
    return np.array(rows, np.int64).reshape(-1, 4)


def _changes(events: Iterable[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Only what differs from the event before; of two at one time the later holds."""
    kept: list[tuple[int, Any]] = []
    for at, value in sorted(dict(events).items()):
        if not kept or kept[-1][1] != value:
            kept.append((at, value))
    return kept


def _coarsest(times: np.ndarray) -> int:
    return next(t for t in _FILE_TICKS if t == TICKS or not np.any(times * t % TICKS))


def _rescale(times: np.ndarray, ticks: int) -> np.ndarray:
    scaled = times.copy()
    scaled[:, :2] = times[:, :2] * ticks // TICKS
    return scaled
