"""The trial's combination: the best maximal segment first, then the list of level sets.

Source: `ruzzo_tompa.py` and `level_sets.py`, combined in the trial before Nightreel after its authors had seen both; the root
of what Nightreel does from scores alone.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from nightreel.search.moment import temporal_iou

from . import level_sets, ruzzo_tompa
from ._track import TOP, Floats


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    bar: float = 0.75,
    background: float = 0.15,
    per_doubling: float = 0.3,
    power: float = 0.7,
    overlap: float = 0.7,
) -> Floats:
    """(P, 3) the segment, with a score above the list's, and the list without what overlaps it."""
    first = ruzzo_tompa.propose(scores, start_s, end_s, bar=bar)[:1]
    rest = level_sets.propose(
        scores, start_s, end_s, background=background, per_doubling=per_doubling, power=power, overlap=overlap
    )
    first[0, 2] = np.nextafter(rest[0, 2], np.inf)
    return np.concatenate([first, rest[temporal_iou(rest[:, :2], first[:, :2])[:, 0] <= overlap]])[:TOP]


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"bar": b, "background": c, "per_doubling": 0.0, "power": p}
    for b, c, p in product((0.5, 0.75, 1.5, 2.0, 2.5), (0.0, 0.25, 0.75, 1.25, 1.5), (0.6, 0.7))
]
