"""p(x|z): an autoregressive LSTM whose initial state and, unless it is told otherwise, every input know z.

    separate   (c, h) of every layer = tanh(W z + b)                    MusicVAE, Roberts et al. 2018
    shared     c = W z + b, h = tanh(c) of every layer                  as sentence VAEs do, He et al. 2019
    input of step t = [vector of token t-1; z]; before the first token zeros stand, or the vector of bos

`forward` runs a whole sequence teacher-forced in one call of `nn.LSTM` (cuDNN's fused kernels on a GPU), a large batch
or model on a CPU as `unrolled` does. `step` computes the same one step at a time for sampling (`few` does it for a few
sequences): z's share of the first layer's input is the same at every step, and the share of a one-hot token is a row of
a table, so that little but the recurrent products is left.
"""

from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqvae import int8, recurrence, stepping, unrolled
from seqvae.config import ModelConfig
from seqvae.embedding import TiedOutput, TokenInput, dropped_out, initialise
from seqvae.graphs import Recordings
from seqvae.kept import Kept
from seqvae.softmax import token_nll
from seqvae.stepping import Weight, laid_out, plus_product, pointwise, product_dtype


@dataclass(frozen=True)
class StepWeights:
    """What `step` multiplies with, laid out for it once."""

    tokens: Weight  # (E, 4H): a token's share of the first layer's gates, in the type of products; one-hot: rows, exact
    latents: Tensor  # (Z, 4H): z's share of them
    layers: list[stepping.Layer]
    output: Weight  # (H, V)
    output_bias: Tensor  # (V)
    recordings: Recordings = field(default_factory=Recordings)  # of what is done with them


@dataclass
class DecoderState:
    """Where a decoder stands in B sequences."""

    hidden: list[Tensor]  # (B, H) for each layer
    cell: list[Tensor]  # (B, H) for each layer
    context: Tensor  # (B, 4H): z's share of the first layer's gates, biases included
    weights: StepWeights

    def select(self, rows: Tensor) -> "DecoderState":
        """The state of these sequences, in this order; one may come several times."""
        hidden, cell = ([layer[rows] for layer in layers] for layers in (self.hidden, self.cell))
        return DecoderState(hidden, cell, self.context[rows], self.weights)


