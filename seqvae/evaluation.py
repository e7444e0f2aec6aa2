"""How good a model is: bounds in nats, and what it gets right.

Holds make up some 60 % of a melody's tokens, so that token accuracy alone hides a model that has learned nothing:
accuracy on note-ons stands beside it. "Teacher-forced" predicts each token from the true ones before it;
"free-running" decodes greedily from the posterior mean alone, as a user's reconstruction does.

The last layer's logits are most of the memory that a large vocabulary takes: nowhere are more than CELLS of them held.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal
from tqdm.auto import tqdm

from seqvae.batch import Batch
from seqvae.information import active_units, information
from seqvae.objectives import importance_weighted_bound, prior_like, rate_per_dimension
from seqvae.sampling import generate
from seqvae.softmax import CELLS
from seqvae.vae import SequenceVAE


@torch.no_grad()
def evaluate(
    model: SequenceVAE,
    batches: Iterable[Batch],
    note_on: np.ndarray | None = None,
    samples: int = 0,
    seed: int = 0,
    *,
    accuracy: bool = True,
    free_running: bool = True,
    progress: bool = False,
) -> dict[str, float]:
    """Averages over all sequences of `batches`, in nats a sequence and in shares of 1.

    Args:
        model: in eval mode, on the device to use; its parameters stay as they are.
        batches: the sequences, on any device.
        note_on: (V) bool, the ids that start a note; None leaves out what counts them.
        samples: number of importance samples for `iw_nll`, of which a model without latents takes one; 0 leaves it out.
        seed: of the noise; the same seed gives the same figures.
        accuracy: count the tokens that are predicted rightly; one more pass of the decoder.
        free_running: decode each sequence from its posterior mean; as many steps as it is long.
        progress: show a bar, in a terminal (on stderr) or a notebook (with ipywidgets).

    Returns:
        elbo, distortion, rate, its parts mutual_information (at most mutual_information_cap) and aggregate_rate, and
        active_units (see `seqvae.information`).
        With `samples`: iw_nll. With `accuracy`: token_accuracy, note_on_accuracy. With `free_running`:
        token_free_running and note_on_free_running, the shares of tokens that stand in their places, and exact, of
        sequences reproduced without a fault. A sequence's end counts as one of its tokens, what lies beyond does not.
        Accuracy on note-ons is NaN where there are none.
        Of sequences that end: tokens, of a sequence on average, and perplexity = exp(nll of all / tokens of all), nll
        being iw_nll, or without samples -elbo, which is more.

    Raises:
        ValueError: there is no sequence.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    starts = None if note_on is None else torch.as_tensor(note_on, device=device)
    if not model.config.latent_size:  # there is nothing to draw: one sample is exact
        samples = min(samples, 1)
    found: dict[str, list[Tensor]] = {}
    posteriors: list[Normal] = []
    sequences, tokens = 0, 0
    bar = tqdm(batches, "evaluating", unit=" batches", leave=False, disable=None if progress else True)
    for batch in bar:
        sequences, tokens = sequences + len(batch), tokens + batch.count
        moved = batch.to(device)
        posterior = model.encode(moved.tokens, moved.lengths)
        posteriors.append(posterior)
        sums = _bound(model, moved, posterior, generator)
        if accuracy:
            ids = _predicted(model, posterior.loc, moved.tokens)
            sums |= _right(ids, moved, starts, "accuracy")
        if free_running:
            ids = _reconstructed(model, posterior.loc, moved.tokens.shape[1])
            sums |= _right(ids, moved, starts, "free_running")
            sums["exact"] = ((ids == moved.tokens) | ~moved.counted).all(-1).sum()
        if samples:
            sums["iw_nll"] = -_importance_weighted(model, moved, posterior, samples, generator).sum()
        for name, value in sums.items():
            found.setdefault(name, []).append(value)
    if not sequences:
        raise ValueError("there is no sequence to evaluate")
    totals = {name: float(torch.stack(values).cpu().double().sum()) for name, values in found.items()}
    figures = _averages(totals, sequences, tokens) | _latent(posteriors, seed)
    if model.config.eos is not None:
        nll = torch.tensor(totals["iw_nll"] if samples else -totals["elbo"], device="cpu", dtype=torch.float64)
        figures |= {"tokens": tokens / sequences, "perplexity": float((nll / tokens).exp())}
    return figures


