"""One voice as one id a step: the alphabet of the published MusicVAE melody models.

    0        no event: the note goes on, or the rest does
    1        note-off: the note ends, a rest begins
    2 .. 89  note-on of the 88 piano keys, MIDI pitch 21 .. 108 (id = pitch - 19)

A repeated pitch attacks again. A note-on ends the note before it, so a note-off stands only where a rest begins. A
note may last up to the end of the sequence: nothing marks that end. A note-off while nothing sounds says nothing:
its canonical form is 0. So a rest at the beginning, and a whole bar of rest, are zeros, as is a held note; which of
them is meant follows from the last id that was not 0.

A score with several notes at a time has more than one voice: of notes that begin on one step the highest stays, and
a new note ends the one that sounds, which does not come back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from data_prep.errors import InputError
from data_prep.meters import DEFAULT_TEMPO, STEPS_PER_QUARTER, Meter, steps_per_bar
from data_prep.score import Note, Score

PITCHES = range(21, 109)  # the keys of a piano
NO_EVENT, NOTE_OFF, FIRST_NOTE_ON = 0, 1, 2
VOCABULARY_SIZE = FIRST_NOTE_ON + len(PITCHES)
PITCH_OF_ID = PITCHES.start - FIRST_NOTE_ON  # pitch = id + this


@dataclass(frozen=True)
class MelodyTokenizer:
    """Melodies of `bars` bars in one meter, 16 ids a whole note; ids are uint8."""

    bars: int = 2
    meter: Meter = (4, 4)

    name = "melody"
    kind = "music"
    eos = bos = pad = None
    blank = NO_EVENT
    vocabulary_size = VOCABULARY_SIZE
    pitch_ids = range(FIRST_NOTE_ON, VOCABULARY_SIZE)

    def __post_init__(self) -> None:
        if self.bars < 1:
            raise InputError(f"a melody of {self.bars} bars: at least 1 is needed")
        steps_per_bar(self.meter)

    @property
    def length(self) -> int:
        """T, steps of a sequence."""
        return self.bars * steps_per_bar(self.meter)

    @property
    def note_on(self) -> np.ndarray:
        """bool (V,): which ids begin a note."""
        return np.arange(VOCABULARY_SIZE) >= FIRST_NOTE_ON

    def encode(self, score: Score) -> np.ndarray:
        """The canonical ids (T,) of a score; a shorter one is filled up with rests. Drums are left out.

        Raises:
            InputError: the score is longer than T, of another grid, or a pitch lies outside 21-108.
        """
        if score.steps > self.length:
            raise InputError(f"a score of {score.steps} steps, where at most {self.length} ({self.bars} bars) fit")
        if score.steps_per_quarter != STEPS_PER_QUARTER:
            raise InputError(f"a score of {score.steps_per_quarter} steps a quarter, where {STEPS_PER_QUARTER} fit")
        ids = np.zeros(self.length, dtype=np.uint8)
        sounding_until = 0
        for note in sorted(score.notes, key=lambda note: (note.onset, note.pitch)):
            if note.is_drum:
                continue
            if note.pitch not in PITCHES:
                raise InputError(f"pitch {note.pitch} lies outside the keys of a piano, 21-108")
            ids[note.onset] = note.pitch - PITCH_OF_ID
            ids[note.onset + 1 : sounding_until + 1] = NO_EVENT  # it cuts what sounds, its note-off included
            sounding_until = note.end
            if note.end < self.length:
                ids[note.end] = NOTE_OFF
        return ids

    def decode(self, ids: np.ndarray, tempo: float = DEFAULT_TEMPO, name: str = "") -> Score:
        """The melody that `ids` (T,) stand for, T steps long.

        Raises:
            ValueError: another shape, or an id outside the vocabulary.
        """
        if np.shape(ids) != (self.length,):
            raise ValueError(f"ids of shape {np.shape(ids)}, expected ({self.length},)")
        symbols = self.canonical(ids).tolist()
        events = [step for step, symbol in enumerate(symbols) if symbol != NO_EVENT] + [self.length]
        notes = tuple(
            Note(symbols[onset] + PITCH_OF_ID, onset, end)
            for onset, end in pairwise(events)
            if symbols[onset] >= FIRST_NOTE_ON
        )
        return Score(notes, self.length, meter=self.meter, tempo=tempo, name=name)

    def canonical(self, ids: np.ndarray) -> np.ndarray:
        """The same music as `ids` (..., T) without note-offs where nothing sounds; shape and type stay.

        Raises:
            ValueError: an id outside the vocabulary.
        """
        ids = np.asarray(ids)
        if ids.size and not (ids.min() >= 0 and ids.max() < VOCABULARY_SIZE):
            raise ValueError(f"ids outside 0-{VOCABULARY_SIZE - 1}")
        if ids.size == 0:
            return ids.copy()
        steps = np.arange(ids.shape[-1])
        last = np.maximum.accumulate(np.where(ids != NO_EVENT, steps, 0), axis=-1)  # latest event up to each step
        latest = np.take_along_axis(ids, last, axis=-1)
        before = np.concatenate([np.zeros_like(ids[..., :1]), latest[..., :-1]], axis=-1)
        return np.where((ids == NOTE_OFF) & (before < FIRST_NOTE_ON), np.zeros_like(ids), ids)

    def to_json(self) -> dict[str, Any]:
        """`create` builds this tokenizer again from it."""
        return {"name": self.name, "bars": self.bars, "meter": list(self.meter)}

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> "MelodyTokenizer":
        """Build the tokenizer that `to_json` described; KeyError, TypeError or ValueError for anything else."""
        numerator, denominator = spec["meter"]
        return cls(int(spec["bars"]), (int(numerator), int(denominator)))
