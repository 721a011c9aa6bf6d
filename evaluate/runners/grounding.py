"""`nightreel evaluate grounding`: a benchmark's sentences, each in its own video, scored by the benchmark's protocol.

    evaluate_archive(archive, truth)      moments are found as `nightreel ground` finds them, then scored

Predictions are dicts in QVHighlights' format: {"qid", "query", "vid", "pred_relevant_windows": [[start_s, end_s, score], ...],
"pred_saliency_scores"}, the latter the curve's value in the middle of each 2 s. What is right, and the figures, are in
`predictions.py`. Where the annotation file does not say how long videos are (DiDeMo, Charades-STA without its csv),
spans are cut to the length of the video at hand, and `spans_cut` counts them.

Costs 11 s of one core for QVHighlights' 752 sentences with `conse`: half of it embeds them, a third reads 735 videos.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ...search.archive import Archive
from ...search.curve import cells
from ...search.ground import find_moments
from ...search.grounding import stored
from ...search.moment import Moment
from ..grounding import AP_TOP
from ..highlights import CLIP_S
from ..records import Dataset
from .predictions import Truth, evaluate_predictions
from .videos import embed_captions, left_out, match_videos, require

Prediction = dict[str, Any]


def evaluate_archive(
    archive: Archive, truth: Truth, *, allow_missing: bool = False
) -> tuple[dict[str, Any], list[Prediction]]:
    """The figures, as `evaluate_predictions` has them, and the predictions.

    Raises:
        Refused: videos are missing (`videos.require`).
        UsageError: the encoder knows no text, or names are ambiguous.
    """
    features = archive.features()
    found = match_videos(truth.dataset.videos, archive.store, features.slug)
    kept = require(found, truth.dataset, archive.store.root, allow_missing=allow_missing)
    kept, spans_cut = cut_to_length(kept, {name: row.duration_s for name, row in found.rows.items()})
    vectors = embed_captions(features, [query.text for query in kept.queries])
    of_video: dict[str, list[int]] = {}
    for row, query in enumerate(kept.queries):
        of_video.setdefault(query.video, []).append(row)
    predicted: dict[int, Prediction] = {}
    for name, rows in of_video.items():
        segments = stored(features, found.rows[name])
        footage = segments.embedding.astype(np.float32)
        for row in rows:
            query = kept.queries[row]
            scores = footage @ vectors[row]
            found_moments = find_moments(
                scores, segments.start_s, segments.end_s, features=footage, query=vectors[row], top=AP_TOP
            )
            saliency = _saliency(scores, segments.start_s, segments.end_s, query.duration_s)
            predicted[row] = {
                "qid": query.query_id,
                "query": query.text,
                "vid": name,
                "pred_relevant_windows": [_window(moment) for moment in found_moments],
                "pred_saliency_scores": saliency,
            }
    predictions = [predicted[row] for row in range(len(kept.queries))]
    own = truth.only(kept)
    if own.records:  # QVHighlights' qids are numbers
        as_given = {str(record["qid"]): record["qid"] for record in own.records}
        predictions = [{**one, "qid": as_given[one["qid"]]} for one in predictions]
    figures = evaluate_predictions(predictions, own)
    counts = {"spans_cut": spans_cut, **left_out(found, truth.dataset, kept)}
    return {"encoder": features.spec, **figures, **counts}, predictions


def cut_to_length(dataset: Dataset, durations_s: Mapping[str, float | None]) -> tuple[Dataset, int]:
    """Spans ended where their video ends, and how many; one that begins later stays, and cannot be found."""
    queries, cut = [], 0
    for query in dataset.queries:
        length_s = durations_s.get(query.video) if query.duration_s is None else None
        spans = tuple(
            (s, min(e, length_s)) if length_s is not None and s < length_s else (s, e) for s, e in query.spans
        )
        cut += spans != query.spans
        queries.append(replace(query, spans=spans))
    return replace(dataset, queries=tuple(queries)), cut


def _window(moment: Moment) -> list[float]:
    """[start_s, end_s, score] as a file holds them."""
    return [round(moment.start_s, 3), round(moment.end_s, 3), round(moment.score, 4)]


def _saliency(
    scores: npt.NDArray[np.float32],
    start_s: npt.NDArray[np.float64],
    end_s: npt.NDArray[np.float64],
    duration_s: float | None,
) -> list[float]:
    """The score of the segment that shows the middle of each 2 s, of the nearest where none does."""
    left, right = cells(start_s, end_s)
    until_s = float(right[-1]) if duration_s is None else duration_s
    middle = (np.arange(max(1, int(until_s / CLIP_S))) + 0.5) * CLIP_S
    at = np.clip(np.searchsorted(left, middle, side="right") - 1, 0, len(left) - 1)
    return [round(float(score), 5) for score in scores[at]]
