"""What is made of a module's weights, and is made anew only when they change.

torch counts the changes of a tensor, but not all: a fused optimizer of torch's own leaves none behind, nor does a write
through `.data` or numpy. So what is kept is forgotten when its module changes between training and use, which a part of
the module is told.
"""

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar

from torch import nn

T = TypeVar("T")


class Kept(nn.Module, Generic[T]):
    """The last thing that was made, a part of the module it is made of. A copy, of other weights, begins with none."""

    def __init__(self) -> None:
        super().__init__()
        self._held: tuple[tuple[object, ...], T] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_held": None}

    def train(self, mode: bool = True) -> Self:
        """As any module; what is kept is made anew the next time."""
        self._held = None
        return super().train(mode)

    def get(self, module: nn.Module, make: Callable[[], T], *asked_for: object) -> T:
        """What `make` gives, or gave when the parameters and what is asked for were the same."""
        versions = ((each.data_ptr(), None if each.is_inference() else each._version) for each in module.parameters())
        key, held = (*asked_for, *versions), self._held
        if held is None or held[0] != key:
            held = self._held = key, make()
        return held[1]
