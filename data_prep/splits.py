"""Which tune goes to train, valid or test, and which of its windows.

A *tune* is a piece with the windows it gave. Two tunes are *near-duplicates* (one tune in two books, or in another
key) when they share at least half of the distinct windows of the one that has fewer; windows are compared after a
shift that brings the first note-on to one pitch. Near-duplicates, and theirs, make a cluster, which stays together.

A stable hash of a tune's name tells its split; a cluster goes with one of its members, chosen by another part of the
same hash. So files that are added move none that are there, unless a new one is a near-duplicate: then its cluster
may follow it. A split that this leaves empty takes the train cluster whose hash is nearest; it gives it back when the
collection grows. With fewer than three clusters each tune is cut in time instead, which is a weaker test: the parts
of one tune are alike.

Of equal windows one stays: in train before valid, in valid before test, then the first.

Sentences are simpler: each goes where a hash of its own says, so that equal ones lie together; an empty split takes
those with the nearest hash. All of them stay.
"""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

SPLITS = ("train", "valid", "test")

_MOST_PAIRED = 24  # tunes that share one window, up to which all pairs are counted
_MIN_NOTES = 4  # note-ons in a window that tells tunes apart
_BLOCK = 1 << 16  # windows hashed at a time


def window_hashes(ids: np.ndarray, note_on: np.ndarray, pitch_ids: range | None) -> tuple[np.ndarray, np.ndarray]:
    """Hashes of windows as they are, and of their shape, whatever the key.

    Args:
        ids: (N, T), may be memory-mapped.
        note_on: (V,) bool, which ids begin a note.
        pitch_ids: the ids that a transposition shifts.

    Returns:
        Two arrays (N,) uint64; the shape of a window that says too little to tell tunes apart is 0.
    """
    N, T = ids.shape
    weights = np.random.default_rng(2018).integers(1 << 64, size=T, dtype=np.uint64) | np.ones(T, np.uint64)
    exact, shape = np.empty(N, np.uint64), np.empty(N, np.uint64)
    for start in range(0, N, _BLOCK):
        block = np.asarray(ids[start : start + _BLOCK]).astype(np.int64)  # (n, T)
        onsets = note_on[block]
        exact[start : start + _BLOCK] = _mix(block, weights)
        if pitch_ids is not None:
            first = np.take_along_axis(block, onsets.argmax(1)[:, None], 1)
            pitched = (block >= pitch_ids.start) & (block < pitch_ids.stop)
            block = np.where(pitched, block - first + 2 * pitch_ids.stop, block)
        shape[start : start + _BLOCK] = np.where(onsets.sum(1) < _MIN_NOTES, 0, _mix(block, weights))
    return exact, shape