def _bound(model: SequenceVAE, batch: Batch, posterior: Normal, generator: torch.Generator) -> dict[str, Tensor]:
    lost = _distortions(model, batch, _draw(posterior, 1, generator)[0]).sum()
    rate = rate_per_dimension(posterior).sum()
    return {"elbo": -lost - rate, "distortion": lost, "rate": rate}


def _latent(posteriors: list[Normal], seed: int) -> dict[str, float]:
    """What all posteriors together tell."""
    means, scales = torch.cat([each.loc for each in posteriors]), torch.cat([each.scale for each in posteriors])
    told = information(Normal(means, scales, validate_args=False), seed=seed)
    return {
        "mutual_information": told.mutual_information,
        "mutual_information_cap": told.cap,
        "aggregate_rate": told.aggregate_rate,
        "active_units": float(active_units(means)),
    }


def _draw(posterior: Normal, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """z and the noise in it, (samples, B, Z) each, the same ones however many are drawn at a time."""
    like = posterior.loc
    noise = torch.stack(
        [torch.randn(like.shape, generator=generator, device=like.device, dtype=like.dtype) for _ in range(samples)]
    )
    return like + posterior.scale * noise, noise


def _distortions(model: SequenceVAE, batch: Batch, z: Tensor) -> Tensor:
    """-log p(x|z) of each sequence with each of its z (K, B, Z): (K, B)."""
    K, B, _ = z.shape
    rows = torch.arange(B, device=z.device).repeat(K)
    lengths = None if batch.lengths is None else batch.lengths[rows]
    return model.distortion(z.flatten(0, 1), batch.tokens[rows], lengths).view(K, B)


def _predicted(model: SequenceVAE, z: Tensor, tokens: Tensor) -> Tensor:
    """The likeliest id at each step, after the true ones before it: (B, T)."""
    outputs = model.decoder.outputs(z, tokens).flatten(0, 1)
    steps = outputs.split(max(1, CELLS // model.config.vocabulary_size))
    return torch.cat([model.decoder.output(part).argmax(-1) for part in steps]).view(tokens.shape)


def _reconstructed(model: SequenceVAE, z: Tensor, T: int) -> Tensor:
    """Greedy decoding (B, T), which is not told where the sequences end.

    A decoder that has to end does so one step later, unless T is the most steps that it ever has.
    """
    return generate(model.decoder, z, min(T + 1, model.config.length), temperature=0.0)[:, :T]


def _right(ids: Tensor, batch: Batch, starts: Tensor | None, kind: str) -> dict[str, Tensor]:
    counted = batch.counted
    right = (ids == batch.tokens) & counted
    sums = {f"token_{kind}": right.sum()}
    if starts is not None:
        note_ons = starts[batch.tokens] & counted
        sums |= {f"note_on_{kind}": (right & note_ons).sum(), "note_ons": note_ons.sum()}
    return sums


def _importance_weighted(
    model: SequenceVAE, batch: Batch, posterior: Normal, samples: int, generator: torch.Generator
) -> Tensor:
    """Bounds on log p(x): (B)."""
    joint, log_posterior = [], []
    prior = prior_like(posterior)
    config = model.config
    widest = max(config.vocabulary_size, 4 * config.decoder_size)  # of what is held of a token: logits, or gates
    at_once = max(1, CELLS // (batch.tokens.numel() * widest))
    for start in range(0, samples, at_once):
        z, noise = _draw(posterior, min(at_once, samples - start), generator)
        joint.append(prior.log_prob(z).sum(-1) - _distortions(model, batch, z))
        # log q(z|x), from the noise: z of a narrow posterior have lost it in rounding. The prior is a standard normal
        log_posterior.append((prior.log_prob(noise) - posterior.scale.log()).sum(-1))
    return importance_weighted_bound(torch.cat(joint), torch.cat(log_posterior))


def _averages(totals: dict[str, float], sequences: int, tokens: int) -> dict[str, float]:
    averages = {}
    for name, value in totals.items():
        if name.startswith("note_on_"):
            averages[name] = value / totals["note_ons"] if totals["note_ons"] else float("nan")
        elif name != "note_ons":
            averages[name] = value / (tokens if name.startswith("token_") else sequences)
    return averages
