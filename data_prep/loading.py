"""Many files to windows, over processes, and none of them able to stop the rest.

Files go in chunks to worker processes; what they give comes back in the order of the files. A file that cannot serve
is told with its reason. A file that brings its whole process down (parsers in C++ can) is found by reading the files
of the chunks that were lost one at a time, and is told as well.
"""

import math
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import numpy as np

from data_prep import reading, windows
from data_prep.errors import InputError
from data_prep.files import MIDI_SUFFIXES, Source
from data_prep.windows import MelodyOptions

_MIDI_SECONDS = 3e-4  # a file; measured on one core
_NOTATION_SECONDS = 4e-6  # a byte
_WORTH_PROCESSES = 1.0  # seconds; starting them takes half of it
_CHUNK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Tune:
    """The windows of one piece: `ids` (n, T), `bars` (n,), and a name that tells it from all others."""

    name: str
    ids: np.ndarray
    bars: np.ndarray


@dataclass(frozen=True, slots=True)
class Loaded:
    """What one file gave: tunes, and (name, reason) for all in it that cannot serve."""

    tunes: list[Tune]
    skipped: list[tuple[str, str]]


def load(source: Source, options: MelodyOptions) -> Loaded:
    """Read one file and cut its pieces into windows; nothing a file can hold raises an error."""
    tunes: list[Tune] = []
    try:
        pieces, failed = reading.read_all(source.path)
    except Exception as error:
        return Loaded(tunes, [(source.name, _reason(error, source))])
    skipped = [(f"{source.name}: {title}", reason) for title, reason in failed]
    many = source.path.suffix.lower() == ".abc"
    for number, piece in enumerate(pieces, 1):
        name = f"{source.name}#{number}" if many else source.name
        try:
            found = windows.windows(piece, options)
        except Exception as error:
            skipped.append((name, _reason(error, source)))
        else:
            tunes.append(Tune(name, np.stack([w.ids for w in found]), np.array([w.bar for w in found], np.int32)))
    return Loaded(tunes, skipped)


def _reason(error: Exception, source: Source) -> str:
    """Why, without the name of the file: equal reasons are counted together."""
    if isinstance(error, MemoryError):
        return "it needs more memory than there is"
    if not isinstance(error, InputError):
        return f"it cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:100]})"
    return str(error).removeprefix(f"{source.path}: ").replace(str(source.path), "it")


def load_all(sources: Sequence[Source], options: MelodyOptions, workers: int | None = None) -> Iterator[Loaded]:
    """Load many files, in their order; `workers` processes, as many as there are cores by default.

    With one worker, or with so few files that processes would not pay, all happens in this process.
    """
    workers = workers or os.cpu_count() or 1
    seconds = [_seconds(source) for source in sources]
    if workers == 1 or sum(seconds) < _WORTH_PROCESSES or not (pool := _Pool.start(workers, options)):
        yield from (load(source, options) for source in sources)
        return
    try:
        yield from pool.run(_chunks(sources, seconds))
    finally:
        pool.stop()


def _seconds(source: Source) -> float:
    if source.path.suffix.lower() in MIDI_SUFFIXES:
        return _MIDI_SECONDS
    try:
        return _NOTATION_SECONDS * source.path.stat().st_size
    except OSError:
        return 0.0


def _chunks(sources: Sequence[Source], seconds: Sequence[float]) -> Iterator[list[Source]]:
    """Files in their order, about as much work in each chunk."""
    chunk: list[Source] = []
    work = 0.0
    for source, cost in zip(sources, seconds, strict=True):
        chunk.append(source)
        work += cost
        if work >= _CHUNK_SECONDS:
            yield chunk
            chunk, work = [], 0.0
    if chunk:
        yield chunk


def _load_chunk(chunk: list[Source], options: MelodyOptions) -> list[Loaded]:
    return [load(source, options) for source in chunk]


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops its workers


class _Pool:
    """Worker processes that are replaced when one dies."""

    def __init__(self, workers: int, options: MelodyOptions) -> None:
        self.workers, self.options = workers, options
        self.executor = self._new(workers)

    @staticmethod
    def _new(workers: int) -> ProcessPoolExecutor:
        # never a plain fork: the threads of torch or a notebook do not survive it
        context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        return ProcessPoolExecutor(workers, context, _ignore_interrupts)

    @classmethod
    def start(cls, workers: int, options: MelodyOptions) -> "_Pool | None":
        """A pool that works; None where processes cannot start, as under a script without a main guard."""
        pool = cls(workers, options)
        try:
            pool.executor.submit(math.sqrt, 1.0).result()
        except (BrokenProcessPool, OSError):
            pool.stop()
            return None
        return pool

    def run(self, chunks: Iterator[list[Source]]) -> Iterator[Loaded]:
        """Results in order, with a few chunks under way for each worker: memory does not grow with their number."""
        waiting: deque[_Job] = deque()
        for chunk in chunks:
            waiting.append(self._submit(chunk))
            if len(waiting) > 4 * self.workers:
                yield from self._finish(waiting)
        while waiting:
            yield from self._finish(waiting)

    def _submit(self, chunk: list[Source]) -> "_Job":
        try:
            return chunk, self.executor.submit(_load_chunk, chunk, self.options)
        except BrokenProcessPool as error:
            lost: Future[list[Loaded]] = Future()
            lost.set_exception(error)
            return chunk, lost

    def _finish(self, waiting: "deque[_Job]") -> list[Loaded]:
        """The result of the first chunk that waits."""
        chunk, future = waiting.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            self._renew()
            results = [self._alone(source) for source in chunk]
            for i, (other, pending) in enumerate(waiting):
                if pending.exception():  # a broken pool has settled all that were under way
                    waiting[i] = self._submit(other)
            return results

    def _alone(self, source: Source) -> Loaded:
        """One file, with no other under way that could be to blame."""
        try:
            return self.executor.submit(load, source, self.options).result()
        except BrokenProcessPool:
            self._renew()
            return Loaded([], [(source.name, "it makes the reader crash")])

    def _renew(self) -> None:
        self.stop()
        self.executor = self._new(self.workers)

    def stop(self) -> None:
        """End the workers; chunks not begun are dropped."""
        self.executor.shutdown(wait=True, cancel_futures=True)


_Job = tuple[list[Source], "Future[list[Loaded]]"]
