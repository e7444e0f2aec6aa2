"""The sequence VAE: encoder q(z|x), decoder p(x|z), standard normal prior p(z), and the bound that joins them."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from seqvae.config import ModelConfig
from seqvae.corruption import corrupted, hidden
from seqvae.decoders import LSTMDecoder
from seqvae.encoders import LSTMEncoder, NoEncoder
from seqvae.objectives import distortion, rate_per_dimension, summed
from seqvae.sampling import parallel_scheduled_forward, scheduled_forward


@dataclass(frozen=True)
class Terms:
    """What one pass gives: the two sides of the bound for each sequence."""

    distortion: Tensor  # (B) nats
    rates: Tensor  # (B, Z) nats
    z: Tensor  # (B, Z)

    @property
    def elbo(self) -> Tensor:
        """log p(x|z) - KL(q||p) of each sequence: (B), nats."""
        return -self.distortion - self.rates.sum(-1)


@dataclass(frozen=True)
class Noise:
    """How a training pass is made harder; shares between 0 and 1."""

    scheduled: float = 0.0  # of the decoder's inputs that are its own samples (scheduled sampling)
    parallel: bool = False  # draw them all at once, from a teacher-forced pass
    word_dropout: float = 0.0  # of the decoder's inputs that are hidden
    swap: float = 0.0  # of the encoder's inputs that are moved,
    drop: float = 0.0  # ... taken out,
    mask: float = 0.0  # ... hidden


class SequenceVAE(nn.Module):
    """Encoder and decoder of the sizes in `config`.

    Sequences are rows of tokens (B, T) int64. Where they are of different lengths, `lengths` (B) tells how many tokens
    of each count; None says that all do.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = LSTMEncoder(config) if config.latent_size else NoEncoder()
        self.decoder = LSTMDecoder(config)

    def encode(self, tokens: Tensor, lengths: Tensor | None = None) -> Normal:
        """tokens (B, T) -> q(z|x) over (B, Z)."""
        return self.encoder(tokens, lengths)

    def decode(self, z: Tensor, tokens: Tensor) -> Tensor:
        """z (B, Z), tokens (B, T) -> teacher-forced logits (B, T, V)."""
        return self.decoder(z, tokens)

    def distortion(self, z: Tensor, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """-log p(x|z) of each sequence in nats: (B)."""
        return summed(self.decoder.nll(z, tokens, tokens), lengths)

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor | None = None,
        generator: torch.Generator | None = None,
        noise: Noise | None = None,
    ) -> Terms:
        """One pass with one sample of z; `generator` is the source of all noise, for a result that can be repeated."""
        noise = noise or Noise()
        posterior = self.encode(*self._corrupted(tokens, lengths, noise, generator))
        z = sample(posterior, generator)
        read = hidden(tokens, noise.word_dropout, self.config.blank, generator)
        if noise.scheduled > 0:
            scheduled = parallel_scheduled_forward if noise.parallel else scheduled_forward
            lost = distortion(scheduled(self.decoder, z, read, noise.scheduled, generator), tokens, lengths)
        else:
            lost = summed(self.decoder.nll(z, read, tokens, generator), lengths)
        return Terms(lost, rate_per_dimension(posterior), z)

    def _corrupted(
        self, tokens: Tensor, lengths: Tensor | None, noise: Noise, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor | None]:
        if not (noise.swap or noise.drop or noise.mask):
            return tokens, lengths
        return corrupted(
            tokens,
            lengths,
            swap=noise.swap,
            drop=noise.drop,
            mask=noise.mask,
            blank=self.config.blank,
            ends=self.config.eos is not None,
            generator=generator,
        )


def sample(posterior: Normal, generator: torch.Generator | None = None) -> Tensor:
    """One z of each posterior, (B, Z), differentiable."""
    like = posterior.loc
    return like + posterior.scale * torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype)
