"""Shots as proposals, by the mean similarity of their frames.

Source: Diwan, Peng and Mooney 2022, "Zero-shot video moment retrieval with off-the-shelf models": a shot detector proposes,
CLIP matches each proposal with the query, a last step tidies up.
Differences: shots are changes of the stored features, since there are no pixels here; the rule that joins neighbouring shots is
ours (neighbours that both reach `level` of the range of the shots' scores), because we know only that the paper has one.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ._track import Floats, changes, listed, rows, runs, totals, track, unit_range


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    window_s: float = 4.0,
    deviations: float = 0.5,
    level: float = 0.7,
) -> Floats:
    """(P, 3) shots and joined shots; `level` above 1 joins none.

    Args:
        window_s, deviations: what counts as a cut, see `changes`.
    """
    on = track(scores, start_s, end_s)
    edges = changes(rows(features, len(on.values)), on.samples(window_s), deviations)
    shots = np.stack([edges[:-1], edges[1:]], axis=1)
    means = totals(on.values, shots) / np.diff(edges)
    high = unit_range(means) >= level
    chains = runs(high)
    pairs = np.concatenate([np.stack([edges[chains[:, 0]], edges[chains[:, 1]]], axis=1), shots[~high]])
    return listed(on, pairs, totals(on.values, pairs) / (pairs[:, 1] - pairs[:, 0]))


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"window_s": w, "deviations": d, "level": v}
    for w, d, v in product((2.0, 4.0), (0.0, 0.5, 1.0, 1.5), (0.5, 0.7, 0.85, 1.1))
]
