"""What every sequence VAE keeps to: shapes, causality, and two roads to the same logits."""

import pytest
import torch

from seqvae.config import ModelConfig
from seqvae.vae import SequenceVAE

SMALL = {"vocabulary_size": 7, "length": 5, "encoder_size": 6, "decoder_size": 8, "latent_size": 3}
CONFIGS = {
    "one-hot": ModelConfig(**SMALL),
    "embedded": ModelConfig(**SMALL, embedding_size=4),
    "deep": ModelConfig(**SMALL, encoder_layers=2, decoder_layers=3),
    "shallow": ModelConfig(**SMALL, decoder_layers=1),
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> SequenceVAE:
    torch.manual_seed(3)
    return SequenceVAE(CONFIGS[request.param]).double().eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 7, (4, 5), generator=torch.Generator().manual_seed(4))


def test_shapes(model: SequenceVAE, tokens: torch.Tensor) -> None:
    posterior = model.encode(tokens)
    assert posterior.loc.shape == posterior.scale.shape == (4, 3)
    assert (posterior.scale > 0).all()
    assert model.decode(posterior.loc, tokens).shape == (4, 5, 7)
    terms = model(tokens)
    assert terms.distortion.shape == terms.elbo.shape == (4,)
    assert terms.rates.shape == (4, 3)


def test_one_step_at_a_time_is_the_teacher_forced_pass(model: SequenceVAE, tokens: torch.Tensor) -> None:
    z = torch.randn(4, 3, dtype=torch.float64)
    state, previous, logits = model.decoder.start(z), None, []
    for step in range(5):
        found, state = model.decoder.step(state, previous)
        logits.append(found)
        previous = tokens[:, step]
    torch.testing.assert_close(torch.stack(logits, 1), model.decode(z, tokens))


def test_the_decoder_never_looks_ahead(model: SequenceVAE, tokens: torch.Tensor) -> None:
    z = torch.randn(4, 3, dtype=torch.float64)
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 7
    before, after = model.decode(z, tokens), model.decode(z, changed)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert not torch.allclose(before[:, 4], after[:, 4])


def test_elbo_is_log_likelihood_less_rate(model: SequenceVAE, tokens: torch.Tensor) -> None:
    terms = model(tokens, torch.Generator().manual_seed(5))
    posterior = model.encode(tokens)
    noise = torch.randn(4, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    z = posterior.loc + posterior.scale * noise
    log_likelihood = torch.distributions.Categorical(logits=model.decode(z, tokens)).log_prob(tokens).sum(-1)
    prior = torch.distributions.Normal(torch.zeros_like(z), 1.0)
    rate = torch.distributions.kl_divergence(posterior, prior).sum(-1)
    torch.testing.assert_close(terms.elbo, log_likelihood - rate, rtol=1e-5, atol=1e-5)  # cross entropy is fp32


def test_every_parameter_has_a_gradient(model: SequenceVAE, tokens: torch.Tensor) -> None:
    (-model(tokens).elbo.mean()).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []


def test_the_same_noise_gives_the_same_pass(model: SequenceVAE, tokens: torch.Tensor) -> None:
    first, again = (model(tokens, torch.Generator().manual_seed(6)).elbo for _ in range(2))
    assert torch.equal(first, again)


def test_both_directions_of_the_encoder_reach_the_posterior(model: SequenceVAE, tokens: torch.Tensor) -> None:
    for step in (0, 4):
        changed = tokens.clone()
        changed[:, step] = (changed[:, step] + 1) % 7
        assert not torch.allclose(model.encode(tokens).loc, model.encode(changed).loc)


def test_sizes_of_the_melody_models() -> None:
    with torch.device("meta"):
        small = SequenceVAE(ModelConfig())
        big = SequenceVAE(ModelConfig(encoder_size=2048, decoder_size=2048, decoder_layers=3, latent_size=512))
    assert sum(p.numel() for p in small.parameters()) == pytest.approx(4.4e6, rel=0.01)
    assert sum(p.numel() for p in big.parameters()) == pytest.approx(134.6e6, rel=0.01)
