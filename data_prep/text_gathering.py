"""Sentences of many files, kept clean in one file while a dataset is made of them.

The sources are streamed once: what they say later, if they change, makes no difference, and a pipe can be one. What
stays in memory is some twenty bytes for each sentence.
"""

import hashlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data_prep.building import Files, Job
from data_prep.errors import InputError
from data_prep.files import Source
from data_prep.text import sentences, why_none
from data_prep.wording import Skipped


@dataclass
class Gathered:
    """All sentences there are, clean, in a file with one a line; and what is known of each."""

    path: Path
    names: list[str] = field(default_factory=list)  # of the files
    source: "array[int]" = field(default_factory=lambda: array("q"))  # (N,) the file of each sentence
    line: "array[int]" = field(default_factory=lambda: array("q"))  # (N,)
    hash: "array[int]" = field(default_factory=lambda: array("Q"))  # (N,)
    partial: set[int] = field(default_factory=set)  # sentences of which only the beginning was read
    skipped: Skipped = field(default_factory=list)
    empty_lines: int = 0
    nul_lines: int = 0

    def __len__(self) -> int:
        return len(self.line)

    def texts(self) -> Iterator[str]:
        """The sentences in their order."""
        with self.path.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                yield line[:-1]

    def add(self, file: BinaryIO, source: Source, encoding: str) -> None:
        """Take all sentences of a source, or none and its reason."""
        rows, begin = len(self), file.tell()
        empty = nul = 0
        try:
            for line in sentences(source.path, encoding):
                nul += line.nul
                empty += not line.nul and not line.text
                if line.text and not line.nul:
                    file.write(f"{line.text}\n".encode())
                    if not line.whole:
                        self.partial.add(len(self))
                    self.line.append(line.number)
                    self.hash.append(_hash(line.text))
        except InputError as error:
            file.seek(begin)
            file.truncate()
            del self.line[rows:], self.hash[rows:]
            self.partial = {row for row in self.partial if row < rows}
            self.skipped.append((source.name, str(error).removeprefix(str(source.path)).lstrip(",: ")))
            return
        self.empty_lines += empty
        self.nul_lines += nul
        if len(self) == rows:
            self.skipped.append((source.name, why_none(nul > 0)))
            return
        self.source.extend([len(self.names)] * (len(self) - rows))
        self.names.append(source.name)


def _hash(text: str) -> int:
    """64 bits, the same everywhere; upper and lower case make no difference, so that near twins lie together."""
    return int.from_bytes(hashlib.blake2b(text.casefold().encode(), digest_size=8).digest(), "big")


def gather(job: Job, path: Path, encoding: str) -> tuple[Gathered, np.ndarray]:
    """Write the sentences of all files to `path`; also the number of the group of files that each comes from (N,).

    Raises:
        InputError: a group that was given has no sentence; the message counts the reasons.
    """
    found = Gathered(path)
    groups: list[Files] = [job.train, job.valid, job.test]
    begin = []
    with path.open("wb") as file:
        for group in groups:
            begin.append(len(found))
            skipped = len(found.skipped)
            for source in job.shown(group.found, "reading", len(group.found), "files"):
                found.add(file, source, encoding)
            if group.given and len(found) == begin[-1]:
                raise group.unusable(found.skipped[skipped:])
    return found, np.searchsorted(begin, np.arange(len(found)), side="right") - 1
