"""The steps of a few sequences are those of many, and so are the sequences they make."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from seqvae import few, sampling
from seqvae.config import ModelConfig
from seqvae.sampling import generate
from seqvae.vae import SequenceVAE

SENTENCES = {"bos": 7, "eos": 7, "pad": 8}
MODELS = {
    "melodies": ModelConfig(decoder_size=5, decoder_layers=2, latent_size=4, vocabulary_size=9, length=6),
    "one-hot sentences": ModelConfig(decoder_size=5, decoder_layers=1, vocabulary_size=9, length=6, **SENTENCES),
    "embedded sentences": ModelConfig(
        **{"embedding_size": 3, "decoder_size": 5, "decoder_layers": 3, "vocabulary_size": 9, "length": 6}, **SENTENCES
    ),
    "tied, without biases": ModelConfig(
        **{"embedding_size": 5, "decoder_size": 5, "vocabulary_size": 9, "length": 6, "tied": True, "bias": False},
        **SENTENCES,
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


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("options", [{}, {"temperature": 0.0}, {"temperature": 1.5, "top_k": 4}, {"top_p": 0.8}])
def test_a_few_sequences_are_those_of_many(config: ModelConfig, options: dict[str, float]) -> None:
    """Of many, torch takes the steps; with noise in common each sequence is the same beside others and alone."""
    model = decoding(config).float()
    z = latents(model, 40).float()
    many = generate(model.decoder, z, 6, **options, generator=torch.Generator().manual_seed(3), shared_noise=True)
    assert not few.suits(model.decoder, z)
    for rows in (1, 5):
        assert few.suits(model.decoder, z[:rows])
        noise = torch.Generator().manual_seed(3)
        found = generate(model.decoder, z[:rows], 6, **options, generator=noise, shared_noise=True)
        assert torch.equal(found, many[:rows])
    assert len({tuple(row) for row in many.tolist()}) > 1 or not config.latent_size


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
        assert not few.suits(decoder, z)
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
