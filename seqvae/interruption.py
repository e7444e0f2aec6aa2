"""Ctrl-C, SIGTERM and a terminal that is closed as a wish to stop soon: a run can save itself and leave cleanly."""

import signal
import threading
from types import FrameType, TracebackType


def endings() -> list[int]:
    """The signals, beside Ctrl-C, that ask a process to end: SIGTERM, and SIGHUP, unless it is ignored, as by nohup."""
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has one
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


class Interruption:
    """While inside, `asked` becomes True at the first signal; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for number in (signal.SIGINT, *endings()):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
