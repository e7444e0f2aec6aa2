"""One step of the optimizer: batch -> pass -> loss -> gradient -> new weights.

    loss = distortion + beta * (rate that is not free) + mmd * MMD + adversarial * (-log D(z))

A batch may come in parts, one after the other or each in a process of its own. The loss is then the parts' losses,
weighted by their shares of the rows, and each part has noise of its own: a function of (seed, step, part), so that a
run that was interrupted and resumed ends with the very weights of one that was not (on a CPU).

Nothing here waits for a GPU, but for aggressive training, every INNER_CHECK steps: what a step gives stays there
(`metrics.Averages`), and so does the decision whether it counts (`updating`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from seqvae.batch import Batch
from seqvae.config import TrainConfig
from seqvae.devices import autocast
from seqvae.distributed import ALONE, World
from seqvae.embedding import TokenInput
from seqvae.objectives import charged_rate
from seqvae.regularisers import Adversary, mmd
from seqvae.schedules import annealed_beta, learning_rate, sampling_probability
from seqvae.updating import load, update
from seqvae.vae import Noise, SequenceVAE, Terms

HALF = 0.5  # of the learning rate, on a plateau
INNER_STEPS = 100  # of the encoder alone, at most, before one of the decoder; He et al. 2019, arXiv:1901.05534
INNER_CHECK = 15  # inner steps after which the encoder must have become better to go on
RAISED = 2.0**7  # times their size gradients are within cuDNN's LSTM: fp16 loses those below 6e-8
RUNNING = ("running_mean", "running_var")  # buffers of batch normalisation


class Optimization:
    """A model, its optimizer and what else is trained with it, in one phase of a run."""

    def __init__(
        self,
        model: SequenceVAE,
        training: TrainConfig,
        device: torch.device,
        precision: str,
        steps_per_epoch: int,
        world: World = ALONE,
    ) -> None:
        self.model, self.training, self.device, self.precision = model, training, device, precision
        self.world, self.parallel = world, world.parallel(model, in_turns=training.aggressive)
        self.raised = RAISED if device.type == "cuda" and precision == "bf16" else 1.0
        self.annealing_steps = training.annealing_steps
        if training.annealing_epochs is not None:
            self.annealing_steps = max(1, round(training.annealing_epochs * steps_per_epoch))
        self._running = [buffer for name, buffer in model.named_buffers() if name.endswith(RUNNING)]
        self.renew()
        self.adversary = None
        if training.adversarial:
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):  # its first weights follow from the seed, too
                torch.default_generator.manual_seed(training.seed)
                self.adversary = Adversary(model.config.latent_size, device)

    def renew(self) -> None:
        """A new optimizer of the weights, which remembers nothing."""
        plain = self.training.optimizer == "sgd"
        # Adam moves all rows, a GPU all at once, and processes exchange all
        sparse = plain and self.device.type == "cpu" and self.world.size == 1
        for part in self.model.modules():
            if isinstance(part, TokenInput):
                part.sparse = sparse
        kind = torch.optim.SGD if plain else torch.optim.Adam
        self.optimizer: torch.optim.Optimizer = kind(
            self.model.parameters(), lr=self.training.learning_rate, fused=not sparse
        )

    def step(
        self,
        parts: Sequence[Batch],
        number: int,
        phase_step: int,
        share: float,
        halvings: int,
        frozen: nn.Module | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Train on a batch.

        Args:
            parts: of the batch those that are this process's, on any device.
            number: of the step in the run, which is the source of its noise.
            phase_step: of the step in its phase, which schedules follow.
            share: of the phase's budget that is used up.
            halvings: how often the learning rate was halved on a plateau.
            frozen: the part of the model that is left as it is: the encoder in aggressive training.

        Returns:
            Figures of the whole batch, as `metrics.Averages.add` takes them, and whether loss and gradient were finite;
            otherwise nothing has changed. Both are on the device.
        """
        self._set_rate(phase_step, share, halvings)
        with nullcontext() if frozen is None else _frozen(frozen):
            figures, latents, finite = self._move(parts, phase_step, number)
        if self.adversary is not None:
            self._teach(self.adversary, parts, latents, number, finite)
        return figures, finite

    def train_encoder(
        self,
        batches: Callable[[int], Sequence[Batch]],
        number: int,
        phase_step: int,
        share: float,
        halvings: int,
    ) -> int:
        """Train the encoder alone until that does not help any more, on random batches; how many steps it took.

        The first part of a step in aggressive training (He et al. 2019): fewer than INNER_STEPS, until the loss a token
        of INNER_CHECK steps is above that of those before, or is no number.

        Args:
            batches: a random batch by a number, in parts.
            number, phase_step, share, halvings: of the step, as for `step`.
        """
        self._set_rate(phase_step, share, halvings)
        before, since = float("inf"), []
        with _frozen(self.model.decoder):
            for inner in range(1, INNER_STEPS):
                since.append(self._move(batches(inner), phase_step, number, inner)[0])
                if inner % INNER_CHECK == 0:
                    sums = torch.stack(since).sum(0).tolist()
                    now = sums[0] / sums[-1]
                    if not now <= before:
                        break
                    before, since = now, []
        return inner

    def beta(self, phase_step: int) -> float:
        """The weight of the rate at a step of the phase."""
        return annealed_beta(self.training.annealing, phase_step, beta=self.training.beta, steps=self.annealing_steps)

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on, beside the model."""
        adversary = {} if self.adversary is None else self.adversary.state_dict()
        return {"optimizer": self.optimizer.state_dict(), "adversary": adversary}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        load(self.optimizer, state["optimizer"])
        if self.adversary is not None:
            self.adversary.load_state_dict(state["adversary"])

    def _generator(self, part: int, *number: int) -> torch.Generator:
        key = (part,) if part else ()
        seed = np.random.SeedSequence([self.training.seed, *number], spawn_key=key).generate_state(1)[0]
        return torch.Generator(self.device).manual_seed(int(seed))

    def _set_rate(self, phase_step: int, share: float, halvings: int) -> None:
        training = self.training
        kind, first, last = training.learning_rate_decay, training.learning_rate, training.final_learning_rate
        rate = learning_rate(kind, phase_step, share, first=first, last=last) * HALF**halvings
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _noise(self, phase_step: int) -> Noise:
        training = self.training
        scheduled = sampling_probability(
            training.scheduled_sampling,
            phase_step,
            rate=training.scheduled_sampling_rate,
            steps=training.scheduled_sampling_steps,
        )
        return Noise(
            scheduled,
            parallel=training.scheduled_sampling_parallel,
            word_dropout=training.word_dropout,
            swap=training.encoder_swap,
            drop=training.encoder_drop,
            mask=training.encoder_mask,
        )

    def _move(self, parts: Sequence[Batch], phase_step: int, *number: int) -> tuple[Tensor, list[Tensor], Tensor]:
        """Pass, gradient and new weights; the figures of a batch, the z (B, Z) of each part, and whether it counts."""
        averages = _RunningAverages(self._running)
        figures, latents = self._backward(parts, averages, self.beta(phase_step), phase_step, *number)
        finite = update(self.optimizer, figures[0], self.training.clip, self.raised)
        averages.finish(self.world, finite)
        return figures, latents, finite

    def _backward(
        self, parts: Sequence[Batch], averages: "_RunningAverages", beta: float, phase_step: int, *number: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Leave the gradients of a batch, raised, in the parameters; its figures, and the z (B, Z) of each part."""
        self.optimizer.zero_grad(set_to_none=True)
        found, latents = [], []
        for batch in parts:
            with nullcontext() if batch is parts[-1] else self._unsynchronised():
                terms, loss = self._loss(batch, self._generator(batch.part, *number), beta, phase_step)
                (loss * (batch.share * self.world.size * self.raised)).backward()  # processes average, not add up
            averages.add(batch.share)
            found.append(_figures(terms, loss.detach(), beta, batch))
            latents.append(terms.z.detach())
        figures = torch.stack(found).sum(0)
        self.world.add_up([figures])
        return figures, latents

    def _unsynchronised(self) -> AbstractContextManager:
        """Keep gradients from being averaged before they are complete."""
        return self.parallel.no_sync() if isinstance(self.parallel, DistributedDataParallel) else nullcontext()

    def _loss(self, batch: Batch, generator: torch.Generator, beta: float, phase_step: int) -> tuple[Terms, Tensor]:
        training, batch = self.training, batch.to(self.device)
        with autocast(self.device, self.precision):
            terms = self.parallel(batch.tokens, batch.lengths, generator, self._noise(phase_step))
        rate = charged_rate(terms.rates, training.free_bits, training.free_bits_per, training.free_bits_form)
        loss = terms.distortion.mean() + beta * rate
        if training.mmd:
            loss = loss + training.mmd * mmd(terms.z, _prior(terms.z, generator))
        if self.adversary is not None and training.adversarial:
            loss = loss + training.adversarial * self.adversary.loss(terms.z)
        return terms, loss

    def _teach(
        self, adversary: Adversary, parts: Sequence[Batch], latents: Sequence[Tensor], number: int, finite: Tensor
    ) -> None:
        """A step of the discriminator, which sees the z of all parts beside draws of the prior; unless not finite."""
        errors = []
        for batch, z in zip(parts, latents, strict=True):
            prior = _prior(z, self._generator(batch.part, number, INNER_STEPS))  # of no other use: not the noise of z
            errors.append(adversary.error(z, prior) * batch.share)
        adversary.learn(torch.where(finite, torch.stack(errors).sum(), torch.nan), self.world)


