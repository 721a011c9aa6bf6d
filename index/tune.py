"""Search parameters by measurement: the cheapest that reach the recall asked for, on queries that are not in the index.

Two numbers per level of a part: `probes`, the inverted lists that are read, and `factor`, the candidates per result that are
re-scored. Queries are probe sentences and vectors of some videos, half and half; the truth is brute force over everything in
the part but those videos, and they are hidden while it is tuned. (A stored vector would find itself and its shot, which any
setting does: tuned so, an index of 100 000 vectors that promised 0.95 found 0.91 of what new videos should find.) A hit
counts if its exact score is no worse than the tenth best, so ties are hits.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

K = 10
QUERIES = 128
VIDEOS = 16  # held out
FACTORS = (1, 2, 4, 8, 16, 32)
TIMED = 32
TIE = 1e-4  # inner products of float16 vectors, summed in another order


class Best:
    """The `K` best scores and rows (Q, K) of queries (Q, D) among all vectors that pass by, in order: the truth."""

    def __init__(self, queries: Floats) -> None:
        self.queries = queries
        self.hidden: list[Ids] = [np.zeros(0, np.int64)]  # rows of videos that are held out
        self.scores = np.full((len(queries), K), -np.inf, np.float32)
        self.rows = np.full((len(queries), K), -1, np.int64)
        self._seen = 0

    def add(self, vectors: Floats, hidden: npt.NDArray[np.bool_]) -> None:
        """Take (N, D) in; rows of zeros, and those that are hidden (N,), count, but are never among the best."""
        self.hidden.append(self._seen + np.flatnonzero(hidden))
        if len(self.queries) and len(vectors):
            scores = self.queries @ vectors.T
            scores[:, hidden | ~vectors.any(axis=1)] = -np.inf
            numbers = np.broadcast_to(self._seen + np.arange(len(vectors)), scores.shape)
            scores = np.concatenate([self.scores, scores], axis=1)
            numbers = np.concatenate([self.rows, numbers], axis=1)
            at = np.argpartition(-scores, K - 1, axis=1)[:, :K]
            self.scores, self.rows = np.take_along_axis(scores, at, 1), np.take_along_axis(numbers, at, 1)
        self._seen += len(vectors)

    @property
    def found(self) -> npt.NDArray[np.bool_]:
        """(Q, K) which of them are there: fewer than `K` vectors may have passed."""
        return np.isfinite(self.scores)

    @property
    def bar(self) -> Floats:
        """(Q,) the score of the worst of them; infinite without any."""
        return np.asarray(np.where(self.found, self.scores, np.inf).min(1, initial=np.inf), np.float32)


class Tuned(NamedTuple):
    """What was chosen and what it gives: recall@10, median milliseconds of a single query."""

    probes: int
    factor: int
    recall: float
    latency_ms: float


def held_out(sentences: Floats, footage: Floats, rng: np.random.Generator) -> Floats:
    """(Q, D), at most `QUERIES`: half sentences (P, D), if there are any, and else vectors (N, D) of videos that are held
    out."""
    chosen = sentences[rng.permutation(len(sentences))[: QUERIES // 2]]
    some = footage[rng.permutation(len(footage))[: QUERIES - len(chosen)]]
    return np.asarray(np.concatenate([some, chosen]), np.float32)


def held_out_videos(names: Sequence[str], rng: np.random.Generator) -> set[str]:
    """Some of the videos, at most a tenth; of fewer than ten, none."""
    count = min(VIDEOS, len(names) // 10)
    return {names[i] for i in rng.permutation(len(names))[:count]}


def recall_by_score(scores: Floats, truth: Best) -> float:
    """Mean share of the best that were found, by score; `scores` (Q, K) exact, -inf where there is none."""
    count = int(truth.found.sum(1).min(initial=K)) if len(truth.queries) else 0
    if not count:
        return 1.0
    best = -np.sort(-scores, axis=1)[:, :count]
    return float((best >= truth.bar[:, None] - TIE).mean())


def recall_by_owner(found: Ids, truth: Ids) -> float:
    """Mean share of the true ones (Q, K) that are among those found (Q, C); -1 is none. Both are videos, by number."""
    shares = [
        np.isin(true[true >= 0], owners).mean() for owners, true in zip(found, truth, strict=True) if (true >= 0).any()
    ]
    return float(np.mean(shares)) if shares else 1.0


@dataclass(frozen=True)
class Trial:
    """A level of a part, as `tune` sees it.

    Attributes:
        lists: inverted lists, 0 without.    exact: whether scores need no re-scoring.
        recall: (probes, factor) -> recall@10 over all queries.    one: (query number, probes, factor) -> a search, to be timed.
        queries: how many.
    """

    lists: int
    exact: bool
    queries: int
    recall: Callable[[int, int], float]
    one: Callable[[int, int, int], object]


def tune(trial: Trial, wanted: float) -> Tuned:
    """The fastest setting that reaches `wanted`, or the best there is."""
    factors = (1,) if trial.exact else FACTORS
    # 1 2 3 4 6 8 12 16 ...: recall moves by a point or two from one to the next.
    steps = (step for i in range(trial.lists.bit_length()) for step in (1 << i, 3 << i >> 1))
    probes = sorted({step for step in steps if 0 < step < trial.lists} | {max(1, trial.lists)})
    # Recall grows with both. The most candidates say how many lists are needed; then fewer candidates are tried, also with
    # the next two steps of lists, and the clock decides.
    enough = next((p for p in probes if trial.recall(p, factors[-1]) >= wanted), probes[-1])
    options = []
    for p in probes[probes.index(enough) :][:3]:
        tried = [(f, trial.recall(p, f)) for f in factors]
        factor, found = next((t for t in tried if t[1] >= wanted), max(tried, key=lambda t: t[1]))
        options.append((p, factor, found))
    reached = [option for option in options if option[2] >= wanted] or [max(options, key=lambda o: o[2])]
    timed = [Tuned(p, f, round(r, 4), _milliseconds(trial, p, f)) for p, f, r in reached]
    return min(timed, key=lambda t: t.latency_ms)


def _milliseconds(trial: Trial, probes: int, factor: int) -> float:
    times = []
    for query in range(min(TIMED, trial.queries)):
        began = time.perf_counter()
        trial.one(query, probes, factor)
        times.append((time.perf_counter() - began) * 1e3)
    return round(float(np.median(times)), 3) if times else 0.0
