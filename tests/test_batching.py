"""Batches of like length: every sequence once, hardly any padding, and no order that could be learned."""

import numpy as np
import pytest

from seqvae.batching import MOST_PADDING, batches_of_like_length


def plan(lengths: np.ndarray, batch_size: int, seed: int = 0) -> list[np.ndarray]:
    return batches_of_like_length(lengths, batch_size, np.random.default_rng(seed))


LENGTHS = np.random.default_rng(0).poisson(20, 5000) + 1


@pytest.mark.parametrize("lengths", [LENGTHS, LENGTHS[:7], np.array([3]), np.full(10, 4), np.arange(1, 400)])
@pytest.mark.parametrize("batch_size", [1, 4, 32, 10_000])
def test_every_sequence_once_and_hardly_any_padding(lengths: np.ndarray, batch_size: int) -> None:
    batches = plan(lengths, batch_size)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) <= batch_size
        assert 1 - lengths[batch].mean() / lengths[batch].max() <= MOST_PADDING + 1e-9


def test_most_batches_are_full_and_of_one_length() -> None:
    batches = plan(LENGTHS, 32)
    assert len(batches) < 1.1 * len(LENGTHS) / 32
    assert np.mean([len(np.unique(LENGTHS[batch])) == 1 for batch in batches]) > 0.85


def test_the_order_is_random_and_the_number_is_not() -> None:
    one, same, other = plan(LENGTHS, 32, 1), plan(LENGTHS, 32, 1), plan(LENGTHS, 32, 2)
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert len(one) == len(other)
    assert {tuple(sorted(b)) for b in one} != {tuple(sorted(b)) for b in other}
    means = np.array([LENGTHS[batch].mean() for batch in one])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.2  # short and long ones follow each other at random
