"""Work spread over processes by joblib, which survives an item that brings its process down.

The processes are those of this machine, unless `joblib.parallel_config` says otherwise: it hands the work to a Dask or
Ray cluster. Items go in parts that follow each other, each part to one process. When a process dies (a parser in C++
can bring it down), the parts that were under way are lost. They are done again by halves, and of a part that brings
its process down when it is alone again the halves, until the item to blame stands alone.

A Dask cluster starts workers anew itself; when it gives one part up, after four deaths, joblib does not learn of it
(1.6) and waits: such work is to be interrupted and gone on with on one machine.
"""

import faulthandler
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Results = TypeVar("Results", bound=Generator[Any])

LOOK_EVERY = 1.0  # seconds between two looks of a process at the one that has started it
ROUND = 4  # parts for each process, where rounds are waited for


def processes(workers: int | None) -> int:
    """How many processes there will be: `workers` of this machine or one for each of its cores, or a cluster's own."""
    import joblib

    return joblib.effective_n_jobs(_jobs(workers))


def _jobs(workers: int | None) -> int:
    from joblib.parallel import get_active_backend

    return workers or get_active_backend()[1] or -1


@dataclass(frozen=True)
class Parallel(Generic[Item, Result]):
    """One function for parts of many items.

    Args:
        items: all there are.
        work: what is done with a part of them; it and all it takes and gives must pickle.
        crashed: what stands for the result of an item that brings its process down.
        workers: see `processes`.
    """

    items: Sequence[Item]
    work: Callable[[Sequence[Item]], Result]
    crashed: Callable[[Item], Result]
    workers: int | None

    def run(self, parts: Sequence[range]) -> Iterator[tuple[range, Result]]:
        """What each part of the items gives, as it gets done; of a part with an item that crashes, smaller parts."""
        while parts:
            sent: list[range] = []
            done: set[range] = set()
            try:
                with _closed(self._results(parts, sent)) as results:
                    for part, result in results:
                        done.add(part)
                        yield part, result
                return
            except Exception as error:
                if not _lost_its_process(error):
                    raise
                lost = [part for part in sent if part not in done]
                parts = parts[len(sent) :]
            if not done and not self._works():
                yield from ((part, self.work(self._of(part))) for part in [*lost, *parts])
                return
            yield from self._again(lost)

    def _again(self, lost: Sequence[range]) -> Iterator[tuple[range, Result]]:
        """Parts of which one brings its process down."""
        if len(lost) == 1 and len(lost[0]) == 1:
            yield lost[0], self.crashed(self.items[lost[0].start])
            return
        smaller = lost if len(lost) != 1 else [lost[0][: len(lost[0]) // 2], lost[0][len(lost[0]) // 2 :]]
        yield from self.run(smaller[: len(smaller) // 2])
        yield from self.run(smaller[len(smaller) // 2 :])

    def _results(self, parts: Sequence[range], sent: list[range]) -> Generator[tuple[range, Result]]:
        """The results as they come; `sent` takes the parts that have been given out."""
        from joblib.parallel import get_active_backend

        if not get_active_backend()[0].supports_return_generator:
            return self._in_rounds(parts, sent)
        with _deaf_to_interrupts():
            return _pool(self.workers, return_as="generator_unordered", batch_size=1)(self._tasks(parts, sent))

    def _in_rounds(self, parts: Sequence[range], sent: list[range]) -> Generator[tuple[range, Result]]:
        """The same from those who give results all together (Ray), so that what is done is known from time to time."""
        pool = _pool(self.workers, batch_size=1)
        for first in range(0, len(parts), size := ROUND * processes(self.workers)):
            yield from pool(self._tasks(parts[first : first + size], sent))

    def _tasks(self, parts: Sequence[range], sent: list[range]) -> Iterator[tuple[Callable, tuple, dict]]:
        import joblib

        for part in parts:
            sent.append(part)
            yield joblib.delayed(_work)(self.work, part, self._of(part))

    def _works(self) -> bool:
        """Whether processes can be had at all."""
        import joblib

        try:
            _pool(self.workers)(joblib.delayed(int)() for _ in range(2))
        except Exception as error:
            if not _lost_its_process(error):
                raise
            return False
        return True

    def _of(self, part: range) -> Sequence[Item]:
        return self.items[part.start : part.stop]


def _pool(workers: int | None, **how: Any) -> Any:
    """Processes; joblib's own end with this one, those of a cluster have others that look after them."""
    import joblib
    from joblib.parallel import get_active_backend

    if type(get_active_backend()[0]).__name__ == "LokyBackend":
        how["initializer"] = _end_with_starter
    return joblib.Parallel(_jobs(workers), **how)


def _lost_its_process(error: Exception) -> bool:
    """Whether an error says that a process has died: one of joblib's own, or Ray's."""
    return any(kind is BrokenProcessPool or kind.__name__ == "RayActorError" for kind in type(error).__mro__)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that start meanwhile never hear Ctrl-C: it is for this one, which then ends them."""
    ours = signal.getsignal(signal.SIGINT) is not None  # not that of a program around Python, which stays
    if not ours or threading.current_thread() is not threading.main_thread():  # Python handles signals in that one
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _closed(results: Results) -> Iterator[Results]:
    """Have results closed at the end, without joblib's warning of those that were not used: they are made again."""
    try:
        yield results
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            results.close()


def _work(work: Callable[[Sequence[Item]], Result], part: range, items: Sequence[Item]) -> tuple[range, Result]:
    if multiprocessing.parent_process():
        faulthandler.disable()  # whoever started the process tells in one line what made it crash
    return part, work(items)


def _end_with_starter() -> None:
    """End this process, once the one that has started it was killed, if it was not already: it would wait for ever."""
    starter = multiprocessing.parent_process()
    assert starter is not None
    known = starter.pid

    def watch() -> None:
        while os.getppid() == known:
            time.sleep(LOOK_EVERY)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
