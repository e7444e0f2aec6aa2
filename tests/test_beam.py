"""The beam finds what trying everything finds."""

import itertools

import pytest
import torch
from torch.distributions import Categorical

from seqvae.beam import Hypotheses, _penalty, beam_search
from seqvae.config import MOST_LENGTH, MOST_PENALTY, ModelConfig
from seqvae.decoders import LSTMDecoder
from seqvae.objectives import summed
from seqvae.sampling import generate

SIZES = {"encoder_size": 4, "decoder_size": 8, "latent_size": 3}
TEXT = ModelConfig(vocabulary_size=5, length=4, bos=0, eos=1, blank=2, embedding_size=4, **SIZES)
MELODY = ModelConfig(vocabulary_size=4, length=4, **SIZES)


def decoder_of(config: ModelConfig) -> tuple[LSTMDecoder, torch.Tensor]:
    """A decoder that says different things about different latents, and six latents."""
    torch.manual_seed(5)
    decoder = LSTMDecoder(config).double().eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(3.0)
    return decoder, torch.randn(6, 3, dtype=torch.float64)


def every_sequence(config: ModelConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """All sequences of at most T ids, filled up with eos, and their lengths."""
    V, T, eos = config.vocabulary_size, config.length, config.eos
    if eos is None:
        ids = list(itertools.product(range(V), repeat=T))
        return torch.tensor(ids), torch.full((len(ids),), T)
    others = [i for i in range(V) if i not in (config.bos, eos)]
    ids = [(*said, *[eos] * (T - n)) for n in range(T) for said in itertools.product(others, repeat=n)]
    return torch.tensor(ids), torch.tensor([row.index(eos) + 1 for row in ids])


def log_probabilities(decoder: LSTMDecoder, z: torch.Tensor, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Of sequences (N, T) under one latent (Z), teacher-forced."""
    logits = decoder(z.expand(len(ids), -1), ids)
    return summed(Categorical(logits=logits).log_prob(ids), lengths)


def searched_plainly(
    decoder: LSTMDecoder, z: torch.Tensor, length: int, beams: int, alpha: float
) -> list[tuple[float, tuple[int, ...]]]:
    """The best sentences of one latent (Z) and their scores; all ids are tried, up to the last step."""
    config = decoder.config
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished = []
    for step in range(1, length + 1):
        extended = []
        for nats, said in live:
            logp = decoder(z[None], torch.tensor([[*said, 0]]))[0, -1].log_softmax(-1).tolist()
            may = [config.eos] if step == length else [id for id in range(len(logp)) if id not in config.unsaid]
            extended += [(nats + logp[id], (*said, id)) for id in may]
        extended.sort(reverse=True)
        ended = [(nats, said) for nats, said in extended[:beams] if said[-1] == config.eos]
        finished += [(nats / ((5 + step) / 6) ** alpha, said) for nats, said in ended]
        live = [(nats, said) for nats, said in extended if said[-1] != config.eos][:beams]
    return sorted(finished, reverse=True)[:beams]


def lengths_of(found: Hypotheses, config: ModelConfig) -> torch.Tensor:
    """(B, K)."""
    T = found.ids.shape[-1]
    if config.eos is None:
        return torch.full(found.ids.shape[:2], T)
    return (found.ids == config.eos).double().argmax(-1) + 1


@pytest.mark.parametrize("config", [TEXT, MELODY])
@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
def test_a_wide_beam_ranks_all_sequences(config: ModelConfig, alpha: float) -> None:
    decoder, z = decoder_of(config)
    ids, lengths = every_sequence(config)
    found = beam_search(decoder, z, config.length, beams=300, length_penalty=alpha)
    assert not found.scores[:, len(ids) :].isfinite().any()
    for row in range(len(z)):
        nats = log_probabilities(decoder, z[row], ids, lengths)
        scores, order = (nats / ((5 + lengths) / 6) ** alpha).sort(descending=True)
        assert torch.equal(found.ids[row, : len(ids)], ids[order])
        torch.testing.assert_close(found.scores[row, : len(ids)], scores)
        torch.testing.assert_close(found.log_probabilities[row, : len(ids)], nats[order])


@pytest.mark.parametrize("bias", [-2.0, 0.0, 3.0])
@pytest.mark.parametrize("beams", [1, 2, 3])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 5.0])
def test_a_narrow_beam_finds_what_a_plain_search_finds(alpha: float, beams: int, bias: float) -> None:
    """Whether sentences like to end, or not."""
    decoder, z = decoder_of(TEXT)
    with torch.no_grad():
        decoder.output.bias[TEXT.eos] += bias
        found = beam_search(decoder, z[:3], 7, beams, alpha)
        for row in range(3):
            wanted = searched_plainly(decoder, z[row], 7, beams, alpha)
            scores = torch.tensor([score for score, _ in wanted], dtype=torch.float64)
            torch.testing.assert_close(found.scores[row, : len(wanted)], scores)
            assert not found.scores[row, len(wanted) :].isfinite().any()
            for ids, (_, said) in zip(found.ids[row].tolist(), wanted, strict=False):
                assert ids == [*said, *[TEXT.eos] * (7 - len(said))]


def test_lengths_compete() -> None:
    """The larger alpha, the longer the best sequences."""
    decoder, z = decoder_of(TEXT)
    means = [
        lengths_of(beam_search(decoder, z, 4, 100, alpha), TEXT)[:, 0].double().mean() for alpha in (0.0, 1.0, 5.0)
    ]
    assert means[0] <= means[1] <= means[2]
    assert means[0] < means[2]


def test_fp32_holds_the_scores_of_the_longest_sentences() -> None:
    assert 1.0 / _penalty(MOST_LENGTH, MOST_PENALTY) > torch.finfo(torch.float32).tiny


@pytest.mark.parametrize("config", [TEXT, MELODY])
@pytest.mark.parametrize("length", [1, 4, 9])
def test_one_beam_without_normalisation_is_greedy(config: ModelConfig, length: int) -> None:
    decoder, z = decoder_of(config)
    found = beam_search(decoder, z, length, beams=1, length_penalty=0.0)
    assert torch.equal(found.ids[:, 0], generate(decoder, z, length, temperature=0.0))


@pytest.mark.parametrize("config", [TEXT, MELODY])
@pytest.mark.parametrize("beams", [1, 2, 3])
def test_log_probabilities_are_those_of_teacher_forcing(config: ModelConfig, beams: int) -> None:
    decoder, z = decoder_of(config)
    found = beam_search(decoder, z, 8, beams)
    for row in range(len(z)):
        lengths = lengths_of(found, config)[row]
        expected = log_probabilities(decoder, z[row], found.ids[row], lengths)
        torch.testing.assert_close(found.log_probabilities[row], expected)
        torch.testing.assert_close(found.scores[row], expected / ((5 + lengths) / 6))
    assert (found.scores.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_rows_are_searched_as_if_alone(alpha: float) -> None:
    decoder, z = decoder_of(TEXT)
    together = beam_search(decoder, z, 12, 3, alpha)
    for row in range(len(z)):
        alone = beam_search(decoder, z[row : row + 1], 12, 3, alpha)
        assert torch.equal(together.ids[row], alone.ids[0])


def test_what_is_found_ends_once_and_never_begins_again() -> None:
    decoder, z = decoder_of(TEXT)
    ids = beam_search(decoder, z, 9, 4).ids
    ended = (ids == TEXT.eos).int().cummax(-1).values.bool()
    assert ended[..., -1].all()
    assert (ids[ended] == TEXT.eos).all()
    assert (ids != TEXT.bos).all()


def test_a_search_ends_at_its_last_step_whatever_the_decoder_says() -> None:
    decoder, z = decoder_of(TEXT)
    with torch.no_grad():
        decoder.output.bias[4] = 50.0
    found = beam_search(decoder, z, 5, 1)
    assert found.ids[:, 0].tolist() == [[4, 4, 4, 4, TEXT.eos]] * 6
    assert found.scores.isfinite().all()


def test_a_search_is_over_when_nothing_can_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step is enough where the decoder is sure to end at once."""
    decoder, z = decoder_of(TEXT)
    with torch.no_grad():
        decoder.output.bias[TEXT.eos] = 60.0
    steps = []
    step = decoder.step
    monkeypatch.setattr(decoder, "step", lambda *given: (steps.append(1), step(*given))[1])
    found = beam_search(decoder, z, 50, 1, 0.0)
    assert len(steps) == 1
    assert (found.ids == TEXT.eos).all()
