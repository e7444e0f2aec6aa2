"""From logits to ids, one step at a time.

A draw from p = softmax(logits / temperature) is the first id up to which p adds up to more than U, uniform: a row needs
one random number. Rows that share their noise are drawn as argmax(logits / temperature + G), G = -log(-log U) for each
id (the Gumbel-max trick), so that they differ only where their logits do: neighbours on an interpolation stay
comparable at any temperature. Temperature 0 is the limit of both, greedy decoding.

Sequences that end do so at their first eos, or else at the last step, which is an eos whatever the decoder says; it
also stands in all places after the end. bos and pad are never said.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import torch
from torch import Tensor

from seqvae.beam import beam_search
from seqvae.config import MOST_BEAM, MOST_PENALTY
from seqvae.decoders import LSTMDecoder
from seqvae.errors import OptionError
from seqvae.few import FewSteps, suits

LEAST_TEMPERATURE = 1e-6  # at which a draw is greedy but for ties; much less, and logits are no longer finite


@dataclass(frozen=True)
class Decoding:
    """How latents become sequences. Raises OptionError for what is out of its range or does not go together."""

    temperature: float = 0.0  # 0 is greedy, 1 the model's own distribution
    top_k: int | None = None  # only the so many likeliest ids
    top_p: float | None = None  # only the smallest set of ids of this probability
    beam: int | None = None  # search for the likeliest sequence with so many hypotheses; nothing is drawn then
    length_penalty: float = 1.0  # of a beam search: 0 prefers short sequences, more of it longer ones
    unknown: bool = False  # sentences may have unknown words in them

    def __post_init__(self) -> None:
        for name in ("temperature", "top_k", "top_p", "beam", "length_penalty"):
            value, kind = getattr(self, name), Integral if name in ("top_k", "beam") else Real
            if not isinstance(value, kind) and (value is not None or name in ("temperature", "length_penalty")):
                raise TypeError(f"{name} {value!r}: a {'whole number' if kind is Integral else 'number'} is needed")
        if not 0.0 <= self.temperature < float("inf"):
            raise OptionError(f"--temperature {self.temperature}: must be 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise OptionError(f"--top-k {self.top_k}: must be at least 1")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise OptionError(f"--top-p {self.top_p}: must be above 0 and at most 1")
        if self.beam is not None and not 1 <= self.beam <= MOST_BEAM:
            raise OptionError(f"--beam {self.beam}: must be between 1 and {MOST_BEAM:,}")
        if not 0.0 <= self.length_penalty <= MOST_PENALTY:
            raise OptionError(f"--length-penalty {self.length_penalty}: must be between 0 and {MOST_PENALTY}")
        if self.beam is not None and (self.temperature or self.top_k is not None or self.top_p is not None):
            raise OptionError(f"--beam {self.beam} draws nothing: leave out --temperature, --top-k and --top-p")
        if self.beam is None and not self.temperature and (self.top_k is not None or self.top_p is not None):
            raise OptionError("--top-k and --top-p: nothing is drawn at temperature 0; give --temperature too")
        if self.beam is None and self.length_penalty != 1.0:
            raise OptionError(f"--length-penalty {self.length_penalty} is for a search: give --beam too")


def decode(
    decoder: LSTMDecoder,
    z: Tensor,
    length: int,
    how: Decoding,
    generator: torch.Generator | None = None,
    shared_noise: bool = False,
) -> Tensor:
    """z (B, Z) -> ids (B, T), by a beam search or freely as `generate` does."""
    never = [] if how.unknown or decoder.config.eos is None else [decoder.config.blank]
    if how.beam is not None:
        return beam_search(decoder, z, length, how.beam, how.length_penalty, never).ids[:, 0]
    return generate(decoder, z, length, how.temperature, how.top_k, how.top_p, generator, shared_noise, never)


def filtered(logits: Tensor, top_k: int | None = None, top_p: float | None = None) -> Tensor:
    """Rule out all but the `top_k` most likely ids (and their equals), and all beyond the smallest set of `top_p`.

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
    logits: Tensor, noise: Tensor | None, temperature: float, top_k: int | None = None, top_p: float | None = None
) -> Tensor:
    """Ids (...) from logits (..., V).

    Args:
        logits: at temperature 1.
        noise: Gumbel's (..., V), or uniform numbers in [0, 1), (..., 1); without it the likeliest ids are taken.
        temperature: above 0.
        top_k, top_p: see `filtered`.
    """
    if noise is None:
        return logits.argmax(-1)
    if temperature != 1.0:
        logits = logits / max(temperature, LEAST_TEMPERATURE)
    logits = filtered(logits, top_k, top_p)
    return (logits + noise).argmax(-1) if noise.shape[-1] > 1 else _inverted(logits, noise)


