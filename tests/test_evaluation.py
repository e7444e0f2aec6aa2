"""Figures of merit, by hand on small cases."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from seqvae import evaluation
from seqvae.batch import Batch
from seqvae.config import ModelConfig
from seqvae.evaluation import evaluate
from seqvae.information import active_units, information
from seqvae.objectives import distortion, length_mask
from seqvae.sampling import generate
from seqvae.vae import SequenceVAE

NOTE_ON = torch.arange(6) >= 2
TEXT = ModelConfig(
    vocabulary_size=6, length=9, bos=0, eos=1, blank=2, embedding_size=5, encoder_size=8, decoder_size=8, latent_size=3
)


@pytest.fixture
def model() -> SequenceVAE:
    torch.manual_seed(1)
    return SequenceVAE(ModelConfig(vocabulary_size=6, length=8, encoder_size=8, decoder_size=8, latent_size=3)).eval()


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randint(0, 6, (10, 8), generator=torch.Generator().manual_seed(2))


@pytest.fixture
def text() -> SequenceVAE:
    torch.manual_seed(4)
    return SequenceVAE(TEXT).eval()


@pytest.fixture
def sentences() -> list[torch.Tensor]:
    """Each ends with eos."""
    generator = torch.Generator().manual_seed(5)
    return [
        torch.cat([torch.randint(2, 6, (n - 1,), generator=generator), torch.tensor([1])]) for n in (1, 9, 4, 6, 2, 9)
    ]


def padded(sentences: list[torch.Tensor], fill: int = 1) -> Batch:
    tokens = torch.nn.utils.rnn.pad_sequence(sentences, batch_first=True, padding_value=fill)
    return Batch(tokens, torch.tensor([len(each) for each in sentences]))


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


def test_same_seed_same_figures_and_no_sequence_is_an_error(model: SequenceVAE, tokens: torch.Tensor) -> None:
    one, again, other = (evaluate(model, [Batch(tokens)], NOTE_ON, samples=2, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one["elbo"] != other["elbo"]
    with pytest.raises(ValueError, match="no sequence"):
        evaluate(model, [], NOTE_ON)


def test_accuracy_on_note_ons_is_not_a_number_where_there_are_none(model: SequenceVAE) -> None:
    found = evaluate(model, [Batch(torch.zeros(2, 8, dtype=torch.long))], NOTE_ON)
    assert np.isnan(found["note_on_accuracy"])


def test_what_is_left_out_costs_no_key(model: SequenceVAE, tokens: torch.Tensor) -> None:
    always = {"elbo", "distortion", "rate", "mutual_information", "mutual_information_cap", "aggregate_rate"}
    always |= {"active_units"}
    few = evaluate(model, [Batch(tokens)], accuracy=False, free_running=False)
    assert few.keys() == always
    assert evaluate(model, [Batch(tokens)]).keys() == always | {"token_accuracy", "token_free_running", "exact"}
    more = evaluate(model, [Batch(tokens)], NOTE_ON, samples=1)
    assert more.keys() - always >= {"note_on_accuracy", "note_on_free_running", "iw_nll"}
    for name, value in few.items():
        assert more[name] == pytest.approx(value)


def test_parts_of_the_rate_and_units_are_those_of_all_sequences(model: SequenceVAE, tokens: torch.Tensor) -> None:
    found = evaluate(model, [Batch(part) for part in tokens.split(4)], seed=3)
    posterior = model.encode(tokens)
    told = information(posterior, seed=3)
    assert found["mutual_information"] == pytest.approx(told.mutual_information)
    assert found["mutual_information"] + found["aggregate_rate"] == pytest.approx(found["rate"])
    assert found["mutual_information_cap"] == math.log(10)
    assert found["active_units"] == active_units(posterior.loc)


def test_padding_counts_for_nothing(text: SequenceVAE, sentences: list[torch.Tensor]) -> None:
    """Sentences together, one by one, and filled up with something else have the same figures."""
    with torch.no_grad():  # the sample of z, which depends on the batches, is then the mean
        text.encoder.scale.weight.zero_()
        text.encoder.scale.bias.fill_(-30.0)
    together = evaluate(text, [padded(sentences)])
    filled = evaluate(text, [padded(sentences, fill=4)])
    alone = evaluate(text, [Batch(each[None]) for each in sentences])
    assert together == filled
    for name in together.keys() - {"mutual_information", "aggregate_rate"}:
        assert together[name] == pytest.approx(alone[name], rel=1e-4)


def test_figures_of_sentences_by_hand(text: SequenceVAE, sentences: list[torch.Tensor]) -> None:
    batch = padded(sentences)
    found = evaluate(text, [batch], samples=3)
    mean = text.encode(batch.tokens, batch.lengths).loc
    logits, free = text.decode(mean, batch.tokens), generate(text.decoder, mean, 9, 0.0)
    counted = length_mask(batch.lengths, 9)
    assert found["tokens"] == pytest.approx(31 / 6)
    assert found["token_accuracy"] == pytest.approx((logits.argmax(-1) == batch.tokens)[counted].float().mean().item())
    assert found["token_free_running"] == pytest.approx((free == batch.tokens)[counted].float().mean().item())
    assert found["perplexity"] == pytest.approx(math.exp(found["iw_nll"] / (31 / 6)))
    without = evaluate(text, [batch])
    assert without["perplexity"] == pytest.approx(math.exp(-without["elbo"] / (31 / 6)))
    assert "perplexity" not in evaluate(SequenceVAE(ModelConfig(vocabulary_size=6, length=9)), [Batch(batch.tokens)])


def test_a_sentence_is_exact_only_with_its_end(text: SequenceVAE) -> None:
    """A decoder that repeats 3 reproduces what is as long as it can be, and no sentence that ends before."""
    with torch.no_grad():
        text.decoder.output.bias[3] = 50.0
    longest, short = torch.tensor([3] * 8 + [1]), torch.tensor([3] * 4 + [1])
    assert evaluate(text, [Batch(longest[None])])["exact"] == 1.0
    alone = evaluate(text, [Batch(short[None])])
    assert alone["exact"] == 0.0
    assert alone["token_free_running"] == pytest.approx(4 / 5)
    both = evaluate(text, [padded([longest, short])])
    assert both["exact"] == 0.5
    assert both["token_free_running"] == pytest.approx(13 / 14)


def test_a_sentence_is_exact_whatever_fills_up_its_batch(text: SequenceVAE) -> None:
    with torch.no_grad():
        text.decoder.output.bias[1] = 50.0
    assert evaluate(text, [padded([torch.tensor([3, 1]), torch.tensor([1])], fill=4)])["exact"] == 0.5


def test_pieces_of_a_batch_change_no_figure(
    text: SequenceVAE, sentences: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few logits are held at a time; and the samples are as many at a time as may be held."""
    batch = padded(sentences)
    whole = evaluate(text, [batch], samples=7)
    drawn: list[int] = []
    distortions = evaluation._distortions

    def counted(model: SequenceVAE, batch: Batch, z: torch.Tensor) -> torch.Tensor:
        drawn.append(len(z))
        return distortions(model, batch, z)

    monkeypatch.setattr(evaluation, "_distortions", counted)
    a_sample = 6 * 9 * 4 * 8  # gates, which outnumber the logits here
    for cells, pieces in ((1, [1] * 7), (a_sample, [1] * 7), (4 * a_sample - 1, [3, 3, 1]), (7 * a_sample, [7])):
        monkeypatch.setattr(evaluation, "CELLS", cells)
        drawn.clear()
        assert evaluate(text, [batch], samples=7) == pytest.approx(whole, rel=1e-5)
        assert drawn == [1, *pieces]  # the first one is that of the bound


