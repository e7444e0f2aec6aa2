"""The last layer and its cross entropy in one, for vocabularies so large that they are most of the work.

    nll_n = log sum_v exp(a_nv) - a_n,target      a = h W^T + b

The usual way keeps logits, log-probabilities and two gradients of N x V numbers in fp32. Here one array of N x V is
all there is: in bf16 under autocast, overwritten in turn by logits, exponentials and what the gradient is made of,
with the sums in fp32. The target's own logit is the array's, rounded as the others are: beside an exact one the
probabilities of a token would not add up to 1, and where the model is sure of it the two roundings would not cancel.
The columns of the array are a multiple of ALIGNED, of which those beyond V mean nothing: with 10,002 of them a
processor's fastest product takes up to three times as long as with 10,016.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqvae.onednn import product
from seqvae.stepping import product_dtype

CELLS_IN_CACHE, CELLS = 2**23, 2**27  # logits at a time where no gradient is wanted, on a CPU and on a GPU
SUMMED_LOW = 256  # terms added before the sum, accurate in itself, is kept in the array's own precision
ALIGNED = 16  # columns of a tile of bf16 or fp32 products
COLUMNS = 64 * ALIGNED  # of an array in bf16 at a time: for the product of all, transposed, CPUs take an eighth longer
LEAST, MOST = 1e-20, 1e20  # sums of exponentials that need no shift


def token_nll(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """-log softmax(hidden W^T + b)[target] in nats.

    Args:
        hidden: (N, H).
        weight: (V, H); bias: (V) or None.
        targets: (N) int64.

    Returns:
        (N), fp32 or better; differentiable with respect to hidden, weight and bias, once.
    """
    dtype = product_dtype(weight)
    if torch.is_grad_enabled():
        return _TokenNLL.apply(hidden, weight, bias, targets, dtype)
    rows = max(1, (CELLS_IN_CACHE if hidden.device.type == "cpu" else CELLS) // len(weight))
    low_weight = _aligned(weight, dtype)
    parts = zip(hidden.split(rows), targets.split(rows), strict=True)
    return torch.cat([_nll(part, low_weight, bias, target, len(weight))[0] for part, target in parts])


def _nll(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, V: int) -> tuple[Tensor, Tensor, Tensor]:
    """nll (N), exponentials in the type and of the length of `weight`, of which V count, and their sums (N)."""
    exact = torch.promote_types(weight.dtype, torch.float32)
    array = _logits(hidden, weight, bias)
    target = array[:, :V].gather(1, targets.unsqueeze(1)).squeeze(1).to(exact)
    if array.device.type == "cpu":  # for what a GPU finds in them everybody would have to wait
        sums = _summed(array.exp_()[:, :V], exact)
        if bool(((sums > LEAST) & (sums < MOST)).all()):
            return sums.log() - target, array, sums
        array = _logits(hidden, weight, bias)
    largest = array[:, :V].amax(-1, keepdim=True)
    sums = _summed(array.sub_(largest).exp_()[:, :V], exact)
    return sums.log() + (largest.squeeze(-1).to(exact) - target), array, sums


def _aligned(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A weight (V, H) in a type, with rows of zeros up to a multiple of ALIGNED."""
    beyond = -len(weight) % ALIGNED
    low = weight.new_empty(len(weight) + beyond, weight.shape[1], dtype=dtype)
    low[: len(weight)].copy_(weight)
    low[len(weight) :].zero_()
    return low


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """In the type and of the length of `weight`; what lies beyond V is finite, if the rest is."""
    logits = product(hidden.to(weight.dtype), weight.t())
    if bias is not None:
        logits[:, : len(bias)] += bias.to(weight.dtype)
    return logits


def _summed(array: Tensor, exact: torch.dtype) -> Tensor:
    """Of each row: (N, V) -> (N)."""
    whole = array.shape[-1] // SUMMED_LOW * SUMMED_LOW
    parts, rest = array[:, :whole].unflatten(-1, (whole // SUMMED_LOW, SUMMED_LOW)), array[:, whole:]
    return parts.sum(-1).sum(-1, dtype=exact) + rest.sum(-1, dtype=exact)


def _transposed_product(array: Tensor, x: Tensor, rows: int, dtype: torch.dtype) -> Tensor:
    """The first rows of array^T x, in a type: (N, V), (N, H) -> (rows, H)."""
    if array.device.type != "cpu" or array.dtype != torch.bfloat16:
        return product(array.t(), x)[:rows].to(dtype)
    found = x.new_empty(rows, x.shape[1], dtype=dtype)
    for part, columns in zip(found.split(COLUMNS), array.split(COLUMNS, dim=1), strict=True):
        part.copy_((columns.t() @ x)[: len(part)])
    return found


class _TokenNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, dtype: Any) -> Tensor:
        low_weight = _aligned(weight, dtype)
        nll, array, sums = _nll(hidden, low_weight, bias, targets, len(weight))
        array[:, len(weight) :].zero_()  # no part of the gradient
        ctx.save_for_backward(array, sums, hidden.to(dtype), low_weight, targets)
        ctx.about = hidden.dtype, weight.dtype, len(weight)
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        array, sums, hidden, weight, targets = ctx.saved_tensors
        (gradient,) = gradients  # (N)
        of_hidden, of_weight, V = ctx.about
        # d logits = gradient / sums * (exponentials - sums at the target): of N x V numbers only the latter are touched
        array[torch.arange(len(targets), device=targets.device), targets] -= sums.to(array.dtype)  # it serves once
        scale = (gradient / sums).unsqueeze(-1)
        d_hidden = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            d_hidden = (product(array, weight).to(scale.dtype) * scale).to(of_hidden)
        if ctx.needs_input_grad[1]:  # not where the encoder is trained alone
            d_weight = _transposed_product(array, (hidden * scale).to(array.dtype), V, of_weight)
        if ctx.needs_input_grad[2]:
            d_bias = (scale.t().to(array.dtype) @ array).squeeze(0)[:V].to(of_weight)
        return d_hidden, d_weight, d_bias, None, None
