"""From logits to ids, one step at a time.

A draw from softmax(logits / temperature) is taken as argmax(logits / temperature - log E), E ~ Exp(1) (the Gumbel-max
trick), so that rows which share their noise differ only where their logits do: neighbours on an interpolation stay
comparable at any temperature. Temperature 0 is the limit, greedy decoding.
"""

import torch
from torch import Tensor

from seqvae.decoders import LSTMDecoder


def filtered(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Rule out all but the `top_k` most likely ids, and all beyond the smallest set of probability `top_p`.

    Args:
        logits: (..., V), of the distribution that is drawn from (temperature already applied).
        top_k: at least 1 (Fan et al. 2018, arXiv:1805.04833).
        top_p: in (0, 1], nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751); the likeliest id always stays.
    """
    if top_k is not None and top_k < logits.shape[-1]:
        smallest = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < smallest, -torch.inf)
    if top_p is not None and top_p < 1.0:
        ranked, order = logits.sort(descending=True)
        probability = ranked.softmax(-1)
        beyond = probability.cumsum(-1) - probability >= top_p  # what stands before an id already suffices
        logits = logits.masked_fill(beyond.scatter(-1, order, beyond), -torch.inf)
    return logits


def draw(
    logits: Tensor,
    temperature: float,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    shared_noise: bool = False,
) -> Tensor:
    """Ids (B) from logits (B, V); `shared_noise` gives every row the same random numbers."""
    if temperature == 0.0:
        return logits.argmax(-1)
    logits = filtered(logits.float() / temperature, top_k, top_p)
    noise = torch.empty(1 if shared_noise else logits.shape[0], logits.shape[1], device=logits.device)
    return (logits - noise.exponential_(generator=generator).log()).argmax(-1)


@torch.no_grad()
def generate(
    decoder: LSTMDecoder,
    z: Tensor,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    shared_noise: bool = False,
) -> Tensor:
    """Decode freely: z (B, Z) -> ids (B, T), each step fed with the id drawn before it."""
    state, previous, ids = decoder.start(z), None, []
    for _ in range(length):
        logits, state = decoder.step(state, previous)
        previous = draw(logits, temperature, top_k, top_p, generator, shared_noise)
        ids.append(previous)
    return torch.stack(ids, dim=1)


def parallel_scheduled_forward(
    decoder: LSTMDecoder, z: Tensor, tokens: Tensor, probability: float, generator: torch.Generator | None = None
) -> Tensor:
    """As `scheduled_forward`, in two teacher-forced passes: all draws are made from the first, without a gradient.

    Parallel scheduled sampling with one pass, Duckworth et al. 2019, arXiv:1906.04331: the draws follow the truth and
    not each other, which is the price of a few fast passes for T slow steps.
    """
    with torch.no_grad():
        logits = decoder(z, tokens).flatten(0, 1)
    own = draw(logits, 1.0, generator=generator).view(tokens.shape)
    own_turn = torch.rand(tokens.shape, generator=generator, device=tokens.device) < probability
    return decoder(z, torch.where(own_turn, own, tokens))


def scheduled_forward(
    decoder: LSTMDecoder,
    z: Tensor,
    tokens: Tensor,
    probability: float,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Logits (B, T, V) where each input is, with this probability, the decoder's own draw and else the truth.

    Scheduled sampling, Bengio et al. 2015, arXiv:1506.03099. No gradient flows through the draws.
    """
    own_turn = torch.rand(tokens.shape, generator=generator, device=tokens.device) < probability
    state, previous, logits = decoder.start(z), None, []
    for step in range(tokens.shape[1]):
        step_logits, state = decoder.step(state, previous)
        logits.append(step_logits)
        own = draw(step_logits.detach(), 1.0, generator=generator)
        previous = torch.where(own_turn[:, step], own, tokens[:, step])
    return torch.stack(logits, dim=1)
