"""What single files give: as they stand when short, their windows when long."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.errors import InputError
from data_prep.examples import examples
from data_prep.score import Note, Score
from data_prep.tokenizers.melody import MelodyTokenizer
from data_prep.windows import MelodyOptions

TWO_BARS = MelodyTokenizer()


def written(score: Score, folder: Path) -> Path:
    score.write_midi(folder / "tune.mid", force=True)
    return folder / "tune.mid"


# few symbols give long notes and rests, many give what a model without training says
sequences = st.integers(2, 90).flatmap(
    lambda symbols: st.lists(st.integers(0, symbols - 1) | st.just(0), min_size=32, max_size=32)
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences)
def test_what_a_model_wrote_is_read_back_exactly(tmp_path: Path, ids: list[int]) -> None:
    canonical = TWO_BARS.canonical(np.array(ids, dtype=np.uint8))
    path = written(TWO_BARS.decode(canonical, tempo=93.0), tmp_path)
    if not canonical.any():
        with pytest.raises(InputError, match="no notes"):
            examples(path, MelodyOptions())
        return
    (example,) = examples(path, MelodyOptions())
    assert np.array_equal(example.ids, canonical)
    assert example.tempo == pytest.approx(93.0, abs=1e-3)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences)
def test_so_is_what_pretty_midi_wrote(tmp_path: Path, ids: list[int]) -> None:
    canonical = TWO_BARS.canonical(np.array([41, *ids[1:]], dtype=np.uint8))
    TWO_BARS.decode(canonical).to_pretty_midi().write(str(tmp_path / "tune.mid"))
    assert np.array_equal(examples(tmp_path / "tune.mid", MelodyOptions())[0].ids, canonical)


@pytest.mark.parametrize("meter", [(3, 4), (6, 8), (2, 4), (5, 4), (9, 8)])
def test_other_meters_go_round_as_well(meter: tuple[int, int], tmp_path: Path) -> None:
    tokenizer = MelodyTokenizer(3, meter)
    ids = np.random.default_rng(0).integers(0, 6, tokenizer.length).astype(np.uint8)
    (example,) = examples(written(tokenizer.decode(ids), tmp_path), MelodyOptions(meter=meter, bars=3))
    assert np.array_equal(example.ids, tokenizer.canonical(ids))


@pytest.mark.parametrize(
    ("notes", "remark"),
    [
        ((Note(60, 0, 16),), "1 bar long, filled up with rests to 2"),
        ((Note(60, 0, 17),), ""),
        ((Note(60, 20, 32),), ""),
    ],
)
def test_a_file_that_is_short_says_so(notes: tuple[Note, ...], remark: str, tmp_path: Path) -> None:
    path = written(Score(notes, 32), tmp_path)
    (example,) = examples(path, MelodyOptions())
    assert (example.remark, example.source, example.place) == (remark, str(path), 1)


def test_a_longer_file_gives_its_windows(tmp_path: Path) -> None:
    notes = tuple(Note(60 + bar, 16 * bar, 16 * bar + 8) for bar in range(1, 5))
    found = examples(written(Score(notes, 80, tempo=75.0), tmp_path), MelodyOptions())
    assert [(example.place, example.ids[0]) for example in found] == [(2, 42), (3, 43), (4, 44)]
    assert {example.tempo for example in found} == {75.0}


def test_a_book_of_tunes_gives_all_of_them(tmp_path: Path) -> None:
    book = "X:{0}\nT:Tune {0}\nM:{1}\nL:1/8\nK:C\nCDEF GABc|cBAG FEDC|\n"
    (tmp_path / "book.abc").write_text("\n".join(book.format(*each) for each in ((1, "4/4"), (2, "3/4"), (3, "4/4"))))
    found = examples(tmp_path / "book.abc", MelodyOptions(bars=1))
    assert [Path(example.source).name for example in found] == ["book.abc#1"] * 2 + ["book.abc#3"] * 2


def test_reasons_come_with_the_file_they_are_about(tmp_path: Path) -> None:
    path = written(Score((Note(60, 0, 40),), 48, meter=(3, 4)), tmp_path)
    with pytest.raises(InputError) as error:
        examples(path, MelodyOptions())
    assert str(error.value) == f"{path}: its meter is 3/4, not 4/4: prepare or train with --meter 3/4"
    with pytest.raises(InputError, match="does not exist"):
        examples(tmp_path / "none.mid", MelodyOptions())
