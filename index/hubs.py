"""Hubs: videos that are near to every query, such as a black slate, stop winning.

A video's hubness is its mean score with the twentieth of the probe queries (`probes.py`) that like it best. What lies more than
`CUT` robust deviations above the archive's middle is subtracted from its scores. So a video like others keeps its score to the
last bit, and a slate that is as near to everything as others are to what they show loses what it gains by that.

Source: the querybank idea of QB-Norm (Bogolin 2022), with another correction. Theirs divides every score by what the bank
gives (inverted softmax). On QVHighlights that cost 3 to 6 points of R@1 with this bank, at every temperature, and gained
nothing with a bank of its own other sentences (34.3 -> 34.7, R@5 57.4 -> 56.2); figures in `docs/decisions.md`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

BEST_SHARE = 0.05
CUT = 3.0
LEAST = 24  # videos; fewer have no middle to stand out from


def hubness(scores: Floats) -> float:
    """Of one video's scores (P,) with the probes; 0 without any."""
    if not len(scores):
        return 0.0
    best = max(1, round(BEST_SHARE * len(scores)))
    return float(np.partition(scores, -best)[-best:].mean())


def cut_of(hubness: npt.NDArray[Any]) -> float:
    """The hubness above which a video is a hub; infinite for few videos."""
    if len(hubness) < LEAST:
        return float("inf")
    middle = float(np.median(hubness))
    return middle + CUT * max(1.4826 * float(np.median(np.abs(hubness - middle))), 1e-3)


def penalties(hubness: npt.NDArray[Any], cut: float) -> Floats:
    """(V,) what is subtracted from the scores of videos of this hubness (V,)."""
    return np.asarray(np.maximum(0.0, hubness - cut), np.float32)
