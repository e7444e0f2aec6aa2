"""Text VAEs on Penn Treebank (Mikolov's version) by the field's protocol, beside the figures of the literature.

    python -m benchmarks.ptb FOLDER [--out runs/ptb] [--rows linear best ...] [--seeds 0 1 2] [--samples 500]

FOLDER holds ptb.train.txt, ptb.valid.txt and ptb.test.txt. Each row is a preset with the changes below; each seed of a
row is a run of its own in --out, which goes on where it stopped when the command is given again. A run that has ended
is measured on the test split once, and its figures kept beside it. The table holds all runs that are there; what is
missing is marked. Before a row begins, it tells how long it may take.

The rows of the frontier train the model of the row "best" a few epochs more, with another beta and nothing for free,
and are measured as they are after their last step.

NLL: importance samples from q(z|x), nats a sentence; PPL: exp(NLL / words) over all words, </s> included. MI: mutual
information under q over the whole split, by Monte Carlo (seqvae/information.py), which cannot exceed ln N. AU:
dimensions whose mean varies by more than 0.01.
"""

import argparse
import dataclasses
import json
import math
import sys
import time
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.drawing import Place, draw_rate_distortion
from benchmarks.judging import finished
from benchmarks.machine import describe
from benchmarks.training import training_step
from data_prep.dataset import cached
from data_prep.ragged import Ragged
from data_prep.text import TextOptions
from seqvae.checkpoint import load_model
from seqvae.config import Config
from seqvae.data import SequenceData
from seqvae.devices import autocast, choose_device, choose_precision
from seqvae.evaluation import evaluate
from seqvae.presets import preset
from seqvae.run import new_model
from seqvae.starting import settings

