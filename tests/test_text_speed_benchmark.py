"""`benchmarks.text_speed`: the same model each way, timed in turn."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import text_speed
from benchmarks.serving import Timed
from seqvae.batch import Batch
from seqvae.vae import SequenceVAE

ROOT = Path(__file__).resolve().parents[1]


def test_both_ways_have_the_weights_of_the_benchmark() -> None:
    ours, plain = SequenceVAE(text_speed.MODEL), text_speed.Plain()
    assert sum(x.numel() for x in ours.parameters()) == sum(x.numel() for x in plain.parameters()) == 8_791_552


def test_random_batches_are_the_same_in_each_process() -> None:
    one, other = text_speed.drawn(None, 3), text_speed.drawn(None, 3)
    assert all(torch.equal(a.tokens, b.tokens) for a, b in zip(one, other, strict=True))
    assert {batch.count for batch in one} == {3 * 22}


def test_words_a_second_are_words_of_all_batches_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        def __init__(self, command: list[str], log: Path) -> None:
            self.seconds = {"plain": 2.0, "ours": 0.5}[command[-1]]

        def __enter__(self) -> "Clock":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def ask(self) -> Timed:
            return Timed(self.seconds)

    monkeypatch.setattr(text_speed, "Served", Clock)
    options = text_speed.parse(["--batch-size", "2", "--rounds", "3"])
    words = text_speed.STEPS * 2 * 22
    assert text_speed.measured(options, [], ["plain", "ours"]) == {"plain": [words / 2] * 3, "ours": [words * 2] * 3}


def test_plain_training_learns() -> None:
    step = text_speed.plain_step(torch.device("cpu"))
    torch.manual_seed(0)
    batch = Batch(torch.randint(4, text_speed.V, (2, 5)))
    losses = [step(batch, number) for number in range(12)]
    assert losses[-1] < losses[0] - 1.0  # type: ignore[operator]


def test_it_prints_a_line_each_with_the_ratio() -> None:
    command = [sys.executable, "-m", "benchmarks.text_speed", "--batch-size", "1", "--rounds", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *_, plain, ours = done.stdout.splitlines()
    assert plain.startswith("plain torch, fp32")
    assert "times" in plain
    assert ours.startswith("seqvae")
