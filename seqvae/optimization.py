"""One step of the optimizer: batch -> pass -> loss -> gradient -> new weights.

    loss = distortion + beta * (rate that is not free) + mmd * MMD + adversarial * (-log D(z))

All noise of a step is a function of (seed, step), so that a run that was interrupted and resumed ends with the very
weights of one that was not (on a CPU).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from seqvae.batch import Batch
from seqvae.config import TrainConfig
from seqvae.devices import autocast
from seqvae.embedding import TokenInput
from seqvae.objectives import charged_rate
from seqvae.regularisers import Adversary, mmd
from seqvae.schedules import annealed_beta, learning_rate, sampling_probability
from seqvae.vae import Noise, SequenceVAE, Terms

HALF = 0.5  # of the learning rate, on a plateau
INNER_STEPS = 100  # of the encoder alone, at most, before one of the decoder; He et al. 2019, arXiv:1901.05534
INNER_CHECK = 15  # inner steps after which the encoder must have become better to go on


class Optimization:
    """A model, its optimizer and what else is trained with it, in one phase of a run."""

    def __init__(
        self, model: SequenceVAE, training: TrainConfig, device: torch.device, precision: str, steps_per_epoch: int
    ) -> None:
        self.model, self.training, self.device, self.precision = model, training, device, precision
        self.annealing_steps = training.annealing_steps
        if training.annealing_epochs is not None:
            self.annealing_steps = max(1, round(training.annealing_epochs * steps_per_epoch))
        self.renew()
        self.adversary = None
        if training.adversarial:
            with torch.random.fork_rng(devices=[]):  # its first weights follow from the seed, too
                torch.manual_seed(training.seed)
                self.adversary = Adversary(model.config.latent_size, device)

    def renew(self) -> None:
        """A new optimizer of the weights, which remembers nothing."""
        plain = self.training.optimizer == "sgd"
        sparse = plain and self.device.type == "cpu"  # Adam moves all rows, and a GPU all at once
        for part in self.model.modules():
            if isinstance(part, TokenInput):
                part.sparse = sparse
        kind = torch.optim.SGD if plain else torch.optim.Adam
        self.optimizer: torch.optim.Optimizer = kind(
            self.model.parameters(), lr=self.training.learning_rate, fused=not sparse
        )

    def step(self, batch: Batch, number: int, within: int, share: float, halvings: int) -> dict[str, float] | None:
        """Train on a batch.

        Args:
            batch: on any device.
            number: of the step in the run, which is the source of its noise.
            within: of the step in its phase, which schedules follow.
            share: of the phase's budget that is used up.
            halvings: how often the learning rate was halved on a plateau.

        Returns:
            loss, distortion, rate and beta, or None where loss or gradient were not finite: then nothing has changed.
        """
        self._set_rate(within, share, halvings)
        beta = self.beta(within)
        terms, loss = self._backward(batch, self._generator(number), beta, within)
        if not self._update(loss):
            return None
        if self.adversary is not None:
            self.adversary.learn(terms.z, _prior(terms.z, self._generator(number, 0)))
        distortion, rate = terms.distortion.detach().mean(), terms.rates.detach().sum(-1).mean()
        return {"loss": float(loss), "distortion": float(distortion), "rate": float(rate), "beta": beta}

    def train_encoder(self, batches: Callable[[int], Batch], number: int, within: int) -> int:
        """Train the encoder alone until that does not help any more, on random batches; how many steps it took.

        The first part of a step in aggressive training (He et al. 2019): at most INNER_STEPS, and fewer if the loss a
        token of INNER_CHECK steps is above that of those before.

        Args:
            batches: a random batch by a number.
            number, within: of the step, as for `step`.
        """
        before, lost, tokens = float("inf"), 0.0, 0
        with _frozen(self.model.decoder):
            for inner in range(1, INNER_STEPS):
                batch = batches(inner)
                _, loss = self._backward(batch, self._generator(number, inner), self.beta(within), within)
                self._update(loss)
                lost, tokens = lost + float(loss) * len(batch), tokens + batch.count
                if inner % INNER_CHECK == 0:
                    if lost / tokens > before:
                        break
                    before, lost, tokens = lost / tokens, 0.0, 0
        return inner

    def train_decoder(self, *arguments: Any) -> dict[str, float] | None:
        """As `step`, with the encoder left as it is: the second part of a step in aggressive training."""
        with _frozen(self.model.encoder):
            return self.step(*arguments)

    def beta(self, within: int) -> float:
        """The weight of the rate at a step of the phase."""
        return annealed_beta(self.training.annealing, within, beta=self.training.beta, steps=self.annealing_steps)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on, beside the model."""
        adversary = {} if self.adversary is None else self.adversary.state_dict()
        return {"optimizer": self.optimizer.state_dict(), "adversary": adversary}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        fused = [group["fused"] for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(state["optimizer"])
        for group, ours in zip(self.optimizer.param_groups, fused, strict=True):
            group["fused"] = ours  # of this device, whichever the run began on
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])

    def _generator(self, *number: int) -> torch.Generator:
        seed = int(np.random.SeedSequence([self.training.seed, *number]).generate_state(1)[0])
        return torch.Generator(self.device).manual_seed(seed)

    def _set_rate(self, within: int, share: float, halvings: int) -> None:
        training = self.training
        kind, first, last = training.learning_rate_decay, training.learning_rate, training.final_learning_rate
        rate = learning_rate(kind, within, share, first=first, last=last) * HALF**halvings
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _noise(self, within: int) -> Noise:
        training = self.training
        scheduled = sampling_probability(
            training.scheduled_sampling,
            within,
            rate=training.scheduled_sampling_rate,
            steps=training.scheduled_sampling_steps,
        )
        return Noise(
            scheduled,
            training.scheduled_sampling_parallel,
            training.word_dropout,
            training.encoder_swap,
            training.encoder_drop,
            training.encoder_mask,
        )

    def _backward(self, batch: Batch, generator: torch.Generator, beta: float, within: int) -> tuple[Terms, Tensor]:
        """The terms and the loss of a batch; the gradients are in the parameters."""
        training, batch = self.training, batch.to(self.device)
        with autocast(self.device, self.precision):
            terms = self.model(batch.tokens, batch.lengths, generator, self._noise(within))
        rate = charged_rate(terms.rates, training.free_bits, training.free_bits_per, training.free_bits_form)
        loss = terms.distortion.mean() + beta * rate
        if training.mmd:
            loss = loss + training.mmd * mmd(terms.z, _prior(terms.z, generator))
        if self.adversary is not None and training.adversarial:
            loss = loss + training.adversarial * self.adversary.loss(terms.z)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        return terms, loss.detach()

    def _update(self, loss: Tensor) -> bool:
        """Clip the gradients and move the weights, if all is finite."""
        norm = clip(self.model.parameters(), self.training.clip)
        finite = bool(torch.isfinite(loss) & torch.isfinite(norm))
        if finite:
            self.optimizer.step()
        return finite


def clip(parameters: Iterable[nn.Parameter], most: float) -> Tensor:
    """Shorten all gradients together, sparse ones too, to a norm of at most `most`; the norm that they had."""
    parts = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            parts.append(parameter.grad.values())
        elif parameter.grad is not None:
            parts.append(parameter.grad)
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(part) for part in parts]))
    torch._foreach_mul_(parts, (most / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _prior(z: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(z.shape, generator=generator, device=z.device)


@contextmanager
def _frozen(part: nn.Module) -> Iterator[None]:
    """Parameters that get no gradient meanwhile, and are not moved."""
    part.requires_grad_(False)
    try:
        yield
    finally:
        part.requires_grad_(True)
