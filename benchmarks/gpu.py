"""Checks and times seqvae on a GPU, in a few minutes, from a bare checkout with torch and numpy.

    python -m benchmarks.gpu [--seconds 3] [--device cuda]

Checks come first, then speeds, then one table of both. Each check says "ok" or what is wrong; the exit status is 1 if
one failed. Models have random weights. `--device cpu` tries all that needs no GPU.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from benchmarks.datasets import write_sentences, write_windows
from benchmarks.machine import describe
from benchmarks.rates import training_operations
from benchmarks.training import training_step
from data_prep.ragged import Ragged
from data_prep.tokenizers.text import EOS, SPECIALS
from seqvae.config import TEXT, Config
from seqvae.data import SequenceData
from seqvae.devices import autocast, choose_precision
from seqvae.presets import preset
from seqvae.sampling import generate
from seqvae.updating import update
from seqvae.vae import SequenceVAE

SMALL, BIG = "melody-2bar", "melody-2bar-big"
WORDS, PTB = "text-words", "ptb-vae"
WINDOWS, SENTENCES = 100_000, 42_068
BATCH = 512  # of the steps that are looked into
VOCABULARY, MEAN, DEVIATION, LONGEST = 10_000, 22.1, 10.1, 83  # words, and ids of a sentence, of Penn Treebank
MATRIX = 8192  # rows and columns of the products that give the device's rate
CLOSE = {"fp32": 1e-4, "bf16": 3e-2}  # of a gradient's norm, as against float64 on the processor
CUDNN = ("aten::_cudnn_rnn", "aten::_cudnn_rnn_backward")
ALL_AT_ONCE = {  # of what a step may have to do
    **{"mmd": 1.0, "adversarial": 1.0, "free_bits": 8.0, "free_bits_per": "batch", "weight_average": 0.999},
    **{"word_dropout": 0.1, "encoder_drop": 0.1, "encoder_mask": 0.1, "encoder_swap": 0.1},
    **{"scheduled_sampling": "constant", "scheduled_sampling_parallel": False},
}
MARKS = {  # to be reached on an H200
    f"{SMALL}: training, batch 512": "100,000 sequences/s",
    f"{BIG}: training, batch 512": "40% of the matrix rate",
    f"{PTB}: training, batch 32": "300,000 words/s",
    f"{PTB}: training, batch 512": "2,000,000 words/s",
    f"{SMALL}: 32768 samples at a time": "1,000,000 melodies/s",
}
STEPS = ("aten::lstm_cell", "aten::_thnn_fused_lstm_cell")  # in which torch's own LSTM goes


@dataclass(frozen=True)
class Bench:
    """What all checks and speeds need."""

    device: torch.device
    windows: SequenceData
    sentences: SequenceData
    seconds: float  # for each speed

    def wait(self) -> None:
        """Until the device has done all it was told."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def rate(self, work: Callable[[], object]) -> float:
        """How often a second `work` is done, the median of three stretches, after two rounds that are not counted."""
        work(), work()
        self.wait()
        start = time.perf_counter()
        work()
        self.wait()
        rounds = max(1, int(self.seconds / 3 / (time.perf_counter() - start)))
        rates = []
        for _ in range(3):
            start = time.perf_counter()
            for _ in range(rounds):
                work()
            self.wait()
            rates.append(rounds / (time.perf_counter() - start))
        return statistics.median(rates)

    def prepared(self, name: str, **changes: Any) -> tuple[Config, SequenceData]:
        """A preset with some changes of the model, and the data for it."""
        config = preset(name)
        data = self.sentences if config.data.kind == TEXT else self.windows
        return data.fitted(replace(config, model=replace(config.model, **changes))), data

    def model(self, config: Config) -> SequenceVAE:
        """One with random weights."""
        torch.manual_seed(0)
        return SequenceVAE(config.model).to(self.device)

    def trainer(
        self, name: str, batch_size: int, model: dict[str, Any] | None = None, **changes: Any
    ) -> Callable[[], object]:
        """A training step of a preset with some changes: batch, pass, gradient, clipping, optimizer."""
        config, data = self.prepared(name, **(model or {}))
        training = replace(config.training, batch_size=batch_size, **changes)
        return training_step(self.model(config), training, data, self.device)


def kernels(bench: Bench, name: str) -> str:
    """Teacher-forced passes, forward and backward, are cuDNN's."""
    step = bench.trainer(name, BATCH, {"encoder_layers": 2})
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step()
    names = {event.key for event in profile.key_averages()}
    wrong = [f"not called: {name}" for name in CUDNN if name not in names]
    return ", ".join(wrong + [f"called: {name}" for name in STEPS if name in names])


