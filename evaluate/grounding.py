"""How well moments are found: recall, mean IoU and average precision of predicted spans.

    grounding_metrics(predicted, truth)   Charades-STA, ActivityNet: R1@0.3 ... R5@0.7, mIoU
    windows_metrics(predicted, truth)     QVHighlights: R1@0.5, R1@0.7, mIoU, mAP, mAP@0.5, mAP@0.75
    per_query(predicted, truth)           what the latter are means of, for bootstrap intervals
    average_precision(predicted, truth)   one query, all IoU thresholds

`predicted` is one (P, 2) array per query, best first; `truth` one (G, 2) array per query, G >= 1; seconds, half-open. A
query without predictions counts as missed. Predicted spans that end before they start overlap nothing: they are some model's
mistake, not ours to refuse. Knows nothing of files. Costs: `windows_metrics` of 752 queries with 10 predictions takes 0.17 s.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..extract.errors import UsageError
from ..search.moment import Spans, temporal_iou

Windows = Sequence[npt.ArrayLike]
Values = npt.NDArray[np.float64]

AP_THRESHOLDS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
AP_TOP = 10  # QVHighlights' evaluator looks at no more predictions


class PerQuery(NamedTuple):
    """One value per query, each (Q,) float64 in [0, 1].

    Attributes:
        ap: average precision, mean over IoU 0.5, 0.55 ... 0.95.
        hit5, hit7: 1 where the first prediction's IoU with its best true window is at least 0.5, 0.7.
        iou: that IoU.
    """

    ap: Values
    hit5: Values
    hit7: Values
    iou: Values


def overlaps(predicted: npt.ArrayLike, truth: npt.ArrayLike) -> Spans:
    """IoU (P, G) of predicted spans with true windows; 0 for a predicted span that does not end after its start."""
    spans = np.asarray(predicted, np.float64).reshape(-1, 2)
    real = spans[:, 0] < spans[:, 1]
    if real.all():
        return temporal_iou(spans, truth)
    out = np.zeros((len(spans), len(np.asarray(truth))))
    out[real] = temporal_iou(spans[real], truth)
    return out


def average_precision(
    predicted: npt.ArrayLike, truth: npt.ArrayLike, thresholds: Sequence[float] = AP_THRESHOLDS
) -> Values:
    """(N,) interpolated average precision of predictions (P, 2), best first, at N IoU thresholds, in [0, 1].

    Each prediction takes the free true window that it overlaps most; it is right if that IoU reaches the threshold, and the
    window is then no longer free. Precision at a recall is the best precision at that recall or a higher one, as in
    ActivityNet's detection task (Heilbron 2015), which QVHighlights follows.
    """
    return _precision(overlaps(predicted, truth), thresholds)


def _precision(overlap: Spans, thresholds: Sequence[float]) -> Values:
    """`average_precision` from IoUs (P, G)."""
    predictions, windows = overlap.shape
    limit, rows = np.array(thresholds), np.arange(len(thresholds))
    if not predictions:
        return np.zeros(len(limit))
    free = np.ones((len(limit), windows), bool)
    hit = np.zeros((len(limit), predictions))
    for i, ious in enumerate(overlap):
        if ious.max() < limit.min():
            continue
        best = np.where(free, ious, -1.0).argmax(1)
        right = free[rows, best] & (ious[best] >= limit)
        free[rows[right], best[right]] = False
        hit[:, i] = right
    precision = hit.cumsum(1) / np.arange(1, predictions + 1)
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    found: Values = (precision * hit).sum(1) / windows
    return found


def check_windows(predicted: Windows, truth: Windows) -> None:
    """One prediction list per query, and true windows for each that end after they start.

    Raises:
        UsageError: it is not so.
    """
    if len(predicted) != len(truth):
        raise UsageError(f"{len(predicted)} lists of predictions for {len(truth)} queries; expected one per query")
    if not len(truth):
        raise UsageError("no queries: nothing to measure")
    for row, windows in enumerate(truth):
        spans = np.asarray(windows, np.float64)
        if not spans.size:
            raise UsageError(f"query {row} has no true window; leave such queries out, they have no right answer")
        if spans.ndim != 2 or spans.shape[1] != 2 or not (spans[:, 0] < spans[:, 1]).all():
            raise UsageError(
                f"query {row} has true windows {spans.tolist()}; expected (start, end) in seconds, start < end"
            )


def per_query(predicted: Windows, truth: Windows) -> PerQuery:
    """What `windows_metrics` averages, query by query."""
    ap, iou = _ap_and_iou(predicted, truth)
    return PerQuery(ap.mean(1), (iou >= 0.5).astype(float), (iou >= 0.7).astype(float), iou)


def windows_metrics(predicted: Windows, truth: Windows) -> dict[str, float]:
    """QVHighlights' figures over all queries, in percent with two digits as its evaluator gives them, and mIoU.

    AP looks at the first 10 predictions. Keys: R1@0.5, R1@0.7, mIoU, mAP (mean over IoU 0.5:0.05:0.95), mAP@0.5, mAP@0.75.
    """
    ap, iou = _ap_and_iou(predicted, truth)
    share = {"R1@0.5": (iou >= 0.5).mean(), "R1@0.7": (iou >= 0.7).mean(), "mIoU": iou.mean(), "mAP": ap.mean()}
    share |= {"mAP@0.5": ap[:, 0].mean(), "mAP@0.75": ap[:, 5].mean()}
    return {name: round(100 * float(value), 2) for name, value in share.items()}


def _ap_and_iou(predicted: Windows, truth: Windows) -> tuple[Values, Values]:
    """(Q, 10) average precisions and (Q,) IoUs of first predictions."""
    check_windows(predicted, truth)
    ap, iou = np.zeros((len(truth), len(AP_THRESHOLDS))), np.zeros(len(truth))
    for row, (spans, windows) in enumerate(zip(predicted, truth, strict=True)):
        overlap = overlaps(np.asarray(spans, np.float64).reshape(-1, 2)[:AP_TOP], windows)
        ap[row] = _precision(overlap, AP_THRESHOLDS)
        iou[row] = overlap[0].max() if len(overlap) else 0.0
    return ap, iou


def best_ious(predicted: Windows, truth: Windows, tops: Sequence[int] = (1, 5)) -> Values:
    """(Q, len(tops)) the best IoU that one of the first K predictions has with one of the true windows."""
    check_windows(predicted, truth)
    out = np.zeros((len(truth), len(tops)))
    for row, (spans, windows) in enumerate(zip(predicted, truth, strict=True)):
        overlap = overlaps(np.asarray(spans, np.float64).reshape(-1, 2)[: max(tops)], windows)
        out[row] = [overlap[:top].max(initial=0.0) for top in tops]
    return out


def grounding_metrics(
    predicted: Windows,
    truth: Windows,
    *,
    tops: Sequence[int] = (1, 5),
    thresholds: Sequence[float] = (0.3, 0.5, 0.7),
) -> dict[str, float]:
    """The protocol of Charades-STA, ActivityNet Captions and TACoS (Gao 2017), in percent, not rounded.

    `R{n}@{m}`: the share of queries for which one of the first n predictions reaches IoU m with the true span (the best one
    where a query has several); `mIoU`: the mean IoU of first predictions. IoU exactly m is a hit (some published code asks
    for more than m). R5 depends on how far predictions are suppressed: give them as the method ranks them.

    Raises:
        UsageError: as `check_windows` says.
    """
    every = best_ious(predicted, truth, (1, *tops))
    out = {
        f"R{top}@{limit:g}": 100 * float((every[:, column] >= limit).mean())
        for column, top in enumerate(tops, 1)
        for limit in thresholds
    }
    return {**out, "mIoU": 100 * float(every[:, 0].mean())}
