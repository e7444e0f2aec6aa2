"""What all tokenizers of text share: four special ids, unknown symbols, and the end of a sentence.

    0 = bos  what a decoder reads before the first symbol; no sentence holds it
    1 = eos  ends each sentence; nothing after it counts
    2 = unk  stands for each symbol that the vocabulary does not have, and where one is hidden
    3 = pad  fills up the rows of a batch; no sentence holds it
    4 ...    the symbols, the most frequent first, those of equal frequency in alphabetical order

These ids hold for vocabularies that are made here; a vocabulary from elsewhere (`huggingface`) has its own. A sentence
is at most T-1 symbols and its eos: `encode` cuts what is longer. The canonical form of any ids is what `encode` would
give: without bos and pad, up to the first eos, cut to T-1, with an eos at the end.
"""

import unicodedata
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from data_prep.errors import InputError

BOS, EOS, UNK, PAD = range(4)
SPECIALS = ("<s>", "</s>", "<unk>", "<pad>")  # their names by id; no symbol has one of them

_LONGEST_COMPOSED = 1000  # characters; composing takes time in the square of the number of accents in a row


def composed(word: str) -> str:
    """A word in Unicode's composed form (NFC), unless it has more than a thousand characters."""
    return unicodedata.normalize("NFC", word) if len(word) <= _LONGEST_COMPOSED else word


def lowered(text: str) -> str:
    """A text in lower case, composed where it was not: a small letter with an accent may be one sign, a capital two."""
    if text.isascii():
        return text.lower()
    words = ((word, word.lower()) for word in text.split(" "))
    return " ".join(lower if lower == word else composed(lower) for word, lower in words)


@dataclass(frozen=True)
class TextTokenizer(ABC):
    """Sentences <-> ids; `length` is T, the most ids of a sentence, its eos included."""

    length: int

    name: ClassVar[str]
    unit: ClassVar[str]  # what people call a symbol
    kind: ClassVar[str] = "text"
    note_on: ClassVar[None] = None
    pitch_ids: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.length < 2:
            raise InputError(f"sentences of {self.length} ids: at least 2 are needed, a symbol and the end")

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """V: ids are 0 .. V-1."""

    @property
    def bos(self) -> int:
        """The id that a decoder reads first."""
        return BOS

    @property
    def eos(self) -> int:
        """The id that ends a sentence."""
        return EOS

    @property
    def blank(self) -> int:
        """The id of what is unknown or hidden."""
        return UNK

    @property
    def pad(self) -> int:
        """The id that fills up a batch."""
        return PAD

    @property
    def dtype(self) -> type[np.unsignedinteger]:
        """The smallest type that datasets keep such ids in."""
        return np.uint16 if self.vocabulary_size <= 1 << 16 else np.uint32

    @abstractmethod
    def read(self, text: str) -> list[int]:
        """All ids of a text, whatever its length, without special ones but unk."""

    @abstractmethod
    def write(self, ids: Sequence[int]) -> str:
        """The text of such ids as `read` gives."""

    @abstractmethod
    def unknown(self, text: str) -> list[str]:
        """What of a text is read as unk, in its order."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """What `create` needs to build this tokenizer again; plain JSON."""

    def encode(self, text: str) -> np.ndarray:
        """The ids of a sentence (at most T,), the last being eos."""
        return np.array([*self.read(text)[: self.length - 1], self.eos], self.dtype)

    def decode(self, ids: np.ndarray) -> str:
        """The sentence up to the first eos. Raises ValueError for ids that are not 1-D or not of the vocabulary."""
        return self.write(self._kept(ids))

    def canonical(self, ids: np.ndarray) -> np.ndarray:
        """The same sentence (any,) as `encode` has it (at most T,). Raises ValueError as `decode` does."""
        return np.array([*self._kept(ids), self.eos], self.dtype)

    def _kept(self, ids: np.ndarray) -> list[int]:
        """The ids that count."""
        given = np.asarray(ids)
        if given.ndim != 1:
            raise ValueError(f"ids of shape {given.shape}, a single sentence was expected")
        if given.size and not (given.min() >= 0 and given.max() < self.vocabulary_size):
            raise ValueError(f"ids outside 0-{self.vocabulary_size - 1}")
        found = [id for id in given.tolist() if id == self.eos or id not in (self.bos, self.pad)]
        end = found.index(self.eos) if self.eos in found else len(found)
        return found[: min(end, self.length - 1)]


@dataclass(frozen=True)
class VocabularyTokenizer(TextTokenizer):
    """A tokenizer with a list of symbols that was counted in a training split."""

    symbols: tuple[str, ...] = ()  # ids from 4 on
    lowercase: bool = False

    UNKNOWN: ClassVar[str]  # how an unknown symbol is written, and read again
    LONGEST: ClassVar[int] = 100  # characters of a symbol; what is longer is no word

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self._index) != len(self.symbols):
            raise InputError("a vocabulary with a symbol twice")
        for symbol in self.symbols:
            if symbol in self.reserved or self.split_up(symbol) != [symbol]:
                raise InputError(f"a vocabulary with {symbol!r}, which is no {self.unit}")

    @abstractmethod
    def split_up(self, text: str) -> list[str]:
        """A text as symbols, known or not."""

    @abstractmethod
    def join(self, symbols: Sequence[str]) -> str:
        """Symbols as a text that `split_up` takes apart into the same ones."""

    @property
    def reserved(self) -> set[str]:
        """What cannot be a symbol."""
        return {*SPECIALS, self.UNKNOWN}

    @cached_property
    def _index(self) -> dict[str, int]:
        return {symbol: id for id, symbol in enumerate(self.symbols, len(SPECIALS))}

    @property
    def vocabulary_size(self) -> int:
        """V, the special ids included."""
        return len(SPECIALS) + len(self.symbols)

    def read(self, text: str) -> list[int]:
        """All ids of a text, whatever its length, without special ones but unk."""
        index = self._index
        return [index.get(symbol, UNK) for symbol in self.split_up(text)]

    def write(self, ids: Sequence[int]) -> str:
        """The text of such ids as `read` gives."""
        return self.join([self.UNKNOWN if id == UNK else self.symbols[id - len(SPECIALS)] for id in ids])

    def unknown(self, text: str) -> list[str]:
        """The symbols of a text that the vocabulary does not have."""
        return [symbol for symbol in self.split_up(text) if symbol not in self._index]

    def chosen(self, counts: Counter[str], vocabulary_size: int | None, min_count: int) -> tuple[str, ...]:
        """The symbols of a vocabulary, by falling frequency.

        Args:
            counts: how often each symbol occurs.
            vocabulary_size: how many ids there may be, the special ones included; None: any number.
            min_count: how often a symbol must occur.
        """
        may = {s: times for s, times in counts.items() if times >= min_count and len(s) <= self.LONGEST}
        order = sorted(may.keys() - self.reserved, key=lambda symbol: (-may[symbol], symbol))
        return tuple(order if vocabulary_size is None else order[: vocabulary_size - len(SPECIALS)])

    def to_json(self) -> dict[str, Any]:
        """`create` builds this tokenizer again from it."""
        return {"name": self.name, "length": self.length, "lowercase": self.lowercase, "symbols": list(self.symbols)}

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> "VocabularyTokenizer":
        """Build the tokenizer that `to_json` described; KeyError, TypeError or ValueError for anything else."""
        fields = {key: value for key, value in spec.items() if key not in ("name", "symbols", "length")}
        symbols = spec["symbols"]
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise TypeError("its symbols are no list of texts")
        return cls(length=int(spec["length"]), symbols=tuple(symbols), **fields)
