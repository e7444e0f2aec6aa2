"""A pass, its loss and its gradient never look at what was computed, for which a GPU would have to be waited for.

On torch's meta device tensors have shapes and no values: whoever asks for one fails. What has ways of its own for a CPU
takes those for a GPU there. Copies to a device, the optimizer and autocast are not seen here: `benchmarks.gpu` sees
them on a GPU. Sentences are sampled until all have ended, which has to be looked at.
"""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from seqvae.config import ModelConfig
from seqvae.objectives import charged_rate
from seqvae.regularisers import mmd
from seqvae.sampling import generate
from seqvae.vae import Noise, SequenceVAE

B, T, V = 6, 4, 9
MELODIES = ModelConfig(vocabulary_size=V, length=T, encoder_size=6, latent_size=4, decoder_size=5)
SENTENCES = replace(MELODIES, bos=6, eos=7, pad=8, embedding_size=5)
MODELS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "two layers": {"encoder_layers": 2},
    "one direction": {"bidirectional": False},
    "mean": {"summary": "mean"},
    "max": {"summary": "max"},
    "one direction, max": {"bidirectional": False, "summary": "max"},
    "batch-norm": {"posterior": "batch-norm"},
    "delta": {"posterior": "delta"},
    "z at the start": {"latent_to": "start", "initial_state": "shared"},
    "dropout": {"dropout": 0.3},
    "tied": {"embedding_size": 5, "tied": True},
    "no latents": {"latent_size": 0},
}
NOISES = {
    "none": Noise(),
    "words": Noise(word_dropout=0.3),
    "drop": Noise(drop=0.3),
    "swap and mask": Noise(swap=0.3, mask=0.3),
    "scheduled": Noise(scheduled=0.5),
    "scheduled in parallel": Noise(scheduled=0.5, parallel=True),
}


def batch(config: ModelConfig) -> tuple[Tensor, Tensor | None]:
    tokens = torch.empty(B, T, dtype=torch.long, device="meta")
    return tokens, None if config.eos is None else torch.empty(B, dtype=torch.long, device="meta")


@pytest.fixture(autouse=True)
def _no_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which there is none of on this device."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)


def made(config: ModelConfig) -> SequenceVAE:
    with torch.device("meta"):
        return SequenceVAE(config).to("meta")


CASES = [(changes, "none") for changes in MODELS] + [("as it is", noise) for noise in NOISES if noise != "none"]


@pytest.mark.parametrize("base", [MELODIES, SENTENCES], ids=["melodies", "sentences"])
@pytest.mark.parametrize(("changes", "noise"), CASES)
def test_a_step_of_training_looks_at_no_value(base: ModelConfig, changes: str, noise: str) -> None:
    model = made(replace(base, **MODELS[changes]))
    terms = model(*batch(model.config), noise=NOISES[noise])
    loss = terms.distortion.mean() + charged_rate(terms.rates, 0.3, "dimension", "mask")
    if model.config.latent_size:
        loss = loss + mmd(terms.z, torch.randn_like(terms.z))
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_sampling_looks_at_no_value(temperature: float) -> None:
    decoder = made(MELODIES).eval().decoder
    z = torch.empty(B, 4, device="meta")
    assert generate(decoder, z, T, temperature, top_k=3, top_p=0.9).shape == (B, T)


def test_what_looks_at_a_value_is_found() -> None:
    lost = made(MELODIES)(*batch(MELODIES)).distortion.sum()
    with pytest.raises(RuntimeError, match="meta"):
        float(lost)
