"""Predicted moments of any method, scored by the protocol of the benchmark whose annotation file is at hand.

    path = Path("charades_sta_test.txt")
    truth = truth_of(read_dataset("grounding", "charades", path), path)
    evaluate_predictions(read_predictions(Path("p.jsonl")), truth)

Predictions are in QVHighlights' format, whichever the benchmark: {"qid", "pred_relevant_windows": [[start_s, end_s, score],
...]}; `qid` is the query's id as the benchmark's reader gives it (Charades-STA: `VIDEO#0`, `VIDEO#1`... in the file's order,
those that the reader leaves out counted; see `readers/`). Intervals resample source videos, since several sentences are
asked about one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...extract.errors import UsageError
from ...extract.files import json_text, write_atomic
from ..bootstrap import LEVEL, intervals
from ..grounding import AP_TOP, Values, best_ious, grounding_metrics, per_query
from ..highlights import by_query, by_score, check_answered, qvhighlights_metrics, windows_of
from ..readers.files import read_jsonl
from ..records import Dataset
from ..splits import source_of

QVHIGHLIGHTS = "qvhighlights"
THRESHOLDS = {"tacos": (0.1, 0.3, 0.5, 0.7)}  # of IoU, as papers print them
USUAL = (0.3, 0.5, 0.7)


@dataclass(frozen=True)
class Truth:
    """Attributes:
    dataset: queries, all with spans.
    records: QVHighlights' own objects, which its own metrics take; empty for other benchmarks.
    """

    dataset: Dataset
    records: tuple[Mapping[str, Any], ...] = ()

    def only(self, dataset: Dataset) -> "Truth":
        """The truth of some of the queries."""
        kept = {query.query_id for query in dataset.queries}
        return Truth(dataset, tuple(record for record in self.records if str(record["qid"]) in kept))


def truth_of(dataset: Dataset, path: Path) -> Truth:
    """The truth that the records of an annotation file hold.

    Raises:
        UsageError: a query has no span.
    """
    bare = [query.query_id for query in dataset.queries if not query.spans]
    if bare:
        raise UsageError(
            f"{path}: {len(bare)} of {len(dataset.queries)} queries have no span (first: {bare[0]}), so nothing says what "
            "is right. The spans of test splits are often not published; take the validation split."
        )
    records = [record for _, record in read_jsonl(path)] if dataset.name == QVHIGHLIGHTS else []
    return Truth(dataset, tuple(records)).only(dataset)


def read_predictions(path: Path) -> list[dict[str, Any]]:
    """The objects of a file with one per line.

    Raises:
        UsageError: it is none.
    """
    return [record for _, record in read_jsonl(path)]


def write_predictions(path: Path, predictions: Iterable[Mapping[str, Any]]) -> None:
    """One object per line, whole or not at all."""

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8") as handle:
            handle.writelines(json_text(one) + "\n" for one in predictions)

    write_atomic(path, write)


def evaluate_predictions(predictions: Iterable[Mapping[str, Any]], truth: Truth) -> dict[str, Any]:
    """The benchmark's figures.

    Args:
        predictions: one per query. Windows are ranked by their score where they have one, else as listed (R1 of
            QVHighlights takes the first as listed). Those of other queries are counted, not used: a split's file answers
            also what the reader left out.

    Returns:
        {"queries", "videos", "unused_predictions", "metrics", "intervals": {"level", name: (low, high)}}; for QVHighlights
        `metrics` is nested as its own evaluator has it, and only the main figures have an interval; for others it is `R1@0.3`
        ... `mIoU`.

    Raises:
        UsageError: a query has no prediction or two, or a prediction is not of this form.
    """
    found = by_query(predictions)
    order = [query.query_id for query in truth.dataset.queries]
    check_answered(found, order)
    listed = [found[qid] for qid in order]
    if truth.records:
        metrics: dict[str, Any] = qvhighlights_metrics(listed, truth.records)
        columns = _highlight_columns(listed, truth) if "full" in metrics else {}
    else:
        spans = [by_score(windows_of(record, "pred_relevant_windows")) for record in listed]
        true = [np.array(query.spans) for query in truth.dataset.queries]
        limits = THRESHOLDS.get(truth.dataset.name, USUAL)
        metrics = grounding_metrics(spans, true, thresholds=limits)
        ious = best_ious(spans, true, (1, 5))
        columns = {f"R{top}@{m:g}": (ious[:, i] >= m).astype(float) for i, top in enumerate((1, 5)) for m in limits}
        columns["mIoU"] = ious[:, 0]
    groups = [source_of(query) for query in truth.dataset.queries]
    unused = len(found) - len(listed)
    counts = {"queries": len(groups), "videos": len(truth.dataset.videos), "unused_predictions": unused}
    return {**counts, "metrics": metrics, "intervals": {"level": LEVEL, **_bounds(columns, groups)}}


def _bounds(columns: Mapping[str, Values], groups: Sequence[str]) -> dict[str, tuple[float, float]]:
    return intervals({name: 100 * v for name, v in columns.items()}, groups, level=LEVEL) if columns else {}


def _highlight_columns(predictions: Sequence[Mapping[str, Any]], truth: Truth) -> dict[str, Values]:
    """What QVHighlights' main figures are means of, in the order of the predictions."""
    records = by_query(truth.records)
    listed = [windows_of(record, "pred_relevant_windows") for record in predictions]
    true = [windows_of(records[str(record["qid"])], "relevant_windows")[:, :2] for record in predictions]
    first = per_query([spans[:1, :2] for spans in listed], true)  # R1 takes the first as listed
    ranked = per_query([by_score(spans[:AP_TOP]) for spans in listed], true)
    return {"R1@0.5": first.hit5, "R1@0.7": first.hit7, "mAP": ranked.ap}
