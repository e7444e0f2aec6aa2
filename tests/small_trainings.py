"""Datasets, settings and weights of trainings that take less than a second."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data_prep.dataset import prepare
from data_prep.score import Note, Score
from data_prep.text import TextOptions
from data_prep.windows import MelodyOptions
from seqvae.checkpoint import load_state
from seqvae.config import Config, ModelConfig, Phase, TrainConfig

MODEL = ModelConfig(encoder_size=12, decoder_size=12, latent_size=6, embedding_size=8, decoder_layers=1)
TRAINING = TrainConfig(
    steps=3,
    batch_size=16,
    annealing="none",
    learning_rate=1e-2,
    final_learning_rate=0.0,
    device="cpu",
    precision="fp32",
)
WORDS = ("the", "a", "cat", "dog", "bird", "sees", "likes", "hears", "big", "small", "old", "new", ".", "and")


def write_tunes(folder: Path, rng: np.random.Generator, tunes: int = 10, notes: int = 32) -> None:
    """MIDI files of random eighth notes."""
    for tune in range(tunes):
        pitches = rng.integers(55, 80, notes).tolist()
        eighths = tuple(Note(pitch, 2 * place, 2 * place + 2) for place, pitch in enumerate(pitches))
        Score(eighths, 2 * notes).write_midi(folder / f"{tune}.mid")


def melodies(folder: Path) -> Path:
    """A dataset of ten tunes."""
    write_tunes(folder, np.random.default_rng(0))
    return prepare([folder], folder / "dataset", MelodyOptions(), workers=1).path


def sentences(folder: Path) -> Path:
    """A dataset of 240 lines."""
    rng = np.random.default_rng(0)
    lines = [" ".join(rng.choice(WORDS, rng.integers(1, 9))) for _ in range(240)]
    (folder / "notes.txt").write_text("\n".join(lines))
    return prepare([folder / "notes.txt"], folder / "dataset", TextOptions(max_length=7)).path


def config(*phases: Phase, model: dict[str, Any] | None = None, **changes: Any) -> Config:
    """MODEL and TRAINING with some changes."""
    return Config(
        "test",
        model=dataclasses.replace(MODEL, **(model or {})),
        training=dataclasses.replace(TRAINING, **changes),
        phases=phases,
    )


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Of the model that was trained last."""
    return load_state(run / "last.pt")["model"]
