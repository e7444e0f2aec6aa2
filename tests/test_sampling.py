"""Draws follow the distribution they claim to."""

from collections.abc import Callable

import pytest
import torch

from seqvae.config import ModelConfig
from seqvae.sampling import draw, filtered, generate, parallel_scheduled_forward, scheduled_forward
from seqvae.vae import SequenceVAE

LOGITS = torch.tensor([1.0, 3.0, 0.0, 2.0])


def tiny() -> SequenceVAE:
    torch.manual_seed(0)
    return SequenceVAE(ModelConfig(vocabulary_size=6, length=8, encoder_size=8, decoder_size=8, latent_size=4)).eval()


def test_top_k_keeps_the_k_likeliest() -> None:
    assert torch.isfinite(filtered(LOGITS, top_k=2)).tolist() == [False, True, False, True]
    assert torch.equal(filtered(LOGITS, top_k=9), LOGITS)


def test_top_p_keeps_the_smallest_sufficient_set() -> None:
    p = LOGITS.softmax(-1)  # 0.087, 0.644, 0.032, 0.237
    assert torch.isfinite(filtered(LOGITS, top_p=0.6)).tolist() == [False, True, False, False]
    assert torch.isfinite(filtered(LOGITS, top_p=float(p[1]) + 0.01)).tolist() == [False, True, False, True]
    assert torch.isfinite(filtered(LOGITS, top_p=1e-9)).sum() == 1
    assert torch.equal(filtered(LOGITS, top_p=1.0), LOGITS)


def test_draws_follow_the_softmax_at_their_temperature() -> None:
    rows = LOGITS.expand(100_000, 4)
    for temperature in (0.5, 1.0, 2.0):
        ids = draw(rows, temperature, generator=torch.Generator().manual_seed(1))
        shares = torch.bincount(ids, minlength=4) / len(ids)
        torch.testing.assert_close(shares, (LOGITS / temperature).softmax(-1), atol=0.01, rtol=0.0)


def test_zero_temperature_is_greedy() -> None:
    assert draw(LOGITS[None], 0.0).tolist() == [1]


def test_shared_noise_gives_equal_rows_equal_draws() -> None:
    rows = LOGITS.expand(50, 4)
    assert draw(rows, 1.0, generator=torch.Generator().manual_seed(2), shared_noise=True).unique().numel() == 1
    assert draw(rows, 1.0, generator=torch.Generator().manual_seed(2)).unique().numel() > 1


def test_greedy_generation_is_its_own_most_likely_continuation() -> None:
    model, z = tiny(), torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    ids = generate(model.decoder, z, 8, temperature=0.0)
    assert torch.equal(model.decode(z, ids).argmax(-1), ids)


def test_same_seed_same_ids() -> None:
    model, z = tiny(), torch.randn(3, 4)
    first, again = (generate(model.decoder, z, 8, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.parametrize("scheduled", [scheduled_forward, parallel_scheduled_forward])
def test_scheduled_sampling_without_own_draws_is_teacher_forcing(scheduled: Callable[..., torch.Tensor]) -> None:
    model, z = tiny(), torch.randn(3, 4)
    tokens = torch.randint(0, 6, (3, 8))
    torch.testing.assert_close(scheduled(model.decoder, z, tokens, 0.0), model.decode(z, tokens))


def test_parallel_draws_replace_their_share_of_the_inputs() -> None:
    """A decoder that is sure of id 2 replaces inputs by 2, so that its logits are those of mixed inputs."""
    model, z = tiny(), torch.randn(3, 4)
    with torch.no_grad():
        model.decoder.output.bias[2] = 100.0
    tokens = torch.randint(3, 6, (3, 8))
    found = parallel_scheduled_forward(model.decoder, z, tokens, 1.0)
    torch.testing.assert_close(found, model.decode(z, torch.full_like(tokens, 2)))
    assert found.requires_grad


def test_scheduled_sampling_with_only_own_draws_ignores_the_truth() -> None:
    model, z = tiny(), torch.randn(3, 4)
    one, other = (
        scheduled_forward(model.decoder, z, torch.full((3, 8), token), 1.0, torch.Generator().manual_seed(8))
        for token in (0, 5)
    )
    assert torch.equal(one, other)
    assert one.requires_grad
