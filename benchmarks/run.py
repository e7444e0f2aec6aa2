"""How fast seqvae is on this machine's processor, and beside Magenta where that is installed.

    python -m benchmarks.run [--magenta PYTHON] [--threads 2] [--rounds 5] [--only WORDS] [--melodies FOLDER]

PYTHON is the interpreter of the environment that benchmarks/magenta/setup.sh makes. Each work runs in a process of
its own, twice without being counted; then seqvae and Magenta take turns, A B A B; a work of less than 0.1 s is done
as often in each turn as fills them. A figure is the median over the rounds, a ratio that of the medians (how many
times as fast seqvae is), with the smallest and the largest of single rounds behind it. Both have random weights and
train on the same windows, those of samples/melodies. What ends with int8 seqvae does with --precision int8.

Magenta trains with scheduled sampling, as its configuration does, one step after the other. seqvae can do just that
("exact"), in two passes ("parallel", as its preset does once sampling has begun), or not at all; Magenta without it
stands beside the last. "MIDI files to windows" of seqvae includes the writing of a dataset.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.datasets import write_windows
from benchmarks.machine import describe
from benchmarks.rates import matrix_rates, training_operations
from benchmarks.serving import Command, Served, Timed
from data_prep.dataset import prepare
from data_prep.files import find_sources
from data_prep.splits import SPLITS
from data_prep.windows import MelodyOptions
from seqvae.checkpoint import ModelFile
from seqvae.devices import choose_precision
from seqvae.int8 import is_fast
from seqvae.presets import preset
from seqvae.run import new_model
from seqvae.trained import TrainedModel

SAMPLES = Path("samples/melodies")
SMALL, BIG = "melody-2bar", "melody-2bar-big"
CONFIGURATIONS = {SMALL: "cat-mel_2bar_small", BIG: "cat-mel_2bar_big"}  # Magenta's of these sizes
WINDOWS = 20_000
GIB = 2**30

Source = Served | Command


@dataclass(frozen=True)
class Row:
    """A work of the table, and how both do it."""

    what: str
    work: str  # of benchmarks.works and benchmarks.magenta.time_magenta, or "help" or "start", a whole command
    model: str = SMALL
    amount: int = 0  # what is done of `unit` in a work, to tell how many a second; 0: seconds are told
    unit: str = "s"
    batch_size: int = 512
    sampling: str = "none"  # scheduled sampling in training
    precision: str = "auto"  # of seqvae, in all but training


def rows(files: int) -> list[Row]:
    """The table; where the processor multiplies int8, rows of sampling, writing and encoding come once more in that."""
    sequences = "sequences/s"
    table = [
        Row("training, batch 512, teacher-forced", "train", SMALL, 512, sequences),
        Row("training, sampling in parallel", "train", SMALL, 512, sequences, sampling="parallel"),
        Row("training, sampling exact", "train", SMALL, 512, sequences, sampling="exact"),
        Row("512 samples, ids", "sample"),
        Row("512 samples, written as MIDI", "write"),
        Row("1 sample, ids", "sample", batch_size=1),
        Row("encoding 512 windows", "encode"),
        Row("encoding 1 window", "encode", batch_size=1),
        Row(f"{files} MIDI files to windows, one core", "read", SMALL, files, "files/s"),
        Row("--help", "help"),
        Row("start to 5 written melodies", "start"),
        Row("big: training, batch 64, teacher-forced", "train", BIG, 64, sequences, 64),
        Row("big: training, sampling in parallel", "train", BIG, 64, sequences, 64, "parallel"),
        Row("big: training, sampling exact", "train", BIG, 64, sequences, 64, "exact"),
        Row("big: 512 samples, ids", "sample", BIG),
        Row("big: 512 samples, written as MIDI", "write", BIG),
        Row("big: 1 sample, ids", "sample", BIG, batch_size=1),
    ]
    used = [row for row in table if row.work in ("sample", "write", "encode")]
    return table + [replace(row, what=f"{row.what}, int8", precision="int8") for row in used if is_fast()]


@dataclass(frozen=True)
class Bench:
    """What all rows need."""

    scratch: Path
    melodies: Path
    magenta: Path | None  # its Python
    threads: int
    rounds: int

    def sources(self, row: Row) -> list[Source]:
        """Who does the work of a row: seqvae, and Magenta if there is one."""
        ours = self._command(row) if row.work in ("help", "start") else self._served(row)
        return [ours] if self.magenta is None else [ours, self._magentas(row, self.magenta)]

    def measure(self, row: Row) -> list[list[Timed]]:
        """Everyone's rounds, taken in turn."""
        with ExitStack() as stack:
            sources = self.sources(row)
            for source in sources:
                stack.enter_context(source)
            turns = [[source.ask() for source in sources] for _ in range(self.rounds)]
        return [list(each) for each in zip(*turns, strict=True)]

    def _served(self, row: Row) -> Source:
        command = [sys.executable, "-m", "benchmarks.works", *self._settings(row), "--model", row.model]
        command += ["--sampling", row.sampling, "--precision", row.precision]
        command += ["--dataset", str(self.scratch / "windows")]
        return Served(command, self.scratch / "seqvae.log")

    def _magentas(self, row: Row, python: Path) -> Source:
        log, configuration = self.scratch / "magenta.log", CONFIGURATIONS[row.model]
        generate = str(python.with_name("music_vae_generate"))
        if row.work == "help":
            return Command([generate, "--help"], log, allowed=(0, 1))  # absl's flags end with 1 after --help
        if row.work == "start":
            model = [f"--checkpoint_file={self.scratch}/model.ckpt-0", f"--config={configuration}"]
            return Command([generate, *model, "--num_outputs=5", f"--output_dir={self.scratch}/generated"], log)
        command = [str(python), "-m", "benchmarks.magenta.time_magenta", *self._settings(row)]
        command += ["--config", configuration, "--windows", str(self.scratch / "windows" / "train.npy")]
        return Served(command + ["--teacher-forced"] * (row.sampling == "none"), log)

    def _command(self, row: Row) -> Source:
        seqvae = [sys.executable, "-m", "cli.main"]
        if row.work == "help":
            return Command([*seqvae, "--help"], self.scratch / "seqvae.log")
        what = ["sample", "-n", "5", "--model", f"{self.scratch}/model.safetensors", "--out", f"{self.scratch}/sampled"]
        return Command([*seqvae, *what, "--force"], self.scratch / "seqvae.log")

    def _settings(self, row: Row) -> list[str]:
        numbers = ["--batch-size", str(row.batch_size), "--threads", str(self.threads)]
        return [row.work, *numbers, "--melodies", str(self.melodies), "--out", str(self.scratch)]


