"""Latents after whitening: where they lie, and that nothing else has changed."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from small_trainings import config, melodies, sentences, weights
from torch.distributions import MultivariateNormal, kl_divergence

from seqvae.batch import Batch
from seqvae.checkpoint import load_model
from seqvae.config import ModelConfig
from seqvae.data import SequenceData
from seqvae.distributed import ALONE
from seqvae.errors import OptionError
from seqvae.evaluation import evaluate
from seqvae.posteriors import SoftplusLinear
from seqvae.run import LEAST_WHITENED, open_run
from seqvae.run_folder import FolderLock
from seqvae.training import train
from seqvae.vae import SequenceVAE
from seqvae.whitening import _fit, principal_map, whiten

SMALL = {"vocabulary_size": 7, "length": 6, "encoder_size": 24, "decoder_size": 8, "latent_size": 3}
TEXT = {"bos": 0, "eos": 1, "blank": 2, "embedding_size": 8}
CONFIGS: dict[str, dict[str, Any]] = {
    "melodies": {"decoder_layers": 2},
    "sentences": TEXT | {"initial_state": "shared", "bidirectional": False},
    "no biases": TEXT | {"initial_state": "shared", "bias": False},
    "z at the start alone": {"latent_to": "start", "summary": "mean"},
    "tied": TEXT | {"tied": True},
}


@pytest.fixture(params=CONFIGS)
def model(request: pytest.FixtureRequest) -> SequenceVAE:
    """Its latents lie anywhere but where the prior does."""
    torch.manual_seed(1)
    model = SequenceVAE(ModelConfig(**SMALL | CONFIGS[request.param])).double()
    with torch.no_grad():
        model.encoder.mean.weight.mul_(20.0)
        if model.encoder.mean.bias is not None:
            model.encoder.mean.bias.copy_(torch.tensor([2.0, -1.0, 0.5]))
    return model


@pytest.fixture
def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(2)
    lengths = torch.randint(1, 7, (200,), generator=generator)
    tokens = torch.randint(2, 7, (400, 6), generator=generator)
    return [Batch(tokens[:200], lengths), Batch(tokens[200:])]


def posteriors(model: SequenceVAE, batches: list[Batch]) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        found = [model.encode(batch.tokens, batch.lengths) for batch in batches]
    return torch.cat([q.loc for q in found]), torch.cat([q.scale for q in found])


def gaussian_rate(mean: torch.Tensor, scale: torch.Tensor, about_zero: bool) -> float:
    """KL of the normal with the moments of all latents, drawn many times, from the prior."""
    generator = torch.Generator().manual_seed(3)
    z = torch.cat([mean + scale * torch.randn(mean.shape, generator=generator, dtype=mean.dtype) for _ in range(200)])
    centre = torch.zeros(3).double() if about_zero else z.mean(0)
    covariance = (z - centre).T @ (z - centre) / len(z)
    prior = MultivariateNormal(torch.zeros(3).double(), torch.eye(3).double())
    return float(kl_divergence(MultivariateNormal(centre, covariance), prior))


def test_latents_lie_as_the_prior_does_and_the_decoder_follows(model: SequenceVAE, batches: list[Batch]) -> None:
    tokens = torch.cat([batch.tokens for batch in batches])
    mean, scale = posteriors(model, batches)
    before, unbiased = model.decode(mean, tokens), not model.config.bias
    assert gaussian_rate(mean, scale, unbiased) > 0.5
    whiten(model, batches)
    mean, scale = posteriors(model, batches)
    torch.testing.assert_close(model.decode(mean, tokens), before)
    assert gaussian_rate(mean, scale, unbiased) < 0.01
    if not unbiased:
        torch.testing.assert_close(mean.mean(0), torch.zeros(3).double())


def test_few_sequences_do_not_spoil_the_scales_of_others(batches: list[Batch]) -> None:
    """Of fewer sequences than there are numbers in a summary, the scale head could say anything about others."""
    torch.manual_seed(1)
    model = SequenceVAE(ModelConfig(**SMALL)).double()
    with torch.no_grad():
        model.encoder.mean.weight.mul_(20.0)
    _, before = posteriors(model, batches[1:])
    whiten(model, [Batch(batches[1].tokens[:12])])
    _, after = posteriors(model, batches[1:])
    assert (after / before).log().std(0).max() < 0.2


def test_what_is_white_stays_as_it_is(model: SequenceVAE, batches: list[Batch]) -> None:
    for _ in range(20):
        whiten(model, batches)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    whiten(model, batches)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, before[name], atol=1e-6, rtol=1e-6)


def test_dimensions_are_principal_and_the_first_tell_most() -> None:
    """The ratios of signal and noise are the eigenvalues of noise^-1 signal, a matrix that is not symmetric."""
    generator = torch.Generator().manual_seed(4)
    mean = torch.randn(5000, 6, generator=generator).double() @ torch.randn(6, 6, generator=generator).double()
    mean = mean - mean.mean(0)
    scale = torch.rand(5000, 6, generator=generator).double() + torch.arange(1, 7)
    A, back = principal_map(mean, scale)
    torch.testing.assert_close(A @ back, torch.eye(6).double())
    of_means, own = A @ torch.cov(mean.T, correction=0) @ A.T, A @ torch.diag((scale**2).mean(0)) @ A.T
    torch.testing.assert_close(of_means + own, torch.eye(6).double())
    torch.testing.assert_close(own, torch.diag(own.diagonal()))
    ratios = torch.linalg.eigvals(torch.diag((scale**2).mean(0) ** -1) @ torch.cov(mean.T, correction=0)).real
    torch.testing.assert_close((1 - own.diagonal()) / own.diagonal(), ratios.sort(descending=True).values)


def test_scales_are_those_of_the_moved_posteriors_where_a_head_can_say_them(batches: list[Batch]) -> None:
    """Of one scale for all sequences, the new ones are the roots of the diagonal of A diag(s^2) A'."""
    torch.manual_seed(1)
    model = SequenceVAE(ModelConfig(**SMALL)).double()
    with torch.no_grad():
        model.encoder.scale.weight.zero_()
        model.encoder.mean.weight.mul_(20.0)
    mean, scale = posteriors(model, batches)
    A, _ = principal_map(mean - mean.mean(0), scale)
    whiten(model, batches)
    moved, scales = posteriors(model, batches)
    torch.testing.assert_close(moved, (mean - mean.mean(0)) @ A.T)
    wanted = torch.diagonal(A @ torch.diag(scale[0] ** 2) @ A.T).sqrt()
    torch.testing.assert_close(scales, wanted.expand_as(scales), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_a_head_becomes_another_one_whose_scales_are_wanted(bias: bool) -> None:
    """Weights too, as scales differ from sequence to sequence."""
    torch.manual_seed(0)
    head, other, summary = SoftplusLinear(4, 3, bias).double(), SoftplusLinear(4, 3, bias).double(), torch.randn(9, 4)
    with torch.no_grad():
        wanted = other(summary.double())
        _fit(head, summary.double(), head(summary.double()), wanted)
    torch.testing.assert_close(dict(head.named_parameters()), dict(other.named_parameters()), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        "music": melodies(tmp_path_factory.mktemp("music")),
        "text": sentences(tmp_path_factory.mktemp("text")),
    }


@pytest.mark.parametrize("kind", ["music", "text"])
def test_a_training_ends_with_white_latents_where_they_were_not(
    datasets: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    settings: dict[str, Any] = {"steps": 12, "beta": 0.01, "free_bits": 50.0}
    aggregate = {}
    for whitened in (False, True):
        run = train(config(whiten=whitened, **settings), datasets[kind], tmp_path / str(whitened)).run
        data = SequenceData(datasets[kind])
        batches = list(data.batches("train", 64))
        found = evaluate(load_model(run / "model.safetensors").model, batches, accuracy=False, free_running=False)
        aggregate[whitened] = found["aggregate_rate"]
        assert math.isfinite(found["elbo"])
    assert aggregate[True] < aggregate[False] / 2


def test_a_resumed_run_is_one_that_was_not(datasets: dict[str, Path], tmp_path: Path) -> None:
    steps = SequenceData(datasets["text"]).steps_per_epoch(16)
    settings = {"whiten": True, "steps": steps + 3, "validate_every": steps}
    whole = config(**settings)
    train(whole, datasets["text"], tmp_path / "whole")
    train(config(**settings, epochs=1), datasets["text"], tmp_path / "parts")
    train(whole, datasets["text"], tmp_path / "parts", resume=True)
    one, other = weights(tmp_path / "parts"), weights(tmp_path / "whole")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_latents_are_looked_at_in_as_many_sequences_as_said(datasets: dict[str, Path], tmp_path: Path) -> None:
    """However few of them a batch of sentences of like length holds."""
    settings = config(batch_size=200, validate_every=1)
    out = tmp_path / "run"
    run = open_run(settings, datasets["text"], out, FolderLock(), resume=False, force=False, world=ALONE)
    batches = [len(batch.tokens) for batch in run._coming()]
    assert sum(batches[:-1]) < len(run.data.train) <= sum(batches)


def test_few_sequences_do_not_tell_how_latents_lie(datasets: dict[str, Path], tmp_path: Path) -> None:
    enough = len(SequenceData(datasets["text"]).train) // LEAST_WHITENED
    train(config(whiten=True, model={"latent_size": enough}), datasets["text"], tmp_path / "enough")
    with pytest.raises(OptionError, match=r"--whiten: \d+ sequences .* do not tell how \d+ latent dimensions lie"):
        train(config(whiten=True, model={"latent_size": enough + 1}), datasets["text"], tmp_path / "more")
    assert not (tmp_path / "more").exists()
