"""Averages of the weights along a training, which are often better than the last ones.

    average <- average + max(1 - decay^k, 1 / n) (weights - average),   n = 1, 2, ... each k steps

At first that is the mean of all weights so far (Polyak & Juditsky 1992, SIAM J. Control Optim. 30), then a moving one
over some 1 / (1 - decay) steps. It takes away the noise of the last steps, as a falling learning rate does.
"""

from typing import Any

import torch
from torch import nn

from seqvae.vae import SequenceVAE

EVERY = 10  # k, in steps, fewer if a validation comes before: looking at each step would take longer for little


class WeightAverage:
    """A model whose weights, with what its batch norms keep, are the average of another's."""

    def __init__(self, like: SequenceVAE, decay: float, validate_every: int = EVERY) -> None:
        """`like` is a model of the same kind, which becomes the average."""
        self._every, self._decay = min(EVERY, validate_every), decay
        self._added = 0  # n
        self.model = like.requires_grad_(False)

    def add(self, model: SequenceVAE, step: int) -> None:
        """After a step of the phase, counted from 0."""
        if step % self._every == 0:
            self._added += 1
            self._move(model, max(1.0 - self._decay**self._every, 1.0 / self._added))

    def restart(self, model: SequenceVAE) -> None:
        """Forget what was added, for the weights of a model, which count no more once others come."""
        self._move(model, 1.0)
        self._added = 0

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on."""
        return {"added": self._added, "every": self._every, "weights": self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse of `state_dict`."""
        self._added = state["added"]
        self._every = state.get("every", self._every)  # however often is validated from now on
        self.model.load_state_dict(state["weights"])

    @torch.no_grad()
    def _move(self, model: nn.Module, share: float) -> None:
        ours, theirs = self.model.state_dict(), model.state_dict()
        moved = [name for name, weight in ours.items() if weight.is_floating_point()]
        torch._foreach_lerp_([ours[name] for name in moved], [theirs[name] for name in moved], share)
        for name in ours.keys() - set(moved):  # counters
            ours[name].copy_(theirs[name])
