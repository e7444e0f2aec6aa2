"""The steps of a few sequences are those of many, and so are the sequences they make."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seqvae import few, sampling
from seqvae.config import ModelConfig
from seqvae.onednn import multiplies
from seqvae.sampling import generate
from seqvae.vae import SequenceVAE

SENTENCES = {"bos": 7, "eos": 6, "pad": 8}
MODELS = {
    "melodies": ModelConfig(decoder_size=5, decoder_layers=2, latent_size=4, vocabulary_size=9, length=6),
    "one-hot sentences": ModelConfig(decoder_size=5, decoder_layers=1, vocabulary_size=9, length=6, **SENTENCES),
    "embedded sentences": ModelConfig(
        **{"embedding_size": 3, "decoder_size": 5, "decoder_layers": 3, "vocabulary_size": 9, "length": 6}, **SENTENCES
    ),
    "tied, without biases": ModelConfig(
        **{"embedding_size": 5, "decoder_size": 5, "vocabulary_size": 9, "length": 6, "tied": True, "bias": False}
    ),
    "z at the start": ModelConfig(
        **{"decoder_size": 5, "vocabulary_size": 9, "length": 6, "latent_to": "start", "initial_state": "shared"}
    ),
    "no latents": ModelConfig(latent_size=0, decoder_size=5, vocabulary_size=9, length=6),
}


def decoding(config: ModelConfig) -> SequenceVAE:
    """A model in fp64 whose gates and logits are far from their middle."""
    torch.manual_seed(0)
    model = SequenceVAE(replace(config, encoder_size=6)).double().eval()
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.normal_()
    return model


def latents(model: SequenceVAE, rows: int) -> Tensor:
    return torch.randn(rows, model.config.latent_size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("rows", [1, 3])
def test_steps_are_the_teacher_forced_pass(config: ModelConfig, rows: int) -> None:
    model = decoding(config)
    z, tokens = latents(model, rows), torch.randint(0, 7, (rows, 6), generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = model.decoder(z, tokens)
        for _ in range(2):  # the second time from the same weights and latents
            step = few.FewSteps(model.decoder, z)
            found = [step(None).clone(), *(step(tokens[:, t]).clone() for t in range(5))]
            torch.testing.assert_close(torch.stack(found, dim=1), expected, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize("threads", [2, 3])  # of which each divides some of the widths
@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_single_rows_meet_blocks_of_the_weights(
    config: ModelConfig, threads: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(few, "BLOCK", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    blocks = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda x, y, out: (blocks.append(len(y)), bmm(x, y, out=out))[1])
    test_steps_are_the_teacher_forced_pass(config, rows)
    assert set(blocks) == ({threads} if rows == 1 else set())


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"temperature": 1.5, "top_k": 4}, {"top_p": 0.8}])
@pytest.mark.parametrize("rows", [0, 1, 5])
def test_sequences_are_those_of_torchs_steps(
    config: ModelConfig, options: dict[str, float], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = decoding(config)
    z, found = latents(model, rows), []
    for suits in (few.suits, lambda decoder, z: False):
        monkeypatch.setattr(sampling, "suits", suits)
        found.append(generate(model.decoder, z, 6, **options, generator=torch.Generator().manual_seed(3)))
    assert few.suits(model.decoder, z)
    assert found[0].shape == (rows, 6)
    assert torch.equal(*found)


@pytest.mark.parametrize("shared_noise", [True, False])
def test_many_sequences_are_decoded_as_a_few(shared_noise: bool) -> None:
    model = decoding(MODELS["melodies"])
    z, found = latents(model, few.ROWS + 1), []
    for part in (z, z[: few.ROWS]):
        noise = torch.Generator().manual_seed(3)
        found.append(generate(model.decoder, part, 6, generator=noise, shared_noise=shared_noise))
    if not shared_noise:  # a row's number is drawn beside those of all others: only the first step's are the same
        found = [ids[:, :1] for ids in found]
    assert torch.equal(found[0][: few.ROWS], found[1])
    assert len({tuple(ids) for ids in found[0].tolist()}) > 1


def test_what_is_not_finite_passes_silently(recwarn: pytest.WarningsRecorder) -> None:
    model = decoding(MODELS["melodies"])
    with torch.inference_mode():
        for parameter in model.decoder.parameters():
            parameter.mul_(1e300)
        few.FewSteps(model.decoder, 1e300 * latents(model, 2))(torch.tensor([1, 2]))
    assert not recwarn.list


def test_large_gates_stay_finite_and_silent(recwarn: pytest.WarningsRecorder) -> None:
    model = decoding(MODELS["melodies"]).float()
    with torch.inference_mode():
        for parameter in model.decoder.parameters():
            parameter.mul_(1e4)
        step = few.FewSteps(model.decoder, latents(model, 2).float())
        assert step(step(None).argmax(-1)).isfinite().all()
    assert not recwarn.list


def test_what_suits() -> None:
    decoder = decoding(MODELS["melodies"]).float().decoder
    z = torch.zeros(few.ROWS, decoder.config.latent_size)
    assert few.suits(decoder, z)
    assert not few.suits(decoder, torch.zeros(few.ROWS + 1, z.shape[1]))
    with torch.autocast("cpu", torch.bfloat16):
        assert few.suits(decoder, z) == multiplies(torch.bfloat16)
    assert not few.suits(decoder, z.double())
    assert not few.suits(decoder.bfloat16(), z.bfloat16())
    dropping = decoding(replace(MODELS["melodies"], dropout=0.5)).float()
    assert few.suits(dropping.decoder, z)
    assert not few.suits(dropping.train().decoder, z)
    with torch.device("meta"):
        there = SequenceVAE(MODELS["melodies"]).decoder
    assert not few.suits(there, z.to("meta"))


def test_generate_takes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = decoding(MODELS["melodies"])
    taken: list[int] = []

    class Counted(few.FewSteps):
        def __call__(self, previous: Tensor | None) -> Tensor:
            taken.append(1)
            return super().__call__(previous)

    monkeypatch.setattr(sampling, "FewSteps", Counted)
    generate(model.decoder, latents(model, 2), 6)
    assert len(taken) == 6
