"""Magenta and seqvae trained on the same windows, for the same number of steps and then for the same time.

    python -m benchmarks.magenta.compare --magenta PYTHON --out FOLDER [--windows FOLDER] [--steps 2000]

Magenta trains for so many steps; seqvae trains for as many ("same steps") and, another time, for as many minutes as
Magenta took ("same time", its validation after each epoch included). Batch size, learning rate and its decay,
clipping, beta and its annealing, free bits and scheduled sampling are those of Magenta's configuration, as changed by
--hparams; both move each window by up to 5 semitones each time they see it. With the same steps seqvae draws the
scheduled samples one after the other, as Magenta does; with the same time in two passes, as its presets do, and in the
precision that it chooses itself. Each model is judged as it is after its last step, by seqvae's own evaluation in fp32
on all valid windows: Magenta's weights are read by `seqvae.magenta`.

Magenta's annealing takes some 100,000 steps to its beta. A run of a few thousand trains with a beta near 0, so that
the rate, and with it the ELBO, is far from what a whole training gives; --hparams beta_rate=0.999 anneals faster.

What has been trained is kept in FOLDER: the same command goes on after an interruption, and trains nothing twice. The
windows are those of 2bar_{train,valid,test}.npz in the folder of --windows (ids `x` (N, 32)), else of --melodies.
"""

import argparse
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.judging import judged, trained, windows
from benchmarks.machine import describe
from benchmarks.run import CONFIGURATIONS, SAMPLES, SMALL, magentas_versions
from seqvae.config import TrainConfig
from seqvae.data import SequenceData
from seqvae.magenta import from_magenta
from seqvae.presets import preset
from seqvae.vae import SequenceVAE

ROOT = Path(__file__).resolve().parents[2]
FIGURES = (
    *("elbo", "distortion", "rate", "token_accuracy", "note_on_accuracy"),
    *("token_free_running", "note_on_free_running", "exact"),
)


def same_training(hparams: Mapping[str, Any], batch_size: int, seed: int) -> TrainConfig:
    """Magenta's hyperparameters in our words. Raises ValueError for what has no such words."""
    fixed = {"decay_rate": 0.9999, "clip_mode": "global_norm", "sampling_schedule": "inverse_sigmoid"}
    for name, value in fixed.items():
        if hparams[name] != value:
            raise ValueError(f"--hparams {name}={hparams[name]}: only {value} can be compared")
    return TrainConfig(
        batch_size=batch_size,
        learning_rate=hparams["learning_rate"],
        final_learning_rate=hparams["min_learning_rate"],
        learning_rate_decay="exponential",
        clip=hparams["grad_clip"],
        beta=hparams["max_beta"],
        annealing="exponential",
        annealing_steps=round(1.0 / (1.0 - hparams["beta_rate"])),
        free_bits=hparams["free_bits"] or None,
        scheduled_sampling="inverse-sigmoid",
        scheduled_sampling_rate=1.0,
        scheduled_sampling_steps=round(hparams["sampling_rate"]),
        transpose=5,
        device="cpu",
        seed=seed,
    )


def trained_by_magenta(options: argparse.Namespace, data: SequenceData, batch_size: int) -> dict[str, Any]:
    """Train it, or go on, or find it trained: its result.json."""
    folder = options.out / "magenta"
    result = folder / "result.json"
    if not result.exists() or json.loads(result.read_text())["steps"] < options.steps:
        folder.mkdir(exist_ok=True)
        command = [str(options.magenta), "-m", "benchmarks.magenta.train_magenta", "--out", str(folder.resolve())]
        command += ["--windows", str((data.dataset.path / "train.npy").resolve()), "--seed", str(options.seed)]
        command += ["--config", CONFIGURATIONS[options.model], "--hparams", options.hparams]
        command += ["--batch-size", str(batch_size), "--threads", str(options.threads), "--steps", str(options.steps)]
        with (options.out / "magenta.log").open("a") as log:
            subprocess.run(command, cwd=ROOT, check=True, stdout=log, stderr=log)
    return json.loads(result.read_text())


def rows(options: argparse.Namespace, data: SequenceData) -> Iterator[tuple[str, float, float, dict[str, float]]]:
    """Who, steps, seconds and figures, as they get known."""
    size = min(options.batch_size, len(data.train))
    theirs = trained_by_magenta(options, data, size)
    config = preset(options.model)
    with np.load(options.out / "magenta" / "weights.npz") as arrays:
        variables = {name.removeprefix("var:"): arrays[name] for name in arrays}
    model = SequenceVAE(config.model)
    model.load_state_dict(from_magenta(variables, config.model))
    yield "Magenta", theirs["steps"], theirs["seconds"], judged(model, data)
    training = same_training(theirs["hparams"], size, options.seed)
    runs = {
        "same steps": replace(training, steps=theirs["steps"]),
        "same time": replace(training, minutes=theirs["seconds"] / 60.0, scheduled_sampling_parallel=True),
    }
    for name, settings in runs.items():
        state = trained(replace(config, training=settings), data, options.out / name.replace(" ", "-"))
        model.load_state_dict(state["model"])
        yield f"seqvae, {name}", state["done"]["step"], state["done"]["elapsed"], judged(model, data)


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.magenta.compare")
    parser.add_argument("--magenta", type=Path, metavar="PYTHON", required=True)
    parser.add_argument("--out", type=Path, metavar="FOLDER", required=True)
    parser.add_argument("--windows", type=Path, metavar="FOLDER")
    parser.add_argument("--melodies", type=Path, default=SAMPLES, metavar="FOLDER")
    parser.add_argument("--model", choices=CONFIGURATIONS, default=SMALL)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--hparams", default="", help="what differs from Magenta's configuration, for both")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = windows(options.out / "dataset", options.windows, options.melodies)
    print("python -m benchmarks.magenta.compare --magenta PYTHON", "--windows FOLDER" * bool(options.windows), end=" ")
    print(f"--model {options.model} --batch-size {options.batch_size} --steps {options.steps}", end=" ")
    print(f"--hparams '{options.hparams}' --seed {options.seed}")
    print(f"{describe()}, {magentas_versions(options.magenta)}, {options.threads} threads")
    valid = len(data.dataset.split("valid"))
    print(f"{len(data.train):,} windows to train on, {valid:,} valid, batches of {options.batch_size}\n")
    found = list(rows(options, data))
    print(f"{'':22}" + "".join(f"{name:>20}" for name, *_ in found))
    print(f"{'steps':22}" + "".join(f"{steps:20,}" for _, steps, _, _ in found))
    print(f"{'minutes':22}" + "".join(f"{seconds / 60:20.1f}" for _, _, seconds, _ in found))
    for figure in FIGURES:
        print(f"{figure:22}" + "".join(f"{figures[figure]:20.3f}" for *_, figures in found))


if __name__ == "__main__":
    main()
