"""Sentences that happen one after the other in one stored video: "A, then B, then C".

Every sentence's candidates come from `find_moments`, as for a sentence alone, and `in_order` chooses among them. Where no
candidates are in that order (all that looks like A comes after all that looks like B), pieces of the video stand in, each below
every real candidate: the answer is then the best there is in this order, and its confidence says how good that is.

It does not know that two moments belong together, only which comes first. Costs one `find_moments` per sentence; ordering adds
0.5 ms for two of them and 1 ms for three, and `within_s` 2 ms for each in three hours (benchmarks/ground_then.py).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..extract.videos import VideoRow
from .curve import DIGITS, cells, make_curve
from .features import Features
from .ground import find_moments
from .grounding import Grounding, MomentSequence, ScoreCurve, hits_of, is_no_match, stored
from .moment import Moment
from .sequence import Picked, in_order

Floats = npt.NDArray[np.float64]
Vectors = npt.NDArray[np.float32]

CANDIDATES = 50  # of a sentence; 50 to 200 find the same sequences in tapes of 20 minutes
PIECES = 256  # that stand in, at most


def ground_in_order(
    features: Features, row: VideoRow, queries: Vectors, texts: Sequence[str], top: int, within_s: float | None = None
) -> Grounding:
    """At most `top` sequences of a video, best first, each with one moment per query, in the queries' order.

    Args:
        queries: (M, D) vectors of the sentences.    texts: (M,) the sentences, for what is said of them.
        within_s: how many seconds may lie between two moments, at most.

    Raises:
        UsageError: the video has no features.
    """
    segments = stored(features, row)
    vectors, start_s, end_s = segments.embedding.astype(np.float32), segments.start_s, segments.end_s
    candidates, picked, all_real = find_in_order(vectors, start_s, end_s, queries, top, within_s)
    sequences: list[list[Moment]] = [[candidates[m][i] for m, i in enumerate(one.picks)] for one in picked]
    best, hits = [], []
    for place, query in enumerate(queries):
        # The sentence's own best goes along: it says whether the sentence fails or only the order does.
        moments = dict.fromkeys([candidates[place][0], *(moments[place] for moments in sequences)])
        ranked = sorted(moments, key=lambda moment: -moment.score)
        found = hits_of(features, row, query, ranked, segments, vectors)
        by_moment = dict(zip(ranked, found, strict=True))
        best.append(by_moment[candidates[place][0]].confidence)
        hits.append(by_moment)
    answers = []
    for rank, (one, moments_of) in enumerate(zip(picked, sequences, strict=True), 1):
        chain = [replace(hits[place][moment], rank=place + 1) for place, moment in enumerate(moments_of)]
        answers.append(MomentSequence(rank, one.score, least([hit.confidence for hit in chain]), chain))
    first = answers[0] if answers else None
    no_match = first is None or not all_real or is_no_match(first.confidence)
    notes = _notes(first, texts, best, len(start_s), within_s) if no_match else ()
    curves = tuple(
        ScoreCurve(text, start_s, end_s, vectors @ query) for text, query in zip(texts, queries, strict=True)
    )
    return Grounding(row.video_id, row.path, first.moments if first else [], no_match, answers, notes, curves)


def find_in_order(
    vectors: Vectors, start_s: Floats, end_s: Floats, queries: Vectors, top: int, within_s: float | None = None
) -> tuple[list[list[Moment]], list[Picked], bool]:
    """Each query's candidates, best first; the best sequences of them, whose score is the mean of what `standing` says; and
    whether they came about without pieces that stand in.

    No sequence only where there are fewer segments than queries, or gaps between segments longer than `within_s`.
    """
    curves = [vectors @ query for query in queries]
    candidates = [
        find_moments(scores, start_s, end_s, features=vectors, query=query, top=CANDIDATES)
        for scores, query in zip(curves, queries, strict=True)
    ]
    real = [len(moments) for moments in candidates]
    picked = _picked(candidates, real, curves, start_s, end_s, top, within_s)
    all_real = bool(picked)
    if not all_real:
        for scores, moments in zip(curves, candidates, strict=True):
            moments += stand_ins(scores, start_s, end_s, moments[-1].score, max(PIECES, len(queries)))
        picked = _picked(candidates, real, curves, start_s, end_s, top, within_s)
    return candidates, picked, all_real


def _picked(
    candidates: Sequence[Sequence[Moment]],
    real: Sequence[int],
    curves: Sequence[Vectors],
    start_s: Floats,
    end_s: Floats,
    top: int,
    within_s: float | None,
) -> list[Picked]:
    standings = [
        [replace(moment, score=value) for moment, value in zip(moments, standing(moments, count), strict=True)]
        for moments, count in zip(candidates, real, strict=True)
    ]
    inner = None
    if within_s is not None:
        inner = [cores(m, scores, start_s, end_s) for m, scores in zip(candidates, curves, strict=True)]
    return [
        replace(one, score=round(one.score / len(real), DIGITS)) for one in in_order(standings, top, within_s, inner)
    ]


def cores(moments: Sequence[Moment], scores: npt.ArrayLike, start_s: Floats, end_s: Floats) -> Floats:
    """(N, 2) from the first to the last segment of each moment that stands out at least half as much as its best.

    Candidates may be wide, with an hour of nothing at an end: "within 10 s" is meant of what is seen.
    """
    curve = make_curve(scores, start_s, end_s)
    out = np.empty((len(moments), 2))
    for i, moment in enumerate(moments):
        first = int(np.searchsorted(curve.edges, moment.start_s, "right")) - 1
        z = curve.z[first : int(np.searchsorted(curve.edges, moment.end_s))]
        high = first + np.flatnonzero(z >= min(0.5 * z.max(), z.max()))
        out[i] = curve.edges[high[0]], curve.edges[high[-1] + 1]
    return out


def standing(moments: Sequence[Moment], real: int) -> list[float]:
    """1 for the best of a sentence's moments, 0 for the middle one of the first `real`, which come best first.

    The scores of `find_moments` compare within one sentence only, and may be negative. On this scale, giving way costs every
    sentence alike, whether its moments last two seconds or two minutes.
    """
    best, middle = moments[0].score, moments[real // 2].score
    return [1.0 + (moment.score - best) / (best - middle if best > middle else 1.0) for moment in moments]


def stand_ins(scores: npt.ArrayLike, start_s: Floats, end_s: Floats, below: float, most: int = PIECES) -> list[Moment]:
    """At most `most` equal pieces of a video as moments, in time order, each with a score under `below`: by how much its mean
    is under the best piece's, in standard deviations of the curve, and 1."""
    curve = make_curve(scores, start_s, end_s)
    z = curve.z[curve.seen]
    left, right = cells(start_s, end_s)
    rows = np.array_split(np.arange(len(z)), min(len(z), most))
    means = np.array([z[piece].mean() for piece in rows])
    values = below - 1.0 - (means.max() - means)
    return [
        Moment(float(left[piece[0]]), float(right[piece[-1]]), float(value))
        for piece, value in zip(rows, values, strict=True)
    ]


def least(confidences: Sequence[float | None]) -> float | None:
    """A chain is as certain as its least certain link; None where one is unknown."""
    known = [confidence for confidence in confidences if confidence is not None]
    return min(known) if len(known) == len(confidences) else None


def _notes(
    first: MomentSequence | None,
    texts: Sequence[str],
    best: Sequence[float | None],
    segments: int,
    within_s: float | None,
) -> tuple[str, ...]:
    """Why there is no match, for a person."""
    if first is None:
        limit = "" if within_s is None else f" at most {within_s:g} s apart"
        held = f"{segments} segment{'s' * (segments != 1)}"
        return (f"No match: the video's {held} cannot hold {len(texts)} moments in order{limit}.",)
    weak = [place for place, hit in enumerate(first.moments) if is_no_match(hit.confidence)]
    missing = [place for place in weak if is_no_match(best[place])]
    if missing:
        named = ", ".join(repr(texts[place]) for place in missing)
        return (f"No match: nothing for {named} is better than what other videos of the archive show.",)
    limit = "" if within_s is None else f" within {within_s:g} s"
    return (f"No match in this order{limit}: what fits the sentences does not come one after the other.",)
