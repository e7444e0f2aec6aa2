"""Figures of merit, by hand on small cases."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from seqvae.batch import Batch
from seqvae.config import ModelConfig
from seqvae.evaluation import active_units, evaluate
from seqvae.sampling import generate
from seqvae.vae import SequenceVAE

NOTE_ON = torch.arange(6) >= 2


@pytest.fixture
def model() -> SequenceVAE:
    torch.manual_seed(1)
    return SequenceVAE(ModelConfig(vocabulary_size=6, length=8, encoder_size=8, decoder_size=8, latent_size=3)).eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 6, (10, 8), generator=torch.Generator().manual_seed(2))


def test_accuracies_count_what_they_say(model: SequenceVAE, tokens: torch.Tensor) -> None:
    found = evaluate(model, [Batch(part) for part in tokens.split(4)], NOTE_ON)
    mean = model.encode(tokens).loc
    forced = model.decode(mean, tokens).argmax(-1).numpy()
    free = generate(model.decoder, mean, 8, 0.0).numpy()
    truth = tokens.numpy()
    starts = truth >= 2
    assert found["token_accuracy"] == pytest.approx((forced == truth).mean())
    assert found["note_on_accuracy"] == pytest.approx((forced == truth)[starts].mean())
    assert found["token_free_running"] == pytest.approx((free == truth).mean())
    assert found["note_on_free_running"] == pytest.approx((free == truth)[starts].mean())
    assert found["exact"] == pytest.approx((free == truth).all(1).mean())


def test_a_sequence_the_model_makes_itself_counts_as_exact(model: SequenceVAE) -> None:
    """A model that decodes one tune whatever z is reproduces that tune, and no other."""
    with torch.no_grad():
        model.decoder.output.bias.copy_(torch.tensor([0.0, 0.0, 50.0, 0.0, 0.0, 0.0]))
    tokens = torch.full((4, 8), 2)
    tokens[0, 3] = 5
    found = evaluate(model, [Batch(tokens)], NOTE_ON)
    assert found["exact"] == 0.75
    assert found["note_on_free_running"] == pytest.approx(31 / 32)


def test_elbo_is_minus_distortion_minus_rate(model: SequenceVAE, tokens: torch.Tensor) -> None:
    found = evaluate(model, [Batch(tokens)], NOTE_ON)
    assert found["elbo"] == pytest.approx(-found["distortion"] - found["rate"])
    posterior = model.encode(tokens)
    rate = torch.distributions.kl_divergence(posterior, Normal(torch.zeros(10, 3), 1.0)).sum(-1).mean()
    assert found["rate"] == pytest.approx(rate.item(), rel=1e-5)


def test_importance_weighted_likelihood_approaches_the_integral(tokens: torch.Tensor) -> None:
    """With one latent dimension, p(x) is a sum over a fine grid."""
    torch.manual_seed(3)
    model = SequenceVAE(ModelConfig(vocabulary_size=6, length=8, encoder_size=8, decoder_size=8, latent_size=1)).eval()
    with torch.no_grad():
        model.encoder.scale.bias.fill_(1.0)
        grid = torch.linspace(-6, 6, 601)
        log_p = torch.stack(
            [
                Normal(0.0, 1.0).log_prob(z)
                + torch.distributions.Categorical(logits=model.decode(z.expand(10, 1), tokens)).log_prob(tokens).sum(-1)
                for z in grid
            ]
        )
    exact = (torch.logsumexp(log_p, 0) + math.log(12 / 600)).mean().item()
    found = evaluate(model, [Batch(tokens)], NOTE_ON, samples=2000)
    assert found["iw_nll"] == pytest.approx(-exact, abs=0.01)
    assert -found["iw_nll"] >= found["elbo"] - 0.2


def test_active_units_vary_over_the_data() -> None:
    means = torch.zeros(100, 4)
    means[:, 1] = torch.linspace(-1, 1, 100)
    means[:, 2] = torch.linspace(-0.1, 0.1, 100)  # variance 0.0034
    means[:, 3] = 5.0
    assert active_units(means) == 1


def test_same_seed_same_figures_and_no_sequence_is_an_error(model: SequenceVAE, tokens: torch.Tensor) -> None:
    one, again, other = (evaluate(model, [Batch(tokens)], NOTE_ON, samples=2, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one["elbo"] != other["elbo"]
    with pytest.raises(ValueError, match="no sequence"):
        evaluate(model, [], NOTE_ON)


def test_accuracy_on_note_ons_is_not_a_number_where_there_are_none(model: SequenceVAE) -> None:
    found = evaluate(model, [Batch(torch.zeros(2, 8, dtype=torch.long))], NOTE_ON)
    assert np.isnan(found["note_on_accuracy"])
