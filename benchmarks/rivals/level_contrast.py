"""Connected components above many levels, by contrast times a power of length.

Source: level sets as in `level_sets.py`, the score of `all_pairs.py`; one of the trial's rows.
"""

from itertools import product
from typing import Any

import numpy.typing as npt

from ._track import Floats, contrast, listed, smoothed, standardised, track
from .level_sets import components


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    power: float = 0.25,
    sigma_s: float = 3.0,
    levels: int = 32,
    overlap: float = 0.7,
) -> Floats:
    """(P, 3) components."""
    on = track(scores, start_s, end_s)
    z = standardised(on.values)
    pairs = components(smoothed(z, sigma_s / on.step_s), levels)
    return listed(on, pairs, contrast(z, pairs) * (pairs[:, 1] - pairs[:, 0]) ** power, overlap)


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"power": p, "sigma_s": s, "overlap": o}
    for p, s, o in product((0.0, 0.125, 0.25, 0.4, 0.6), (0.0, 2.0, 3.0), (0.5, 0.7))
]
