"""What single files and sentences give: as they stand when short, their windows when long; what is unknown."""

from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.dataset import SPLITS, prepare
from data_prep.errors import InputError
from data_prep.examples import Example, examples, remarks, sentence, sentence_examples
from data_prep.score import Note, Score
from data_prep.text import MOST
from data_prep.tokenizers.characters import CharacterTokenizer
from data_prep.tokenizers.melody import MelodyTokenizer
from data_prep.tokenizers.text import TextTokenizer
from data_prep.tokenizers.words import WordTokenizer
from data_prep.windows import MelodyOptions

TWO_BARS = MelodyTokenizer()
CAT = WordTokenizer(6, ("the", "cat", "sat", "."))


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


def test_a_named_file_is_read_whatever_plays_it(tmp_path: Path) -> None:
    """In a dataset a fiddle's track may be an accompaniment; here it is what was asked for."""
    fiddle = pretty_midi.PrettyMIDI()
    fiddle.instruments.append(pretty_midi.Instrument(program=40))
    fiddle.instruments[0].notes.append(pretty_midi.Note(velocity=80, pitch=69, start=0.0, end=4.0))
    fiddle.instruments.append(pretty_midi.Instrument(program=0))  # without notes: it plays nothing
    fiddle.write(str(tmp_path / "fiddle.mid"))
    (example,) = examples(tmp_path / "fiddle.mid", MelodyOptions())
    assert example.ids[0] == 69 - 19
    assert example.remark == "it has no instrument that this model reads, so all of its own are read: 40"


def test_a_book_of_tunes_gives_all_of_them(tmp_path: Path) -> None:
    book = "X:{0}\nT:Tune {0}\nM:{1}\nL:1/8\nK:C\nCDEF GABc|cBAG FEDC|\n"
    (tmp_path / "book.abc").write_text("\n".join(book.format(*each) for each in ((1, "4/4"), (2, "3/4"), (3, "4/4"))))
    found = examples(tmp_path / "book.abc", MelodyOptions(bars=1))
    assert [Path(example.source).name for example in found] == ["book.abc#1"] * 2 + ["book.abc#3"] * 2


def test_tunes_are_numbered_as_they_stand_in_their_book(tmp_path: Path) -> None:
    tune = "X:{0}\nT:Tune {0}\nM:4/4\nL:1/8\nK:C\n{1}\n"
    music = "CDEF GABc|cBAG FEDC|"
    for name, tunes in {"book.abc": ("", music, music), "one.abc": ("", music)}.items():
        (tmp_path / name).write_text("\n".join(tune.format(*each) for each in enumerate(tunes, 1)))
    found = {name: examples(tmp_path / name, MelodyOptions(bars=2)) for name in ("book.abc", "one.abc")}
    assert [Path(example.source).name for example in found["book.abc"]] == ["book.abc#2", "book.abc#3"]
    assert [Path(example.source).name for example in found["one.abc"]] == ["one.abc#2"]
    data = prepare([tmp_path / "book.abc"], tmp_path / "data", MelodyOptions(), workers=1)
    assert {source for split in SPLITS for source, _ in data.index(split)} <= {"book.abc#2", "book.abc#3"}


def test_reasons_come_with_the_file_they_are_about(tmp_path: Path) -> None:
    path = written(Score((Note(60, 0, 40),), 48, meter=(3, 4)), tmp_path)
    with pytest.raises(InputError) as error:
        examples(path, MelodyOptions())
    assert str(error.value) == f"{path}: its meter is 3/4, not 4/4: prepare or train with --meter 3/4"
    with pytest.raises(InputError, match="does not exist"):
        examples(tmp_path / "none.mid", MelodyOptions())
    (tmp_path / "notes.txt").write_text("the cat")
    with pytest.raises(InputError, match="is text, no kind of file that is read here"):
        examples(tmp_path / "notes.txt", MelodyOptions())


def of_text(path: Path, data: str | bytes, tokenizer: TextTokenizer = CAT, encoding: str = "utf-8") -> list[Example]:
    path.write_bytes(data if isinstance(data, bytes) else data.encode(encoding))
    return sentence_examples(path, tokenizer, encoding)


