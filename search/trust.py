"""How far to trust that a video shows what is asked: its evidence against that of other footage of the archive.

    evidence    of a stretch of footage: (mean of its best 6 s + mean of its best fifth in a row) / 2, as inner products
    z           evidence in deviations above that of stretches of as many seconds of other videos, for the same query
    confidence  the probability that the video shows what is asked, had right and wrong videos been equally likely before

By this model z is normal around `LIFT` in a stretch that shows it and around 0 in others. So the odds of a video of one
stretch (150 s at most) are exp(LIFT z - LIFT^2 / 2), even at z = 1.3. In a longer one, one of n stretches shows it or none
does, and the best of n is high by chance (`confidence`): a video is not trusted more for being long.

What it does not know: how many videos of an archive show what is asked. Of 1000 videos mostly 999 do not, so of those with
a confidence of 0.9 many are wrong: multiply the odds by what you believe before. A query that fits much of the archive ("a
woman talks") is doubted in every video, for there is no telling this one. Another encoder's lift may be another.

Few videos: what is usual for footage with such scores fills in (`spread`); with fewer than `LEAST_VIDEOS` others nothing is
said (None). Comparing a video with the rest of itself was tried and says nothing: AUROC 0.47.

Source: z-norm of speaker verification (Auckenthaler 2000), the unit; deviations here are of the upper half only, since the
few that may match lengthen that side, and one that is to be told from them must beat them.

On QVHighlights (benchmarks/confidence_qvh.py), own video against a random one: AUROC .970 (95 %: .965 to .976), calibration
error .012; 5 % of the sentences make half of the loss, for captions do not tell them. `LIFT` fitted on one half of the
uploads is 2.6 for the other, and 2.7: calibration error .020 and .021. Tapes of 15, 30 and 60 minutes: .034, .050 and .077
(too sure), AUROC .90, .85 and .79.

Costs, D = 384, two busy cores: 170 ms once to read the sample of 735 videos, 29 MB; 6 ms a query, 30 ms in three hours.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extract.store import Store
from ..extract.vectors import Vectors
from ..index.levels import LEAST_NORM

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]

PIECE_S, BEST_S, STRETCH_S = 2.0, 6.0, 150.0  # best 4 to 12 s are alike
RUN = 0.2  # of a stretch, in a row; 0.1 to 0.3 are alike
LIFT = 2.6  # deviations
SAMPLE = 256  # stretches; 128 take half the time and cost .001 of AUROC
LEAST_VIDEOS = 2  # others that are needed to say anything
USUAL = 32  # videos' worth of what is usual; 4 to 32 are alike on QVHighlights, few where most videos show it
LEAST_DEVIATION = 1e-3  # of inner products; stored vectors are rounded to half of that


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many segments make a piece, and how many pieces the best ones and a stretch."""

    rows: int
    best: int
    stretch: int


def run_of(stretch: int) -> int:
    """Pieces of a run in a stretch of so many."""
    return max(1, round(RUN * stretch))


def sizes_for(sampling: Mapping[str, Any] | None) -> Sizes:
    """For features of a sampling plan (`encoder.json`); one segment a second where nothing is known."""
    plan = sampling or {}
    step_s = float(plan["hop_s"]) if "hop_s" in plan else 1.0 / float(plan.get("fps", 1.0))
    rows = max(1, round(PIECE_S / step_s))
    best, stretch = (max(1, round(s / (rows * step_s))) for s in (BEST_S, STRETCH_S))
    return Sizes(rows, best, stretch)


def pieces(vectors: npt.NDArray[np.floating[Any]], rows: int) -> Floats:
    """(N, D) float32, unit norm: means of `rows` segments (T, D) each, of the last of what is left; without direction 0."""
    total, norms = _sums(vectors, rows)
    return np.asarray(total / norms[:, None], np.float32)


def _sums(vectors: npt.NDArray[np.floating[Any]], rows: int) -> tuple[Floats, Floats]:
    """(N, D), (N,) the sums of pieces and their norms, infinite where there is no direction."""
    wide = np.asarray(vectors, np.float32)
    if not np.isfinite(wide).all():
        wide = np.nan_to_num(wide, nan=0.0, posinf=0.0, neginf=0.0)
    full = len(wide) // rows * rows
    total = wide[:full].reshape(-1, rows, wide.shape[1]).sum(1)
    if full < len(wide):
        total = np.concatenate([total, wide[full:].sum(0, keepdims=True)])
    norms = np.sqrt(np.einsum("nd,nd->n", total, total))
    norms[norms <= LEAST_NORM] = np.inf
    return total, norms


