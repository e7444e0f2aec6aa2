"""What a tokenizer is, and the register of those there are.

A tokenizer turns an item, a score or a sentence, into at most `length` ids of a vocabulary of `vocabulary_size`, and
back. Every sequence of ids is legal; several may stand for the same item, of which one is *canonical*. Two laws hold
for each tokenizer:

    encode(decode(ids)) == canonical(ids)      decode(canonical(ids)) == decode(ids)

A tokenizer describes itself by `to_json()`, which datasets and model files keep; `create` builds it again.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from data_prep.errors import InputError
from data_prep.tokenizers.characters import CharacterTokenizer
from data_prep.tokenizers.huggingface import HuggingFaceTokenizer
from data_prep.tokenizers.melody import MelodyTokenizer
from data_prep.tokenizers.words import WordTokenizer


class Tokenizer(Protocol):
    """Item <-> ids."""

    @property
    def name(self) -> str:
        """The name it is registered under."""

    @property
    def kind(self) -> str:
        """What its items are: "music" (scores) or "text" (sentences, str)."""

    @property
    def length(self) -> int:
        """T, the most ids (steps) of a sequence, an eos included."""

    @property
    def vocabulary_size(self) -> int:
        """V: ids are 0 .. V-1."""

    @property
    def eos(self) -> int | None:
        """The id that ends a sequence; None where every sequence has T ids."""

    @property
    def bos(self) -> int | None:
        """The id that a decoder reads before the first one; None where it reads nothing. No sequence holds it."""

    @property
    def pad(self) -> int | None:
        """The id that fills up the rows of a batch; None where all are full. No sequence holds it, unless it is eos."""

    @property
    def blank(self) -> int:
        """The id that stands where one is hidden from a model."""

    @property
    def note_on(self) -> np.ndarray | None:
        """Which ids begin a note: bool (V,); None for text."""

    @property
    def pitch_ids(self) -> range | None:
        """The ids that a transposition shifts by its semitones; None where there is no pitch."""

    def encode(self, item: Any) -> np.ndarray:
        """The canonical ids of an item, (T,) where there is no eos; InputError when it has no place in them."""

    def decode(self, ids: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        """The item that 1-D `ids` stand for. Music takes tempo= and name=, and is exactly T steps long."""

    def canonical(self, ids: np.ndarray) -> np.ndarray:
        """The canonical form of 1-D ids; music takes (..., T) and keeps shape and type."""

    def to_json(self) -> dict[str, Any]:
        """What `create` needs to build this tokenizer again; plain JSON."""


_FROM_JSON: dict[str, Callable[[Mapping[str, Any]], Tokenizer]] = {
    "melody": MelodyTokenizer.from_json,
    "words": WordTokenizer.from_json,
    "characters": CharacterTokenizer.from_json,
    "huggingface": HuggingFaceTokenizer.from_json,
}


def create(spec: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer that `spec` describes (see `Tokenizer.to_json`).

    Raises:
        InputError: the name is unknown or the specification is damaged.
    """
    name = spec.get("name")
    if not isinstance(name, str) or name not in _FROM_JSON:
        raise InputError(f"unknown tokenizer {name!r}; there are: {', '.join(sorted(_FROM_JSON))}")
    try:
        return _FROM_JSON[name](spec)
    except InputError:  # says what is wrong
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputError(f"damaged description of a {name} tokenizer: {reprlib.repr(dict(spec))} ({error})") from error
