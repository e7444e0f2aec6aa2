"""Several processes train as one does with a batch of the same size, cut into as many parts."""

import csv
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import many_processes
import numpy as np
import pytest
import torch
from small_trainings import write_tunes

from data_prep.dataset import prepare
from data_prep.text import TextOptions
from data_prep.windows import MelodyOptions
from seqvae.checkpoint import load_state
from seqvae.devices import choose_device
from seqvae.distributed import ALONE, World, joined
from seqvae.errors import OptionError
from seqvae.run import check_parts
from seqvae.training import train

ROOT = Path(__file__).parent.parent
PATIENCE = 300  # seconds: a machine may have much else to do


def torchrun(*arguments: object) -> tuple[int, str]:
    """Run something by two processes of one thread each: exit code, and what was said on stderr."""
    how = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [sys.executable, *how, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}", "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, said = process.communicate(timeout=PATIENCE)
    finally:
        process.terminate()  # it ends the two, if they are still there
    return process.returncode, said


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small datasets."""
    place, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    write_tunes(place, rng)
    prepare([place], place / "melodies", MelodyOptions(), workers=1)
    lines = [" ".join(rng.choice(list("abcdefgh"), rng.integers(1, 9))) for _ in range(120)]
    (place / "notes.txt").write_text("\n".join(lines))
    prepare([place / "notes.txt"], place / "sentences", TextOptions(max_length=7))
    return place


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """The same folder, with the runs of two processes; of one of them one process had made the first steps."""
    begun = many_processes.run(folder, "resumed", ALONE, steps=1)
    shutil.copytree(begun, folder / "resumed-by-2")
    code, said = torchrun("tests/many_processes.py", folder)
    assert code == 0, said
    return folder


def metrics(run: Path) -> list[dict[str, str]]:
    """The rows of a run's metrics."""
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", many_processes.CASES)
def test_two_processes_end_with_the_weights_of_one(trained: Path, name: str) -> None:
    alone = many_processes.run(trained, name, ALONE)
    one, two = (load_state(run / "last.pt") for run in (alone, trained / f"{name}-by-2"))
    assert one["done"]["step"] == two["done"]["step"] > 0
    for key, weight in one["model"].items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(weight, two["model"][key], rtol=1e-4, atol=1e-5, msg=key)
    for row, same in zip(metrics(alone), metrics(trained / f"{name}-by-2"), strict=True):
        for key in ("train_loss", "train_distortion", "train_rate", "train_beta", "elbo"):
            assert float(row[key]) == pytest.approx(float(same[key]), rel=1e-3, abs=1e-4), key


@pytest.fixture
def start() -> Iterator[Callable[..., list[subprocess.Popen]]]:
    """Starts some of two processes that meet, without torchrun, which would end the one when the other does."""
    started: list[subprocess.Popen] = []

    def begin(*arguments: object, ranks: Sequence[int] = (0, 1)) -> list[subprocess.Popen]:
        with socket.socket() as any_port:
            any_port.bind(("127.0.0.1", 0))
            port = any_port.getsockname()[1]
        told = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "test"}
        for rank in map(str, ranks):
            mine = {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}"}
            started.append(
                subprocess.Popen(
                    [sys.executable, *map(str, arguments)],
                    cwd=ROOT,
                    env=os.environ | told | mine,
                    stderr=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        return started

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_when_a_process_dies_the_other_leaves_with_one_line_and_a_whole_state(
    folder: Path, start: Callable[..., list[subprocess.Popen]]
) -> None:
    out = folder / "killed"
    train = ["train", folder / "sentences", "--preset", "text-words", "--device", "cpu", "--batch-size", "4"]
    processes = start("-m", "cli.main", *train, "--steps", "1000000", "--out", out)
    ends = time.monotonic() + PATIENCE
    while not (out / "last.pt").exists() and time.monotonic() < ends:
        time.sleep(0.1)
    processes[1].kill()
    said, complaint = processes[0].communicate(timeout=60)
    assert (processes[0].returncode, said) == (1, "")
    notes = complaint.splitlines()  # the first one on settings of the preset that the dataset has not
    assert notes[-1].startswith("seqvae: process 1 of 2 stopped, as another one has gone")
    assert len(notes) == 2
    assert load_state(out / "last.pt")["done"]["step"] >= 1


def test_where_one_refuses_all_end_and_the_first_one_is_waited_for_while_it_lives(
    start: Callable[..., list[subprocess.Popen]],
) -> None:
    """For longer than a step may take; one that has been stopped gives no sign of life, and is left."""
    first, second = start("tests/waiting_processes.py", "refused", "slow", "silent")
    said, complaint = second.communicate(timeout=PATIENCE)
    assert said == "OptionError no such device\nwaited\n"
    assert "process 2 of 2 stopped, as another one has gone or fallen silent" in complaint
    assert first.poll() is None
    first.kill()
    assert first.communicate()[0] == "SystemExit 1\nwaited\n"


def test_what_went_wrong_is_told_even_where_the_others_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise RuntimeError("Connection closed by peer")

    def fail() -> None:
        raise OptionError("the message")

    for name in ("broadcast", "broadcast_object_list", "all_reduce"):
        monkeypatch.setattr(torch.distributed, name, gone)
    two = World(0, 2)
    for what in (two.by_first, two.by_all):
        with pytest.raises(OptionError, match="the message"):
            what(fail)
        with pytest.raises(RuntimeError, match="Connection closed"):
            what(lambda: None)


def test_a_process_that_is_alone_says_so(start: Callable[..., list[subprocess.Popen]]) -> None:
    (alone,) = start("tests/waiting_processes.py", "alone", ranks=[0])
    assert "and not all others came: start all of them" in alone.communicate(timeout=PATIENCE)[1]


def test_more_parts_than_sequences_are_refused(folder: Path, tmp_path: Path) -> None:
    config = many_processes.CASES["sentences"].config(1, batch_size=1)
    with pytest.raises(OptionError, match="--accumulate 2: must be at most the batch size, 1"):
        train(config, folder / "sentences", tmp_path / "run")
    case = many_processes.CASES["sentences"].config(1)
    with pytest.raises(OptionError, match="--batch-size 15: must be at least 16, for 8 processes with --accumulate 2"):
        check_parts(case.training, case.model, World(0, 8))


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    assert choose_device("auto", World(3, 4, local_rank=1)) == torch.device("cuda:1")
    with pytest.raises(OptionError, match="at most 2"):
        choose_device("auto", World(2, 4, local_rank=2))


def test_outside_of_torchrun_one_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")  # as other programs that start processes set it
    with joined() as world:
        assert (world.first, world.size, world.greatest(1.5, 0.0), world.by_first(lambda: 3)) == (
            True,
            1,
            [1.5, 0.0],
            3,
        )
