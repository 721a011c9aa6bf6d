"""Windows of one length, by their mean score: the usual first thing."""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ._track import Floats, listed, totals, track


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    window_s: float = 30.0,
    stride: float = 0.5,
    overlap: float | None = None,
) -> Floats:
    """(P, 3) windows of `window_s`, each `stride` of that after the one before, the last one at the end of the video."""
    on = track(scores, start_s, end_s)
    count = len(on.values)
    size = min(on.samples(window_s), count)
    first = np.unique(np.append(np.arange(0, count - size, max(1, round(stride * size))), count - size))
    pairs = np.stack([first, first + size], axis=1)
    return listed(on, pairs, totals(on.values, pairs) / size, overlap)


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"window_s": w, "stride": s, "overlap": o}
    for w, s, o in product((10.0, 20.0, 30.0, 45.0, 60.0), (0.25, 0.5), (None, 0.3))
]
