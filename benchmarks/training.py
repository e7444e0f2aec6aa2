"""A step of training as a run makes it, to be timed."""

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

from seqvae.averaging import WeightAverage
from seqvae.config import TrainConfig
from seqvae.data import SequenceData
from seqvae.devices import choose_precision
from seqvae.metrics import Averages
from seqvae.optimization import Optimization
from seqvae.vae import SequenceVAE


def training_step(
    model: SequenceVAE, training: TrainConfig, data: SequenceData, device: torch.device
) -> Callable[[], Tensor]:
    """Batch, pass, gradient, clipping, optimizer and sums, from the first step on; gives the figures, on the device."""
    size, precision = training.batch_size, choose_precision(training.precision, device)
    optimization = Optimization(model, training, device, precision, data.steps_per_epoch(size))
    sums, numbers = Averages(), count()
    average = None
    if training.weight_average:
        average = WeightAverage(SequenceVAE(model.config).to(device), training.weight_average)

    def step() -> Tensor:
        number = next(numbers)
        batch = data.training_batch(number, size, training.seed, training.transpose)
        figures, finite = optimization.step([batch], number, number, 0.0, 0)
        sums.add(figures, finite)
        if average is not None:
            average.add(model, number)
        return figures

    return step
