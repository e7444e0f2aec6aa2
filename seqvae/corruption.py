"""Sequences made harder to read, so that the rest must carry what they say.

hidden     ids of the decoder's input are hidden behind `blank`: it must ask z    word dropout, Bowman et al. 2016
corrupted  ids of the encoder's input are swapped, taken out or hidden, so that like sequences come to lie side by
           side in the latent space                                     Shen et al. 2020, arXiv:1905.12777
"""

import torch
from torch import Tensor

from seqvae.objectives import length_mask

REACH = 3.0  # places that a swapped id moves at most, as in Shen et al. 2020


def hidden(tokens: Tensor, share: float, blank: int, generator: torch.Generator | None = None) -> Tensor:
    """Tokens (B, T) with each one replaced by `blank` with probability `share`."""
    if not share:
        return tokens
    return tokens.masked_fill(_chosen(tokens, share, generator), blank)


def corrupted(
    tokens: Tensor,
    lengths: Tensor | None,
    *,
    swap: float,
    drop: float,
    mask: float,
    blank: int,
    ends: bool,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Swap, then drop, then mask; the tokens (B, T) and the lengths that are left.

    Args:
        tokens, lengths: (B, T) and (B), None where all are T long.
        swap: share of tokens that move by up to REACH places.
        drop: share of tokens that are taken out; of each sequence at least one stays.
        mask: share of tokens that are replaced by `blank`.
        blank: the id to hide behind.
        ends: each sequence's last token is its end, which stays as it is.
        generator: source of the noise.
    """
    B, T = tokens.shape
    full = lengths if lengths is not None else torch.full((B,), T, device=tokens.device)
    free = length_mask(full - 1 if ends else full, T)  # what may be touched
    if swap:
        places = torch.arange(T, device=tokens.device, dtype=torch.float32).expand(B, T)
        away = 1.0 + REACH * torch.rand(B, T, generator=generator, device=tokens.device)
        moved = _chosen(tokens, swap, generator) & free
        goals = torch.where(moved, places + away, places)
        goals = torch.where(free, goals.minimum(full.unsqueeze(1) - (1.5 if ends else 0.5)), places)
        tokens = tokens.gather(1, goals.argsort(dim=1, stable=True))
    if drop:
        stays = ~(_chosen(tokens, drop, generator) & free)
        stays[:, 0] |= ~(stays & length_mask(full, T)).any(1)
        stays &= length_mask(full, T)
        tokens = tokens.gather(1, (~stays).to(torch.uint8).argsort(dim=1, stable=True))
        lengths = stays.sum(1)
        free = length_mask(lengths - 1 if ends else lengths, T)
    if mask:
        tokens = torch.where(_chosen(tokens, mask, generator) & free, blank, tokens)
    return tokens, lengths


def _chosen(tokens: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    return torch.rand(tokens.shape, generator=generator, device=tokens.device) < share
