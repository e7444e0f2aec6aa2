"""How cost grows: from 100 files to 10,000, from 20 thousand windows to 10 million.

    python -m benchmarks.scale [--melodies FOLDER] [--out FOLDER]

FOLDER of --melodies holds MIDI files (samples/melodies without it). Thousands are made of them, each in another key or
with another loudness, and read with `prepare`, the middle one of three runs after one that is not counted. Then two
datasets are made of their windows, directly: the first bars of one window and the last of another, in some key. A
small model is trained on each in a process of its own. What is made goes to --out (1 GB; a temporary folder without
it, which is removed).
"""

import argparse
import csv
import dataclasses
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import describe, median_seconds
from data_prep import midi
from data_prep.dataset import Dataset, prepare
from data_prep.files import find_sources
from data_prep.parallel import processes
from data_prep.piece import PITCH, VELOCITY, Piece
from data_prep.splits import SPLITS
from data_prep.windows import MelodyOptions
from seqvae.config import ModelConfig
from seqvae.data import SequenceData
from seqvae.vae import SequenceVAE

SAMPLES = Path("samples/melodies")
FILES = (100, 1_000, 10_000)
WINDOWS = (20_000, 10_000_000)
UNITS, BATCH_SIZE, TRANSPOSE = 64, 128, 5  # of the model and its training, in one thread: the data are what is timed
SETTLED, STEPS = 5, 300  # steps after which memory is looked at first, and last
KEYS = range(-6, 6)
BLOCK = 1 << 16  # windows made at a time


def copies(folder: Path) -> Iterator[Piece]:
    """Endlessly many pieces: those of a folder, in all keys, then all of that louder or softer."""
    pieces = [midi.read(path) for path in find_sources([folder]) if path.suffix == ".mid"]
    for velocity in range(1, 128):
        for key in KEYS:
            yield from (_changed(piece, key, velocity) for piece in pieces)


def _changed(piece: Piece, key: int, velocity: int) -> Piece:
    tracks = []
    for track in piece.tracks:
        notes = track.notes.copy()
        notes[:, VELOCITY] = velocity
        if not track.is_drum:
            notes[:, PITCH] = np.clip(notes[:, PITCH] + key, 0, 127)
        tracks.append(dataclasses.replace(track, notes=notes))
    return dataclasses.replace(piece, tracks=tuple(tracks))


def write_files(folder: Path, source: Path, number: int) -> Path:
    """So many different MIDI files."""
    folder.mkdir()
    for place, piece in enumerate(islice(copies(source), number)):
        midi.write(piece, folder / f"{place:06}.mid")
    return folder


def files_per_second(folder: Path, dataset: Path, workers: int | None) -> float:
    """How fast `prepare` goes, everything included but the start of Python."""
    options, files = MelodyOptions(), len(find_sources([folder]))
    return files / median_seconds(lambda: prepare([folder], dataset, options, workers=workers, force=True), runs=3)


def write_dataset(folder: Path, made_of: Dataset, windows: int) -> Path:
    """A dataset with so many windows to train on, written block by block."""
    rng, tokenizer = np.random.default_rng(windows), made_of.tokenizer
    real = np.concatenate([np.asarray(made_of.split(name)) for name in SPLITS])
    counts = dict(zip(SPLITS, (windows, 1000, 1000), strict=True))
    folder.mkdir()
    with (folder / "index.csv").open("w", newline="") as file:
        index = csv.writer(file)
        index.writerow(("split", "row", "source", "bar"))
        for name, count in counts.items():
            with (folder / f"{name}.npy").open("wb") as array:
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, real.shape[1])}
                np.lib.format.write_array_header_1_0(array, header)
                for start in range(0, count, BLOCK):
                    rows = range(start, min(start + BLOCK, count))
                    array.write(_recombined(real, tokenizer.pitch_ids or range(0), len(rows), rng).tobytes())
                    index.writerows((name, row, "made", 1) for row in rows)
    marks = dict.fromkeys(("fingerprint", "contents"), "benchmarks.scale")
    info = made_of.info | marks | {"counts": made_of.info["counts"] | counts, "skipped": []}
    (folder / "dataset.json").write_text(json.dumps(info))
    return folder


