"""Music on a grid of steps: what tokenizers read and what models write.

A note sounds from its `onset` up to, but not including, its `end`; both count steps from the beginning of the score.
A score is `steps` long whatever its notes do, so rests at its end are part of it. A step is a 16th note at the usual
four steps a quarter.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from data_prep.errors import InputError
from data_prep.files import WRITTEN_SUFFIXES, free
from data_prep.meters import DEFAULT_TEMPO, STEPS_PER_QUARTER, Meter, is_meter, name
from data_prep.piece import Piece, Track

if TYPE_CHECKING:
    import pretty_midi
    from matplotlib.axes import Axes

MICROSECONDS = 6e7  # in a minute
TICKS_PER_QUARTER = 480  # what most programs write; a multiple of the usual numbers of steps


@dataclass(frozen=True, slots=True)
class Note:
    """One note. `onset` and `end` are steps, end exclusive; pitch, velocity and program are MIDI's."""

    pitch: int
    onset: int
    end: int
    velocity: int = 80
    program: int = 0
    is_drum: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """Notes on a grid of `steps` steps; `tempo` in quarters per minute.

    Raises:
        ValueError: a note lies outside the score, ends before it begins, or has a pitch, velocity or program unknown to
            MIDI; or no MIDI file can hold the tempo, the meter or the grid.
    """

    notes: tuple[Note, ...]
    steps: int
    steps_per_quarter: int = STEPS_PER_QUARTER
    meter: Meter = (4, 4)
    tempo: float = DEFAULT_TEMPO
    name: str = ""

    def __post_init__(self) -> None:
        for note in self.notes:
            known = 0 <= note.pitch <= 127 and 0 < note.velocity <= 127 and 0 <= note.program <= 127
            if not (known and 0 <= note.onset < note.end <= self.steps):
                raise ValueError(f"{note} does not fit a score of {self.steps} steps")
        if not (self.tempo > 0 and 1 <= MICROSECONDS / self.tempo < 2**24):
            raise ValueError(f"tempo {self.tempo:g}: a MIDI file has 24 bits for the microseconds of a quarter")
        if not is_meter(self.meter) or max(self.meter) > 255:
            raise ValueError(f"meter {name(self.meter)}: no MIDI file can hold it")
        if not 0 < self.steps_per_quarter < 2**15:
            raise ValueError(f"{self.steps_per_quarter} steps a quarter: must be from 1 to {2**15 - 1:,}")

    @property
    def seconds(self) -> float:
        """How long the score lasts at its tempo."""
        return self.steps / self.steps_per_quarter * 60 / self.tempo

    def to_piece(self) -> Piece:
        """The same music in ticks, one track for each program; a score without notes has one empty track."""
        ticks = TICKS_PER_QUARTER if TICKS_PER_QUARTER % self.steps_per_quarter == 0 else self.steps_per_quarter
        step = ticks // self.steps_per_quarter
        rows: dict[tuple[bool, int], list[tuple[int, int, int, int]]] = defaultdict(list)
        for note in sorted(self.notes, key=lambda note: (note.onset, note.pitch)):
            row = (note.onset * step, note.end * step, note.pitch, note.velocity)
            rows[note.is_drum, note.program].append(row)
        tracks = tuple(
            Track(_track_name(self.name, number), program, is_drum, np.array(found, dtype=np.int64).reshape(-1, 4))
            for number, ((is_drum, program), found) in enumerate(sorted(rows.items()) or [((False, 0), [])])
        )
        return Piece(self.name, ticks, tracks, ((0, *self.meter),), ((0, self.tempo),))

    def write_midi(self, path: Path | str, force: bool = False) -> None:
        """Write a MIDI file as long as the score, rests at its end included.

        Raises:
            InputError: its name does not end in .mid, the file exists (and `force` is not given), or cannot be written.
        """
        _write(self, path, force, [(0, self.tempo)])

    def write_audio(self, path: Path | str, force: bool = False) -> None:
        """Write a WAV file with plain tones, to hear the score where no synthesizer is at hand.

        Raises:
            InputError: its name does not end in .wav, the file exists (and `force` is not given), cannot be written, or
                would be very long.
        """
        from data_prep import midi

        if Path(path).suffix.lower() != ".wav":
            raise InputError(f"{path}: must end in .wav, as that is what is written")
        midi.write_audio(self.to_piece(), free(path, force))

    def to_pretty_midi(self) -> "pretty_midi.PrettyMIDI":
        """The score as a pretty_midi object, for everything that library does."""
        from data_prep import midi

        return midi.to_pretty_midi(self.to_piece())

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw a piano roll into `ax`, or into a new figure; return the axes.

        The new figure is none of pyplot's: `score.plot().figure` is it, to be saved with `savefig`. A notebook shows
        that where it is the last line of a cell, once matplotlib.pyplot is imported.
        """
        from data_prep import pictures

        return pictures.piano_roll(self, ax)


def join(scores: Sequence[Score]) -> Score:
    """All scores in a row; tempo, meter and name are the first one's.

    Raises:
        InputError: there is none, or their grids differ.
    """
    if not scores:
        raise InputError("no scores to join")
    first, notes, begin = scores[0], [], 0
    for score in scores:
        if score.steps_per_quarter != first.steps_per_quarter:
            raise InputError("scores of different grids cannot be joined")
        notes += [replace(note, onset=note.onset + begin, end=note.end + begin) for note in score.notes]
        begin += score.steps
    return replace(first, notes=tuple(notes), steps=begin)


def write_row(scores: Sequence[Score], path: Path | str, force: bool = False) -> None:
    """Write all scores in a row to a MIDI file, each at its own tempo.

    Raises:
        InputError: as `join` and `Score.write_midi` do.
    """
    row = join(scores)
    begins = accumulate((score.steps for score in scores), initial=0)
    changes: list[tuple[int, float]] = []
    for begin, score in zip(begins, scores, strict=False):
        if not changes or changes[-1][1] != score.tempo:
            changes.append((begin, score.tempo))
    _write(row, path, force, changes)


def _write(score: Score, path: Path | str, force: bool, tempos: Sequence[tuple[int, float]]) -> None:
    """Write a MIDI file with tempos from steps on."""
    from data_prep import midi

    if Path(path).suffix.lower() not in WRITTEN_SUFFIXES:
        raise InputError(f"{path}: must end in .mid, as that is what is written")
    path, piece = free(path, force), score.to_piece()
    step = piece.ticks_per_quarter // score.steps_per_quarter
    piece = replace(piece, tempos=tuple((begin * step, tempo) for begin, tempo in tempos))
    midi.write(piece, path, end=score.steps * step)


def _track_name(name: str, number: int) -> str:
    """Tracks after the first are numbered, so that a sequencer shows them apart."""
    return f"{name or 'melody'} {number + 1}" if number else name or "melody"
