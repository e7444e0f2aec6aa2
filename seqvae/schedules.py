"""What changes with the training step, as pure functions: a curve can be plotted and tested alone.

KL annealing raises the weight of the rate from 0 to beta, so that the decoder learns to use z before z has a price:

    linear       beta * min(1, s/n)                                   Bowman et al. 2016, arXiv:1511.06349
    sigmoid      beta * sigma(10 (s/n - 1/2)), scaled to go from 0 to beta    (the same)
    cyclical     4 cycles of n/4 steps; in each, linear over its first half, then flat  Fu et al. 2019, arXiv:1903.10145
    exponential  beta * (1 - r^s), r = 1 - 1/n                        MusicVAE, Roberts et al. 2018, arXiv:1803.05428

Scheduled sampling feeds the decoder its own output with a probability that rises (Bengio et al. 2015,
arXiv:1506.03099, which writes the probability of the truth, one minus ours, as k^s and k / (k + exp(s/k))).
"""

import math

CYCLES = 4


def annealed_beta(kind: str, step: int, *, beta: float, steps: int) -> float:
    """Weight of the rate at a training step (0 at step 0; beta after `steps`, exponential 63 % of it; see the head)."""
    progress = min(1.0, step / steps)
    if kind == "none":
        return beta
    if kind == "linear":
        return beta * progress
    if kind == "sigmoid":
        low, high = _sigmoid(-5.0), _sigmoid(5.0)
        return beta * (_sigmoid(10.0 * (progress - 0.5)) - low) / (high - low)
    if kind == "cyclical":
        within = (step / steps * CYCLES) % 1.0 if step < steps else 1.0
        return beta * min(1.0, 2.0 * within)
    if kind == "exponential":
        return beta * (1.0 - (1.0 - 1.0 / steps) ** step)
    raise ValueError(f"unknown annealing '{kind}'")


def sampling_probability(kind: str, step: int, *, rate: float, steps: int) -> float:
    """Probability that a decoder input is the model's own output instead of the truth, in [0, rate].

    constant: rate; exponential: rate * (1 - k^step), k = 1 - 1/steps; inverse-sigmoid:
    rate * (1 - k / (k + exp(step/k))), k = steps. Raises ValueError for an unknown kind.
    """
    if kind == "none":
        return 0.0
    if kind == "constant":
        return rate
    if kind == "exponential":
        return rate * (1.0 - (1.0 - 1.0 / steps) ** step)
    if kind == "inverse-sigmoid":
        return rate * _sigmoid(step / steps - math.log(steps))  # the same, written so that it cannot overflow
    raise ValueError(f"unknown scheduled sampling '{kind}'")


def learning_rate(kind: str, step: int, progress: float, *, first: float, last: float) -> float:
    """Learning rate at a step; `progress` in [0, 1] is the share of the budget that is used up.

    exponential: 0.9999 a step towards `last` (MusicVAE's); cosine: half a cosine over the budget
    (Loshchilov & Hutter 2017, arXiv:1608.03983), after a warm-up over its first 2 %; none and plateau: `first`
    (a plateau is seen by the training loop, which halves it).
    """
    if kind in ("none", "plateau"):
        return first
    if kind == "exponential":
        return last + (first - last) * 0.9999**step
    if kind == "cosine":
        warm_up = min(1.0, (progress + 1e-3) / 0.02)  # never quite 0: the first step learns, too
        return last + (first - last) * warm_up * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    raise ValueError(f"unknown learning-rate decay '{kind}'")


def _sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))
