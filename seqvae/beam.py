"""Beam search: the likeliest sequences of a latent, all lengths competing.

    score(x) = log p(x|z) / ((5 + |x|) / 6)^alpha                    Wu et al. 2016, arXiv:1609.08144, without coverage

|x| counts the end, and p is the model's own, as teacher forcing gives it; bos and pad are never said. A step extends
each of a row's K hypotheses by every id. Of the K likeliest results, those that end are finished and compete by score;
the K likeliest that do not end live on. The last step can only be an end. The search is over when in no row a live
hypothesis could outdo the last of K finished ones, even if it lost nothing more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.decoders import LSTMDecoder


@dataclass(frozen=True)
class Hypotheses:
    """K sequences for each of B latents, best first."""

    ids: Tensor  # (B, K, T); eos after the end
    log_probabilities: Tensor  # (B, K) nats; -inf: there is no such sequence
    scores: Tensor  # (B, K), what they are ordered by

    def best(self, more: "Hypotheses") -> "Hypotheses":
        """The K best of these and some more."""
        scores, order = torch.cat([self.scores, more.scores], dim=1).topk(self.scores.shape[1])
        nats = torch.cat([self.log_probabilities, more.log_probabilities], dim=1)
        return Hypotheses(_picked(torch.cat([self.ids, more.ids], dim=1), order), nats.gather(1, order), scores)


@torch.no_grad()
def beam_search(
    decoder: LSTMDecoder,
    z: Tensor,
    length: int,
    beams: int,
    length_penalty: float = 1.0,
    never: Sequence[int] = (),
) -> Hypotheses:
    """Search for the sequences of the highest scores.

    Args:
        decoder: says by its configuration whether sequences end, and with which id.
        z: latents (B, Z).
        length: T, the most steps, the end included.
        beams: K, hypotheses of each latent at a time.
        length_penalty: alpha, 0 to MOST_PENALTY; where sequences do not end, it changes no order.
        never: ids that are not said, beside those that never are.
    """
    unsaid = [*decoder.config.unsaid, *never]
    B, K, eos = len(z), beams, decoder.config.eos
    rows = torch.arange(B, device=z.device).unsqueeze(1)
    ids = torch.full((B, K, length), 0 if eos is None else eos, device=z.device)
    nothing = z.new_full((B, K), -torch.inf)
    finished = Hypotheses(ids, nothing, nothing)
    live = torch.cat([z.new_zeros(B, 1), nothing[:, 1:]], dim=1)  # all K begin alike, so that one is enough
    state, previous = decoder.start(z).select(rows.expand(B, K).flatten()), None
    for step in range(length):
        logits, state = decoder.step(state, previous)
        only = eos if step == length - 1 else None
        nats, beam, token = _extended(live, logits.unflatten(0, (B, K)), unsaid, only)
        extended = _picked(ids, beam)
        extended[:, :, step] = token
        if eos is not None:
            ended = nats.masked_fill(token != eos, -torch.inf)[:, :K]
            finished = finished.best(Hypotheses(extended[:, :K], ended, ended / _penalty(step + 1, length_penalty)))
            nats = nats.masked_fill(token == eos, -torch.inf)
        live, order = nats.topk(K)
        ids, previous = _picked(extended, order), token.gather(1, order).flatten()
        state = state.select((rows * K + beam.gather(1, order)).flatten())
        if eos is not None and (live[:, 0] / _penalty(length, length_penalty) <= finished.scores[:, -1]).all():
            break
    return finished if eos is not None else Hypotheses(ids, live, live / _penalty(length, length_penalty))


def _extended(live: Tensor, logits: Tensor, unsaid: list[int], only: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """The likeliest extensions of hypotheses with log probabilities `live` (B, K) by logits (B, K, V).

    2 K of them, best first, among which K do not end: log probabilities, the hypotheses they extend, and ids, (B, 2 K)
    each. With `only` there are but K: that id stands after all.
    """
    B, K, V = logits.shape
    logits = logits.to(live.dtype)
    normaliser = logits.logsumexp(-1, keepdim=True)
    logits[:, :, unsaid] = -torch.inf
    ids = torch.full((B, K, 1), only, device=live.device) if only is not None else logits.topk(min(2 * K, V)).indices
    nats = live.unsqueeze(-1) + logits.gather(-1, ids) - normaliser  # (B, K, 2 K)
    best, place = nats.flatten(1).topk(min(2 * K, K * ids.shape[-1]))
    return best, place // ids.shape[-1], ids.flatten(1).gather(1, place)


def _picked(ids: Tensor, order: Tensor) -> Tensor:
    """Sequences (B, C, T) of ids (B, K, T), in the order of (B, C) numbers below K."""
    return ids.gather(1, order.unsqueeze(-1).expand(-1, -1, ids.shape[-1]))


def _penalty(length: int, alpha: float) -> float:
    return ((5.0 + length) / 6.0) ** alpha