def waiting(bench: Bench, name: str, **changes: Any) -> str:
    """No step of training waits for the device."""
    step = bench.trainer(name, BATCH, **changes)
    for _ in range(3):
        step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(5):
            step()
    except RuntimeError as error:
        return str(error)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return ""


def resident(bench: Bench) -> str:
    """Batches cut on the device are those that the file gives."""
    file = SequenceData(bench.windows.dataset.path)
    for step in range(3):
        given, wanted = (data.training_batch(step, 64, 7, 5).tokens for data in (bench.windows, file))
        if bench.device.type != given.device.type:
            return f"batches come from {given.device}"
        if not torch.equal(given.cpu(), wanted):
            return f"batch {step} differs"
    return ""


def gradients(bench: Bench, name: str, summary: str, precision: str) -> str:
    """Gradients are those of the plain float64 computation on the processor."""
    config, data = bench.prepared(name, dropout=0.0, encoder_layers=2, summary=summary)  # each device has its dropout
    given = data.first("train", 32)
    found = []
    for device, dtype, low in ((torch.device("cpu"), torch.float64, "fp32"), (bench.device, torch.float32, precision)):
        model, batch = bench.model(config).to(device, dtype), given.to(device)
        z = torch.randn(len(batch), config.model.latent_size, generator=torch.Generator().manual_seed(1))
        with autocast(device, low):
            posterior = model.encode(batch.tokens, batch.lengths)
            sampled = posterior.loc + posterior.scale * z.to(device, dtype)
            lost = model.distortion(sampled, batch.tokens, batch.lengths)
        lost.mean().backward()
        found.append({name: cast(Tensor, each.grad).double().cpu() for name, each in model.named_parameters()})
    errors = {name: ((found[1][name] - true).norm() / true.norm()).item() for name, true in found[0].items()}
    worst = max(errors, key=lambda name: errors[name])
    return f"{worst} is off by {errors[worst]:.1e}" if errors[worst] > CLOSE[precision] else ""


def recordings(bench: Bench) -> str:
    """Sampling gives what a model gives that has never sampled: recorded, replayed, and after a step of training."""
    config = preset(SMALL)
    model = bench.model(config).eval()

    def ids(model: SequenceVAE, z: Tensor, temperature: float) -> Tensor:
        noise = torch.Generator(bench.device).manual_seed(3)
        with autocast(bench.device, choose_precision("auto", bench.device)):
            return generate(model.decoder, z, config.model.length, temperature, generator=noise)

    def differ(z: Tensor, temperature: float) -> bool:
        new = bench.model(config).eval()
        new.load_state_dict(model.state_dict())
        return not torch.equal(ids(model, z, temperature), ids(new, z, temperature))

    optimizer = torch.optim.Adam(model.decoder.parameters(), lr=0.01, fused=True)
    for temperature in (0.0, 1.0):
        for rows in (1, 512):
            what = f"{rows} rows at temperature {temperature}"
            z, others = torch.randn(2, rows, config.model.latent_size, device=bench.device)
            if any(differ(each, temperature) for each in (z, z, others)):  # for the first, second and third time
                return f"{what} differ"
            for parameter in model.decoder.parameters():
                parameter.grad = torch.randn_like(parameter)
            update(optimizer, torch.zeros((), device=bench.device))
            if differ(z, temperature):
                return f"{what} do not hear that weights have changed"
    return ""


def checks(bench: Bench) -> Iterator[tuple[str, Callable[[], str]]]:
    """What must hold."""
    if bench.device.type == "cuda":
        for name in (SMALL, WORDS):
            yield f"{name}: teacher-forced passes are cuDNN's", partial(kernels, bench, name)
            yield f"{name}: a training step waits for nothing", partial(waiting, bench, name)
            yield f"{name}, all at once: nor does it then", partial(waiting, bench, name, **ALL_AT_ONCE)
        yield "the data live on the device, and are the same", lambda: resident(bench)
    for precision in dict.fromkeys(("fp32", choose_precision("auto", bench.device))):
        for name, summary in ((SMALL, "last"), (WORDS, "last"), (WORDS, "mean")):  # of maxima bf16 may find others
            what = f"{name}, {summary}: gradients in {precision} as in float64"
            yield what, partial(gradients, bench, name, summary, precision)
    yield "recorded sampling gives what unrecorded gives", lambda: recordings(bench)


def matrix_rate(bench: Bench) -> float:
    """Operations a second in large products."""
    low = torch.bfloat16 if choose_precision("auto", bench.device) == "bf16" else torch.float32
    size = MATRIX if bench.device.type == "cuda" else MATRIX // 8
    x, y = (torch.randn(size, size, device=bench.device, dtype=low) for _ in range(2))
    return 2 * size**3 * bench.rate(lambda: x @ y)


