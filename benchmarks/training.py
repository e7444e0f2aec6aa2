"""A step of training as a run makes it, to be timed."""

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

from seqvae.config import TrainConfig
from seqvae.data import SequenceData
from seqvae.devices import choose_precision
from seqvae.optimization import Optimization
from seqvae.vae import SequenceVAE


def training_step(
    model: SequenceVAE, training: TrainConfig, data: SequenceData, device: torch.device
) -> Callable[[], Tensor]:
    """Batch, pass, gradient, clipping and optimizer, from the first step on; gives the figures, on the device."""
    size, precision = training.batch_size, choose_precision(training.precision, device)
    optimization = Optimization(model, training, device, precision, data.steps_per_epoch(size))
    numbers = count()

    def step() -> Tensor:
        number = next(numbers)
        batch = data.training_batch(number, size, training.seed, training.transpose)
        figures, _ = optimization.step([batch], number, number, 0.0, 0)
        return figures

    return step