def make(bench: Bench) -> None:
    """What works read: windows, and a model of each with random weights."""
    made = prepare([SAMPLES], bench.scratch / "melodies", MelodyOptions())
    ids = {name: np.asarray(made.split(name)) for name in SPLITS}
    write_windows(bench.scratch / "windows", ids | {"train": np.resize(ids["train"], (WINDOWS, ids["train"].shape[1]))})
    config = preset(SMALL)
    file = ModelFile(new_model(config), config, made.tokenizer.to_json(), {})
    TrainedModel(SMALL, file, "cpu").save(bench.scratch / "model.safetensors")
    if bench.magenta is not None:
        ask = [str(bench.magenta), "-m", "benchmarks.magenta.time_magenta", "checkpoint", "--out", str(bench.scratch)]
        subprocess.run(ask, check=True, capture_output=True)


def columns(
    what: str, figures: Sequence[str], unit: str, ratio: str, span: str, peaks: Sequence[str], load: str
) -> str:
    """A line of the table."""
    beside = f"{ratio:>7}  {span:14}" if len(figures) == 2 else ""
    wide, narrow = "".join(f"{figure:>12}" for figure in figures), "".join(f"{peak:>8}" for peak in peaks)
    return f"{what:42}{wide} {unit:12}{beside}{narrow}{load:>8}"


def heading(both: bool) -> str:
    """What stands over the columns."""
    names = ["seqvae", "Magenta"] if both else ["seqvae"]
    return columns("", names, "", "ratio", "of rounds", ["GiB"] * len(names), "load")


def line(row: Row, found: Sequence[Sequence[Timed]], load: float) -> str:
    """A row: everyone's median, the ratio and its range, the most memory of each, and the load before."""
    seconds = [[timed.seconds for timed in each] for each in found]
    medians = [statistics.median(each) for each in seconds]
    figures = [f"{row.amount / median:,.1f}" if row.amount else f"{median:,.4f}" for median in medians]
    ratios = [theirs / ours for ours, theirs in zip(seconds[0], seconds[-1], strict=True)]
    peaks = [max(timed.peak or 0 for timed in each) / GIB for each in found]
    return columns(
        row.what,
        figures,
        row.unit,
        f"{medians[-1] / medians[0]:.2f}",
        f"{min(ratios):.2f}-{max(ratios):.2f}",
        [f"{peak:.2f}" if peak else "-" for peak in peaks],
        f"{load:.2f}",
    )


def shares(row: Row, found: Sequence[Sequence[Timed]], rates: Mapping[str, float]) -> str:
    """What a training reaches of the processor's rate, in the precision that it has chosen."""
    precision = choose_precision("auto", torch.device("cpu"))
    operations = training_operations(preset(row.model).model)
    reached = row.amount * operations / statistics.median(timed.seconds for timed in found[0])
    return (
        f"{row.what:40}{operations / 1e9:8.2f} GFLOP a sequence, {reached / 1e9:7,.0f} GFLOP/s, "
        f"{reached / rates[precision]:4.0%} of {precision}"
    )


def report(bench: Bench, only: str) -> Iterator[str]:
    """All lines, as they get known."""
    rates = matrix_rates()
    yield f"products of 512 x 512 x 2048, {bench.threads} threads: " + ", ".join(
        f"{rate / 1e9:,.0f} GFLOP/s in {way}" for way, rate in rates.items()
    )
    yield ""
    yield heading(bench.magenta is not None)
    ends = []
    for row in rows(len(find_sources([bench.melodies]))):
        if only in row.what:
            load, found = os.getloadavg()[0], bench.measure(row)
            yield line(row, found, load)
            ends += [shares(row, found, rates)] if row.work == "train" else []
    yield from ["", *ends]


def magentas_versions(python: Path) -> str:
    """Which Magenta it is."""
    ask = "from importlib.metadata import version; print(version('magenta'), version('tensorflow-cpu'))"
    said = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout.split()
    return "magenta {}, TensorFlow {}".format(*said)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run")
    parser.add_argument("--magenta", type=Path, metavar="PYTHON")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", metavar="WORDS", help="rows in whose names these words stand")
    parser.add_argument("--melodies", type=Path, default=SAMPLES, metavar="FOLDER", help="MIDI files to read")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    places = " --magenta PYTHON" * bool(options.magenta) + " --melodies FOLDER" * (options.melodies != SAMPLES)
    print(f"python -m benchmarks.run --threads {options.threads} --rounds {options.rounds}{places}")
    print(describe(), *([magentas_versions(options.magenta)] if options.magenta else []), sep=", ")
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options.melodies.resolve(), options.magenta, options.threads, options.rounds)
        make(bench)
        for text in report(bench, options.only):
            print(text, flush=True)


if __name__ == "__main__":
    main()
