"""The pieces of `benchmarks.run` on small settings, without its peer."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import precision, rounding, serving, works
from benchmarks.datasets import write_windows
from benchmarks.magenta.compare import same_training
from benchmarks.rates import matrix_rates, training_operations
from benchmarks.run import Bench, Row, columns, heading, line, make, rows, shares
from benchmarks.serving import Command, Served, Timed
from seqvae import unrolled
from seqvae.config import ModelConfig
from seqvae.data import SequenceData
from seqvae.presets import preset
from seqvae.schedules import annealed_beta, sampling_probability
from seqvae.vae import SequenceVAE

CHILD = """
import time
from benchmarks.serving import serve
serve(lambda: (time.sleep(0.01), print("this is no answer")))
"""
SMALL = "melody-2bar-small"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    ids = {name: rng.integers(0, 90, (40, 32)).astype(np.uint8) for name in ("train", "valid", "test")}
    folder = tmp_path_factory.mktemp("windows")
    write_windows(folder, ids)
    np.testing.assert_array_equal(SequenceData(folder).dataset.split("valid"), ids["valid"])
    return folder


def test_operations_are_those_of_the_weights() -> None:
    each_step = (".lstm.", "decoder.output.")
    for config in (
        ModelConfig(encoder_size=6, decoder_size=5, latent_size=4, encoder_layers=2, vocabulary_size=9),
        ModelConfig(embedding_size=3, bidirectional=False, latent_to="start", initial_state="shared", decoder_size=7),
        ModelConfig(latent_size=0, decoder_size=5),
    ):
        weights = {name: each.numel() for name, each in SequenceVAE(config).named_parameters() if each.ndim == 2}
        once = {name: number for name, number in weights.items() if ".input." not in name}  # a vector is looked up
        uses = sum(n * (config.length if any(part in name for part in each_step) else 1) for name, n in once.items())
        assert training_operations(config) == 3 * 2 * uses
    assert training_operations(preset("melody-2bar").model) == pytest.approx(0.70e9, rel=0.01)


def test_matrix_rates_are_positive_and_named() -> None:
    found = matrix_rates(runs=1)
    assert {"fp32", "bf16"} <= found.keys()
    assert min(found.values()) > 0


def test_a_child_answers_each_line_with_its_time_and_memory(tmp_path: Path) -> None:
    with Served([sys.executable, "-c", CHILD], tmp_path / "log") as child:
        first, second = child.ask(), child.ask()
    assert 0.01 <= first.seconds < 1.0
    assert first.peak is not None
    assert first.peak <= second.peak
    assert child.process.returncode == 0


def test_a_short_work_is_timed_over_a_tenth_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, done, answers = [0.0], [], io.StringIO()

    def work() -> None:
        done.append(1)
        clock[0] += 0.03 if len(done) > 1 else 0.5  # the first one is slow

    monkeypatch.setattr(serving.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n\n"))
    monkeypatch.setattr(sys, "stdout", answers)
    serving.serve(work)
    assert len(done) == serving.UNCOUNTED + 2 * 4
    assert [json.loads(line)["seconds"] for line in answers.getvalue().splitlines()] == pytest.approx([0.03, 0.03])


def test_a_child_that_fails_is_quoted(tmp_path: Path) -> None:
    failing = Served([sys.executable, "-c", "raise SystemExit('no such work')"], tmp_path / "log")
    with failing as child, pytest.raises(RuntimeError, match="no such work"):
        child.ask()


def test_a_command_is_timed_unless_it_fails(tmp_path: Path) -> None:
    quit_with = [sys.executable, "-c", "import sys; print('so long'); sys.exit(3)"]
    assert Command(quit_with, tmp_path / "log", allowed=(3,)).ask().seconds > 0
    with pytest.raises(RuntimeError, match="so long"):
        Command(quit_with, tmp_path / "log").ask()


@pytest.mark.parametrize("sampling", works.SAMPLING)
def test_training_steps_give_figures(dataset: Path, sampling: str) -> None:
    given = ["train", "--model", SMALL, "--batch-size", "8", "--sampling", sampling, "--dataset", str(dataset)]
    step = works.train(works.parse(given))
    assert np.isfinite(step()).all()
    assert step() != step()  # the weights move


def test_every_work_of_a_model_works(dataset: Path, tmp_path: Path) -> None:
    common = ["--model", SMALL, "--batch-size", "3", "--dataset", str(dataset), "--out", str(tmp_path)]
    assert works.sample(works.parse(["sample", *common]))().shape == (3, 32)
    assert works.encode(works.parse(["encode", *common]))().mean.shape == (3, 64)
    write = works.write(works.parse(["write", *common]))
    for times in (1, 2):
        write()
        assert len(list(tmp_path.rglob("*.mid"))) == 3 * times
    melodies = ["--melodies", "samples/melodies"]
    assert len(works.read(works.parse(["read", *common, *melodies]))().split("train")) > 100


@pytest.mark.usefixtures("int8")
def test_what_is_used_is_told_in_int8_once_more(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = [row for row in rows(7) if row.precision == "int8" and row.model == "melody-2bar"]
    assert {(row.work, row.batch_size) for row in again} == {
        ("sample", 512),
        ("sample", 1),
        ("write", 512),
        ("encode", 512),
        ("encode", 1),
    }
    bench = Bench(tmp_path, tmp_path, None, threads=1, rounds=1)
    monkeypatch.setattr("benchmarks.run.Served", lambda command, log: command)
    for row in again:
        (command,) = bench.sources(row)
        assert works.trained(works.parse([*command[3:], "--dataset", str(dataset)])).precision == "int8"
    monkeypatch.setattr("benchmarks.run.is_fast", lambda: False)
    assert not any(row.precision == "int8" for row in rows(7))


@pytest.mark.usefixtures("int8")
def test_rounding_is_told_beside_fp32(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["rounding", "--rows", "3"])
    monkeypatch.setattr("seqvae.devices._multiplies_bf16", lambda: False)
    rounding.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    exact, rounded = ([line for line in lines if line[:1] == [name]] for name in ("fp32", "int8"))
    assert len(exact) == len(rounded) == len(rounding.MODELS)
    for told, near in zip(exact, rounded, strict=True):
        assert [float(told[place]) for place in (1, 2, 3, 6)] == [0.0, 0.0, 0.0, 1.0]
        assert all(0 < float(word) < 0.1 for word in near[1:4])
        assert float(near[4]) == pytest.approx(float(told[4]), rel=0.01)
    assert [line[1] for line in lines if line[:1] == ["bf16"]] == ["not"] * len(rounding.MODELS)


def test_a_row_is_measured_and_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, Path("samples/melodies").resolve(), None, threads=1, rounds=2)
    make(bench)
    row = Row("encoding 4", "encode", amount=4, unit="windows/s", batch_size=4)
    (found,) = bench.measure(row)
    assert len(found) == 2
    told = line(row, [found], 0.5)
    assert told.startswith("encoding 4")
    assert told.endswith("0.50")
    assert "windows/s" in told


def test_a_ratio_is_that_of_the_medians() -> None:
    ours, theirs = ([Timed(seconds, 2**30) for seconds in each] for each in ((1.0, 2.0, 4.0), (3.0, 5.0, 9.0)))
    told = line(Row("sampling", "sample"), [ours, theirs], 1.0).split()
    assert told == ["sampling", "2.0000", "5.0000", "s", "2.50", "2.25-3.00", "1.00", "1.00", "1.00"]
    assert len(heading(True)) == len(columns("", ["", ""], "", "", "", ["", ""], ""))


def test_the_share_of_the_rate_is_operations_over_time() -> None:
    row = Row("training", "train", amount=512)
    per_second = training_operations(preset(row.model).model) * 512 / 2.0
    told = shares(row, [[Timed(2.0)]], {"fp32": 4 * per_second, "bf16": 4 * per_second})
    assert " 25% of " in told


def test_rows_name_works_and_presets_that_exist() -> None:
    for row in rows(7):
        assert row.work in {*works.WORKS, "help", "start"}
        assert row.sampling in works.SAMPLING
        assert preset(row.model).name == row.model


def test_magentas_schedules_are_ours_in_other_words() -> None:
    hparams = {
        **{"decay_rate": 0.9999, "clip_mode": "global_norm", "sampling_schedule": "inverse_sigmoid"},
        **{"sampling_rate": 1000, "max_beta": 0.2, "beta_rate": 0.99999, "free_bits": 0},
        **{"learning_rate": 1e-3, "min_learning_rate": 1e-5, "grad_clip": 1.0},
    }
    training = same_training(hparams, batch_size=512, seed=0)
    assert training.free_bits is None
    for step in (0, 1000, 50_000):
        beta = annealed_beta(training.annealing, step, beta=training.beta, steps=training.annealing_steps)
        assert beta == pytest.approx((1.0 - 0.99999**step) * 0.2)
        rate, steps = training.scheduled_sampling_rate, training.scheduled_sampling_steps
        probability = sampling_probability(training.scheduled_sampling, step, rate=rate, steps=steps)
        assert probability == pytest.approx(1.0 - 1000 / (1000 + np.exp(step / 1000)))
    with pytest.raises(ValueError, match="clip_mode"):
        same_training(hparams | {"clip_mode": "value"}, 512, 0)


WAYS = ("fp32", "bf16", "bf16-unrolled", "bf16-average", "exact", "parallel")


@pytest.fixture
def tell_precisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> Callable[[], dict[str, list[str]]]:
    """Of random windows and two seeds: the words of each row, by its name."""
    rng = np.random.default_rng(0)
    for name in ("train", "valid", "test"):
        np.savez(tmp_path / f"2bar_{name}.npz", x=rng.integers(0, 90, (70, 32)).astype(np.uint8))
    options = ["--out", f"{tmp_path / 'out'}", "--windows", f"{tmp_path}", "--steps", "2", "--seeds", "0", "1"]
    monkeypatch.setattr("sys.argv", ["precision", *options])

    def tell() -> dict[str, list[str]]:
        precision.main()
        return {line[:16].strip(): line[16:].split() for line in capsys.readouterr().out.splitlines()}

    return tell


@pytest.mark.usefixtures("bf16")
def test_trainings_in_every_precision_are_told_with_their_spread(
    tmp_path: Path, tell_precisions: Callable[[], dict[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    low, run = [], unrolled.run
    monkeypatch.setattr(
        unrolled, "run", lambda *given, **more: (low.append(torch.is_autocast_enabled("cpu")), run(*given, **more))[1]
    )
    told = tell_precisions()
    assert any(low)  # no other way takes small LSTMs there in bf16
    assert told.keys() >= precision.WAYS.keys()
    for way in ("bf16", "bf16, unrolled"):
        assert float(told["fp32"][0]) == pytest.approx(float(told[way][0]), rel=0.02)
    assert float(told["fp32"][0]) != float(told["bf16, average"][0])
    assert float(told["fp32"][2]) > 0  # two seeds differ
    assert len({told[way][0] for way in ("fp32", "exact", "parallel")}) == 3
    folders = {path.name for path in (tmp_path / "out").iterdir()}
    assert folders == {"dataset", *(f"{way}-{seed}" for way in WAYS for seed in (0, 1))}


def test_a_precision_that_the_processor_has_not_is_told_as_not_measured(
    tell_precisions: Callable[[], dict[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqvae.devices._multiplies_bf16", lambda: False)
    told = tell_precisions()
    assert float(told["fp32"][0]) < 0
    assert told["bf16"][:2] == told["bf16, average"][:2] == ["not", "measured:"]
