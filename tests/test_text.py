"""Text files as sentences: every line end and encoding, broken files, lines without end; sequences side by side."""

import gzip
import os
import time
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep import text
from data_prep.errors import InputError
from data_prep.ragged import Ragged
from data_prep.text import Line, TextOptions, clean, sentences

ODD = st.text(st.sampled_from("ab \n\r\t\0\x0b\x1c\x85\u2028\u0301e\ufeff\u00a0é☃")) | st.text()
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(folder: Path, data: bytes, name: str = "notes.txt") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def texts(path: Path, encoding: str = "utf-8") -> list[str]:
    return [line.text for line in sentences(path, encoding)]


@SAME_FOLDER
@given(ODD, st.integers(1, 7))
def test_lines_are_those_of_the_whole_text_at_once(tmp_path: Path, content: str, block: int) -> None:
    path = written(tmp_path, content.encode("utf-8", "surrogatepass").replace(b"\xed", b"?"))
    whole = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    expected = whole.split("\n") if whole.endswith("\n") else f"{whole}\n".split("\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_BLOCK", block)
        found = list(sentences(path))
    wanted = [Line(n, clean(line), nul="\0" in line) for n, line in enumerate(expected[:-1], 1)]
    assert found == (wanted if whole else [])


@SAME_FOLDER
@given(st.lists(st.sampled_from(["a", "é", "", "☃ b"]), max_size=6), st.sampled_from(["\n", "\r\n", "\r"]), st.data())
def test_what_is_not_utf_8_is_told_with_its_line(tmp_path: Path, lines: list[str], end: str, data: Any) -> None:
    before = data.draw(st.sampled_from(["", "x", "é "]))
    good = "".join(line + end for line in lines) + before
    path = written(tmp_path, good.encode() + b"\xe9t\xe9" + end.encode() + b"more" * data.draw(st.integers(0, 3)))
    found: list[Line] = []

    def read() -> None:
        for line in sentences(path):
            found.append(line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "_BLOCK", data.draw(st.integers(1, 30)))
        with pytest.raises(InputError) as caught:
            read()
    told = f"{path}, line {len(lines) + 1}: not utf-8 (byte 0xe9); say what it is with --encoding, e.g. latin-1"
    assert str(caught.value) == told
    assert [line.text for line in found] == lines


@pytest.mark.parametrize("encoding", ["gb2312", "euc_kr", "iso2022_jp"])
@pytest.mark.parametrize("block", range(1, 14))
def test_a_bad_byte_is_told_with_its_line_wherever_blocks_begin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, block: int
) -> None:
    path = written(tmp_path, "x\n人人人\n人人\n人 ".encode(encoding) + b"\xff\xff")
    monkeypatch.setattr(text, "_BLOCK", block)
    with pytest.raises(InputError, match=f"line 4: not {encoding} "):
        texts(path, encoding)


@given(ODD)
def test_a_clean_sentence_is_one_line_of_single_blanks(content: str) -> None:
    found = clean(content)
    assert found == clean(found) == " ".join(found.split())
    assert len(found.splitlines()) <= 1
    assert unicodedata.is_normalized("NFC", found)
    assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in found)


def test_what_cleaning_does() -> None:
    assert clean("  cafe\u0301\t\tau\u00a0 lait\x07\u2028\ufeff ") == "caf\u00e9 au lait"
    assert clean("\u202ea \u2066b\u2069\u200f c a\u200eb") == "a b c ab"
    assert clean("a \udce9 b") == "a b"  # half a character, as a terminal's wrong encoding gives


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "UTF8"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    path = written(tmp_path, end.join(["naïve", "", "☃ 🙂", "last"]).encode(encoding))
    assert texts(path, encoding) == ["naïve", "", "☃ 🙂", "last"]
    assert texts(written(tmp_path, path.read_bytes() + end.encode(encoding)), encoding)[-1] in ("last", "")


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "mac-roman"])
def test_encodings_of_one_byte(tmp_path: Path, encoding: str) -> None:
    assert texts(written(tmp_path, "déjà vu\nüber".encode(encoding)), encoding) == ["déjà vu", "über"]


def test_a_byte_order_mark_is_no_part_of_a_sentence(tmp_path: Path) -> None:
    assert texts(written(tmp_path, b"\xef\xbb\xbfone\ntwo")) == ["one", "two"]
    assert texts(written(tmp_path, b"one\n\xef\xbb\xbftwo")) == ["one", "two"]  # of files put together


@pytest.mark.parametrize(
    ("data", "encoding", "message"),
    [
        ("one\ntwo".encode("utf-16"), "utf-8", "line 1: not utf-8 (byte 0xff); {}utf-16"),
        (b"one\n\xe2\x98", "utf-8", "line 2: not utf-8 (byte 0xe2); {}latin-1"),
        (b"one\ntw\xf6", "ascii", "line 2: not ascii (byte 0xf6); {}utf-8"),
        (
            "one\n".encode("utf-16-le"),
            "utf-16",
            "line 1: not utf-16 (UTF-16 stream does not start with BOM); {}utf-16-le",
        ),
        ("one\n".encode("utf-16") + b"x", "utf-16", "line 2: not utf-16 (byte 0x78); {}utf-8"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "utf-8", "line 1: not utf-8 (byte 0x89), and with NUL bytes: it is no text"),
    ],
)
def test_other_encodings_and_binary_files_are_told(tmp_path: Path, data: bytes, encoding: str, message: str) -> None:
    path = written(tmp_path, data)
    with pytest.raises(InputError) as caught:
        texts(path, encoding)
    assert str(caught.value).startswith(f"{path}, {message.format('say what it is with --encoding, e.g. ')}")


