"""Maximal scoring segments of the standardised curve less a bar, by their sum.

Source: Ruzzo and Tompa 1999, "A linear time algorithm for finding all maximal scoring subsequences", section 2, step by step
(Nightreel's own joins runs of one sign first). Used for grounding in the trial that came before Nightreel, not in a paper.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ._track import Floats, Pairs, listed, smoothed, standardised, totals, track


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    bar: float = 0.75,
    sigma_s: float = 0.0,
) -> Floats:
    """(P, 3) segments.

    Args:
        bar: in standard deviations, what a sample must exceed to add to a sum.
    """
    on = track(scores, start_s, end_s)
    values = smoothed(standardised(on.values), sigma_s / on.step_s) - bar
    pairs = maximal(values)
    return listed(on, pairs, totals(values, pairs))


def maximal(values: Floats) -> Pairs:
    """(P, 2) all maximal scoring segments, in time order."""
    found: list[tuple[int, int, float, float]] = []  # first, last, total before, total after
    total = 0.0
    for i, value in enumerate(values.tolist()):
        before, total = total, total + value
        if value <= 0:
            continue
        segment = (i, i + 1, before, total)
        while True:
            at = next((j for j in range(len(found) - 1, -1, -1) if found[j][2] < segment[2]), None)
            if at is None or found[at][3] >= segment[3]:
                found.append(segment)
                break
            segment = (found[at][0], i + 1, found[at][2], total)
            del found[at:]
    return np.array([segment[:2] for segment in found], np.int64).reshape(-1, 2)


PUBLISHED: dict[str, Any] = {}
GRID = [{"bar": b, "sigma_s": s} for b, s in product((0.0, 0.25, 0.5, 0.6, 0.75, 1.0, 1.5, 2.0, 2.5), (0.0, 2.0, 4.0))]