def sampler(bench: Bench, rows: int) -> Callable[[], object]:
    """New melodies from the prior."""
    model = bench.model(preset(SMALL)).eval()
    noise = torch.Generator(bench.device).manual_seed(0)
    precision = choose_precision("auto", bench.device)

    def work() -> object:
        z = torch.randn(rows, model.config.latent_size, device=bench.device, generator=noise)
        with autocast(bench.device, precision):
            return generate(model.decoder, z, model.config.length, 1.0, generator=noise)

    return work


def speeds(bench: Bench) -> Iterator[tuple[str, Callable[[], str]]]:
    """What is timed; the first one is what the others are compared with."""
    matrix: list[float] = []

    def products() -> str:
        matrix.append(matrix_rate(bench))
        return f"{matrix[0] / 1e12:10.1f} TFLOP/s"

    def training(name: str, batch_size: int, **changes: Any) -> str:
        rate = batch_size * bench.rate(bench.trainer(name, batch_size, **changes))
        share = rate * training_operations(preset(name).model) / (matrix[0] if matrix else float("nan"))
        return f"{rate:12,.0f} sequences/s, {share:.0%} of the matrix rate"

    def reading(name: str, batch_size: int) -> str:
        words = cast(Ragged, bench.sentences.train).lengths.sum() / bench.sentences.steps_per_epoch(batch_size)
        return f"{words * bench.rate(bench.trainer(name, batch_size)):12,.0f} words/s"

    def sampling(rows: int) -> str:
        return f"{rows * bench.rate(sampler(bench, rows)):12,.0f} melodies/s"

    yield "large products", products
    sizes = (512, 2048, 8192) if bench.device.type == "cuda" else (32,)
    for size in sizes:
        yield f"{SMALL}: training, batch {size}", partial(training, SMALL, size)
    for size in sizes[:2] if bench.device.type == "cuda" else ():
        yield f"{BIG}: training, batch {size}", partial(training, BIG, size)
        yield (
            f"{BIG}: teacher-forced, batch {size}",
            partial(training, BIG, size, scheduled_sampling="none"),
        )
    for name in (PTB, WORDS):
        for size in (32, 512) if bench.device.type == "cuda" else (32,):
            yield f"{name}: training, batch {size}", partial(reading, name, size)
    for rows in (1, 512, 4096, 32768) if bench.device.type == "cuda" else (1, 32):
        yield f"{SMALL}: {rows} samples at a time", partial(sampling, rows)


def windows(folder: Path) -> SequenceData:
    """Random windows: speed does not depend on what is in them."""
    rng = np.random.default_rng(0)
    ids = {name: rng.integers(0, 90, (n, 32), np.uint8) for name, n in (("train", WINDOWS), ("valid", 8), ("test", 8))}
    return SequenceData(write_windows(folder / "windows", ids).path)


def sentences(folder: Path) -> SequenceData:
    """Random sentences of Penn Treebank's lengths."""
    rng = np.random.default_rng(0)
    ids = {}
    for name, n in (("train", SENTENCES), ("valid", 8), ("test", 8)):
        lengths = rng.gamma((MEAN / DEVIATION) ** 2, DEVIATION**2 / MEAN, n).round().clip(2, LONGEST).astype(np.int64)
        ends = lengths.cumsum()
        words = rng.integers(len(SPECIALS), VOCABULARY + len(SPECIALS), ends[-1])
        words[ends - 1] = EOS
        ids[name] = Ragged(words, np.concatenate([[0], ends]))
    return SequenceData(write_sentences(folder / "sentences", ids, VOCABULARY).path)


def attempted(work: Callable[[], str]) -> tuple[str, bool]:
    """What a check or a speed says, and whether it broke down: the others shall be heard all the same."""
    try:
        return work(), False
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0], True


def main() -> None:
    """Check, time, and print the table last."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="for each speed")
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("\n".join(f"{what:48}not measured; to be reached: {mark}" for what, mark in MARKS.items()))
        parser.error("--device cuda: there is no GPU here; --device cpu tries all that needs none")
    lines, failed = [], False
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(device, windows(Path(name)), sentences(Path(name)), options.seconds)
        bench.windows.use_gpu(device)
        for what, check in checks(bench):
            wrong, _ = attempted(check)
            failed = failed or bool(wrong)
            lines.append(f"{what:52}{wrong or 'ok'}")
            print(lines[-1], flush=True)
        for what, speed in speeds(bench):
            text, broke = attempted(speed)
            failed = failed or broke
            mark = f" (to be reached: {MARKS[what]})" if what in MARKS and device.type == "cuda" else ""
            lines.append(f"{what:48}{text}{mark}")
            print(lines[-1], flush=True)
    print("\npython -m benchmarks.gpu", *sys.argv[1:])
    print(describe())
    print(torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU", "\n")
    print("\n".join(lines))
    sys.exit(failed)


if __name__ == "__main__":
    main()
