"""Figures of steps: averaged over sequences, steps that were not finite counted apart."""

import pytest
import torch

from seqvae.metrics import Averages


def figures(loss: float, rows: int) -> torch.Tensor:
    """Sums of loss, distortion, rate and beta over the rows; rows; tokens."""
    return torch.tensor([loss * rows, 2.0 * rows, 3.0 * rows, 0.5 * rows, rows, 7.0 * rows])


def test_means_are_over_sequences_however_often_one_looks() -> None:
    for looks in ((), (0,), (0, 1)):
        averages, skipped = Averages(), 0
        for step, (loss, rows) in enumerate([(1.0, 1), (5.0, 3), (float("nan"), 9)]):
            averages.add(figures(loss, rows), torch.tensor(loss == loss))
            if step in looks:
                skipped += averages.look()
        skipped += averages.look()
        assert averages.means() == pytest.approx(
            {"train_loss": 4.0, "train_distortion": 2.0, "train_rate": 3.0, "train_beta": 0.5}
        )
        assert skipped == 1
        assert averages.shown(2.0).endswith(f"tokens/s={28 / 3 * 2:,.0f}")


def test_steps_that_are_skipped_in_a_row_are_counted_beyond_a_look_and_an_epoch() -> None:
    averages = Averages(skipped_in_a_row=2)
    for finite in (False, False, True, False):
        averages.add(figures(1.0, 1), torch.tensor(finite))
    assert averages.look() == 3
    assert (averages.skipped_in_a_row, averages.most_in_a_row) == (1, 4)
    averages.add(figures(1.0, 1), torch.tensor(False))
    assert averages.look() == 1
    assert (averages.skipped_in_a_row, averages.most_in_a_row) == (2, 2)


def test_nothing_but_skipped_steps_gives_no_figures() -> None:
    averages = Averages()
    averages.add(figures(float("inf"), 1), torch.tensor(False))
    averages.look()
    assert averages.means() == {}


def test_shown_are_the_steps_since_the_last_look_that_counted() -> None:
    averages = Averages()
    assert averages.shown(None) == "tokens/s=0"
    for losses in ([9.0], [1.0, 3.0], [float("nan")]):
        for loss in losses:
            averages.add(figures(loss, 1), torch.tensor(loss == loss))
        averages.look()
    assert averages.shown(4.0) == "loss=2.00, distortion=2.00, rate=3.00, beta=0.500, tokens/s=21"
