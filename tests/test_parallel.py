"""Processes for many items, none of which can stop the others."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import joblib
import pytest

from data_prep import parallel
from data_prep.parallel import Parallel, processes
from seqvae.interruption import Interruption

ROOT = Path(__file__).parents[1]
DEADLY = 5
NUMBERS = range(12)
PARTS = [range(start, start + 3) for start in range(0, 12, 3)]


def squares(numbers: Sequence[int]) -> list[int]:
    """Their squares, unless the deadly one is among them."""
    if DEADLY in numbers:
        os.kill(os.getpid(), signal.SIGSEGV)
    return [number * number for number in numbers]


def crashed(number: int) -> list[int]:
    return [-number]


def identities(numbers: Sequence[int]) -> list[int]:
    return [os.getpid() for _ in numbers]


def test_an_item_that_crashes_costs_itself_alone(capfd: pytest.CaptureFixture[str]) -> None:
    found = dict(Parallel(NUMBERS, squares, crashed, 2).run(PARTS))
    flat = [result for part in sorted(found, key=lambda part: part.start) for result in found[part]]
    assert flat == [-number if number == DEADLY else number * number for number in NUMBERS]
    assert sum(map(len, found)) == len(NUMBERS)
    assert capfd.readouterr() == ("", "")


ENDLESS = """
import sys, time
from data_prep.parallel import Parallel

def work(items):
    print(len(items), flush=True)
    time.sleep(1000)

list(Parallel(range(4), work, None, int(sys.argv[1])).run([range(2), range(2, 4)]))
"""


@pytest.mark.parametrize("workers", [2, 4])  # there are two parts: others wait for theirs
def test_processes_end_when_the_one_that_started_them_was_killed(workers: int) -> None:
    command = [sys.executable, "-c", ENDLESS, str(workers)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert [started.stdout.readline() for _ in range(2)] == [b"2\n"] * 2  # both are at work
        started.kill()
        begin = time.monotonic()
        assert started.stdout.read() == b""  # until nobody holds it any more
        assert time.monotonic() - begin < 60


class InRounds(joblib.parallel.BACKENDS["loky"]):
    """Gives results all together, as Ray's does."""

    supports_return_generator = False


class RayActorError(Exception):
    """By its name alone it says that a process has died."""


def squares_on_ray(numbers: Sequence[int]) -> list[int]:
    if DEADLY in numbers:
        raise RayActorError
    return squares(numbers)


@pytest.mark.parametrize("work", [squares, squares_on_ray])
def test_it_works_in_rounds_where_results_come_together(
    work: Callable[[Sequence[int]], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(joblib.parallel.BACKENDS, "rounds", InRounds)
    monkeypatch.setattr(parallel, "ROUND", 1)
    with joblib.parallel_config(backend="rounds", n_jobs=2):
        found = dict(Parallel(NUMBERS, work, crashed, None).run(PARTS))
    flat = [result for part in sorted(found, key=lambda part: part.start) for result in found[part]]
    assert flat == [-number if number == DEADLY else number * number for number in NUMBERS]


def test_other_errors_are_not_taken_for_crashes() -> None:
    with pytest.raises(TypeError):
        dict(Parallel(["one", "two"], squares, crashed, 2).run([range(1), range(1, 2)]))


def test_work_is_done_here_where_no_process_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise parallel.BrokenProcessPool

    monkeypatch.setattr(joblib, "Parallel", none)
    found = dict(Parallel(NUMBERS, identities, crashed, 2).run(PARTS))
    assert found == {part: [os.getpid()] * 3 for part in PARTS}


def sleepers(numbers: Sequence[int]) -> list[int]:
    """The first part is done at once, the others late."""
    time.sleep(60 * (numbers[0] > 0))
    return [os.getpid()]


def ends(process: int) -> bool:
    """Whether a process is gone soon."""
    for _ in range(200):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_an_interrupted_run_leaves_no_process_behind(recwarn: pytest.WarningsRecorder) -> None:
    results = Parallel(NUMBERS, sleepers, crashed, 2).run(PARTS)
    _, (worker,) = next(results)
    results.close()
    assert ends(worker)
    assert not recwarn.list


def test_joblib_says_how_many_processes_unless_workers_do() -> None:
    assert processes(None) == joblib.cpu_count()
    assert processes(3) == 3
    with joblib.parallel_config(n_jobs=5):
        assert processes(None) == 5
    with joblib.parallel_config(backend="threading"):
        here = [os.getpid()] * 3
        assert dict(Parallel(NUMBERS, identities, crashed, None).run(PARTS)) == dict.fromkeys(PARTS, here)


def test_signals_of_a_program_around_python_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in signals]
    known = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None)  # what Python says of handlers that are not its own
    with Interruption(), parallel._deaf_to_interrupts():
        assert [known(number) for number in signals] == before
    assert [known(number) for number in signals] == before
