"""Ctrl-C, SIGTERM and a terminal that is closed as a wish to stop soon: a run can save itself and leave cleanly."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def handled(numbers: Iterable[int], handler: Handler) -> Iterator[None]:
    """Have a handler for these signals, where Python may say so.

    It may in its main thread alone, and leaves signals alone that a program around Python (R, a C program) handles.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: old for number in numbers if (old := signal.getsignal(number)) is not None}
    try:
        for number in before:
            signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def endings() -> list[int]:
    """The signals, beside Ctrl-C, that ask a process to end: SIGTERM, and SIGHUP, unless it is ignored, as by nohup."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


class Interruption(ExitStack):
    """While inside, `asked` becomes True at the first signal; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = False

    def __enter__(self) -> "Interruption":
        self.enter_context(handled((signal.SIGINT, *endings()), self._ask))
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