def test_a_sentence_is_read_as_it_is_said() -> None:
    found = sentence("  the cat\tsat. ", CAT)
    assert found.ids.tolist() == CAT.encode("the cat sat.").tolist()
    assert (found.source, found.place, found.tempo, found.remark) == ("the cat sat.", 1, None, "")


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("the zyzzy sat.", "1 of 4 words is unknown: zyzzy"),
        ("a b cat c a", "4 of 5 words are unknown: a, b, c"),
        ("a b c d the", "4 of 5 words are unknown: a, b, c, ..."),
        ("the <unk> sat", "1 of 3 words is unknown: <unk>"),
        ("the cat sat. the cat zyzzy", "cut to its first 5 words"),
        ("the zyzzy sat. the cat xyzzy", "1 of 5 words is unknown: zyzzy; cut to its first 5 words"),
        ("the " + 50 * "x", f"1 of 2 words is unknown: {40 * 'x'}..."),
    ],
)
def test_what_is_unknown_or_cut_is_told(text: str, remark: str) -> None:
    assert sentence(text, CAT).remark == remark


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("zyzzy xyzzy", "'zyzzy xyzzy': the model knows none of its words"),
        ("a b c d e the", "'a b c d e the': the model knows none of its words"),  # what is known would be cut off
        (60 * "x", f"'{40 * 'x'}...': the model knows none of its words"),
        ("<unk>", "'<unk>': the model knows none of its words"),
        (" \t\n ", "an empty sentence: it needs at least one word"),
    ],
)
def test_a_sentence_that_says_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        sentence(text, CAT)
    assert str(error.value) == message


def test_characters_are_called_so() -> None:
    assert sentence("abzyx", CharacterTokenizer(9, ("a", "b"))).remark == "3 of 5 characters are unknown: z, y, x"
    with pytest.raises(InputError, match="knows none of its characters"):
        sentence("xyz", CharacterTokenizer(9, ("a", "b")))


def test_a_file_gives_its_lines(tmp_path: Path) -> None:
    found = of_text(tmp_path / "notes.txt", "the cat\r\n\r\nzyzzy\nthe\0cat\n the cat sat on.")
    assert [(example.place, CAT.decode(example.ids)) for example in found] == [
        (1, "the cat"),
        (3, "<unk>"),  # kept: lines and what is made of them go side by side
        (5, "the cat sat <unk>."),
    ]
    assert {(example.source, example.tempo) for example in found} == {(str(tmp_path / "notes.txt"), None)}
    assert [example.remark for example in found] == ["", "1 of 1 word is unknown: zyzzy", "1 of 5 words is unknown: on"]
    assert [example.nul_lines for example in found] == [1, 0, 0]


def test_remarks_say_what_they_are_about(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    found = of_text(path, "a\0\nthe cat zyzzy\n\0\nthe cat")
    assert remarks([*found, sentence("the mat", CAT)]) == [
        f"{path}: 2 lines with NUL bytes left out",
        f"{path}, line 2: 1 of 3 words is unknown: zyzzy",
        "'the mat': 1 of 2 words is unknown: mat",
    ]


def test_files_of_other_encodings_and_lines_without_end(tmp_path: Path) -> None:
    (found,) = of_text(tmp_path / "wide.txt", "the cat", encoding="utf-16")
    assert CAT.decode(found.ids) == "the cat"
    (found,) = of_text(tmp_path / "long.txt", "the cat " * MOST)
    assert (len(found.ids), found.remark) == (6, "cut to its first 5 words")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "there is no sentence in it"),
        (b"\n \n", "there is no sentence in it"),
        ("the cat".encode("utf-16-le"), "NUL bytes.*--encoding"),
        (b"zyzzy\nxyzzy", "the model knows none of its words"),
        (b"the cat\n\xff", "line 2: not utf-8"),
    ],
)
def test_files_of_text_that_cannot_serve_are_told(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        of_text(tmp_path / "notes.txt", data)
    assert str(tmp_path / "notes.txt") in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="is music, and text is read here"):
        of_text(tmp_path / "tune.mid", b"MThd")
