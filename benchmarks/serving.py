"""A work that is timed in a process of its own, whenever another process asks for it.

    parent: an empty line      child: {"seconds": 1.25, "peak": 512000000}      ... until the parent closes the pipe

Two children that wait for their turn can be timed A B A B, each with libraries, threads and memory of its own; one that
waits takes no processor time. Standard library only: the peer's interpreter reads this file, too.
"""

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BYTES = 1 if sys.platform == "darwin" else 1024  # in a unit of ru_maxrss
UNCOUNTED = 2  # times that a work is done before: libraries choose their ways, memory grows to what is needed
SHORTEST = 0.1  # seconds: a work that takes less is done as often as fills them, and the mean is told
LAST_WORDS = 2000  # characters of what a child that failed has said


@dataclass(frozen=True)
class Timed:
    """What doing a work took."""

    seconds: float  # of one time
    peak: int | None = None  # bytes, the most memory that its process has had so far


def serve(work: Callable[[], object]) -> None:
    """The child: do the work a few times, uncounted, then for each line that comes in."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what the work prints is no answer
    times = math.ceil(SHORTEST / min(_seconds(work, 1) for _ in range(UNCOUNTED)))
    for _ in sys.stdin:
        seconds = _seconds(work, times) / times
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES
        print(json.dumps({"seconds": seconds, "peak": peak}), file=answers, flush=True)


def _seconds(work: Callable[[], object], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    return time.perf_counter() - start


class Served:
    """The parent's end of a child, which runs as long as the `with` block."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        """`log` is the file for what the child says on stderr."""
        self.command, self.log = command, log
        with log.open("w") as said:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True
            )

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()

    def ask(self) -> Timed:
        """Have the work done. Raises RuntimeError with the child's last words if it has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            print(file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise RuntimeError(f"{' '.join(self.command)} has failed:\n{self.log.read_text()[-LAST_WORDS:]}")
        return Timed(**json.loads(answer))


class Command:
    """A whole command, timed from outside, in the place of a child."""

    def __init__(self, command: Sequence[str], log: Path, allowed: Sequence[int] = (0,)) -> None:
        """`allowed` are the exit codes of a success."""
        self.command, self.log, self.allowed = command, log, allowed

    def __enter__(self) -> "Command":
        self.ask()  # uncounted
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def ask(self) -> Timed:
        """Run it once. Raises RuntimeError with its last words if it fails."""
        with self.log.open("w") as said:
            start = time.perf_counter()
            status = subprocess.run(self.command, cwd=ROOT, stdout=said, stderr=said).returncode
            seconds = time.perf_counter() - start
        if status not in self.allowed:
            raise RuntimeError(f"{' '.join(self.command)} has failed:\n{self.log.read_text()[-LAST_WORDS:]}")
        return Timed(seconds)
