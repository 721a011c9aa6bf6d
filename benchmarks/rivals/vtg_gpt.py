"""VTG-GPT's proposals: a threshold from the histogram of the scores.

Source: Xu et al. 2024, "VTG-GPT: Tuning-free zero-shot video temporal grounding with GPT", and its code (`get_span`): scores
are brought to 0 to 1; of 10 equal bins the lowest edge above which there are at least 8 clips of 2 s is the threshold; clips
above it that are at most 6 apart are one span; its score is half its share of all clips above and half its mean.
Differences: counts are seconds; one query, not its five rewrites; hence no suppression, for spans do not overlap.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ._track import Floats, joined, listed, totals, track, unit_range


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    bins: int = 10,
    above_s: float = 16.0,
    gap_s: float = 12.0,
    length_weight: float = 0.5,
) -> Floats:
    """(P, 3) spans of hits.

    Args:
        above_s: how many seconds must exceed the threshold.
        gap_s: from one hit's start to the next one's, at most.
    """
    on = track(scores, start_s, end_s)
    values = unit_range(on.values)
    counts, edges = np.histogram(values, bins, (0.0, 1.0))
    enough = np.flatnonzero(np.cumsum(counts[::-1])[::-1] >= on.samples(above_s))
    above = values > (edges[enough[-1]] if len(enough) else 0.0)
    hits = np.flatnonzero(above)
    pairs = joined(hits, on.samples(gap_s))
    number = totals(above.astype(float), pairs)
    mean = totals(values * above, pairs) / np.maximum(number, 1)
    return listed(on, pairs, length_weight * number / max(len(hits), 1) + (1 - length_weight) * mean)


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"bins": b, "above_s": a, "gap_s": g, "length_weight": w}
    for b, a, g, w in product((10, 20), (10.0, 16.0, 24.0), (4.0, 8.0, 12.0), (0.3, 0.5))
]
