"""Find where in one video a sentence happens, from the curve of its scores alone; nothing is trained.

1. Standardise the curve over the video's seconds, so that no threshold belongs to one encoder (`curve.py`).
2. With features and query: feedback (the frames that fit best say what else to look for), then scores are moved
   towards the mean of their shot (`shots.py`).
3. Propose spans: connected components above 32 levels of the smoothed curve, and maximal segments
   (`proposals.py`).
4. Rank by excess mass, `sum((z - c0) * seconds) / seconds ** 0.3`: the mean alone prefers the peak frame, the
   sum alone half the video. `c0` grows with the video's length, since chance finds more in more.
5. The first answer is a maximal segment of the raw curve over a higher bar: the one with the largest sum, or, with
   features, the one with the best seconds. The list follows, thinned.

It does not know sound or words, nor whether the sentence happens in this video at all: some span
always stands out of a curve, and scores compare within one query and one video only. Steps count seconds, so
sampling may be irregular or have gaps. The answer is one contiguous span; an event that happens twice comes
as two moments.

Measured by benchmarks/ground_qvh.py: 752 QVHighlights queries on caption embeddings, 150 s videos.
    mAP / R1@.5 / R1@.7     35.3 / 53.6 / 37.0 from scores alone, 37.1 / 56.3 / 38.8 with features
    cost on one core        1 ms at 75 to 150 segments, 6 ms at 3600, 9 ms at 7200; features add 0.7 ms at 75
                            (D = 384), 2 ms at 150, 23 ms at 3600, 70 ms at 10 800 (D = 512)
Simulated curves (plateaus with drift, noise of 0.15 and 0.30 of the step; fresh seeds), mean IoU of the first
moment from scores: films of 4-6 scenes of 4-10 s 0.90 and 0.83; 8 clips of 2-30 s 0.84 and 0.75. Real clips,
8 to a film, with `conse`: benchmarks/clips_retrieval.py.

Sources: level sets and excess mass, Hartigan 1987 and Mueller & Sawitzki 1991; Ruzzo and Tompa 1999;
feedback, Rocchio 1971. Contrast scores of training-free grounding (TFVTG, Zheng 2024; DSE-VTG) compare inside
with outside the span; here the outside is a constant, so a span's score depends on itself and the video's
length only.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .curve import DIGITS, Curve, Floats, make_curve, smooth
from .moment import Moment, suppress
from .proposals import Pairs, level_sets, maximal_segments
from .shots import shots, steadied


@dataclass(frozen=True)
class Tuning:
    """The numbers of the method, in standard deviations of the curve where no unit is named.

    Chosen on QVHighlights together with simulated films and the same videos joined to 10 and 30 minutes; each
    is the middle of a range in which QVHighlights moves by no more than about two points.
    """

    sigma_s: float = 3.0  # smoothing for proposals; 2-4 s are alike
    levels: int = 32
    length_power: float = 0.7  # .6-.8 are alike
    background: float = 0.15  # c0 at 150 s
    background_per_doubling: float = 0.30  # best c0 of 2.5 min to 60 min is a line in log2 of the length
    bar: float = 0.6  # c1, what the first moment's seconds must exceed, up to 150 s
    bar_per_background: float = 1.6  # how much faster than c0 it grows beyond
    bar_of_peak: float = 0.4  # and at least this part of the peak, else a narrow plateau drags a neighbour in
    feedback: float = 0.3  # weight of the feedback curve; both curves have deviation 1. 0.25-1 are alike
    feedback_best: float = 0.1  # part of the video taken as fitting ...
    # ... and at most: 10 % of an hour is no moment. Worth 2-4 points of mAP at 10 minutes.
    feedback_best_s: float = 15.0
    peak_s: float = 3.0  # the first moment with features: the segment with the best so many seconds; 2-4 are alike
    shot_window_s: float = 3.0  # a cut separates so many seconds on either side; 2-4 are alike
    shot_deviations: float = 0.5  # how far novelty is above its mean there; 0.5-1 are alike
    shot_share: float = 0.5  # how far a score moves towards its shot's mean; .5-.8 are alike
    overlap: float = 0.7  # IoU above which the worse of two moments goes


TUNING = Tuning()
REFERENCE_S = 150.0  # length of the videos on which the numbers above hold


def find_moments(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    *,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    top: int = 10,
) -> list[Moment]:
    """The moments of one video that fit a query best, best first; deterministic.

    Args:
        scores: (T,) how well each segment fits; any scale, higher is better.
        start_s, end_s: (T,) the segments, half-open seconds, in time order; gaps and overlaps are fine.
        features: (T, D) the segments' embeddings and
        query: (D,) the query's, of the same space: given both, scores are sharpened by feedback and steadied within shots.
        top: at most how many moments.

    Returns:
        At most `top` moments that start and end where segments do (overlapping ones: where they meet). None
        for T = 0; one that covers the whole range, with score 0, where all scores are equal (also for T = 1),
        since then nothing stands out.

    Raises:
        ValueError: shapes do not match, a value is not finite, spans are empty or out of order, or `top` < 1.
    """
    if top < 1:
        raise ValueError(f"expected top >= 1, got {top = }")
    if np.size(scores) == np.size(start_s) == np.size(end_s) == 0:
        return []
    curve = make_curve(scores, start_s, end_s, TUNING.sigma_s)
    if features is not None and query is not None and not curve.flat:
        rows = _checked_features(features, query, int(curve.seen.sum()))
        sharpened = steady(curve, fed_back(curve, rows, TUNING), rows, TUNING)
        return rank(make_curve(sharpened, start_s, end_s, TUNING.sigma_s), top, TUNING, trust_peaks=True)
    return rank(curve, top, TUNING)


def rank(curve: Curve, top: int, tuning: Tuning, trust_peaks: bool = False) -> list[Moment]:
    """Steps 3 to 5: at most `top` moments of the curve, best first.

    `trust_peaks`: the first answer is the segment with the best seconds. Right for a curve whose shots were steadied (+4
    points of clips found); on a raw one a single lucky frame would decide (-6 points of R1@.5 on QVHighlights).
    """
    if curve.flat:
        return [Moment(float(curve.edges[0]), float(curve.edges[-1]), 0.0)]
    length_s = float(curve.edges[-1] - curve.edges[0])
    growth = tuning.background_per_doubling * float(np.log2(length_s / REFERENCE_S))
    smoothed = smooth(curve, tuning.sigma_s)
    bar = tuning.bar + tuning.bar_per_background * max(0.0, growth)
    # On a curve that is all noise the bar may pass the peak; half the peak always leaves something above it.
    bar = min(max(bar, tuning.bar_of_peak * float(smoothed.max())), 0.5 * float(curve.z.max()))
    segments = maximal_segments((curve.z - bar) * curve.seconds)
    # An odd offset: levels at simple fractions would meet values exactly, and rounding would decide.
    heights = (np.arange(tuning.levels) + 0.618) / tuning.levels
    hills = level_sets(smoothed, smoothed.min() + heights * np.ptp(smoothed))
    pairs = _trimmed(np.concatenate([segments, hills]), curve.seen)

    spans = curve.edges[pairs]
    excess = _excess(curve, pairs, max(0.0, tuning.background + growth), 1 - tuning.length_power)
    # The first answer takes the best score and a hair more: moments are sorted by score, and the list that
    # follows is better ordered by excess mass. Segments stand first in `pairs`.
    candidates = pairs[: len(segments)]
    first = int(
        np.argmax(_peaks(curve, candidates, tuning.peak_s) if trust_peaks else _excess(curve, candidates, bar, 0.0))
    )
    excess[first] = np.nextafter(excess.max(), np.inf)
    kept = suppress(spans, excess, tuning.overlap, top)
    return [Moment(float(spans[i, 0]), float(spans[i, 1]), float(excess[i])) for i in kept]


def _excess(curve: Curve, pairs: Pairs, background: float, power: float) -> Floats:
    """(P,) the integral of `z - background` over each span, divided by its length to `power`."""
    integral = np.concatenate(([0.0], np.cumsum((curve.z - background) * curve.seconds)))
    length = curve.edges[pairs[:, 1]] - curve.edges[pairs[:, 0]]
    mass: Floats = (integral[pairs[:, 1]] - integral[pairs[:, 0]]) / length**power
    return np.round(mass, DIGITS)  # equal spans are equal whatever the rounding, and the earlier one wins


def _peaks(curve: Curve, pairs: Pairs, peak_s: float) -> Floats:
    """(P,) mean z of the best `peak_s` seconds inside each span (all of a shorter one)."""
    out = np.zeros(len(pairs))
    for i, (first, last) in enumerate(pairs):
        order = first + np.argsort(-curve.z[first:last], kind="stable")
        seconds = curve.seconds[order]
        used = np.clip(peak_s - (np.cumsum(seconds) - seconds), 0.0, seconds)
        out[i] = float(used @ curve.z[order]) / float(used.sum())
    return np.round(out, DIGITS)


def _trimmed(pairs: Pairs, seen: npt.NDArray[np.bool_]) -> Pairs:
    """Spans without the gaps at their ends: a moment starts and ends where there are frames.

    Two gaps are never neighbours, so one step is enough, and a span that is a gap and nothing else becomes
    its left neighbour: it is above a level only because its neighbours are.
    """
    first = pairs[:, 0] + ~seen[pairs[:, 0]]
    last = pairs[:, 1] - ~seen[pairs[:, 1] - 1]
    empty = first >= last
    return np.stack([np.where(empty, last - 1, first), last], axis=1)


def fed_back(curve: Curve, features: npt.NDArray[np.float32], tuning: Tuning) -> Floats:
    """(T,) scores plus `feedback` times how much each segment resembles the best ones and not the worst half.

    Source: Rocchio 1971, pseudo-relevance feedback. The usual form adds the difference of means to the query;
    we add its curve after standardising it, since embeddings of frames lie far closer to each other than to
    any text and the sum of vectors would drown the query.
    """
    z, seconds = curve.z[curve.seen], curve.seconds[curve.seen]
    order = np.argsort(-z, kind="stable")
    before = np.cumsum(seconds[order]) - seconds[order]  # seconds that fit better than this segment
    total = float(seconds.sum())
    best = order[before < min(tuning.feedback_best * total, tuning.feedback_best_s)]
    worst = order[before >= total / 2]
    if not len(worst):
        return z
    # One row of weights instead of two selections: half the features need not be copied.
    weights = np.zeros(len(z), features.dtype)
    weights[best] += seconds[best] / seconds[best].sum()
    weights[worst] -= seconds[worst] / seconds[worst].sum()
    likeness = (features @ (weights @ features)).astype(np.float64)
    likeness = likeness - np.average(likeness, weights=seconds)
    deviation = float(np.sqrt(np.average(likeness**2, weights=seconds)))
    if deviation <= 1e-6 * np.abs(likeness).max(initial=0.0):  # all segments look alike; the rest is rounding
        return z
    fed: Floats = z + tuning.feedback * likeness / deviation
    return fed


def steady(curve: Curve, scores: Floats, features: npt.NDArray[np.float32], tuning: Tuning) -> Floats:
    """(T,) scores moved towards the mean of their shot (`shots.py`)."""
    seconds = curve.seconds[curve.seen]
    window = max(1, round(tuning.shot_window_s / float(np.median(seconds))))
    edges = shots(features, window, tuning.shot_deviations)
    return steadied(scores, seconds, edges, tuning.shot_share)


def _checked_features(features: npt.ArrayLike, query: npt.ArrayLike, count: int) -> npt.NDArray[np.float32]:
    rows, vector = np.asarray(features, np.float32), np.asarray(query, np.float32)
    if rows.ndim != 2 or len(rows) != count or vector.shape != rows.shape[1:]:
        raise ValueError(
            f"features must be (T, D) with {count} rows, one per score, and query (D,); "
            f"got {rows.shape = }, {vector.shape = }"
        )
    if not np.isfinite(rows).all() or not np.isfinite(vector).all():
        raise ValueError("features and query must be finite; leave out segments without an embedding")
    return rows
