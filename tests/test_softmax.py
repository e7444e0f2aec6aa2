"""The fused last layer is cross entropy over a linear layer: values and gradients."""

import pytest
import torch
import torch.nn.functional as F

from seqvae import softmax
from seqvae.softmax import token_nll

N, H, V = 13, 6, 2500


@pytest.fixture
def parts() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = {"hidden": (N, H), "weight": (V, H), "bias": (V,)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
        for name, shape in made.items()
    }


TARGETS = torch.randint(0, V, (N,), generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.linspace(-1.0, 2.0, N, dtype=torch.float64)  # of the tokens in a loss


@pytest.mark.parametrize("with_bias", [True, False])
def test_values_and_gradients_are_those_of_cross_entropy(parts: dict[str, torch.Tensor], with_bias: bool) -> None:
    bias = parts["bias"] if with_bias else None
    leaves = [parts["hidden"], parts["weight"], *([bias] if with_bias else [])]
    found = token_nll(parts["hidden"], parts["weight"], bias, TARGETS)
    expected = F.cross_entropy(F.linear(parts["hidden"], parts["weight"], bias), TARGETS, reduction="none")
    torch.testing.assert_close(found, expected)
    gradients = torch.autograd.grad((found * WEIGHTS).sum(), leaves)
    for one, other in zip(gradients, torch.autograd.grad((expected * WEIGHTS).sum(), leaves), strict=True):
        torch.testing.assert_close(one, other)


def test_large_logits_do_not_overflow() -> None:
    hidden, weight = torch.full((2, 1), 1.0), torch.tensor([[2000.0], [1000.0], [-3000.0]])
    assert token_nll(hidden, weight, None, torch.tensor([0, 1])).tolist() == [0.0, 1000.0]


def test_in_bf16_it_stays_near(parts: dict[str, torch.Tensor]) -> None:
    single = {name: part.detach().float().requires_grad_() for name, part in parts.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = token_nll(single["hidden"], single["weight"], single["bias"], TARGETS)
    assert found.dtype == torch.float32
    exact = token_nll(parts["hidden"], parts["weight"], parts["bias"], TARGETS)
    torch.testing.assert_close(found.double(), exact, atol=0.03, rtol=0.0)
    found.sum().backward()
    exact.sum().backward()
    for name, part in parts.items():
        assert single[name].grad.dtype == torch.float32
        torch.testing.assert_close(single[name].grad.double(), part.grad, atol=0.03, rtol=0.02)


def test_without_gradients_it_works_in_parts(parts: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(softmax, "CELLS_IN_CACHE", 5 * V)
    whole = token_nll(parts["hidden"], parts["weight"], parts["bias"], TARGETS)
    with torch.no_grad():
        torch.testing.assert_close(token_nll(parts["hidden"], parts["weight"], parts["bias"], TARGETS), whole.detach())
        assert token_nll(parts["hidden"][:0], parts["weight"], None, TARGETS[:0]).shape == (0,)
