"""Weights of Magenta's MusicVAE under our names (TensorFlow names as in its published checkpoints).

An LSTM kernel there is [input; hidden] x gates in the order i, g, f, o, and 1 is added to f when it runs; ours is
gates x input and gates x hidden in the order i, f, g, o, with that 1 in the bias.
"""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from seqvae.config import ModelConfig


def from_magenta(variables: Mapping[str, np.ndarray], config: ModelConfig) -> dict[str, Tensor]:
    """State dict of a flat SequenceVAE from a checkpoint's variables.

    Args:
        variables: TensorFlow name -> array, of a "cat-mel" or similar flat configuration.
        config: of the SequenceVAE to fill, with one-hot input.

    Raises:
        KeyError: a variable that the configuration needs is missing.
    """
    weights: dict[str, Tensor] = {}
    for direction, suffix in (("fw", ""), ("bw", "_reverse")):
        for layer in range(config.encoder_layers):
            name = f"encoder/cell_{layer}/bidirectional_rnn/{direction}/multi_rnn_cell/cell_0/lstm_cell"
            weights |= _lstm(variables, name, config.encoder_size, f"encoder.lstm.{{}}_l{layer}{suffix}")
    for layer in range(config.decoder_layers):
        name = f"decoder/multi_rnn_cell/cell_{layer}/lstm_cell"
        weights |= _lstm(variables, name, config.decoder_size, f"decoder.lstm.{{}}_l{layer}")
    dense = {
        "encoder.mean": "encoder/mu",
        "encoder.scale": "encoder/sigma",
        "decoder.initial": "decoder/z_to_initial_state",
        "decoder.output": "decoder/output_projection",
    }
    for ours, theirs in dense.items():
        weights[f"{ours}.weight"] = _tensor(variables[f"{theirs}/kernel"]).t().contiguous()
        weights[f"{ours}.bias"] = _tensor(variables[f"{theirs}/bias"])
    return weights


def _lstm(variables: Mapping[str, np.ndarray], name: str, size: int, ours: str) -> dict[str, Tensor]:
    kernel, bias = _tensor(variables[f"{name}/kernel"]).t(), _tensor(variables[f"{name}/bias"])
    order = [0, 2, 1, 3]  # i, g, f, o -> i, f, g, o
    kernel = torch.cat([kernel.chunk(4)[gate] for gate in order])  # (4H, input + H)
    bias = torch.cat([bias.chunk(4)[gate] for gate in order])
    bias[size : 2 * size] += 1.0
    return {
        ours.format("weight_ih"): kernel[:, :-size].contiguous(),
        ours.format("weight_hh"): kernel[:, -size:].contiguous(),
        ours.format("bias_ih"): bias,
        ours.format("bias_hh"): torch.zeros_like(bias),
    }


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array))
