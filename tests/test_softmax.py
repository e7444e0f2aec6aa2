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


@pytest.mark.parametrize("level", [-1000.0, -60.0, 60.0, 1000.0])
def test_logits_of_any_level_neither_overflow_nor_vanish(parts: dict[str, torch.Tensor], level: float) -> None:
    """Some rows far away from the rest, which lie where their exponentials can be added as they are."""
    hidden, weight = (parts[name].detach().float().requires_grad_() for name in ("hidden", "weight"))
    with torch.no_grad():
        weight[:, 0] = 1.0
        hidden[::2, 0] = level
    bias = torch.zeros(V, requires_grad=True)
    found = token_nll(hidden, weight, bias, TARGETS)
    far = F.linear(hidden.double(), weight.double(), bias.double())
    expected = F.cross_entropy(far, TARGETS, reduction="none")
    torch.testing.assert_close(found.double(), expected, atol=1e-3, rtol=1e-4)
    leaves = [hidden, weight, bias]
    for one, other in zip(
        torch.autograd.grad(found.sum(), leaves), torch.autograd.grad(expected.sum(), leaves), strict=True
    ):
        torch.testing.assert_close(one, other, atol=2e-3 * other.abs().max().item(), rtol=1e-3)


def test_a_target_beyond_the_vocabulary_is_no_padding() -> None:
    with pytest.raises(RuntimeError, match="out of bounds"):
        token_nll(torch.zeros(1, 1), torch.ones(softmax.ALIGNED + 1, 1), None, torch.tensor([softmax.ALIGNED + 2]))


def test_what_is_not_a_number_is_none_in_the_end() -> None:
    hidden, weight = torch.tensor([[1.0], [float("nan")]]), torch.tensor([[2.0], [1.0]])
    found = token_nll(hidden, weight, None, torch.tensor([0, 1]))
    assert found.isfinite().tolist() == [True, False]


@pytest.mark.parametrize("vocabulary", [3, softmax.ALIGNED, softmax.SUMMED_LOW, softmax.SUMMED_LOW + 1])
def test_every_token_of_a_vocabulary_is_in_the_sum(vocabulary: int) -> None:
    """Rows of equal logits: log V."""
    found = token_nll(torch.zeros(2, 1), torch.ones(vocabulary, 1), None, torch.tensor([0, vocabulary - 1]))
    torch.testing.assert_close(found, torch.full((2,), vocabulary, dtype=torch.float32).log())


def test_in_bf16_the_sum_itself_is_exact() -> None:
    """Equal logits of so many tokens that bf16 has no such number."""
    vocabulary = softmax.SUMMED_LOW * (softmax.SUMMED_LOW + 1)
    with torch.autocast("cpu", torch.bfloat16):
        found = token_nll(torch.zeros(1, 1), torch.ones(vocabulary, 1), None, torch.tensor([0]))
    torch.testing.assert_close(found, torch.tensor([float(vocabulary)]).log())


def test_memory_that_is_not_filled_is_not_read(parts: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """2,500 tokens leave columns beyond the vocabulary."""
    monkeypatch.setattr(
        torch.Tensor, "new_empty", lambda self, *size, dtype: self.new_full(size, torch.nan, dtype=dtype)
    )
    token_nll(parts["hidden"], parts["weight"], parts["bias"], TARGETS).sum().backward()
    assert all(part.grad.isfinite().all() for part in parts.values())


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


@pytest.mark.parametrize("level", [0.0, 20.06, 100.0])
def test_in_bf16_probabilities_of_a_sure_model_add_up_to_one(level: float) -> None:
    """One token's logit far above the others, and no number of bf16: the target is rounded as the sum is."""
    weight = torch.zeros(300, 1)
    weight[7] = 1.0
    with torch.autocast("cpu", torch.bfloat16):
        nll = token_nll(torch.full((300, 1), level), weight, None, torch.arange(300))
    assert nll.double().neg().exp().sum().item() == pytest.approx(1.0, abs=0.01)
    assert nll[7].item() >= -0.004  # half a unit in the last place of bf16


def test_what_is_frozen_gets_no_gradient(parts: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the product for it taken, as in training an encoder alone."""
    monkeypatch.setattr(softmax, "_transposed_product", None)
    weight, bias = parts["weight"].detach(), parts["bias"].detach()
    token_nll(parts["hidden"], weight, bias, TARGETS).sum().backward()
    expected = F.cross_entropy(F.linear(parts["hidden"], weight, bias), TARGETS, reduction="sum")
    torch.testing.assert_close(parts["hidden"].grad, *torch.autograd.grad(expected, parts["hidden"]))


def test_without_gradients_it_works_in_parts(parts: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = token_nll(parts["hidden"], parts["weight"], parts["bias"], TARGETS)
    taken: list[int] = []
    nll_of = softmax._nll
    monkeypatch.setattr(softmax, "_nll", lambda part, *given: (taken.append(len(part)), nll_of(part, *given))[1])
    with torch.no_grad():
        for cells, rows in ((5 * V, [5, 5, 3]), (V - 1, [1] * N)):
            monkeypatch.setattr(softmax, "CELLS_IN_CACHE", cells)
            taken.clear()
            found = token_nll(parts["hidden"], parts["weight"], parts["bias"], TARGETS)
            torch.testing.assert_close(found, whole.detach())
            assert taken == rows
        assert token_nll(parts["hidden"][:0], parts["weight"], None, TARGETS[:0]).shape == (0,)
