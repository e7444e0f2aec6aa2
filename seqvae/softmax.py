"""The last layer and its cross entropy in one, for vocabularies so large that they are most of the work.

    nll_n = log sum_v exp(a_nv) - a_n,target      a = h W^T + b

The usual way keeps logits, log-probabilities and two gradients of N x V numbers in fp32. Here one array of N x V is
all there is: in bf16 under autocast, overwritten in turn by logits, exponentials and the gradient, with the sums in
fp32. The target's own logit is computed in fp32, so that the loss does not suffer from the rounding of the array.
"""

from typing import Any

import torch
from torch import Tensor

SUMMED_LOW = 1024  # terms added before the sum, accurate in itself, is kept in the array's own precision


def token_nll(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """-log softmax(hidden W^T + b)[target] in nats.

    Args:
        hidden: (N, H).
        weight: (V, H); bias: (V) or None.
        targets: (N) int64.

    Returns:
        (N), fp32 or better; differentiable with respect to hidden, weight and bias, once.
    """
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        return _TokenNLL.apply(hidden, weight, bias, targets, torch.get_autocast_dtype(device))
    return _TokenNLL.apply(hidden, weight, bias, targets, weight.dtype)


class _TokenNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, dtype: Any) -> Tensor:
        low_hidden, low_weight = hidden.to(dtype), weight.to(dtype)
        exact = torch.float64 if weight.dtype == torch.float64 else torch.float32
        array = low_hidden @ low_weight.t()  # (N, V)
        if bias is not None:
            array += bias.to(dtype)
        largest = array.amax(-1, keepdim=True)
        array.sub_(largest).exp_()
        sums = torch.stack([part.sum(-1).to(exact) for part in array.split(SUMMED_LOW, dim=-1)]).sum(0)
        target = (hidden.to(exact) * weight[targets].to(exact)).sum(-1)
        if bias is not None:
            target += bias[targets].to(exact)
        ctx.save_for_backward(array, sums, low_hidden, low_weight, targets)
        ctx.dtypes = hidden.dtype, weight.dtype, bias is not None
        return sums.log() + largest.squeeze(-1).to(exact) - target

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        array, sums, hidden, weight, targets = ctx.saved_tensors
        (gradient,) = gradients  # (N)
        of_hidden, of_weight, has_bias = ctx.dtypes
        scale = (gradient / sums).to(array.dtype)
        array.mul_(scale.unsqueeze(-1))  # probabilities, times the gradient; the array serves once
        rows = torch.arange(len(targets), device=targets.device)
        array[rows, targets] -= gradient.to(array.dtype)
        d_bias = array.sum(0, dtype=of_weight) if has_bias else None
        return (array @ weight).to(of_hidden), (array.t() @ hidden).to(of_weight), d_bias, None, None
