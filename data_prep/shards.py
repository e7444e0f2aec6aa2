"""What many files gave, in shards on disk: a run that is killed leaves them, and the next goes on from there.

A shard holds the windows of files that follow each other, and is named after the first of them and the one behind the
last. Where the cuts are makes no difference to what all shards hold, so that a run may be gone on with by any number
of processes: whatever lies between the shards that are there is read and cut anew.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.files import atomic, remove


@dataclass(frozen=True, slots=True)
class Shard:
    """The windows of some tunes, one after the other, and (name, reason) for all that cannot serve."""

    ids: np.ndarray  # (N * T,) uint8
    bars: np.ndarray  # (N,) int64
    counts: np.ndarray  # (tunes,) int64, the windows of each
    names: list[str]  # of the tunes
    skipped: list[tuple[str, str]]


class Shards:
    """A folder of shards. Each appears in it complete or not at all."""

    def __init__(self, folder: Path) -> None:
        """Those that are there and sound; a damaged one is removed."""
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self._paths: dict[range, Path] = {}
        for path in folder.glob("[0-9]*-*.npz"):
            try:
                _read(path)
            except Exception:  # an archive with a wrong bit fails in a dozen ways
                remove(path)
            else:
                self._paths[range(*map(int, path.stem.split("-")))] = path

    def __len__(self) -> int:
        """How many files have been read."""
        return sum(map(len, self._paths))

    def __iter__(self) -> Iterator[Shard]:
        """All shards, in the order of the files."""
        return (_read(self._paths[files]) for files in self._ordered())

    def add(self, files: range, shard: Shard) -> None:
        """Write what these files gave."""
        path = self._folder / f"{files.start:09}-{files.stop:09}.npz"
        told = json.dumps({"names": shard.names, "skipped": shard.skipped}).encode()
        with atomic(path) as temporary:
            np.savez(temporary, ids=shard.ids, bars=shard.bars, counts=shard.counts, told=np.frombuffer(told, np.uint8))
        self._paths[files] = path

    def missing(self, total: int) -> list[range]:
        """Which of so many files have not been read."""
        edges = [0, *(edge for files in self._ordered() for edge in (files.start, files.stop)), total]
        gaps = zip(edges[::2], edges[1::2], strict=True)
        return [range(begin, end) for begin, end in gaps if begin < end]

    def _ordered(self) -> list[range]:
        return sorted(self._paths, key=lambda files: files.start)


def _read(path: Path) -> Shard:
    """A shard as it was written: a file that has changed since fails at its checksums, or has lost an array."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        told = json.loads(arrays["told"].tobytes())
        skipped = [(name, reason) for name, reason in told["skipped"]]
        ids, bars, counts = arrays["ids"], arrays["bars"], arrays["counts"]
    if not ids.ndim == bars.ndim == counts.ndim == 1:
        raise ValueError("a shard has rows of numbers")
    return Shard(ids, bars, counts, told["names"], skipped)
