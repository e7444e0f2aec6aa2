"""The vocabulary of a tokenizer.json, read by the `tokenizers` package (the extra [tokenizers]).

The file's text is part of the description, so that a dataset or a model file stands alone. Its ids stay as they are;
bos, eos and unk are found by their usual names, and those it lacks are added after its last id; pad is eos where it has
none. What else the file says of truncation, padding and the marks around a sentence does not count: a sentence is its
pieces and an eos.

Pieces can be put together in many ways to the same text, and some of their texts are read as others ("##ing" alone is
three signs). So the text of ids is what stays when it is read and written over again, which takes a round or two, and
the canonical form of ids is that text's.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from data_prep.errors import InputError
from data_prep.text import clean
from data_prep.tokenizers.text import SPECIALS, TextTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Pieces

_NAMES = (  # of bos, eos and unk in the vocabularies that are around
    ("<s>", "[CLS]", "<bos>", "[BOS]", "<|begin_of_text|>", "<|startoftext|>"),
    ("</s>", "[SEP]", "<eos>", "[EOS]", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>"),
    ("<unk>", "[UNK]", "<|unk|>"),
)
_PADS = ("<pad>", "[PAD]", "<|pad|>", "<|padding|>")
_MOST_ROUNDS = 16


@dataclass(frozen=True)
class HuggingFaceTokenizer(TextTokenizer):
    """Sentences as the pieces of a vocabulary; `text` is that of its tokenizer.json."""

    text: str = ""

    name = "huggingface"
    unit = "piece"

    def __post_init__(self) -> None:
        super().__post_init__()
        if len({self.bos, self.eos, self.blank}) < 3:
            raise InputError("a tokenizer.json in which one id is bos, eos and unk at once; they must differ")

    @cached_property
    def _pieces(self) -> "Pieces":
        try:
            from tokenizers import Tokenizer as Pieces
        except ImportError as error:
            raise InputError(
                "a tokenizer.json is read by the package tokenizers: pip install 'seqvae[tokenizers]'"
            ) from error
        try:
            pieces = Pieces.from_str(self.text)
        except Exception as error:  # the package raises nothing narrower
            raise InputError(f"this is no tokenizer.json: {' '.join(str(error).split())[:200]}") from error
        pieces.no_truncation()
        pieces.no_padding()
        pieces.add_special_tokens(list(self._names(pieces)))
        return pieces

    def _names(self, pieces: "Pieces") -> list[str]:
        """Of bos, eos and unk in this vocabulary, or what they are to be called."""
        model = json.loads(self.text)["model"]
        own = model.get("unk_token")
        if model.get("unk_id") is not None:  # of Unigram, whose vocabulary is a list of pieces and their scores
            own = model["vocab"][model["unk_id"]][0]
        candidates = (*_NAMES[:2], (own, *_NAMES[2]) if own else _NAMES[2])
        present = ([name for name in names if pieces.token_to_id(name) is not None] for names in candidates)
        return [found[0] if found else name for found, name in zip(present, SPECIALS[: len(_NAMES)], strict=True)]

    @cached_property
    def _specials(self) -> tuple[int, int, int]:
        ids = self._pieces.get_vocab(with_added_tokens=True)
        bos, eos, unk = (ids[name] for name in self._names(self._pieces))
        return bos, eos, unk

    @property
    def bos(self) -> int:
        """The id that a decoder reads first."""
        return self._specials[0]

    @property
    def eos(self) -> int:
        """The id that ends a sentence."""
        return self._specials[1]

    @property
    def blank(self) -> int:
        """The id of what is unknown or hidden."""
        return self._specials[2]

    @cached_property
    def pad(self) -> int:
        """The id that fills up a batch."""
        known = (self._pieces.token_to_id(name) for name in _PADS)
        return next((id for id in known if id is not None), self.eos)

    @cached_property
    def vocabulary_size(self) -> int:
        """V; ids that the vocabulary leaves out are counted, as a model has a place for them."""
        return max(self._pieces.get_vocab(with_added_tokens=True).values()) + 1

    def read(self, text: str) -> list[int]:
        """All ids of a text, whatever its length, without special ones but unk."""
        ends = (self.bos, self.eos, self.pad)
        return [id for id in self._encoded(text).ids if id not in ends]

    def _encoded(self, text: str) -> Any:
        try:
            return self._pieces.encode(text, add_special_tokens=False)
        except Exception as error:  # of no kind of its own
            lacks = "it needs a piece for what it does not know, or pieces of bytes"
            raise InputError(f"the tokenizer.json cannot read {text[:40]!r} ({error}): {lacks}") from None

    def write(self, ids: Sequence[int]) -> str:
        """The sentence of ids that hold neither bos nor eos, read and written until it stays."""
        text = self._joined(ids)
        for _ in range(_MOST_ROUNDS):
            again = self._joined(self.read(text)[: self.length - 1])
            if again == text:
                break
            text = again
        return text

    def _joined(self, ids: Sequence[int]) -> str:
        """The pieces of some ids as one clean line: those of bytes can be line ends, too."""
        return clean(self._pieces.decode(list(ids), skip_special_tokens=False))

    def canonical(self, ids: np.ndarray) -> np.ndarray:
        """What their text (see `write`) is encoded as (at most T,)."""
        return self.encode(self.decode(ids))

    def unknown(self, text: str) -> list[str]:
        """The stretches of a text that are read as unk."""
        found = self._encoded(text)
        return [text[a:b] for id, (a, b) in zip(found.ids, found.offsets, strict=True) if id == self.blank]

    def to_json(self) -> dict[str, Any]:
        """`create` builds this tokenizer again from it."""
        return {"name": self.name, "length": self.length, "text": self.text}

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> "HuggingFaceTokenizer":
        """Build the tokenizer that `to_json` described; KeyError, TypeError or ValueError for anything else."""
        return cls(int(spec["length"]), spec["text"])
