"""A dataset folder as batches of tensors.

Everything random is a function of (seed, epoch) or (seed, step) alone, so that a resumed run sees the very batches
an uninterrupted one would have seen. Rows are cut from the memory-mapped file as they are needed.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_prep.dataset import Dataset, open_dataset
from data_prep.tokenizers.base import Tokenizer


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


class SequenceData:
    """Batches of a prepared dataset, with the tokenizer that made it."""

    def __init__(self, folder: Path) -> None:
        """Raises data_prep's InputError when the folder is no dataset."""
        self.dataset: Dataset = open_dataset(folder)
        self.tokenizer: Tokenizer = self.dataset.tokenizer
        self.train: np.ndarray = self.dataset.split("train")
        self._order: tuple[tuple[int, int], np.ndarray] | None = None

    def steps_per_epoch(self, batch_size: int) -> int:
        """Full batches in an epoch; the rest of a shuffled epoch is left out, or all rows make the one batch."""
        return max(1, len(self.train) // batch_size)

    def training_batch(self, step: int, batch_size: int, seed: int, transpose: int | None) -> Tensor:
        """The batch of a training step: (B, T) int64."""
        epoch, position = divmod(step, self.steps_per_epoch(batch_size))
        rows = self._shuffled(seed, epoch)[position * batch_size : (position + 1) * batch_size]
        ids = np.asarray(self.train[rows])
        if transpose and self.tokenizer.pitch_ids is not None:
            rng = np.random.default_rng([seed, step, 1])
            ids = transposed(ids, self.tokenizer.pitch_ids, transpose, rng)
        return torch.from_numpy(ids.astype(np.int64))

    def batches(self, split: str, batch_size: int, most: int | None = None) -> Iterator[Tensor]:
        """A split in its order, (B, T) int64; `most` ends it after so many sequences."""
        ids = self.dataset.split(split)[:most]
        for start in range(0, len(ids), batch_size):
            yield torch.from_numpy(ids[start : start + batch_size].astype(np.int64))

    def _shuffled(self, seed: int, epoch: int) -> np.ndarray:
        if self._order is None or self._order[0] != (seed, epoch):
            order = np.random.default_rng([seed, epoch]).permutation(len(self.train))
            self._order = ((seed, epoch), order)
        return self._order[1]
