"""Granularities: short and long windows and whole videos, from the segments that are stored.

    segment   as stored                     N vectors
    4s        windows of 4 s every 2 s      N / 2 at one frame a second
    16s       windows of 16 s every 8 s     N / 8
    video     all of it                     one

A vector of a level is the mean of unit vectors, made unit again: CLIP4Clip's parameter-free pooling (Luo 2021, section 3.3,
"meanP"), by the segments' weights where a head gave them some (`Tuned.weights`). A window that would hold fewer than two
segments is no level: clips of 8 s have no windows of 4 s.

Windows go by time, not by count, so sampling may be irregular; a window begins only where a segment lies in its first hop, so a
file that claims to last for years makes no more windows than it has segments. It knows nothing of queries or files.

Costs two additions per number and level: 1.6 ms for 500 segments of D = 512. (Cumulative sums need one, but run down the
columns: 2.7 ms, and in float32 they round.)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Seconds = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

LEAST_NORM = 1e-6  # of a sum of unit vectors; less is rounding


@dataclass(frozen=True, slots=True)
class Level:
    """Attributes: name; length_s, hop_s: of its windows, 0 for segments as they are, infinite for whole videos."""

    name: str
    length_s: float
    hop_s: float


SEGMENT = Level("segment", 0.0, 0.0)
SHORT = Level("4s", 4.0, 2.0)
LONG = Level("16s", 16.0, 8.0)
VIDEO = Level("video", math.inf, math.inf)
LEVELS = (SEGMENT, SHORT, LONG, VIDEO)
BY_NAME = {level.name: level for level in LEVELS}


def levels_for(sampling: Mapping[str, Any] | None) -> tuple[Level, ...]:
    """The levels that features of a sampling plan (`encoder.json`) have."""
    plan = sampling or {}
    step_s = float(plan["hop_s"]) if "hop_s" in plan else 1.0 / float(plan.get("fps", 1.0))
    return tuple(level for level in LEVELS if level is SEGMENT or level.length_s >= 2 * step_s)


def windows(start_s: Seconds, end_s: Seconds, level: Level) -> tuple[Rows, Rows]:
    """(W,), (W,) the first segment of each window and the one after its last: those whose middle lies in it.

    Of windows that end with the same segment only the longest stays, so the last one is whole.
    """
    count = len(start_s)
    if level is SEGMENT:
        return np.arange(count), np.arange(1, count + 1)
    if level is VIDEO:
        return np.zeros(min(count, 1), np.int64), np.full(min(count, 1), count)
    middle = np.maximum.accumulate((start_s + end_s) / 2)
    begin = np.unique(np.floor((middle - start_s[:1]) / level.hop_s)) * level.hop_s + start_s[:1]
    first = np.searchsorted(middle, begin - 1e-6)
    after = np.searchsorted(middle, begin + level.length_s - 1e-6)
    later = np.diff(after, prepend=0) > 0
    return first[later].astype(np.int64), after[later].astype(np.int64)


def sums(vectors: npt.NDArray[np.floating[Any]], first: Rows, after: Rows) -> Floats:
    """(W, D) float32: the sums of rows `first` to `after` of `vectors` (T, D), in order of `first`."""
    if not len(first):
        return np.zeros((0, vectors.shape[1]), np.float32)
    # `reduceat` adds up between its indices, also from each window's end to the next one's beginning; every other is a window.
    padded = np.concatenate([vectors, np.zeros((1, vectors.shape[1]), vectors.dtype)])
    edges = np.stack([first, after], axis=1).reshape(-1)
    return np.add.reduceat(padded, edges, axis=0, dtype=np.float32)[::2]


def pooled(
    vectors: npt.NDArray[np.floating[Any]], first: Rows, after: Rows, weight: Floats | None = None
) -> tuple[Floats, Floats]:
    """(W, D) float32, unit norm: the mean of rows `first` to `after` of `vectors` (T, D) by `weight` (T,), made unit; 0 where
    rows cancel out. And (W,) the norms of the sums: with them, scores of windows follow from scores of segments (`score.py`).
    """
    total = sums(vectors if weight is None else vectors * weight[:, None], first, after)
    norms = np.linalg.norm(total, axis=1)
    norms[norms <= LEAST_NORM] = np.inf
    return np.asarray(total / norms[:, None], np.float32), np.asarray(norms, np.float32)


def at_level(vectors: Floats, start_s: Seconds, end_s: Seconds, level: Level, weight: Floats | None = None) -> Floats:
    """(W, D) float32: one video's vectors at a level, from its segments (T, D)."""
    return vectors if level is SEGMENT else pooled(vectors, *windows(start_s, end_s, level), weight)[0]
