"""Curves over the training steps, at their ends, in between, and against the papers' formulas."""

import itertools
import math
from collections.abc import Callable

import pytest

from seqvae.config import ANNEALING, SCHEDULED_SAMPLING
from seqvae.schedules import annealed_beta, learning_rate, sampling_probability


@pytest.mark.parametrize("kind", [kind for kind in ANNEALING if kind not in ("none", "cyclical")])
def test_annealing_rises_from_zero_to_beta(kind: str) -> None:
    curve = [annealed_beta(kind, step, beta=0.7, steps=100) for step in range(0, 2001, 10)]
    assert curve[0] == 0.0
    assert curve[-1] == pytest.approx(0.7, rel=1e-6)
    assert all(a <= b for a, b in itertools.pairwise(curve))


def test_annealing_by_formula() -> None:
    assert annealed_beta("none", 0, beta=0.3, steps=10) == 0.3
    assert annealed_beta("linear", 25, beta=1.0, steps=100) == 0.25
    assert annealed_beta("sigmoid", 50, beta=1.0, steps=100) == pytest.approx(0.5)
    musicvae = 0.2 * (1 - 0.99999**5000)
    assert annealed_beta("exponential", 5000, beta=0.2, steps=100_000) == pytest.approx(musicvae)


def test_cyclical_annealing_has_four_cycles_half_of_them_flat() -> None:
    curve = [annealed_beta("cyclical", step, beta=1.0, steps=400) for step in range(500)]
    assert [step for step in range(500) if curve[step] == 0.0] == [0, 100, 200, 300]
    assert curve[25] == 0.5
    assert all(value == 1.0 for start in (0, 100, 200, 300) for value in curve[start + 50 : start + 100])
    assert all(value == 1.0 for value in curve[400:])


def test_scheduled_sampling_by_formula() -> None:
    assert sampling_probability("none", 9, rate=0.5, steps=100) == 0.0
    assert sampling_probability("constant", 9, rate=0.5, steps=100) == 0.5
    assert sampling_probability("exponential", 30, rate=0.5, steps=100) == pytest.approx(0.5 * (1 - 0.99**30))
    k, step = 200, 900
    truth = k / (k + math.exp(step / k))
    assert sampling_probability("inverse-sigmoid", step, rate=1.0, steps=k) == pytest.approx(1 - truth)


@pytest.mark.parametrize("kind", [kind for kind in SCHEDULED_SAMPLING if kind != "none"])
def test_scheduled_sampling_stays_a_probability_however_long(kind: str) -> None:
    assert sampling_probability(kind, 10**9, rate=0.9, steps=3) == pytest.approx(0.9)


def test_learning_rate() -> None:
    assert learning_rate("none", 9, 0.3, first=1.0, last=0.1) == 1.0
    assert learning_rate("plateau", 9, 0.3, first=1.0, last=0.1) == 1.0
    assert learning_rate("exponential", 10_000, 0.1, first=1e-3, last=1e-5) == pytest.approx(
        1e-5 + 0.99e-3 * math.exp(10_000 * math.log(0.9999))
    )
    curve = [learning_rate("cosine", 0, share / 100, first=1.0, last=0.1) for share in range(101)]
    assert curve[0] < 0.2
    assert max(curve) == pytest.approx(1.0, abs=0.01)
    assert curve[50] == pytest.approx(0.55, abs=0.01)
    assert curve[100] == pytest.approx(0.1)


def test_a_cosine_is_warmed_up_over_its_first_fiftieth() -> None:
    for progress, warm_up in ((0.0, 0.05), (0.009, 0.5), (0.019, 1.0), (0.04, 1.0)):
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        found = learning_rate("cosine", 0, progress, first=1.0, last=0.0)
        assert found == pytest.approx(warm_up * cosine)


@pytest.mark.parametrize(
    "call",
    [
        lambda kind: annealed_beta(kind, 1, beta=1.0, steps=10),
        lambda kind: sampling_probability(kind, 1, rate=1.0, steps=10),
        lambda kind: learning_rate(kind, 1, 0.1, first=1.0, last=0.1),
    ],
)
def test_an_unknown_kind_is_an_error(call: Callable[[str], float]) -> None:
    with pytest.raises(ValueError, match="stairs"):
        call("stairs")
