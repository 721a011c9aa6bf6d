"""Hubs: videos that are near to every query, such as a black slate, stop winning.

A video's hubness is its mean score with the probe queries (`probes.py`). More than `CUT` robust deviations above the archive's
middle it is a hub, and its scores are lowered to what they were at the middle (fully from `FULL` deviations on). So a video
like others keeps its score to the last bit, and a slate that is as near to everything as others are to what they show loses
what it gains by that. (The mean with the probes that like it best was tried and sees no hubs: of many probes some like
anything.)

What it does not know: where hubs are a fifth of an archive, they are part of its middle, and none sticks out.

Source: the querybank idea of QB-Norm (Bogolin 2022), with another correction. Theirs divides every score by what the bank
gives (inverted softmax). On QVHighlights that cost 3 to 6 points of R@1 with this bank, at every temperature, and gained
nothing with a bank of its own other sentences (34.3 -> 34.7, R@5 57.4 -> 56.2); figures in `docs/decisions.md`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

CUT, FULL = 2.5, 3.0
LEAST = 24  # videos; fewer have no middle to stand out from


def hubness(scores: Floats) -> float:
    """Of one video's scores (P,) with the probes; 0 without any."""
    return float(scores.mean()) if len(scores) else 0.0


def usual(hubness: npt.NDArray[Any]) -> tuple[float, float]:
    """Middle and robust deviation of an archive's hubness (V,); (0, infinite) for few videos, among which none sticks out."""
    if len(hubness) < LEAST:
        return 0.0, float("inf")
    middle = float(np.median(hubness))
    return middle, max(1.4826 * float(np.median(np.abs(hubness - middle))), 1e-3)


def penalties(hubness: npt.NDArray[Any], middle: float, deviation: float) -> Floats:
    """(V,) what is subtracted from the scores of videos of this hubness (V,): nothing up to `CUT` deviations above the
    middle, and from `FULL` on all that is above the middle."""
    above = (hubness - middle) / deviation
    share = np.clip((above - CUT) / (FULL - CUT), 0.0, 1.0)
    return np.asarray(np.where(share > 0, share * (hubness - middle), 0.0), np.float32)
