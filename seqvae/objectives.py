"""The objective of a variational autoencoder and its bounds.

    elbo       = E_q(z|x)[ log p(x|z) ] - KL(q(z|x) || p(z))  <=  log p(x)     Kingma & Welling 2014, arXiv:1312.6114
    distortion = -log p(x|z), rate = KL(q||p), both in nats, summed over a sequence
    loss       = distortion + beta * (rate that is not free)                   beta-VAE, Higgins et al. 2017

Free bits let the posterior carry some information at no price: over a sequence's whole rate, max(rate - f, 0)
(MusicVAE, Roberts et al. 2018), or for each dimension's mean over the batch, sum_j max(rate_j - f, 0), whose
gradient is that of Kingma et al. 2016 (arXiv:1606.04934, there max(rate_j, f)).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal, kl_divergence


def prior_like(posterior: Normal) -> Normal:
    """p(z): a standard normal of the posterior's shape (B, Z)."""
    return Normal(torch.zeros_like(posterior.loc), torch.ones_like(posterior.scale))


def distortion(logits: Tensor, tokens: Tensor) -> Tensor:
    """-log p(x|z) of each sequence in nats: logits (B, T, V), tokens (B, T) -> (B)."""
    nll = F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten(), reduction="none")
    return nll.view(tokens.shape).sum(-1)


def rate_per_dimension(posterior: Normal) -> Tensor:
    """KL(q(z_j|x) || p(z_j)) in nats: (B, Z)."""
    return kl_divergence(posterior, prior_like(posterior))


def charged_rate(rates: Tensor, free_bits: float | None, per: str = "total") -> Tensor:
    """The part of the rate that is not free, averaged over the batch.

    Args:
        rates: (B, Z), nats.
        free_bits: bits (not nats) that cost nothing; None charges all.
        per: "total" (each sequence has them once) or "dimension" (each of the Z dimensions has them).
    """
    free = 0.0 if free_bits is None else free_bits * math.log(2.0)
    if per == "dimension":
        return (rates.mean(0) - free).clamp_min(0.0).sum()
    return (rates.sum(-1) - free).clamp_min(0.0).mean()


def importance_weighted_bound(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    """log 1/K sum_k p(x, z_k) / q(z_k|x) with z_k ~ q: a bound on log p(x), tighter as K grows.

    Args:
        log_joint, log_posterior: (K, B), nats.

    Returns:
        (B), nats (Burda et al. 2016, arXiv:1509.00519).
    """
    return torch.logsumexp(log_joint - log_posterior, 0) - math.log(log_joint.shape[0])
