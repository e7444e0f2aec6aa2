"""What z tells about x, by second routes: where it is known, and by integration."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from seqvae import information as module
from seqvae.information import active_units, information


def posterior(N: int, Z: int, spread: float, seed: int = 0) -> Normal:
    noise = torch.randn(2, N, Z, generator=torch.Generator().manual_seed(seed))
    return Normal(spread * noise[0], 0.3 + 0.5 * noise[1].sigmoid())


def test_equal_posteriors_tell_nothing() -> None:
    found = information(Normal(torch.full((50, 3), 0.7), torch.full((50, 3), 0.4)))
    assert found.mutual_information == pytest.approx(0.0, abs=1e-12)
    one = kl_divergence(Normal(0.7, 0.4), Normal(0.0, 1.0)) * 3
    assert found.aggregate_rate == pytest.approx(one.item(), rel=1e-6)


def test_posteriors_far_apart_tell_all() -> None:
    """However narrow they are, and never more than the cap."""
    for scale in (1.0, 1e-3, 1e-6):
        means = 100.0 * torch.arange(64.0).unsqueeze(1).expand(-1, 4)
        found = information(Normal(means, torch.full((64, 4), scale)))
        assert found.mutual_information == pytest.approx(math.log(64), abs=1e-9)
        assert found.mutual_information <= found.cap + 1e-12
        assert found.cap == math.log(64)


def test_pairs_of_equal_posteriors_tell_which_pair() -> None:
    means = 1000.0 * torch.arange(10.0).repeat(2).unsqueeze(1)
    assert information(Normal(means, torch.ones(20, 1))).mutual_information == pytest.approx(math.log(10))


def test_one_dimension_by_integration() -> None:
    q = posterior(40, 1, 1.5)
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64).unsqueeze(1)
    each = Normal(q.loc.double().T, q.scale.double().T).log_prob(z)  # (grid, N)
    aggregate = each.logsumexp(1, keepdim=True) - math.log(40)
    step = 24 / 20_000
    told = (each.exp() * (each - aggregate)).sum(0).mean() * step
    rest = (aggregate.exp() * (aggregate - Normal(0.0, 1.0).log_prob(z))).sum() * step
    found = information(q, samples=4000)
    assert found.mutual_information == pytest.approx(told.item(), abs=0.01)
    assert found.aggregate_rate == pytest.approx(rest.item(), abs=0.01)


def test_many_dimensions_by_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of products are torch.distributions' densities, at any size of a block."""
    q = posterior(30, 5, 1.0)
    mean, scale = q.loc.double(), q.scale.double()
    z = mean + scale * torch.randn(2, 30, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    density = Normal(mean, scale).log_prob(z.unsqueeze(2)).sum(-1)  # (S, N, N)
    told = density.diagonal(dim1=1, dim2=2) - density.logsumexp(2) + math.log(30)
    for cells in (1, 70, 10_000):
        monkeypatch.setattr(module, "CELLS", cells)
        found = information(q, samples=2, seed=3)
        assert found.mutual_information == pytest.approx(told.mean().item())
    rate = kl_divergence(q, Normal(torch.zeros(30, 5), 1.0)).sum(-1).mean()
    assert found.mutual_information + found.aggregate_rate == pytest.approx(rate.item(), rel=1e-6)


def test_aggregate_that_is_the_prior_leaves_no_rest() -> None:
    """Means spread so that q(z) is a standard normal: all of the rate is information."""
    scale = 0.8
    means = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1)) * math.sqrt(1 - scale**2)
    found = information(Normal(means, torch.full_like(means, scale)), samples=5)
    assert found.aggregate_rate == pytest.approx(0.0, abs=0.03)
    assert found.mutual_information == pytest.approx(-2 * math.log(scale), abs=0.03)


def test_of_too_many_sequences_some_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 20)
    found = information(Normal(100.0 * torch.arange(50.0).unsqueeze(1), torch.ones(50, 1)))
    assert found.cap == math.log(20)
    assert found.mutual_information == pytest.approx(found.cap)
    q = posterior(50, 3, 1.0)
    found, rate = information(q), kl_divergence(q, Normal(0.0, 1.0)).sum(-1).mean().item()
    assert found.mutual_information + found.aggregate_rate == pytest.approx(rate)


def test_sequences_that_are_taken_keep_their_own_scales(monkeypatch: pytest.MonkeyPatch) -> None:
    """The narrow ones of the beginning are few of those that are taken."""
    monkeypatch.setattr(module, "MOST", 40)
    scales = torch.full((400, 1), 1e3)
    scales[:40] = 1e-3
    found = information(Normal(torch.arange(400.0).unsqueeze(1), scales))
    assert found.mutual_information < 0.5 * found.cap


@pytest.mark.parametrize("most", [1000, 20])
def test_same_seed_same_estimate(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where not all sequences are taken."""
    monkeypatch.setattr(module, "MOST", most)
    q = posterior(100, 2, 1.0)
    assert information(q, seed=1) == information(q, seed=1)
    assert information(q, seed=1) != information(q, seed=2)


def test_active_units_vary_over_the_data() -> None:
    means = torch.zeros(100, 4)
    means[:, 1] = torch.linspace(-1, 1, 100)
    means[:, 2] = torch.linspace(-0.1, 0.1, 100)  # variance 0.0034
    means[:, 3] = 5.0
    assert active_units(means) == 1
