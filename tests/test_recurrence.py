"""LSTMs over sequences of several lengths are torch's own over packed sequences, and so are their gradients."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqvae import recurrence

ROOT = Path(__file__).parents[1]
T, B, I, H = 6, 5, 4, 3  # noqa: E741
LENGTHS = torch.tensor([6, 2, 1, 5, 3])


@pytest.mark.parametrize("lengths", [LENGTHS, torch.tensor([2, 2, 1, 3, 1]), torch.tensor([6, 6, 6, 6, 6])])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("directions", [1, 2])
def test_outputs_states_and_gradients_are_those_of_packed_sequences(
    directions: int, layers: int, lengths: Tensor
) -> None:
    torch.manual_seed(0)
    lstm = nn.LSTM(I, H, layers, bidirectional=directions == 2, batch_first=True).double()
    x = torch.randn(B, T, I, dtype=torch.float64, requires_grad=True)
    packed, (wanted_last, _) = lstm(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    wanted, _ = pad_packed_sequence(packed, total_length=T)
    found, last = recurrence.run_lengths(lstm, x, lengths)
    counts = (torch.arange(T).unsqueeze(1) < lengths).unsqueeze(-1)
    outputs = recurrence.together(found, lengths) * counts
    wanted_last = wanted_last[-directions:]
    torch.testing.assert_close((outputs, last), (wanted, wanted_last))
    weights = torch.randn_like(outputs), torch.randn_like(last)
    of = [x, *lstm.parameters()]
    loss, wanted_loss = (
        sum((each * weight).sum() for each, weight in zip(pair, weights, strict=True))
        for pair in ((outputs, last), (wanted, wanted_last))
    )
    torch.testing.assert_close(torch.autograd.grad(loss, of), torch.autograd.grad(wanted_loss, of))


def test_reading_from_the_end_twice_is_reading_from_the_start() -> None:
    order = recurrence.backwards(T, B, LENGTHS)
    assert order[:, 1].tolist() == [1, 0, 2, 3, 4, 5]
    torch.testing.assert_close(order.gather(0, order), torch.arange(T).unsqueeze(1).expand(T, B))
    assert recurrence.backwards(3, 1, None).flatten().tolist() == [2, 1, 0]


def test_what_cudnn_says_of_scattered_weights_is_not_passed_on() -> None:
    """And nothing else is kept back: a warning is told once at each place, as ever."""
    code = """if True:
        import warnings
        from seqvae import recurrence
        for _ in range(2):
            warnings.warn("RNN module weights are not part of single contiguous chunk of memory. This means ...")
            warnings.warn("another")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stderr.count("UserWarning: ") == done.stderr.count("UserWarning: another") == 1
