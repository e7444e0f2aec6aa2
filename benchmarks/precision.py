"""What fast ways of training cost: bf16 beside fp32, scheduled sampling in parallel beside exact, of several seeds.

    python -m benchmarks.precision --out FOLDER [--windows FOLDER] [--ways fp32 bf16 ...] [--steps 1500]

All make the same number of steps on the same batches, and are judged in fp32 on all valid windows. With scheduled
sampling three in ten inputs of the decoder are its own draws, from the first step on. "bf16, unrolled" trains LSTMs of
any size as large ones are trained in bf16 (seqvae/unrolled.py). What has been trained is kept in FOLDER: the same
command goes on after an interruption. A processor without bf16 leaves it out.
"""

import argparse
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.judging import judged, trained, windows
from benchmarks.machine import describe
from benchmarks.run import SAMPLES
from seqvae import unrolled
from seqvae.averaging import WeightAverage
from seqvae.devices import choose_precision
from seqvae.errors import OptionError
from seqvae.presets import preset, preset_names
from seqvae.run import new_model

SAMPLED = {"scheduled_sampling": "constant", "scheduled_sampling_rate": 0.3}
UNROLLED = "bf16, unrolled"
WAYS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    "bf16": {"precision": "bf16"},
    UNROLLED: {"precision": "bf16"},
    "bf16, average": {"precision": "bf16", "weight_average": 0.99},
    "exact": {"precision": "fp32"} | SAMPLED,
    "parallel": {"precision": "fp32", "scheduled_sampling_parallel": True} | SAMPLED,
}
FIGURES = ("elbo", "distortion", "rate", "note_on_accuracy", "note_on_free_running")


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision")
    parser.add_argument("--out", type=Path, metavar="FOLDER", required=True)
    parser.add_argument("--windows", type=Path, metavar="FOLDER", help="with 2bar_{train,valid,test}.npz")
    parser.add_argument("--melodies", type=Path, default=SAMPLES, metavar="FOLDER")
    parser.add_argument("--model", choices=preset_names(), default="melody-2bar-small")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    options = parser.parse_args()
    data = windows(options.out / "dataset", options.windows, options.melodies)
    print("python -m benchmarks.precision --out FOLDER", "--windows FOLDER" * bool(options.windows), end=" ")
    print(f"--model {options.model} --steps {options.steps} --seeds", *options.seeds, "--ways", *options.ways)
    print(f"{describe()}, {torch.get_num_threads()} threads")
    valid = len(data.dataset.split("valid"))
    print(f"{len(data.train):,} windows to train on, {valid:,} valid; mean and standard deviation over seeds\n")
    print(f"{'':16}" + "".join(f"{figure:>22}" for figure in FIGURES) + f"{'seconds':>10}")
    config = preset(options.model)
    config = data.fitted(replace(config, training=replace(config.training, minutes=None, steps=options.steps)))
    for way, changes in ((way, WAYS[way]) for way in options.ways):
        try:
            choose_precision(changes["precision"], torch.device("cpu"))
        except OptionError:
            print(f"{way:16}{'not measured':>22}: this processor has no bf16", flush=True)
            continue
        found, seconds = [], []
        for seed in options.seeds:
            each = replace(config, training=replace(config.training, seed=seed, device="cpu", **changes))
            with patch.object(unrolled, "UNITS", 0 if way == UNROLLED else unrolled.UNITS):
                state = trained(each, data, options.out / f"{way.replace(', ', '-')}-{seed}")
            model = new_model(each)
            model.load_state_dict(state["model"])
            if each.training.weight_average is not None:
                average = WeightAverage(model, each.training.weight_average)
                average.load_state_dict(state["average"])
                model = average.model
            found.append(judged(model, data))
            seconds.append(state["done"]["elapsed"])
        print(f"{way:16}" + "".join(_spread([each[figure] for each in found]) for figure in FIGURES), end="")
        print(f"{statistics.median(seconds):10.0f}", flush=True)


def _spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else float("nan")
    return f"{statistics.mean(values):12.3f} +- {deviation:6.3f}"


if __name__ == "__main__":
    main()
