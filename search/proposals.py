"""Where a moment could be: spans of cells, read off a curve without training.

Two sources, both as index pairs `[first, last)`: the connected components above many levels, nested (a level
set of a smoothed curve is a moment at some scale), and the maximal-scoring segments of Ruzzo and Tompa on the
raw curve, whose edges no smoothing has moved.

Knows nothing of seconds, scores or ranking.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.int64]


def level_sets(values: Floats, levels: Floats) -> Pairs:
    """All connected components of {values >= level} over all levels, as unique rows (P, 2), sorted.

    The components of a higher level lie inside those of a lower one, so this is the tree of the curve's hills
    cut at the levels; a component that several levels share appears once. O(N L).
    """
    above = np.zeros((len(levels), len(values) + 2), np.int8)
    above[:, 1:-1] = values[None, :] >= levels[:, None]
    steps = np.diff(above, axis=1)
    # Row by row, rises and falls alternate; both come in the same order, so they pair up.
    first, last = np.nonzero(steps == 1)[1], np.nonzero(steps == -1)[1]
    return np.unique(np.stack([first, last], axis=1), axis=0).astype(np.int64).reshape(-1, 2)


def maximal_segments(values: Floats) -> Pairs:
    """The disjoint maximal-scoring segments of `values`, rows (P, 2) in time order.

    The best of them is the contiguous run with the largest sum; the others are the best of what is left and
    right of it, and so on. Zeros at an end are never part of a segment. O(N).

    Source: Ruzzo and Tompa 1999, "A linear time algorithm for finding all maximal scoring subsequences",
    algorithm of section 2.
    """
    # Runs of one sign are joined first: a maximal segment never cuts one, and the Python loop gets short.
    sign = values > 0
    bounds = np.flatnonzero(np.diff(sign)) + 1
    edges = np.concatenate(([0], bounds, [len(values)]))
    totals = np.concatenate(([0.0], np.cumsum(values)))[edges]
    # First, last, total before, total after, and the nearest earlier one with a lower total before: walking those links and not
    # the whole list is what makes it linear.
    found: list[tuple[int, int, float, float, int]] = []
    for run in range(len(edges) - 1):
        if not sign[edges[run]]:
            continue
        first, last = int(edges[run]), int(edges[run + 1])
        before, after = float(totals[run]), float(totals[run + 1])
        at = len(found) - 1
        while True:
            while at >= 0 and found[at][2] >= before:
                at = found[at][4]
            if at < 0 or found[at][3] >= after:
                found.append((first, last, before, after, at))
                break
            first, _, before, _, link = found[at]
            del found[at:]
            at = link
    return np.array([one[:2] for one in found], np.int64).reshape(-1, 2)
