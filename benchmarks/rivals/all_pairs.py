"""Every span, by its contrast times a power of its length.

Source: the contrast score of TFVTG and TAG over all spans instead of windows or clusters, with the exponent that the trial
before Nightreel found missing: 0 prefers the peak, 1 half of the video.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ._track import Floats, contrast, listed, smoothed, standardised, track, windows


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    power: float = 0.25,
    longest_s: float = 75.0,
    sigma_s: float = 0.0,
    overlap: float = 0.5,
) -> Floats:
    """(P, 3) spans of at most `longest_s`. O(T longest)."""
    on = track(scores, start_s, end_s)
    values = smoothed(standardised(on.values), sigma_s / on.step_s)
    pairs = windows(len(values), np.arange(1, min(on.samples(longest_s), len(values)) + 1))
    return listed(on, pairs, contrast(values, pairs) * (pairs[:, 1] - pairs[:, 0]) ** power, overlap)


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"power": p, "longest_s": t, "sigma_s": s, "overlap": o}
    for p, t, s, o in product((0.125, 0.25, 0.4, 0.6), (75.0, 150.0), (0.0, 3.0), (0.5, 0.7))
]
