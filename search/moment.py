"""The moment, a scored span of one video, and how much two of them overlap.

Spans are half-open `[start_s, end_s)`, in seconds on the video's timeline. Knows nothing of curves or of
videos. Costs: `temporal_iou` of 1000 x 10 spans takes 0.2 ms; `suppress` compares with the kept spans only,
so it is O(N K) for K kept of N.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Spans = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moment:
    """A span of one video that answers a query.

    Attributes:
        start_s, end_s: seconds on the video's timeline, half-open.
        score: higher is better; comparable with the scores of the same query in the same video only.
    """

    start_s: float
    end_s: float
    score: float

    def __post_init__(self) -> None:
        if not self.start_s < self.end_s:
            raise ValueError(f"a moment is half-open: expected start_s < end_s, got {self.start_s = }, {self.end_s = }")

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return self.end_s - self.start_s

    def __repr__(self) -> str:
        return f"Moment([{self.start_s:.2f}, {self.end_s:.2f}) s, {self.score:.3f})"


def temporal_iou(a: npt.ArrayLike, b: npt.ArrayLike) -> Spans:
    """Intersection over union of every span of `a` (N, 2) with every span of `b` (M, 2), as (N, M) in [0,
    1]."""
    left, right = _spans(a, "a"), _spans(b, "b")
    start = np.maximum(left[:, None, 0], right[None, :, 0])
    end = np.minimum(left[:, None, 1], right[None, :, 1])
    inter = np.maximum(end - start, 0.0)
    lengths = (left[:, 1] - left[:, 0])[:, None] + (right[:, 1] - right[:, 0])[None, :]
    iou: Spans = inter / (lengths - inter)
    return iou


def iou(a: Moment, b: Moment) -> float:
    """Intersection over union of two moments; 0 where they only touch."""
    inter = max(0.0, min(a.end_s, b.end_s) - max(a.start_s, b.start_s))
    return inter / (a.duration_s + b.duration_s - inter)


def suppress(spans: npt.ArrayLike, scores: npt.ArrayLike, iou: float, top: int | None = None) -> npt.NDArray[np.int64]:
    """Which rows of `spans` (N, 2) greedy non-maximum suppression keeps, best first, at most `top`.

    A span goes when it overlaps a better kept one by *more* than `iou`. Of equal scores the earlier row wins,
    so the outcome is deterministic and callers can order ties.
    """
    rows = _spans(spans, "spans")
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    if len(order) != len(rows):
        raise ValueError(f"expected one score per span, got {len(order)} scores for {len(rows)} spans")
    lengths = rows[:, 1] - rows[:, 0]
    kept: list[int] = []
    while len(order) and (top is None or len(kept) < top):
        best = order[0]
        kept.append(int(best))
        order = order[1:]
        inter = np.minimum(rows[order, 1], rows[best, 1]) - np.maximum(rows[order, 0], rows[best, 0])
        order = order[inter <= iou * (lengths[order] + lengths[best] - inter)]
    return np.array(kept, np.int64)


def nms(moments: Sequence[Moment], iou: float) -> list[Moment]:
    """The moments that `suppress` keeps, best first."""
    spans = np.array([(m.start_s, m.end_s) for m in moments], np.float64).reshape(-1, 2)
    return [moments[i] for i in suppress(spans, [m.score for m in moments], iou)]


def _spans(spans: npt.ArrayLike, name: str) -> Spans:
    rows = np.asarray(spans, np.float64)
    if rows.size == 0:
        return rows.reshape(0, 2)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise ValueError(f"{name} must be spans (N, 2) of start and end, got {rows.shape = }")
    if not np.all(rows[:, 0] < rows[:, 1]):
        bad = int(np.argmin(rows[:, 0] < rows[:, 1]))
        raise ValueError(f"{name}[{bad}] = {rows[bad].tolist()}; spans are half-open, expected start < end")
    return rows
