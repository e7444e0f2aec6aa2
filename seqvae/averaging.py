"""Averages of the weights along a training, which are often better than the last ones.

    average <- average + max(1 - decay^k, 1 / n) (weights - average),   n = 1, 2, ... each k steps

At first that is the mean of all weights so far (Polyak & Juditsky 1992, SIAM J. Control Optim. 30), then a moving one
over some 1 / (1 - decay) steps. It takes away the noise of the last steps, as a falling learning rate does.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from seqvae.vae import SequenceVAE

Tensors = tuple[Tensor, ...] | list[Tensor]

EVERY = 10  # k, in steps, fewer if a validation comes before: looking at each step would take longer for little


class WeightAverage:
    """A model whose weights are the average of another's."""

    def __init__(self, like: SequenceVAE, decay: float, validate_every: int = EVERY) -> None:
        """`like` is a model of the same kind, which becomes the average."""
        self._every = min(EVERY, validate_every)
        self._most = 1.0 - decay**self._every
        self._averaged = AveragedModel(like, multi_avg_fn=self._move, use_buffers=True)
        self._averaged.requires_grad_(False)
        for part in self.model.modules():
            if isinstance(part, nn.LSTM):
                part.flatten_parameters()  # a copy's lie apart, which cuDNN does not like

    @property
    def model(self) -> SequenceVAE:
        """The average of what was added."""
        return cast(SequenceVAE, self._averaged.module)

    def add(self, model: SequenceVAE, step: int) -> None:
        """After a step of the phase, counted from 0."""
        if step % self._every == 0:
            self._averaged.update_parameters(model)

    def restart(self, model: SequenceVAE) -> None:
        """Forget what was added, for the weights of a model, which count no more once others come."""
        self._averaged.n_averaged.zero_()
        self._averaged.update_parameters(model)
        self._averaged.n_averaged.zero_()

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on."""
        return self._averaged.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self._averaged.load_state_dict(state)

    @torch.no_grad()
    def _move(self, averages: Tensors, weights: Tensors, added: Tensor | int) -> None:
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, max(self._most, 1.0 / (int(added) + 1)))
        else:  # counters
            torch._foreach_copy_(averages, weights)
