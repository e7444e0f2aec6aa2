"""Products with an LSTM's states in whole numbers of 8 bits, to encode and decode on a CPU; nothing is trained in them.

States h = o tanh(c) lie within -1 and 1, so that one scale serves all of them, always; of weights W each column j has
its own:

    s_j = max_k |W_kj| / 127,  N = round(W / s),  q = round(127 h),  h W = (q N) s / 127 but for rounding

Sums of such products are exact in 32 bits; what is added to them, gates and cells stay in fp32. States that are not
finite become any numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

LARGEST = 127
WORTH_PACKING, MUCH = 2**21, 2**26  # numbers of a weight, and those times rows
ZERO = 128  # what stands for it in numbers without a sign

_asked_for: ContextVar[bool] = ContextVar("int8", default=False)


@contextmanager
def int8_products(asked_for: bool = True) -> Iterator[None]:
    """Where no gradient is wanted, an encoder and the steps of a decoder multiply what lies within -1 and 1 in int8."""
    before = _asked_for.set(asked_for)
    try:
        yield
    finally:
        _asked_for.reset(before)


def wanted() -> bool:
    """Whether products are taken in int8 here."""
    return _asked_for.get() and not torch.is_grad_enabled()


def is_fast() -> bool:
    """Whether the processor multiplies int8 natively (AVX-512 VNNI).

    Without that torch takes longer for it than for fp32 and, where sums of two products get 16 bits, they saturate.
    torch has both, products and answer, under private names, so they may be gone one day.
    """
    return hasattr(torch, "_int_mm") and getattr(torch.cpu, "_is_vnni_supported", lambda: False)()


def packs() -> bool:
    """Whether torch has oneDNN's products with weights laid out before, under names as private."""
    return hasattr(torch.ops.onednn, "qlinear_pointwise") and hasattr(torch.ops.onednn, "qlinear_prepack")


@dataclass(frozen=True)
class Int8Weight:
    """A weight (K, O) for products with what lies within -1 and 1."""

    numbers: Tensor  # (K, O), int8
    scale: Tensor  # (O): s / 127

    @classmethod
    def of(cls, weight: Tensor) -> "Int8Weight":
        """A weight (K, O), rounded."""
        scale = (weight.abs().amax(0) / LARGEST).clamp_min(torch.finfo(weight.dtype).tiny)
        numbers = (weight / scale).round_().to(torch.int8)
        return cls(numbers.t().contiguous().t(), scale / LARGEST)  # columns in one piece: a row's product is faster

    @property
    def shape(self) -> torch.Size:
        """(K, O)."""
        return self.numbers.shape

    @property
    def dtype(self) -> torch.dtype:
        """Of states and of products."""
        return self.scale.dtype

    def is_best_packed(self, rows: int) -> bool:
        """Whether oneDNN's product of so many rows is the faster one, which spares laying out the weight at each call.

        For few rows a small weight is laid out faster than oneDNN is called, and for a single one `_int_mm` needs no
        layout. For many rows oneDNN spares a pass over the sums.
        """
        size = self.numbers.numel()
        worth_it = rows > 1 and (size >= WORTH_PACKING or rows * size >= MUCH)
        return worth_it and self.dtype == torch.float32 and packs()

    def plus(self, addend: Tensor, x: Tensor) -> Tensor:
        """addend + x W: (B, K) -> (B, O)."""
        numbers = (x * LARGEST).round_().to(torch.int8)
        if self.is_best_packed(len(x)):
            return self._packed_product(numbers).add_(addend)
        return torch.addcmul(addend, torch._int_mm(numbers, self.numbers).to(self.dtype), self.scale)

    def _packed_product(self, numbers: Tensor) -> Tensor:
        above_zero = numbers.view(torch.uint8).bitwise_xor_(ZERO)  # n + 128: what oneDNN multiplies natively
        weight, zeros = self._packed
        return torch.ops.onednn.qlinear_pointwise(
            above_zero, 1.0, ZERO, weight, self.scale, zeros, None, 1.0, 0, self.dtype, "none", [], ""
        )

    @cached_property
    def _packed(self) -> tuple[Tensor, Tensor]:
        """The numbers as oneDNN lays them out, and the zero of each column."""
        zeros = torch.zeros_like(self.scale, dtype=torch.int32)
        return torch.ops.onednn.qlinear_prepack(self.numbers.t(), None), zeros
