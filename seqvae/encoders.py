"""q(z|x): from tokens to a distribution over the latent space.

An LSTM reads the sequence, in both directions unless the configuration says one; what it found is summed up in one
vector, from which the heads of `posteriors` make mean and scale (MusicVAE, Roberts et al. 2018, arXiv:1803.05428).

The summary is the last state of each direction, side by side, or the mean or the maximum over all steps (Long et al.
2019, arXiv:1911.03976, who find that pooling keeps a text VAE's posterior from collapsing).
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from seqvae import int8, int8_lstm, recurrence, unrolled
from seqvae.config import ModelConfig
from seqvae.embedding import TokenInput, initialise
from seqvae.kept import Kept
from seqvae.objectives import length_mask
from seqvae.posteriors import mean_head, scale_head


class LSTMEncoder(nn.Module):
    """LSTM over the tokens, bidirectional or not."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.bos, self.summary = config.bos, config.summary
        self.input = TokenInput(config)
        self.lstm = nn.LSTM(
            self.input.size,
            config.encoder_size,
            config.encoder_layers,
            batch_first=True,
            bidirectional=config.bidirectional,
        )
        states = config.encoder_size * (2 if config.bidirectional else 1)
        initialise(self.lstm, self.input.size, config.initialisation)
        self.mean = mean_head(config, states)
        self.scale = scale_head(config, states)
        self._kept: Kept[list[int8_lstm.Weights]] = Kept()

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Normal:
        """tokens (B, T), of which `lengths` (B) count (all, if None) -> q(z|x), with mean and scale (B, Z)."""
        return self.posterior(self.summarised(tokens, lengths))

    def posterior(self, summary: Tensor) -> Normal:
        """What the heads make of a summary (B, H), exactly, whatever the precision of the rest."""
        with torch.autocast(summary.device.type, enabled=False):
            return Normal(self.mean(summary), self.scale(summary), validate_args=False)

    def summarised(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """As for `forward`, what the heads get: (B, H), of both directions (B, 2H), in fp32 or better."""
        if self.bos is not None:
            tokens = F.pad(tokens, (1, 0), value=self.bos)
            lengths = None if lengths is None else lengths + 1
        summary = self._summary(tokens, lengths)
        return summary.float() if summary.dtype == torch.bfloat16 else summary

    def _summary(self, tokens: Tensor, lengths: Tensor | None) -> Tensor:
        """(B, T) -> (B, H), of both directions (B, 2H)."""
        directions = 2 if self.lstm.bidirectional else 1
        read = partial(self._gates, tokens.t())
        if int8.wanted():
            weights = self._kept.get(self.lstm, lambda: int8_lstm.weights_of(self.lstm))
            steps, last = int8_lstm.run(self.lstm, weights, read, tokens.t().shape, lengths)
        elif unrolled.suits(self.lstm, *tokens.shape):
            steps, last = unrolled.run(self.lstm, read, lengths=lengths)
        elif lengths is not None:
            steps, last = recurrence.run_lengths(self.lstm, self.input(tokens), lengths)
        else:
            outputs, last = recurrence.run(self.lstm, self.input(tokens))
            steps = [outputs.transpose(0, 1)]  # both directions side by side already
        if self.summary == "last":
            return torch.cat([*last[-directions:]], dim=-1)
        return self._pooled(recurrence.together(steps, lengths), lengths)

    def _gates(self, steps: Tensor, weight: Tensor, bias: Tensor, order: Tensor | None) -> Tensor:
        """What `unrolled` reads: the shares of tokens (T, B), in an order, in the first layer's gates."""
        return self.input.times(steps if order is None else steps.gather(0, order), weight, bias)

    def _pooled(self, outputs: Tensor, lengths: Tensor | None) -> Tensor:
        """Mean or maximum over the steps of (T, B, H), of which `lengths` (B) count."""
        if lengths is None:
            return outputs.mean(0) if self.summary == "mean" else outputs.amax(0)
        counts = length_mask(lengths, len(outputs)).t().unsqueeze(-1)
        if self.summary == "mean":
            return (outputs * counts).sum(0) / lengths.unsqueeze(1)
        return outputs.masked_fill(~counts, -torch.inf).amax(0)


class NoEncoder(nn.Module):
    """Of a model without latents, which is a plain language model."""

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Normal:
        """tokens (B, T) -> a distribution over (B, 0)."""
        nothing = torch.zeros(len(tokens), 0, device=tokens.device)
        return Normal(nothing, nothing, validate_args=False)
