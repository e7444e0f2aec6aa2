"""The terms of the bound, each by a second route."""

import math

import pytest
import torch
from torch.distributions import Normal

from seqvae.objectives import charged_rate, distortion, importance_weighted_bound, rate_per_dimension, summed


@pytest.fixture
def posterior() -> Normal:
    generator = torch.Generator().manual_seed(1)
    mean = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return Normal(mean, torch.rand(5, 3, generator=generator, dtype=torch.float64) + 0.2)


def test_rate_is_the_textbook_formula(posterior: Normal) -> None:
    mean, variance = posterior.loc, posterior.scale**2
    expected = 0.5 * (mean**2 + variance - variance.log() - 1.0)
    torch.testing.assert_close(rate_per_dimension(posterior), expected)


def test_rate_is_its_monte_carlo_estimate(posterior: Normal) -> None:
    torch.manual_seed(0)
    z = posterior.sample((200_000,))
    estimate = (posterior.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).mean(0)
    torch.testing.assert_close(rate_per_dimension(posterior), estimate, atol=0.03, rtol=0.0)


def test_distortion_sums_over_the_sequence_alone() -> None:
    logits = torch.randn(2, 4, 6, generator=torch.Generator().manual_seed(2))
    tokens = torch.tensor([[0, 1, 2, 3], [5, 5, 0, 1]])
    by_hand = [-sum(math.log(logits[b, t].softmax(-1)[tokens[b, t]]) for t in range(4)) for b in range(2)]
    torch.testing.assert_close(distortion(logits, tokens), torch.tensor(by_hand))


def test_distortion_of_logits_in_half_precision_is_summed_in_fp32() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(2, 50, 90, generator=generator).bfloat16()
    tokens = torch.randint(0, 90, (2, 50), generator=generator)
    torch.testing.assert_close(distortion(logits, tokens), distortion(logits.float(), tokens))


def test_free_bits_over_the_total_are_bits_of_each_sequence() -> None:
    rates = torch.tensor([[math.log(2.0) * 3, math.log(2.0) * 2], [0.0, math.log(2.0)]])  # 5 bits and 1 bit
    torch.testing.assert_close(charged_rate(rates, None), torch.tensor(math.log(2.0) * 3))
    torch.testing.assert_close(charged_rate(rates, 2.0), torch.tensor(math.log(2.0) * 3 / 2))  # 3 bits and none
    assert charged_rate(rates, 5.0) == 0.0


@pytest.mark.parametrize(
    ("per", "form", "bits"),
    [
        ("total", "clamp", (3 - 1.5) / 2),
        ("total", "mask", (3 + 2 * 0) / 2),
        ("dimension", "clamp", (1.5 + 0) / 2),
        ("dimension", "mask", 3 / 2),
        ("batch", "clamp", 2 - 1.5),
        ("batch", "mask", 2.0),
    ],
)
def test_free_bits_by_hand(per: str, form: str, bits: float) -> None:
    rates = math.log(2.0) * torch.tensor([[3.0, 0.0], [1.0, 0.25]])  # means of 2 and 1/8 bits
    torch.testing.assert_close(charged_rate(rates, 1.5, per, form), torch.tensor(math.log(2.0) * bits))


@pytest.mark.parametrize("per", ["total", "dimension", "batch"])
def test_clamp_and_mask_have_the_same_gradient(per: str) -> None:
    gradients = []
    for form in ("clamp", "mask"):
        rates = torch.rand(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
        charged_rate(rates, 0.5, per, form).backward()
        gradients.append(rates.grad)
    assert gradients[0] is not None
    torch.testing.assert_close(*gradients)


def test_no_free_bits_charge_everything() -> None:
    rates = torch.rand(6, 4, generator=torch.Generator().manual_seed(0))
    for per in ("total", "dimension", "batch"):
        torch.testing.assert_close(charged_rate(rates, None, per), rates.sum(-1).mean())


def test_what_lies_beyond_a_length_is_not_summed() -> None:
    nll = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
    assert summed(nll, None).tolist() == [7.0, 56.0]
    assert summed(nll, torch.tensor([1, 2])).tolist() == [1.0, 24.0]


def test_no_gradient_under_the_free_bits() -> None:
    rates = torch.full((2, 3), 0.1, requires_grad=True)
    charged_rate(rates, 10.0).backward()
    assert rates.grad is not None
    assert not rates.grad.any()


def test_importance_weighted_bound_is_exact_for_the_true_posterior() -> None:
    """With x ~ N(z, 1), z ~ N(0, 1) the posterior is N(x/2, 1/2) and log p(x) = log N(x; 0, 2)."""
    x = torch.tensor([0.3, -1.2], dtype=torch.float64)
    posterior = Normal(x / 2, math.sqrt(0.5))
    torch.manual_seed(0)
    z = posterior.sample((3,))
    joint = Normal(0.0, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(x)
    bound = importance_weighted_bound(joint, posterior.log_prob(z))
    torch.testing.assert_close(bound, Normal(0.0, math.sqrt(2.0)).log_prob(x))


def test_importance_weighted_bound_rises_with_the_samples() -> None:
    x = torch.zeros(4000, dtype=torch.float64)
    wrong = Normal(torch.full_like(x, 0.5), 1.0)
    torch.manual_seed(0)

    def bound(K: int) -> float:
        z = wrong.sample((K,))
        joint = Normal(0.0, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(x)
        return float(importance_weighted_bound(joint, wrong.log_prob(z)).mean())

    truth = float(Normal(0.0, math.sqrt(2.0)).log_prob(x[0]))
    assert bound(1) < bound(5) < bound(50) < truth + 0.01
