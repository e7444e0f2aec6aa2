"""Every tokenizer keeps the laws for every sequence of ids; their literal ids; the melody alphabet in its parts."""

import itertools
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from data_prep.errors import InputError
from data_prep.score import Note, Score
from data_prep.text import clean
from data_prep.tokenizers.base import _FROM_JSON, Tokenizer, create
from data_prep.tokenizers.characters import CharacterTokenizer
from data_prep.tokenizers.huggingface import HuggingFaceTokenizer
from data_prep.tokenizers.melody import MelodyTokenizer
from data_prep.tokenizers.words import WordTokenizer

BAR = MelodyTokenizer(bars=1)
NASTY = (
    *".,:;!?()[]{}<>'’-\"_$",
    "3",
    "3.5",
    "1,000",
    "don't",
    "a",
    "unk",
    "s",
    "é",
    "e\u0301",
    "\u0301",
    "का",
    "…",
    "—",
)
SPACED = ("N", "n't", "'s", "<eos>", "U.S.", "(a", "b)", "unk", "...", "\u0301", "3.", ".5", "a-", "-b")
SIGNS = (*" .,()<>/sunkEeσς'\u0301\ufdfd\U0001f600", "é")
TEXT = ["the cat sat on the mat.", "a dog sang in the rain, and ran.", "don't! (no)", "naïve café"]


def trained(kind: str) -> str:
    """A small tokenizer.json."""
    decoders, models, normalizers = tokenizers.decoders, tokenizers.models, tokenizers.normalizers
    pre, trainers = tokenizers.pre_tokenizers, tokenizers.trainers
    if kind == "bytes":
        made = tokenizers.Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=280, initial_alphabet=pre.ByteLevel.alphabet(), special_tokens=["<|endoftext|>"]
        )
    elif kind == "wordpiece":
        made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
        made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre.BertPreTokenizer()
        made.decoder = decoders.WordPiece()
        trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    elif kind == "unigram":
        made = tokenizers.Tokenizer(models.Unigram())
        made.pre_tokenizer, made.decoder = pre.Metaspace(), decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=50, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>")
    else:
        made = tokenizers.Tokenizer(models.WordLevel(unk_token="UNKNOWN"))
        made.pre_tokenizer = pre.Whitespace()
        trainer = trainers.WordLevelTrainer(special_tokens=["UNKNOWN"])
    made.train_from_iterator(TEXT, trainer)
    return made.to_str()


TEXT_TOKENIZERS = [
    WordTokenizer(12, NASTY),
    WordTokenizer(12, tuple(dict.fromkeys(symbol.lower() for symbol in NASTY)), lowercase=True),
    WordTokenizer(12, SPACED, split="spaces"),
    WordTokenizer(2, ("a",)),
    CharacterTokenizer(30, SIGNS),
    CharacterTokenizer(30, tuple(sorted({symbol.lower() for symbol in SIGNS})), lowercase=True),
    *(HuggingFaceTokenizer(12, trained(kind)) for kind in ("bytes", "wordpiece", "unigram", "words")),
]
TOKENIZERS: list[Tokenizer] = [MelodyTokenizer(), MelodyTokenizer(1, (3, 4)), *TEXT_TOKENIZERS]
EVERY = pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each.name)
OF_TEXT = pytest.mark.parametrize("tokenizer", TEXT_TOKENIZERS, ids=lambda each: each.name)


def check_laws(tokenizer: Tokenizer, ids: np.ndarray) -> None:
    canonical, item = tokenizer.canonical(ids), tokenizer.decode(ids)
    assert np.array_equal(tokenizer.encode(item), canonical)
    assert tokenizer.decode(canonical) == item
    assert np.array_equal(tokenizer.canonical(canonical), canonical)
    assert len(canonical) <= tokenizer.length
    if tokenizer.eos is None:
        assert item.steps == len(canonical) == tokenizer.length
    else:
        assert len(item.splitlines()) <= 1, "a sentence is a line, whatever its pieces are"
        assert "\0" not in item
        assert canonical.tolist().index(tokenizer.eos) == len(canonical) - 1
        assert tokenizer.bos not in canonical.tolist()


def test_the_laws_are_tested_for_every_registered_tokenizer() -> None:
    assert {tokenizer.name for tokenizer in TOKENIZERS} == set(_FROM_JSON)


