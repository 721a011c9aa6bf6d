"""Top-K hits joined where they are close: what local video search tools do.

Source: the code of amon-hen (`merge_hits`: hits at most 4 s apart are one segment, from the first to the last, its score is
the best) and of MaterialSearch (hits over a fixed threshold, at most one frame missing between them, widened by half a frame).
Differences: hits are the K best of this one video, since K of a whole archive and a threshold for one encoder have no meaning
here; and a span ends where its last sample ends, else a single hit would have no length.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ._track import Floats, joined, listed, track


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    hits: int = 10,
    gap_s: float = 4.0,
) -> Floats:
    """(P, 3) the joined hits, scored by the best of each."""
    on = track(scores, start_s, end_s)
    best = np.sort(np.argsort(-on.values, kind="stable")[:hits])
    pairs = joined(best, on.samples(gap_s))
    return listed(on, pairs, np.maximum.reduceat(on.values, pairs.ravel().clip(max=len(on.values) - 1))[::2])


PUBLISHED: dict[str, Any] = {"hits": 10, "gap_s": 4.0}
GRID = [{"hits": k, "gap_s": g} for k, g in product((10, 20, 30, 50, 100, 200), (2.0, 4.0, 8.0, 16.0))]
