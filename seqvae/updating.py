"""Gradients to new weights, unless loss or gradients are not finite: then nothing changes.

    g <- g min(1, most / |g|),   |g| the norm of all gradients together

A fused optimizer divides by `grad_scale` and passes over a step with `found_inf`, which is how torch.amp.GradScaler
speaks to it: both stay on the device, so that nobody waits for a GPU, and gradients are read but once. SGD on a CPU
takes a shorter step instead, which is the same. The other ones do it in plain steps.

Gradients may come raised, by a factor that is taken out again here.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter


def update(optimizer: torch.optim.Optimizer, loss: Tensor, most: float = float("inf"), raised: float = 1.0) -> Tensor:
    """Shorten the gradients to a norm of at most `most`, and move the weights by them.

    The gradients are `raised` times as large as they should be.

    Returns:
        Whether loss and gradients were finite: () bool, on the device.
    """
    parts = _gradients(_parameters(optimizer))
    norm = torch.nn.utils.get_total_norm(parts)
    finite = torch.isfinite(loss) & torch.isfinite(norm)
    divisor = ((norm / raised + 1e-6) / most).clamp(min=1.0) * raised
    if optimizer.defaults["fused"] and norm.device.type != "mps":
        optimizer.grad_scale, optimizer.found_inf = divisor, (~finite).float()  # type: ignore[attr-defined]
        optimizer.step()
    elif finite and isinstance(optimizer, torch.optim.SGD):
        _step_shortened(optimizer, float(divisor))
    elif finite:
        torch._foreach_div_(parts, divisor)
        optimizer.step()
    if optimizer.defaults["fused"]:  # it does not tell those who keep what they made of the weights, as decoders do
        torch.autograd.graph.increment_version(_parameters(optimizer))
    return finite


def load(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give an optimizer the state of one that may have been on another device."""
    optimizer.load_state_dict(state)
    for group in optimizer.param_groups:
        group["fused"] = optimizer.defaults["fused"]  # of this device


def _step_shortened(optimizer: torch.optim.SGD, divisor: float) -> None:
    """A step by gradients that are `divisor` times too long, which stay as they are: SGD without momentum is linear."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] /= divisor
    optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def _parameters(optimizer: torch.optim.Optimizer) -> list[Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _gradients(parameters: Iterable[Parameter]) -> list[Tensor]:
    """What there is of them; of sparse ones the rows that they hold, each once."""
    parts = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            parts.append(parameter.grad.values())
        elif parameter.grad is not None:
            parts.append(parameter.grad)
    return parts
