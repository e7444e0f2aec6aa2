"""An LSTM's steps for a few sequences on a CPU, with little around the products.

Of a single row torch's steps are calls more than products: forty a step, of some 5 us each, as long as all products
together. On arrays so small numpy's calls take 1 to 2 us. What is computed is that of `LSTMDecoder.step`, with the
weights of `stepping` and sigmoid(a) = (1 + tanh(a/2)) / 2. The columns of g come times -2: for these tanh(a/2) is -tanh
of the true gate. `generate` decodes by it, and `int8_lstm` reads; a beam search, which moves rows about, takes the
decoder's own steps.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from seqvae.decoders import LSTMDecoder
from seqvae.int8 import LARGEST, Int8Weight
from seqvae.onednn import PackedWeight, multiplies
from seqvae.stepping import Weight, product_dtype

BLOCK = 2**17  # numbers of a weight, at least, for a thread: torch's product of a matrix and a single row takes but one
ROWS = 16  # of 17 to 32 rows torch's steps are as fast, of 64 faster


def suits(decoder: LSTMDecoder, z: Tensor) -> bool:
    """Whether latents (B, Z) are best decoded here: a few, on a CPU, without dropout."""
    if z.device.type != "cpu" or len(z) > ROWS or decoder.dropout:
        return False
    dtype = product_dtype(decoder.output.weight)
    exact = z.dtype in (torch.float32, torch.float64) and z.dtype == decoder.output.weight.dtype
    return exact and (dtype == z.dtype or multiplies(dtype))


class FewSteps:
    """The steps of a decoder from latents (B, Z) on, without gradients."""

    def __init__(self, decoder: LSTMDecoder, z: Tensor) -> None:
        state = decoder.start(z)
        weights = state.weights
        biases = [state.context, *(layer.bias for layer in weights.layers[1:])]
        self.layers = [
            Layer(layer.weight, bias, hidden, cell)
            for layer, bias, hidden, cell in zip(weights.layers, biases, state.hidden, state.cell, strict=True)
        ]
        self.bos = decoder.bos
        self.said = z.new_empty(len(z), weights.output.shape[1])
        self.share: np.ndarray | None = None
        if decoder.config.embedding_size:
            vectors, share = (z.new_empty(len(z), size) for size in weights.tokens.shape)
            self.rows, self.vectors, self.share = decoder.input.rows.numpy(), vectors.numpy(), share.numpy()
            self.read = _product(vectors, weights.tokens, share)
        else:  # one-hot: a token's share of the gates is a row
            assert isinstance(weights.tokens, Tensor)
            self.rows = weights.tokens.numpy()
        self.product = _product(self.layers[-1].own, weights.output, self.said)
        self.logits, self.bias = self.said.numpy(), weights.output_bias.numpy()

    def __call__(self, previous: Tensor | None) -> Tensor:
        """The last tokens (B), None before the first -> logits (B, V): the caller's until the next call."""
        first, *others = self.layers
        with np.errstate(all="ignore"):  # what is not finite passes as in torch, but through int8
            hidden = first.step(self._share(previous))
            for layer in others:
                layer.below[...] = hidden
                hidden = layer.step()
            self.product()
            self.logits += self.bias
        return self.said

    def _share(self, previous: Tensor | None) -> np.ndarray | None:
        """What the last tokens add to the first layer's gates, (B, 4H) or (4H); None before the first without a bos."""
        if previous is None and self.bos is None:
            return None
        rows: np.ndarray = self.rows[self.bos if previous is None else previous.numpy()]
        if self.share is None:
            return rows
        self.vectors[...] = rows
        self.read()
        return self.share


class Layer:
    """Where a layer stands in B sequences, and arrays for its next step."""

    def __init__(self, weight: Weight, bias: Tensor, hidden: Tensor, cell: Tensor) -> None:
        B, H = cell.shape
        inputs = cell.new_zeros(B, weight.shape[0])  # what comes from below, if any, and the last hidden states
        self.own = inputs[:, -H:]
        self.own.copy_(hidden)
        self.below, self.hidden = inputs.numpy()[:, :-H], self.own.numpy()
        self.cell = cell.numpy().copy()
        gates = cell.new_empty(B, 4 * H)
        self.product = _product(inputs, weight, gates)
        self.gates, self.bias = gates.numpy(), bias.numpy()  # (B, 4H); (4H) or (B, 4H)
        self.open = np.empty_like(self.gates)
        self.parts = [self.open[:, n * H : (n + 1) * H] for n in (0, 1, 3)]  # i, f, o
        self.minus_g = self.gates[:, 2 * H : 3 * H]
        self.scratch = np.empty_like(self.cell)

    def step(self, share: np.ndarray | None = None) -> np.ndarray:
        """The next hidden states (B, H), from what `below` holds and a share of the gates to add."""
        self.product()
        gates, (i, f, o) = self.gates, self.parts
        gates += self.bias
        if share is not None:
            gates += share
        gates *= 0.5
        np.tanh(gates, out=gates)
        np.multiply(gates, 0.5, out=self.open)
        self.open += 0.5
        self.cell *= f
        self.cell -= np.multiply(i, self.minus_g, out=self.scratch)
        return np.multiply(o, np.tanh(self.cell, out=self.scratch), out=self.hidden)


def _product(x: Tensor, weight: Weight, out: Tensor) -> Callable[[], Any]:
    """What puts x W into `out`: (B, K), (K, O) -> (B, O)."""
    if isinstance(weight, Int8Weight):
        return _int8_product(x, weight, out)
    if isinstance(weight, PackedWeight):
        if weight.is_best_packed(len(x)):
            return _packed_product(x, weight, out)
        assert weight.plain is not None
        weight = weight.plain
    width = weight.shape[1]
    blocks = math.gcd(width, max(1, min(torch.get_num_threads(), weight.numel() // BLOCK)))
    if blocks == 1 or len(x) != 1:
        return partial(torch.mm, x, weight, out=out)
    columns = weight.unflatten(1, (blocks, width // blocks)).transpose(0, 1)
    return partial(torch.bmm, x.expand(blocks, 1, -1), columns, out=out.view(blocks, 1, -1))


def _packed_product(x: Tensor, weight: PackedWeight, out: Tensor) -> Callable[[], Any]:
    """As `_product`."""
    if x.dtype == weight.dtype:
        return lambda: out.copy_(weight.times(x))
    low = torch.empty_like(x, dtype=weight.dtype)
    return lambda: out.copy_(weight.times(low.copy_(x)))


def _int8_product(x: Tensor, weight: Int8Weight, out: Tensor) -> Callable[[], Any]:
    """As `_product`, of what lies within -1 and 1."""
    if weight.is_best_packed(len(x)):
        nothing = out.new_zeros(())
        return lambda: out.copy_(weight.plus(nothing, x))
    numbers, sums = torch.empty_like(x, dtype=torch.int8), torch.empty_like(out, dtype=torch.int32)
    read, scaled, rounded = x.numpy(), np.empty(x.shape, x.numpy().dtype), numbers.numpy()
    found, scale, said = sums.numpy(), weight.scale.numpy(), out.numpy()

    def product() -> np.ndarray:
        np.rint(np.multiply(read, LARGEST, out=scaled), out=rounded, casting="unsafe")
        torch._int_mm(numbers, weight.numbers, out=sums)
        return np.multiply(found, scale, out=said, dtype=said.dtype, casting="same_kind")

    return product
