"""What can hold the latents near the prior beside, or instead of, the rate. Each looks at the z of a whole batch.

MMD (Gretton et al. 2012), for Wasserstein autoencoders (Tolstikhin et al. 2018, arXiv:1711.01558, their section 4):

    mean_{i != j} k(z_i, z_j) + mean_{i != j} k(p_i, p_j) - 2 mean_{i, j} k(z_i, p_j),   p ~ prior,
    k(a, b) = sum_s C_s / (C_s + |a - b|^2),   C_s = 2 Z s,  s in SCALES

Adversarial (AAE, Makhzani et al. 2015, arXiv:1511.05644): a discriminator learns to tell z from draws of the prior, and
the encoder to deceive it; the part of the loss that is the encoder's is -log D(z), as in Goodfellow et al. 2014.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqvae.distributed import ALONE, World
from seqvae.updating import load, update

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
DISCRIMINATOR_SIZE = 512
DISCRIMINATOR_RATE = 5e-4


def mmd(z: Tensor, prior: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two samples (B, Z), without bias: a scalar, 0 on average where they agree.

    One sequence alone has no spread to compare: 0.
    """
    B = len(z)
    if B < 2:
        return z.new_zeros(())
    both = _kernel(z, z) + _kernel(prior, prior)
    off_diagonal = both.sum() - both.diagonal().sum()
    return off_diagonal / (B * (B - 1)) - 2.0 * _kernel(z, prior).mean()


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    """k of all pairs: (B, B)."""
    # |a - b|^2 by one product; the differences would be B x B x Z numbers. Rounding may leave less than 0
    squared = torch.addmm(a.square().sum(1, keepdim=True) + b.square().sum(1), a, b.t(), alpha=-2.0).clamp_min(0.0)
    base = 2.0 * a.shape[1]
    return torch.stack([scale * base / (scale * base + squared) for scale in SCALES]).sum(0)


class Adversary:
    """The discriminator and its optimizer."""

    def __init__(self, latent_size: int, device: torch.device) -> None:
        self.network = nn.Sequential(
            nn.Linear(latent_size, DISCRIMINATOR_SIZE),
            nn.ReLU(),
            nn.Linear(DISCRIMINATOR_SIZE, DISCRIMINATOR_SIZE),
            nn.ReLU(),
            nn.Linear(DISCRIMINATOR_SIZE, 1),
        ).to(device, torch.float32)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=DISCRIMINATOR_RATE, betas=(0.5, 0.999), fused=True
        )

    def error(self, z: Tensor, prior: Tensor) -> Tensor:
        """How badly it tells z from draws of the prior, (B, Z) each."""
        return (F.softplus(self.network(z.detach())) + F.softplus(-self.network(prior))).mean()

    def learn(self, error: Tensor, world: World = ALONE) -> None:
        """One step towards a smaller error, of which every process has its share; none if it is not finite."""
        self.optimizer.zero_grad(set_to_none=True)
        error.backward()
        whole = error.detach().clone()
        world.add_up(
            [whole, *(parameter.grad for parameter in self.network.parameters() if parameter.grad is not None)]
        )
        update(self.optimizer, whole)

    def loss(self, z: Tensor) -> Tensor:
        """-log D(z), averaged: small where z is taken for the prior's. No gradient stays in the discriminator."""
        self.network.requires_grad_(False)
        loss = F.softplus(-self.network(z)).mean()
        self.network.requires_grad_(True)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimizer."""
        return {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self.network.load_state_dict(state["network"])
        load(self.optimizer, state["optimizer"])
