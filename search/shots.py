"""Where the picture changes, seen from stored features alone; and a curve that keeps steady between changes.

Inside one shot a sentence is as true of one frame as of the next, so differences there are mostly noise, while
at a cut the truth may change at once. Features tell the cuts, scores alone do not.

It does not decode and knows no dissolves; a change that is less than usual for the video is no cut, so footage
that changes all the time (a walk through a market) comes out as pieces of a few seconds. O(T D).
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
BLOCK = 256  # segments


def novelty(features: npt.NDArray[np.float32], window: int) -> Floats:
    """(T - 1,) how different the `window` segments after each inner edge are from the `window` before: 0 to 2."""
    # Block by block, so that running sums stay small enough for float32 and in the cache.
    count, block = len(features), max(BLOCK, 4 * window)
    parts = [_novelty(features, window, at, min(count, at + block)) for at in range(1, count, block)]
    return np.concatenate(parts) if parts else np.zeros(0)


def _novelty(features: npt.NDArray[np.float32], window: int, begin: int, end: int) -> Floats:
    """Novelty at the edges `begin` to `end` (exclusive)."""
    low, count = max(0, begin - window), len(features)
    rows = features[low : min(count, end + window)]
    sums = np.zeros((len(rows) + 1, features.shape[1]), np.float32)
    np.cumsum(rows, axis=0, out=sums[1:])
    edges = np.arange(begin, end)
    before = sums[edges - low] - sums[np.maximum(0, edges - window) - low]
    after = sums[np.minimum(count, edges + window) - low] - sums[edges - low]
    norms = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    return np.asarray(1.0 - np.einsum("td,td->t", before, after) / np.maximum(norms, 1e-12), np.float64)


def shots(features: npt.NDArray[np.float32], window: int, deviations: float) -> npt.NDArray[np.int64]:
    """(K + 1,) edges of K shots in segments, 0 and T included.

    A cut is where novelty is the largest within `window` and exceeds its mean by `deviations` standard deviations.
    """
    count = len(features)
    if count < 3:
        return np.array([0, count], np.int64)
    change = novelty(features, window)
    padded = np.pad(change, window - 1, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * window - 1).max(axis=1)
    cut = (change >= around) & (change > change.mean() + deviations * change.std())
    return np.concatenate([[0], np.flatnonzero(cut) + 1, [count]]).astype(np.int64)


def steadied(scores: Floats, weights: Floats, edges: npt.NDArray[np.int64], share: float) -> Floats:
    """(T,) scores moved by `share` (0 to 1) towards the weighted mean of their shot."""
    lengths = np.diff(edges)
    means = np.add.reduceat(scores * weights, edges[:-1]) / np.add.reduceat(weights, edges[:-1])
    moved: Floats = (1 - share) * scores + share * np.repeat(means, lengths)
    return moved
