"""How good a melody model is on tunes it has never seen, and how much its samples are like tunes.

    python -m benchmarks.quality DATASET [--model M] [--samples 32] [--n 2000]

Figures of `seqvae evaluate` on the test split, then the overlap of histograms between melodies drawn from the prior
and the test windows: pitch class, interval from note to note (clipped to an octave), and length of a note in steps.
The overlap of two histograms p and q is sum_i min(p_i, q_i): 1 where they are equal, 0 where nothing is shared. A
model that was trained on tunes moved by up to +-5 semitones draws from all keys, so its pitch classes are compared
with the test windows moved in the same way; the overlap with the keys as written is printed beside it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

import seqvae
from benchmarks.machine import describe
from data_prep.dataset import open_dataset
from data_prep.score import Note, Score
from data_prep.tokenizers.base import Tokenizer
from seqvae.data import transposed

SEED = 0


def pitch_classes(notes: Sequence[Note]) -> list[int]:
    """0 is C."""
    return [note.pitch % 12 for note in notes]


def intervals(notes: Sequence[Note]) -> list[int]:
    """Semitones from a note to the next, -12 to 12, from 0."""
    pitches = np.array([note.pitch for note in notes])
    return (np.diff(pitches).clip(-12, 12) + 12).tolist()


def lengths(notes: Sequence[Note]) -> list[int]:
    """Steps."""
    return [note.end - note.onset for note in notes]


def histogram(values: Sequence[Sequence[int]], size: int) -> np.ndarray:
    """Shares (size,) of all values of all melodies."""
    counts = np.bincount([value for melody in values for value in melody], minlength=size)
    return counts / counts.sum()


def overlap(p: np.ndarray, q: np.ndarray) -> float:
    """sum_i min(p_i, q_i)."""
    return float(np.minimum(p, q).sum())


def scores(ids: np.ndarray, tokenizer: Tokenizer) -> list[Score]:
    """Melodies of ids (N, T)."""
    return [tokenizer.decode(row) for row in ids]


def compare(made: Sequence[Score], real: Sequence[Score], steps: int) -> dict[str, float]:
    """Overlaps by feature."""
    features = {"pitch class": (pitch_classes, 12), "interval": (intervals, 25), "note length": (lengths, steps + 1)}
    return {
        name: overlap(*(histogram([of(score.notes) for score in group], size) for group in (made, real)))
        for name, (of, size) in features.items()
    }


def moved_by_chance(ids: np.ndarray, pitch_ids: range, most: int, turn: int) -> np.ndarray:
    """Windows (N, T), each moved by a random interval as in training; another `turn`, other intervals."""
    draws = torch.from_numpy(np.random.default_rng([SEED, turn]).random(len(ids)))
    return transposed(torch.from_numpy(ids.astype(np.int64)), pitch_ids, most, draws).numpy()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality")
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--samples", type=int, default=32, help="importance samples for the likelihood")
    parser.add_argument("--n", type=int, default=2000, help="melodies drawn from the prior")
    options = parser.parse_args()
    vae, dataset = seqvae.load(options.model), open_dataset(options.dataset)
    test = np.asarray(dataset.split("test"))
    print("python -m benchmarks.quality", " ".join(sys.argv[1:]))
    print(f"{describe()}\nmodel {vae.name}; {len(test)} test windows; seed {SEED}\n")
    for name, value in vae.evaluate(options.dataset, "test", options.samples, SEED).items():
        print(f"{name:24}{value:9.3f}")
    tokenizer, steps = vae.tokenizer, vae.config.model.length
    made = vae.sample(options.n, seed=SEED)
    print(f"\noverlap of histograms, {len(made)} samples at temperature 1 with the test windows")
    written = compare(made, scores(test, tokenizer), steps)
    most = vae.config.training.transpose
    moved = (
        test
        if not most or tokenizer.pitch_ids is None
        else np.concatenate([moved_by_chance(test, tokenizer.pitch_ids, most, turn) for turn in range(5)])
    )
    found = compare(made, scores(moved, tokenizer), steps)
    for name, value in found.items():
        print(f"{name:24}{value:9.3f}")
    print(f"{'mean':24}{np.mean(list(found.values())):9.3f}")
    print(f"{'pitch class, as written':24}{written['pitch class']:9.3f}")
    print(f"{'mean with it':24}{np.mean([written['pitch class'], found['interval'], found['note length']]):9.3f}")


if __name__ == "__main__":
    main()
