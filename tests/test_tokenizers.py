"""The melody alphabet: its literal ids, and the laws that hold for every sequence."""

import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import InputError
from data_prep.score import Note, Score
from data_prep.tokenizers.base import Tokenizer, create
from data_prep.tokenizers.melody import MelodyTokenizer

BAR = MelodyTokenizer(bars=1)
ids_of_two_bars = st.lists(st.integers(0, 89) | st.integers(0, 3), min_size=32, max_size=32)


def check_laws(tokenizer: Tokenizer, ids: np.ndarray) -> None:
    canonical, score = tokenizer.canonical(ids), tokenizer.decode(ids)
    assert score.steps == tokenizer.length
    assert np.array_equal(tokenizer.encode(score), canonical)
    assert tokenizer.decode(canonical) == score
    assert np.array_equal(tokenizer.canonical(canonical), canonical)


@given(ids_of_two_bars)
def test_encoding_what_was_decoded_gives_the_canonical_ids(ids: list[int]) -> None:
    check_laws(MelodyTokenizer(), np.array(ids, dtype=np.uint8))


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
def test_the_laws_hold_for_all_short_sequences(steps: int) -> None:
    tokenizer = MelodyTokenizer(bars=steps, meter=(1, 16))
    for ids in itertools.product((0, 1, 2, 89), repeat=steps):
        check_laws(tokenizer, np.array(ids))


def test_every_id_has_its_meaning() -> None:
    for symbol in range(2, 90):
        ids = np.zeros(16, dtype=np.uint8)
        ids[3], ids[7] = symbol, 1
        (note,) = BAR.decode(ids).notes
        assert (note.pitch, note.onset, note.end) == (symbol + 19, 3, 7)


def test_the_alphabet_is_never_renumbered() -> None:
    notes = (Note(60, 2, 4), Note(60, 4, 5), Note(21, 5, 6), Note(108, 8, 10), Note(72, 14, 16))
    ids = [0, 0, 41, 0, 41, 2, 1, 0, 89, 0, 1, 0, 0, 0, 53, 0]
    assert BAR.encode(Score(notes, 16)).tolist() == ids
    assert BAR.decode(np.array(ids)).notes == notes


@pytest.mark.parametrize(
    ("ids", "canonical"),
    [
        ([1, 0, 1, 5, 1, 1, 0, 1], [0, 0, 0, 5, 1, 0, 0, 0]),
        ([0, 1, 1, 1, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 0]),
        ([5, 0, 0, 0, 0, 0, 0, 1], [5, 0, 0, 0, 0, 0, 0, 1]),
        ([5, 5, 1, 0, 1, 6, 0, 0], [5, 5, 1, 0, 0, 6, 0, 0]),
    ],
)
def test_a_note_off_while_nothing_sounds_is_a_hold(ids: list[int], canonical: list[int]) -> None:
    assert MelodyTokenizer(1, (2, 4)).canonical(np.array(ids)).tolist() == canonical


def test_canonical_works_on_many_rows_at_once() -> None:
    rows = np.random.default_rng(0).integers(0, 5, (3, 50, 32)).astype(np.uint8)
    whole = MelodyTokenizer().canonical(rows)
    assert whole.dtype == np.uint8
    assert whole.shape == rows.shape
    single = [MelodyTokenizer().canonical(row) for row in rows.reshape(-1, 32)]
    assert np.array_equal(whole.reshape(-1, 32), np.stack(single))
    assert MelodyTokenizer().canonical(np.zeros((0, 32), np.uint8)).shape == (0, 32)


@pytest.mark.parametrize(
    ("notes", "ids"),
    [
        ([Note(60, 0, 4), Note(64, 0, 2)], [45, 0, 1, 0, 0, 0, 0, 0]),  # the highest of one step stays
        ([Note(60, 0, 8), Note(64, 2, 3)], [41, 0, 45, 1, 0, 0, 0, 0]),  # what was cut does not come back
        ([Note(60, 0, 2), Note(64, 2, 4)], [41, 0, 45, 0, 1, 0, 0, 0]),
        ([Note(60, 6, 8)], [0, 0, 0, 0, 0, 0, 41, 0]),
        ([Note(38, 0, 1, is_drum=True), Note(60, 1, 2)], [0, 41, 1, 0, 0, 0, 0, 0]),
        ([], [0] * 8),
    ],
)
def test_any_score_is_encoded_as_one_voice(notes: list[Note], ids: list[int]) -> None:
    tokenizer = MelodyTokenizer(1, (2, 4))
    assert tokenizer.encode(Score(tuple(notes), 8)).tolist() == ids
    assert tokenizer.encode(Score(tuple(notes[::-1]), 8)).tolist() == ids


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (Score((), 17), "at most 16"),
        (Score((Note(20, 0, 1),), 16), "pitch 20"),
        (Score((Note(109, 0, 1),), 16), "pitch 109"),
        (Score((), 16, steps_per_quarter=8), "8 steps a quarter"),
    ],
)
def test_a_score_that_does_not_fit_is_refused(score: Score, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BAR.encode(score)


@pytest.mark.parametrize("ids", [np.zeros(15, int), np.zeros((1, 16), int), np.full(16, 90), np.full(16, -1)])
def test_wrong_ids_are_refused(ids: np.ndarray) -> None:
    with pytest.raises(ValueError, match="ids"):
        BAR.decode(ids)


@pytest.mark.parametrize("tokenizer", [MelodyTokenizer(), MelodyTokenizer(16), MelodyTokenizer(2, (6, 8))], ids=str)
def test_a_description_builds_the_tokenizer_again(tokenizer: MelodyTokenizer) -> None:
    assert create(json.loads(json.dumps(tokenizer.to_json()))) == tokenizer
    assert tokenizer.note_on.sum() == 88
    assert np.array_equal(np.flatnonzero(tokenizer.note_on), tokenizer.pitch_ids)
    assert tokenizer.vocabulary_size == 90


def test_descriptions_are_stable() -> None:
    assert MelodyTokenizer().to_json() == {"name": "melody", "bars": 2, "meter": [4, 4]}
    assert (MelodyTokenizer().length, MelodyTokenizer(2, (6, 8)).length) == (32, 24)


@pytest.mark.parametrize("spec", [{}, {"name": "drum"}, {"name": "melody"}, {"name": "melody", "bars": 2, "meter": 4}])
def test_a_description_of_nothing_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(InputError, match="tokenizer"):
        create(spec)


def test_ids_need_no_music_library() -> None:
    code = """
import sys
import data_prep.score, data_prep.tokenizers.base, data_prep.windows
heavy = {"torch", "symusic", "pretty_midi", "music21", "matplotlib", "mido", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True)
