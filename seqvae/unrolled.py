"""An LSTM over many whole sequences, or a large one, on a CPU, step by step, with its own gradient.

    a = x W_ih + h W_hh + b,  i, f, o = sigmoid(a),  g = tanh(a),  c' = f c + i g,  h' = o tanh(c')

torch's LSTM for CPUs takes a product for a one-hot token, whose share of `a` is a row of W_ih, and meets z anew at each
step, whose share is the same at every step. Here the caller gives what the inputs add to `a` at all steps. Of the rest,
only the products with W_hh must be taken one after the other; the gradient of W_hh is one product over all steps.

From here on `a`, W and b are the scaled ones of `stepping`: tanh(x) = 1 - 2 sigmoid(-2x), and the columns of g are
times -2. With y = sigmoid(a), s = sigmoid(-2c'), and dX the gradient of the loss with respect to X:

    dc' += 4 dh' o s (1 - s),  dc = f dc'
    da = y (1 - y) [(1 - 2 y_g) dc', c dc', -2 y_i dc', (1 - 2 s) dh']  for i, f, g, o
    dh = da W_hh^T,  dW_hh = sum over steps of h^T da

Under autocast h, W_hh and da are rounded to bf16 for the products; gates, cells and their gradients stay in fp32.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from seqvae.onednn import PackedWeight, packed, product
from seqvae.recurrence import layered
from seqvae.stepping import plus_product, product_dtype, scaled_weights

# Of 128 rows and fewer torch's LSTM is as fast or faster in fp32: it does all that a step has to do in one call.
ROWS = 256
# Of so many units, under autocast: of 2,048 gradients take torch's LSTM for CPUs 1.3 to 3 times as long, of 1,536 as
# long, of 1,024 and fewer it is faster.
UNITS = 1536
# Of `a`, 1 GB, where no gradient is wanted: for more torch's LSTM takes less memory. With gradients it takes more.
CELLS = 2**28

Read = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def suits(lstm: nn.LSTM, rows: int, steps: int) -> bool:
    """Whether so many sequences of so many steps are best run here, on a CPU: many, or in bf16 with many units."""
    if lstm.weight_ih_l0.device.type != "cpu":
        return False
    large = lstm.hidden_size >= UNITS if torch.is_autocast_enabled("cpu") else rows >= ROWS
    return large and (torch.is_grad_enabled() or rows * steps * 4 * lstm.hidden_size <= CELLS)


def run(
    lstm: nn.LSTM,
    read: Read,
    state: tuple[Tensor, Tensor] | None = None,
    lengths: Tensor | None = None,
) -> tuple[list[Tensor], Tensor]:
    """What `lstm` makes of the sequences that `read` reads.

    Args:
        lstm: whose weights are used; of one direction or two.
        read: called with weights (I, 4H), a bias (4H) and an order, it gives x W + b of the inputs x of all steps,
            (T, B, 4H), in a tensor of its own, which is overwritten. The order (T, B) holds the step that stands at
            each place; None: all as they are.
        state: hidden states and cells (layers, B, H) before the first step, of an LSTM of one direction; None: 0.
        lengths: (B), how many steps count, at least 1; None: all.

    Returns:
        As `recurrence.layered` does. Their gradient can be taken once.
    """

    def way(number: int, below: Tensor | None, order: Tensor | None) -> Tensor:
        """One direction of one layer; where no gradient is wanted, its gates are freed when it ends."""
        dtype = product_dtype(lstm.all_weights[number][1])
        inputs, recurrent, bias = scaled_weights(lstm, number, None if below is None else dtype, dtype)
        gates = read(inputs, bias, order) if below is None else plus_product(bias, below, inputs)
        nothing = gates.new_zeros(gates.shape[1], lstm.hidden_size)
        hidden, cell = (part[number] for part in state) if state else (nothing, nothing)
        return _Layer.apply(gates, recurrent, hidden, cell)

    return layered(lstm, way, lengths)


class _Layer(torch.autograd.Function):
    """Gates (T, B, 4H), which are overwritten, W_hh (H, 4H) and the state before (B, H) -> hidden states (T, B, H).

    These are of the type of W_hh, in which products are taken.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor) -> Tensor:
        T, kept = len(gates), any(ctx.needs_input_grad)
        states = torch.empty(T + 1, *hidden.shape, dtype=weight.dtype)  # before each step, and after the last
        states[0], cell = hidden, cell.to(gates.dtype)
        cells, halves = (gates.new_empty(T if kept else 1, *hidden.shape) for _ in range(2))
        if kept:
            ctx.save_for_backward(weight, states, cell, cells, halves)
            ctx.gates = gates
        ahead = packed(weight)
        for t in range(T):
            i, f, g, o = _add_product(gates[t], states[t], ahead).sigmoid_().chunk(4, dim=-1)
            cell = torch.addcmul(i, f, cell, out=cells[t * kept]).addcmul_(i, g, value=-2.0)
            half = torch.mul(cell, -2.0, out=halves[t * kept]).sigmoid_()
            torch.addcmul(o, o, half, value=-2.0, out=states[t + 1])
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weight, states, first_cell, cells, halves = ctx.saved_tensors
        (d_outputs,) = gradients  # (T, B, H)
        gates, ctx.gates = ctx.gates, None  # their place is taken by their gradients
        if gates is None:
            raise RuntimeError("an unrolled LSTM gives its gradient once: its gates are overwritten; run it again")
        low = gates if weight.dtype == gates.dtype else torch.empty_like(gates, dtype=weight.dtype)
        d_hidden = d_outputs[-1].to(gates.dtype)
        d_cell = torch.zeros_like(first_cell)
        d_now = torch.empty_like(gates[0])
        back = packed(weight.t())
        for t in reversed(range(len(gates))):
            i, f, g, o = gates[t].chunk(4, dim=-1)
            d_i, d_f, d_g, d_o = d_now.chunk(4, dim=-1)
            half = halves[t]
            torch.addcmul(d_hidden, d_hidden, half, value=-2.0, out=d_o)
            part = (d_hidden * o).mul_(half)
            d_cell.add_(part, alpha=4.0).addcmul_(part, half, value=-4.0)
            torch.addcmul(d_cell, d_cell, g, value=-2.0, out=d_i)
            torch.mul(d_cell, cells[t - 1] if t else first_cell, out=d_f)
            torch.mul(d_cell, i, out=d_g).mul_(-2.0)
            d_cell.mul_(f)
            d_now.mul_(gates[t])
            torch.addcmul(d_now, d_now, gates[t], value=-1.0, out=gates[t])
            if low is not gates:
                low[t].copy_(gates[t])
            before = d_outputs[t - 1].to(gates.dtype, copy=True) if t else torch.zeros_like(d_hidden)
            d_hidden = _add_product(before, low[t], back)
        d_weight = None
        if ctx.needs_input_grad[1]:
            d_weight = product(low.flatten(0, 1).t(), states[:-1].flatten(0, 1)).t()  # transposed, as the weight lies
        return gates, d_weight, d_hidden, d_cell


def _add_product(out: Tensor, x: Tensor, weight: Tensor | PackedWeight) -> Tensor:
    """out += x W, in place, the sum in the type of `out`."""
    if isinstance(weight, PackedWeight):
        return out.add_(weight.times(x))
    return out.addmm_(x, weight) if x.dtype == out.dtype else out.add_(x @ weight)
