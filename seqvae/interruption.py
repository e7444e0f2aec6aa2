"""Ctrl-C, SIGTERM and a terminal that is closed as a wish to stop soon: a run can save itself and leave cleanly."""

import signal
from contextlib import ExitStack
from types import FrameType

from data_prep.signals import endings, handled


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
