"""p(x|z): an autoregressive LSTM whose initial state and every input know z.

    (c, h) of every layer = tanh(W z + b);   input of step t = [vector of token t-1; z], zeros before the first token

`forward` runs a whole sequence teacher-forced in one call of `nn.LSTM` (cuDNN's fused kernels on a GPU). `step`
computes the same one step at a time for sampling: z's share of the first layer's input is the same at every step and
a token's share is a row of a table, so that only the recurrent products are left.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqvae.config import ModelConfig
from seqvae.embedding import TokenInput, initialise


@dataclass
class DecoderState:
    """Where a decoder stands in B sequences."""

    hidden: list[Tensor]  # (B, H) for each layer
    cell: list[Tensor]  # (B, H) for each layer
    context: Tensor  # (B, 4H): z's share of the first layer's gates, biases included
    table: Tensor  # (V, 4H): each token's share of them


class LSTMDecoder(nn.Module):
    """Flat LSTM decoder."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers, self.size = config.decoder_layers, config.decoder_size
        self.input = TokenInput(config)
        self.initial = nn.Linear(config.latent_size, 2 * self.layers * self.size)
        self.lstm = nn.LSTM(self.input.size + config.latent_size, self.size, self.layers, batch_first=True)
        self.output = nn.Linear(self.size, config.vocabulary_size)
        initialise(self.lstm, self.input.size)
        nn.init.xavier_uniform_(self.initial.weight)

    def forward(self, z: Tensor, tokens: Tensor) -> Tensor:
        """Teacher-forced logits (B, T, V) of tokens (B, T), each predicted from z (B, Z) and the tokens before it."""
        _, T = tokens.shape
        previous = F.pad(self.input(tokens[:, :-1]), (0, 0, 1, 0))  # (B, T, E): nothing comes before the first
        inputs = torch.cat([previous, z.to(previous.dtype).unsqueeze(1).expand(-1, T, -1)], dim=-1)
        hidden, cell = self._initial(z)
        outputs, _ = self.lstm(inputs, (torch.stack(hidden), torch.stack(cell)))
        return self.output(outputs)  # (B, T, V)

    def start(self, z: Tensor) -> DecoderState:
        """The state before the first step, from z (B, Z)."""
        hidden, cell = self._initial(z)
        weight, _, bias = self._weights(0)
        of_token, of_z = weight.split([self.input.size, z.shape[-1]], dim=1)
        return DecoderState(hidden, cell, F.linear(z, of_z, bias), self.input.table(of_token))

    def step(self, state: DecoderState, previous: Tensor | None) -> tuple[Tensor, DecoderState]:
        """One step: the last tokens (B), None before the first -> logits (B, V) and the next state."""
        gates = state.context if previous is None else state.context + state.table[previous]
        hidden: list[Tensor] = []
        cell: list[Tensor] = []
        for layer in range(self.layers):
            from_below, from_before, bias = self._weights(layer)
            if layer > 0:
                gates = F.linear(hidden[-1], from_below, bias)
            gates = gates + state.hidden[layer] @ from_before.t()
            i, f, g, o = gates.chunk(4, dim=-1)
            cell.append(f.sigmoid() * state.cell[layer] + i.sigmoid() * g.tanh())
            hidden.append(o.sigmoid() * cell[-1].tanh())
        return self.output(hidden[-1]), DecoderState(hidden, cell, state.context, state.table)

    def _weights(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """W_ih, W_hh and the bias of a layer."""
        from_below, from_before, bias, more_bias = self.lstm.all_weights[layer]
        return from_below, from_before, bias + more_bias

    def _initial(self, z: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        parts = self.initial(z).tanh().chunk(2 * self.layers, dim=-1)  # c0, h0, c1, h1, ...
        return list(parts[1::2]), list(parts[0::2])
