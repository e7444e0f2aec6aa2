"""Tunes for the tests of datasets, the windows that are made of them, and damage to their files."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_prep import midi
from data_prep.dataset import SPLITS, Dataset
from data_prep.piece import Piece, Track

TICKS = 480


def melody(seed: int, bars: int = 8) -> list[int]:
    """One pitch for each eighth note."""
    return np.random.default_rng(seed).integers(60, 80, 8 * bars).tolist()


def write_tune(path: Path, pitches: Sequence[int], meter: tuple[int, int] = (4, 4), program: int = 0) -> Path:
    notes = np.array([[i * TICKS // 2, (i + 1) * TICKS // 2, p, 80] for i, p in enumerate(pitches)], np.int64)
    midi.write(Piece("tune", TICKS, (Track("", program, False, notes.reshape(-1, 4)),), ((0, *meter),)), path)
    return path


def write_tunes(folder: Path, numbers: Sequence[int]) -> Path:
    for number in numbers:
        write_tune(folder / f"{number:03}.mid", melody(number))
    return folder


def rows(data: Dataset) -> dict[str, np.ndarray]:
    return {name: np.asarray(data.split(name)) for name in SPLITS}


def unclose(path: Path) -> None:
    """Take the bracket that ends the header of an array."""
    path.write_bytes(path.read_bytes().replace(b"}", b" ", 1))
