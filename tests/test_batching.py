"""Batches of like length: every sequence once, hardly any padding, and no order that could be learned."""

import numpy as np
import pytest

from seqvae.batching import MOST_PADDING, ShuffledBatches, batches_of_like_length, number_of_batches


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


def rows_of_an_epoch(size: int, batch_size: int, seed: int = 0) -> np.ndarray:
    batches = ShuffledBatches(size, batch_size, np.random.default_rng(seed))
    assert len(batches) == number_of_batches(size, batch_size)
    return np.concatenate([batches[number] for number in range(len(batches))])


@pytest.mark.parametrize("size", [1, 2, 3, 10, 16, 17, 99, 100, 101, 5000])
@pytest.mark.parametrize("batch_size", [1, 7, 10_000])
def test_a_shuffled_epoch_has_no_row_twice_and_full_batches(size: int, batch_size: int) -> None:
    rows = rows_of_an_epoch(size, batch_size)
    assert len(rows) == (size // batch_size * batch_size or size)
    assert len(np.unique(rows)) == len(rows)
    assert 0 <= rows.min() <= rows.max() < size


def test_a_shuffled_epoch_passes_for_random() -> None:
    N, seeds = 12, 4000
    orders = np.array([rows_of_an_epoch(N, N, seed) for seed in range(seeds)])
    for place in range(N):  # each row is as likely in each place, and after each other one
        assert np.abs(np.bincount(orders[:, place], minlength=N) - seeds / N).max() < 5 * (seeds / N) ** 0.5
    follows = np.bincount(orders[:, 3] * N + orders[:, 4], minlength=N * N).reshape(N, N)
    apart = follows[~np.eye(N, dtype=bool)]
    assert np.abs(apart - seeds / (N * (N - 1))).max() < 5 * (seeds / (N * (N - 1))) ** 0.5
    rows = rows_of_an_epoch(100_003, 1000)
    steps = rows[1:] - rows[:-1]
    assert abs(np.corrcoef(rows[:-1], rows[1:])[0, 1]) < 0.02
    assert len(np.unique(steps)) > 0.5 * len(steps)  # no step comes again and again, as it would in a regular order


def test_ten_million_rows_are_shuffled_without_a_list_of_them() -> None:
    batches = ShuffledBatches(10**7, 512, np.random.default_rng(0))
    some = np.concatenate([batches[number] for number in (0, 7, len(batches) - 1)])
    assert len(np.unique(some)) == 3 * 512
    assert some.max() < 10**7
    assert abs(some.mean() / 10**7 - 0.5) < 0.05