def _inverted(logits: Tensor, uniform: Tensor) -> Tensor:
    """The distribution function of softmax(logits), (..., V), inverted at numbers in [0, 1), (..., 1)."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    sums = logits.softmax(-1, dtype=dtype).cumsum(-1)
    total = sums[..., -1:]  # 1, but for rounding; what stays below it falls on an id that can be
    place = torch.minimum(uniform * total, total.nextafter(torch.zeros_like(total)))
    found = torch.searchsorted(sums, place, right=True).squeeze(-1)
    return found.clamp_max_(logits.shape[-1] - 1)  # of logits that are not finite an id too; whoever trains skips them


def prior(rows: int, size: int, seed: int) -> Tensor:
    """Latents (rows, size) from the prior, on the CPU: the same for a seed whatever computes with them."""
    noise = torch.Generator().manual_seed(seed)
    return torch.randn((rows, size), generator=noise, device="cpu", dtype=torch.float32)


def gumbel(shape: Sequence[int], generator: torch.Generator | None, device: torch.device) -> Tensor:
    """Standard Gumbel noise."""
    return torch.rand(shape, generator=generator, device=device, dtype=torch.float32).log_().neg_().log_().neg_()


@torch.inference_mode()
def generate(
    decoder: LSTMDecoder,
    z: Tensor,
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    shared_noise: bool = False,
    never: Sequence[int] = (),
) -> Tensor:
    """Decode freely: z (B, Z) -> ids (B, T), each step fed with the id drawn before it.

    Args:
        decoder: says by its configuration whether sequences end, and with which id.
        z: latents.
        length: T, the most steps, the end included.
        temperature, top_k, top_p: see `draw`.
        generator: of the noise, of which each step takes the same amount, whichever rows have ended.
        shared_noise: every row meets the same noise, so that equal latents give equal rows.
        never: ids that are not said, beside those that never are.
    """
    config = decoder.config
    steps = length if config.eos is None else length - 1
    unsaid = torch.tensor([*config.unsaid, *never], dtype=torch.long, device=z.device)
    roll = functools.partial(_roll_out, decoder, steps, length, unsaid, temperature, top_k, top_p)
    inputs = [z]
    if temperature:
        rows = 1 if shared_noise else len(z)
        inputs.append(_noise(steps, rows, config.vocabulary_size, generator, z.device))
    if z.is_cuda and config.eos is None:
        key = (length, temperature, top_k, top_p, tuple(never))
        return decoder.step_weights().recordings.run(key, roll, *inputs)
    return roll(*inputs)


def _noise(steps: int, rows: int, V: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """What `draw` needs for each step; of a single row the noise that many can share."""
    if rows == 1:
        return gumbel((steps, 1, V), generator, device)
    return torch.rand((steps, rows, 1), generator=generator, device=device, dtype=torch.float32)


def _roll_out(
    decoder: LSTMDecoder,
    steps: int,
    length: int,
    unsaid: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    z: Tensor,
    noises: Tensor | None = None,
) -> Tensor:
    """z (B, Z) and the noise of each step, (steps, B or 1, V or 1) -> ids (B, T)."""
    eos = decoder.config.eos
    ids = torch.full((length, len(z)), 0 if eos is None else eos, device=z.device)
    ended = torch.zeros(len(z), dtype=torch.bool, device=z.device)
    next_logits = FewSteps(decoder, z) if suits(decoder, z) else _torch_steps(decoder, z)
    noise_of_steps = [None] * steps if noises is None else noises.unbind()
    previous = None
    for place, noise in zip(ids[:steps].unbind(), noise_of_steps, strict=True):
        logits = next_logits(previous)
        if len(unsaid):
            logits.index_fill_(-1, unsaid, -torch.inf)
        previous = draw(logits, noise, temperature, top_k, top_p)
        if eos is not None:
            previous = previous.masked_fill(ended, eos)
            ended |= previous == eos
        place.copy_(previous)
        if eos is not None and ended.all():
            break
    return ids.t()


def _torch_steps(decoder: LSTMDecoder, z: Tensor) -> Callable[[Tensor | None], Tensor]:
    """From latents (B, Z) the next step at each call: the last tokens (B), None before the first -> logits (B, V)."""
    state = decoder.start(z)

    def next_logits(previous: Tensor | None) -> Tensor:
        nonlocal state
        logits, state = decoder.step(state, previous)
        return logits

    return next_logits


def parallel_scheduled_forward(
    decoder: LSTMDecoder, z: Tensor, tokens: Tensor, probability: float, generator: torch.Generator | None = None
) -> Tensor:
    """As `scheduled_forward`, in two teacher-forced passes: all draws are made from the first, without a gradient.

    Parallel scheduled sampling with one pass, Duckworth et al. 2019, arXiv:1906.04331: the draws follow the truth and
    not each other, which is the price of a few fast passes for T slow steps.
    """
    with torch.no_grad():
        logits = decoder(z, tokens, generator)
    torch.clear_autocast_cache()  # before torch 2.10 it keeps weights that were cast here, without their gradients
    own = draw(logits, torch.rand((*tokens.shape, 1), generator=generator, device=tokens.device), 1.0)
    own_turn = torch.rand(tokens.shape, generator=generator, device=tokens.device) < probability
    return decoder(z, torch.where(own_turn, own, tokens), generator)


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
        step_logits, state = decoder.step(state, previous, generator)
        logits.append(step_logits)
        own = draw(step_logits.detach(), torch.rand((len(z), 1), generator=generator, device=z.device), 1.0)
        previous = torch.where(own_turn[:, step], own, tokens[:, step])
    return torch.stack(logits, dim=1)