def _figures(terms: Terms, loss: Tensor, beta: float, batch: Batch) -> Tensor:
    """Sums over the sequences: see `metrics.Averages.add`."""
    counts = batch.share > 0
    rows, tokens = (len(batch), batch.count) if counts else (0, 0)
    loss = loss.float()
    distortion, rate = terms.distortion.detach().float(), terms.rates.detach().sum(-1).float()
    numbers = [loss.new_full((), number) for number in (beta * rows, rows, tokens)]
    return torch.stack([loss * rows, distortion.sum() * counts, rate.sum() * counts, *numbers])


class _RunningAverages:
    """Those of batch normalisation, if there is any: moved once a batch, by the mean of what its parts say."""

    def __init__(self, averages: list[Tensor]) -> None:
        self._averages = averages
        self._before = [average.clone() for average in averages]
        self._sums = [torch.zeros_like(average) for average in averages]

    def add(self, share: float) -> None:
        """After the pass of a part."""
        for average, before, moved in zip(self._averages, self._before, self._sums, strict=True):
            moved.add_(average, alpha=share)
            average.copy_(before)

    def finish(self, world: World, finite: Tensor) -> None:
        """After all parts, of a batch that counts if it was finite."""
        world.add_up(self._sums)
        for average, before, moved in zip(self._averages, self._before, self._sums, strict=True):
            average.copy_(torch.where(finite, moved, before))


def _prior(z: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(z.shape, generator=generator, device=z.device, dtype=torch.float32)


@contextmanager
def _frozen(part: nn.Module) -> Iterator[None]:
    """Parameters that get no gradient meanwhile, and are not moved."""
    part.requires_grad_(False)
    try:
        yield
    finally:
        part.requires_grad_(True)
