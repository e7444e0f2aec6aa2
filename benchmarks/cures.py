"""What every cure for a latent space that is not used is worth, one at a time, on the same sentences.

    python -m benchmarks.cures --out FOLDER [--text samples/text] [--epochs 10] [--seeds 0] [--rows NAME ...]

All rows train one model for as many epochs on the same text, with Adam and a learning rate that falls along a cosine;
they differ in what ROWS says and in nothing else. Strengths are those of the papers where these say one for sentences,
and a rate of 8 nats where one is to be chosen; none was tuned on these data. The model is judged as it was kept, by the
best bound on valid sentences (the best distortion with beta 0), on the test split: NLL and perplexity by importance
samples, the parts of the rate, active units, and the share of words that come back to their places from the mean of
the posterior alone. A row of a plain language model says how much of NLL is the decoder's own doing.

What has been trained is kept in FOLDER: the same command goes on after an interruption, and measures nothing twice.
"""

import argparse
import dataclasses
import hashlib
import json
import math
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.drawing import draw_rate_distortion
from benchmarks.judging import finished
from benchmarks.machine import describe
from data_prep import files
from data_prep.dataset import is_dataset, prepare
from data_prep.text import TextOptions
from seqvae.checkpoint import load_model
from seqvae.config import Config, DataConfig, ModelConfig, Phase, TrainConfig
from seqvae.data import SequenceData
from seqvae.evaluation import evaluate

TEXT = Path(__file__).parents[1] / "samples" / "text"
FIGURES, SETTINGS = "test.json", "settings.json"
TARGET = 8.0  # nats of rate
DRAWN = 10.0  # nats of the bound
MODEL = ModelConfig(
    embedding_size=128, encoder_size=128, latent_size=32, decoder_size=192, decoder_layers=1, dropout=0.4
)
TRAINING = TrainConfig(
    batch_size=32, learning_rate=2e-3, learning_rate_decay="cosine", clip=5.0, beta=1.0, annealing="none"
)
WARM = 1 / 3  # share of the epochs over which the weight of the rate rises


@dataclass(frozen=True)
class Row:
    """A cure: what it changes in model and training, and its phases as shares of the epochs."""

    title: str
    training: dict[str, Any] = field(default_factory=dict)
    model: dict[str, Any] = field(default_factory=dict)
    autoencoder_first: bool = False

    def config(self, epochs: int, seed: int) -> Config:
        """The settings of a run."""
        changes = dict(self.training)
        if "annealing" in changes:
            share = 1.0 if changes["annealing"] == "cyclical" else WARM
            changes["annealing_epochs"] = share * epochs
        phases: tuple[Phase, ...] = ()
        if self.autoencoder_first:
            first = max(1, round(epochs * WARM / 2))
            before = {"epochs": first, "beta": 0.0, "annealing": "none", "select": "distortion"}
            phases = (
                Phase("autoencoder", changes=before),
                Phase("free bits", "decoder", changes | {"epochs": epochs - first}),
            )
            changes = {}
        return Config(
            data=DataConfig(tokenizer="words"),
            model=dataclasses.replace(MODEL, **self.model),
            training=dataclasses.replace(TRAINING, epochs=epochs, seed=seed, **changes),
            phases=phases,
        )


def _free(per: str) -> dict[str, Any]:
    """As a mask they would have the same gradient."""
    bits = TARGET / math.log(2) / (MODEL.latent_size if per != "total" else 1)
    return {"free_bits": bits, "free_bits_per": per}


LINEAR = {"annealing": "linear"}
ROWS = {
    "language-model": Row("no latents: a language model", model={"latent_size": 0}),
    "none": Row("no cure"),
    "linear": Row("annealing, linear", LINEAR),
    "sigmoid": Row("annealing, sigmoid", {"annealing": "sigmoid"}),
    "cyclical": Row("annealing, cyclical", {"annealing": "cyclical"}),
    "beta": Row("beta 0.4, linear annealing", LINEAR | {"beta": 0.4}),
    "word-dropout": Row("word dropout 0.4", {"word_dropout": 0.4}),
    "max": Row("encoder states pooled: max", model={"summary": "max"}),
    "mean": Row("encoder states pooled: mean", model={"summary": "mean"}),
    "free-bits-total": Row("free bits, 8 nats in all", _free("total")),
    "free-bits-dimension": Row("free bits, 1/4 nat a dimension", _free("dimension")),
    "free-bits-batch": Row("the same, of the mean over a batch", _free("batch")),
    "delta": Row("delta posterior, 8 nats at least", model={"posterior": "delta", "minimum_rate": TARGET}),
    "batch-norm": Row("batch-normalised means, gamma 0.6", model={"posterior": "batch-norm"}),
    "aggressive": Row("aggressive encoder training", {"aggressive": True}),
    "ae-free-bits": Row("autoencoder first, then free bits", LINEAR | _free("dimension"), {}, True),
    "whiten": Row("the same, whitened", LINEAR | _free("dimension") | {"whiten": True}, {}, True),
    "mmd": Row("MMD, weight 10, no rate (WAE)", {"beta": 0.0, "mmd": 10.0}),
    "adversarial": Row("adversarial, weight 10, no rate (AAE)", {"beta": 0.0, "adversarial": 10.0}),
    "denoising": Row("the same, words dropped: 0.3 (DAAE)", {"beta": 0.0, "adversarial": 10.0, "encoder_drop": 0.3}),
}


