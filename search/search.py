"""From a query vector to ranked hits: FAISS finds the videos, the stored curve of each video finds the moments.

Frame hits are grouped by video, not merged across gaps by a threshold (that glues everything together through weak
hits); each shortlisted video's whole curve then goes through `find_moments`, the same function as `ground`.

Moments of different videos are ranked by raw inner products: the mean of the `PEAK` best frames inside the moment. A
mean, so that a long video does not win by having more chances; of few frames, so that one good look is enough.

With `Held`, only some segments have a say: others are neither found, nor scored, nor part of a moment, which ends where the
next one does not follow on. So whatever is asked of segments holds in every second of a hit.

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
from .curve import GAP_S, cells
from .ground import find_moments
from .moment import Moment, nms

Vector = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

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
            `ground` the moment's excess mass (`find_moments`), comparable within one query and video; with `sort` its number.
        confidence: 0 to 1, see `NullStats.confidence`; None where no null distribution is known.
    """

    rank: int
    video_id: str
    path: str
    start_s: float
    end_s: float
    score: float
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Held:
    """Which segments have a say: those of `allowed` (sorted ids; None for all) that are not among `barred`."""

    allowed: Ids | None = None
    barred: Ids | None = None

    def has(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """(S,) which of these segments have a say."""
        out = np.ones(len(ids), bool)
        if self.allowed is not None:
            at = np.searchsorted(self.allowed, ids)
            out &= np.append(self.allowed, -1)[at] == ids
        if self.barred is not None:
            out &= ~np.isin(ids, self.barred)
        return out


ALL = Held()


def shortlist(
    store: Store, slug: str, index: VectorIndex, query: Vector, videos: int, allowed: Ids | None = None
) -> list[str]:
    """Ids of the videos with the best frames (of those `allowed`), best first, at most `videos`; removed ones do not appear.

    One long video may own all of the best frames, so more are fetched until there are enough videos.
    """
    video_of = {int(segment_ids(v, 1)[0]) >> ROW_BITS: v for v in store.video_ids(slug)}
    there = index.size if allowed is None else len(allowed)
    owners = len(video_of) if allowed is None else len(np.unique(allowed >> ROW_BITS))
    frames = videos * FRAMES_PER_VIDEO
    while True:
        _, ids = index.search(query, frames, allowed)  # best first
        found = dict.fromkeys(video_of[high] for high in (ids >> ROW_BITS).tolist() if high in video_of)
        if len(found) >= min(videos, owners) or frames >= min(there, MOST_FRAMES):
            return list(found)[:videos]
        frames *= 8


def moments_in(segments: Segments, query: Vector, top: int, *, cut_at_gaps: bool = False) -> list[tuple[Moment, float]]:
    """The moments of one video that answer a query, best first, each with its raw score (see the module).

    Args:
        cut_at_gaps: where a moment bridges time that no segment covers, its pieces stand for it, each with its own score.
    """
    features = segments.embedding.astype(np.float32)  # (T, D)
    scores = features @ query  # (T,)
    moments = find_moments(scores, segments.start_s, segments.end_s, features=features, query=query, top=top)
    if cut_at_gaps:
        moments = list(dict.fromkeys(piece for moment in moments for piece in pieces(moment, segments)))
    return [(m, peak_score(scores, segments, m)) for m in moments]


def pieces(moment: Moment, segments: Segments) -> list[Moment]:
    """A moment without the time inside it that no segment covers, in time order."""
    covered_s = np.maximum.accumulate(segments.end_s)
    breaks = np.flatnonzero(segments.start_s[1:] > covered_s[:-1] + GAP_S)
    starts = np.maximum(segments.start_s[np.append(0, breaks + 1)], moment.start_s)
    ends = np.minimum(covered_s[np.append(breaks, len(segments) - 1)], moment.end_s)
    return [Moment(float(s), float(e), moment.score) for s, e in zip(starts, ends, strict=True) if e - s > GAP_S]


def disjoint(moments: list[tuple[Moment, float]]) -> list[tuple[Moment, float]]:
    """Without those that share footage with a better one: variants of one answer help a metric, not a person."""
    kept = set(nms([moment for moment, _ in moments], 0.0))
    return [(moment, score) for moment, score in moments if moment in kept]


def peak_score(scores: Vector, segments: Segments, moment: Moment) -> float:
    """Mean of the `PEAK` best scores of the segments in a moment: those whose own share of the time (`cells`) is, so that a
    clip which only laps into it does not count."""
    left, right = cells(segments.start_s, segments.end_s)
    middle = (left + right) / 2
    inside = (middle >= moment.start_s) & (middle < moment.end_s)
    return float(np.sort(scores[inside])[-PEAK:].mean())


def search(
    store: Store,
    slug: str,
    index: VectorIndex,
    query: Vector,
    *,
    top: int,
    by: str,
    only: Iterable[str] | None = None,
    held: Held = ALL,
) -> list[tuple[str, Moment, float]]:
    """(video id, moment, score), best first, at most `top`; `by` is `moment` or `video` (one moment per video).

    Args:
        only: search these video ids and no others.    held: which segments have a say.
    """
    wanted = max(SHORTLIST * top, SHORTLIST_LEAST)
    chosen = list(only) if only is not None else shortlist(store, slug, index, query, wanted, held.allowed)
    found: list[tuple[str, Moment, float]] = []
    for video_id in chosen:
        segments = store.segments_of(slug, video_id)
        if held is not ALL:
            segments = segments[held.has(segments.segment_id)]
        if len(segments):
            most = max(MOMENTS_PER_VIDEO, 3 * top)  # overlaps fall away
            moments = disjoint(moments_in(segments, query, most, cut_at_gaps=held is not ALL))
            if by == "video":  # a video ranks by its best look, which need not be in its likeliest span
                moments = [max(moments, key=lambda found: found[1])]
            found += [(video_id, moment, score) for moment, score in moments]
    return sorted(found, key=lambda hit: (-hit[2], hit[0], hit[1].start_s))[:top]
