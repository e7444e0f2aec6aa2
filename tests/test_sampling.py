"""Draws follow the distribution they claim to."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from seqvae.beam import beam_search
from seqvae.config import ModelConfig
from seqvae.errors import OptionError
from seqvae.sampling import (
    Decoding,
    decode,
    draw,
    filtered,
    generate,
    gumbel,
    parallel_scheduled_forward,
    scheduled_forward,
)
from seqvae.vae import SequenceVAE

LOGITS = torch.tensor([1.0, 3.0, 0.0, 2.0])
BOS, EOS = 0, 1


def tiny() -> SequenceVAE:
    torch.manual_seed(0)
    return SequenceVAE(ModelConfig(vocabulary_size=6, length=8, encoder_size=8, decoder_size=8, latent_size=4)).eval()


def tiny_text(**changes: float) -> SequenceVAE:
    """A model of sentences, whose ends are likely enough to be met."""
    torch.manual_seed(0)
    sizes = {"vocabulary_size": 6, "length": 12, "encoder_size": 8, "decoder_size": 8, "latent_size": 4}
    model = SequenceVAE(ModelConfig(**sizes, bos=BOS, eos=EOS, blank=2, embedding_size=4, **changes)).eval()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(2.0)
        model.decoder.output.bias[BOS] = 2.0  # would be said often
        model.decoder.output.bias[EOS] = 0.7
    return model


def latents(n: int = 40) -> torch.Tensor:
    return 10.0 * torch.randn(n, 4, generator=torch.Generator().manual_seed(3))


def test_top_k_keeps_the_k_likeliest() -> None:
    assert torch.isfinite(filtered(LOGITS, top_k=2)).tolist() == [False, True, False, True]
    assert torch.equal(filtered(LOGITS, top_k=9), LOGITS)


def test_top_p_keeps_the_smallest_sufficient_set() -> None:
    p = LOGITS.softmax(-1)  # 0.087, 0.644, 0.032, 0.237
    assert torch.isfinite(filtered(LOGITS, top_p=0.6)).tolist() == [False, True, False, False]
    assert torch.isfinite(filtered(LOGITS, top_p=float(p[1]) + 0.01)).tolist() == [False, True, False, True]
    assert torch.isfinite(filtered(LOGITS, top_p=1e-9)).sum() == 1
    assert torch.equal(filtered(LOGITS, top_p=1.0), LOGITS)


@pytest.mark.parametrize("of_each_id", [False, True])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax_at_their_temperature(temperature: float, of_each_id: bool) -> None:
    rows, generator = LOGITS.expand(100_000, 4), torch.Generator().manual_seed(1)
    uniform = torch.rand((len(rows), 1), generator=generator)
    ids = draw(rows, gumbel(rows.shape, generator, rows.device) if of_each_id else uniform, temperature)
    shares = torch.bincount(ids, minlength=4) / len(ids)
    torch.testing.assert_close(shares, (LOGITS / temperature).softmax(-1), atol=0.01, rtol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_uniform_number_falls_on_an_id_that_can_be(dtype: torch.dtype) -> None:
    """The same as adding up in order; at both ends of [0, 1), and beside ids that are ruled out, too."""
    logits = 3.0 * torch.randn(400, 50, generator=torch.Generator().manual_seed(0))
    logits[:, ::3] = -torch.inf
    logits[:, -2:] = -torch.inf
    logits = logits.to(dtype)
    uniform = torch.rand((400, 1), generator=torch.Generator().manual_seed(1))
    for numbers in (uniform, torch.zeros(400, 1), torch.full((400, 1), 1.0 - 2.0**-24)):
        ids = draw(logits, numbers, 1.0)
        assert logits.gather(1, ids.unsqueeze(1)).isfinite().all()
        sums = logits.double().softmax(-1).cumsum(-1)
        wanted = (sums <= numbers).sum(-1).clamp_max(47)
        assert (ids == wanted).float().mean() > 0.99  # but for rounding


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_top_p_is_a_share_of_the_distribution_that_is_drawn_from(temperature: float) -> None:
    likeliest = float((LOGITS / temperature).softmax(-1).max())
    uniform = torch.rand((5000, 1), generator=torch.Generator().manual_seed(0))
    for top_p, ids in ((likeliest - 0.01, {1}), (likeliest + 0.01, {1, 3})):
        assert set(draw(LOGITS.expand(5000, 4), uniform, temperature, top_p=top_p).tolist()) == ids


def test_zero_temperature_is_greedy() -> None:
    assert draw(LOGITS[None], None, 0.0).tolist() == [1]


@pytest.mark.parametrize("temperature", [1e-5, 1e-20, 1e-40, 5e-324])
def test_the_lower_the_temperature_the_nearer_to_greedy(temperature: float) -> None:
    rows, generator = LOGITS.expand(50, 4), torch.Generator().manual_seed(2)
    for noise in (gumbel(rows.shape, generator, rows.device), torch.rand((50, 1), generator=generator)):
        assert draw(rows, noise, temperature).tolist() == [1] * 50


def test_shared_noise_gives_equal_rows_equal_draws() -> None:
    rows, generator = LOGITS.expand(50, 4), torch.Generator().manual_seed(2)
    assert draw(rows, gumbel((1, 4), generator, rows.device), 1.0).unique().numel() == 1
    assert draw(rows, gumbel(rows.shape, generator, rows.device), 1.0).unique().numel() > 1


def test_gumbel_noise_has_its_distribution() -> None:
    noise = gumbel((200_000,), torch.Generator().manual_seed(3), torch.device("cpu")).double()
    for x in (-1.0, 0.0, 1.0, 3.0):  # P(G <= x) = exp(-exp(-x))
        assert (noise <= x).double().mean().item() == pytest.approx(math.exp(-math.exp(-x)), abs=0.005)
    assert not noise.isnan().any()
    assert not (noise == torch.inf).any()  # it would be drawn whatever the logits say


def test_greedy_generation_is_its_own_most_likely_continuation() -> None:
    model, z = tiny(), torch.randn(3, 4, generator=torch.Generator().manual_seed(3))
    ids = generate(model.decoder, z, 8, temperature=0.0)
    assert torch.equal(model.decode(z, ids).argmax(-1), ids)


def test_a_copy_of_a_model_keeps_nothing_that_was_made_of_another_one_s_weights() -> None:
    model, z = tiny(), torch.randn(3, 4)
    found = generate(model.decoder, z, 8, 0.0)
    copied = copy.deepcopy(model)
    assert model.decoder._kept._held is not None
    assert copied.decoder._kept._held is None
    assert torch.equal(generate(copied.decoder, z, 8, 0.0), found)


def test_same_seed_same_ids() -> None:
    model, z = tiny(), torch.randn(3, 4)
    first, again = (generate(model.decoder, z, 8, generator=torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, again)


def test_what_is_generated_follows_the_distribution_of_the_decoder() -> None:
    """p(a) p(b|a) at the temperature, as teacher forcing gives it for all pairs."""
    model, N = tiny(), 20_000
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.mul_(3.0)
        pairs = torch.cartesian_prod(torch.arange(6), torch.arange(6))
        z = torch.randn(1, 4, generator=torch.Generator().manual_seed(3))
        logp = (model.decode(z.expand(36, -1), pairs) / 0.7).log_softmax(-1)
    wanted = logp.gather(2, pairs.unsqueeze(2)).sum((1, 2)).exp()
    ids = generate(model.decoder, z.expand(N, -1), 2, 0.7, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(
        torch.bincount(6 * ids[:, 0] + ids[:, 1], minlength=36) / N, wanted, atol=0.012, rtol=0.0
    )


@pytest.mark.parametrize("scheduled", [scheduled_forward, parallel_scheduled_forward])
def test_scheduled_sampling_without_own_draws_is_teacher_forcing(scheduled: Callable[..., torch.Tensor]) -> None:
    model, z = tiny(), torch.randn(3, 4)
    tokens = torch.randint(0, 6, (3, 8))
    torch.testing.assert_close(scheduled(model.decoder, z, tokens, 0.0), model.decode(z, tokens))


@pytest.mark.parametrize("scheduled", [scheduled_forward, parallel_scheduled_forward])
def test_logits_that_are_not_finite_give_ids_all_the_same(scheduled: Callable[..., torch.Tensor]) -> None:
    """So that a step of training that overflows is skipped and not the end."""
    for value in (math.nan, math.inf):
        drawn = draw(torch.full((4, 6), value), torch.rand(4, 1), 1.0)
        assert ((drawn >= 0) & (drawn < 6)).all()
    model, tokens = tiny(), torch.randint(0, 6, (3, 8))
    assert not scheduled(model.decoder, torch.full((3, 4), math.nan), tokens, 1.0).isfinite().any()


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


@pytest.mark.parametrize("temperature", [0.0, 0.5, 1.0, 3.0])
def test_sentences_end_once_and_never_begin_again(temperature: float) -> None:
    ids = generate(tiny_text().decoder, latents(), 12, temperature, generator=torch.Generator().manual_seed(1))
    ended = (ids == EOS).int().cummax(-1).values.bool()
    assert ended[:, -1].all()
    assert (ids[ended] == EOS).all()
    assert (ids != BOS).all()
    lengths = (~ended).sum(-1)
    assert lengths.unique().numel() > 2


def test_the_last_step_is_an_end() -> None:
    model = tiny_text()
    with torch.no_grad():
        model.decoder.output.bias[4] = 50.0
    assert generate(model.decoder, latents(2), 5, 0.0).tolist() == [[4, 4, 4, 4, EOS]] * 2
    assert generate(model.decoder, latents(2), 1, 1.0).tolist() == [[EOS]] * 2


def test_sentences_are_greedily_decoded_as_if_alone() -> None:
    decoder, z = tiny_text().decoder, latents()
    together = generate(decoder, z, 12, 0.0)
    for row in range(len(z)):
        assert torch.equal(generate(decoder, z[row : row + 1], 12, 0.0)[0], together[row])


def test_no_more_steps_than_the_longest_sentence_has(monkeypatch: pytest.MonkeyPatch) -> None:
    model, steps = tiny_text(), []
    step = model.decoder.step
    monkeypatch.setattr(model.decoder, "step", lambda *given: (steps.append(1), step(*given))[1])
    with torch.no_grad():
        model.decoder.output.bias[EOS] = 50.0
    assert generate(model.decoder, latents(), 1000).tolist() == [[EOS] * 1000] * 40
    assert len(steps) == 1


def test_who_ends_early_takes_no_noise_from_others() -> None:
    """A row says the same beside whatever neighbour."""
    decoder, z = tiny_text().decoder, latents(2)
    beside = [
        torch.stack([generate(decoder, rows, 12, generator=torch.Generator().manual_seed(s)) for s in range(30)])
        for rows in (z, z * torch.tensor([[1.0], [-3.0]]))
    ]
    assert torch.equal(beside[0][:, 0], beside[1][:, 0])
    ends = [(found[:, 1] == EOS).int().argmax(-1) for found in beside]
    assert (ends[0] != ends[1]).any()


@pytest.mark.parametrize("temperature", [0.0, 0.7, 2.0])
def test_equal_latents_give_equal_sentences_under_shared_noise(temperature: float) -> None:
    z = latents(1).expand(20, -1)
    generator = torch.Generator().manual_seed(4)
    assert (
        len(generate(tiny_text().decoder, z, 12, temperature, generator=generator, shared_noise=True).unique(dim=0))
        == 1
    )


@pytest.mark.parametrize("scheduled", [scheduled_forward, parallel_scheduled_forward])
def test_scheduled_sampling_repeats_its_dropout(scheduled: Callable[..., torch.Tensor]) -> None:
    model, z, tokens = tiny_text(dropout=0.5).train(), latents(3), torch.randint(2, 6, (3, 12))
    first, again, other = (
        scheduled(model.decoder, z, tokens, 0.5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("how", [Decoding(), Decoding(1.0), Decoding(beam=2)])
def test_no_latents_give_no_sequences(how: Decoding) -> None:
    assert decode(tiny_text().decoder, latents(0), 12, how).shape == (0, 12)


def test_decoding_by_its_options() -> None:
    decoder, z = tiny_text().decoder, latents(5)
    assert torch.equal(decode(decoder, z, 12, Decoding(unknown=True)), generate(decoder, z, 12, 0.0))
    drawn = [
        decode(decoder, z, 12, Decoding(0.9, top_k=3, top_p=0.8, unknown=True), torch.Generator().manual_seed(1)),
        generate(decoder, z, 12, 0.9, 3, 0.8, torch.Generator().manual_seed(1)),
    ]
    assert torch.equal(*drawn)
    found = beam_search(decoder, z, 12, 4, 0.6)
    assert torch.equal(decode(decoder, z, 12, Decoding(beam=4, length_penalty=0.6, unknown=True)), found.ids[:, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "--temperature -1.0"),
        ({"temperature": float("nan")}, "--temperature nan"),
        ({"top_k": 0}, "--top-k 0"),
        ({"top_p": 1.5}, "--top-p 1.5"),
        ({"beam": 0}, "--beam 0"),
        ({"beam": 2, "length_penalty": -1.0}, "--length-penalty -1.0"),
        ({"beam": 2, "length_penalty": 8.5}, "--length-penalty 8.5: must be between 0 and 8"),
        ({"beam": 2, "temperature": 1.0}, "leave out --temperature"),
        ({"beam": 2, "top_k": 5}, "leave out --temperature"),
        ({"length_penalty": 0.5}, "give --beam"),
        ({"top_k": 5}, "give --temperature"),
        ({"top_p": 0.5}, "give --temperature"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Decoding(**options)


@pytest.mark.parametrize("how", [Decoding(1.0), Decoding(0.0), Decoding(beam=3)])
def test_unknown_words_are_said_only_where_they_may_be(how: Decoding) -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        vocabulary_size=6, length=8, bos=0, eos=1, blank=2, pad=3, encoder_size=4, decoder_size=4, latent_size=4
    )
    model = SequenceVAE(config).eval()
    with torch.no_grad():
        model.decoder.output.bias[2] += 5.0  # it would like to
    z = torch.randn(20, 4)
    assert not (decode(model.decoder, z, 8, how, torch.Generator().manual_seed(0)) == 2).any()
    willing = replace(how, unknown=True)
    assert (decode(model.decoder, z, 8, willing, torch.Generator().manual_seed(0)) == 2).any()