def test_few_logits_are_held_at_a_time(
    text: SequenceVAE, sentences: list[torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 54 tokens with 6 each."""
    held: list[int] = []
    whole = evaluate(text, [padded(sentences)], free_running=False)
    text.decoder.output.register_forward_hook(lambda *call: held.append(len(call[-1])))
    monkeypatch.setattr(evaluation, "CELLS", 20 * 6 + 5)
    assert evaluate(text, [padded(sentences)], free_running=False) == pytest.approx(whole, rel=1e-5)
    assert held == [20, 20, 14]


def test_importance_weighted_bound_of_sentences_is_that_of_its_definition(
    text: SequenceVAE, sentences: list[torch.Tensor]
) -> None:
    batch = padded(sentences)
    posterior = text.encode(batch.tokens, batch.lengths)
    generator = torch.Generator().manual_seed(6)
    torch.randn(6, 3, generator=generator)  # the z of the bound itself
    weights = []
    for _ in range(5):
        z = posterior.loc + posterior.scale * torch.randn(6, 3, generator=generator)
        log_p = -distortion(text.decode(z, batch.tokens), batch.tokens, batch.lengths)
        weights.append(log_p + Normal(0.0, 1.0).log_prob(z).sum(-1) - posterior.log_prob(z).sum(-1))
    expected = -(torch.stack(weights).logsumexp(0) - math.log(5)).mean().item()
    assert evaluate(text, [batch], samples=5, seed=6)["iw_nll"] == pytest.approx(expected, rel=1e-5)


def test_importance_weights_of_a_narrow_posterior_are_not_lost_in_rounding(tokens: torch.Tensor) -> None:
    """Noise of e^-24 beside means of about 1: one sample's bound differs from the ELBO by noise alone, not by Z / 2."""
    torch.manual_seed(0)
    narrow = ModelConfig(vocabulary_size=6, length=8, latent_size=20, posterior="delta", minimum_rate=20 * 24.0)
    found = evaluate(SequenceVAE(narrow).eval(), [Batch(tokens)], samples=1, accuracy=False, free_running=False)
    assert found["iw_nll"] == pytest.approx(-found["elbo"], abs=4 * math.sqrt(20 / 2 / len(tokens)))


@pytest.mark.usefixtures("bf16")
def test_half_precision_changes_little(text: SequenceVAE, sentences: list[torch.Tensor]) -> None:
    batch = padded(sentences)
    exact = evaluate(text, [batch], samples=2, free_running=False, accuracy=False)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = evaluate(text, [batch], samples=2, free_running=False, accuracy=False)
    assert rounded == pytest.approx(exact, rel=0.02, abs=0.02)


def test_without_latents_one_sample_says_all(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    language_model = SequenceVAE(ModelConfig(vocabulary_size=6, length=8, decoder_size=8, latent_size=0)).eval()
    drawn: list[int] = []
    weighted = evaluation._importance_weighted

    def counted(
        model: SequenceVAE, batch: Batch, posterior: Normal, samples: int, generator: torch.Generator
    ) -> torch.Tensor:
        drawn.append(samples)
        return weighted(model, batch, posterior, samples, generator)

    monkeypatch.setattr(evaluation, "_importance_weighted", counted)
    batches = [Batch(torch.randint(0, 6, (5, 8)))]
    found = {n: evaluate(language_model, batches, samples=n, free_running=False) for n in (0, 1, 500)}
    assert drawn == [1, 1]
    assert "iw_nll" not in found[0]
    assert found[500] == found[1]
    assert found[1]["iw_nll"] == pytest.approx(-found[0]["elbo"])


def test_a_model_whose_weights_are_lost_is_measured_and_not_refused(text: SequenceVAE) -> None:
    """So that a training which has come to that can say so."""
    with torch.no_grad():
        for parameter in text.parameters():
            parameter.fill_(torch.nan)
    assert math.isnan(evaluate(text, [padded([torch.tensor([2, 3, 1])])])["elbo"])
