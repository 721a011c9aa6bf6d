"""`nightreel evaluate retrieval`: a benchmark's sentences against its videos in an archive, ranked as `search --by video` does.

    evaluate_archive(archive, dataset)        sentences are embedded, videos scored by `index/score.py`
    evaluate_similarity(matrix, positives)    the figures of any scores, with bootstrap intervals
    similarity(index, video_ids, queries)     the scores of (1) alone

Only the benchmark's videos are ranked, all of them and exactly: what FAISS may miss is not measured here (`index` does). Costs
3 ms per video of 150 s and 1000 sentences, beside embedding these.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...extract.errors import Refused
from ...index.open import VectorIndex
from ...index.score import level_scores, video_score
from ...search.archive import Archive
from ...search.curve import cells
from ..bootstrap import LEVEL, interval_of, intervals
from ..records import Dataset
from ..retrieval import RECALLS, Positives, Ranks, as_mask, dual_softmax, ranks, summary, video_to_text_ranks
from ..splits import source_of
from .videos import embed_captions, left_out, match_videos, require

Floats = npt.NDArray[np.float32]

BLOCK = 4_000_000  # scores of one video's segments in one step


def evaluate_archive(
    archive: Archive, dataset: Dataset, *, allow_missing: bool = False, dual: bool = False
) -> dict[str, Any]:
    """Both directions, as `evaluate_similarity` has them, and what was measured on.

    Raises:
        Refused: videos are missing (`videos.require`), or newer than the index. IndexMissing: there is none.
        UsageError: the encoder knows no text, or names are ambiguous.
    """
    features = archive.features()
    found = match_videos(dataset.videos, archive.store, features.slug)
    kept = require(found, dataset, archive.store.root, allow_missing=allow_missing)
    names = kept.videos
    scores, lowered = similarity(
        features.index,
        [found.rows[name].video_id for name in names],
        embed_captions(features, [query.text for query in kept.queries]),
    )
    column = {name: i for i, name in enumerate(names)}
    source = {query.video: source_of(query) for query in kept.queries}
    figures = evaluate_similarity(
        scores - lowered,
        [column[query.video] for query in kept.queries],
        groups=[source[query.video] for query in kept.queries],
        video_groups=[source[name] for name in names],
        dual=dual,
    )
    return {"encoder": features.spec, **figures, **left_out(found, dataset, kept)}


def similarity(index: VectorIndex, video_ids: Sequence[str], queries: Floats) -> tuple[Floats, Floats]:
    """(Q, V) scores of whole videos for queries (Q, D) before hubs are lowered, and (V,) what they are lowered by.

    `search` ranks videos by the difference.

    Raises:
        Refused: a video is not in the index.
    """
    spread = index.null.spread(queries)
    out = np.empty((len(queries), len(video_ids)), np.float32)
    for column, name in enumerate(video_ids):
        video = index.video(name)
        if video is None:
            raise Refused(
                f"video {name} has features but is not in the index, which is older.\n"
                "Bring it up to date with `nightreel index`, then repeat."
            )
        left, right = cells(np.asarray(video.start_s), np.asarray(video.end_s))
        vectors, seconds = video.vectors.astype(np.float32).T, float((right - left).sum())
        step = max(1, BLOCK // vectors.shape[1])
        for low in range(0, len(queries), step):
            some = slice(low, low + step)
            at_levels = level_scores(queries[some] @ vectors, video.at, video.weight)
            out[some, column] = video_score(at_levels, seconds, spread[:, some], index.levels)
    return out, np.array([index.penalty(name) for name in video_ids], np.float32)


def evaluate_similarity(
    scores: npt.ArrayLike,
    positives: Positives = None,
    *,
    groups: Sequence[str] | None = None,
    video_groups: Sequence[str] | None = None,
    dual: bool = False,
) -> dict[str, Any]:
    """The figures of scores (Q, V).

    Args:
        positives: as `retrieval_metrics` takes them.
        groups, video_groups: (Q,), (V,) what is drawn together for intervals; without, the sentences of one video (of the
            first that is right), and each video alone.
        dual: report `dual_softmax` too, under its own name.

    Returns:
        {"queries", "videos", "text_to_video", "video_to_text", "intervals": {"level", "text_to_video": {"R@1": (low, high),
        ...}, "video_to_text"}}, and "dual_softmax": {"text_to_video", "video_to_text"}.

    Raises:
        UsageError: as `retrieval_metrics`.
    """
    table = np.asarray(scores)
    to_video = ranks(table, positives)
    right = as_mask(positives, table.shape)
    to_text, uncaptioned = video_to_text_ranks(table, right)
    captioned = np.flatnonzero(right.any(axis=0))
    together = right.argmax(axis=1) if groups is None else np.asarray(groups)
    of_videos = None if video_groups is None else np.asarray(video_groups)[captioned]
    out: dict[str, Any] = {
        "queries": len(table),
        "videos": table.shape[1],
        "text_to_video": summary(to_video),
        "video_to_text": {**summary(to_text), "left_out": uncaptioned},
        "intervals": {
            "level": LEVEL,
            "text_to_video": _bounds(to_video, together),
            "video_to_text": _bounds(to_text, of_videos),
        },
    }
    if dual:
        back, _ = video_to_text_ranks(dual_softmax(table.T).T, right)
        out["dual_softmax"] = {
            "text_to_video": summary(ranks(dual_softmax(table), right)),
            "video_to_text": summary(back),
        }
    return out


def _bounds(rank: Ranks, groups: npt.ArrayLike | None) -> dict[str, tuple[float, float]]:
    """Intervals of what `summary` gives."""
    columns = {f"R@{top}": 100.0 * (rank <= top) for top in RECALLS}
    means = intervals({**columns, "MnR": rank}, groups, level=LEVEL)
    median = interval_of(lambda rows: float(np.median(rank[rows])), len(rank), groups, level=LEVEL)
    return {**{name: means[name] for name in columns}, "MdR": (median.low, median.high), "MnR": means["MnR"]}
