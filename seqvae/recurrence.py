"""LSTMs over whole sequences.

`run` and `run_lengths` are torch's LSTM in the precision that autocast was asked for. On a GPU autocast takes cuDNN's
LSTM in fp16, whatever it was asked for, and refuses to mix what comes out with bf16. So that is brought to the right
type here. Gradients within are fp16, too: `optimization` raises them, so that small ones are not lost.

Of sequences of several lengths two directions are two LSTMs, of which one reads each sequence from its own end on. What
lies beyond a length comes last in both, and is looked at by nobody. torch's packed sequences give the same, but ask
the host for the lengths, for which a GPU has to be waited for, and take two to three times as long on a CPU.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

Way = Callable[[int, Tensor | None, Tensor | None], Tensor]


def run(lstm: nn.LSTM, inputs: Tensor, state: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
    """Outputs and last hidden states, as `lstm(inputs, state)` gives them."""
    outputs, (hidden, _) = lstm(inputs, state)
    return _as_asked(outputs), _as_asked(hidden)


def run_lengths(lstm: nn.LSTM, read: Callable[[Tensor | None], Tensor], lengths: Tensor) -> tuple[list[Tensor], Tensor]:
    """What an LSTM makes of sequences of several lengths.

    Args:
        lstm: whose weights are used; of one direction or two.
        read: gives the inputs (T, B, I) in an order (T, B) of steps, or as they are.
        lengths: (B), how many steps count, at least 1.

    Returns:
        As `layered` does.
    """

    def way(number: int, below: Tensor | None, order: Tensor | None) -> Tensor:
        inputs = read(order) if below is None else below
        nothing = inputs.new_zeros(1, inputs.shape[1], lstm.hidden_size)
        weights = tuple(lstm.all_weights[number])
        with warnings.catch_warnings():  # cuDNN would like to have all weights in one place
            warnings.filterwarnings("ignore", "RNN module weights are not part")
            outputs, _, _ = torch.lstm(inputs, (nothing, nothing), weights, True, 1, 0.0, lstm.training, False, False)
        return _as_asked(outputs)

    return layered(lstm, way, lengths)


def layered(lstm: nn.LSTM, way: Way, lengths: Tensor | None) -> tuple[list[Tensor], Tensor]:
    """All layers of an LSTM, one direction at a time.

    Args:
        lstm: says how many layers and directions there are.
        way: called with the number of layer and direction in `lstm.all_weights`; what comes from the layer below
            (T, B, I), in the order in which it is read, None for the first layer; and that order (T, B) of steps, None:
            as they are. It gives the hidden states (T, B, H) in this order.
        lengths: (B), how many steps count, at least 1; None: all. The way back begins at each sequence's own end.

    Returns:
        Outputs (T, B, H) of each direction, in the order in which it reads (see `together`), and the last hidden states
        (layers * directions, B, H). What lies beyond a length means nothing.
    """
    directions = 2 if lstm.bidirectional else 1
    outputs: list[Tensor] = []
    last: list[Tensor] = []
    for layer in range(lstm.num_layers):
        below = together(outputs, lengths) if outputs else None
        outputs = []
        for number in range(layer * directions, (layer + 1) * directions):
            order = backwards(outputs[0].shape[0], outputs[0].shape[1], lengths) if outputs else None
            states = way(number, below if below is None or order is None else reordered(below, order), order)
            outputs.append(states)
            last.append(states[-1] if lengths is None else reordered(states, (lengths - 1).unsqueeze(0)).squeeze(0))
    return outputs, torch.stack(last)


def together(outputs: list[Tensor], lengths: Tensor | None) -> Tensor:
    """What `layered` gives of each direction (T, B, H), step by step side by side: of two (T, B, 2H)."""
    if len(outputs) == 1:
        return outputs[0]
    ahead, back = outputs
    return torch.cat([ahead, reordered(back, backwards(back.shape[0], back.shape[1], lengths))], dim=-1)


def backwards(T: int, B: int, lengths: Tensor | None) -> Tensor:
    """For each place the step that stands there if a sequence is read from its end, what lies beyond left where it is.

    T steps of B sequences, of which `lengths` (B) count -> (T, B). It undoes itself.
    """
    ends = torch.full((B,), T) if lengths is None else lengths
    steps = torch.arange(T, device=ends.device).unsqueeze(1)
    return torch.where(steps < ends, ends - 1 - steps, steps)


def reordered(x: Tensor, order: Tensor) -> Tensor:
    """The steps of (T, B, H) in an order (S, B): (S, B, H)."""
    return x.gather(0, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))


def _as_asked(x: Tensor) -> Tensor:
    device = x.device.type
    if x.dtype == torch.float16 and torch.is_autocast_enabled(device):
        return x.to(torch.get_autocast_dtype(device))
    return x
