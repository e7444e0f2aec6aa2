"""Which sequences go together: batches of like length, in random order, with next to no padding."""

import numpy as np

MOST_PADDING = 0.05  # share of a batch's cells


def batches_of_like_length(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of each batch, every row once.

    Sequences of one length fill batches of their own; what is left of all lengths is put together in their order, as
    long as no more than MOST_PADDING of a batch is padding. Which sequences meet, and in which order the batches come,
    is random; the number of batches follows from the lengths alone.

    Args:
        lengths: (N,) of all sequences.
        batch_size: the most rows of a batch.
        rng: source of the randomness.
    """
    order = rng.permutation(len(lengths))
    order = order[np.argsort(lengths[order], kind="stable")]  # by length, random within each
    runs = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1)
    batches: list[np.ndarray] = []
    rest = []
    for run in runs:
        full = len(run) // batch_size * batch_size
        batches += list(run[:full].reshape(-1, batch_size))
        rest.append(run[full:])
    batches += _filled(np.concatenate(rest), lengths, batch_size)
    return [batches[place] for place in rng.permutation(len(batches))]


def _filled(rows: np.ndarray, lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Rows in the order of their lengths, cut where a batch is full or would be padded too much."""
    cuts, first, tokens = [], 0, 0
    for place, length in enumerate(lengths[rows].tolist()):
        tokens += length
        cells = (place + 1 - first) * length
        if place - first == batch_size or cells - tokens > MOST_PADDING * cells:
            cuts.append(place)
            first, tokens = place, length
    return [batch for batch in np.split(rows, cuts) if len(batch)]
