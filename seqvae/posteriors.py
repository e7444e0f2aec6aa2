"""The family of q(z|x): how a summary of the sequence becomes the mean and the scale of a normal distribution.

    gaussian     mean and scale are learned                             Kingma & Welling 2014, arXiv:1312.6114
    batch-norm   the means of a batch are normalised to spread gamma, which is fixed, so that the rate of a dimension is
                 at least gamma^2 / 2 on average                        Zhu et al. 2020, arXiv:2004.12585
    delta        the scale s is one constant, (s^2 - 1 - ln s^2) / 2 = rate_j, so that every dimension of every sequence
                 has at least the rate rate_j                           Razavi et al. 2019, arXiv:1901.03416
                 (their independent case, with all the freedom in the mean)

Each gives a `torch.distributions.Normal`, always in fp32 or better: the rate is a sum of small terms.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqvae.config import ModelConfig
from seqvae.embedding import normal

SMALLEST_SCALE = 1e-6  # keeps the rate finite when a head saturates
SMALLEST_VARIANCE = 1e-12  # of means that are normalised: they may lie close together first
FIRST_MEAN = 0.1  # spread of the weights of the mean, which then spreads over about 1
FIRST_SCALE = 0.1  # of an untrained posterior: z says something before the decoder has learned to ignore it


def mean_head(config: ModelConfig, inputs: int) -> nn.Module:
    """(B, inputs) -> means (B, Z)."""
    linear = nn.Linear(inputs, config.latent_size, bias=config.bias)
    normal(linear.weight, FIRST_MEAN)
    if config.posterior == "batch-norm":
        return nn.Sequential(linear, FixedSpread(config.latent_size, config.gamma))
    return linear


def scale_head(config: ModelConfig, inputs: int) -> nn.Module:
    """(B, inputs) -> scales (B, Z), above 0."""
    if config.posterior == "delta":
        return FixedScale(config.latent_size, scale_of_rate(config.minimum_rate / config.latent_size))
    return SoftplusLinear(inputs, config.latent_size, config.bias)


class SoftplusLinear(nn.Linear):
    """softplus(W x + b), which begins at FIRST_SCALE."""

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__(inputs, outputs, bias)
        self.offset = 0.0 if bias else math.log(math.expm1(FIRST_SCALE))
        if bias:
            nn.init.constant_(self.bias, math.log(math.expm1(FIRST_SCALE)))

    def forward(self, summary: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return F.softplus(super().forward(summary) + self.offset) + SMALLEST_SCALE

    def before_softplus(self, scale: Tensor) -> Tensor:
        """What W x + b is to be for a scale."""
        above = (scale - SMALLEST_SCALE).clamp(min=SMALLEST_SCALE)
        return above + (-(-above).expm1()).log() - self.offset


class FixedScale(nn.Module):
    """One scale for all."""

    def __init__(self, outputs: int, scale: float) -> None:
        super().__init__()
        self.outputs, self.scale = outputs, scale

    def forward(self, summary: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return summary.new_full((len(summary), self.outputs), self.scale)


class FixedSpread(nn.BatchNorm1d):
    """Batch normalisation to the spread gamma, with a learned shift; at rest by the averages met in training."""

    def __init__(self, size: int, gamma: float) -> None:
        super().__init__(size, eps=SMALLEST_VARIANCE)
        del self.weight
        # Not in model files: made on the CPU even for `load_model`, which builds models on torch.device("meta")
        weight = torch.full((size,), gamma, device="cpu")
        self.register_buffer("weight", weight, persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """(B, size) -> (B, size). A sequence alone has no spread of its own: it is normalised as at rest."""
        if len(input) > 1:
            return super().forward(input)
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


def scale_of_rate(rate: float) -> float:
    """The scale s < 1 with (s^2 - 1 - ln s^2) / 2 = rate (nats): of a normal with mean 0 that has this rate."""
    low, high = 0.0, 1.0  # of s^2, by bisection: the left side falls from infinity to 0
    for _ in range(200):
        middle = (low + high) / 2
        if middle > 0 and (middle - 1 - math.log(middle)) / 2 < rate:
            high = middle
        else:
            low = middle
    return math.sqrt((low + high) / 2)
