"""What goes through a model at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """B sequences."""

    tokens: Tensor  # (B, T) int64; what lies beyond a sequence's length counts for nothing
    lengths: Tensor | None = None  # (B) int64; None where all are T long

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def count(self) -> int:
        """Tokens that count."""
        return self.tokens.numel() if self.lengths is None else int(self.lengths.sum())

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        return Batch(self.tokens.to(device), None if self.lengths is None else self.lengths.to(device))
