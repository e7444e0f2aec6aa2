"""What the commands that take single files or sentences read: one item, one or more sequences of ids.

Music: a file of at most n bars is taken as it stands, from its beginning, its rests included, and filled up with
rests: so what a model wrote is read back unchanged. A longer file gives its n-bar windows, as a dataset does.

Text: each line of a file that holds a sentence gives one, and so does a sentence itself. One that is too long is cut,
whatever happens to such in a dataset. Unknown words are told; a sentence that has no others is refused when it was
given as such, and kept among the lines of a file, so that these and what is made of them go side by side.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_prep import programs
from data_prep.errors import InputError
from data_prep.files import is_path
from data_prep.meters import steps_per_bar
from data_prep.piece import Piece
from data_prep.reading import read_all
from data_prep.text import clean, sentences, why_none
from data_prep.tokenizers.melody import NO_EVENT, NOTE_OFF
from data_prep.tokenizers.text import TextTokenizer
from data_prep.windows import MelodyOptions, whole, windows
from data_prep.wording import count

_MOST_TOLD = 3  # unknown words in a remark
_MOST_SHOWN = 40  # characters of a word or a sentence in a message


@dataclass(frozen=True, slots=True)
class Example:
    """A sequence of ids, (T,) of music and (at most T,) of text, and where it is from."""

    ids: np.ndarray
    source: str  # the file; in a book of several tunes with the tune's number, "book.abc#3"; or the sentence itself
    place: int  # the bar it begins in, the line it stands in; the first one is 1, as people count
    tempo: float | None  # quarters per minute; None for text
    remark: str  # what the user should be told, else ""
    nul_lines: int = 0  # of its file, left out for their NUL bytes; the first sentence of the file tells

    @property
    def where(self) -> str:
        """What a remark is about, in words."""
        if self.tempo is not None:
            return self.source
        return f"{self.source}, line {self.place}" if is_path(self.source) else f"'{self.source[:80]}'"


def remarks(found: Iterable[Example]) -> list[str]:
    """All that the user should be told of them, each with what it is about."""
    told = []
    for example in found:
        if example.nul_lines:
            told.append(f"{example.source}: {count(example.nul_lines, 'line')} with NUL bytes left out")
        if example.remark:
            told.append(f"{example.where}: {example.remark}")
    return told


def examples(path: Path, options: MelodyOptions, tune: int | None = None) -> list[Example]:
    """The sequences in a music file, at least one; of a book those of all tunes in their order, or of one `tune`.

    Raises:
        InputError: the file cannot be read, or has no melody of the wanted kind, or no such tune; it names the file and
            the reason.
    """
    path = Path(path)
    pieces, failed = read_all(path)
    if pieces and tune is not None and tune not in pieces:
        there = ", ".join(map(str, list(pieces)[:_MOST_TOLD])) + ", ..." * (len(pieces) > _MOST_TOLD)
        raise InputError(f"{path}#{tune}: there is no such tune, or it cannot be read; others are {there}")
    found: list[Example] = []
    reasons: list[str] = []
    for number, piece in pieces.items():
        if tune not in (None, number):
            continue
        source = f"{path}#{number}" if len(pieces) + len(failed) > 1 else str(path)
        try:
            found += _of_piece(piece, source, options)
        except InputError as error:
            reasons.append(str(error))
    if not found:
        reasons += [reason for _, reason in failed]
        raise InputError(f"{path}: {reasons[0]}")
    return found


def of_first_tune(found: list[Example]) -> list[Example]:
    """Of sequences from a music file those of the first tune that gave some; where there are more, each tells."""
    sources = list(dict.fromkeys(example.source for example in found))
    if len(sources) == 1:
        return found
    told = f"the first of {len(sources):,} tunes that can be used; for another name it, like {sources[1]}"
    return [
        replace(example, remark="; ".join(filter(None, [example.remark, told])))
        for example in found
        if example.source == sources[0]
    ]


def _of_piece(piece: Piece, source: str, options: MelodyOptions) -> Iterator[Example]:
    told = []
    playing = frozenset(track.program for track in piece.tracks if len(track.notes) and not track.is_drum)
    if playing and not playing & options.programs:
        options = replace(options, programs=frozenset(range(128)))  # a file that was named is to be read
        told.append(f"it has no instrument that this model reads, so all of its own are read: {programs.text(playing)}")
    window = whole(piece, options)
    if window is not None:
        told.append(_filled_up(window.ids, options))
    for found in windows(piece, options) if window is None else [window]:
        yield Example(found.ids, source, found.bar + 1, found.tempo, "; ".join(filter(None, told)))
        told = []


def _filled_up(ids: np.ndarray, options: MelodyOptions) -> str:
    """How much of a sequence was filled up: bars after the one in which its last note ends."""
    last = int(np.flatnonzero(ids != NO_EVENT)[-1])
    end = last if ids[last] == NOTE_OFF else len(ids)
    bars = -(-end // steps_per_bar(options.meter))
    return "" if bars == options.bars else f"{count(bars, 'bar')} long, filled up with rests to {options.bars}"


def sentence_examples(path: Path, tokenizer: TextTokenizer, encoding: str) -> list[Example]:
    """The sentences in a text file, at least one, in their order.

    Raises:
        InputError: the file cannot be read, or has no sentence with a known word.
    """
    path = Path(path)
    found: list[Example] = []
    known, nul = False, 0
    for line in sentences(path, encoding):
        nul += line.nul
        if line.text and not line.nul:
            ids = tokenizer.encode(line.text)
            known |= _knows(ids, tokenizer)
            found.append(Example(ids, str(path), line.number, None, _of_text(line.text, ids, tokenizer)))
    if not found:
        raise InputError(f"{path}: {why_none(bool(nul))}")
    if not known:
        raise InputError(f"{path}: the model knows none of its {tokenizer.unit}s")
    found[0] = replace(found[0], nul_lines=nul)
    return found


def sentence(text: str, tokenizer: TextTokenizer) -> Example:
    """A sentence that was given as such.

    Raises:
        InputError: it is empty, has lone surrogates, or no known word.
    """
    # In an argument surrogates are bytes that are not utf-8
    if not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text):
        raise InputError(f"{_short(text)!a}: not utf-8; write it to a file, and say with --encoding what it is")
    text = clean(text)
    if not text:
        raise InputError(f"an empty sentence: it needs at least one {tokenizer.unit}")
    ids = tokenizer.encode(text)
    if not _knows(ids, tokenizer):
        if text == "-":
            raise InputError("'-' is a sentence here, of no known word; for standard input give /dev/stdin")
        raise InputError(f"'{_short(text)}': the model knows none of its {tokenizer.unit}s")
    return Example(ids, text, 1, None, _of_text(text, ids, tokenizer))


def _knows(ids: np.ndarray, tokenizer: TextTokenizer) -> bool:
    return bool((ids[:-1] != tokenizer.blank).any())


def _of_text(text: str, ids: np.ndarray, tokenizer: TextTokenizer) -> str:
    """What was not read of a sentence as it stands."""
    remarks = []
    unknown = int((ids == tokenizer.blank).sum())
    if unknown:
        names = list(dict.fromkeys(tokenizer.unknown(text)[:unknown]))  # those of the part that was kept
        told = ", ".join(map(_short, names[:_MOST_TOLD])) + (", ..." if len(names) > _MOST_TOLD else "")
        verb = "is" if unknown == 1 else "are"
        remarks.append(f"{unknown:,} of {count(len(ids) - 1, tokenizer.unit)} {verb} unknown: {told}")
    if len(tokenizer.read(text)) > len(ids) - 1:
        remarks.append(f"cut to its first {count(len(ids) - 1, tokenizer.unit)}")
    return "; ".join(remarks)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
