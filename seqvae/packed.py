"""Products on a CPU with weights that are laid out once, in the order in which oneDNN reads them.

torch's own products read a weight as it lies, or lay it out at each call: of 64 rows and 2,048 x 8,192 numbers in bf16
that takes a third to two thirds longer than the product alone, of a single row four to six times as long.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

MUCH, LARGE = 2**19, 2**22  # in fp32: numbers of a weight times rows, and numbers of a weight


@cache
def packs(dtype: torch.dtype) -> bool:
    """Whether torch has such products in a type, and they can be had here.

    It has them for its compiler, under private names, so they may be gone one day.
    """
    operators: Any = torch.ops.mkldnn
    if dtype not in (torch.float32, torch.bfloat16) or not hasattr(operators, "_linear_pointwise"):
        return False
    ones = torch.ones(2, 2, dtype=dtype, device="cpu")
    try:
        return torch.equal(_product(ones, _pack(ones)), ones + ones)
    except RuntimeError:  # torch without oneDNN, or a processor that it has none for
        return False


class PackedWeight:
    """A weight (K, O) for products from the left, without gradients.

    Of a single row, and of a few and a small weight, torch's own product in fp32 is faster, as calling oneDNN takes
    10 us. So small weights in fp32 are packed only when that pays, and kept as they are, too.
    """

    def __init__(self, weight: Tensor) -> None:
        """A weight (K, O), of a type for which `packs`; one that lies in columns is packed the fastest."""
        small = weight.dtype == torch.float32 and weight.numel() < LARGE
        self.shape, self.dtype = weight.shape, weight.dtype  # of x and of products
        self.plain = weight if small else None
        self._packed = None if small else _pack(weight)

    def is_best_packed(self, rows: int) -> bool:
        """Whether oneDNN's product of so many rows is the faster one."""
        return self.plain is None or (rows > 1 and rows * self.plain.numel() >= MUCH)

    def times(self, x: Tensor) -> Tensor:
        """x W: (B, K) -> (B, O)."""
        if self.plain is None or self.is_best_packed(len(x)):
            return _product(x, self.packed)
        return x @ self.plain

    @property
    def packed(self) -> Tensor:
        """As oneDNN reads it."""
        if self._packed is None:
            assert self.plain is not None
            self._packed = _pack(self.plain)
        return self._packed


def _pack(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.t().contiguous())


def _product(x: Tensor, packed: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")
