"""A dataset folder as batches of tensors: sequences of one length as they come, others with those of like length.

Everything random is a function of (seed, epoch) or (seed, step) alone, so that a resumed run sees the very batches
an uninterrupted one would have seen. Rows are read from the file as they are needed, or from a copy of it on a
GPU where it is small enough.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data_prep.dataset import Dataset, open_dataset
from data_prep.errors import InputError
from data_prep.ragged import Ragged
from data_prep.tokenizers.base import Tokenizer
from seqvae.batch import Batch
from seqvae.batching import ShuffledBatches, batches_of_like_length, number_of_batches
from seqvae.config import OF_TOKENIZER, SETTINGS, TEXT, Config
from seqvae.devices import sent
from seqvae.errors import ModelError, TrainingError

Plan = ShuffledBatches | list[np.ndarray]  # the rows of each batch of an epoch

MOST_OF_GPU = 0.25  # share of a GPU's free memory that the train split may take
ROWS_AT_ONCE = 2**20  # on their way to it
MOST_MAPPED = 2**26  # bytes of an array that may all become memory of the process by being read from a map


def transposed(ids: Tensor, pitch_ids: range, most: int, draws: Tensor) -> Tensor:
    """Shift each row's pitches by an interval of its own in [-most, most].

    Intervals that would carry a note out of the alphabet are never drawn, which is the same as drawing again.

    Args:
        ids: (B, T) int64.
        pitch_ids: the ids that are pitches.
        most: semitones.
        draws: (B) random numbers in [0, 1), float64, on the device of `ids`: which interval, of those that there are.
    """
    notes = (ids >= pitch_ids.start) & (ids < pitch_ids.stop)
    lowest = torch.where(notes, ids, pitch_ids.stop - 1).amin(1)
    highest = torch.where(notes, ids, pitch_ids.start).amax(1)
    down = (pitch_ids.start - lowest).clamp_min(-most)
    up = (pitch_ids.stop - 1 - highest).clamp_max(most)
    shift = down + (draws * (up - down + 1)).long()
    return torch.where(notes, ids + shift.unsqueeze(1), ids)


def in_batches(ids: Sequence[np.ndarray], batch_size: int) -> Iterator[tuple[np.ndarray, Batch]]:
    """All sequences in batches of like length, and the places of each batch's."""
    lengths = np.array([len(row) for row in ids])
    sequences = Ragged(np.concatenate(ids), np.concatenate([[0], np.cumsum(lengths)]))
    for rows in np.array_split(np.argsort(lengths, kind="stable"), range(batch_size, len(ids), batch_size)):
        yield rows, _padded(sequences, rows, fill=0)


def check_validates(dataset: Dataset, called: str) -> None:
    """Raises TrainingError for a dataset that has nothing to validate on; `called` is what people know it by."""
    if not len(dataset.split("valid")):
        more = "more tunes"
        if dataset.tokenizer.kind == TEXT:
            more = "more different sentences, as equal ones stay in one split, or a file of others with --valid"
        raise TrainingError(f"{called} has nothing to validate on: add {more}")


def _described(tokenizer: Tokenizer) -> str:
    """What a tokenizer is for, but for its vocabulary."""
    spec = tokenizer.to_json() | {"vocabulary_size": tokenizer.vocabulary_size}
    return ", ".join(f"{name} {value}" for name, value in spec.items() if name not in ("symbols", "text"))


def _padded(sequences: Ragged, rows: np.ndarray, fill: int) -> Batch:
    """Some sequences as a batch; `fill` stands after the end of the shorter ones."""
    lengths = sequences.offsets[rows + 1] - sequences.offsets[rows]
    tokens = torch.from_numpy(sequences.padded(rows, fill))
    return Batch(tokens, None if (lengths == lengths[0]).all() else torch.from_numpy(lengths))