def _mix(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """A random linear form modulo 2^64: two different rows meet once in some 10^16."""
    return (rows.astype(np.uint64) + np.uint64(1)) @ weights


def clusters(tune: np.ndarray, shape: np.ndarray, tunes: int) -> np.ndarray:
    """Cluster of each tune.

    Args:
        tune: (N,) the tune of each window, 0 .. tunes-1, in ascending order.
        shape: (N,) hashes of the windows' shapes; 0 does not count.
        tunes: how many tunes there are.

    Returns:
        (tunes,) the smallest tune of the cluster that each belongs to.
    """
    owner, starts = _owners(tune, shape)
    sizes = np.bincount(owner, minlength=tunes)
    pairs = _sharing(owner, starts, tunes)
    code, shared = np.unique(pairs, return_counts=True)
    a, b = code // tunes, code % tunes
    near = 2 * shared >= np.minimum(sizes[a], sizes[b])
    return _components(zip(a[near].tolist(), b[near].tolist(), strict=True), tunes)


def _owners(tune: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The tunes that have a shape, each once and in ascending order, shape by shape; and where each shape begins."""
    rows = np.flatnonzero(shape)
    rows = rows[np.argsort(shape[rows], kind="stable")]
    new, owner = np.diff(shape[rows], prepend=0) != 0, tune[rows]
    once = new | (np.diff(owner, prepend=-1) != 0)
    return owner[once], np.flatnonzero(new[once])


def _sharing(owner: np.ndarray, starts: np.ndarray, tunes: int) -> np.ndarray:
    """a * tunes + b for each pair of tunes a < b, once for each shape they share.

    `owner` lists the tunes shape by shape, `starts` tells where each shape begins. Of a shape that very many tunes
    have only neighbours are paired, so that the work stays in proportion to the number of windows; tunes that are
    copies of each other are neighbours everywhere, and are still found.
    """
    counts = np.diff(starts, append=len(owner))
    found = [np.empty(0, np.int64)]
    for count in np.unique(counts[counts > 1]).tolist():
        groups = owner[starts[counts == count][:, None] + np.arange(count)]  # (shapes, count)
        left, right = (
            np.triu_indices(count, 1) if count <= _MOST_PAIRED else (np.arange(count - 1), np.arange(1, count))
        )
        found.append((groups[:, left] * tunes + groups[:, right]).ravel())
    return np.concatenate(found)


def _components(pairs: Iterable[tuple[int, int]], tunes: int) -> np.ndarray:
    parent = list(range(tunes))

    def root(x: int) -> int:
        while parent[x] != x:
            parent[x] = x = parent[parent[x]]
        return x

    for a, b in pairs:
        a, b = root(a), root(b)
        parent[max(a, b)] = min(a, b)
    return np.array([root(x) for x in range(tunes)], np.int64)


def assign(names: Sequence[str], cluster: np.ndarray, shares: tuple[float, float, float]) -> np.ndarray:
    """The split of each tune: (tunes,) 0 train, 1 valid, 2 test.

    Args:
        names: what identifies each tune, wherever the collection lies.
        cluster: (tunes,) see `clusters`.
        shares: of train, valid and test; they sum to 1.
    """
    digests = [hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest() for name in names]
    speaker: dict[int, bytes] = {}  # of each cluster the digest with the smallest second half
    for digest, label in zip(digests, cluster.tolist(), strict=True):
        speaker[label] = min(speaker.get(label, digest), digest, key=lambda d: d[8:])
    place = {label: int.from_bytes(digest[:8], "big") / 2.0**64 for label, digest in speaker.items()}
    bounds = np.cumsum(shares)[:2]
    split = {label: int(np.searchsorted(bounds, at, side="right")) for label, at in place.items()}
    for empty in (2, 1):
        train = [label for label in split if split[label] == 0]
        if shares[empty] > 0 and len(train) > 1 and empty not in split.values():
            split[max(train, key=lambda label: place[label])] = empty
    return np.array([split[label] for label in cluster.tolist()], np.int8)


def by_hash(hashes: np.ndarray, shares: tuple[float, float, float]) -> np.ndarray:
    """The split of each sentence (N,): 0 train, 1 valid, 2 test.

    Of three different hashes or more each split with a share gets one; with fewer all go to train.

    Args:
        hashes: (N,) uint64, equal for equal sentences.
        shares: of train, valid and test; they sum to 1.
    """
    distinct = np.unique(hashes)
    if len(distinct) < 3:
        return np.zeros(len(hashes), np.int8)
    bounds = [min(int(bound * 2.0**64), (1 << 64) - 1) for bound in np.cumsum(shares)[:2]]
    valid, test = np.searchsorted(distinct, np.array(bounds, np.uint64)).tolist()  # the first hash of each
    test = min(test, len(distinct) - 1) if shares[2] > 0 else len(distinct)
    valid = min(valid, test - 1) if shares[1] > 0 else test
    valid = max(valid, 1)
    test = max(test, valid + (shares[1] > 0))
    place = np.searchsorted(distinct, hashes)
    return (place >= valid).astype(np.int8) + (place >= test).astype(np.int8)


def in_time(tune: np.ndarray, shares: tuple[float, float, float]) -> np.ndarray:
    """The split of each window (N,) when the tunes are too few: every tune's beginning, middle and end.

    Of three windows or more each split with a share gets one, train first.
    """
    counts = np.bincount(tune)
    starts = np.cumsum(counts) - counts
    rank = np.arange(len(tune)) - starts[tune]
    test = np.where(counts >= 3, np.maximum(1, np.rint(counts * shares[2])), 0) * (shares[2] > 0)
    valid = np.where(counts >= 3, np.maximum(1, np.rint(counts * shares[1])), 0) * (shares[1] > 0)
    test = np.minimum(test, np.maximum(counts - 1 - (shares[1] > 0), 0))
    valid = np.minimum(valid, np.maximum(counts - 1 - test, 0))
    left = counts[tune] - rank
    return np.where(left <= test[tune], 2, np.where(left <= (test + valid)[tune], 1, 0)).astype(np.int8)


def keepers(split: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Of equal windows, which one stays: (N,) its number for each window; a window that stays has its own.

    Args:
        split: (N,) the split of each window.
        exact: (N,) hashes of the windows as they are.
    """
    order = np.argsort(split, kind="stable")
    _, first, group = np.unique(exact[order], return_index=True, return_inverse=True)
    keeper = np.empty(len(split), np.int64)
    keeper[order] = order[first[group]]
    return keeper
