"""Which sequences go together: any that are of one length, else those of like length, with next to no padding.

The order of millions of sequences is never written down. A Feistel network over pairs (l, r) of numbers below a,
where a * a >= N, is a bijection whatever its round functions F are; with random ones it is a random order:

    (l, r) -> (r, (l + F(r)) mod a)                                  Luby & Rackoff 1988
    places beyond N, of which there are next to none, go through it again    Black & Rogaway 2002
"""

import math

import numpy as np

MOST_PADDING = 0.05  # share of a batch's cells
ROUNDS = 8  # of the Feistel network; from 4 on it passes for random


class ShuffledBatches:
    """The rows of each batch of an epoch over N sequences of one length, computed as they are asked for.

    Batches are full: the rest of the shuffled rows is left out. Fewer than that make the one batch.
    """

    def __init__(self, size: int, batch_size: int, rng: np.random.Generator) -> None:
        self._size, self._batch_size = size, batch_size
        self._side = math.isqrt(max(0, size - 1)) + 1
        self._rounds = rng.integers(self._side, size=(ROUNDS, self._side))

    def __len__(self) -> int:
        return number_of_batches(self._size, self._batch_size)

    def __getitem__(self, number: int) -> np.ndarray:
        """The rows of a batch, (B,) int64."""
        first = number * self._batch_size
        rows = self._moved(np.arange(first, min(first + self._batch_size, self._size)))
        while len(beyond := np.flatnonzero(rows >= self._size)):
            rows[beyond] = self._moved(rows[beyond])
        return rows

    def _moved(self, places: np.ndarray) -> np.ndarray:
        left, right = np.divmod(places, self._side)
        for table in self._rounds:
            left, right = right, (left + table[right]) % self._side
        return left * self._side + right


def number_of_batches(size: int, batch_size: int) -> int:
    """Of sequences of one length, in an epoch."""
    return max(1, size // batch_size)


def batches_of_like_length(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of each batch, every row once.

    Sequences of one length fill batches of their own; what is left of all lengths is put together in their order, as
    long as no more than MOST_PADDING of a batch is padding. Which sequences meet, and in which order the batches come,
    is random; the number of batches follows from the lengths alone.

    Args:
        lengths: (N,) of all sequences.
        batch_size: the most rows of a batch.
        rng: source of the randomness.
    """
    order = rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]  # by length, random within each
    runs = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
    batches: list[np.ndarray] = []
    rest = []
    for run in runs:
        full = len(run) // batch_size * batch_size
        batches += list(run[:full].reshape(-1, batch_size))
        rest.append(run[full:])
    batches += _filled(np.concatenate(rest), lengths, batch_size)
    return [batches[place] for place in rng.permutation(len(batches))]


def _filled(rows: np.ndarray, lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Rows in the order of their lengths, cut where a batch is full or would be padded too much."""
    cuts, first, tokens = [], 0, 0
    for place, length in enumerate(lengths[rows].tolist()):
        tokens += length
        cells = (place + 1 - first) * length
        if place - first == batch_size or cells - tokens > MOST_PADDING * cells:
            cuts.append(place)
            first, tokens = place, length
    return [batch for batch in np.split(rows, cuts) if len(batch)]
