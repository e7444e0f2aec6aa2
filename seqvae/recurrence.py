"""An LSTM over whole sequences, in the precision that autocast was asked for.

On a GPU autocast takes cuDNN's LSTM in fp16, whatever it was asked for, and refuses to mix what comes out with bf16. So
that is brought to the right type here. Gradients within are fp16, too: `optimization` raises them, so that small ones
are not lost.
"""

from typing import Any

import torch
from torch import Tensor, nn


def run(lstm: nn.LSTM, inputs: Any, state: tuple[Tensor, Tensor] | None = None) -> tuple[Any, Tensor]:
    """Outputs and last hidden states, as `lstm(inputs, state)` gives them, of a tensor or a PackedSequence."""
    outputs, (hidden, _) = lstm(inputs, state)
    device = hidden.device.type
    if hidden.dtype == torch.float16 and torch.is_autocast_enabled(device):
        low = torch.get_autocast_dtype(device)
        outputs, hidden = outputs.to(low), hidden.to(low)
    return outputs, hidden
