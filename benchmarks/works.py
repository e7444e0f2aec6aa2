"""The works of seqvae that `benchmarks.run` times, each in a process of its own (see `serving`), on the processor.

    python -m benchmarks.works WORK [--model melody-2bar] [--batch-size 512] [--threads 2] ...

Models have random weights: how good they are does not change how fast they are.
"""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.serving import serve
from benchmarks.training import training_step
from data_prep.dataset import prepare
from data_prep.examples import Example
from data_prep.windows import MelodyOptions
from seqvae.checkpoint import ModelFile
from seqvae.config import INFERENCE_PRECISIONS
from seqvae.data import SequenceData
from seqvae.memory import keep_freed_memory
from seqvae.presets import preset
from seqvae.run import new_model
from seqvae.sampling import Decoding
from seqvae.trained import TrainedModel

Work = Callable[[], object]

CPU = torch.device("cpu")
MAGENTAS = {"scheduled_sampling": "inverse-sigmoid", "scheduled_sampling_rate": 1.0, "scheduled_sampling_steps": 1000}
SAMPLING: dict[str, dict[str, Any]] = {  # scheduled sampling, by name
    "none": {"scheduled_sampling": "none"},
    "parallel": MAGENTAS | {"scheduled_sampling_parallel": True},
    "exact": MAGENTAS | {"scheduled_sampling_parallel": False},
}


def train(options: argparse.Namespace) -> Work:
    """A training step of a run's beginning: batch, pass, gradient, clipping and optimizer."""
    config = preset(options.model)
    training = replace(config.training, batch_size=options.batch_size, **SAMPLING[options.sampling])
    step = training_step(new_model(config), training, SequenceData(options.dataset), CPU)
    return lambda: step().tolist()


def trained(options: argparse.Namespace) -> TrainedModel:
    """A model of a preset as one uses it, with random weights."""
    config = preset(options.model)
    tokenizer = SequenceData(options.dataset).tokenizer.to_json()
    return TrainedModel(options.model, ModelFile(new_model(config), config, tokenizer, {}), "cpu", options.precision)


def sample(options: argparse.Namespace) -> Work:
    """Ids of latents from the prior, at temperature 1."""
    vae, how = trained(options), Decoding(temperature=1.0)
    return lambda: vae.decode_ids(torch.randn(options.batch_size, vae.config.model.latent_size), how)


def write(options: argparse.Namespace) -> Work:
    """Samples as MIDI files, each time in a folder of their own: what takes another's place is written more slowly."""
    vae = trained(options)

    def work() -> None:
        folder = Path(tempfile.mkdtemp(dir=options.out))
        for number, score in enumerate(vae.sample(options.batch_size)):
            score.write_midi(folder / f"{number}.mid")

    return work


def encode(options: argparse.Namespace) -> Work:
    """Posteriors of windows."""
    vae = trained(options)
    rows = np.asarray(SequenceData(options.dataset).dataset.split("train"))[: options.batch_size]
    windows = [Example(row, "window", 1, 120.0, "") for row in rows]
    return lambda: vae.encode_examples(windows)


def read(options: argparse.Namespace) -> Work:
    """MIDI files to a dataset of windows, with one worker."""
    return lambda: prepare([options.melodies], options.out / "read", MelodyOptions(), workers=1, force=True)


WORKS = {work.__name__: work for work in (train, sample, write, encode, read)}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Which work, and with which settings."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.works")
    parser.add_argument("work", choices=WORKS)
    parser.add_argument("--model", default="melody-2bar", help="a preset")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--sampling", choices=SAMPLING, default="none", help="scheduled sampling")
    parser.add_argument("--precision", choices=INFERENCE_PRECISIONS, default="auto", help="of all but training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dataset", type=Path, help="windows of 2 bars")
    parser.add_argument("--melodies", type=Path, help="folder of MIDI files to read")
    parser.add_argument("--out", type=Path, help="folder for what is written")
    return parser.parse_args(arguments)


def main() -> None:
    """Serve a work."""
    options = parse()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as training and loading a model do
    serve(WORKS[options.work](options))


if __name__ == "__main__":
    main()
