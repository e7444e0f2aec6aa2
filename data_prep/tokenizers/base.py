"""What a tokenizer is, and the register of those there are.

A tokenizer turns a score into `length` ids of a vocabulary of `vocabulary_size` and back. Every sequence of ids is
legal; several may stand for the same music, of which one is *canonical*. Two laws hold for each tokenizer:

    encode(decode(ids)) == canonical(ids)      decode(canonical(ids)) == decode(ids)

A tokenizer describes itself by `to_json()`, which datasets and model files keep; `create` builds it again.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from data_prep.errors import InputError
from data_prep.score import Score
from data_prep.tokenizers.melody import MelodyTokenizer


class Tokenizer(Protocol):
    """Score <-> ids."""

    @property
    def name(self) -> str:
        """The name it is registered under."""

    @property
    def length(self) -> int:
        """T, the number of ids (steps) of a sequence."""

    @property
    def vocabulary_size(self) -> int:
        """V: ids are 0 .. V-1."""

    @property
    def note_on(self) -> np.ndarray:
        """Which ids begin a note: bool (V,)."""

    @property
    def pitch_ids(self) -> range | None:
        """The ids that a transposition shifts by its semitones; None where there is no pitch."""

    def encode(self, score: Score) -> np.ndarray:
        """The canonical ids (T,) of a score; InputError when it has no place in them."""

    def decode(self, ids: np.ndarray, tempo: float = 120.0, name: str = "") -> Score:
        """The music that `ids` (T,) stand for; a score of exactly T steps."""

    def canonical(self, ids: np.ndarray) -> np.ndarray:
        """The canonical form of ids (..., T), of the same shape and type."""

    def to_json(self) -> dict[str, Any]:
        """What `create` needs to build this tokenizer again; plain JSON."""


_FROM_JSON: dict[str, Callable[[Mapping[str, Any]], Tokenizer]] = {"melody": MelodyTokenizer.from_json}


def create(spec: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer that `spec` describes (see `Tokenizer.to_json`).

    Raises:
        InputError: the name is unknown or the specification is damaged.
    """
    name = spec.get("name")
    if name not in _FROM_JSON:
        raise InputError(f"unknown tokenizer {name!r}; there are: {', '.join(sorted(_FROM_JSON))}")
    try:
        return _FROM_JSON[name](spec)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"damaged description of a {name} tokenizer: {dict(spec)} ({error})") from error
