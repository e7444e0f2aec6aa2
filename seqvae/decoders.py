"""p(x|z): an autoregressive LSTM whose initial state and, unless it is told otherwise, every input know z.

    separate   (c, h) of every layer = tanh(W z + b)                    MusicVAE, Roberts et al. 2018
    shared     c = W z + b, h = tanh(c) of every layer                  as sentence VAEs do, He et al. 2019
    input of step t = [vector of token t-1; z]; before the first token zeros stand, or the vector of bos

`forward` runs a whole sequence teacher-forced in one call of `nn.LSTM` (cuDNN's fused kernels on a GPU). `step`
computes the same one step at a time for sampling: z's share of the first layer's input is the same at every step,
and the share of a one-hot token is a row of a table, so that little but the recurrent products is left.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqvae.config import ModelConfig
from seqvae.embedding import TokenInput, dropped_out, initialise
from seqvae.softmax import token_nll


@dataclass
class DecoderState:
    """Where a decoder stands in B sequences."""

    hidden: list[Tensor]  # (B, H) for each layer
    cell: list[Tensor]  # (B, H) for each layer
    context: Tensor  # (B, 4H): z's share of the first layer's gates, biases included
    table: Tensor | None  # (V, 4H): each token's share of them, where tokens are one-hot

    def select(self, rows: Tensor) -> "DecoderState":
        """The state of these sequences, in this order; one may come several times."""
        hidden, cell = ([layer[rows] for layer in layers] for layers in (self.hidden, self.cell))
        return DecoderState(hidden, cell, self.context[rows], self.table)


class LSTMDecoder(nn.Module):
    """Flat LSTM decoder."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.layers, self.size = config.decoder_layers, config.decoder_size
        self.bos, self.dropout = config.bos, config.dropout
        self.latent_inputs = config.latent_size if config.latent_to == "steps" else 0
        self.input = TokenInput(config)
        states = self.layers * (2 if config.initial_state == "separate" else 1)
        self.initial = None
        if config.latent_size:
            self.initial = nn.Linear(config.latent_size, states * self.size, bias=config.bias)
            nn.init.xavier_uniform_(self.initial.weight)
        self.lstm = nn.LSTM(self.input.size + self.latent_inputs, self.size, self.layers, batch_first=True)
        self.output = nn.Linear(self.size, config.vocabulary_size, bias=config.bias)
        initialise(self.lstm, self.input.size)

    def forward(self, z: Tensor, tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Teacher-forced logits (B, T, V) of tokens (B, T), each predicted from z (B, Z) and the tokens before it."""
        return self.output(self.outputs(z, tokens, generator))

    def nll(self, z: Tensor, tokens: Tensor, targets: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """-log p of each of the `targets` (B, T) in nats, after `tokens` (B, T): (B, T).

        The same as cross entropy over `forward`, without ever holding the logits in fp32.
        """
        outputs = self.outputs(z, tokens, generator)
        nll = token_nll(outputs.flatten(0, 1), self.output.weight, self.output.bias, targets.flatten())
        return nll.view(targets.shape)

    def outputs(self, z: Tensor, tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the LSTM says at each step, (B, T, H); arguments as for `forward`. Noise is that of dropout."""
        inputs = dropped_out(self._read(tokens[:, :-1]), self._dropout, generator)  # (B, T, E)
        if self.latent_inputs:
            of_z = z.to(inputs.dtype).unsqueeze(1).expand(-1, tokens.shape[1], -1)
            inputs = torch.cat([inputs, of_z], dim=-1)
        hidden, cell = self._initial(z)
        outputs, _ = self.lstm(inputs, (torch.stack(hidden), torch.stack(cell)))
        return dropped_out(outputs, self._dropout, generator)

    def start(self, z: Tensor) -> DecoderState:
        """The state before the first step, from z (B, Z)."""
        hidden, cell = self._initial(z)
        weight, _, bias = self._weights(0)
        of_token, of_z = weight.split([self.input.size, self.latent_inputs], dim=1)
        context = F.linear(z, of_z, bias) if self.latent_inputs else bias.expand(len(z), -1)
        table = None if self.config.embedding_size else self.input.rows @ of_token.t()
        return DecoderState(hidden, cell, context, table)

    def step(
        self, state: DecoderState, previous: Tensor | None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, DecoderState]:
        """One step: the last tokens (B), None before the first -> logits (B, V) and the next state."""
        gates = state.context + self._share(state, previous, generator)
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
        logits = self.output(dropped_out(hidden[-1], self._dropout, generator))
        return logits, DecoderState(hidden, cell, state.context, state.table)

    @property
    def _dropout(self) -> float:
        return self.dropout if self.training else 0.0

    def _share(self, state: DecoderState, previous: Tensor | None, generator: torch.Generator | None) -> Tensor:
        """What the token before adds to the gates of the first layer: (B, 4H)."""
        if state.table is not None and not self._dropout and previous is not None:
            return state.table[previous]
        nothing = torch.empty(len(state.context), 0, dtype=torch.long, device=state.context.device)
        vectors = self._read(nothing)[:, 0] if previous is None else self.input(previous)
        of_token = self.lstm.all_weights[0][0][:, : self.input.size]
        return F.linear(dropped_out(vectors, self._dropout, generator), of_token)

    def _read(self, tokens: Tensor) -> Tensor:
        """The vectors of tokens (B, T), after that of what stands before them: (B, T + 1, E)."""
        if self.bos is None:
            return F.pad(self.input(tokens), (0, 0, 1, 0))
        return self.input(F.pad(tokens, (1, 0), value=self.bos))

    def _weights(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """W_ih, W_hh and the bias of a layer."""
        from_below, from_before, bias, more_bias = self.lstm.all_weights[layer]
        return from_below, from_before, bias + more_bias

    def _initial(self, z: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Hidden states and cells of all layers; zeros where there are no latents."""
        if self.initial is None:
            return [z.new_zeros(len(z), self.size)] * self.layers, [z.new_zeros(len(z), self.size)] * self.layers
        if self.config.initial_state == "shared":
            cells = list(self.initial(z).chunk(self.layers, dim=-1))
            return [cell.tanh() for cell in cells], cells
        parts = self.initial(z).tanh().chunk(2 * self.layers, dim=-1)  # c0, h0, c1, h1, ...
        return list(parts[1::2]), list(parts[0::2])
