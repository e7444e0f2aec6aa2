"""Text files as sentences: a line is a sentence.

A file is read as a stream, .gz too, so that neither its size nor that of a line matters. Lines end as they do anywhere
(\\n, \\r\\n, \\r). A sentence is *clean*: each run of blanks and control characters one blank, none at its ends, no
marks of direction, and letters in Unicode's composed form (NFC), but for words of more than a thousand characters. What
else is told of a line:

    empty       nothing is left of it; it is no sentence
    with NUL    binary data, or UTF-16 read as something else; it is no sentence
    not whole   longer than a million characters, of which the first million are read
"""

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_prep.errors import InputError
from data_prep.files import check_file
from data_prep.tokenizers import words
from data_prep.tokenizers.text import SPECIALS, composed

LONG = ("cut", "drop")
MOST = 1 << 20  # characters of a line

_BLOCK = 1 << 18  # bytes
_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")  # controls, byte order marks, half characters
_DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # of writing; one alone turns a line round
_IDLE: dict[str, dict[str, Any]] = {  # what means nothing for a tokenizer, and must have these values
    "words": {},
    "characters": {"split": "punctuation"},
    "huggingface": {"split": "punctuation", "vocabulary_size": None, "min_count": 1, "lowercase": False},
}


def check_encoding(name: str) -> None:
    """Raises InputError for what is no encoding of text."""
    try:
        codecs.getincrementaldecoder(name)
        "a".encode(name)
    except (LookupError, UnicodeError, ValueError):
        raise InputError(f"encoding {name!r}: unknown; try utf-8, latin-1 or utf-16") from None


@dataclass(frozen=True)
class TextOptions:
    """How sentences become ids."""

    tokenizer: str = "words"  # or "characters", "huggingface"
    vocabulary_size: int | None = None  # ids at most, the special ones included
    min_count: int = 1  # how often a symbol must occur in train to be in the vocabulary
    max_length: int = 100  # ids of a sentence without its eos
    long: str = "cut"  # what happens to longer ones; or "drop"
    split: str = "punctuation"  # where words end; or "spaces"
    lowercase: bool = False
    encoding: str = "utf-8"
    tokenizer_file: str | None = None  # the tokenizer.json of "huggingface", unless its vocabulary is there already

    def __post_init__(self) -> None:
        _one_of("tokenizer", self.tokenizer, tuple(_IDLE))
        _one_of("long", self.long, LONG)
        _one_of("split", self.split, words.SPLITS)
        least = len(SPECIALS) + 1
        if self.vocabulary_size is not None and self.vocabulary_size < least:
            raise InputError(
                f"a vocabulary of {self.vocabulary_size}: at least {least} are needed, {len(SPECIALS)} of them special"
            )
        if self.min_count < 1:
            raise InputError(f"min-count {self.min_count}: must be at least 1")
        if self.max_length < 1:
            raise InputError(f"max-length {self.max_length}: must be at least 1")
        self._check_what_belongs_together()
        check_encoding(self.encoding)

    def _check_what_belongs_together(self) -> None:
        if self.tokenizer != "huggingface" and self.tokenizer_file is not None:
            raise InputError(f"the tokenizer {self.tokenizer} takes no tokenizer file; huggingface does")
        for name, default in _IDLE[self.tokenizer].items():
            if getattr(self, name) != default:
                option = name.replace("_", "-")
                raise InputError(f"{option} {getattr(self, name)}: means nothing for the tokenizer {self.tokenizer}")


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(f"{option} {value!r}: must be one of {', '.join(allowed)}")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file."""

    number: int  # from 1
    text: str  # clean
    whole: bool = True  # False: it was longer than what was read of it
    nul: bool = False  # it has NUL bytes


def clean(text: str) -> str:
    """A text as a sentence: one line, single blanks."""
    if text.isascii():
        return " ".join(_NO_TEXT.sub(" ", text).split())
    return " ".join(map(composed, _NO_TEXT.sub(" ", _DIRECTIONS.sub("", text)).split()))


def sentences(path: Path, encoding: str = "utf-8") -> Iterator[Line]:
    """All lines of a text file, the empty ones and those with NUL bytes too.

    Raises:
        InputError: it cannot be read, or is of another encoding; said where reading comes to it.
    """
    path = Path(path)
    check_file(path, "text")
    number = 0
    try:
        with _opened(path) as file:
            for number, raw in enumerate(_lines(_decoded(file, encoding)), 1):
                yield Line(number, clean(raw[:MOST]), len(raw) <= MOST, "\0" in raw)
    except UnicodeDecodeError as error:
        raise InputError(_not_decoded(path, number + 1, encoding, error)) from error
    except UnicodeError as error:  # utf-16 without a byte order mark
        raise InputError(
            f"{path}, line {number + 1}: not {encoding} ({error}); say what it is with --encoding, e.g. {encoding}-le, "
            f"{encoding}-be or utf-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path}: it is no whole gzip file ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror or error})") from error


def why_none(nul: bool) -> str:
    """Why a file has no sentence; `nul` tells that it has lines with NUL bytes."""
    if nul:
        return "its lines have NUL bytes: it is no text, or of another --encoding, like utf-16"
    return "there is no sentence in it"


def _opened(path: Path) -> io.BufferedIOBase:
    if path.suffix.lower() == ".gz":
        return gzip.open(path)
    return path.open("rb")


def _decoded(file: io.BufferedIOBase, encoding: str) -> Iterator[str]:
    """A file's text block by block, with \\n as line ends.

    Before UnicodeDecodeError is raised, all that lies before the bad byte has been given.
    """
    name = codecs.lookup(encoding).name
    bare = codecs.getincrementaldecoder("utf-8-sig" if name == "utf-8" else name)()  # with a byte order mark or without
    decoder = io.IncrementalNewlineDecoder(bare, translate=True)
    while True:
        block, state = file.read(_BLOCK), decoder.getstate()
        try:
            yield decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            kept = len(error.object) - len(block)  # bytes of a character that began in the block before
            decoder.setstate(state)  # with these, which some decoders have lost by now
            if error.start < kept:
                bare.reset()
            yield decoder.decode(block[: max(0, error.start - kept)], final=True)
            raise
        if not block:
            return


def _lines(blocks: Iterator[str]) -> Iterator[str]:
    """Lines, the first MOST + 1 characters of each at least."""
    pending = ""
    for block in blocks:
        *lines, pending = (pending + block).split("\n")
        yield from lines
        pending = pending[: MOST + 1]
    if pending:
        yield pending


def _not_decoded(path: Path, line: int, encoding: str, error: UnicodeDecodeError) -> str:
    data, name = bytes(error.object), codecs.lookup(encoding).name
    wide = name.startswith(("utf-16", "utf-32"))  # NUL bytes are usual in them
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not wide
    told = f"{path}, line {line}: not {encoding} (byte 0x{data[error.start]:02x})"
    if b"\0" in data and not wide and not marked:
        return f"{told}, and with NUL bytes: it is no text file, or its --encoding is a rare one"
    return f"{told}; say what it is with --encoding, e.g. " + (
        "utf-16" if marked else "latin-1" if name == "utf-8" else "utf-8"
    )
