"""Datasets of sentences: what is in them, how they are split, their vocabulary, and bad files among good ones."""

import csv
import dataclasses
import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from tunes import unclose

from data_prep import splits
from data_prep.dataset import SPLITS, Dataset, cached, fingerprint, open_dataset, prepare
from data_prep.errors import InputError
from data_prep.text import TextOptions
from data_prep.text_gathering import _hash
from data_prep.windows import MelodyOptions

PTB = Path(__file__).parents[2] / "shared" / "data" / "ptb"
WORDS = "the a cat dog mat sat ran sang on under near with hat sun rain".split()  # noqa: SIM905
OPTIONS = TextOptions()


def lines(number: int, seed: int = 0) -> list[str]:
    """Sentences of two to eight words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(2, 9))) + "." for _ in range(number)]


def write(path: Path, content: list[str] | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else "".join(f"{line}\n" for line in content).encode())
    return path


def sentences_of(data: Dataset, name: str) -> list[str]:
    return [data.tokenizer.decode(ids) for ids in data.split(name)]


def everything(data: Dataset) -> list[str]:
    return sorted(sentence for name in SPLITS for sentence in sentences_of(data, name))


def made(folder: Path, content: list[str] | bytes, options: TextOptions = OPTIONS, **more: Any) -> Dataset:
    """The dataset of one file."""
    return prepare([write(folder / "notes.txt", content)], folder / "data", options, force=True, **more)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write(folder / "a.txt", [*lines(200), "", *lines(50, seed=1)])
    write(folder / "more" / "b.txt.gz", gzip.compress("\r\n".join(lines(100, seed=2)).encode()))
    write(folder / "readme.md", ["no text is looked for here"])
    write(folder / "more" / "tune.mid.gz", b"nor is music")
    return folder


@pytest.fixture(scope="module")
def prepared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return prepare([corpus], tmp_path_factory.mktemp("prepared") / "data", OPTIONS)


def test_a_folder_holds_every_sentence_of_every_file(prepared: Dataset) -> None:
    assert everything(prepared) == sorted(lines(200) + lines(50, seed=1) + lines(100, seed=2))
    counts = prepared.info["counts"]
    assert (counts["files"], counts["empty_lines"], prepared.info["split_by"]) == (2, 1, "sentence")


def test_files_of_a_folder(prepared: Dataset) -> None:
    arrays = [f"{name}{part}.npy" for name in SPLITS for part in ("", "-offsets")]
    assert sorted(os.listdir(prepared.path)) == sorted([*arrays, "dataset.json", "index.csv"])
    for name in SPLITS:
        split = prepared.split(name)
        assert isinstance(split.ids, np.memmap)
        assert (split.ids.dtype, split.offsets.dtype) == (np.uint16, np.int64)
        assert len(split) == prepared.info["counts"][name]
        assert len(split.ids) == prepared.info["counts"][f"{name}_tokens"]
        assert all(ids[-1] == 1 and 1 not in ids[:-1] and 0 not in ids for ids in split)
    info = json.loads((prepared.path / "dataset.json").read_text())
    assert info["options"] == dataclasses.asdict(OPTIONS)
    assert info["tokenizer"] == prepared.tokenizer.to_json()


def test_the_index_names_the_place_of_every_sentence(corpus: Path, prepared: Dataset) -> None:
    files = {"a.txt": (corpus / "a.txt").read_text().split("\n"), "more/b.txt.gz": lines(100, seed=2)}
    for name in SPLITS:
        places = prepared.index(name)
        assert [files[source][line - 1] for source, line in places] == sentences_of(prepared, name)
    with (prepared.path / "index.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["split", "row", "source", "line"]


def test_the_vocabulary_is_that_of_train_by_frequency(tmp_path: Path) -> None:
    many = [f"w{number} common" for number in range(300)]
    data = made(tmp_path, many)
    train = {symbol for sentence in sentences_of(data, "train") for symbol in sentence.split()}
    assert data.tokenizer.symbols == ("common", *sorted(train - {"common"}))
    counts = data.info["counts"]
    assert counts["train_unknown"] == 0
    assert [counts[f"{name}_unknown"] for name in ("valid", "test")] == [counts["valid"], counts["test"]]
    assert f"unknown words: train 0.00%, valid {0.5:.2%}, test {0.5:.2%}" in data.summary()


def test_the_size_of_a_vocabulary(tmp_path: Path) -> None:
    content = ["one two three"] * 9 + ["one two"] * 5 + ["one"] * 3
    train = {"split": (1.0, 0.0, 0.0)}
    assert made(tmp_path, content, **train).tokenizer.symbols == ("one", "two", "three")
    assert made(tmp_path, content, TextOptions(vocabulary_size=6), **train).tokenizer.symbols == ("one", "two")
    assert made(tmp_path, content, TextOptions(min_count=14), **train).tokenizer.symbols == ("one", "two")
    data = made(tmp_path, content, TextOptions(vocabulary_size=5, tokenizer="characters", min_count=2), **train)
    assert data.tokenizer.vocabulary_size == 5
    assert "1 of the 8 different characters" in data.summary()


def test_equal_sentences_stay_and_lie_together(tmp_path: Path) -> None:
    content = [sentence for number in range(200) for sentence in (f"sentence {number}", f"Sentence  {number} ")]
    data = made(tmp_path, content)
    for name in SPLITS:
        numbers = Counter(sentence.split()[1] for sentence in sentences_of(data, name))
        assert name != "train" or set(numbers.values()) == {2}
        assert len(data.split(name)) % 2 == 0
    assert sum(data.info["counts"][name] for name in SPLITS) == 400


def test_added_sentences_move_none_and_places_do_not_matter(tmp_path: Path) -> None:
    def where(data: Dataset) -> dict[tuple[str, int], str]:
        return {place: name for name in SPLITS for place in data.index(name)}

    before = where(made(tmp_path, lines(300)))
    after = where(made(tmp_path, lines(300) + lines(200, seed=9)))
    assert before.items() <= after.items()
    elsewhere = made(tmp_path / "elsewhere", lines(300))
    assert where(elsewhere) == before


def test_the_hash_is_the_same_everywhere() -> None:
    assert _hash("The cat sat.") == _hash("the CAT sat.") == 0xA4D1C6630DD725C3


@pytest.mark.parametrize(
    "shares", [(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.9, 0.1, 0.0), (0.9, 0.0, 0.1), (1.0, 0.0, 0.0)]
)
def test_hashes_are_split_by_their_place(shares: tuple[float, float, float]) -> None:
    hashes = np.random.default_rng(0).integers(1 << 64, size=5000, dtype=np.uint64)
    split = splits.by_hash(np.concatenate([hashes, hashes]), shares)
    assert split[:5000].tolist() == split[5000:].tolist()
    bounds = np.cumsum(shares)
    wanted = [int(np.searchsorted(bounds, float(h) / 2.0**64, side="right")) for h in hashes]
    assert split[:5000].tolist() == wanted


@pytest.mark.parametrize(
    "hashes", [[1, 2, 3], [2**64 - 1, 2**64 - 2, 2**64 - 3], [1, 1, 5, 2**64 - 1, 2**64 - 1], [7, 2**63, 9]]
)
def test_of_three_different_sentences_each_split_has_one(hashes: list[int]) -> None:
    given = np.array(hashes, np.uint64)
    split = splits.by_hash(given, (0.8, 0.1, 0.1))
    assert set(split.tolist()) == {0, 1, 2}
    order = np.argsort(given, kind="stable")
    assert (np.diff(split[order]) >= 0).all()  # the nearest moved
    assert set(splits.by_hash(given, (0.9, 0.0, 0.1)).tolist()) == {0, 2}
    assert set(splits.by_hash(given, (0.9, 0.1, 0.0)).tolist()) == {0, 1}


def test_fewer_than_three_different_sentences_are_for_train(tmp_path: Path) -> None:
    assert splits.by_hash(np.array([2**64 - 1, 5, 5], np.uint64), (0.8, 0.1, 0.1)).tolist() == [0, 0, 0]
    data = made(tmp_path, ["a single sentence"])
    assert [len(data.split(name)) for name in SPLITS] == [1, 0, 0]
    assert "too few different sentences for valid and test" in data.summary()
    assert data.split("valid").padded(np.array([], int), 1).shape == (0, 0)


def test_files_of_their_own_for_valid_and_test(tmp_path: Path) -> None:
    train, valid, test = (write(tmp_path / f"{n}.txt", lines(20, seed)) for seed, n in enumerate("abc"))
    data = prepare([train], tmp_path / "data", OPTIONS, valid=[valid], test=[test])
    for seed, name in enumerate(SPLITS):
        assert sentences_of(data, name) == lines(20, seed)
        assert data.index(name) == [(f"{'abc'[seed]}.txt", line) for line in range(1, 21)]
    assert data.info["split_by"] == "files"
    alone = prepare([train], tmp_path / "alone", OPTIONS, valid=[valid])
    assert [len(alone.split(name)) for name in SPLITS] == [20, 20, 0]
    assert "no sentences for test" in alone.summary()
    with pytest.raises(InputError, match="for text"):
        prepare([train], tmp_path / "music", MelodyOptions(), valid=[valid])


def test_files_for_valid_are_not_trained_on_where_the_sources_lead_to_them_too(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / f"{name}.txt").write_text(f"{name} and {name}\n")
    own = {"valid": [tmp_path / "two.txt"], "test": [tmp_path / "three.txt"]}
    data = prepare([tmp_path], tmp_path / "data", OPTIONS, **own)
    assert {source for source, _ in data.index("train")} == {"one.txt"}
    assert "two" not in data.tokenizer.symbols
    with pytest.raises(InputError, match="there is none to train on"):
        prepare(own["valid"], tmp_path / "other", OPTIONS, valid=own["valid"])


def test_bad_files_for_valid_are_an_error(tmp_path: Path) -> None:
    train = write(tmp_path / "a.txt", lines(20))
    with pytest.raises(InputError, match=r"nothing in .*b.txt can be used: .*no sentence"):
        prepare([train], tmp_path / "data", OPTIONS, valid=[write(tmp_path / "b.txt", b"\n\n")])
    with pytest.raises(InputError, match="does not exist"):
        prepare([train], tmp_path / "data", OPTIONS, test=[tmp_path / "none.txt"])
    assert not (tmp_path / "data").exists()


def test_long_sentences_are_cut_or_dropped_and_told(tmp_path: Path) -> None:
    content = ["one two three four five", *["one two three"] * 5, "six seven eight nine"]
    cut = made(tmp_path, content, TextOptions(max_length=3), split=(1.0, 0.0, 0.0))
    assert sentences_of(cut, "train") == ["one two three"] * 6 + ["six seven eight"]
    assert "2 sentences longer than 3 words cut to this length" in cut.summary()
    dropped = made(tmp_path, content, TextOptions(max_length=3, long="drop"), split=(1.0, 0.0, 0.0))
    assert sentences_of(dropped, "train") == ["one two three"] * 5
    assert dropped.index("train") == [("notes.txt", line) for line in range(2, 7)]
    assert "2 sentences longer than 3 words left out" in dropped.summary()
    for data in (cut, dropped):  # what is left out is not in the vocabulary
        assert not {"four", "five", "nine"} & set(data.tokenizer.symbols)
        assert data.tokenizer.length == 4
    with pytest.raises(InputError, match="all sentences for train are longer than 2 words; raise --max-length"):
        made(tmp_path, content, TextOptions(max_length=2, long="drop"))


def test_a_line_without_end_is_one_sentence_that_is_cut_or_dropped(tmp_path: Path) -> None:
    content = b"first line\n" + b"many words " * 1_000_000 + b"\n" + b"x" * 5_000_000 + b"\nlast line\n"
    started = time.process_time()
    cut = made(tmp_path, content, split=(1.0, 0.0, 0.0))
    assert time.process_time() - started < 20
    assert cut.split("train").lengths.tolist() == [3, 101, 2, 3]
    assert "2 lines longer than 1,048,576 characters, of which the beginning was read" in cut.summary()
    assert "cut to this length" not in cut.summary()
    assert max(map(len, cut.tokenizer.symbols)) <= 100  # a word of a million letters is none
    dropped = made(tmp_path, content, TextOptions(long="drop"), split=(1.0, 0.0, 0.0))
    assert sentences_of(dropped, "train") == ["first line", "last line"]
    assert "2 lines longer than 1,048,576 characters, left out" in dropped.summary()
    assert "longer than 100 words" not in dropped.summary()


def test_line_ends_and_compression_make_no_difference(tmp_path: Path) -> None:
    unix = "\n".join(lines(50)).encode()
    first = made(tmp_path, unix)
    wanted = {file.name: file.read_bytes() for file in first.path.iterdir() if file.suffix == ".npy"}
    for name, content in [
        ("windows.txt", unix.replace(b"\n", b"\r\n")),
        ("mac.txt", unix.replace(b"\n", b"\r")),
        ("marked.txt", b"\xef\xbb\xbf" + unix),
        ("packed.txt.gz", gzip.compress(unix)),
    ]:
        data = prepare([write(tmp_path / name, content)], tmp_path / "again", OPTIONS, force=True)
        assert {file.name: file.read_bytes() for file in data.path.iterdir() if file.suffix == ".npy"} == wanted


def test_bad_files_are_skipped_and_told_and_leave_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    write(folder / "a.txt", lines(30))
    write(folder / "b.txt", "secret word\nmore\ncaf\xe9\n".encode("latin-1"))
    write(folder / "c.txt.gz", gzip.compress("\n".join(lines(3000, seed=5)).encode())[:-20])
    write(folder / "d.txt", "wide".encode("utf-16-le"))
    write(folder / "e.txt", b"")
    write(folder / "f.txt", b"\x7fELF\x02\x01\0\0\xff\xfe\0")
    write(folder / "g.txt", b"x" * 2_000_000 + b"\n\xff")
    write(folder / "z.txt", lines(30, seed=1))
    data = prepare([folder], tmp_path / "data", OPTIONS)
    assert everything(data) == sorted(lines(30) + lines(30, seed=1))
    reasons = dict(data.skipped)
    assert list(reasons) == ["b.txt", "c.txt.gz", "d.txt", "e.txt", "f.txt", "g.txt"]
    assert reasons["b.txt"] == "line 3: not utf-8 (byte 0xe9); say what it is with --encoding, e.g. latin-1"
    assert "no whole gzip" in reasons["c.txt.gz"]
    assert "utf-16" in reasons["d.txt"]
    assert reasons["e.txt"] == "there is no sentence in it"
    assert "no text" in reasons["f.txt"]
    assert str(tmp_path) not in " ".join(reasons.values())
    assert "skipped 6: " in data.summary()
    assert data.info["counts"]["cut"] == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntwo\xff", r"line 2: not utf-8 \(byte 0xff\); .*--encoding"),
        (b"", "there is no sentence in it"),
        (b"\n \r\n\t\x00", "NUL bytes"),
        (b"\n \r\n\t\n", "there is no sentence in it"),
        ("one\ntwo\n".encode("utf-16-le"), "--encoding, like utf-16"),
        (b"GIF89a\x01\0\x80\xff", "no text file"),
        (b"<unk> <unk>\n<s>\n", "no word can be in the vocabulary: the most frequent one, '<unk>', occurs 2 times"),
    ],
)
def test_the_only_file_being_bad_is_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        made(tmp_path, content, TextOptions(split="spaces"))
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_folders_without_text_and_music_are_told(tmp_path: Path) -> None:
    write(tmp_path / "tunes" / "tune.mid", b"MThd")
    with pytest.raises(InputError, match=r"no text found in .*; looked for \.txt \.gz"):
        prepare([tmp_path / "tunes"], tmp_path / "data", OPTIONS)
    with pytest.raises(InputError, match="is music, and text is read here"):
        prepare([tmp_path / "tunes" / "tune.mid"], tmp_path / "data", OPTIONS)
    write(tmp_path / "notes", ["a file of any other name", "is text", "when it is named"])
    assert len(everything(prepare([tmp_path / "notes"], tmp_path / "data", OPTIONS))) == 3


def test_lines_with_nul_bytes_and_empty_ones_are_counted(tmp_path: Path) -> None:
    data = made(tmp_path, b"one\n\n\0\ntw\0o\n   \nthree four\nfive\n", split=(1.0, 0.0, 0.0))
    assert sentences_of(data, "train") == ["one", "three four", "five"]
    assert (data.info["counts"]["empty_lines"], data.info["counts"]["nul_lines"]) == (2, 2)
    assert "2 empty lines passed over" in data.summary()
    assert "2 lines with NUL bytes left out" in data.summary()


def test_other_encodings_give_the_same_sentences(tmp_path: Path) -> None:
    content = ["déjà vu", "über alles", "señor"] * 3
    for encoding in ("latin-1", "utf-16", "cp1252"):
        data = made(tmp_path, "\r\n".join(content).encode(encoding), TextOptions(encoding=encoding), split=(1, 0, 0))
        assert sentences_of(data, "train") == content


def test_a_vocabulary_of_one_word_is_noted(tmp_path: Path) -> None:
    data = made(tmp_path, ["la " * n for n in range(1, 9)])
    assert data.tokenizer.vocabulary_size == 5
    assert "a vocabulary of a single word" in data.summary()


def test_sentences_without_a_known_word_stay_and_are_told(tmp_path: Path) -> None:
    content = ["known words here"] * 20 + ["known plugh", "zyzzy xyzzy"]
    data = made(tmp_path, content, TextOptions(min_count=2), split=(1.0, 0.0, 0.0))
    assert sentences_of(data, "train")[-1] == "<unk> <unk>"
    assert "1 sentence without a known word" in data.summary()
    with pytest.raises(InputError, match=r"the most frequent one, 'here', occurs 20 times in train.*--min-count is 21"):
        made(tmp_path, ["here"] * 20, TextOptions(min_count=21))


def test_characters(tmp_path: Path) -> None:
    names = ["C1=CC=CC=C1", "CCO", "N#N", "C(C)O", "O=C=O"] * 4
    data = made(tmp_path, names, TextOptions(tokenizer="characters", max_length=20), split=(1.0, 0.0, 0.0))
    assert sentences_of(data, "train") == names
    assert "characters" in data.summary()


def test_a_tokenizer_json_as_vocabulary(tmp_path: Path) -> None:
    pieces = tokenizers.Tokenizer(tokenizers.models.WordLevel(unk_token="[UNK]"))
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    pieces.train_from_iterator(lines(50), tokenizers.trainers.WordLevelTrainer(special_tokens=["[UNK]"]))
    pieces.save(str(tmp_path / "tokenizer.json"))
    options = TextOptions("huggingface", tokenizer_file=str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="all sentences for train are longer than 2 pieces"):
        made(tmp_path, lines(50), dataclasses.replace(options, max_length=2, long="drop"))
    data = made(tmp_path, lines(50), options)
    before = fingerprint([tmp_path / "notes.txt"], options)
    os.utime(tmp_path / "tokenizer.json", ns=(0, 0))
    assert fingerprint([tmp_path / "notes.txt"], options) != before
    (tmp_path / "tokenizer.json").unlink()  # the dataset stands alone
    again = open_dataset(data.path)
    assert everything(again) == sorted(line.replace(".", " .") for line in lines(50))
    assert "pieces" in again.summary()
    with pytest.raises(InputError, match="tokenizer file"):
        made(tmp_path, lines(50), options)


def test_unchanged_sources_are_not_read_again(tmp_path: Path) -> None:
    notes, valid = write(tmp_path / "notes.txt", lines(30)), write(tmp_path / "valid.txt", lines(9, seed=1))
    assert not cached([notes], OPTIONS, tmp_path / "data").reused
    assert cached([notes], OPTIONS, tmp_path / "data").reused
    assert not cached([notes], TextOptions(lowercase=True), tmp_path / "data").reused
    assert not cached([notes], OPTIONS, tmp_path / "data", valid=[valid]).reused
    assert cached([notes], OPTIONS, tmp_path / "data", valid=[valid]).reused
    assert not cached([notes], OPTIONS, tmp_path / "data", test=[valid]).reused
    write(notes, lines(31))
    assert not cached([notes], OPTIONS, tmp_path / "data", test=[valid]).reused


def test_fingerprints_tell_whose_files_are_whose(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.txt", lines(3)), write(tmp_path / "b.txt", lines(3))
    ways: list[dict[str, Any]] = [{}, {"valid": [b]}, {"test": [b]}]
    prints = [fingerprint([a], OPTIONS, **way) for way in ways] + [fingerprint([a, b], OPTIONS)]
    assert len(set(prints)) == 4


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "test.npy").unlink(),
        lambda folder: (folder / "test-offsets.npy").unlink(),
        lambda folder: os.truncate(folder / "train.npy", 200),
        lambda folder: unclose(folder / "train.npy"),
        lambda folder: np.save(folder / "valid.npy", np.zeros((3, 7), np.uint16)),
        lambda folder: np.save(folder / "valid.npy", np.zeros(3, np.uint16)),
        lambda folder: np.save(folder / "valid.npy", np.zeros(3, np.float32)),
        lambda folder: np.save(folder / "train-offsets.npy", np.array([0])),
        lambda folder: np.save(folder / "train-offsets.npy", np.zeros(0, np.int64)),
        lambda folder: np.save(folder / "train-offsets.npy", np.load(folder / "train-offsets.npy")[::-1]),
        lambda folder: np.save(folder / "train-offsets.npy", np.load(folder / "train-offsets.npy")[[0, 0, -1]]),
    ],
)
def test_damaged_folders_are_told(prepared: Dataset, tmp_path: Path, damage: Any) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in prepared.path.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    damage(folder)
    with pytest.raises(InputError, match="prepare the dataset anew") as caught:
        open_dataset(folder)
    assert "\n" not in str(caught.value)


def test_a_dataset_opens_without_other_libraries(prepared: Dataset) -> None:
    code = (
        f"import sys; from data_prep.dataset import open_dataset; open_dataset({str(prepared.path)!r}).split('train')\n"
        "print({'symusic', 'music21', 'pretty_midi', 'torch', 'tqdm', 'tokenizers'} & set(sys.modules))"
    )
    root = Path(__file__).parents[1]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert result.stdout.strip() == "set()"


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=write, args=(tmp_path / "pipe", lines(40)))
    writer.start()
    data = prepare([tmp_path / "pipe"], tmp_path / "data", OPTIONS)
    writer.join()
    assert everything(data) == sorted(lines(40))


def test_progress_is_quiet_without_a_terminal(corpus: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    prepare([corpus], tmp_path / "data", OPTIONS, progress=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not PTB.exists(), reason="the shared data are not on this machine")
def test_penn_treebank_is_as_the_field_has_it(tmp_path: Path) -> None:
    train, valid, test = (PTB / f"ptb.{name}.txt" for name in SPLITS)
    started = time.process_time()
    options = TextOptions(split="spaces", vocabulary_size=None)
    data = prepare([train], tmp_path / "data", options, valid=[valid], test=[test])
    assert time.process_time() - started < 20
    assert [len(data.split(name)) for name in SPLITS] == [42_068, 3_370, 3_761]
    assert data.split("test").lengths.sum() == 82_430
    assert data.tokenizer.vocabulary_size == 10_002  # as the field has it: 9,998 words, <s>, </s>, <unk> and <pad>
    text = [" ".join(line.split()) for line in test.read_text().splitlines()]
    assert sentences_of(data, "test") == text
