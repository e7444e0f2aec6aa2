"""How fast things go on this machine.

    python -m benchmarks.speed [--melodies FOLDER]

Whole commands are timed from outside, the middle one of five runs after one that is not counted; the rest inside this
process. FOLDER holds MIDI files for reading (samples/melodies without it; the more, the less its start weighs).
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import seqvae
from benchmarks.machine import describe, median_seconds
from data_prep.dataset import prepare
from data_prep.files import find_sources
from data_prep.windows import MelodyOptions
from seqvae.devices import autocast, choose_device, choose_precision
from seqvae.presets import preset
from seqvae.vae import SequenceVAE

COMMAND = [sys.executable, "-m", "cli.main"]
SAMPLES = Path("samples/melodies")


def command_seconds(*arguments: str) -> float:
    """Median wall time of a whole command."""
    return median_seconds(lambda: subprocess.run([*COMMAND, *arguments], check=True, capture_output=True))


def files_per_second(folder: Path, scratch: Path) -> float:
    """MIDI files to a dataset in one process, everything included but the start of Python."""
    files = len(find_sources([folder]))
    seconds = median_seconds(lambda: prepare([folder], scratch / "dataset", MelodyOptions(), workers=1, force=True))
    return files / seconds


def training_rate(batch_size: int, steps: int = 5) -> float:
    """Sequences a second of melody-2bar: pass, gradient, clipping and optimizer."""
    device = choose_device()
    precision = choose_precision("auto", device)
    model = SequenceVAE(preset("melody-2bar").model).to(device)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    tokens = torch.randint(0, 90, (batch_size, model.config.length), device=device)

    def step() -> None:
        with autocast(device, precision):
            loss = -model(tokens).elbo.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss.item()  # wait for the device

    return batch_size / median_seconds(step, steps)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed")
    parser.add_argument("--melodies", type=Path, default=SAMPLES)
    options = parser.parse_args()
    print("python -m benchmarks.speed", *(["--melodies", "FOLDER"] if options.melodies != SAMPLES else []))
    print(f"{describe()}\n")
    with tempfile.TemporaryDirectory() as name:
        scratch, vae = Path(name), seqvae.load()
        first = str(find_sources([SAMPLES])[0])
        rows = [
            ("seqvae --help", command_seconds("--help"), "s"),
            ("seqvae sample, 8 melodies", command_seconds("sample", "--out", name + "/s", "--force"), "s"),
            ("seqvae reconstruct, 1 file", command_seconds("reconstruct", first, "--out", name + "/r", "--force"), "s"),
            (
                f"prepare, {len(find_sources([options.melodies]))} files, 1 worker",
                files_per_second(options.melodies, scratch),
                "files/s",
            ),
            ("512 samples, ids to scores", median_seconds(lambda: vae.sample(512, seed=0)), "s"),
            ("1 sample", median_seconds(lambda: vae.sample(1, seed=0)), "s"),
            ("training, batch 128", training_rate(128), "sequences/s"),
            ("training, batch 512", training_rate(512), "sequences/s"),
        ]
    for what, figure, unit in rows:
        print(f"{what:40}{figure:12.3f} {unit}")


if __name__ == "__main__":
    main()
