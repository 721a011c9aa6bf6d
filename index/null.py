"""What a query finds by chance: the distribution of scores of footage that has nothing to do with it, measured on this archive.

    spread(q)          how much scores of q vary within a video; the unit in which long videos are lowered
    standard(q, s)     a video's score s in standard deviations above what videos of this archive score for q on average
    confidence         the share of probe queries whose best video of as many stands out less

Mean and deviation of a query come from a sample of videos held in memory: their windows of the coarsest level give both to a
linear function that was fitted on the probe queries (`probes.py`). On QVHighlights this tells a query's own video from a random
one with AUROC 0.97 (raw scores: 0.934; a z-score over all 735 videos: 0.969).

Confidence is against probes, some of which do find what they name. So it errs towards doubt: of sentences whose video was
taken out of QVHighlights the middle one has 0.24, not 0.5. Whether *anything* in an archive answers it cannot tell: between a
query's best video when its own is there and when it was removed the AUROC is 0.57, since in two of three queries another
video is the best.

Costs D * D * 4 bytes, and 256 * WINDOWS * D * 4 (16 MB at D = 512); 1 ms per query.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from .levels import VIDEO, Floats, Level, at_level
from .reading import Footage
from .score import video_score
from .stats import Accumulator, NullStats

WINDOWS = 32  # of each video, kept
LEAST = 24  # videos; below, mean and deviation of a query are those of single segments
QUANTILES = 512
SELF = 0.999  # inner product of a probe of footage with itself
_ARRAYS = ("windows", "bounds", "within", "mean_of", "deviation_of", "pairs", "tops")


@dataclass(frozen=True)
class Null:
    """Attributes:

    segments: mean and covariance of single segments.
    windows: (N, D) float32 of the sample, `bounds` (V + 1,) whose they are.
    within: (L,) deviation within a video at each level, as a share of `segments`' spread.
    mean_of, deviation_of: (5,) coefficients of `_facts`.
    pairs: (QUANTILES,) standard scores of probes with single videos, ascending.
    tops: (P,) of each probe's best video, ascending; tops_of: how many videos these were the best of.
    """

    segments: NullStats
    windows: Floats
    bounds: npt.NDArray[np.int64]
    within: Floats
    mean_of: Floats
    deviation_of: Floats
    pairs: Floats
    tops: Floats
    tops_of: int

    @property
    def measured(self) -> bool:
        """Whether there were videos and probes enough; else scores are taken for normal."""
        return len(self.bounds) > LEAST and len(self.tops) >= LEAST

    def spread(self, queries: Floats) -> Floats:
        """(L, Q) deviation of scores within a video at each level."""
        return np.asarray(self.within[:, None] * np.sqrt(self.segments.variance(queries)), np.float32)

    def moments(self, queries: Floats) -> tuple[Floats, Floats]:
        """(Q,), (Q,) mean and deviation of video scores over the archive."""
        if not self.measured:
            return queries @ self.segments.mean, np.sqrt(self.segments.variance(queries))
        return _lines(_facts(queries @ self.windows.T, self.bounds), self.mean_of, self.deviation_of)

    def standard(self, query: Floats, scores: Floats) -> Floats:
        """(N,) scores of videos for one query (D,) in deviations above the mean."""
        mean, deviation = self.moments(query[None])
        return np.asarray((scores - mean[0]) / deviation[0], np.float32)

    def confidence(self, query: Floats, scores: Floats, videos: int) -> Floats:
        """(N,) 0 to 1 for the scores of videos that are the best of `videos`."""
        z = self.standard(query, np.asarray(scores, np.float32)).astype(np.float64)
        if not self.measured:
            one = np.array([NormalDist().cdf(float(value)) for value in z])
            return np.asarray(one ** max(1, videos), np.float32)
        # Both are known, of single videos and of the best of `tops_of`; in between, straight in the logarithm of the number.
        # Beyond, as of independent videos: carried on straight, confidence would fall where the two lines come closer.
        single, best = np.log(-np.log(_share(self.pairs, z))), np.log(-np.log(_share(self.tops, z)))
        known, wanted = np.log(max(2, self.tops_of)), np.log(max(1, videos))
        logs = single + min(1.0, wanted / known) * np.maximum(best - single, 0.0) + max(0.0, wanted - known)
        return np.asarray(np.exp(-np.exp(logs)), np.float32)


def measure_null(sample: Sequence[Footage], probes: Floats, levels: Sequence[Level], videos: int) -> Null:
    """From stretches of some videos of an archive that has `videos`."""
    segments = Accumulator(probes.shape[1])
    for footage in sample:
        segments.add(footage.vectors[~footage.bad])
    stats = segments.stats(videos)
    spread = np.sqrt(stats.variance(probes))
    coarsest = [level for level in levels if level is not VIDEO][-1]
    rng = np.random.default_rng(0)
    kept, best, within = [], [], []
    for footage in sample:
        at = [at_level(footage.vectors, footage.start_s, footage.end_s, level, footage.weight) for level in levels]
        rows = at[levels.index(coarsest)]
        kept.append(rows[np.sort(rng.permutation(len(rows))[:WINDOWS])])
        inner = [probes @ rows.T for rows in at]
        best.append(np.stack([scores.max(1) for scores in inner]))
        within.append(
            [scores.std(1) / spread if scores.shape[1] > 1 else np.full(len(probes), np.nan) for scores in inner]
        )
    shares = _within(np.array(within), len(levels))
    bounds = np.concatenate([np.zeros(1, np.int64), np.cumsum([len(rows) for rows in kept], dtype=np.int64)])
    flat = np.concatenate([np.zeros((0, probes.shape[1])), *kept]).astype(np.float32)
    if len(sample) < LEAST or len(probes) < LEAST:
        none = np.zeros(0, np.float32)
        return Null(stats, flat, bounds, shares, np.zeros(5, np.float32), np.zeros(5, np.float32), none, none, 0)
    scores = [video_score(b, f.seconds, shares[:, None] * spread, levels) for b, f in zip(best, sample, strict=True)]
    itself = np.stack([b[0] for b in best], axis=1) > SELF
    return _fitted(stats, flat, bounds, shares, probes, np.stack(scores, axis=1), itself)


def _fitted(
    stats: NullStats,
    flat: Floats,
    bounds: npt.NDArray[np.int64],
    shares: Floats,
    probes: Floats,
    scores: Floats,
    itself: npt.NDArray[np.bool_],
) -> Null:
    """With the lines from the sample's windows to `scores` (P, V), and what is left of those.

    Args:
        itself: (P, V) where a probe of footage meets the video that it was taken from, which is no chance.
    """
    facts = _facts(probes @ flat.T, bounds)
    mean_of = np.linalg.lstsq(facts, scores.mean(1), rcond=None)[0].astype(np.float32)
    deviation_of = np.linalg.lstsq(facts, scores.std(1), rcond=None)[0].astype(np.float32)
    mean, deviation = _lines(facts, mean_of, deviation_of)
    z = (scores - mean[:, None]) / deviation[:, None]
    z[itself] = -np.inf
    pairs = np.quantile(z[~itself], (np.arange(QUANTILES) + 0.5) / QUANTILES).astype(np.float32)
    tops = np.sort(z.max(1)).astype(np.float32)
    return Null(stats, flat, bounds, shares, mean_of, deviation_of, pairs, tops, scores.shape[1])


def write_null(path: Path, null: Null) -> None:
    """As an .npz of plain arrays."""
    arrays = {name: np.asarray(getattr(null, name)) for name in _ARRAYS}
    more = {"mean": null.segments.mean, "covariance": null.segments.covariance}
    with open(path, "wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays, **more, counts=np.array([null.segments.videos, null.tops_of]))


def read_null(path: Path, dim: int) -> Null:
    """Raises KeyError, ValueError, OSError: it is not one of vectors of this dimension."""
    with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
        stats = NullStats(arrays["mean"], arrays["covariance"], int(arrays["counts"][0]))
        null = Null(stats, **{name: arrays[name] for name in _ARRAYS}, tops_of=int(arrays["counts"][1]))
    if stats.covariance.shape != (dim, dim) or null.windows.shape != (int(null.bounds[-1]), dim):
        raise ValueError(f"{path.name} is not of vectors of D = {dim}")
    return null


def _facts(scores: Floats, bounds: npt.NDArray[np.int64]) -> Floats:
    """(Q, 5) of queries' scores (Q, N) with the sample's windows: 1, and mean and deviation over its videos of their best
    window and of their mean."""
    best = np.maximum.reduceat(scores, bounds[:-1], axis=1)
    mean = np.add.reduceat(scores, bounds[:-1], axis=1) / np.diff(bounds)
    columns = [np.ones(len(scores)), best.mean(1), best.std(1), mean.mean(1), mean.std(1)]
    return np.stack(columns, axis=1).astype(np.float32)


def _lines(facts: Floats, mean_of: Floats, deviation_of: Floats) -> tuple[Floats, Floats]:
    # The line may leave what is possible for a query unlike any probe; a tenth of the plain deviation is kept at least.
    lowest = np.maximum(0.1 * facts[:, 2], 1e-6)
    return np.asarray(facts @ mean_of, np.float32), np.asarray(np.maximum(facts @ deviation_of, lowest), np.float32)


def _within(within: npt.NDArray[Any], levels: int) -> Floats:
    """(L,) median share of the spread of all segments that lies within a video; 0 where nothing is known."""
    out = np.zeros(levels, np.float32)
    for i in range(levels if within.size else 0):
        known = within[:, i][np.isfinite(within[:, i])]
        out[i] = float(np.median(known)) if known.size else 0.0
    return out


def _share(ascending: Floats, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N,) which share of a sample is below each value, between its members by interpolation, never quite 0 or 1."""
    count = len(ascending)
    at = np.interp(values, ascending, (np.arange(count) + 0.5) / count)
    # Beyond the ends the tails go on as exponentials of the outermost tenth: no two values share a confidence.
    edge = max(2, count // 10)
    for side, low in ((values > ascending[-1], False), (values < ascending[0], True)):
        if side.any():
            inner, outer = (ascending[edge], ascending[0]) if low else (ascending[-edge - 1], ascending[-1])
            rate = np.log(edge * 2) / max(abs(float(outer - inner)), 1e-6)
            rest = 0.5 / count * np.exp(-rate * np.abs(values[side] - float(outer)))
            at[side] = rest if low else 1 - rest
    return np.clip(at, 1e-12, 1 - 1e-12)
