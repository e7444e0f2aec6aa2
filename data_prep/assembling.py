"""Windows of many tunes, gathered on disk, put into splits and written as the arrays and the index of a dataset.

While a dataset is made its windows lie in one file of rows of T bytes; what stays in memory is the tune, the bar and
two hashes of each.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep import splits
from data_prep.shards import Shard
from data_prep.splits import SPLITS
from data_prep.tokenizers.melody import MelodyTokenizer

_BLOCK = 1 << 16  # windows copied at a time


@dataclass(frozen=True)
class Found:
    """All windows there are: ids in a file of rows of T bytes, and what is known of each row."""

    path: Path
    length: int  # T
    names: list[str]  # of the tunes
    tune: np.ndarray  # (N,) the tune of each row
    bar: np.ndarray  # (N,)
    skipped: list[tuple[str, str]]

    def ids(self) -> np.ndarray:
        """(N, T), memory-mapped."""
        return np.memmap(self.path, np.uint8, "r", shape=(len(self.tune), self.length))


def gather(shards: Iterable[Shard], path: Path, length: int) -> Found:
    """Write the windows of all tunes to `path`; `length` is T."""
    names: list[str] = []
    skipped: list[tuple[str, str]] = []
    counts, bars = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    with path.open("wb") as file:
        for shard in shards:
            file.write(shard.ids.tobytes())
            names += shard.names
            skipped += shard.skipped
            counts.append(shard.counts)
            bars.append(shard.bars)
    tune = np.repeat(np.arange(len(names)), np.concatenate(counts))
    return Found(path, length, names, tune, np.concatenate(bars), skipped)


@dataclass(frozen=True)
class Placed:
    """The split of each window (N,), and the window that stays for it: itself, or one that equals it."""

    split: np.ndarray
    keeper: np.ndarray
    by: str  # "tune" or "time"

    def rows(self, split: int) -> np.ndarray:
        """The windows that stay in a split."""
        return np.flatnonzero((self.split == split) & (self.keeper == np.arange(len(self.keeper))))


def place(
    found: Found, tokenizer: MelodyTokenizer, shares: tuple[float, float, float]
) -> tuple[Placed, dict[str, int]]:
    """Split the windows; also the numbers of tunes and of clusters, and the size of the largest."""
    exact, shape = splits.window_hashes(found.ids(), tokenizer.note_on, tokenizer.pitch_ids)
    cluster = splits.clusters(found.tune, shape, len(found.names))
    split = splits.assign(found.names, cluster, shares)[found.tune]
    placed = Placed(split, splits.keepers(split, exact), "tune")
    if any(share > 0 and not len(placed.rows(s)) for s, share in enumerate(shares)):
        split = splits.in_time(found.tune, shares)
        placed = Placed(split, splits.keepers(split, exact), "time")
    sizes = np.bincount(cluster)
    return placed, {
        "tunes": len(cluster),
        "clusters": int(np.count_nonzero(sizes)),
        "largest_cluster": int(sizes.max()),
    }


def write_splits(folder: Path, found: Found, placed: Placed) -> dict[str, int]:
    """Write the arrays and the index; how many windows each split has, and how many were equal to one of these.

    The index tells all places that a window comes from; the first is the one that put it into its split.
    """
    ids = found.ids()
    counts = {}
    row = np.zeros(len(ids), np.int64)
    for s, name in enumerate(SPLITS):
        rows = placed.rows(s)
        _write_rows(folder / f"{name}.npy", ids, rows)
        row[rows] = np.arange(len(rows))
        counts[name] = len(rows)
    _write_index(folder / "index.csv", found, placed, row)
    return counts | {"equal": len(ids) - sum(counts.values())}


def _write_index(path: Path, found: Found, placed: Placed, row: np.ndarray) -> None:
    """`row` (N,) is the row of each window that stays. They come in the order of splits and rows, the others behind."""
    N, keeper = len(row), placed.keeper
    order = np.argsort(
        2 * (N * placed.split[keeper].astype(np.int64) + keeper) + (keeper != np.arange(N)), kind="stable"
    )
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        index = csv.writer(file)
        index.writerow(("split", "row", "source", "bar"))
        for start in range(0, N, _BLOCK):
            some = order[start : start + _BLOCK]
            split, rows = placed.split[keeper[some]].tolist(), row[keeper[some]].tolist()
            sources = map(found.names.__getitem__, found.tune[some].tolist())
            index.writerows(zip(map(SPLITS.__getitem__, split), rows, sources, found.bar[some].tolist(), strict=True))


def _write_rows(path: Path, ids: np.ndarray, rows: np.ndarray) -> None:
    with path.open("wb") as file:
        shape = (len(rows), ids.shape[1])
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(rows), _BLOCK):
            file.write(ids[rows[start : start + _BLOCK]].tobytes())