FIGURES = "test.json"
TRIED_STEPS = 20  # to tell how long a row takes
FRONTIER = {"epochs": 2, "learning_rate": 0.5, "annealing": "none", "free_bits": 0.0, "whiten": True}
ALL_STEPS = 10**6  # validated at the end alone: what an ELBO selects is best for a beta of 1


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: a preset, what is different, and what the literature says."""

    title: str
    preset: str = "ptb-vae"
    training: dict[str, Any] = dataclasses.field(default_factory=dict)
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    literature: tuple[float | None, ...] = (None,) * 4  # NLL, PPL, MI, AU
    start_from: str | None = None  # the row that it goes on from

    def config(self, seed: int, out: Path) -> Config:
        """The settings of a run of it, where those of other rows are in `out`."""
        base = preset(self.preset)
        if self.start_from is not None:
            base = settings(str(out / f"{self.start_from}-{seed}"), dataclasses.replace(base, phases=()))
        return dataclasses.replace(
            base,
            model=dataclasses.replace(base.model, **self.model),
            training=dataclasses.replace(base.training, seed=seed, **self.training),
        )


ROWS = {
    "language-model": Row(
        "LSTM language model",
        training={"plateau_after": 0},
        model={"latent_size": 0},
        literature=(101.03, 100.47, None, None),
    ),
    "linear": Row("VAE, linear annealing", literature=(101.24, 101.40, 0.00, 0)),
    "cyclical": Row("cyclical", preset="ptb-cyclical", literature=(102.78, 108.81, 1.27, 5)),
    "aggressive": Row("aggressive", preset="ptb-aggressive", literature=(100.89, 99.83, 0.83, 4)),
    "ae-free-bits": Row("AE, then free bits", preset="ptb-ae-free-bits", literature=(100.23, 96.86, 5.31, 32)),
    "best": Row("here: the same, tied, whitened", preset="ptb-best"),
} | {
    f"beta-{beta}": Row(
        f"frontier, beta {beta}", "ptb-best", FRONTIER | {"beta": beta, "validate_every": ALL_STEPS}, start_from="best"
    )
    for beta in (0.2, 0.4, 0.6, 0.8, 1.0)
}
TABLE = [name for name in ROWS if not name.startswith("beta")]


def prepared(folder: Path, out: Path) -> Path:
    """The dataset of the three files."""
    files = {split: folder / f"ptb.{split}.txt" for split in ("train", "valid", "test")}
    made = cached(
        [files["train"]],
        TextOptions(split="spaces"),
        out / "ptb.seqvae",
        valid=[files["valid"]],
        test=[files["test"]],
        progress=True,
    )
    return made.path


def words_per_second(config: Config, dataset: Path, steps: int = TRIED_STEPS) -> float:
    """Target words that training takes a second, the median of some steps."""
    data = SequenceData(dataset)
    config = data.fitted(config)
    device = choose_device(config.training.device)
    step = training_step(new_model(config).to(device), config.stages()[-1][1], data, device)
    rates = []
    for _ in range(steps + 5):
        start = time.perf_counter()
        words = float(step()[-1])  # which waits for a GPU to have finished
        rates.append(words / (time.perf_counter() - start))
    return sorted(rates[5:])[steps // 2]


def measured(run: Path, dataset: Path, samples: int, precision: str) -> dict[str, float]:
    """Test figures of a run that has ended."""
    device = choose_device("auto")
    model = load_model(run / "model.safetensors").model.to(device)
    batches = SequenceData(dataset).batches("test", 32)
    with autocast(device, choose_precision(precision, device)):
        return evaluate(model, batches, samples=samples, free_running=False, progress=True)


def run_row(name: str, seed: int, dataset: Path, out: Path, samples: int, precision: str) -> None:
    """Train a row to its end, or go on with it, and measure it; nothing to do if that is done."""
    run = out / f"{name}-{seed}"
    if (run / FIGURES).exists():
        return
    start = ROWS[name].start_from
    if start is not None and not (out / f"{start}-{seed}" / FIGURES).exists():
        sys.exit(f"{name} goes on from {start}-{seed}, which is not in {out}: give --rows {start} {name}")
    config = ROWS[name].config(seed, out)
    epochs = sum(training.epochs or 0 for _, training in config.stages())
    words = int(cast(Ragged, SequenceData(dataset).train).lengths.sum())
    rate = words_per_second(config, dataset)
    more = ", and 30 to 100 times that where the encoder is trained alone" if config.training.aggressive else ""
    hours = f"{epochs * words / rate / 3600:.1f} h"
    print(f"{name}, seed {seed}: {rate:,.0f} words/s, at most {epochs} epochs: {hours}{more}", flush=True)
    result = finished(config, dataset, run)
    figures = measured(run, dataset, samples, precision)
    about = {"epochs": result.epochs, "steps": result.steps, "samples": samples, "words_per_second": rate}
    (run / FIGURES).write_text(json.dumps(figures | about, indent=1))


def table(out: Path) -> str:
    """All rows, with what was measured and what was not."""
    header = (
        f"{'test split':42}{'NLL':>9}{'PPL':>9}{'MI':>8}{'AU':>5}   {'rate':>6}{'-ELBO':>9}{'epochs':>8}{'samples':>9}"
    )
    lines = [header, "-" * len(header)]
    for name in TABLE:
        row = ROWS[name]
        if row.literature[0] is not None:
            nll, ppl, information, units = row.literature
            tail = f"{information:8.2f}{units:5.0f}" if information is not None else ""
            lines.append(f"{row.title + ', literature':42}{nll:9.2f}{ppl:9.2f}{tail}")
        found = sorted(out.glob(f"{name}-[0-9]*/{FIGURES}"))
        for path in found:
            lines.append(_line(f"{row.title}, {path.parent.name}", json.loads(path.read_text())))
        if not found:
            lines.append(f"{row.title + ', seqvae':42}not measured")
    frontier = [path for name in ROWS if name not in TABLE for path in sorted(out.glob(f"{name}-[0-9]*/{FIGURES}"))]
    lines += [_line(path.parent.name, json.loads(path.read_text())) for path in frontier]
    return "\n".join(lines)


def _line(title: str, figures: dict[str, float]) -> str:
    return (
        f"{title:42}{figures['iw_nll']:9.2f}{figures['perplexity']:9.2f}{figures['mutual_information']:8.2f}"
        f"{figures['active_units']:5.0f}   {figures['rate']:6.2f}{-figures['elbo']:9.2f}{figures['epochs']:8.0f}"
        f"{figures['samples']:9.0f}"
    )


def draw_frontier(out: Path, picture: Path) -> None:
    """Rate against distortion of all runs that were measured; a line joins those that differ in beta alone."""
    places: dict[str, Place] = {}
    lines: dict[str, list[Place]] = {}
    for path in sorted(out.glob(f"*/{FIGURES}")):
        figures, (row, seed) = json.loads(path.read_text()), path.parent.name.rsplit("-", 1)
        places[path.parent.name] = figures["rate"], figures["distortion"]
        if row not in TABLE:
            lines.setdefault(seed, []).append(places[path.parent.name])
    draw_rate_distortion(places, picture, "Penn Treebank, test", list(lines.values()))


def main() -> None:
    """Train what is asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ptb", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/ptb"))
    parser.add_argument("--rows", nargs="*", default=TABLE, choices=list(ROWS), help="none: print the table alone")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--samples", type=int, default=500, help="at least 1")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"), help="of the test figures")
    options = parser.parse_args()
    if options.samples < 1:
        parser.error(f"--samples {options.samples}: must be at least 1")
    dataset = prepared(options.folder, options.out)
    for name in options.rows:
        for seed in options.seeds:
            run_row(name, seed, dataset, options.out, options.samples, options.precision)
    N = len(SequenceData(dataset).dataset.split("test"))
    print("python -m benchmarks.ptb", " ".join(sys.argv[1:]))
    print(f"{describe()}, {torch.get_num_threads()} threads, device {choose_device('auto')}")
    print(
        f"MI by q(z) of the whole split (Li et al. 2019), at most ln {N} = {math.log(N):.2f}; AU: variance above 0.01"
    )
    print("samples: for NLL and PPL\n")
    print(table(options.out))
    draw_frontier(options.out, options.out / "frontier.png")


if __name__ == "__main__":
    main()