def run_row(name: str, seed: int, epochs: int, dataset: Path, out: Path, samples: int) -> None:
    """Train a row to its end, or go on with it, and measure it; nothing to do if that is done."""
    run = out / f"{name}-{seed}"
    if (run / FIGURES).exists():
        return
    finished(ROWS[name].config(epochs, seed), dataset, run)
    model = load_model(run / "model.safetensors").model
    figures = evaluate(model, SequenceData(dataset).batches("test", 32), samples=samples, progress=True)
    (run / FIGURES).write_text(json.dumps(figures, indent=1))


COLUMNS = {  # titles, and how figures are written
    "iw_nll": ("NLL", "{:.2f}"),
    "perplexity": ("PPL", "{:.1f}"),
    "elbo": ("ELBO", "{:.2f}"),
    "distortion": ("distortion", "{:.2f}"),
    "rate": ("rate", "{:.2f}"),
    "mutual_information": ("MI", "{:.2f}"),
    "active_units": ("AU", "{:.0f}"),
    "token_free_running": ("words back", "{:.3f}"),
}


def measured(out: Path) -> dict[str, dict[str, list[float]]]:
    """Of each row that was: its figures, one for each seed."""
    found: dict[str, dict[str, list[float]]] = {}
    for name in ROWS:
        seeds = [json.loads(path.read_text()) for path in sorted(out.glob(f"{name}-[0-9]*/{FIGURES}"))]
        if seeds:
            found[name] = {figure: [each[figure] for each in seeds] for figure in COLUMNS}
    return found


def table(found: dict[str, dict[str, list[float]]]) -> str:
    """Means over the seeds, and deviations where there are several."""
    lines = [f"{'test split':40}" + "".join(f"{title:>16}" for title, _ in COLUMNS.values()) + f"{'seeds':>7}"]
    for name, row in ROWS.items():
        if name in found:
            cells = [_cell(found[name][figure], form) for figure, (_, form) in COLUMNS.items()]
            seeds = len(found[name]["elbo"])
            lines.append(f"{row.title:40}" + "".join(f"{cell:>16}" for cell in cells) + f"{seeds:7}")
        else:
            lines.append(f"{row.title:40}{'not measured':>16}")
    return "\n".join(lines)


def draw(found: dict[str, dict[str, list[float]]], picture: Path) -> None:
    """Rates and distortions, but for rows whose bound is so much worse that the others would stand on one spot."""
    places = {name: (statistics.mean(of["rate"]), statistics.mean(of["distortion"])) for name, of in found.items()}
    best = min(map(sum, places.values()))
    near = {name: place for name, place in places.items() if sum(place) < best + DRAWN}
    draw_rate_distortion(near, picture, "Cures for unused latents, test split")


def _cell(values: list[float], form: str) -> str:
    mean = form.format(statistics.mean(values))
    return mean if len(values) == 1 else f"{mean} +- {form.format(statistics.stdev(values))}"


def sha256(text: Path) -> str:
    """Of what stands in the files of a text."""
    digest = hashlib.sha256()
    for path in files.find_sources([text], files.TEXT):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def main() -> None:
    """Train what is not trained yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cures", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, metavar="FOLDER", required=True)
    parser.add_argument("--text", type=Path, default=TEXT, help="a text file or a folder of them")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--samples", type=int, default=64, help="importance samples of NLL, at least 1")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS), help="none: print the table alone")
    options = parser.parse_args()
    if options.samples < 1:
        parser.error(f"--samples {options.samples}: must be at least 1")
    settings = {"text": str(options.text.resolve()), "epochs": options.epochs, "samples": options.samples}
    if options.rows:
        settings["sha256"] = sha256(options.text)
    kept = options.out / SETTINGS
    before = json.loads(kept.read_text()) if kept.exists() else settings
    if changed := [name for name in settings.keys() & before.keys() if settings[name] != before[name]]:
        told = ", ".join(f"{name} {before[name]}" for name in sorted(changed))
        parser.error(f"--out {options.out} was begun with {told}: give the same, or another folder")
    dataset = options.out / "dataset"
    if not is_dataset(dataset):
        prepare([options.text], dataset, TextOptions())
    kept.write_text(json.dumps(before | settings))
    for seed in options.seeds:
        for name in options.rows:
            start = time.monotonic()
            run_row(name, seed, options.epochs, dataset, options.out, options.samples)
            print(f"{name}-{seed}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    data = SequenceData(dataset)
    N = len(data.dataset.split("test"))
    text = "" if options.text.resolve() == TEXT else f"--text {options.text.name} "
    print(f"python -m benchmarks.cures --out FOLDER {text}--epochs {options.epochs} --samples {options.samples}")
    print(f"{describe()}, {torch.get_num_threads()} threads")
    words = data.tokenizer.vocabulary_size
    print(f"{len(data.train):,} sentences to train on, {N:,} to test, vocabulary of {words:,}; in nats a sentence")
    print(f"MI cannot exceed ln {N} = {math.log(N):.2f}; AU, of {MODEL.latent_size}: variance above 0.01\n")
    found = measured(options.out)
    print(table(found))
    if found:
        draw(found, options.out / "cures.png")


if __name__ == "__main__":
    main()
