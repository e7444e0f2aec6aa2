"""The measures behind the README's figures."""

import numpy as np
import pytest

from benchmarks.machine import describe, median_seconds
from benchmarks.quality import compare, histogram, intervals, lengths, overlap, pitch_classes
from data_prep.score import Note, Score

NOTES = (Note(60, 0, 4), Note(64, 4, 6), Note(62, 6, 8), Note(86, 8, 16))


def test_features_of_a_melody() -> None:
    assert pitch_classes(NOTES) == [0, 4, 2, 2]
    assert intervals(NOTES) == [12 + 4, 12 - 2, 24]  # two octaves up count as one
    assert lengths(NOTES) == [4, 2, 2, 8]


def test_overlap_is_1_for_equal_and_0_for_disjoint_histograms() -> None:
    one, other = histogram([[0, 0, 1]], 4), histogram([[2], [3]], 4)
    assert one.tolist() == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert overlap(one, one) == pytest.approx(1.0)
    assert overlap(one, other) == 0.0
    assert overlap(one, np.array([0.5, 0.5, 0, 0])) == pytest.approx(5 / 6)


def test_the_same_tunes_overlap_wholly_and_transposed_ones_in_all_but_pitch_class() -> None:
    tune = Score(NOTES, 16)
    moved = Score(tuple(Note(note.pitch + 1, note.onset, note.end) for note in NOTES), 16)
    assert set(compare([tune], [tune], 16).values()) == {1.0}
    found = compare([tune], [moved], 16)
    assert (found["pitch class"], found["interval"], found["note length"]) == (0.0, 1.0, 1.0)


def test_a_machine_describes_itself() -> None:
    assert "torch" in describe()
    assert median_seconds(lambda: None, runs=3) < 0.1