@dataclass(frozen=True)
class Sample:
    """Footage of some videos: `pieces` (M, D), `spans` (V, 2) from which to which are whose, `video_ids` (V,)."""

    pieces: Floats
    spans: Rows
    video_ids: tuple[str, ...]
    sizes: Sizes


def draw(store: Store, slug: str, sizes: Sizes) -> Sample:
    """About `SAMPLE` stretches of an archive, the same ones of the same archive: one of each of so many videos, or more of
    each where there are fewer, spread evenly over it."""
    names = sorted(store.video_ids(slug))
    chosen = [names[i] for i in np.random.default_rng(0).permutation(len(names))[:SAMPLE]]
    vectors, parts = Vectors(store, slug), []
    each, length = max(1, SAMPLE // max(1, len(chosen))), sizes.rows * sizes.stretch
    for name in chosen:
        stored = vectors.of(name)
        count = min(each, max(1, len(stored) // length))
        last = max(0, len(stored) - length)
        starts = np.linspace(0, last, count).astype(int) if count > 1 else [last // 2]
        parts.append(np.concatenate([pieces(stored[low : low + length], sizes.rows) for low in starts]))
    ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
    spans = np.stack([ends - [len(part) for part in parts], ends], axis=1)
    empty = np.zeros((0, int(store.encoders()[slug]["dim"])), np.float32)
    return Sample(np.concatenate([empty, *parts]), spans, tuple(chosen), sizes)


@dataclass(frozen=True)
class Trust:
    """What a query's scores with one video are worth.

    Attributes:
        scores: (N,) of its pieces.    sizes: in pieces.    stretch: pieces of the stretches that it was compared with.
        mean, deviation: of their evidence.
    """

    scores: Floats
    sizes: Sizes
    stretch: int
    mean: float
    deviation: float

    @property
    def stretches(self) -> float:
        """How many the video holds, at least 1."""
        return max(1.0, len(self.scores) / self.stretch)

    @property
    def z(self) -> float:
        """Of the video's best stretch."""
        rows = stretches(whole(self.scores), self.stretch, max(1, self.stretch // 2))
        return (float(evidence(self.scores, rows, self.sizes.best).max()) - self.mean) / self.deviation

    def of_moments(self, spans: Sequence[tuple[int, int]]) -> list[float]:
        """Confidence in moments, each from one segment to before another; the video's best answer comes first.

        The first has all of the video's evidence; the others lose by what theirs, of their own pieces and the best run
        around them, is less than the first's. None is more certain than the first, for none says more about the video.
        """
        rows, best, run = self.sizes.rows, self.sizes.best, run_of(self.stretch)
        own = [moment_evidence(self.scores, low // rows, -(-high // rows), best, run) for low, high in spans]
        z, count = self.z, self.stretches
        return [confidence(z - max(0.0, own[0] - one) / self.deviation, count) for one in own]


def trust(sample: Sample, video_id: str, vectors: npt.NDArray[np.floating[Any]], query: Floats) -> Trust | None:
    """What is known of a query (D,) in a video of these segments (T, D); None where there is too little to compare with."""
    sizes = sample.sizes
    total, norms = _sums(vectors, sizes.rows)
    own = np.asarray(total @ query / norms, np.float32)
    others = sample.spans[[name != video_id for name in sample.video_ids]]
    if len(others) < LEAST_VIDEOS:
        return None
    scores = np.asarray(sample.pieces @ query, np.float32)
    # No longer than most of the others are, or the best of more pieces would be compared with the best of fewer.
    size = min(sizes.stretch, len(own), int(np.median(np.diff(others, axis=1))))
    found = evidence(scores, stretches(others, size), sizes.best)
    single = np.concatenate([scores[low:high] for low, high in others])
    return Trust(own, sizes, size, *spread(found, len(others), single, size))


def spread(found: Floats, videos: int, scores: Floats, size: int) -> tuple[float, float]:
    """Mean and deviation of the evidence (S,) of stretches of so many videos, from which another video's is foreseen.

    The deviation is that of the half above the mean, mirrored. Few videos say little, so what is usual for stretches of
    n = `size` pieces with such scores (N,) counts like `USUAL` videos more: a mean 0.27 ln n of the scores' deviations above
    their mean, and a deviation of 1 - 0.055 ln n of theirs (on QVHighlights 1.17 and 0.76 at 75 pieces, 0.72 and 0.88 at 13,
    of any query within a tenth). What is left unknown widens the deviation as Student's t does.
    """
    count = videos + USUAL
    middle, unit = float(scores.mean()), float(scores.std())
    mean = float(found.mean())
    upper = 2 * float((np.maximum(found - mean, 0.0) ** 2).mean())
    foreseen = (videos * mean + USUAL * (middle + 0.27 * math.log(size) * unit)) / count
    variance = (videos * upper + USUAL * ((1 - 0.055 * math.log(size)) * unit) ** 2) / count
    wider = (1 + 1 / count) * (count - 1) / (count - 3)
    return foreseen, max(math.sqrt(wider * variance), LEAST_DEVIATION)


def whole(scores: Floats) -> Rows:
    """(1, 2) the span of a video of these pieces (N,)."""
    return np.array([[0, len(scores)]])


def stretches(spans: Rows, size: int, hop: int | None = None) -> Rows:
    """(S, size) pieces of each stretch of videos whose pieces are `spans` (V, 2), -1 beyond a video's end.

    Args:
        hop: pieces from one to the next, by default `size`. What is left at an end is one if it is half as long as others,
            or all that there is.
    """
    step, starts, ends = hop or size, [], []
    for low, high in spans.tolist():
        here = [low, *range(low + step, high - size // 2, step)]
        starts += here
        ends += [high] * len(here)
    rows = np.array(starts, np.int64).reshape(-1, 1) + np.arange(size)
    return np.where(rows < np.array(ends, np.int64).reshape(-1, 1), rows, -1)


def evidence(scores: Floats, rows: Rows, most: int) -> Floats:
    """(S,) of stretches `rows` (S, size): the mean of the `most` best of these pieces' scores (N,) and of the best run."""
    there = rows >= 0
    counts = there.sum(1)
    values = np.where(there, scores[rows], -np.inf)
    best = min(most, rows.shape[1])
    top = -np.partition(-values, best - 1, axis=1)[:, :best]
    peak = np.where(top > -np.inf, top, 0.0).sum(1) / np.minimum(best, counts)
    length = run_of(rows.shape[1])
    totals = _moving(np.where(there, values, 0.0), length)
    inside = _moving(there.astype(float), length)
    whole = inside >= np.minimum(length, counts)[:, None] - 0.5
    run = np.where(whole, totals / np.maximum(inside, 1.0), -np.inf).max(1)
    return np.asarray((peak + run) / 2, np.float32)


def moment_evidence(scores: Floats, first: int, after: int, most: int, run: int) -> float:
    """Of pieces `first` to `after` of a video's (N,): the mean of its `most` best ones, and the best run with its middle in
    them."""
    count = len(scores)
    wanted = max(after - first, min(most, count))
    low = min(max(0, first - (wanted - (after - first)) // 2), count - wanted)
    peak = float(np.sort(scores[low : low + wanted])[-most:].mean())
    length = min(run, count)
    runs = _moving(scores[None], length)[0] / length
    begin, end = np.clip([first - length // 2, after - 1 - length // 2], 0, len(runs) - 1)
    return (peak + float(runs[begin : end + 1].max())) / 2


def confidence(z: float, count: float, lift: float = LIFT) -> float:
    """That one of `count` stretches shows it rather than none, 0 to 1, as likely as not before.

    With p and P the normal density and distribution: the best of n stretches is at z with density n P(z)^(n - 1) p(z) where
    none shows it, and P(z)^(n - 1) p(z - lift) + (n - 1) P(z - lift) P(z)^(n - 2) p(z) where one does. The odds are their
    ratio.
    """
    z = min(max(z, -30.0), 30.0)
    odds = math.exp(lift * z - lift**2 / 2) / count
    if count > 1:
        odds += (1 - 1 / count) * _below(z - lift) / _below(z)
    return odds / (1 + odds)


def _below(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def _moving(values: npt.NDArray[np.floating[Any]], length: int) -> npt.NDArray[np.float64]:
    """(S, N - length + 1) sums of so many neighbours."""
    total = np.cumsum(np.pad(values.astype(np.float64), ((0, 0), (1, 0))), axis=1)
    return np.asarray(total[:, length:] - total[:, :-length])
