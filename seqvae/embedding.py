"""Tokens as vectors, one-hot or embedded, vectors as scores of tokens, and first weights of the LSTMs between them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqvae.config import ModelConfig
from seqvae.stepping import plus_product

TOKEN_SPREAD = 0.5  # of what a token adds to a gate before training


class TokenInput(nn.Module):
    """(B, T) ids -> (B, T, E): rows of the identity (one-hot, E = V), or of a learned embedding.

    With `sparse` the gradient holds the rows that were read alone: of a large vocabulary a batch reads few.
    """

    sparse = False

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.size = config.embedding_size or config.vocabulary_size
        if config.embedding_size:
            rows = torch.randn(config.vocabulary_size, self.size)
            self.rows = nn.Parameter(rows if rows.is_meta else F.normalize(rows))
        else:
            rows = torch.eye(config.vocabulary_size, device="cpu")  # not in model files: see FixedSpread
            self.register_buffer("rows", rows, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """ids (...) -> vectors (..., E)."""
        return F.embedding(tokens, self.rows, sparse=self.sparse and self.training)

    def times(self, tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """ids (...) -> vectors times a weight (E, O), plus a bias (O): (..., O). Of one-hot vectors that is a row."""
        if isinstance(self.rows, nn.Parameter):
            return plus_product(bias, self(tokens), weight)
        return F.embedding(tokens, (weight + bias).contiguous())


class TiedOutput(nn.Module):
    """(..., E) -> logits (..., V) by the rows of an embedding: what is read and what is said share their weights.

    Press & Wolf 2017, arXiv:1608.05859; Inan et al. 2017, arXiv:1611.01462.
    """

    def __init__(self, embedding: TokenInput, bias: bool) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, so that its weights are not counted and stored twice
        self.bias = nn.Parameter(torch.zeros(len(embedding.rows))) if bias else None

    @property
    def weight(self) -> Tensor:
        """(V, E)"""
        return self._embedding[0].rows

    def forward(self, x: Tensor) -> Tensor:
        """(..., E) -> (..., V)"""
        return F.linear(x, self.weight, self.bias)


def dropped_out(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Dropout by a generator, so that a step can be repeated: 0 in a share of places, the rest scaled up."""
    if not share:
        return x
    return x * _kept(x, share, generator).to(x.dtype).div_(1.0 - share)


def _kept(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """0 in a share of the places of x, on a CPU to within 2**-17 of it, and 1 in the others."""
    if x.device.type != "cpu":
        return torch.rand(x.shape, generator=generator, device=x.device).ge_(share)
    # drawing is what takes time here: 64 bits serve four places
    bits = torch.empty(-(-x.numel() // 4), device="cpu", dtype=torch.int64).random_(-(2**63), None, generator=generator)
    least = min(round(share * 2**16) - 2**15, 2**15 - 1)
    return bits.view(torch.int16)[: x.numel()].view(x.shape).ge_(least)


def normal(weight: Tensor, spread: float) -> None:
    """Draw first values, unless there is no place for them (meta): torch would load its compiler to do nothing."""
    if not weight.is_meta:
        nn.init.normal_(weight, std=spread)


def initialise(lstm: nn.LSTM, token_size: int, kind: str) -> None:
    """First weights of an LSTM, of a kind.

    uniform      torch's own, uniform(-1/sqrt(H), 1/sqrt(H)), which leave all gates half open
    orthogonal   with these a signal passes at once through all layers. A token meets a weight column at a time, so its
                 columns (the first `token_size` inputs) start with a spread of their own: uniform ones leave a one-hot
                 token all but unheard, and Adam needs a thousand steps to raise them. Recurrent weights are orthogonal
                 (Saxe et al. 2014), forget gates open (Jozefowicz et al. 2015); gates lie in the order i, f, g, o, and
                 biases come twice, of which the second stays 0.

    From orthogonal ones Adam learns melodies and short texts much better. To SGD with a clipped gradient open forget
    gates are a burden: 4 nats a sentence of Penn Treebank after two epochs.
    """
    if kind == "uniform":
        return
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            gates = parameter.chunk(4)
            if name.startswith("weight"):
                for gate in gates:
                    nn.init.orthogonal_(gate) if "_hh_" in name else nn.init.xavier_uniform_(gate)
                if "_ih_l0" in name:
                    normal(parameter[:, :token_size], TOKEN_SPREAD)
            else:
                parameter.zero_()
                gates[1].fill_(1.0 if "_ih_" in name else 0.0)
