"""LSTMs over whole sequences.

`run` and `run_lengths` are torch's LSTM in the precision that autocast was asked for. On a GPU autocast takes cuDNN's
LSTM in fp16, whatever it was asked for, and refuses to mix what comes out with bf16. So that is brought to the right
type here. Gradients within are fp16, too: `optimization` raises them, so that small ones are not lost.

Of sequences of several lengths two directions are LSTMs of their own, layer by layer (`layered`), of which one reads
each sequence from its own end on. What lies beyond a length comes last in both, and is looked at by nobody. torch's
packed sequences give the same, but ask the host for the lengths, for which a GPU has to be waited for, and a step of
training takes 1.3 to 2.3 times as long with them on a CPU (benchmarks/results/text_speed.txt).
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

# Of one direction's weights cuDNN would like to have a copy of their own that lasts; it makes a new one at each call
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")

Way = Callable[[int, Tensor | None, Tensor | None], Tensor]  # one direction of one layer: see `layered`


def run(lstm: nn.LSTM, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Outputs and last hidden states, as `lstm(inputs, state)` gives them."""
    outputs, (hidden, _) = lstm(inputs, state)
    return _as_asked(outputs), _as_asked(hidden)


def run_lengths(lstm: nn.LSTM, inputs: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
    """What an LSTM makes of sequences of several lengths.

    Args:
        lstm: whose weights are used; with biases, batch first.
        inputs: (B, T, I).
        lengths: (B), how many steps count, at least 1.

    Returns:
        Outputs (T, B, H) of each direction, in the order in which it reads (see `together`), and the last hidden states
        of the last layer (directions, B, H). What lies beyond a length means nothing.
    """

    def way(number: int, below: Tensor | None, _: Tensor | None) -> Tensor:
        assert below is not None
        read = below.float() if below.dtype == torch.bfloat16 else below  # which not every cuDNN takes
        nothing = read.new_zeros(1, read.shape[1], lstm.hidden_size)
        biases, layers, dropout, both_ways, batch_first = True, 1, 0.0, False, False
        weights = tuple(lstm.all_weights[number])
        outputs, _, _ = torch.lstm(
            read, (nothing, nothing), weights, biases, layers, dropout, lstm.training, both_ways, batch_first
        )
        return _as_asked(outputs)

    if lstm.bidirectional:
        outputs, last = layered(lstm, way, lengths, inputs.transpose(0, 1))
        return outputs, last[-2:]
    ahead = run(lstm, inputs)[0].transpose(0, 1)
    return [ahead], _at_end(ahead, lengths).unsqueeze(0)


def layered(
    lstm: nn.LSTM, way: Way, lengths: Tensor | None, below: Tensor | None = None
) -> tuple[list[Tensor], Tensor]:
    """All layers of an LSTM, one direction at a time.

    Args:
        lstm: says how many layers and directions there are.
        way: called with the number of layer and direction in `lstm.all_weights`; what this layer reads (T, B, I), in
            the order of reading; and that order (T, B) of steps, None: as they are. It gives the hidden states
            (T, B, H) in the order of reading.
        lengths: (B), how many steps count, at least 1; None: all.
        below: what the first layer reads; None where `way` knows.

    Returns:
        Outputs (T, B, H) of each direction, in the order in which it reads (see `together`), and the last hidden states
        (layers * directions, B, H). What lies beyond a length means nothing.
    """
    outputs: list[Tensor] = []
    last: list[Tensor] = []
    order: Tensor | None = None  # of the way back
    for number in range(0, len(lstm.all_weights), 2 if lstm.bidirectional else 1):
        if outputs:
            below = together(outputs, lengths)
        outputs = [way(number, below, None)]
        if lstm.bidirectional:
            order = backwards(outputs[0].shape[0], outputs[0].shape[1], lengths) if order is None else order
            outputs.append(way(number + 1, None if below is None else reordered(below, order), order))
        last += [states[-1] if lengths is None else _at_end(states, lengths) for states in outputs]
    return outputs, torch.stack(last)


def together(outputs: list[Tensor], lengths: Tensor | None) -> Tensor:
    """The outputs (T, B, H) of each direction, in its own order, step by step side by side: of two (T, B, 2H)."""
    if len(outputs) == 1:
        return outputs[0]
    ahead, back = outputs
    return torch.cat([ahead, reordered(back, backwards(back.shape[0], back.shape[1], lengths))], dim=-1)


def backwards(T: int, B: int, lengths: Tensor | None) -> Tensor:
    """For each place the step that stands there if a sequence is read from its end, what lies beyond left where it is.

    T steps of B sequences, of which `lengths` (B) count -> (T, B). It undoes itself.
    """
    ends = torch.full((B,), T, device="cpu") if lengths is None else lengths
    steps = torch.arange(T, device=ends.device).unsqueeze(1)
    return torch.where(steps < ends, ends - 1 - steps, steps)


def reordered(x: Tensor, order: Tensor) -> Tensor:
    """The steps of x (T, B, H) in an order (S, B): (S, B, H)."""
    return x.gather(0, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def _at_end(states: Tensor, lengths: Tensor) -> Tensor:
    """The last of each sequence's states (T, B, H) that counts: (B, H)."""
    return reordered(states, (lengths - 1).unsqueeze(0)).squeeze(0)


def _as_asked(x: Tensor) -> Tensor:
    device = x.device.type
    if x.dtype == torch.float16 and torch.is_autocast_enabled(device):
        return x.to(torch.get_autocast_dtype(device))
    return x
