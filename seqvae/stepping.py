"""An LSTM one step at a time, with all that stays the same from step to step computed once.

    i, f, o = sigmoid(gates), g = tanh(gates), gates = W_ih x + W_hh h + b
    c' = f c + i g,  h' = o tanh(c')

tanh(x) = 1 - 2 sigmoid(-2x): with the rows of g times -2 in the weights one sigmoid serves all four gates, and on a CPU
torch's tanh takes five times as long. Products are in bf16 under autocast, or in `int8`; gates, cells and sums stay in
fp32.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqvae import int8
from seqvae.int8 import Int8Weight
from seqvae.onednn import PackedWeight, is_faster, packed, product

Weight = Tensor | PackedWeight | Int8Weight  # (K, O), for products from the left


@dataclass(frozen=True)
class Layer:
    """The weights of a layer, laid out for products from the left, the columns of g times -2."""

    weight: Weight  # (K, 4H), of its own last state; above the first also of what is below
    bias: Tensor  # (4H)


def product_dtype(weight: Tensor) -> torch.dtype:
    """The type in which products with a weight are taken: its own, or autocast's."""
    device = weight.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype


def laid_out(weight: Tensor, of_states: bool = True) -> Weight:
    """A weight (K, O) as products of states with it are taken here, or of what may lie beyond -1 and 1."""
    if of_states and int8.wanted():
        return Int8Weight.of(weight)
    low = weight.to(product_dtype(weight))
    laid = low if torch.is_grad_enabled() else packed(low)
    return laid.contiguous() if isinstance(laid, Tensor) else laid


def scaled_weights(
    lstm: nn.LSTM, number: int, of_inputs: torch.dtype | None = None, of_states: torch.dtype | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Of a layer (and direction, if there are two): weights of its input (I, 4H) and state (H, 4H), and bias (4H).

    For products from the left, the columns of g times -2; differentiable. The weights lie in memory as torch has them,
    which is transposed, as laying out a large one takes as long as some products with it. They are of the types
    `of_inputs` and `of_states`, or else of their own.
    """
    below, before, bias, more_bias = lstm.all_weights[number]
    scale = torch.ones_like(bias)
    scale[2 * lstm.hidden_size : 3 * lstm.hidden_size] = -2.0
    inputs, states = below.to(of_inputs or below.dtype), before.to(of_states or before.dtype)  # -2 is exact in any
    inputs, states = (weight * scale.to(weight.dtype).unsqueeze(1) for weight in (inputs, states))
    return inputs.t(), states.t(), (bias + more_bias) * scale


def prepared(lstm: nn.LSTM) -> tuple[Tensor, list[Layer]]:
    """The weights (I, 4H) of what comes into a unidirectional LSTM, and its layers; differentiable."""
    inputs, first, bias = scaled_weights(lstm, 0)
    layers = [Layer(laid_out(first), bias)]
    for number in range(1, lstm.num_layers):
        below, before, bias = scaled_weights(lstm, number)
        layers.append(Layer(laid_out(torch.cat([below.t(), before.t()], dim=1).t()), bias))
    return inputs, layers


def plus_product(addend: Tensor, x: Tensor, weight: Weight) -> Tensor:
    """addend + x W, of the addend's type, with the product in that of products: (..., I), (I, O) -> (..., O)."""
    if isinstance(weight, Int8Weight):
        return weight.plus(addend, x)
    if isinstance(weight, PackedWeight):
        return weight.times(x.to(weight.dtype)).to(addend.dtype).add_(addend)
    dtype = product_dtype(weight)
    if x.dtype == weight.dtype == addend.dtype == dtype and not is_faster(x, weight):  # in one go where torch can do so
        if addend.ndim == 1:
            return F.linear(x, weight.t(), addend)
        if addend.ndim == x.ndim == 2:
            return torch.addmm(addend, x, weight)
    return product(x.to(dtype), weight.to(dtype)).to(addend.dtype).add_(addend)


def pointwise(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Gates (B, 4H), times -2 for g and overwritten, and cells (B, H) -> the next hidden states and cells."""
    i, f, g, o = gates.sigmoid_().chunk(4, dim=-1)
    cell = torch.addcmul(i, f, cell).addcmul_(i, g, value=-2.0)
    return torch.addcmul(o, o, (-2.0 * cell).sigmoid_(), value=-2.0), cell
