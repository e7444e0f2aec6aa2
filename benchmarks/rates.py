"""How many operations a model takes, and how many of them the processor can do.

A weight of an LSTM or of the last layer is multiplied once a step, any other once a sequence; a multiplication and an
addition are 2 operations, and training takes them three times: forward, for the gradient of what came in, for that of
the weight. This is the plain form, in which a one-hot input is multiplied like any other and z at every step; what is
computed in a cleverer way is counted all the same.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from benchmarks.machine import median_seconds
from seqvae.config import ModelConfig

PASSES = 3
ROWS, INPUTS, OUTPUTS = 512, 512, 2048  # a batch times the recurrent weights of one LSTM(512)


def training_operations(config: ModelConfig) -> int:
    """Operations to train on one sequence of config.length steps, in the plain form."""
    T, V, Z = config.length, config.vocabulary_size, config.latent_size
    E = config.embedding_size or V  # what a token brings in
    directions = 2 if config.bidirectional else 1
    summary, H, layers = directions * config.encoder_size, config.decoder_size, config.decoder_layers
    encoder = T * _lstm(E, config.encoder_size, config.encoder_layers, directions) + 2 * summary * Z
    states = layers * (2 if config.initial_state == "separate" else 1)
    decoder = Z * states * H + T * _lstm(E + (Z if config.latent_to == "steps" else 0), H, layers) + T * H * V
    return PASSES * 2 * (encoder * bool(Z) + decoder)


def _lstm(inputs: int, size: int, layers: int, directions: int = 1) -> int:
    """The weights of an LSTM, but its biases."""
    first, later = 4 * size * (inputs + size), 4 * size * (directions * size + size)
    return directions * (first + (layers - 1) * later)


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
