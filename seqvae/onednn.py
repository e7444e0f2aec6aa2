"""Products on a CPU by oneDNN: in fp32, and with weights that are laid out once, in the order in which it reads them.

torch's products in fp32 are MKL's, which on processors that are not Intel's take up to two and a half times as long.
Those in bf16 are oneDNN's, but read a weight as it lies, or lay it out at each call: of 64 rows and 2,048 x 8,192
numbers that takes a third to two thirds longer than the product alone, of a single row four to six times as long.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

SMALL = 2**22  # multiplications in fp32: of fewer, calling oneDNN takes longer than a product
MUCH, LARGE = 2**19, 2**22  # in fp32: numbers of a packed weight times rows, and numbers of a weight


@cache
def multiplies(dtype: torch.dtype) -> bool:
    """Whether torch has oneDNN's products in a type, and they can be had here.

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


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x W, by the faster way: (..., K), (K, O) -> (..., O), both of one type; differentiable."""
    if not is_faster(x, weight):
        return x @ weight
    if x.ndim != 2:
        rows = x.reshape(-1, x.shape[-1]).contiguous()
        return product(rows, weight).reshape(*x.shape[:-1], weight.shape[1])
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _Product.apply(x, weight)
    return _dense_product(x, weight)


def is_faster(x: Tensor, weight: Tensor) -> bool:
    """Whether oneDNN is to be called for x W, (..., K), (K, O), and not left to torch: for large products in fp32."""
    large = x.dtype == torch.float32 and x.shape[:-1].numel() * weight.numel() >= SMALL
    # of what lies otherwise some products take a thousand times as long
    dense = (x.ndim != 2 or _is_dense(x)) and _is_dense(weight)
    return large and dense and x.device.type == "cpu" and multiplies(x.dtype)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _dense_product(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), (gradient,) = ctx.saved_tensors, gradients
        d_x = product(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        d_weight = product(gradient.t(), x).t() if ctx.needs_input_grad[1] else None  # as torch's weights lie
        return d_x, d_weight


def _is_dense(matrix: Tensor) -> bool:
    return matrix.is_contiguous() or matrix.t().is_contiguous()


def _dense_product(x: Tensor, weight: Tensor) -> Tensor:
    if len(x) > weight.shape[1] and not x.is_contiguous():  # read across by fewer rows it takes two thirds of the time
        return _product(weight.t(), x).t()
    return _product(x, weight.t())


class PackedWeight:
    """A weight (K, O) for products from the left, without gradients.

    Of a single row, and of a few and a small weight, torch's own product in fp32 is faster, as calling oneDNN takes
    10 us. So small weights in fp32 are packed only when that pays, and kept as they are, too.
    """

    def __init__(self, weight: Tensor) -> None:
        """A weight (K, O), of a type that oneDNN `multiplies`; one that lies in columns is packed the fastest."""
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


def packed(weight: Tensor) -> Tensor | PackedWeight:
    """A weight (K, O) for many products without gradients, packed where that can be had."""
    return PackedWeight(weight) if weight.device.type == "cpu" and multiplies(weight.dtype) else weight


def _pack(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.t().contiguous())


def _product(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T: (N, K), (O, K) -> (N, O), of a weight that may be packed."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
