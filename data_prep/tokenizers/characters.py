"""Characters as ids, for names, SMILES and the like: a symbol is one Unicode character, the blank is one too.

An unknown character is written as U+FFFD, Unicode's sign for it, and not as <unk>: five characters could be those of a
text, and a sentence would not be read back as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from data_prep.tokenizers.text import VocabularyTokenizer, lowered


@dataclass(frozen=True)
class CharacterTokenizer(VocabularyTokenizer):
    """Sentences as characters; `lowercase` brings all letters to lower case first."""

    name = "characters"
    unit = "character"
    UNKNOWN = "\ufffd"

    def split_up(self, text: str) -> list[str]:
        """The characters of a text."""
        return list(lowered(text) if self.lowercase else text)

    def join(self, symbols: Sequence[str]) -> str:
        """The text of characters."""
        return "".join(symbols)
