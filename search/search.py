"""From a query vector to ranked hits: FAISS finds the videos, the stored curve of each video finds the moments.

Frame hits are grouped by video, not merged across gaps by a threshold (that glues everything together through weak
hits); each shortlisted video's whole curve then goes through `find_moments`, the same function as `ground`.

Moments of different videos are ranked by raw inner products: the mean of the `PEAK` best frames inside the moment. A
mean, so that a long video does not win by having more chances; of few frames, so that one good look is enough.

Costs one FAISS query, and per shortlisted video (20 at least) one row group read and its grounding: 25 ms together for
half an hour of D = 384 (60 such videos: top 1 in 0.8 s, top 10 in 1.5 s on two cores).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..extract.segment import ROW_BITS, Segments, segment_ids
from ..extract.store import Store
from ..index.open import VectorIndex
from .ground import find_moments
from .moment import Moment, nms

Vector = npt.NDArray[np.float32]

PEAK = 3
SHORTLIST = 3  # videos looked into per result asked for ...
SHORTLIST_LEAST = 20  # ... and at least
FRAMES_PER_VIDEO = 64  # frame hits fetched per video of the shortlist
MOST_FRAMES = 100_000  # ... and where few videos own them all, no more than this
MOMENTS_PER_VIDEO = 5


@dataclass(frozen=True, slots=True)
class Hit:
    """A moment of one video with its place in a ranking.

    Attributes:
        rank: from 1.    video_id, path: which video.    start_s, end_s: half-open span, seconds.
        score: higher is better. From `search` an inner product of query and footage, comparable within one query; from
            `ground` the moment's excess mass (`find_moments`), comparable within one query and video.
        confidence: 0 to 1, see `NullStats.confidence`; None where no null distribution is known.
    """

    rank: int
    video_id: str
    path: str
    start_s: float
    end_s: float
    score: float
    confidence: float | None


def shortlist(store: Store, slug: str, index: VectorIndex, query: Vector, videos: int) -> list[str]:
    """Ids of the videos with the best frames, best first, at most `videos`; removed videos do not appear.

    One long video may own all of the best frames, so more are fetched until there are enough videos.
    """
    video_of = {int(segment_ids(v, 1)[0]) >> ROW_BITS: v for v in store.video_ids(slug)}
    frames = videos * FRAMES_PER_VIDEO
    while True:
        _, ids = index.search(query, frames)  # best first
        found = dict.fromkeys(video_of[high] for high in (ids >> ROW_BITS).tolist() if high in video_of)
        if len(found) >= min(videos, len(video_of)) or frames >= min(index.size, MOST_FRAMES):
            return list(found)[:videos]
        frames *= 8


def moments_in(segments: Segments, query: Vector, top: int) -> list[tuple[Moment, float]]:
    """The moments of one video that answer a query, best first, each with its raw score (see the module)."""
    features = segments.embedding.astype(np.float32)  # (T, D)
    scores = features @ query  # (T,)
    moments = find_moments(scores, segments.start_s, segments.end_s, features=features, query=query, top=top)
    return [(m, peak_score(scores, segments, m)) for m in moments]


def disjoint(moments: list[tuple[Moment, float]]) -> list[tuple[Moment, float]]:
    """Without those that share footage with a better one: variants of one answer help a metric, not a person."""
    kept = set(nms([moment for moment, _ in moments], 0.0))
    return [(moment, score) for moment, score in moments if moment in kept]


def peak_score(scores: Vector, segments: Segments, moment: Moment) -> float:
    """Mean of the `PEAK` best frame scores whose segments share footage with the moment."""
    inside = (segments.start_s < moment.end_s) & (segments.end_s > moment.start_s)
    return float(np.sort(scores[inside])[-PEAK:].mean())


def search(
    store: Store, slug: str, index: VectorIndex, query: Vector, *, top: int, by: str, only: Iterable[str] | None = None
) -> list[tuple[str, Moment, float]]:
    """(video id, moment, score), best first, at most `top`; `by` is `moment` or `video` (one moment per video).

    Args:
        only: search these video ids and no others.
    """
    chosen = (
        list(only) if only is not None else shortlist(store, slug, index, query, max(SHORTLIST * top, SHORTLIST_LEAST))
    )
    found: list[tuple[str, Moment, float]] = []
    for video_id in chosen:
        segments = store.segments_of(slug, video_id)
        if len(segments):
            moments = disjoint(moments_in(segments, query, max(MOMENTS_PER_VIDEO, 3 * top)))  # overlaps fall away
            if by == "video":  # a video ranks by its best look, which need not be in its likeliest span
                moments = [max(moments, key=lambda found: found[1])]
            found += [(video_id, moment, score) for moment, score in moments]
    return sorted(found, key=lambda hit: (-hit[2], hit[0], hit[1].start_s))[:top]
