"""Words as ids. How a text is split into words:

    "punctuation"   runs of letters, digits and _, with apostrophes and hyphens inside (don't, rock'n'roll, well-known),
                    with points and commas between digits (3.5, 1,000); every other sign alone, or as emoji are joined.
                    Written again with a blank between any two, but none before , . ; : ! ? ) ] } and none after ( [ {
    "spaces"        at blanks alone, for text that was split before, as the Penn Treebank files are

Of "punctuation" the signs lose what blanks were around them: 'say "no" .' is written 'say " no ".', which splits into
the same words. An unknown word is written <unk>, and <unk> in a text is an unknown word. So any sequence of words
splits, once written, into itself: no blank is left out where two words could grow together.

A word of more than 100 characters has no place in a vocabulary.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from data_prep.errors import InputError
from data_prep.tokenizers.text import SPECIALS, UNK, VocabularyTokenizer, lowered

SPLITS = ("punctuation", "spaces")

_NO_BLANK = re.compile(r" (?=[,.;:!?)\]}])|(?<=[(\[{]) ")
_JOINERS = "\u200c\u200d"  # shape the letters beside them, in Persian or Hindi; the second one joins emoji, too
_SKINS = "\U0001f3fb-\U0001f3ff"  # colours of an emoji


@cache
def _pattern(ascii_alone: bool) -> re.Pattern[str]:
    """A word or a sign. Unicode's marks, vowel signs and accents, belong to the letter before them; \\w has none."""
    marks = "".join(chr(c) for c in range(0x300, 0x1F000) if unicodedata.category(chr(c)).startswith("M"))
    letters = r"\w+" if ascii_alone else rf"\w[\w{marks}{_JOINERS}]*"  # the former is four times as fast
    # emoji are joined, and get marks; what is written without a blank after it, ( [ {, must stay alone
    more = rf"[{marks}{_SKINS}]*"
    sign = r"\S" if ascii_alone else rf"[(\[{{]|\S{more}(?:{_JOINERS[1]}[^\s\w([{{]{more})*"
    return re.compile(rf"{SPECIALS[UNK]}|{letters}(?:(?:['’-]|(?<=\d)[.,](?=\d)){letters})*|{sign}")


@dataclass(frozen=True)
class WordTokenizer(VocabularyTokenizer):
    """Sentences as words; `lowercase` brings all letters to lower case first."""

    split: str = "punctuation"

    name = "words"
    unit = "word"
    UNKNOWN = SPECIALS[UNK]

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise InputError(f"split {self.split!r}: must be one of {', '.join(SPLITS)}")
        super().__post_init__()

    def split_up(self, text: str) -> list[str]:
        """A text as words and signs."""
        text = lowered(text) if self.lowercase else text
        return text.split() if self.split == "spaces" else _pattern(text.isascii()).findall(text)

    def join(self, symbols: Sequence[str]) -> str:
        """Words and signs as a text."""
        text = " ".join(symbols)
        return text if self.split == "spaces" else _NO_BLANK.sub("", text)

    def to_json(self) -> dict[str, Any]:
        """`create` builds this tokenizer again from it."""
        return super().to_json() | {"split": self.split}
