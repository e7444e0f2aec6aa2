"""Latents that, all together, are distributed like the prior, as far as a linear map can make them so.

The rate has two parts, I(x; z) + KL(q(z) || p(z)) (see `information`), and the second is of no use: nothing is told by
it, and what is drawn from the prior lies where no sequence does. A map z' = A (z - m) leaves the first part as it is,
and the distortion too, if the decoder takes the map back. With the mean m and the covariance C of all z under q,

    A C A' = 1    takes away    KL(N(m, C) || N(0, 1)) = (tr C + m'm - Z - ln det C) / 2

of the second. Gradients do not see to it: a rate within the free bits costs nothing, whichever part it is in.

That leaves a rotation to choose. The posterior of z' has the covariance A diag(s^2) A', of which an encoder can say the
diagonal alone. It is diagonal on average with

    A = R' C^(-1/2),   R diag(p) R' = C^(-1/2) diag(E s^2) C^(-1/2)

which diagonalises the covariance of the means, too: dimensions are then principal ones, uncorrelated, each with the
share 1 - p of its variance from the means; those that tell most come first.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from seqvae.batch import Batch
from seqvae.encoders import LSTMEncoder
from seqvae.posteriors import SoftplusLinear
from seqvae.vae import SequenceVAE


@torch.no_grad()
def whiten(model: SequenceVAE, batches: Iterable[Batch]) -> None:
    """Move the latents of a model with Gaussian posteriors, so that those of `batches` have mean 0 and covariance 1.

    The means move exactly, and the decoder with them: what it makes of the mean of a posterior stays what it was. The
    scales follow as far as they are a function of the encoder's summary. In a model without biases the mean cannot be
    moved to 0.

    Args:
        model: on any device, in any mode.
        batches: many more sequences than latent dimensions, on the model's device.
    """
    encoder, decoder = cast(LSTMEncoder, model.encoder), model.decoder
    mean_head, scale_head = cast(nn.Linear, encoder.mean), cast(SoftplusLinear, encoder.scale)
    summary = torch.cat([encoder.summarised(batch.tokens, batch.lengths) for batch in batches])
    posterior = encoder.posterior(summary)
    mean, scale = _exact(posterior.loc), _exact(posterior.scale)
    centre = mean.mean(0) if model.config.bias else torch.zeros_like(mean[0])
    there, back = principal_map(mean - centre, scale)
    _map_outputs(mean_head, there, centre)
    _fit(scale_head, _exact(summary), scale, (scale**2 @ (there**2).T).sqrt())
    initial = cast(nn.Linear, decoder.initial)
    _map_inputs(initial.weight, initial.bias, back, centre)
    if decoder.latent_inputs:
        weight, _, bias, _ = decoder.lstm.all_weights[0]
        _map_inputs(weight[:, decoder.input.size :], bias, back, centre)


def _exact(x: Tensor) -> Tensor:
    """In float64, which not every device has."""
    return x.cpu().double()


def principal_map(mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """A and its inverse, (Z, Z), for posteriors of mean, 0 on average, and scale (N, Z); see the module's head."""
    own = torch.diag((scale**2).mean(0))
    values, vectors = torch.linalg.eigh(mean.T @ mean / len(mean) + own)
    root, inverse_root = (vectors * values**0.5) @ vectors.T, (vectors * values**-0.5) @ vectors.T
    _, rotation = torch.linalg.eigh(inverse_root @ own @ inverse_root)  # the smallest share of noise first
    rotation = torch.where(rotation.diagonal() < 0, -rotation, rotation)  # what is principal already stays as it is
    return rotation.T @ inverse_root, root @ rotation


def _map_outputs(linear: nn.Linear, there: Tensor, centre: Tensor) -> None:
    """From y to A (y - m)."""
    linear.weight.copy_(there @ _exact(linear.weight))
    if linear.bias is not None:
        linear.bias.copy_(there @ (_exact(linear.bias) - centre))


def _map_inputs(weight: Tensor, bias: Tensor | None, back: Tensor, centre: Tensor) -> None:
    """What was W z + b is W (A^-1 z' + m) + b."""
    if bias is not None:
        bias.copy_(_exact(bias) + _exact(weight) @ centre)
    weight.copy_(_exact(weight) @ back)


def _fit(head: SoftplusLinear, summary: Tensor, scale: Tensor, wanted: Tensor) -> None:
    """From scales (N, Z) to those that are wanted of the summaries (N, H): the smallest change with the least squares.

    Squares are of what goes into the softplus.
    """
    known = torch.cat([summary, torch.ones_like(summary[:, :1])], dim=1) if head.bias is not None else summary
    missing = head.before_softplus(wanted) - head.before_softplus(scale)
    change = torch.linalg.lstsq(known, missing).solution.T
    head.weight.add_(change[:, : summary.shape[1]].to(head.weight))
    if head.bias is not None:
        head.bias.add_(change[:, -1].to(head.bias))