@EVERY
@given(data=st.data())
def test_encoding_what_was_decoded_gives_the_canonical_ids(tokenizer: Tokenizer, data: st.DataObject) -> None:
    ids = st.integers(0, tokenizer.vocabulary_size - 1) | st.integers(0, 3)  # 0-3: the special ones in most
    least, most = (tokenizer.length, tokenizer.length) if tokenizer.eos is None else (0, tokenizer.length + 5)
    check_laws(tokenizer, np.array(data.draw(st.lists(ids, min_size=least, max_size=most)), dtype=np.int64))


@OF_TEXT
@given(text=st.text() | st.text("<unks/>[UNK] .a'e\u0301"))
def test_any_text_is_encoded_within_the_length_and_the_vocabulary(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids.dtype == np.uint16
    assert 1 <= len(ids) <= tokenizer.length
    assert ids.max() < tokenizer.vocabulary_size
    assert ids.tolist().index(tokenizer.eos) == len(ids) - 1
    assert np.array_equal(tokenizer.encode(tokenizer.decode(ids)), tokenizer.canonical(ids))


@EVERY
def test_a_description_in_json_builds_the_tokenizer_again(tokenizer: Tokenizer) -> None:
    again = create(json.loads(json.dumps(tokenizer.to_json())))
    assert again == tokenizer
    assert (again.kind, again.eos, again.bos, again.blank) == (
        tokenizer.kind,
        tokenizer.eos,
        tokenizer.bos,
        tokenizer.blank,
    )
    assert (tokenizer.note_on is None) == (tokenizer.pitch_ids is None) == (tokenizer.kind == "text")


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


def test_the_ids_of_words_are_never_renumbered() -> None:
    tokenizer = WordTokenizer(10, ("the", "cat", "."))
    assert (tokenizer.bos, tokenizer.eos, tokenizer.blank, tokenizer.pad, tokenizer.vocabulary_size) == (0, 1, 2, 3, 7)
    assert tokenizer.encode("the cat saw the <unk> .").tolist() == [4, 5, 2, 4, 2, 6, 1]
    assert tokenizer.decode(np.array([0, 4, 5, 2, 3, 6, 1, 4, 3])) == "the cat <unk>."
    described = {"name": "words", "length": 10, "lowercase": False, "split": "punctuation"}
    assert tokenizer.to_json() == {**described, "symbols": ["the", "cat", "."]}


def test_the_ids_of_characters_are_never_renumbered() -> None:
    tokenizer = CharacterTokenizer(8, (" ", "a", "b"))
    assert (tokenizer.bos, tokenizer.eos, tokenizer.blank, tokenizer.pad, tokenizer.vocabulary_size) == (0, 1, 2, 3, 7)
    assert tokenizer.encode("a bob").tolist() == [5, 4, 6, 2, 6, 1]
    assert tokenizer.decode(np.array([5, 4, 6, 2, 6, 1])) == "a b\ufffdb"
    assert tokenizer.to_json() == {"name": "characters", "length": 8, "lowercase": False, "symbols": [" ", "a", "b"]}


def test_the_ids_of_a_tokenizer_json_are_its_own() -> None:
    ids = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "cat": 4, "##s": 5, "the": 9}
    made = tokenizers.Tokenizer(tokenizers.models.WordPiece(ids, unk_token="[UNK]"))
    made.pre_tokenizer, made.decoder = tokenizers.pre_tokenizers.Whitespace(), tokenizers.decoders.WordPiece()
    tokenizer = HuggingFaceTokenizer(10, made.to_str())
    assert (tokenizer.bos, tokenizer.eos, tokenizer.blank, tokenizer.pad, tokenizer.vocabulary_size) == (2, 3, 1, 0, 10)
    assert tokenizer.encode("the cats [SEP] zzz").tolist() == [9, 4, 5, 1, 3]
    assert tokenizer.decode(np.array([2, 9, 4, 5, 1, 3, 4])) == "the cats [UNK]"
    assert tokenizer.unknown("the zzz cats") == ["zzz"]
    assert tokenizer.to_json() == {"name": "huggingface", "length": 10, "text": made.to_str()}


