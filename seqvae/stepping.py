"""An LSTM one step at a time, with all that stays the same from step to step computed once.

    i, f, o = sigmoid(gates), g = tanh(gates), gates = W_ih x + W_hh h + b
    c' = f c + i g,  h' = o tanh(c')

tanh(x) = 2 sigmoid(2x) - 1: with the rows of g doubled in the weights one sigmoid serves all four gates, and on a CPU
torch's tanh takes five times as long. Products are in bf16 under autocast; gates, cells and sums stay in fp32.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layer:
    """The weights of a layer, laid out for products from the left, the columns of g doubled."""

    below: Tensor  # (I, 4H), of what comes from below
    before: Tensor  # (H, 4H), of the layer's own last state
    both: Tensor | None  # (I + H, 4H), where both are of the type of products and meet in one; not in the first layer
    bias: Tensor  # (4H)


def product_dtype(weight: Tensor) -> torch.dtype:
    """The type in which products with a weight are taken: its own, or autocast's."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def prepared(lstm: nn.LSTM) -> list[Layer]:
    """The layers of a unidirectional LSTM; differentiable."""
    return [_layer(number, *weights) for number, weights in enumerate(lstm.all_weights)]


def _layer(number: int, below: Tensor, before: Tensor, bias: Tensor, more_bias: Tensor) -> Layer:
    low = product_dtype(before)
    H = before.shape[1]
    doubled = torch.ones(4 * H, dtype=before.dtype, device=before.device)
    doubled[2 * H : 3 * H] = 2.0
    below, before, bias = (
        (below.t() * doubled).contiguous(),
        (before.t() * doubled).to(low),
        (bias + more_bias) * doubled,
    )
    both = torch.cat([below.to(low), before]) if number else None
    return Layer(below, before.contiguous(), both, bias)


def plus_product(addend: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """addend + x W, of the addend's type, with the product in that of the weight: (B, I), (I, O) -> (B, O)."""
    if x.dtype == weight.dtype == addend.dtype and addend.ndim:
        return torch.addmm(addend, x, weight)
    return (x.to(weight.dtype) @ weight).to(addend.dtype).add_(addend)


def pointwise(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Gates (B, 4H), doubled for g and overwritten, and cells (B, H) -> the next hidden states and cells."""
    i, f, g, o = gates.sigmoid_().chunk(4, dim=-1)
    cell = (f * cell).sub_(i).addcmul_(i, g, value=2.0)
    return torch.addcmul(o.neg(), o, (2.0 * cell).sigmoid_(), value=2.0), cell
