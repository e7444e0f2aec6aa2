"""Moving in the latent space: z are rows of (N, Z) arrays; all functions are pure.

Interpolation follows the great circle between two latents (slerp, Shoemake 1985): under a standard normal prior in
many dimensions nearly all mass lies in a shell of radius sqrt(Z), which a straight line leaves in its middle
(White 2016, arXiv:1609.04468).
"""

from collections.abc import Sequence

import numpy as np

PARALLEL = 1e-4  # sine of the angle under which the great circle is taken as a straight line


def lerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """(1 - t) a + t b."""
    return (1.0 - t) * a + t * b


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Spherical interpolation: a at t = 0 and b at t = 1 exactly; between (nearly) parallel vectors, `lerp`.

    sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b, with w the angle between a and b.
    """
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    if t in (0.0, 1.0) or norms == 0.0:
        return lerp(a, b, t)
    angle = float(np.arccos(np.clip(np.dot(a, b) / norms, -1.0, 1.0)))
    if np.sin(angle) < PARALLEL:
        return lerp(a, b, t)
    return (np.sin((1.0 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)


def interpolate(a: np.ndarray, b: np.ndarray, steps: int) -> np.ndarray:
    """`steps` latents from a to b, both included: (Z), (Z) -> (steps, Z). Raises ValueError under 2 steps."""
    if steps < 2:
        raise ValueError(f"an interpolation has at least 2 steps, its two ends; got {steps}")
    rows = [slerp(a.astype(np.float64), b.astype(np.float64), float(t)) for t in np.linspace(0.0, 1.0, steps)]
    return np.stack(rows).astype(a.dtype)


def arithmetic(plus: Sequence[np.ndarray], minus: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Sum of `plus` less the sum of `minus`: (Z). Raises ValueError when both are empty."""
    if not len(plus) and not len(minus):
        raise ValueError("arithmetic needs at least one latent")
    rows = np.stack([*plus, *(-z for z in minus)])
    return rows.sum(axis=0, dtype=np.float64).astype(rows.dtype)
