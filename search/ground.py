"""Find where in one video a sentence happens, from the curve of its scores; nothing is trained.

1. Standardise the curve over the video's seconds, so that no threshold belongs to one encoder (`curve.py`).
2. In a long video choose windows of a few minutes around what stands out; a short one is one window (`windows.py`).
3. With features and query: what looks like the best frames rises, and scores keep steady within a shot (`sharpen.py`).
4. Propose spans: connected components above 32 levels of the smoothed curve, and maximal segments (`proposals.py`).
5. Rank by excess mass, `sum((z - c0) * seconds) / seconds ** 0.3`: the mean alone prefers the peak frame, the sum alone half
   the video. `c0` grows with the video's length, since chance finds more in more.
6. The first answer is the maximal segment over a higher bar whose best 10 seconds have most above it: the single best frame is
   often luck, and the sum of all prefers what is long. The list follows, thinned.

It does not know sound or words, nor whether the sentence happens in this video at all: some span always stands out of a curve,
and scores compare within one query and one video only (`trust.py` knows more). Steps count seconds (cuts: segments of the
median length), so sampling may be irregular or have gaps. The answer is one contiguous span; an event that happens twice comes
as two moments.

Measured by benchmarks/ground_qvh.py (752 QVHighlights queries on caption embeddings), mAP / R1@.5 / R1@.7:
    150 s     35.1 / 52.7 / 36.2 from scores alone, 37.6 / 58.0 / 40.4 with features; tuned on one half of the uploads and
              tested on the other 37.5 / 57.5 / 39.8
    tapes     15, 30, 60 minutes, with features: 35.1 / 52.4 / 36.6, 33.0 / 49.5 / 33.4, 30.6 / 44.8 / 31.1
    cost      with features, D = 512, one core, the inner products included: 1.0 ms at 75 and 150 segments, 6.5 ms at 3600,
              11 ms at 10 800; from scores alone 0.6, 0.6, 3.7, 8.1 ms

Sources: level sets and excess mass, Hartigan 1987 and Mueller & Sawitzki 1991; Ruzzo and Tompa 1999; feedback, Rocchio 1971.
Contrast scores of training-free grounding (TFVTG, Zheng 2024; DSE-VTG) compare inside with outside the span; here the outside
is a constant, so a span's score depends on itself and the video's length only.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .curve import DIGITS, Curve, Floats, filled, make_curve, smooth
from .moment import Moment, suppress
from .proposals import Pairs, level_sets, maximal_segments
from .sharpen import Sharpening, sharpened
from .windows import Window, part, windows


@dataclass(frozen=True)
class Tuning:
    """The numbers of the method, in standard deviations of the curve where no unit is named.

    Each is in the middle of a range in which no kind of curve that was tried moves by more than about two points: QVHighlights
    alone and joined to 5 to 60 minutes, its features projected, whitened and sampled anew, real clips, simulated films.
    """

    sigma_s: float = 3.0  # smoothing for proposals; 2-4 s are alike
    levels: int = 32
    length_power: float = 0.7  # .6-.8 are alike
    background: float = 0.15  # c0 at 150 s
    background_per_doubling: float = 0.35  # of the length; .3-.4 are alike
    bar: float = 0.6  # c1, what the first moment's seconds must exceed, up to 150 s
    bar_per_background: float = 1.6  # how much faster than c0 it grows beyond
    bar_of_peak: float = 0.4  # and at least this part of the peak, else a narrow plateau drags a neighbour in
    best_s: float = 10.0  # the first moment: the segment with the most in so many seconds; 10-15 are alike
    windows: int = 8  # places of a long video that are looked at, at least
    margin_s: float = 75.0  # around each; 75-120 are alike
    overlap: float = 0.7  # IoU above which the worse of two moments goes
    sharpening: Sharpening = Sharpening()


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
        top: at most how many moments. Above 35, more places of a long video are looked at, so the list may differ.

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
    if features is None or query is None:
        return rank(curve, None, top, TUNING)
    return rank(curve, _checked(features, query, int(curve.seen.sum())), top, TUNING)


def rank(curve: Curve, features: npt.NDArray[Any] | None, top: int, tuning: Tuning) -> list[Moment]:
    """At most `top` moments of the curve, best first; `features` (T, D) of its seen cells sharpen it."""
    if curve.flat:
        return [Moment(float(curve.edges[0]), float(curve.edges[-1]), 0.0)]
    length_s = float(curve.edges[-1] - curve.edges[0])
    growth = tuning.background_per_doubling * float(np.log2(length_s / REFERENCE_S))
    least = tuning.bar + tuning.bar_per_background * max(0.0, growth)
    smoothed = smooth(curve, tuning.sigma_s)
    bar = _bar(least, curve.z, smoothed, tuning)
    places = windows(curve, smoothed, bar, max(tuning.windows, top // 4), tuning.margin_s)
    if features is not None:
        curve = _sharpened(curve, places, features, tuning)
    parts = [smooth(part(curve, place), tuning.sigma_s) for place in places]
    inside = np.concatenate([curve.z[first:last] for first, last in places])
    bar = _bar(least, inside, np.concatenate(parts), tuning)
    segments, hills = [], []
    # An odd offset: levels at simple fractions would meet values exactly, and rounding would decide.
    heights = (np.arange(tuning.levels) + 0.618) / tuning.levels
    for (first, last), values in zip(places, parts, strict=True):
        segments.append(maximal_segments((curve.z[first:last] - bar) * curve.seconds[first:last]) + first)
        hills.append(level_sets(values, values.min() + heights * np.ptp(values)) + first)
    pairs = _trimmed(np.concatenate(segments + hills), curve.seen)

    spans = curve.edges[pairs]
    excess = _excess(curve, pairs, max(0.0, tuning.background + growth), 1 - tuning.length_power)
    # The first answer takes the best score and a hair more: moments are sorted by score, and the list that
    # follows is better ordered by excess mass. Segments stand first in `pairs`.
    candidates = pairs[: sum(map(len, segments))]
    best, whole = _best_seconds(curve, candidates, bar, tuning.best_s), _excess(curve, candidates, bar, 0.0)
    # Of equal ones the one with more in all, then the earlier.
    first_answer = np.lexsort((-np.arange(len(best)), whole, best))[-1]
    excess[first_answer] = np.nextafter(excess.max(), np.inf)
    kept = suppress(spans, excess, tuning.overlap, top)
    return [Moment(float(spans[i, 0]), float(spans[i, 1]), float(excess[i])) for i in kept]


def _bar(least: float, z: Floats, smoothed: Floats, tuning: Tuning) -> float:
    # On a curve that is all noise the bar may pass the peak; half the peak always leaves something above it.
    return min(max(least, tuning.bar_of_peak * float(smoothed.max())), 0.5 * float(z.max()))


def _sharpened(curve: Curve, places: list[Window], features: npt.NDArray[Any], tuning: Tuning) -> Curve:
    """The curve with each place sharpened by the features of its cells."""
    rows = np.concatenate(([0], np.cumsum(curve.seen)))  # of the first cell's features
    z = curve.z.copy()
    for first, last in places:
        inside = np.asarray(features[rows[first] : rows[last]], np.float32)
        if not np.isfinite(inside).all():
            raise ValueError("features must be finite; leave out segments without an embedding")
        z[first:last] = np.round(sharpened(part(curve, (first, last)), inside, tuning.sharpening), DIGITS)
    return filled(Curve(curve.edges, z, curve.seen), tuning.sigma_s)


def _excess(curve: Curve, pairs: Pairs, background: float, power: float) -> Floats:
    """(P,) the integral of `z - background` over each span, divided by its length to `power`."""
    integral = np.concatenate(([0.0], np.cumsum((curve.z - background) * curve.seconds)))
    length = curve.edges[pairs[:, 1]] - curve.edges[pairs[:, 0]]
    mass: Floats = (integral[pairs[:, 1]] - integral[pairs[:, 0]]) / length**power
    return np.round(mass, DIGITS)  # equal spans are equal whatever the rounding, and the earlier one wins


def _best_seconds(curve: Curve, pairs: Pairs, bar: float, best_s: float) -> Floats:
    """(P,) the integral of `z - bar` over the best `best_s` seconds inside each span."""
    out = np.zeros(len(pairs))
    for i, (first, last) in enumerate(pairs):
        order = first + np.argsort(-curve.z[first:last], kind="stable")
        seconds = curve.seconds[order]
        used = np.clip(best_s - (np.cumsum(seconds) - seconds), 0.0, seconds)
        out[i] = float(used @ (curve.z[order] - bar))
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


def _checked(features: npt.ArrayLike, query: npt.ArrayLike, count: int) -> npt.NDArray[Any]:
    """Features as they are, of any float type: an hour of them is not converted for the minutes that are looked at."""
    rows, vector = np.asarray(features), np.asarray(query)
    if rows.ndim != 2 or len(rows) != count or vector.shape != rows.shape[1:]:
        raise ValueError(
            f"features must be (T, D) with {count} rows, one per score, and query (D,); "
            f"got {rows.shape = }, {vector.shape = }"
        )
    if not np.isfinite(vector).all():
        raise ValueError("query must be finite")
    return rows
