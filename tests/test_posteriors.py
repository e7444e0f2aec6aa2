"""What each posterior promises of its rate."""

import math
from pathlib import Path

import pytest
import torch
from small_trainings import config, sentences

from seqvae.batch import Batch
from seqvae.checkpoint import load_model
from seqvae.config import ModelConfig
from seqvae.data import SequenceData
from seqvae.objectives import rate_per_dimension
from seqvae.posteriors import FIRST_SCALE, FixedSpread, mean_head, scale_of_rate
from seqvae.settling import settle
from seqvae.training import train
from seqvae.vae import SequenceVAE

SMALL = {"vocabulary_size": 7, "length": 5, "encoder_size": 6, "decoder_size": 8, "latent_size": 3}
TOKENS = torch.randint(0, 7, (64, 5), generator=torch.Generator().manual_seed(4))


def build(**settings: object) -> SequenceVAE:
    torch.manual_seed(0)
    return SequenceVAE(ModelConfig(**SMALL, **settings))


@pytest.mark.parametrize("bias", [True, False])
def test_scales_begin_where_they_are_meant_to(bias: bool) -> None:
    model = build(bias=bias)
    assert model.encode(TOKENS).scale.mean().item() == pytest.approx(FIRST_SCALE, rel=0.25)


def test_the_rate_of_a_scale_that_vanishes_is_finite() -> None:
    model = build()
    with torch.no_grad():
        model.encoder.scale.bias.fill_(-200.0)
    assert (model.encode(TOKENS).scale > 0).all()
    assert rate_per_dimension(model.encode(TOKENS)).isfinite().all()


@pytest.mark.parametrize("rate", [1e-4, 0.1, 1.0, 20.0])
def test_a_scale_has_the_rate_asked_for(rate: float) -> None:
    variance = scale_of_rate(rate) ** 2
    assert 0 < variance < 1
    assert (variance - 1 - math.log(variance)) / 2 == pytest.approx(rate, rel=1e-6)


def test_delta_never_falls_below_its_minimum_rate() -> None:
    model = build(posterior="delta", minimum_rate=6.0)
    rates = rate_per_dimension(model.encode(TOKENS))
    assert (rates >= 2.0 - 1e-4).all()
    with torch.no_grad():
        for parameter in model.encoder.mean.parameters():
            parameter.zero_()  # the encoder says nothing at all
    torch.testing.assert_close(rate_per_dimension(model.encode(TOKENS)), torch.full((64, 3), 2.0))


def test_batch_normalised_means_have_the_spread_gamma() -> None:
    model = build(posterior="batch-norm", gamma=0.7)
    means = model.encode(TOKENS).loc
    torch.testing.assert_close(means.std(0, unbiased=False), torch.full((3,), 0.7), atol=5e-3, rtol=0.0)
    rates = rate_per_dimension(model.encode(TOKENS)).mean(0)
    assert (rates >= 0.7**2 / 2 - 1e-3).all()  # Zhu et al. 2020, their equation 8
    assert "weight" not in dict(model.encoder.mean[1].named_parameters())  # gamma is not learned


def test_at_rest_batch_normalisation_uses_the_averages_of_training() -> None:
    layer = FixedSpread(2, 0.5)
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        layer(3.0 + 2.0 * torch.randn(500, 2, generator=generator))
    layer.eval()
    torch.testing.assert_close(layer(torch.tensor([[3.0, 5.0]])), torch.tensor([[0.0, 0.5]]), atol=0.05, rtol=0.0)


def test_one_sequence_alone_is_normalised_as_at_rest() -> None:
    layer = FixedSpread(2, 0.5)
    layer(torch.randn(100, 2, generator=torch.Generator().manual_seed(0)) * 3.0 + 1.0)
    x = torch.tensor([[1.0, -2.0]])
    assert torch.equal(layer(x), layer.eval()(x))


def test_two_sequences_are_a_batch() -> None:
    """Of two different numbers one is a spread above their mean and the other one below."""
    found = FixedSpread(1, 0.5)(torch.tensor([[1.0], [4.0]]))
    torch.testing.assert_close(found, torch.tensor([[-0.5], [0.5]]))


def test_means_at_rest_do_not_depend_on_their_neighbours() -> None:
    model = build(posterior="batch-norm").eval()
    torch.testing.assert_close(model.encode(TOKENS).loc[:3], model.encode(TOKENS[:3]).loc)


def test_of_a_single_sequence_a_batch_norm_learns_nothing() -> None:
    model = build(posterior="batch-norm")
    settle(model, [Batch(TOKENS)])
    norm = model.encoder.mean[1]
    before = norm.running_mean.clone(), norm.running_var.clone()
    settle(model, [Batch(TOKENS[:1])])
    assert torch.equal(norm.running_mean, before[0])
    assert torch.equal(norm.running_var, before[1])


def test_means_begin_with_a_spread_that_a_decoder_can_see() -> None:
    """A summary of H numbers of size 1, as a full-sized encoder's, becomes means that spread over 0.1 sqrt(H)."""
    torch.manual_seed(0)
    head = mean_head(ModelConfig(vocabulary_size=7, length=5, latent_size=64), 400)
    means = head(torch.ones(1, 400)) - head(torch.zeros(1, 400))
    assert means.std().item() == pytest.approx(2.0, rel=0.3)


@pytest.mark.parametrize("posterior", ["gaussian", "batch-norm", "delta"])
def test_every_posterior_learns(posterior: str) -> None:
    model = build(posterior=posterior)
    (-model(TOKENS, generator=torch.Generator().manual_seed(0)).elbo.mean()).backward()
    assert all(parameter.grad.any() for name, parameter in model.encoder.named_parameters() if name != "mean.0.bias")


def test_batch_norm_rests_where_the_data_lie(tmp_path: Path) -> None:
    """After a training at a high rate, means of all sequences are of spread gamma: in training and at rest."""
    dataset = sentences(tmp_path)
    wild = config(model={"posterior": "batch-norm", "gamma": 0.8}, steps=12, learning_rate=0.3)
    train(wild, dataset, tmp_path / "run", progress=False)
    model = load_model(tmp_path / "run" / "model.safetensors").model.eval()
    with torch.no_grad():
        means = torch.cat([model.encode(b.tokens, b.lengths).loc for b in SequenceData(dataset).batches("train", 64)])
    assert torch.allclose(means.std(0), torch.full((6,), 0.8), rtol=0.05)
    row = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    rate = dict(zip(row[0].split(","), row[-1].split(","), strict=True))["rate"]
    assert float(rate) > 0.8 * 6 * 0.8**2 / 2  # of other sequences


def test_batch_norm_spreads_means_that_lie_close_together() -> None:
    norm = FixedSpread(3, 0.5)
    close = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0)) * 1e-4
    assert torch.allclose(norm(close).std(0), torch.full((3,), 0.5), rtol=1e-2)
