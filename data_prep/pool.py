"""A parallel map that keeps the order, bounds the memory and survives its workers.

Items go in chunks to worker processes, a few chunks for each worker at a time, so that memory does not grow with
their number. When a process dies (a parser in C++ can bring it down), everything under way is lost: the items of the
chunk whose turn it is are then done one at a time, so that the one to blame is known, and the rest is sent again.
"""

import math
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_CHUNKS_UNDER_WAY = 4  # for each worker


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Pool(Generic[Item, Result]):
    """Worker processes for one function; a context manager.

    Args:
        work: what is done with an item; it and all it takes and gives must pickle.
        crashed: what stands for the result of an item that brought its process down.
        workers: how many processes.
    """

    def __init__(self, work: Callable[[Item], Result], crashed: Callable[[Item], Result], workers: int) -> None:
        self._work, self._crashed, self._workers = work, crashed, workers
        self._others = set(multiprocessing.active_children())
        self._executor = self._new()

    def __enter__(self) -> "Pool[Item, Result]":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is not None:
            self._kill()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def works(self) -> bool:
        """Whether processes can start at all; they cannot under a script that has no main guard."""
        try:
            return self._executor.submit(math.sqrt, 1.0).result() == 1.0
        except (BrokenProcessPool, OSError):
            return False

    def map(self, chunks: Iterable[list[Item]]) -> Iterator[Result]:
        """The results of all items, in their order."""
        waiting: deque[tuple[list[Item], Future[list[Result]]]] = deque()
        for chunk in chunks:
            waiting.append((chunk, self._submit(chunk)))
            if len(waiting) > _CHUNKS_UNDER_WAY * self._workers:
                yield from self._finish(waiting)
        while waiting:
            yield from self._finish(waiting)

    def _submit(self, chunk: list[Item]) -> "Future[list[Result]]":
        try:
            return self._executor.submit(_do_all, self._work, chunk)
        except BrokenProcessPool as error:
            lost: Future[list[Result]] = Future()
            lost.set_exception(error)
            return lost

    def _finish(self, waiting: "deque[tuple[list[Item], Future[list[Result]]]]") -> list[Result]:
        """The results of the first chunk that waits."""
        chunk, future = waiting.popleft()
        try:
            return future.result()
        except BrokenProcessPool:
            self._renew()
            results = [self._alone(item) for item in chunk]
            for i, (other, pending) in enumerate(waiting):
                if pending.exception():  # the broken pool has settled all that were under way
                    waiting[i] = (other, self._submit(other))
            return results

    def _alone(self, item: Item) -> Result:
        """One item, with no other under way that could be to blame."""
        try:
            return self._executor.submit(self._work, item).result()
        except BrokenProcessPool:
            self._renew()
            return self._crashed(item)

    def _kill(self) -> None:
        """End all workers. Without it an executor that is broken, or interrupted while it starts a process, may wait
        for ever for one that it has lost sight of."""
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()

    def _renew(self) -> None:
        self._kill()
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._executor = self._new()

    def _new(self) -> ProcessPoolExecutor:
        # never a plain fork: the threads of torch or of a notebook do not survive it
        context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
        return ProcessPoolExecutor(self._workers, context, _ignore_interrupts)


def _do_all(work: Callable[[Item], Result], chunk: list[Item]) -> list[Result]:
    return [work(item) for item in chunk]


def _ignore_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then stops its workers
