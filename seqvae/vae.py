"""The sequence VAE: encoder q(z|x), decoder p(x|z), standard normal prior p(z), and the bound that joins them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from seqvae.config import ModelConfig
from seqvae.decoders import LSTMDecoder
from seqvae.encoders import LSTMEncoder
from seqvae.objectives import distortion, rate_per_dimension
from seqvae.sampling import parallel_scheduled_forward, scheduled_forward


@dataclass(frozen=True)
class Terms:
    """What one pass gives: the two sides of the bound for each sequence, and the predictions."""

    distortion: Tensor  # (B) nats
    rates: Tensor  # (B, Z) nats
    logits: Tensor  # (B, T, V)

    @property
    def elbo(self) -> Tensor:
        """log p(x|z) - KL(q||p) of each sequence: (B), nats."""
        return -self.distortion - self.rates.sum(-1)


class SequenceVAE(nn.Module):
    """Encoder and decoder of the sizes in `config`."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = LSTMEncoder(config)
        self.decoder = LSTMDecoder(config)

    def encode(self, tokens: Tensor) -> Normal:
        """tokens (B, T) -> q(z|x) over (B, Z)."""
        return self.encoder(tokens)

    def decode(self, z: Tensor, tokens: Tensor) -> Tensor:
        """z (B, Z), tokens (B, T) -> teacher-forced logits (B, T, V)."""
        return self.decoder(z, tokens)

    def forward(
        self,
        tokens: Tensor,
        generator: torch.Generator | None = None,
        sampling_probability: float = 0.0,
        parallel_sampling: bool = False,
    ) -> Terms:
        """One pass with one sample of z.

        Args:
            tokens: (B, T) int64.
            generator: source of all noise, for a result that can be repeated.
            sampling_probability: share of the decoder's inputs that are its own samples (scheduled sampling).
            parallel_sampling: draw them all at once, from a teacher-forced pass.
        """
        posterior = self.encode(tokens)
        noise = torch.randn(posterior.loc.shape, generator=generator, device=tokens.device, dtype=posterior.loc.dtype)
        z = posterior.loc + posterior.scale * noise
        if sampling_probability > 0:
            scheduled = parallel_scheduled_forward if parallel_sampling else scheduled_forward
            logits = scheduled(self.decoder, z, tokens, sampling_probability, generator)
        else:
            logits = self.decode(z, tokens)
        return Terms(distortion(logits, tokens), rate_per_dimension(posterior), logits)
