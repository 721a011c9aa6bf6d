"""From a query vector to ranked hits: FAISS finds the videos, the stored curve of each video finds the moments.

Hits of all granularities only say which videos to look into. Each is then scored by its own vectors (`index/score.py`), and
its whole curve goes through `find_moments`, the same function as `ground`; frames are never merged across gaps by a threshold
(that glues everything together through weak hits).

Videos are ranked by the score of the whole, moments by the mean of the `PEAK` best inner products inside them: a mean, so that
one lucky frame is not enough. Both are lowered for hubs, which are near to everything.

With `Held`, only some segments have a say: others are neither found, nor scored, nor part of a moment, which ends where the
next one does not follow on. So whatever is asked of segments holds in every second of a hit.

No moment scores higher than its best segment. So it is known when a video that was not looked into could have a better one,
and more are looked into then: of 60 sentences on QVHighlights nine had other hits on their first page when a second was asked
for, now none has.

Costs one FAISS query per granularity, half a millisecond per shortlisted video (20 at least; 3 ms with `Held`) to read and
score it, and the grounding of those that can be among the answers: 100 ms for ten moments on QVHighlights.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..extract.segment import ROW_BITS
from ..extract.store import Store
from ..index.levels import pooled, windows
from ..index.open import VectorIndex
from ..index.score import level_scores, video_score
from .curve import GAP_S, cells, middles
from .diverse import diverse
from .ground import find_moments
from .moment import Moment, nms
from .query import unit

Vector = npt.NDArray[np.float32]
Seconds = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

PEAK = 3
SHORTLIST = 3  # videos looked into per result asked for ...
SHORTLIST_LEAST = 20  # ... and at least
MOMENTS_PER_VIDEO = 5  # among which a video's best is chosen
POOL = 50  # hits among which diversity chooses, the same for all pages of them


@dataclass(frozen=True, slots=True)
class Hit:
    """A moment of one video with its place in a ranking.

    Attributes:
        rank: from 1.    video_id, path: which video.    start_s, end_s: half-open span, seconds.
        score: higher is better. From `search` an inner product of query and footage, comparable within one query; from
            `ground` the moment's excess mass (`find_moments`), comparable within one query and video; with `sort` its number.
        confidence: 0 to 1; from `search` the video's, see `index/null.py`; from `ground` see `trust.py`. None where nothing is
        known.
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


def moments_in(
    vectors: Vector, start_s: Seconds, end_s: Seconds, query: Vector, top: int, *, cut_at_gaps: bool = False
) -> list[tuple[Moment, float]]:
    """The moments of one video that answer a query, best first, each with its raw score (see the module).

    Args:
        vectors: (T, D) float32 of its segments.    start_s, end_s: (T,) their spans.
        cut_at_gaps: where a moment bridges time that no segment covers, its pieces stand for it, each with its own score.
    """
    scores = vectors @ query  # (T,)
    moments = find_moments(scores, start_s, end_s, features=vectors, query=query, top=top)
    if cut_at_gaps:
        moments = list(dict.fromkeys(piece for moment in moments for piece in pieces(moment, start_s, end_s)))
    middle_s = middles(start_s, end_s)
    return [(m, peak_score(scores, middle_s, m)) for m in moments]


def pieces(moment: Moment, start_s: Seconds, end_s: Seconds) -> list[Moment]:
    """A moment without the time inside it that no segment covers, in time order."""
    covered_s = np.maximum.accumulate(end_s)
    breaks = np.flatnonzero(start_s[1:] > covered_s[:-1] + GAP_S)
    starts = np.maximum(start_s[np.append(0, breaks + 1)], moment.start_s)
    ends = np.minimum(covered_s[np.append(breaks, len(start_s) - 1)], moment.end_s)
    return [Moment(float(s), float(e), moment.score) for s, e in zip(starts, ends, strict=True) if e - s > GAP_S]


def disjoint(moments: list[tuple[Moment, float]]) -> list[tuple[Moment, float]]:
    """Without those that share footage with a better one: variants of one answer help a metric, not a person."""
    kept = set(nms([moment for moment, _ in moments], 0.0))
    return [(moment, score) for moment, score in moments if moment in kept]


def peak_score(scores: Vector, middle_s: Seconds, moment: Moment) -> float:
    """Mean of the `PEAK` best scores of the segments in a moment: those whose middle (`middles`) is."""
    inside = (middle_s >= moment.start_s) & (middle_s < moment.end_s)
    return float(np.sort(scores[inside])[-PEAK:].mean())


@dataclass(frozen=True)
class Look:
    """One candidate video, looked into.

    Attributes:
        video_id; vectors (T, D) float32, start_s, end_s (T,) and scores (T,) of its segments that have a say.
        score: the video's as a whole (`index/score.py`), hubs lowered.    penalty: by how much.
        bound: no moment of it scores higher.
    """

    video_id: str
    vectors: Vector
    start_s: Seconds
    end_s: Seconds
    scores: Vector
    score: float
    penalty: float
    bound: float


@dataclass(frozen=True)
class Found:
    """A moment of a video with its score, its video's confidence, and what it looks like: (D,) float32, unit norm."""

    video_id: str
    moment: Moment
    score: float
    confidence: float
    vector: Vector


