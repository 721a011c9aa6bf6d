"""Connected components above many levels, by their excess mass: the best of the trial before Nightreel.

Source: Hartigan 1987, Mueller and Sawitzki 1991. Components of {smoothed curve >= level}; the score of one is the sum of
z - c0 over its seconds, divided by seconds ** (1 - power). c0 is `background`, and more in a longer video: chance finds more in
more. Nightreel's own differs in its first answer, its curve of unequal steps, and what it does with features.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from nightreel.search.proposals import level_sets

from ._track import Floats, Pairs, listed, smoothed, standardised, totals, track

REFERENCE_S = 150.0


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    background: float = 0.15,
    per_doubling: float = 0.3,
    power: float = 0.7,
    sigma_s: float = 3.0,
    levels: int = 32,
    overlap: float = 0.7,
) -> Floats:
    """(P, 3) components.

    Args:
        background, per_doubling: c0 at 150 s and what every doubling of the length adds, in standard deviations.
    """
    on = track(scores, start_s, end_s)
    z = standardised(on.values)
    pairs = components(smoothed(z, sigma_s / on.step_s), levels)
    doublings = float(np.log2((on.edges[-1] - on.edges[0]) / REFERENCE_S))
    c0 = max(0.0, background + per_doubling * doublings)
    mass = totals((z - c0) * np.diff(on.edges), pairs) / np.diff(on.edges[pairs])[:, 0] ** (1 - power)
    return listed(on, pairs, mass, overlap)


def components(values: Floats, levels: int) -> Pairs:
    """(P, 2) the runs at or above each of so many levels between the least and the largest value, each once."""
    heights = values.min() + np.ptp(values) * (np.arange(levels) + 0.5) / levels
    return level_sets(values, heights)


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"background": b, "per_doubling": 0.0, "power": p, "overlap": o}
    for b, p, o in product((0.0, 0.15, 0.3, 0.75, 1.0, 1.25, 1.5, 2.0), (0.6, 0.7, 0.8), (0.6, 0.7))
]
