"""Near-duplicate footage: spans of two videos that show the same, also encoded anew, scaled, cut or moved in time.

1. Blank segments (`extract/looks.py`: black, white, fades) go: they are like each other everywhere. Archives without the
   column `variance` have no blank segments.
2. Vectors are centred by the mean of the videos' means, lose the `COMMON` directions in which all footage varies most
   (brightness, for one), and are brought to length 1. Features point into a narrow cone (raw cosines of untrained networks
   are all above 0.9), and what all footage shares says nothing about two pieces of it. All-but-the-top, Mu and Viswanath
   2018 (arXiv 1702.01417).
3. Every segment's `NEIGHBOURS` nearest among the videos before its own (FAISS, exact) vote for the time by which the two
   videos are apart.
4. Along the times with most votes both videos are compared segment by segment, each with the one at its time or beside
   it; runs above the threshold are the answer, bridging `BRIDGED` segments that are not.

What it does not find: footage played faster or slower (a run ends when the drift exceeds a segment), mirrored or cropped
hard, and what stands twice in one video. An archive of nothing but copies of one standing picture has no mean to tell
anything by. Three copies of one film are three pairs.

Memory: S * D * 4 bytes and a few times the largest video. Time goes with S squared: at D = 512 two to five seconds of
one core for 10 000 segments, 30 for 50 000 (`benchmarks/duplicates.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..extract.errors import UsageError
from ..extract.looks import VARIANCE, blank
from ..extract.store import Store

Floats = npt.NDArray[np.float32]
Seconds = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

THRESHOLD = 0.75
NEIGHBOURS = 32  # per segment: more than copies of one film, times segments that look the same in a row
BLOCK = 2048  # segments compared at once, whole videos
OFFSETS = 4  # distances in time that are tried per pair of videos
BRIDGED = 1  # segments below the threshold that a run may pass over at once
LEAST_S, LEAST_SEGMENTS = 3.0, 2  # of a run; less where one of the videos is shorter
COMMON, VIDEOS_PER_COMMON = (
    2,
    10,
)  # a direction is dropped only if so many videos stand behind it: few films differ in few


@dataclass(frozen=True)
class Footage:
    """What is not blank of all videos, one video after the other, each in time order.

    Attributes:
        vectors: (S, D) centred, length 1 (or 0: exactly the mean).    start_s, end_s: (S,) spans.
        bounds: (V + 1,) the rows of video v are bounds[v] to bounds[v + 1].    video_ids: V.
        step_s: from one segment to the next.
    """

    vectors: Floats
    start_s: Seconds
    end_s: Seconds
    bounds: Rows
    video_ids: list[str]
    step_s: float

    def rows(self, video: int) -> slice:
        """The rows of a video."""
        return slice(int(self.bounds[video]), int(self.bounds[video + 1]))


class Run(NamedTuple):
    """The same footage in two videos (by number): spans in seconds, mean similarity, how many segments."""

    a: int
    b: int
    a_span: tuple[float, float]
    b_span: tuple[float, float]
    similarity: float
    segments: int

    @property
    def seconds(self) -> float:
        """Length of the span in `a`."""
        return self.a_span[1] - self.a_span[0]


def find_duplicates(store: Store, slug: str, threshold: float = THRESHOLD) -> list[dict[str, Any]]:
    """Pairs of spans of different videos, the longest first, then the most alike; `a` came into the archive first.

    Returns:
        {"a": {"video_id", "path", "start_s", "end_s"}, "b": the same, "similarity": mean cosine, "segments"} of each.

    Raises:
        UsageError: the threshold is not above 0 and at most 1.
    """
    if not 0 < threshold <= 1:
        raise UsageError(
            f"--threshold {threshold:g}: expected a similarity above 0 and up to 1, for example {THRESHOLD:g}."
        )
    footage = read_footage(store, slug)
    path_of = {row.video_id: row.path for row in store.videos()}

    def told(video: int, span: tuple[float, float]) -> dict[str, Any]:
        video_id = footage.video_ids[video]
        return {
            "video_id": video_id,
            "path": path_of[video_id],
            "start_s": round(span[0], 3),
            "end_s": round(span[1], 3),
        }

    return [
        {
            "a": told(run.a, run.a_span),
            "b": told(run.b, run.b_span),
            "similarity": round(run.similarity, 4),
            "segments": run.segments,
        }
        for run in runs_in(footage, threshold)
    ]


def read_footage(store: Store, slug: str) -> Footage:
    """All visible segments of an encoder that are not blank."""
    vectors = np.empty((store.segment_count(slug), int(store.encoders()[slug]["dim"])), np.float32)
    starts, ends, at = [np.zeros(0)], [np.zeros(0)], 0
    ids: list[str] = []
    counts: list[int] = []
    for batch in store.segments(slug):
        seen = batch[~blank(batch.quality[VARIANCE])] if VARIANCE in batch.quality else batch
        vectors[at : at + len(seen)] = seen.embedding
        at += len(seen)
        starts.append(seen.start_s)
        ends.append(seen.end_s)
        edges = np.flatnonzero(seen.video_id[1:] != seen.video_id[:-1]) + 1
        ids += [str(seen.video_id[i]) for i in (0, *edges) if len(seen)]
        counts += np.diff([0, *edges, len(seen)]).tolist() if len(seen) else []
    start_s, bounds = np.concatenate(starts), np.append(0, np.cumsum(counts, dtype=np.int64)).astype(np.int64)
    steps = np.diff(start_s)
    steps = steps[steps > 0]  # to another video it is back to the start
    end_s = np.concatenate(ends)
    lengths = steps if len(steps) else end_s - start_s  # of videos of one segment each
    step_s = float(np.median(lengths)) if len(lengths) else 1.0
    return Footage(centred(vectors[:at], bounds), start_s, end_s, bounds, ids, step_s)


def centred(vectors: Floats, bounds: Rows) -> Floats:
    """(S, D), in place: without the mean and the leading directions of all videos, length 1. Every video counts the same,
    or one long one would be what all are measured by."""
    videos = len(bounds) - 1
    if not len(vectors):
        return vectors
    lengths = np.diff(bounds)
    weight = np.repeat(1 / (videos * lengths), lengths).astype(np.float32)  # (S,) of a segment; all together 1
    vectors -= weight @ vectors
    dropped = min(COMMON, videos // VIDEOS_PER_COMMON)
    if dropped:
        covariance = np.zeros((vectors.shape[1],) * 2)
        for a, b in blocks(bounds):
            covariance += (vectors[a:b] * weight[a:b, None]).T @ vectors[a:b]
        leading = np.linalg.eigh(covariance)[1][:, -dropped:].astype(np.float32)  # (D, dropped)
        for a, b in blocks(bounds):
            vectors[a:b] -= (vectors[a:b] @ leading) @ leading.T
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(norms > 1e-3, norms, np.inf)  # less is rounding of float16
    return vectors


def runs_in(footage: Footage, threshold: float) -> list[Run]:
    """Runs of the same footage, the longest first, then the most alike."""
    found: list[Run] = []
    for a, b, offsets_s in candidates(footage, threshold):
        runs = [run for offset_s in offsets_s for run in aligned(footage, a, b, float(offset_s), threshold)]
        found += disjoint(sorted(runs, key=_order))
    return sorted(found, key=_order)


def _order(run: Run) -> tuple[float, float, int, int, float]:
    return (-round(run.seconds, 3), -run.similarity, run.a, run.b, run.a_span[0])


# --- which videos, how far apart ------------------------------------------------------------------------------


def candidates(footage: Footage, threshold: float) -> Iterator[tuple[int, int, Seconds]]:
    """(a, b, offsets in seconds) of videos a < b that have segments alike: b shows what a shows so much later."""
    video_of = np.repeat(np.arange(len(footage.video_ids)), np.diff(footage.bounds))
    for low, high in blocks(footage.bounds):
        late, early = _pairs(footage.vectors, video_of, low, high, threshold)
        steps = np.rint((footage.start_s[late] - footage.start_s[early]) / footage.step_s).astype(np.int64)
        votes, counts = np.unique(
            np.stack([video_of[early], video_of[late], steps], axis=1), axis=0, return_counts=True
        )
        edges = np.flatnonzero(np.any(votes[1:, :2] != votes[:-1, :2], axis=1)) + 1
        for rows in np.split(np.arange(len(votes)), edges):
            if len(rows):
                best = rows[np.argsort(-counts[rows], kind="stable")][:OFFSETS]
                yield int(votes[rows[0], 0]), int(votes[rows[0], 1]), votes[best, 2] * footage.step_s


def blocks(bounds: Rows) -> Iterator[tuple[int, int]]:
    """Rows [low, high) of whole videos, up to `BLOCK` of them unless one video has more."""
    low = 0
    for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        if end - low > BLOCK and begin > low:
            yield low, begin
            low = begin
    if len(bounds) and bounds[-1] > low:
        yield low, int(bounds[-1])


def _pairs(vectors: Floats, video_of: Rows, low: int, high: int, threshold: float) -> tuple[Rows, Rows]:
    """(P,) rows of the block and (P,) rows of earlier videos that are like them."""
    import faiss

    late, early = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    if low:
        k = min(NEIGHBOURS, low)
        scores, rows = faiss.knn(vectors[low:high], vectors[:low], k, metric=faiss.METRIC_INNER_PRODUCT)
        query, place = np.nonzero(scores >= threshold)
        late.append(query + low)
        early.append(rows[query, place].astype(np.int64))
    if video_of[low] != video_of[high - 1]:  # the videos of one block among themselves: at most BLOCK squared
        query, other = np.nonzero(vectors[low:high] @ vectors[low:high].T >= threshold)
        earlier = video_of[low + other] < video_of[low + query]
        late.append(query[earlier] + low)
        early.append(other[earlier] + low)
    return np.concatenate(late), np.concatenate(early)


# --- along one offset -----------------------------------------------------------------------------------------


def aligned(footage: Footage, a: int, b: int, offset_s: float, threshold: float) -> list[Run]:
    """Runs of two videos of which b shows what a shows `offset_s` later, up to one segment more or less."""
    rows_a, rows_b = footage.rows(a), footage.rows(b)
    similarity, partner = _along(footage, rows_a, rows_b, offset_s)
    start_a, end_a = footage.start_s[rows_a], footage.end_s[rows_a]
    start_b, end_b = footage.start_s[rows_b], footage.end_s[rows_b]
    least_s = min(LEAST_S, end_a[-1] - start_a[0], end_b[-1] - start_b[0]) - 1e-3
    least = min(LEAST_SEGMENTS, len(start_a), len(start_b))
    out = []
    for first, last, good in _bridged(similarity >= threshold):
        of_b = partner[first:last][good]
        span_a = (float(start_a[first]), float(end_a[first:last].max()))
        span_b = (float(start_b[of_b].min()), float(end_b[of_b].max()))
        seconds = min(span_a[1] - span_a[0], span_b[1] - span_b[0], good.sum() * footage.step_s)
        if seconds >= least_s and good.sum() >= max(least, (last - first) / 2):
            mean = float(similarity[first:last][good].mean())
            out.append(Run(a, b, span_a, span_b, mean, int(good.sum())))
    return out


def _along(footage: Footage, rows_a: slice, rows_b: slice, offset_s: float) -> tuple[Floats, Rows]:
    """(Ta,), (Ta,) per segment of a: how like it is the likest of b at its time or one step beside it, and which that is;
    -inf where b has none."""
    wanted_s, start_b = footage.start_s[rows_a] + offset_s, footage.start_s[rows_b]
    vectors_a, vectors_b = footage.vectors[rows_a], footage.vectors[rows_b]
    best, partner = np.full(len(wanted_s), -np.inf, np.float32), np.zeros(len(wanted_s), np.int64)
    at = np.searchsorted(start_b, wanted_s)
    for beside in (-2, -1, 0, 1):
        row = np.clip(at + beside, 0, len(start_b) - 1)
        near = np.abs(start_b[row] - wanted_s) <= 1.01 * footage.step_s
        likeness = np.where(near, np.einsum("td,td->t", vectors_a, vectors_b[row]), -np.inf)
        better = likeness > best
        best, partner = np.where(better, likeness, best), np.where(better, row, partner)
    return best, partner


def _bridged(good: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int, npt.NDArray[np.bool_]]]:
    """(first, last, which of them are good) of runs of good ones with at most `BRIDGED` others between two of them."""
    at = np.flatnonzero(good)
    if len(at):
        for run in np.split(at, np.flatnonzero(np.diff(at) > BRIDGED + 1) + 1):
            yield int(run[0]), int(run[-1]) + 1, good[run[0] : run[-1] + 1]


def disjoint(runs: list[Run]) -> list[Run]:
    """Without those that overlap a better one in both videos: the same find, a little moved."""
    kept: list[Run] = []
    for run in runs:
        if not any(_meet(run.a_span, other.a_span) and _meet(run.b_span, other.b_span) for other in kept):
            kept.append(run)
    return kept


def _meet(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]
