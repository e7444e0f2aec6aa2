"""An LSTM over whole sequences in `int8`, step by step, without gradients: an encoder reads so."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from seqvae import few
from seqvae.int8 import Int8Weight
from seqvae.recurrence import layered
from seqvae.stepping import plus_product, pointwise, scaled_weights
from seqvae.unrolled import Read

ROWS = 4096  # whose inputs are laid out at a time: those of all steps of many sequences would not stay in a cache


@dataclass(frozen=True)
class Weights:
    """Of a layer and direction, the columns of g times -2."""

    inputs: Tensor | Int8Weight  # (I, 4H), exact where the sequences come in, above that of states
    states: Int8Weight  # (H, 4H)
    bias: Tensor  # (4H)


def weights_of(lstm: nn.LSTM) -> list[Weights]:
    """In the order of `lstm.all_weights`."""
    below = 2 if lstm.bidirectional else 1  # so many read what comes in
    found = [scaled_weights(lstm, number) for number in range(len(lstm.all_weights))]
    return [
        Weights(inputs.contiguous() if number < below else Int8Weight.of(inputs), Int8Weight.of(states), bias)
        for number, (inputs, states, bias) in enumerate(found)
    ]


def run(
    lstm: nn.LSTM, weights: list[Weights], read: Read, size: torch.Size, lengths: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """What `lstm` with such weights makes of sequences of a size (T, B); other arguments and result as `unrolled.run`.

    `read` is asked for some steps at a time, in an order (S, B) that says which.
    """
    T, B = size
    H, slice_ = lstm.hidden_size, max(1, ROWS // max(1, B))

    def way(number: int, below: Tensor | None, order: Tensor | None) -> Tensor:
        each = weights[number]
        step = _steps(each.states, B, H)
        outputs = each.bias.new_empty(T, B, H)
        if order is None:
            order = torch.arange(T, device="cpu").unsqueeze(1).expand(T, B)
        for start in range(0, T, slice_):
            if below is None:
                assert isinstance(each.inputs, Tensor)
                gates = read(each.inputs, each.bias, order[start : start + slice_])
            else:
                states = below[start : start + slice_]
                gates = plus_product(each.bias, states.flatten(0, 1), each.inputs).unflatten(0, states.shape[:2])
            for place, now in enumerate(gates, start):
                outputs[place] = step(now)
        return outputs

    with np.errstate(all="ignore"):  # what is not finite passes silently, as in torch
        return layered(lstm, way, lengths)


def _steps(weight: Int8Weight, B: int, H: int) -> Callable[[Tensor], Tensor]:
    """From zeros on a step at each call: the gates less the state's share (B, 4H) -> the next hidden states (B, H)."""
    hidden = cell = weight.scale.new_zeros(B, H)
    if B <= few.ROWS:
        layer = few.Layer(weight, hidden.new_zeros(()), hidden, cell)
        return lambda gates: torch.from_numpy(layer.step(gates.numpy()))

    def step(gates: Tensor) -> Tensor:
        nonlocal hidden, cell
        hidden, cell = pointwise(weight.plus(gates, hidden), cell)
        return hidden

    return step