def test_a_tokenizer_json_without_a_piece_for_what_it_does_not_know_says_so() -> None:
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({"the": 0, "cat": 1}))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = HuggingFaceTokenizer(10, made.to_str())
    assert tokenizer.decode(tokenizer.encode("the cat")) == "the cat"
    for read in (tokenizer.encode, tokenizer.unknown):
        with pytest.raises(InputError, match=r"cannot read 'the zebra' \(.*\): it needs a piece"):
            read("the zebra")


def test_special_ids_that_a_tokenizer_json_lacks_come_after_its_last() -> None:
    bytes_alone = HuggingFaceTokenizer(10, trained("bytes"))
    size = bytes_alone.vocabulary_size
    assert (bytes_alone.bos, bytes_alone.eos, bytes_alone.blank, bytes_alone.pad) == (size - 2, 0, size - 1, 0)
    assert bytes_alone.decode(np.array([size - 1, 0])) == "<unk>"
    assert bytes_alone.unknown("naïve ☃") == []


def test_pieces_that_are_line_ends_or_other_controls_are_blanks_in_a_sentence() -> None:
    tokenizer = HuggingFaceTokenizer(20, trained("bytes"))
    ids = tokenizer.encode(" the\r\n cat\0\tsat\u2028")
    assert tokenizer.decode(ids) == "the cat sat"
    check_laws(tokenizer, ids)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop, rock'n'roll!", "Don't stop , rock'n'roll !"),
        ("a well-known 3.5-inch disk (1,000 of them).", "a well-known 3.5-inch disk ( 1,000 of them ) ."),
        ('\'tis "so" -- he said...', '\' tis " so " - - he said . . .'),
        ("O’Neil e-mails: v1.2, 3rd, 12:30", "O’Neil e-mails : v1.2 , 3rd , 12 : 30"),
        ("हिन्दी می\u200cخواهم x\u0302y", "हिन्दी می\u200cخواهم x\u0302y"),
        ("<unk> < unk > <s>", "<unk> < unk > < s >"),
        ("a👨\u200d👩\u200d👧 ❤\ufe0f👧🏽!", "a 👨\u200d👩\u200d👧 ❤\ufe0f 👧🏽 !"),
        ("(\u0301 👧\u200d(", "( \u0301 👧 \u200d ("),
        ("", ""),
    ],
)
def test_words_and_signs(text: str, words: str) -> None:
    assert " ".join(WordTokenizer(9).split_up(text)) == words


@given(text=st.text("ab1_'’-.,([{)]} \u0301\u200c\u200d\ufe0f👧🏽❤नी\"", max_size=20))
def test_words_and_signs_come_back_as_they_were_written(text: str) -> None:
    tokenizer = WordTokenizer(99)
    found = tokenizer.split_up(clean(text))
    assert tokenizer.split_up(tokenizer.join(found)) == found
    again = tokenizer.split_up(tokenizer.join(found[::-1]))
    assert again == found[::-1]  # in any order


@given(text=st.text("ab'-.,3_<unk> ("))
def test_plain_text_is_split_as_any_other(text: str) -> None:
    tokenizer = WordTokenizer(9)
    assert tokenizer.split_up(f"{text} ☃") == [*tokenizer.split_up(text), "☃"]


def test_words_are_written_as_people_write_them() -> None:
    text = "No, he said (twice): it's 3.5 km [or more]; go!"
    tokenizer = WordTokenizer(30)
    assert tokenizer.join(tokenizer.split_up(text)) == text
    assert tokenizer.join(["(", "(", ")", ".", ",", "a", "[", "]", "<unk>", "?"]) == "(()., a [] <unk>?".replace(
        "]<", "] <"
    )


def test_spaces_alone_split_what_was_split_before() -> None:
    tokenizer = WordTokenizer(9, ("n't", "N"), split="spaces")
    assert tokenizer.encode(" it was n't N <unk> \n").tolist() == [2, 2, 4, 5, 2, 1]
    assert tokenizer.decode(np.array([4, 5, 2])) == "n't N <unk>"


def test_lower_case() -> None:
    assert WordTokenizer(9, ("the", "ὀδυσσεύς"), lowercase=True).encode("THE ὈΔΥΣΣΕΎΣ <UNK>").tolist() == [4, 5, 2, 1]
    assert CharacterTokenizer(9, ("a",), lowercase=True).decode(np.array([4, 2])) == "a\ufffd"


