"""The objective of a variational autoencoder and its bounds.

    elbo       = E_q(z|x)[ log p(x|z) ] - KL(q(z|x) || p(z))  <=  log p(x)     Kingma & Welling 2014, arXiv:1312.6114
    distortion = -log p(x|z), rate = KL(q||p), both in nats, summed over a sequence
    loss       = distortion + beta * (rate that is not free)                   beta-VAE, Higgins et al. 2017

Free bits let the posterior carry some information at no price. They are granted

    total      to each sequence's whole rate                                MusicVAE, Roberts et al. 2018
    dimension  to each dimension of each sequence                           Li et al. 2019, arXiv:1909.00868
    batch      to each dimension's mean over the batch                      Kingma et al. 2016, arXiv:1606.04934

and what is charged of a rate r with f free is, as a clamp, max(r - f, 0), or, as a mask, r where r > f and else 0:
the gradients are the same, the loss shown is not.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Normal, kl_divergence


def prior_like(posterior: Normal) -> Normal:
    """p(z): a standard normal of the posterior's shape (B, Z)."""
    return Normal(torch.zeros_like(posterior.loc), torch.ones_like(posterior.scale), validate_args=False)


def distortion(logits: Tensor, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
    """-log p(x|z) of each sequence in nats: logits (B, T, V), tokens (B, T), of which `lengths` (B) count -> (B)."""
    nll = F.cross_entropy(logits.flatten(0, 1).float(), tokens.flatten(), reduction="none")
    return summed(nll.view(tokens.shape), lengths)


def summed(nll: Tensor, lengths: Tensor | None) -> Tensor:
    """Sums (B) over the steps of nll (B, T) that lie within `lengths` (B); over all if None."""
    return nll.sum(-1) if lengths is None else (nll * length_mask(lengths, nll.shape[1])).sum(-1)


def length_mask(lengths: Tensor, T: int) -> Tensor:
    """Which of T steps belong to sequences of these lengths (B): bool (B, T)."""
    return torch.arange(T, device=lengths.device) < lengths.unsqueeze(1)


def rate_per_dimension(posterior: Normal) -> Tensor:
    """KL(q(z_j|x) || p(z_j)) in nats: (B, Z)."""
    return kl_divergence(posterior, prior_like(posterior))


def charged_rate(rates: Tensor, free_bits: float | None, per: str = "total", form: str = "clamp") -> Tensor:
    """The part of the rate that is not free, averaged over the batch.

    Args:
        rates: (B, Z), nats.
        free_bits: bits (not nats) that cost nothing; None charges all.
        per: what has them: "total", "dimension" or "batch" (see the head of this module).
        form: "clamp" or "mask".
    """
    if free_bits is None:
        return rates.sum(-1).mean()
    granted = {"total": rates.sum(-1, keepdim=True), "dimension": rates, "batch": rates.mean(0, keepdim=True)}[per]
    free = free_bits * math.log(2.0)
    charged = (granted - free).clamp_min(0.0) if form == "clamp" else granted * (granted > free)
    return charged.sum(-1).mean()


def importance_weighted_bound(log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    """log 1/K sum_k p(x, z_k) / q(z_k|x) with z_k ~ q: a bound on log p(x), tighter as K grows.

    Args:
        log_joint, log_posterior: (K, B), nats.

    Returns:
        (B), nats (Burda et al. 2016, arXiv:1509.00519).
    """
    return torch.logsumexp(log_joint - log_posterior, 0) - math.log(log_joint.shape[0])
