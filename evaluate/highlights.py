"""QVHighlights' own figures from its own files: moments by window length, and highlights by how salient a clip is.

`qvhighlights_metrics` gives the keys, the nesting and the rounding of the benchmark's own evaluator (Lei 2021,
jayleicn/moment_detr, standalone_eval); on the benchmark's sample predictions every number comes out. What that protocol
does, easy to miss:

- R1 takes the first window as listed and the true window that it overlaps most; AP takes the first 10 listed and orders them
  by their score.
- `short`, `middle`, `long` keep the true windows of (0, 10], (10, 30], (30, 150] s and the queries that have one; predictions
  stay as they are, so AP within a range is lower than in `full` by all right windows of other lengths.
- A clip of 2 s is a highlight for one annotator if that annotator's saliency is at least 2 (Fair), 3 (Good), 4 (VeryGood) of
  4; AP is the mean over the three annotators, HIT@1 asks whether any of them agrees on the best clip.
- Saliency beyond the video's duration is cut; missing saliency counts as 0.

Differs from it: a query with no predicted windows counts as missed (there it is left out of mAP and stops R1); a range without
queries is left out (there: NaN). Costs: 752 queries in 0.7 s.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extract.errors import UsageError
from .grounding import AP_THRESHOLDS, AP_TOP, Values, average_precision, overlaps

CLIP_S = 2.0
LENGTHS_S = {"full": (0.0, np.inf), "long": (30.0, 150.0), "middle": (10.0, 30.0), "short": (0.0, 10.0)}
SALIENT = {"Fair": 2, "Good": 3, "VeryGood": 4}

Record = Mapping[str, Any]


def qvhighlights_metrics(predictions: Sequence[Record], ground_truth: Sequence[Record]) -> dict[str, Any]:
    """The benchmark's figures, in percent with two digits.

    Args:
        predictions: one dict per query: `qid`, `pred_relevant_windows` (lists of start, end in seconds and, or not, a score)
            and, or not, `pred_saliency_scores` (one per 2 s). Either of the two may be absent from all.
        ground_truth: one dict per query: `qid`, `relevant_windows`; for highlights also `duration`, `relevant_clip_ids` and
            `saliency_scores` (three annotators per clip).

    Returns:
        {"brief": {"MR-full-R1@0.5": ...}, "HL-min-Fair": {"HL-mAP", "HL-Hit1"}, ..., "full": {"MR-mAP": {"0.5": ...,
        "average"}, "MR-R1": {...}}, "long", "middle", "short"}; no HL keys without saliency, no others without windows.

    Raises:
        UsageError: predictions and queries are not the same, one appears twice, or a record lacks something.
    """
    truths = by_query(ground_truth, "ground truth")
    predicted = by_query(predictions)
    check_answered(predicted, truths)
    extra = [qid for qid in predicted if qid not in truths]
    if extra:
        raise UsageError(
            f"{len(extra)} predictions of queries without a ground truth: qid {_few(extra)}; leave them out"
        )
    windows = _has("pred_relevant_windows", predicted)
    saliency = _has("pred_saliency_scores", predicted) and _has("saliency_scores", truths)
    if not windows and not saliency:
        raise UsageError("predictions have neither pred_relevant_windows nor pred_saliency_scores; nothing to measure")
    out: dict[str, Any] = {}
    if saliency:
        out |= _highlights(predicted, truths)
    if windows:
        out |= _moments(predicted, truths)
    return {"brief": _brief(out), **out}


def by_query(records: Iterable[Record], name: str = "predictions") -> dict[str, Record]:
    """Records by qid, in order; 7 and "7" are one qid, for files have it both ways.

    Raises:
        UsageError: none, one without `qid`, or a qid twice.
    """
    out: dict[str, Record] = {}
    for row, record in enumerate(records):
        if "qid" not in record:
            raise UsageError(f"{name}: record {row} has no 'qid', only {', '.join(map(repr, record)) or 'nothing'}")
        qid = str(record["qid"])
        if qid in out:
            raise UsageError(f"{name}: qid {qid} appears twice (again in record {row}); one record a query")
        out[qid] = record
    if not out:
        raise UsageError(f"{name}: no records; nothing to measure")
    return out


def check_answered(predicted: Mapping[str, Record], queries: Collection[str]) -> None:
    """Raises UsageError unless every query has a prediction."""
    missing = [qid for qid in queries if qid not in predicted]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(queries)} queries without a prediction: qid {_few(missing)}; the predictions have "
            f"{_few(list(predicted))}. The protocol counts every query once: write an empty list of windows where nothing "
            "was found"
        )


def _few(qids: Sequence[str]) -> str:
    return ", ".join(qids[:5]) + (", ..." if len(qids) > 5 else "")


def _has(key: str, records: Mapping[str, Record]) -> bool:
    """Whether all records have it; some is an error."""
    having = [qid for qid, record in records.items() if key in record]
    if having and len(having) < len(records):
        lacking = next(qid for qid, record in records.items() if key not in record)
        raise UsageError(f"{len(having)} of {len(records)} records have {key!r}, qid {lacking} has not; all or none")
    return bool(having)


def _percent(share: float) -> float:
    return float(f"{100 * share:.2f}")


def _moments(predicted: Mapping[str, Record], truths: Mapping[str, Record]) -> dict[str, Any]:
    """MR-mAP and MR-R1 of each range of lengths."""
    listed = {qid: windows_of(record, "pred_relevant_windows") for qid, record in predicted.items()}
    ranked = {qid: by_score(spans[:AP_TOP]) for qid, spans in listed.items()}
    true = {qid: windows_of(record, "relevant_windows")[:, :2] for qid, record in truths.items()}
    for qid, spans in true.items():
        if not len(spans):
            raise UsageError(f"ground truth: qid {qid} has no relevant_windows; leave it out, it has no right answer")
        if not (spans[:, 0] < spans[:, 1]).all():
            raise UsageError(f"ground truth: qid {qid} has relevant_windows {spans.tolist()}; expected start < end")
    out: dict[str, Any] = {}
    for name, (above_s, to_s) in LENGTHS_S.items():
        ap, iou = [], []
        for qid, spans in true.items():
            length_s = spans[:, 1] - spans[:, 0]
            kept = spans[(length_s > above_s) & (length_s <= to_s)]
            if len(kept):
                ap.append(average_precision(ranked[qid], kept))
                iou.append(overlaps(listed[qid][:1, :2], kept).max(initial=0.0))
        if ap:
            out[name] = {"MR-mAP": _at_thresholds(np.mean(ap, axis=0)), "MR-R1": _r1(np.array(iou))}
            out[name]["MR-mAP"]["average"] = _percent(float(np.mean(ap)))
    return out


def windows_of(record: Record, key: str) -> Values:
    """(N, 2) or (N, 3) windows of a record.

    Raises:
        UsageError: it has none under this key, or they are no finite numbers.
    """
    if key not in record:
        given = (
            "an empty list says that nothing was found" if key.startswith("pred_") else "that of test splits is secret"
        )
        raise UsageError(f"qid {record['qid']} has no {key!r}; {given}")
    out = _numbers(record[key])
    if out.shape == (0,):
        return np.zeros((0, 3))
    if out.ndim != 2 or out.shape[1] not in (2, 3) or not np.isfinite(out).all():
        raise UsageError(
            f"qid {record['qid']}: {key} must be lists of start_s, end_s and, or not, a score (all or none), finite; got "
            f"{str(record[key])[:100]}"
        )
    return out


def by_score(spans: Values) -> Values:
    """Windows by falling score; as listed where there is none, or scores are equal."""
    if spans.shape[1] == 3:
        spans = spans[np.argsort(-spans[:, 2], kind="stable")]
    return spans[:, :2]


def _at_thresholds(values: Values) -> dict[str, float]:
    return {str(limit): _percent(float(value)) for limit, value in zip(AP_THRESHOLDS, values, strict=True)}


def _r1(iou: Values) -> dict[str, float]:
    return _at_thresholds(np.array([(iou >= limit).mean() for limit in AP_THRESHOLDS]))


def _highlights(predicted: Mapping[str, Record], truths: Mapping[str, Record]) -> dict[str, Any]:
    """HL-mAP and HL-Hit1 at each level of saliency."""
    levels = np.array(list(SALIENT.values()))
    ap, hit = [], []
    for qid, truth in truths.items():
        given = _saliency(truth)
        scores = _numbers(predicted[qid]["pred_saliency_scores"])
        if scores.ndim != 1 or not scores.size or not np.isfinite(scores).all():
            raise UsageError(f"predictions: qid {qid} has pred_saliency_scores that are no list of finite numbers")
        first = int(scores.argmax())
        hit.append(given[first].max() >= levels if first < len(given) else np.zeros(len(levels), bool))
        padded = np.zeros(len(given))
        padded[: len(scores)] = scores[: len(given)]
        positive = given[:, None, :] >= levels[None, :, None]
        ap.append(clip_precision(padded, positive.reshape(len(given), -1)).reshape(len(levels), -1).mean(1))
    figures = zip(SALIENT, np.mean(ap, axis=0), np.mean(hit, axis=0), strict=True)
    return {f"HL-min-{n}": {"HL-mAP": _percent(float(a)), "HL-Hit1": _percent(float(h))} for n, a, h in figures}


def _saliency(truth: Record) -> npt.NDArray[np.int64]:
    """(clips of the video, annotators) saliency 0 to 4; 0 outside the relevant clips."""
    for key in ("duration", "relevant_clip_ids"):
        if key not in truth:
            raise UsageError(f"ground truth: qid {truth['qid']} has saliency_scores but no {key!r}")
    clips = np.floor(_numbers(truth["duration"]) / CLIP_S)
    ids, given = _numbers(truth["relevant_clip_ids"]), _numbers(truth["saliency_scores"])
    fits = given.ndim == 2 and np.isfinite(given).all() and ids.shape == given.shape[:1] and not clips.ndim
    if not (fits and ids.min(initial=0) >= 0 and ids.max(initial=0) < clips):
        raise UsageError(
            f"ground truth: qid {truth['qid']} has relevant_clip_ids {ids.shape}, saliency_scores {given.shape} and "
            f"duration {truth['duration']}; expected one row of annotators per relevant clip, ids from 0 below the clips"
        )
    out = np.zeros((int(clips), given.shape[1]), np.int64)
    out[ids.astype(np.int64)] = given
    return out


def _numbers(value: Any) -> Values:
    """An array, of NaN where the value holds other things than numbers."""
    try:
        return np.array(value, np.float64)
    except (TypeError, ValueError):
        return np.array(np.nan)


def clip_precision(scores: npt.ArrayLike, positive: npt.ArrayLike) -> Values:
    """(K,) average precision of scores (T,) for K labellings (T, K) of the same clips.

    Interpolated, and the plain mean over the thresholds at which recall grows, as QVHighlights' evaluator has it from
    Video2GIF (Gygli 2016): clips of equal score enter together and count once. All clips positive: 1; none: 0.
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(positive, bool)
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
    found = labels[order].cumsum(0)[ends]
    precision = np.maximum.accumulate((found / (ends + 1)[:, None])[::-1])[::-1]
    grows = np.diff(found, axis=0, prepend=0) > 0
    out: Values = (precision * grows).sum(0) / np.maximum(grows.sum(0), 1)
    return out


def _brief(figures: Mapping[str, Any]) -> dict[str, float]:
    """The figures that papers print."""
    out: dict[str, float] = {}
    if "full" in figures:
        full = figures["full"]
        out |= {f"MR-full-R1@{limit}": full["MR-R1"][limit] for limit in ("0.5", "0.7")}
        out |= {"MR-full-mAP": full["MR-mAP"]["average"]}
        out |= {f"MR-full-mAP@{limit}": full["MR-mAP"][limit] for limit in ("0.5", "0.75")}
        ranges = [name for name in ("long", "middle", "short") if name in figures]
        out |= {f"MR-{name}-mAP": figures[name]["MR-mAP"]["average"] for name in ranges}
    for name in figures:
        if name.startswith("HL-"):
            out |= {f"{name}-{key.removeprefix('HL-')}": value for key, value in figures[name].items()}
    return out