def _recombined(real: np.ndarray, pitch_ids: range, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, T): the first half of a real window, the second of another, in a key in which all notes have an id."""
    first, second = rng.integers(0, len(real), (2, count))
    half = real.shape[1] // 2
    ids = np.concatenate([real[first, :half], real[second, half:]], 1)
    notes = (ids >= pitch_ids.start) & (ids < pitch_ids.stop)
    moved = ids + np.where(notes, rng.integers(KEYS.start, KEYS.stop, (count, 1)), 0)
    fits = ((moved >= pitch_ids.start) & (moved < pitch_ids.stop) | ~notes).all(1, keepdims=True)
    return np.where(fits, moved, ids).astype(np.uint8)


@dataclass(frozen=True)
class Trained:
    """What training took."""

    opening: float  # seconds, to the end of the first step
    step: float  # seconds, the middle one
    batch: float  # seconds of it that went into cutting the batch
    memory: float  # MB that came in the steps after the first few


def train(folder: Path) -> Trained:
    """Train a small model for some steps."""
    torch.set_num_threads(1)
    model = SequenceVAE(ModelConfig(encoder_size=UNITS, decoder_size=UNITS, latent_size=UNITS))
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    times, cutting = [time.perf_counter()], []
    data = SequenceData(folder)
    for number in range(STEPS):
        start = time.perf_counter()
        tokens = data.training_batch(number, BATCH_SIZE, 0, TRANSPOSE).tokens
        cutting.append(time.perf_counter() - start)
        optimizer.zero_grad()
        (-model(tokens).elbo.mean()).backward()
        optimizer.step()
        times.append(time.perf_counter())
        if number == SETTLED:
            before = resident()
    steps = np.diff(times)
    return Trained(steps[0], float(np.median(steps[1:])), statistics.median(cutting[1:]), resident() - before)


def resident() -> float:
    """MB of memory that this process has."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1000


def in_a_new_process(folder: Path) -> Trained:
    """What `train` gives; the imports come before."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(train, folder).result()


def report(melodies: Path, scratch: Path) -> Iterator[str]:
    """The lines of the table, as they get known."""
    cores = processes(None)
    yield f"{'reading':34}{'1 worker':>12}{f'{cores} workers':>14}   files/s"
    for number in FILES:
        folder = write_files(scratch / f"{number}-files", melodies, number)
        one, all_ = (files_per_second(folder, scratch / "dataset", workers) for workers in (1, cores))
        yield f"{f'prepare, {number:,} files':34}{one:12,.0f}{all_:14,.0f}"
    yield ""
    what = f"training, {UNITS} units, batch {BATCH_SIZE}"
    yield f"{what:40}{'first step, s':>16}{'a step, ms':>12}{'its batch, ms':>15}{'new memory, MB':>16}"
    made_of = prepare([melodies], scratch / "real", MelodyOptions())
    for number in WINDOWS:
        start, before = time.perf_counter(), resident()
        folder = write_dataset(scratch / f"{number}-windows", made_of, number)
        made = f"made in {time.perf_counter() - start:.1f} s, {resident() - before:+.0f} MB"
        took = in_a_new_process(folder)
        figures = f"{took.opening:14.2f}{1000 * took.step:12.1f}{1000 * took.batch:15.2f}{took.memory:16.0f}"
        yield f"{f'{number:,} windows ({made})':42}{figures}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--melodies", type=Path, default=SAMPLES)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if not any(options.melodies.glob("**/*.mid")):
        parser.error(f"--melodies {options.melodies}: there are no .mid files")
    if options.out and options.out.exists():
        parser.error(f"--out {options.out}: exists; name a new folder")
    print("python -m benchmarks.scale", *(["--melodies", "FOLDER"] if options.melodies != SAMPLES else []))
    print(f"{describe()}\n", flush=True)
    with tempfile.TemporaryDirectory() as name:
        if options.out:
            options.out.mkdir(parents=True)
        for line in report(options.melodies, options.out or Path(name)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
