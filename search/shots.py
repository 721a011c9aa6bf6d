"""Where the picture changes, seen from stored features alone; and a curve that keeps steady between changes.

Inside one shot a sentence is as true of one frame as of the next, so differences there are mostly noise, while
at a cut the truth may change at once. Features tell the cuts, scores alone do not.

It does not decode and knows no dissolves; a change that is less than usual for the video is no cut, so footage
that changes all the time (a walk through a market) comes out as pieces of a few seconds. O(T D).
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def novelty(features: npt.NDArray[np.float32], window: int) -> Floats:
    """(T - 1,) how different the `window` segments after each inner edge are from the `window` before: 0 to 2."""
    count = len(features)
    # Rows of zeros at both ends: there the windows are shorter, and no edge is a special case.
    padded = np.zeros((count + 2 * window, features.shape[1]), np.float32)
    padded[window : window + count] = features
    sums = _sliding_sums(padded, window)
    norms = np.sqrt(np.einsum("td,td->t", sums, sums))
    before, after = slice(1, count), slice(1 + window, count + window)
    inner = np.einsum("td,td->t", sums[before], sums[after])
    return np.asarray(1.0 - inner / np.maximum(norms[before] * norms[after], 1e-12), np.float64)


def _sliding_sums(rows: npt.NDArray[np.float32], window: int) -> npt.NDArray[np.float32]:
    """(T - window + 1, D) sums of `window` rows in a row, by doubling: log2(window) additions of whole arrays."""
    total, size = rows, 1
    for bit in bin(window)[3:]:
        total, size = total[:-size] + total[size:], 2 * size
        if bit == "1":
            total, size = total[:-1] + rows[size:], size + 1
    return total


def shots(features: npt.NDArray[np.float32], window: int, deviations: float) -> npt.NDArray[np.int64]:
    """(K + 1,) edges of K shots in segments, 0 and T included.

    A cut is where novelty is the largest within `window` and exceeds its mean by `deviations` standard deviations.
    """
    count = len(features)
    if count < 3:
        return np.array([0, count], np.int64)
    change = novelty(features, window)
    beyond = np.full(window - 1, -np.inf)
    padded = np.concatenate([beyond, change, beyond])
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * window - 1).max(axis=1)
    cut = (change >= around) & (change > change.mean() + deviations * change.std())
    return np.concatenate([[0], np.flatnonzero(cut) + 1, [count]]).astype(np.int64)


def steadied(scores: Floats, weights: Floats, edges: npt.NDArray[np.int64], share: float) -> Floats:
    """(T,) scores moved by `share` (0 to 1) towards the weighted mean of their shot."""
    lengths = np.diff(edges)
    means = np.add.reduceat(scores * weights, edges[:-1]) / np.add.reduceat(weights, edges[:-1])
    moved: Floats = (1 - share) * scores + share * np.repeat(means, lengths)
    return moved