def test_what_a_unigram_vocabulary_calls_unknown_is_unknown() -> None:
    made = tokenizers.Tokenizer(tokenizers.models.Unigram([("a", -1.0), ("what?", 0.0)], unk_id=1))
    tokenizer = HuggingFaceTokenizer(9, made.to_str())
    assert (tokenizer.blank, tokenizer.unknown("ab"), tokenizer.vocabulary_size) == (1, ["b"], 4)


def test_small_letters_are_one_sign_where_capitals_are_two() -> None:
    text = clean("J\u030can \u03a5\u0308\u0301")
    assert WordTokenizer(9, ("\u01f0an", "\u03b0"), lowercase=True).encode(text).tolist() == [4, 5, 1]
    assert CharacterTokenizer(9, ("\u01f0",), lowercase=True).encode(text).tolist()[0] == 4


def test_what_is_longer_is_cut() -> None:
    assert WordTokenizer(4, ("a",)).encode("a a a a a").tolist() == [4, 4, 4, 1]
    assert WordTokenizer(4, ("a",)).decode(np.array([4, 4, 4, 4, 4])) == "a a a"


def test_a_vocabulary_is_chosen_by_frequency_then_alphabet() -> None:
    counts = Counter({"b": 5, "a": 5, "c": 9, "rare": 1, "<unk>": 50, "</s>": 40, "w" * 101: 7})
    tokenizer = WordTokenizer(9, split="spaces")
    assert tokenizer.chosen(counts, None, 1) == ("c", "a", "b", "rare")
    assert tokenizer.chosen(counts, None, 2) == ("c", "a", "b")
    assert tokenizer.chosen(counts, 6, 1) == ("c", "a")
    assert tokenizer.chosen(counts, 4, 1) == ()


def test_a_word_has_at_most_a_hundred_letters() -> None:
    counts = Counter({"w" * 100: 1, "w" * 101: 7})
    assert WordTokenizer(9, split="spaces").chosen(counts, None, 1) == ("w" * 100,)


def test_large_vocabularies_have_wider_ids() -> None:
    symbols = tuple(f"w{number}" for number in range(65_533))
    assert WordTokenizer(9, symbols[:-1]).encode("w3").dtype == np.uint16
    assert WordTokenizer(9, symbols).encode("w65532").tolist() == [65_536, 1]


@OF_TEXT
@pytest.mark.parametrize("ids", [np.zeros((2, 3), int), np.array([1, -1]), np.array([10_000])])
def test_wrong_ids_of_text_are_refused(tokenizer: Tokenizer, ids: np.ndarray) -> None:
    with pytest.raises(ValueError, match="ids"):
        tokenizer.decode(ids)
    with pytest.raises(ValueError, match="ids"):
        tokenizer.canonical(ids)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "words"}, "damaged"),
        ({"name": "words", "length": 9, "symbols": "abc"}, "damaged"),
        ({"name": "words", "length": 9, "symbols": [1]}, "damaged"),
        ({"name": "words", "length": 9, "symbols": [], "colour": "red"}, "damaged"),
        ({"name": "words", "length": float("inf"), "symbols": []}, "damaged"),
        ({"name": "words", "length": 1, "symbols": []}, "at least 2"),
        ({"name": "words", "length": 9, "symbols": [], "split": "syllables"}, "punctuation, spaces"),
        ({"name": "words", "length": 9, "symbols": ["a", "a"]}, "twice"),
        ({"name": "words", "length": 9, "symbols": ["a b"]}, "no word"),
        ({"name": "words", "length": 9, "symbols": ["<unk>"]}, "no word"),
        ({"name": "words", "length": 9, "symbols": ["A"], "lowercase": True}, "no word"),
        ({"name": "characters", "length": 9, "symbols": ["ab"]}, "no character"),
        ({"name": "huggingface", "length": 9, "text": "{}"}, "no tokenizer.json"),
        ({"name": "huggingface", "length": 9, "text": 5}, "no tokenizer.json"),
    ],
)
def test_damaged_descriptions_of_text_are_refused_in_a_line(spec: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        create(spec)
    assert "\n" not in str(caught.value)


def test_long_descriptions_are_not_told_in_full() -> None:
    with pytest.raises(InputError) as caught:
        create({"name": "words", "symbols": [f"w{number}" for number in range(10_000)]})
    assert len(str(caught.value)) < 300


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"pip install 'seqvae\[tokenizers\]'"):
        create({"name": "huggingface", "length": 9, "text": "{}"})
