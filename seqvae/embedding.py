"""Tokens as vectors: one-hot or embedded, for encoder and decoder alike."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqvae.config import ModelConfig


class TokenInput(nn.Module):
    """(B, T) ids -> (B, T, E): rows of the identity (one-hot, E = V), or of a learned embedding."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size = config.embedding_size or config.vocabulary_size
        if config.embedding_size:
            self.rows = nn.Parameter(torch.randn(config.vocabulary_size, self.size) / self.size**0.5)
        else:
            self.register_buffer("rows", torch.eye(config.vocabulary_size), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """ids (...) -> vectors (..., E)."""
        return F.embedding(tokens, self.rows)

    def table(self, weight: Tensor) -> Tensor:
        """What a linear layer of this weight (O, E) makes of each token: (V, O); a look-up replaces the product."""
        return self.rows @ weight.t()


def forget_bias_one(lstm: nn.LSTM) -> None:
    """Start with open forget gates (Jozefowicz et al. 2015): gates lie in the order i, f, g, o, and biases come twice."""
    size = lstm.hidden_size
    with torch.no_grad():
        for name, bias in lstm.named_parameters():
            if name.startswith("bias_ih"):
                bias.zero_()
                bias[size : 2 * size] = 1.0
            elif name.startswith("bias_hh"):
                bias.zero_()
