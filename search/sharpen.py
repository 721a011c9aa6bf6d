"""What features add to a curve of scores: the frames that fit best say what else to look for, and scores keep steady
within a shot.

Works on one window at a time, as if it were a video of its own, in the units of the whole curve: windows stay comparable.
Giving each window back the deviation that steadying took raises windows of noise; at an hour it cost 2 points of R1@0.5.
Knows nothing of moments. Costs O(T D).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .curve import Curve, Floats
from .shots import shots, steadied

Features = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sharpening:
    """How much: see `nightreel.search.ground.Tuning` for how these were chosen."""

    feedback: float = 0.3  # weight of the feedback curve; both curves have deviation 1. 0.25-1 are alike
    best: float = 0.1  # part of the window taken as fitting ...
    best_s: float = 15.0  # ... and at most: 10 % of an hour is no moment
    shot_window_s: float = 3.0  # a cut separates so many seconds on either side; 2-4 are alike
    shot_deviations: float = 0.5  # how far novelty is above its mean there; 0.5-1 are alike
    shot_share: float = 0.5  # how far a score moves towards its shot's mean; .5-.8 are alike


def sharpened(curve: Curve, features: Features, how: Sharpening) -> Floats:
    """(N,) z of a curve's cells with the features (T, D) of its seen cells; as they were where nothing varies."""
    z, seconds = curve.z[curve.seen], curve.seconds[curve.seen]
    mean, deviation = _moments(z, seconds)
    if deviation == 0.0:
        return curve.z
    fed = fed_back((z - mean) / deviation, seconds, features, how)
    window = max(1, round(how.shot_window_s / float(np.median(seconds))))
    cuts = shots(features, window, how.shot_deviations)
    # Without a cut, steadying would only lower the whole window against others.
    steady = steadied(fed, seconds, cuts, how.shot_share) if len(cuts) > 2 else fed
    out = curve.z.copy()
    out[curve.seen] = steady * deviation + mean
    return out


def fed_back(z: Floats, seconds: Floats, features: Features, how: Sharpening) -> Floats:
    """(T,) scores plus `feedback` times how much each segment resembles the best ones and not the worst half.

    Source: Rocchio 1971, pseudo-relevance feedback. The usual form adds the difference of means to the query; we add its curve
    after standardising it, since embeddings of frames lie far closer to each other than to any text and the sum of vectors
    would drown the query.
    """
    order = np.argsort(-z, kind="stable")
    before = np.cumsum(seconds[order]) - seconds[order]  # seconds that fit better than this segment
    total = float(seconds.sum())
    best = order[before < min(how.best * total, how.best_s)]
    worst = order[before >= total / 2]
    if not len(worst):
        return z
    # One row of weights instead of two selections: half the features need not be copied.
    weights = np.zeros(len(z), features.dtype)
    weights[best] += seconds[best] / seconds[best].sum()
    weights[worst] -= seconds[worst] / seconds[worst].sum()
    likeness = (features @ (weights @ features)).astype(np.float64)
    mean, deviation = _moments(likeness, seconds)
    if deviation <= 1e-6 * np.abs(likeness).max(initial=0.0):  # all segments look alike; the rest is rounding
        return z
    fed: Floats = z + how.feedback * (likeness - mean) / deviation
    return fed


def _moments(values: Floats, seconds: Floats) -> tuple[float, float]:
    mean = float(np.average(values, weights=seconds))
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=seconds)))
