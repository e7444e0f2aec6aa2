"""Batch norms that rest where the data lie now.

In training the means of a batch are normalised by their own average and variance; afterwards, by what stands in the
buffers. Averages met in training lag behind weights that move, a posterior that is normalised by them has another
spread than was promised, and all figures with it. So before each validation the buffers take the average and the
variance of many sequences under the weights as they are (as Izmailov et al. 2018, arXiv:1803.05407, do for averaged
weights).
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import nn

from seqvae.batch import Batch
from seqvae.encoders import LSTMEncoder
from seqvae.posteriors import FixedSpread
from seqvae.vae import SequenceVAE


@torch.no_grad()
def settle(model: SequenceVAE, batches: Iterable[Batch]) -> None:
    """Let the batch norm of a posterior rest at the average and the variance of all sequences of `batches`.

    Args:
        model: with posterior = "batch-norm", on any device, in any mode.
        batches: on the model's device; of a single sequence nothing is learnt.
    """
    encoder = cast(LSTMEncoder, model.encoder)
    linear, norm = cast(tuple[nn.Linear, FixedSpread], tuple(cast(nn.Sequential, encoder.mean)))
    summaries = torch.cat([encoder.summarised(batch.tokens, batch.lengths) for batch in batches])
    if len(summaries) < 2:
        return
    with torch.autocast(summaries.device.type, enabled=False):  # as the posterior itself takes them
        means = linear(summaries).cpu().double()  # MPS has no float64
    for buffer, found in ((norm.running_mean, means.mean(0)), (norm.running_var, means.var(0))):
        buffer.copy_(found.to(buffer.dtype))  # type: ignore[union-attr]
