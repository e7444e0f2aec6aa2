"""How good a model is: bounds in nats, and what it gets right.

Holds make up some 60 % of a melody's tokens, so that token accuracy alone hides a model that has learned nothing:
accuracy on note-ons stands beside it. "Teacher-forced" predicts each token from the true ones before it;
"free-running" decodes greedily from the posterior mean alone, as a user's reconstruction does.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from seqvae.objectives import distortion, importance_weighted_bound, prior_like, rate_per_dimension
from seqvae.sampling import generate
from seqvae.vae import SequenceVAE

ACTIVE = 0.01  # variance of a posterior mean over the data above which its dimension is active (Burda et al. 2016)


@torch.no_grad()
def evaluate(
    model: SequenceVAE,
    batches: Iterable[Tensor],
    note_on: Tensor,
    samples: int = 0,
    seed: int = 0,
) -> dict[str, float]:
    """Averages over all sequences of `batches`, in nats a sequence and in shares of 1.

    Args:
        model: on the device to use; its mode and parameters stay as they are.
        batches: (B, T) int64 tokens each, on any device.
        note_on: (V) bool, the ids that start a note.
        samples: number of importance samples for `iw_nll`; 0 leaves it out.
        seed: of the noise; the same seed gives the same figures.

    Returns:
        elbo, distortion, rate, active_units, token_accuracy, note_on_accuracy, token_free_running,
        note_on_free_running, exact (share of sequences reproduced without a fault), and if asked for iw_nll.
        Accuracy on note-ons is NaN where there are none.

    Raises:
        ValueError: there is no sequence.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    note_on = note_on.to(device)
    sums: dict[str, float] = {}
    means, sequences = [], 0
    for batch in batches:
        tokens = batch.to(device)
        sequences += len(tokens)
        posterior = model.encode(tokens)
        means.append(posterior.loc.cpu())
        noise = torch.randn(posterior.loc.shape, generator=generator, device=device)
        found = _bound(model, tokens, posterior, posterior.loc + posterior.scale * noise)
        found |= _accuracy(model.decode(posterior.loc, tokens).argmax(-1), tokens, note_on, "accuracy")
        ids = generate(model.decoder, posterior.loc, tokens.shape[1], temperature=0.0)
        found |= _accuracy(ids, tokens, note_on, "free_running")
        found["exact"] = (ids == tokens).all(-1).sum()
        if samples:
            found["iw_nll"] = -_importance_weighted(model, tokens, posterior, samples, generator).sum()
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + float(value)
    if not sequences:
        raise ValueError("there is no sequence to evaluate")
    return _averages(sums, sequences, tokens.shape[1]) | {"active_units": float(active_units(torch.cat(means)))}


def active_units(means: Tensor) -> int:
    """Number of latent dimensions in use: posterior means (N, Z) that vary over the data by more than ACTIVE."""
    return int((means.var(0, unbiased=False) > ACTIVE).sum())


def _bound(model: SequenceVAE, tokens: Tensor, posterior: torch.distributions.Normal, z: Tensor) -> dict[str, Tensor]:
    lost = distortion(model.decode(z, tokens), tokens).sum()
    rate = rate_per_dimension(posterior).sum()
    return {"elbo": -lost - rate, "distortion": lost, "rate": rate}


def _accuracy(ids: Tensor, tokens: Tensor, note_on: Tensor, kind: str) -> dict[str, Tensor]:
    right, starts = ids == tokens, note_on[tokens]
    return {f"token_{kind}": right.sum(), f"note_on_{kind}": (right & starts).sum(), "note_ons": starts.sum()}


def _importance_weighted(
    model: SequenceVAE,
    tokens: Tensor,
    posterior: torch.distributions.Normal,
    samples: int,
    generator: torch.Generator,
) -> Tensor:
    joint, log_posterior = [], []
    prior = prior_like(posterior)
    for _ in range(samples):
        noise = torch.randn(posterior.loc.shape, generator=generator, device=tokens.device)
        z = posterior.loc + posterior.scale * noise
        joint.append(prior.log_prob(z).sum(-1) - distortion(model.decode(z, tokens), tokens))
        log_posterior.append(posterior.log_prob(z).sum(-1))
    return importance_weighted_bound(torch.stack(joint), torch.stack(log_posterior))  # (B)


def _averages(sums: dict[str, float], sequences: int, length: int) -> dict[str, float]:
    note_ons = sums.pop("note_ons")
    averages = {}
    for name, value in sums.items():
        if name.startswith("note_on"):
            averages[name] = value / note_ons if note_ons else float("nan")
        else:
            averages[name] = value / (sequences * length if name.startswith("token") else sequences)
    return averages