def test_lines_with_nul_bytes_are_marked(tmp_path: Path) -> None:
    path = written(tmp_path, b"one\ntw\0o\n\0\nthree")
    assert [(line.number, line.nul) for line in sentences(path)] == [(1, False), (2, True), (3, True), (4, False)]
    wide = written(tmp_path, "one\ntwo\n".encode("utf-16-le"))
    assert all(line.nul for line in sentences(wide))


def test_compressed_files(tmp_path: Path) -> None:
    whole = gzip.compress("one\r\n\nzwölf".encode())
    assert texts(written(tmp_path, whole, "notes.txt.gz")) == ["one", "", "zwölf"]
    assert texts(written(tmp_path, whole + gzip.compress(b"!"), "notes.GZ")) == ["one", "", "zwölf!"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[:200] + bytes(50) + data[250:],
        lambda data: b"no gzip at all",
        lambda data: data + b"more",
        lambda data: data[:10] + b"\xff" * 20,
    ],
)
def test_broken_compressed_files_are_told(tmp_path: Path, damage: Any) -> None:
    data = gzip.compress(np.random.default_rng(0).integers(97, 122, 9000, dtype=np.uint8).tobytes())
    path = written(tmp_path, damage(data), "notes.txt.gz")
    with pytest.raises(InputError, match="no whole gzip file") as caught:
        texts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_file_has_no_line(tmp_path: Path) -> None:
    assert texts(written(tmp_path, b"")) == []
    assert texts(written(tmp_path, b"", "empty.gz")) == []


def test_a_line_without_end_takes_little_memory_and_time(tmp_path: Path) -> None:
    path = written(tmp_path, b"short\n" + b"many words " * 1_000_000 + b"\nafter\n" + b"x" * 3_000_000)
    started = time.process_time()
    tracemalloc.start()
    found = [(line.number, len(line.text), line.whole) for line in sentences(path)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [(1, 5, True), (2, text.MOST, False), (3, 5, True), (4, text.MOST, False)]
    assert peak < 40e6
    assert time.process_time() - started < 20


def test_accents_without_end_take_little_time(tmp_path: Path) -> None:
    path = written(tmp_path, "e\u0301 a".encode() + "\u0301\u0316".encode() * 1_000_000)
    started = time.process_time()
    (line,) = sentences(path)
    assert line.text.startswith("\u00e9 a\u0301\u0316")
    assert time.process_time() - started < 20


def test_a_line_of_the_most_characters_is_whole(tmp_path: Path) -> None:
    lines = [line for size in (-1, 0, 1) for line in sentences(written(tmp_path, b"x" * (text.MOST + size) + b"\n"))]
    assert [(len(line.text), line.whole) for line in lines] == [
        (text.MOST - 1, True),
        (text.MOST, True),
        (text.MOST, False),
    ]


@pytest.mark.parametrize(
    ("name", "message"), [("none.txt", "does not exist"), ("folder", "is a folder"), ("tune.mid", "is music")]
)
def test_what_is_no_text_file_is_told(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    written(tmp_path, b"MThd", "tune.mid")
    with pytest.raises(InputError, match=message):
        texts(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, b"secret")
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        texts(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokenizer": "syllables"}, "words, characters, huggingface"),
        ({"long": "wrap"}, "cut, drop"),
        ({"split": "tabs"}, "punctuation, spaces"),
        ({"vocabulary_size": 4}, "at least 5"),
        ({"min_count": 0}, "at least 1"),
        ({"max_length": 0}, "at least 1"),
        ({"encoding": "klingon"}, "klingon"),
        ({"encoding": "hex"}, "hex"),
        ({"encoding": "a\0b"}, "unknown; try utf-8"),
        ({"tokenizer_file": "x.json"}, "the tokenizer words takes no tokenizer file; huggingface does"),
        ({"tokenizer": "characters", "split": "spaces"}, "split spaces: means nothing"),
        ({"tokenizer": "huggingface", "tokenizer_file": "x", "min_count": 2}, "min-count 2: means nothing"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        TextOptions(**options)
    assert "\n" not in str(caught.value)


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=8), st.data())
def test_sequences_side_by_side_are_those_of_a_loop(rows: list[list[int]], data: Any) -> None:
    lengths = np.array([len(row) for row in rows])
    ragged = Ragged(np.array([id for row in rows for id in row], np.uint16), np.concatenate([[0], np.cumsum(lengths)]))
    assert [row.tolist() for row in ragged] == rows
    assert ragged.lengths.tolist() == lengths.tolist()
    assert ragged[-1].tolist() == rows[-1]
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=6))
    padded = ragged.padded(np.array(chosen, int), fill=77)
    longest = max((len(rows[row]) for row in chosen), default=0)
    assert padded.dtype == np.int64
    assert padded.shape == (len(chosen), longest)
    assert padded.tolist() == [rows[row] + [77] * (longest - len(rows[row])) for row in chosen]
    with pytest.raises(IndexError):
        ragged[len(rows)]
