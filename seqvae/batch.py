"""What goes through a model at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from seqvae.devices import sent
from seqvae.objectives import length_mask


@dataclass(frozen=True)
class Batch:
    """B sequences, or the part of a batch that is computed at a time."""

    tokens: Tensor  # (B, T) int64; what lies beyond a sequence's length counts for nothing
    lengths: Tensor | None = None  # (B) int64; None where all are T long
    part: int = 0  # the number of this part
    whole: int | None = None  # rows of the batch that this is a part of; None: it is no part

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def count(self) -> int:
        """Tokens that count."""
        return self.tokens.numel() if self.lengths is None else int(self.lengths.sum())

    @property
    def counted(self) -> Tensor:
        """Which tokens these are, (B, T)."""
        if self.lengths is None:
            return torch.ones_like(self.tokens, dtype=torch.bool)
        return length_mask(self.lengths, self.tokens.shape[1])

    @property
    def share(self) -> float:
        """Of the whole batch; 0 for a row that stands in where a batch has fewer rows than parts."""
        if self.whole is None:
            return 1.0
        return len(self) / self.whole if self.part < self.whole else 0.0

    def to(self, device: torch.device) -> "Batch":
        """The same on a device; nobody waits for the copy."""
        lengths = None if self.lengths is None else sent(self.lengths, device)
        return Batch(sent(self.tokens, device), lengths, self.part, self.whole)
