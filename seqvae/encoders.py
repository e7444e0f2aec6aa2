"""q(z|x): from tokens to a distribution over the latent space.

A bidirectional LSTM reads the sequence; the last state of each direction, side by side, goes through two linear
heads: mean, and scale through softplus (MusicVAE, Roberts et al. 2018, arXiv:1803.05428).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

from seqvae.config import ModelConfig
from seqvae.embedding import TokenInput, initialise

SMALLEST_SCALE = 1e-6  # keeps the rate finite when a head saturates
FIRST_MEAN = 0.1  # spread of the weights of the mean, which then spreads over about 1
FIRST_SCALE = 0.1  # of an untrained posterior: z says something before the decoder has learned to ignore it


class LSTMEncoder(nn.Module):
    """Bidirectional LSTM over the tokens."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input = TokenInput(config)
        self.lstm = nn.LSTM(
            self.input.size,
            config.encoder_size,
            config.encoder_layers,
            batch_first=True,
            bidirectional=True,
        )
        self.mean = nn.Linear(2 * config.encoder_size, config.latent_size)
        self.scale = nn.Linear(2 * config.encoder_size, config.latent_size)
        initialise(self.lstm, self.input.size)
        nn.init.normal_(self.mean.weight, std=FIRST_MEAN)
        nn.init.constant_(self.scale.bias, math.log(math.expm1(FIRST_SCALE)))

    def forward(self, tokens: Tensor) -> Normal:
        """tokens (B, T) -> q(z|x), with mean and scale of shape (B, Z), always in fp32 or better."""
        _, (hidden, _) = self.lstm(self.input(tokens))  # (2 * layers, B, H)
        summary = torch.cat([hidden[-2], hidden[-1]], dim=-1)  # (B, 2H)
        mean, raw_scale = self.mean(summary), self.scale(summary)
        if mean.dtype == torch.bfloat16:  # the rate is a sum of small terms: never in half precision
            mean, raw_scale = mean.float(), raw_scale.float()
        return Normal(mean, F.softplus(raw_scale) + SMALLEST_SCALE, validate_args=False)
