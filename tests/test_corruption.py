"""Corrupted sequences keep what they must keep."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seqvae.corruption import corrupted, hidden

BLANK, EOS = 2, 1
B, T = 40, 12
TOKENS = torch.randint(3, 99, (B, T), generator=torch.Generator().manual_seed(0))
LENGTHS = torch.randint(1, T + 1, (B,), generator=torch.Generator().manual_seed(1))
SENTENCES = TOKENS.clone()
SENTENCES[torch.arange(B), LENGTHS - 1] = EOS

shares = st.sampled_from([0.0, 0.3, 1.0])


def corrupt(tokens: torch.Tensor, lengths: torch.Tensor | None, ends: bool, seed: int = 0, **noise: float):
    noise = {"swap": 0.0, "drop": 0.0, "mask": 0.0} | noise
    generator = torch.Generator().manual_seed(seed)
    found, left = corrupted(tokens, lengths, blank=BLANK, ends=ends, generator=generator, **noise)
    left = torch.full((len(tokens),), T) if left is None else left
    return [row[:length].tolist() for row, length in zip(found, left.tolist(), strict=True)]


ROWS = [row[:length].tolist() for row, length in zip(SENTENCES, LENGTHS.tolist(), strict=True)]


@given(shares, shares, shares, st.integers(0, 5))
def test_the_end_stays_and_nothing_comes_from_outside(swap: float, drop: float, mask: float, seed: int) -> None:
    for row, before in zip(corrupt(SENTENCES, LENGTHS, True, seed, swap=swap, drop=drop, mask=mask), ROWS, strict=True):
        assert row[-1] == EOS
        assert EOS not in row[:-1]
        assert set(row) <= set(before) | {BLANK}
        assert len(row) <= len(before)


def test_swapping_moves_a_little_and_loses_nothing() -> None:
    rows = corrupt(SENTENCES, LENGTHS, True, swap=0.4)
    assert [row[-2:] for row in rows] != [row[-2:] for row in ROWS]  # up to the end, which stays
    for row, before in zip(rows, ROWS, strict=True):
        assert sorted(row) == sorted(before)
    places = torch.arange(T).expand(B, T)
    found = torch.tensor(corrupt(places, None, False, swap=0.3))
    assert (places - found).max() == 3
    assert (found - places).max() <= 3  # passed by others


def test_a_share_of_tokens_is_swapped_with_the_one_to_three_after_them() -> None:
    """So few that hardly two meet: who moves goes ahead, and each that it passes goes back by one."""
    places = torch.arange(20_000).expand(2, -1)
    noise = [torch.Generator().manual_seed(0) for _ in range(2)]
    found, again = (
        corrupted(places, None, swap=0.01, drop=0.0, mask=0.0, blank=BLANK, ends=False, generator=one)[0]
        for one in noise
    )
    assert torch.equal(found, again)
    moves = found.argsort(1) - places
    shares = torch.bincount((moves + 3).flatten(), minlength=7) / moves.numel()
    assert shares[4:].tolist() == pytest.approx([0.01 / 3] * 3, rel=0.25)
    assert shares[2] == pytest.approx(0.01 * (1 + 2 + 3) / 3, rel=0.15)
    assert moves.max() == 3


def test_dropping_keeps_the_order_and_its_share() -> None:
    rows = corrupt(TOKENS, None, False, drop=0.3)
    for row, before in zip(rows, TOKENS.tolist(), strict=True):
        rest = iter(before)
        assert all(token in rest for token in row)
    assert sum(map(len, rows)) / TOKENS.numel() == pytest.approx(0.7, abs=0.05)
    assert [row[0] for row in rows] != TOKENS[:, 0].tolist()  # the first one, too
    for lengths in (None, LENGTHS):  # some of which are 1
        assert corrupt(TOKENS, lengths, False, drop=1.0) == TOKENS[:, :1].tolist()


def test_masking_hides_its_share() -> None:
    found = torch.tensor(corrupt(TOKENS, None, False, mask=0.3))
    assert set(found[found != TOKENS].tolist()) == {BLANK}
    assert (found != TOKENS).float().mean() == pytest.approx(0.3, abs=0.05)


def test_all_but_the_end_can_be_hidden() -> None:
    assert corrupt(SENTENCES, LENGTHS, True, mask=1.0) == [[BLANK] * (len(row) - 1) + [EOS] for row in ROWS]


def test_without_an_end_the_last_token_is_as_free_as_the_others() -> None:
    """Whether it is the last of all or of its own length."""
    for lengths in (None, LENGTHS):
        for row in corrupt(TOKENS, lengths, False, mask=1.0):
            assert set(row) == {BLANK}
    last = [row[-1] for row in TOKENS.tolist()]
    for noise in ({"swap": 0.5}, {"drop": 0.5}):
        assert [row[-1] for row in corrupt(TOKENS, None, False, **noise)] != last


def test_hidden_tokens() -> None:
    found = hidden(TOKENS, 0.25, BLANK, torch.Generator().manual_seed(0))
    assert (found != TOKENS).float().mean() == pytest.approx(0.25, abs=0.05)
    assert set(found[found != TOKENS].tolist()) == {BLANK}
    assert hidden(TOKENS, 0.0, BLANK) is TOKENS
    assert (hidden(TOKENS, 1.0, BLANK) == BLANK).all()