class FileRows:
    """Rows of a large array in a file, read one by one as they are asked for.

    Of a memory map every page that was ever read counts as memory of the process, and soon that is the whole file.
    """

    def __init__(self, array: np.memmap) -> None:
        self._file = open(str(array.filename), "rb", buffering=0)  # noqa: SIM115 - open as long as this lives
        self._offset, self._dtype, self._width = array.offset, array.dtype, array.strides[0]

    def __del__(self) -> None:
        self._file.close()

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """(B,) -> (B, T)."""
        places = self._offset + np.asarray(rows, np.int64) * self._width
        read = map(os.pread, repeat(self._file.fileno()), repeat(self._width), places.tolist())
        found = np.frombuffer(b"".join(read), self._dtype)
        if found.nbytes != len(rows) * self._width:
            raise InputError(f"{self._file.name} has become shorter: prepare the dataset anew")
        return found.reshape(len(rows), -1)


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
        self._train: np.ndarray | Ragged | FileRows = self.train  # the way to read it
        if isinstance(self.train, np.memmap) and self.train.nbytes > MOST_MAPPED and hasattr(os, "pread"):
            self._train = FileRows(self.train)
        self._resident: Tensor | None = None  # train on a GPU
        self._plan: tuple[tuple[int, int, int], Plan] | None = None
        self._steps: dict[int, int] = {}  # in an epoch, by batch size

    def fitted(self, config: Config) -> Config:
        """A configuration with what follows from the dataset: its options, and the sizes of its tokenizer."""
        tokenizer, made = self.tokenizer, self.dataset.settings()
        model = replace(config.model, **{name: getattr(tokenizer, name) for name in OF_TOKENIZER})
        options = {name: made[name] for name in SETTINGS[tokenizer.kind]}
        data = replace(config.data, **options, dataset=str(self.dataset.path.resolve()))
        return replace(config, model=model, data=data)

    def check_serves(self, tokenizer: Tokenizer, model: str, split: str) -> None:
        """Raises ModelError where a model of this name and tokenizer cannot be evaluated on the split."""
        path = self.dataset.path
        if self.tokenizer.to_json() != tokenizer.to_json():
            theirs, ours = _described(self.tokenizer), _described(tokenizer)
            if theirs == ours:
                raise ModelError(
                    f"{path} has another vocabulary than model '{model}': evaluate the text files that it was made from"
                )
            raise ModelError(f"{path} was prepared for {theirs}; model '{model}' is for {ours}")
        if not len(self.dataset.split(split)):
            raise ModelError(f"{path}: the {split} split is empty; choose another --split")

    def use_gpu(self, device: torch.device) -> None:
        """Keep train on a GPU, if it takes little of its free memory: batches are then cut there, the same ones."""
        if device.type == "cuda" and isinstance(self.train, np.ndarray) and self.train.dtype == np.uint8:
            free, _ = torch.cuda.mem_get_info(device)
            if self.train.nbytes < MOST_OF_GPU * free:
                self.keep_on(device)

    def keep_on(self, device: torch.device) -> None:
        """Copy train, of sequences of one length, to a device, from which batches come from then on."""
        train = np.asarray(self.train)
        self._resident = torch.empty(train.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(train), ROWS_AT_ONCE):
            some = train[start : start + ROWS_AT_ONCE].copy()
            self.dataset.check_ids(some)
            self._resident[start : start + ROWS_AT_ONCE] = torch.from_numpy(some)
        self.train = self.dataset.split("train")  # mapped anew: the pages that were read count no more

    def steps_per_epoch(self, batch_size: int) -> int:
        """Batches in an epoch.

        Of sequences of one length full ones: the rest of a shuffled epoch is left out, or all make the one batch.
        """
        if not isinstance(self.train, Ragged):
            return number_of_batches(len(self.train), batch_size)
        if batch_size not in self._steps:
            self._steps[batch_size] = len(self._planned(0, 0, batch_size))
        return self._steps[batch_size]

    def training_batch(
        self, step: int, batch_size: int, seed: int, transpose: int | None = None, part: int = 0, parts: int = 1
    ) -> Batch:
        """The batch of a training step, or of its `parts` the one numbered `part`: the rows part, part + parts, ...

        A part without rows gets one that stands in, and counts for nothing (Batch.share).
        """
        epoch, position = divmod(step, self.steps_per_epoch(batch_size))
        rows = self._planned(seed, epoch, batch_size)[position]
        mine = slice(part, None, parts) if part < len(rows) else slice(1)
        tokens, lengths = self._training_rows(rows[mine])
        if transpose and self.tokenizer.pitch_ids is not None:
            draws = torch.from_numpy(np.random.default_rng([seed, step, 1]).random(len(rows))[mine])
            tokens = transposed(tokens, self.tokenizer.pitch_ids, transpose, sent(draws, tokens.device))
        return Batch(tokens, lengths, part, None if parts == 1 else len(rows))

    def batches(self, split: str, batch_size: int, most: int | None = None) -> "Batches":
        """A split, each sequence once; of one that is longer, `most` that are spread over it evenly."""
        rows = self.dataset.split(split)
        some = np.arange(len(rows))
        if most is not None and most < len(rows):
            some = np.linspace(0, len(rows) - 1, most).astype(np.int64)
        if isinstance(rows, Ragged) and len(some):
            like = batches_of_like_length(rows.lengths[some], batch_size, np.random.default_rng(0))
            plan = [some[part] for part in like]
        else:
            plan = [some[start : start + batch_size] for start in range(0, len(some), batch_size)]
        return Batches(plan, lambda part: self._batch(rows, part))

    def first(self, split: str, n: int) -> Batch:
        """The first n sequences of a split, or all it has."""
        rows = self.dataset.split(split)
        return self._batch(rows, np.arange(min(n, len(rows))))

    def _batch(self, split: "np.ndarray | Ragged | FileRows", rows: np.ndarray) -> Batch:
        """Some rows. Raises InputError where they are damaged: a GPU would end the process."""
        if isinstance(split, Ragged):
            batch = _padded(split, rows, fill=0 if self.tokenizer.pad is None else self.tokenizer.pad)
        else:
            batch = Batch(torch.from_numpy(np.asarray(split[rows]).astype(np.int64)))
        self.dataset.check_ids(batch.tokens.numpy())
        return batch

    def _training_rows(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Some sequences of train, and their lengths, wherever train is."""
        if self._resident is not None:
            return self._resident[sent(torch.from_numpy(rows), self._resident.device)].long(), None
        batch = self._batch(self._train, rows)
        return batch.tokens, batch.lengths

    def _planned(self, seed: int, epoch: int, batch_size: int) -> Plan:
        """The rows of each batch of an epoch."""
        key = (seed, epoch, batch_size)
        if self._plan is None or self._plan[0] != key:
            rng = np.random.default_rng([seed, epoch])
            if isinstance(self.train, Ragged):
                self._plan = (key, batches_of_like_length(self.train.lengths, batch_size, rng))
            else:
                self._plan = (key, ShuffledBatches(len(self.train), batch_size, rng))
        return self._plan[1]
