"""Whole trainings, whose models are judged."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.datasets import write_windows
from data_prep.dataset import is_dataset, prepare
from data_prep.splits import SPLITS
from data_prep.windows import MelodyOptions
from seqvae.checkpoint import load_state
from seqvae.config import Config
from seqvae.data import SequenceData
from seqvae.evaluation import evaluate
from seqvae.run_folder import STATE_FILE
from seqvae.training import TrainResult, train
from seqvae.vae import SequenceVAE


def windows(folder: Path, given: Path | None, melodies: Path) -> SequenceData:
    """The dataset in `folder`; at first it is made of 2bar_{train,valid,test}.npz in `given`, else of `melodies`."""
    if not is_dataset(folder) and given:
        write_windows(folder, {name: np.load(given / f"2bar_{name}.npz")["x"] for name in SPLITS})
    elif not is_dataset(folder):
        prepare([melodies], folder, MelodyOptions())
    return SequenceData(folder)


def finished(config: Config, dataset: Path, run: Path) -> TrainResult:
    """Train a model to its end, or go on, or find it trained; an interruption ends the program."""
    result = train(config, dataset, run, resume=(run / STATE_FILE).exists())
    if result.stopped == "interrupted":
        sys.exit(f"interrupted; the same command goes on with {run}")
    return result


def trained(config: Config, data: SequenceData, out: Path) -> dict[str, Any]:
    """The training state after the last step; as `finished`."""
    finished(config, data.dataset.path, out)
    return load_state(out / STATE_FILE)


def judged(model: SequenceVAE, data: SequenceData) -> dict[str, float]:
    """Figures on all valid windows, in fp32."""
    return evaluate(model.eval(), data.batches("valid", 512), data.tokenizer.note_on)
