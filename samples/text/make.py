"""Make the text files of this folder from the King James Bible in Debian's package bible-kjv.

    apt-get install bible-kjv
    python samples/text/make.py

A verse is cut into lines as a reader takes breath: at its colons, semicolons and ends of sentences, parts of fewer than
LEAST words joined to what comes before (or after), and parts of more than MOST words cut at the comma nearest their
middle. What is left out: verse numbers, Selah, and the sign at a line's end unless it asks or calls. A first word is
written small unless the five books never write it so inside a sentence (The LORD -> the LORD, but Zion, God, I).
"""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

BOOKS = {
    "job": "Job1:1-42:17",
    "psalms": "Ps1:1-150:6",
    "proverbs": "Prov1:1-31:31",
    "ecclesiastes": "Eccl1:1-12:14",
    "song-of-solomon": "Song1:1-8:14",
}
LEAST, MOST = 4, 16  # words of a line
HERE = Path(__file__).parent


def verses(reference: str) -> list[str]:
    """The verses of a book, without their numbers."""
    printed = subprocess.run(["bible", "-f", reference], capture_output=True, text=True, check=True).stdout
    bare = [line.split(" ", 1)[1] for line in printed.splitlines()]
    return [re.sub(r"\s*\bSelah\b\.?|[()]|\s+(?=[?!])", "", verse).strip() for verse in bare]


def lines(verse: str) -> Iterator[str]:
    """A verse as lines, the signs at their ends still there."""
    parts: list[str] = []
    for part in re.split(r"(?<=[.:;?!]) ", verse):
        if parts and min(len(parts[-1].split()), len(part.split())) < LEAST:
            parts[-1] += " " + part
        else:
            parts.append(part)
    for part in parts:
        yield from halves(part)


def halves(part: str) -> Iterator[str]:
    """A part, cut at commas until it is short enough or has none that leaves LEAST words on both sides."""
    words = part.split()
    cuts = [n for n in range(LEAST, len(words) - LEAST + 1) if words[n - 1][-1] in ",:;?!."]
    if len(words) <= MOST or not cuts:
        yield part
        return
    cut = min(cuts, key=lambda n: abs(n - len(words) / 2))
    yield from halves(" ".join(words[:cut]))
    yield from halves(" ".join(words[cut:]))


def written_small(verses: list[str]) -> set[str]:
    """The words that stand inside sentences with a small letter."""
    return {word for verse in verses for word in re.findall(r"[\w'-]+", verse) if word[:1].islower()}


def uncapitalised(line: str, small: set[str]) -> str:
    """A line whose sentences begin small, where their first words can."""
    return re.sub(
        r"(?:^|(?<=[.?!] ))[\w'-]+",
        lambda first: first[0][0].lower() + first[0][1:] if first[0][0].lower() + first[0][1:] in small else first[0],
        line,
    )


def main() -> None:
    """Write one file for each book."""
    if shutil.which("bible") is None:
        sys.exit("make.py: the command bible is missing: apt-get install bible-kjv, of Debian")
    books = {name: verses(reference) for name, reference in BOOKS.items()}
    small = written_small([verse for book in books.values() for verse in book])
    for name, book in books.items():
        found = [uncapitalised(line, small).rstrip(".,:; ") for verse in book for line in lines(verse)]
        (HERE / f"{name}.txt").write_text("\n".join(found) + "\n", encoding="utf-8")
        counts = Counter(len(line.split()) for line in found)
        words = sum(length * count for length, count in counts.items())
        print(f"{name}: {len(book)} verses, {len(found)} lines, {words} words, longest {max(counts)}")


if __name__ == "__main__":
    main()
