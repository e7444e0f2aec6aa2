"""A dataset folder as batches of tensors: sequences of one length as they come, others with those of like length.

Everything random is a function of (seed, epoch) or (seed, step) alone, so that a resumed run sees the very batches
an uninterrupted one would have seen. Rows are cut from the memory-mapped file as they are needed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data_prep.dataset import Dataset, open_dataset
from data_prep.ragged import Ragged
from data_prep.tokenizers.base import Tokenizer
from seqvae.batch import Batch
from seqvae.batching import batches_of_like_length


def transposed(ids: np.ndarray, pitch_ids: range, most: int, rng: np.random.Generator) -> np.ndarray:
    """Shift each row's pitches by its own random interval in [-most, most].

    Intervals that would carry a note out of the alphabet are never drawn, which is the same as drawing again.
    ids (B, T) of any integer type -> the same type.
    """
    notes = (ids >= pitch_ids.start) & (ids < pitch_ids.stop)
    lowest = np.where(notes, ids, pitch_ids.stop - 1).min(1).astype(np.int64)
    highest = np.where(notes, ids, pitch_ids.start).max(1).astype(np.int64)
    down = np.maximum(-most, pitch_ids.start - lowest)
    up = np.minimum(most, pitch_ids.stop - 1 - highest)
    shift = rng.integers(down, up, endpoint=True)
    return np.where(notes, ids + shift[:, None], ids).astype(ids.dtype)


def in_batches(ids: Sequence[np.ndarray], batch_size: int) -> Iterator[tuple[np.ndarray, Batch]]:
    """All sequences in batches of like length, and the places of each batch's."""
    lengths = np.array([len(row) for row in ids])
    sequences = Ragged(np.concatenate(ids), np.concatenate([[0], np.cumsum(lengths)]))
    for rows in np.array_split(np.argsort(lengths, kind="stable"), range(batch_size, len(ids), batch_size)):
        yield rows, _padded(sequences, rows, fill=0)


def _padded(sequences: Ragged, rows: np.ndarray, fill: int) -> Batch:
    """Some sequences as a batch; `fill` stands after the end of the shorter ones."""
    lengths = sequences.offsets[rows + 1] - sequences.offsets[rows]
    tokens = torch.from_numpy(sequences.padded(rows, fill))
    return Batch(tokens, None if (lengths == lengths[0]).all() else torch.from_numpy(lengths))


@dataclass(frozen=True)
class Batches:
    """Batches that are made one at a time, as they are asked for."""

    plan: Sequence[np.ndarray]  # the rows of each
    batch: Callable[[np.ndarray], Batch]

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.batch, self.plan)


class SequenceData:
    """Batches of a prepared dataset, with the tokenizer that made it."""

    def __init__(self, folder: Path) -> None:
        """Raises data_prep's InputError when the folder is no dataset."""
        self.dataset: Dataset = open_dataset(folder)
        self.tokenizer: Tokenizer = self.dataset.tokenizer
        self.train = self.dataset.split("train")
        self._plan: tuple[tuple[int, int, int], list[np.ndarray]] | None = None
        self._steps: dict[int, int] = {}  # in an epoch, by batch size

    def steps_per_epoch(self, batch_size: int) -> int:
        """Batches in an epoch.

        Of sequences of one length full ones: the rest of a shuffled epoch is left out, or all make the one batch.
        """
        if batch_size not in self._steps:
            self._steps[batch_size] = len(self._new_plan(np.random.default_rng(0), batch_size))
        return self._steps[batch_size]

    def training_batch(self, step: int, batch_size: int, seed: int, transpose: int | None = None) -> Batch:
        """The batch of a training step."""
        epoch, position = divmod(step, self.steps_per_epoch(batch_size))
        batch = self._batch(self.train, self._planned(seed, epoch, batch_size)[position])
        if transpose and self.tokenizer.pitch_ids is not None:
            rng = np.random.default_rng([seed, step, 1])
            moved = transposed(batch.tokens.numpy(), self.tokenizer.pitch_ids, transpose, rng)
            return Batch(torch.from_numpy(moved), batch.lengths)
        return batch

    def batches(self, split: str, batch_size: int, most: int | None = None) -> "Batches":
        """A split, each sequence once; `most` ends it after so many of its first."""
        rows = self.dataset.split(split)
        some = np.arange(len(rows))[:most]
        if isinstance(rows, Ragged) and len(some):
            plan = batches_of_like_length(rows.lengths[some], batch_size, np.random.default_rng(0))
        else:
            plan = [some[start : start + batch_size] for start in range(0, len(some), batch_size)]
        return Batches(plan, lambda part: self._batch(rows, part))

    def first(self, split: str, n: int) -> Batch:
        """The first n sequences of a split, or all it has."""
        rows = self.dataset.split(split)
        return self._batch(rows, np.arange(min(n, len(rows))))

    def _batch(self, split: "np.ndarray | Ragged", rows: np.ndarray) -> Batch:
        if not isinstance(split, Ragged):
            return Batch(torch.from_numpy(np.asarray(split[rows]).astype(np.int64)))
        return _padded(split, rows, fill=0 if self.tokenizer.pad is None else self.tokenizer.pad)

    def _planned(self, seed: int, epoch: int, batch_size: int) -> list[np.ndarray]:
        """The rows of each batch of an epoch."""
        key = (seed, epoch, batch_size)
        if self._plan is None or self._plan[0] != key:
            self._plan = (key, self._new_plan(np.random.default_rng([seed, epoch]), batch_size))
        return self._plan[1]

    def _new_plan(self, rng: np.random.Generator, batch_size: int) -> list[np.ndarray]:
        if isinstance(self.train, Ragged):
            return batches_of_like_length(self.train.lengths, batch_size, rng)
        order = rng.permutation(len(self.train))
        full = max(1, len(order) // batch_size)
        return np.array_split(order[: full * batch_size], full) if len(order) > batch_size else [order]
