"""What z tells about x under q, over a whole set of N sequences.

    rate = E_x KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z))       Hoffman & Johnson 2016
    I(x; z) = E_x E_z~q(z|x) [ log q(z|x) - log q(z) ],   q(z) = 1/N sum_n q(z|x_n)

The mutual information is estimated with S samples of each posterior and q(z) of all N, as Li et al. 2019
(arXiv:1909.00868) do; He et al. 2019 (arXiv:1901.05534) take the average over batches, whose cap is lower. Since
q(z) >= q(z|x) / N, it never exceeds its cap, ln N, the information that tells N sequences apart. What is left of the
rate is the aggregate rate, the distance of all latents together from the prior.

A dimension is active when its posterior mean varies over the data by more than ACTIVE (Burda et al. 2016,
arXiv:1509.00519).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Normal

from seqvae.objectives import rate_per_dimension

ACTIVE = 0.01  # variance of the posterior mean
MOST = 10_000  # sequences that are compared with each other; of more, so many are drawn
CELLS = 2**22  # densities held at a time


@dataclass(frozen=True)
class Information:
    """The two parts of the rate, in nats."""

    mutual_information: float  # I(x; z) under q
    aggregate_rate: float  # KL(q(z) || p(z))
    cap: float  # ln N, the most that this estimate of the mutual information can be


@torch.no_grad()
def information(posterior: Normal, samples: int | None = None, seed: int = 0) -> Information:
    """Estimate what z tells about x.

    Args:
        posterior: q(z|x) of all sequences, (N, Z); of more than MOST sequences so many are drawn and stand for all.
        samples: S, z drawn from each posterior; None takes as few as make MOST in all.
        seed: of the samples.
    """
    generator = torch.Generator().manual_seed(seed)
    mean, scale = _exact(posterior.loc), _exact(posterior.scale)
    rate = float(rate_per_dimension(Normal(mean, scale, validate_args=False)).sum(-1).mean())
    if len(mean) > MOST:
        some = torch.randperm(len(mean), generator=generator, device="cpu")[:MOST].to(mean.device)
        mean, scale = mean[some], scale[some]
    samples = samples or math.ceil(MOST / len(mean))
    noise = torch.randn(samples, *mean.shape, generator=generator, device="cpu", dtype=mean.dtype).to(mean.device)
    told = _told(mean, scale, mean + scale * noise)
    return Information(told, rate - told, math.log(len(mean)))


def active_units(means: Tensor) -> int:
    """Number of latent dimensions in use: those in which posterior means (N, Z) vary by more than ACTIVE."""
    return int(((means - means.mean(0)).square().mean(0) > ACTIVE).sum())


def _told(mean: Tensor, scale: Tensor, z: Tensor) -> float:
    """Mean of log q(z_n|x_n) - log q(z_n) over z (S, N, Z).

    A block of log densities is one product: -(z - m)^2 / 2 s^2 = [z^2, z] . [-1 / 2 s^2, m / s^2] - m^2 / 2 s^2.
    """
    N = len(mean)
    precision = scale**-2
    of_z = torch.cat([-0.5 * precision, mean * precision], dim=1).t()  # (2 Z, N)
    constant = -(0.5 * mean**2 * precision + scale.log()).sum(1)  # (N); that of all, -Z/2 log 2 pi, cancels
    all_z, told = z.flatten(0, 1), 0.0
    for rows in torch.arange(len(all_z), device=mean.device).split(max(1, CELLS // N)):
        density = torch.addmm(constant, torch.cat([all_z[rows] ** 2, all_z[rows]], dim=1), of_z)  # (rows, N)
        own = density.gather(1, (rows % N).unsqueeze(1)).squeeze(1)
        told += float((own - density.logsumexp(1)).sum())
    return told / len(all_z) + math.log(N)


def _exact(x: Tensor) -> Tensor:
    """In float64, where need be on the CPU: densities of narrow posteriors are differences of large numbers."""
    return x.cpu().double() if x.device.type == "mps" else x.double()
