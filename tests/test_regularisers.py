"""Distances to the prior: by a second route, and by what they do to an encoder."""

import copy

import pytest
import torch
import torch.nn.functional as F

from seqvae.regularisers import SCALES, Adversary, mmd


def draws(n: int, seed: int, mean: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return mean + scale * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_mmd_is_its_double_sum() -> None:
    z, prior = draws(5, 0), draws(5, 1)

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        return sum(4.0 * s / (4.0 * s + float((a - b).square().sum())) for s in SCALES)

    within = sum(k(x[i], x[j]) for x in (z, prior) for i in range(5) for j in range(5) if i != j) / 20
    across = sum(k(a, b) for a in z for b in prior) / 25
    assert float(mmd(z, prior)) == pytest.approx(within - 2 * across)


def test_mmd_in_fp32_is_that_of_differences() -> None:
    """Distances are taken by a product, which may lose what near points differ by: values and gradients."""
    far = 3.0 + draws(40, 2)
    exact = torch.cat([far, far + 1e-4 * draws(40, 3)]).requires_grad_()
    single = exact.detach().float().requires_grad_()
    prior = draws(80, 1)
    found, wanted = mmd(single, prior.float()), mmd(exact, prior)
    torch.testing.assert_close(found.double(), wanted, atol=1e-5, rtol=1e-4)
    (one,), (other,) = torch.autograd.grad(found, single), torch.autograd.grad(wanted, exact)
    torch.testing.assert_close(one.double(), other, atol=1e-5, rtol=1e-3)


def test_mmd_is_about_0_where_they_agree_and_more_where_not() -> None:
    same = torch.stack([mmd(draws(64, seed), draws(64, 100 + seed)) for seed in range(100)])
    assert abs(float(same.mean())) < 3 * float(same.std()) / 10  # without bias: negative as often as positive
    assert same.min() < 0
    for other in (draws(500, 0, mean=1.0), draws(500, 0, scale=0.3)):
        assert mmd(other, draws(500, 1)) > 10 * same.std() / 8
    assert mmd(draws(1, 0), draws(1, 1)) == 0


def descended(loss, learn=lambda z: None, steps: int = 300) -> torch.Tensor:
    """Samples far from the prior, moved along the gradient of a loss."""
    z = (3.0 + 0.2 * torch.randn(128, 2, generator=torch.Generator().manual_seed(0))).requires_grad_()
    optimizer = torch.optim.Adam([z], lr=0.1)
    for _ in range(steps):
        learn(z)
        optimizer.zero_grad()
        loss(z).backward()
        optimizer.step()
    return z.detach()


def test_descending_mmd_leads_to_the_prior() -> None:
    prior = torch.randn(128, 2, generator=torch.Generator().manual_seed(1))
    z = descended(lambda z: mmd(z, prior))
    assert mmd(z, prior) < 0.05 * mmd(descended(lambda z: 0.0 * z.sum()), prior)
    assert (z.mean(0) - prior.mean(0)).norm() < 1.0  # from 4.2


def test_deceiving_the_adversary_leads_towards_the_prior() -> None:
    torch.manual_seed(0)
    adversary = Adversary(2, torch.device("cpu"))
    z = descended(adversary.loss, lambda z: adversary.learn(adversary.error(z, torch.randn(128, 2))))
    assert z.mean(0).norm() < 1.5  # from 4.2
    assert all(parameter.requires_grad for parameter in adversary.network.parameters())


def test_the_adversary_errs_as_binary_cross_entropy_says() -> None:
    """1 for draws of the prior and 0 for z; the encoder, which wants 1 for z, leaves no gradient in it, nor it in z."""
    torch.manual_seed(0)
    adversary, z, prior = Adversary(2, torch.device("cpu")), draws(6, 0).float().requires_grad_(), draws(6, 1).float()
    entropy = F.binary_cross_entropy(adversary.network(z).sigmoid(), torch.ones(6, 1))
    other = F.binary_cross_entropy(adversary.network(z).sigmoid(), torch.zeros(6, 1))
    own = F.binary_cross_entropy(adversary.network(prior).sigmoid(), torch.ones(6, 1))
    torch.testing.assert_close(adversary.loss(z), entropy)
    torch.testing.assert_close(adversary.error(z, prior), other + own)
    adversary.loss(z).backward()
    assert z.grad.all()
    assert all(parameter.grad is None for parameter in adversary.network.parameters())
    z.grad = None
    adversary.error(z, prior).backward()
    assert z.grad is None
    assert all(parameter.grad.any() for parameter in adversary.network.parameters())


def test_the_adversary_learns_and_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    adversary, z, prior = Adversary(2, torch.device("cpu")), draws(64, 0, mean=3.0).float(), draws(64, 1).float()
    before = adversary.loss(z)
    for _ in range(20):
        adversary.learn(adversary.error(z, prior))
    assert adversary.loss(z) > before  # it is found out
    other = Adversary(2, torch.device("cpu"))
    other.load_state_dict(copy.deepcopy(adversary.state_dict()))
    for each in (adversary, other):
        each.learn(each.error(z, prior))
    assert torch.equal(adversary.loss(z), other.loss(z))