def look(
    store: Store, index: VectorIndex, video_id: str, query: Vector, spread: Vector, held: Held = ALL
) -> Look | None:
    """A video's segments and scores; None if none of them has a say. `spread` (L, 1): of the query, see `Null.spread`."""
    video = index.video(video_id)
    if video is None or held is not ALL:  # newer than the index; or windows are made of what has a say
        segments = store.segments_of(index.header["encoder"], video_id)
        segments = segments[held.has(segments.segment_id)]
        if not len(segments):
            return None
        vectors, start_s, end_s = segments.embedding.astype(np.float32), segments.start_s, segments.end_s
        vectors[~np.isfinite(vectors).all(axis=1)] = 0.0  # as the index has it: never found
        edges = [windows(start_s, end_s, level) for level in index.levels]
        weight = segments.weight()
        at = [(first, after, pooled(vectors, first, after, weight)[1]) for first, after in edges]
    else:
        vectors, at, weight = video.vectors.astype(np.float32), video.at, video.weight
        start_s, end_s = np.asarray(video.start_s), np.asarray(video.end_s)  # mapped files are slow in small steps
    scores = vectors @ query
    left, right = cells(start_s, end_s)
    penalty = index.penalty(video_id)
    whole = video_score(level_scores(scores[None], at, weight), float((right - left).sum()), spread, index.levels)
    bound = float(scores.max()) - penalty
    return Look(video_id, vectors, start_s, end_s, scores, float(whole[0]) - penalty, penalty, bound)


def search(
    store: Store,
    index: VectorIndex,
    query: Vector,
    *,
    top: int,
    by: str,
    only: Sequence[str] | None = None,
    held: Held = ALL,
    diversity: float = 0.0,
) -> list[Found]:
    """The best moments, best first, at most `top`; `by` is `moment` or `video` (one moment per video).

    Args:
        only: search these video ids and no others.    held: which segments have a say.
        diversity: 0 to 1, how much hits that look like better ones fall back (`diverse.py`).
    """
    pool = top if diversity == 0 else -(-top // POOL) * POOL
    least = max(SHORTLIST * pool, SHORTLIST_LEAST)
    spread = index.null.spread(query[None])
    seen: dict[str, Look | None] = {}
    found: list[Found] = []
    for wanted in (least, 2 * least, 4 * least):  # mostly the first; no further, or many copies would never end
        chosen = only if only is not None else index.videos(query, wanted, held.allowed)
        seen |= {name: look(store, index, name, query, spread, held) for name in chosen if name not in seen}
        looks = [one for one in seen.values() if one is not None]
        among = len(looks) if only is not None else _videos_with_a_say(index, held)
        scores = np.array([one.score for one in looks], np.float32)
        confidence = index.null.confidence(query, scores, among)
        pairs = list(zip(looks, confidence.tolist(), strict=True))
        found = _best_videos(pairs, query, pool, held) if by == "video" else _best_moments(pairs, query, pool, held)
        if only is not None or by == "video" or _none_missed(looks, found, pool, wanted):
            break
    if diversity > 0:  # each `POOL` hits by themselves, so that a page is the same however many there are
        found = [hit for low in range(0, len(found), POOL) for hit in _spread_out(found[low : low + POOL], diversity)]
    return found[:top]


def _spread_out(found: list[Found], diversity: float) -> list[Found]:
    rows = diverse([f.score for f in found], np.stack([f.vector for f in found]), len(found), diversity)
    return [found[int(row)] for row in rows]


def _best_videos(looks: list[tuple[Look, float]], query: Vector, top: int, held: Held) -> list[Found]:
    """Videos by the score of the whole, each with its best moment: the one with the best look, which need not be its
    likeliest."""
    ranked = sorted(looks, key=lambda pair: (-pair[0].score, pair[0].video_id))[:top]
    out = []
    for one, confidence in ranked:
        moments = _moments(one, query, MOMENTS_PER_VIDEO, held)
        moment, _ = max(moments, key=lambda found: found[1])
        out.append(Found(one.video_id, moment, one.score, confidence, _likeness(one, moment)))
    return out


def _best_moments(looks: list[tuple[Look, float]], query: Vector, top: int, held: Held) -> list[Found]:
    """Moments by their own score. Videos are looked into in the order of what they can reach at most, and no further than
    needed."""
    out: list[Found] = []
    for one, confidence in sorted(looks, key=lambda pair: (-pair[0].bound, pair[0].video_id)):
        if len(out) == top and out[-1].score >= one.bound:
            break
        for moment, score in _moments(one, query, _candidates(top), held):  # overlaps fall away
            out.append(Found(one.video_id, moment, score - one.penalty, confidence, _likeness(one, moment)))
        out = sorted(out, key=lambda hit: (-hit.score, hit.video_id, hit.moment.start_s))[:top]
    return out


def _candidates(top: int) -> int:
    """How many moments of a video may be answers: alike for all pages of `POOL` hits, or they would not fit, since places of a
    long video that are looked at follow from it."""
    return 3 * POOL * -(-top // POOL)


def _none_missed(looks: list[Look], found: list[Found], top: int, wanted: int) -> bool:
    """Whether no video that was not looked into has a better moment than those found: but for hubs, at least `wanted` of the
    looks are the videos with the best segments, and no moment scores higher than its best segment."""
    bounds = sorted((one.bound for one in looks if one.penalty == 0), reverse=True)
    if len(bounds) < wanted:  # there are no more
        return True
    return len(found) == top and found[-1].score >= bounds[wanted - 1]


def _moments(one: Look, query: Vector, most: int, held: Held) -> list[tuple[Moment, float]]:
    return disjoint(moments_in(one.vectors, one.start_s, one.end_s, query, most, cut_at_gaps=held is not ALL))


def _likeness(one: Look, moment: Moment) -> Vector:
    """(D,) the mean of a moment's segments, unit norm."""
    inside = (one.end_s > moment.start_s) & (one.start_s < moment.end_s)
    return unit(one.vectors[inside].mean(0))


def _videos_with_a_say(index: VectorIndex, held: Held) -> int:
    if held.allowed is None:
        return sum(int(part.alive.sum()) for part in index.parts)
    return len(np.unique(held.allowed >> ROW_BITS))
