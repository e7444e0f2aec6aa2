"""How many operations a model takes, and how many of them the processor can do.

A weight of an LSTM or of the last layer is multiplied once a step, any other once a sequence; a multiplication and an
addition are 2 operations, and training takes them three times: forward, for the gradient of what came in, for that of
the weight. This is the plain form, in which a one-hot input is multiplied like any other and z at every step; what is
computed in a cleverer way is counted all the same.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F

from benchmarks.machine import median_seconds
from seqvae.config import ModelConfig
from seqvae.vae import SequenceVAE

PASSES = 3
ROWS, INPUTS, OUTPUTS = 512, 512, 2048  # a batch times the recurrent weights of one LSTM(512)


def training_operations(config: ModelConfig) -> int:
    """Operations to train on one sequence of config.length steps, in the plain form."""
    with torch.device("meta"):
        model = SequenceVAE(replace(config, dropout=0.0))
    total = 0
    for name, weight in model.named_parameters():
        if weight.ndim == 2 and ".input." not in name:
            each_step = ".lstm." in name or name == "decoder.output.weight"
            total += 2 * weight.numel() * (config.length if each_step else 1)
    return PASSES * total


def matrix_rates(runs: int = 20) -> dict[str, float]:
    """Operations a second in products of 512 x 512 x 2048 on torch's threads, by the way they are taken.

    fp32 as torch takes it, through oneDNN, and in bf16 where the processor has it.
    """
    x, weight = torch.randn(ROWS, INPUTS), torch.randn(OUTPUTS, INPUTS)
    ways: dict[str, Callable[[], object]] = {"fp32": lambda: F.linear(x, weight)}
    if torch.backends.mkldnn.is_available():
        packed, packed_weight = x.to_mkldnn(), weight.to_mkldnn()
        ways["fp32 by oneDNN"] = lambda: F.linear(packed, packed_weight)
    low, low_weight = x.bfloat16(), weight.bfloat16()
    ways["bf16"] = lambda: F.linear(low, low_weight)
    with torch.no_grad():
        return {name: 2 * ROWS * INPUTS * OUTPUTS / median_seconds(way, runs) for name, way in ways.items()}
