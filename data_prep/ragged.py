"""Sequences of different lengths in one flat array.

ids      (M,) all sequences, one after the other
offsets  (N+1,) where each begins; the last is M
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """N sequences of ids; both arrays may be memory-mapped."""

    ids: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        """N."""
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """The ids of a sequence, 1-D; a negative row counts from the end."""
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        row %= len(self)
        return self.ids[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64."""
        return np.diff(self.offsets)

    def padded(self, rows: np.ndarray, fill: int) -> np.ndarray:
        """Some sequences side by side, (B, longest) int64; `fill` stands after the end of the shorter ones."""
        rows = np.asarray(rows, np.int64)
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        columns = np.arange(lengths.max(initial=0))
        inside = columns < lengths[:, None]
        found = np.full(inside.shape, fill, np.int64)
        found[inside] = self.ids[(starts[:, None] + columns)[inside]]
        return found
