"""What is made of a module's weights, and is made anew only when they change.

torch counts the changes of a tensor, but not all: a fused optimizer of torch's own leaves none behind, nor does a write
through `.data` or numpy. So a module that changes between training and use forgets what was kept.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from torch import nn

T = TypeVar("T")


class Kept(Generic[T]):
    """The last thing that was made. A copy, of other weights, begins with nothing."""

    def __init__(self) -> None:
        self._held: tuple[tuple[object, ...], T] | None = None

    def __getstate__(self) -> dict[str, object]:
        return {"_held": None}

    def forget(self) -> None:
        """Make it anew the next time."""
        self._held = None

    def get(self, module: nn.Module, make: Callable[[], T], *asked_for: object) -> T:
        """What `make` gives, or gave when the parameters and what is asked for were the same."""
        versions = ((each.data_ptr(), None if each.is_inference() else each._version) for each in module.parameters())
        key, held = (*asked_for, *versions), self._held
        if held is None or held[0] != key:
            held = self._held = key, make()
        return held[1]
