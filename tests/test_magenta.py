"""Given Magenta's weights, the model computes what Magenta's computes (a tiny model with random weights)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from seqvae.config import ModelConfig
from seqvae.magenta import from_magenta
from seqvae.sampling import generate
from seqvae.vae import SequenceVAE

GOLDEN = Path(__file__).parent / "data" / "cat-mel_2bar_small-tiny.npz"
TINY = ModelConfig(encoder_size=10, decoder_size=8, decoder_layers=2, latent_size=6)
NEAR = {"rtol": 0.0, "atol": 1e-5}


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def model(golden: dict[str, np.ndarray]) -> SequenceVAE:
    model = SequenceVAE(TINY)
    variables = {name.removeprefix("var:"): array for name, array in golden.items() if name.startswith("var:")}
    model.load_state_dict(from_magenta(variables, TINY))
    return model.eval()


def test_encoder_agrees(model: SequenceVAE, golden: dict[str, np.ndarray]) -> None:
    posterior = model.encode(torch.from_numpy(golden["ids"]).long())
    np.testing.assert_allclose(posterior.loc.detach().numpy(), golden["mu"], **NEAR)
    np.testing.assert_allclose(posterior.scale.detach().numpy(), golden["sigma"], **NEAR)


def test_free_running_decoder_agrees(model: SequenceVAE, golden: dict[str, np.ndarray]) -> None:
    z = torch.from_numpy(golden["z"])
    ids = generate(model.decoder, z, 32, temperature=0.0)
    np.testing.assert_array_equal(ids.numpy(), golden["decoded"])
    logits = model.decode(z, ids)
    np.testing.assert_allclose(logits.detach().numpy(), golden["logits"], **NEAR)


def test_a_missing_variable_is_named(golden: dict[str, np.ndarray]) -> None:
    variables = {name.removeprefix("var:"): array for name, array in golden.items() if "encoder/mu" not in name}
    with pytest.raises(KeyError, match="encoder/mu/kernel"):
        from_magenta(variables, TINY)