class LSTMDecoder(nn.Module):
    """Flat LSTM decoder."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.layers, self.size = config.decoder_layers, config.decoder_size
        self.bos = config.bos
        self.latent_inputs = config.latent_size if config.latent_to == "steps" else 0
        self.input = TokenInput(config)
        states = self.layers * (2 if config.initial_state == "separate" else 1)
        self.initial = None
        if config.latent_size:
            self.initial = nn.Linear(config.latent_size, states * self.size, bias=config.bias)
            nn.init.xavier_uniform_(self.initial.weight)
        self.lstm = nn.LSTM(self.input.size + self.latent_inputs, self.size, self.layers, batch_first=True)
        self.output: nn.Linear | TiedOutput = (
            TiedOutput(self.input, config.bias)
            if config.tied
            else nn.Linear(self.size, config.vocabulary_size, bias=config.bias)
        )
        initialise(self.lstm, self.input.size, config.initialisation)
        self._kept: Kept[StepWeights] = Kept()

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
        hidden, cell = self._initial(z)
        state = torch.stack(hidden), torch.stack(cell)
        if unrolled.suits(self.lstm, *tokens.shape):
            (steps,), _ = unrolled.run(self.lstm, partial(self._gates, z, tokens, generator), state)
            outputs = steps.transpose(0, 1)
        else:
            inputs = dropped_out(self._read(tokens[:, :-1]), self.dropout, generator)  # (B, T, E)
            if self.latent_inputs:
                of_z = z.to(inputs.dtype).unsqueeze(1).expand(-1, tokens.shape[1], -1)
                inputs = torch.cat([inputs, of_z], dim=-1)
            outputs, _ = recurrence.run(self.lstm, inputs, state)
        return dropped_out(outputs, self.dropout, generator)

    def _gates(
        self, z: Tensor, tokens: Tensor, generator: torch.Generator | None, weight: Tensor, bias: Tensor, _order: None
    ) -> Tensor:
        """What `unrolled` reads: the shares of z (B, Z), and of the token before, in the first layer's gates."""
        of_tokens, of_z = weight.split([self.input.size, self.latent_inputs])
        same = plus_product(bias, z, of_z) if self.latent_inputs else bias  # at each step
        if self.config.embedding_size or self.dropout:
            inputs = dropped_out(self._read(tokens[:, :-1]), self.dropout, generator)
            return plus_product(same, inputs.transpose(0, 1), of_tokens)
        bos = self.bos
        if bos is None:  # a row of zeros stands for it
            bos, of_tokens = len(of_tokens), F.pad(of_tokens, (0, 0, 0, 1))
        return F.embedding(F.pad(tokens[:, :-1], (1, 0), value=bos).t(), of_tokens.contiguous()).add_(same)

    def start(self, z: Tensor) -> DecoderState:
        """The state before the first step, from z (B, Z)."""
        weights = self.step_weights()
        with torch.autocast(z.device.type, enabled=False):  # once a sequence: exact
            hidden, cell = self._initial(z)
            bias = weights.layers[0].bias
            context = plus_product(bias, z, weights.latents) if self.latent_inputs else bias.expand(len(z), -1)
        return DecoderState([layer.to(weights.output.dtype) for layer in hidden], cell, context, weights)

    def step(
        self, state: DecoderState, previous: Tensor | None, generator: torch.Generator | None = None
    ) -> tuple[Tensor, DecoderState]:
        """One step: the last tokens (B), None before the first -> logits (B, V) and the next state."""
        weights = state.weights
        hidden: list[Tensor] = []
        cell: list[Tensor] = []
        for number, layer in enumerate(weights.layers):
            if number == 0:
                gates = plus_product(state.context, state.hidden[0], layer.weight)
                gates = self._with_token(gates, weights.tokens, previous, generator)
            else:
                gates = plus_product(layer.bias, torch.cat([hidden[-1], state.hidden[number]], dim=-1), layer.weight)
            now, next_cell = pointwise(gates, state.cell[number])
            hidden.append(now.to(weights.output.dtype))
            cell.append(next_cell)
        logits = plus_product(weights.output_bias, dropped_out(hidden[-1], self.dropout, generator), weights.output)
        return logits, DecoderState(hidden, cell, state.context, weights)

    @property
    def dropout(self) -> float:
        """The share of inputs and outputs that is dropped now: none but in training."""
        return self.config.dropout if self.training else 0.0

    def _with_token(
        self, gates: Tensor, weights: Weight, previous: Tensor | None, generator: torch.Generator | None
    ) -> Tensor:
        """The gates of the first layer (B, 4H), with what the token before adds to them."""
        if previous is None:
            if self.bos is None:
                return gates
            previous = torch.full((len(gates),), self.bos, device=gates.device)
        if self.config.embedding_size or self.dropout:
            return plus_product(gates, dropped_out(self.input(previous), self.dropout, generator), weights)
        assert isinstance(weights, Tensor)  # rows
        return gates.add_(F.embedding(previous, weights))

    def step_weights(self) -> StepWeights:
        """The weights of `step`; kept for the next time where no gradient is wanted, until one of them changes."""
        if torch.is_grad_enabled():
            return self._new_step_weights()
        products = product_dtype(self.output.weight), int8.wanted(), self.dropout
        return self._kept.get(self, self._new_step_weights, *products)

    def _new_step_weights(self) -> StepWeights:
        inputs, layers = stepping.prepared(self.lstm)
        tokens, latents = inputs.split([self.input.size, self.latent_inputs])
        weight = self.output.weight
        latents = latents.contiguous()
        output = laid_out(weight.t(), of_states=not self.dropout)  # which leaves some that are larger than 1
        bias = weight.new_zeros(()) if self.output.bias is None else self.output.bias
        read = laid_out(tokens, of_states=False) if self.config.embedding_size else tokens.contiguous()
        return StepWeights(read, latents, layers, output, bias)

    def _read(self, tokens: Tensor) -> Tensor:
        """The vectors of tokens (B, T), after that of what stands before them: (B, T + 1, E)."""
        if self.bos is None:
            return F.pad(self.input(tokens), (0, 0, 1, 0))
        return self.input(F.pad(tokens, (1, 0), value=self.bos))

    def _initial(self, z: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Hidden states and cells of all layers; zeros where there are no latents."""
        if self.initial is None:
            return [z.new_zeros(len(z), self.size)] * self.layers, [z.new_zeros(len(z), self.size)] * self.layers
        if self.config.initial_state == "shared":
            cells = list(self.initial(z).chunk(self.layers, dim=-1))
            return [cell.tanh() for cell in cells], cells
        parts = self.initial(z).tanh().chunk(2 * self.layers, dim=-1)  # c0, h0, c1, h1, ...
        return list(parts[1::2]), list(parts[0::2])
