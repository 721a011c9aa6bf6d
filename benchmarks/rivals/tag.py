"""TAG: clusters of pooled features say where a moment may begin and end; contrast of power-transformed scores says which.

Source: Lee et al. 2025, "TAG: A simple yet effective temporal-aware approach for zero-shot video temporal grounding", and its
code. Frames below 0.2 are left out (a lone frame above too); scores are Box-Cox transformed; features, with their place in the
video as one more dimension, are averaged over 21 frames of 3 fps; k-means with k = 9, in which a frame joins the cluster that
is nearest to its window of 7 frames on average; spans run from one change of cluster to another, up to half of the video; the
mean inside less the mean outside ranks them; the best 12 vote for one another by IoU ** 0.6.
Differences: parameters in seconds; 0.2 belongs to BLIP-2 and on `qvh` leaves out half of all clips (17.8 mAP), so `PUBLISHED`
has no floor (25.4); windows are made odd; the likelihood of Box and Cox as they wrote it; no rescaling of the transformed
scores, which changes no order; a start of k-means++ by a seed of our own; suppression of overlaps as an option.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from nightreel.search.moment import temporal_iou

from ._track import Floats, Mask, Pairs, between, box_cox, contrast, listed, rows, track

SEED, ROUNDS = 60, 100


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    floor: float | None = None,
    clusters: int = 9,
    pool_s: float = 7.0,
    window_s: float = 7 / 3,
    share: float = 0.5,
    longest_s: float | None = None,
    vote: int = 12,
    overlap: float | None = None,
) -> Floats:
    """(P, 3) spans between changes.

    Args:
        vote: how many of the best vote on their order; 0: they do not.
    """
    on = track(scores, start_s, end_s)
    count = len(on.values)
    kept = np.flatnonzero(_kept(on.values, floor))
    place = np.linspace(0, 1, count, endpoint=False, dtype=np.float32)
    pooled = _windowed(np.column_stack([rows(features, count), place])[kept], on.samples(pool_s))
    labels = cluster(pooled, min(clusters, max(2, len(kept))), on.samples(window_s))
    points = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1, [len(kept)]])
    longest = count * share if longest_s is None else min(count * share, on.samples(longest_s))
    pairs = between(points, longest)
    worth = contrast(box_cox(on.values[kept]), pairs)
    back = np.append(kept, count)[pairs]
    if not vote or not len(back):
        return listed(on, back, worth, overlap)
    best = np.argsort(-worth, kind="stable")[:vote]
    weight = np.maximum(worth[best] / max(worth[best].max(), 1e-12), 0.0)
    return listed(on, back[best], temporal_iou(back[best], back[best]) ** 0.6 @ weight, overlap)


def _kept(values: Floats, floor: float | None) -> Mask:
    """Which samples count: above the floor, and with a neighbour that is; all, where none is."""
    above = np.ones(len(values), bool) if floor is None else values > floor
    around = np.convolve(above, np.ones(3), "same")
    kept = above & (around >= 2) if len(values) >= 3 else above
    return kept if kept.any() else np.ones(len(values), bool)


def _windowed(values: npt.NDArray[np.float32], window: int) -> npt.NDArray[np.float32]:
    """(N, D) means over `window` rows, made odd, around each; the outer rows are repeated beyond the ends."""
    from scipy.ndimage import uniform_filter1d

    return np.asarray(uniform_filter1d(values, window | 1, axis=0, mode="nearest"))


def cluster(values: npt.NDArray[np.float32], number: int, window: int) -> Pairs:
    """(N,) the cluster of each row: k-means++ and then Lloyd's rounds in which a row goes where the mean distance of its window
    is least."""
    rng, norms = np.random.default_rng(SEED), (values**2).sum(1)

    def distances(centres: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return np.sqrt(np.maximum(norms[:, None] + (centres**2).sum(1) - 2 * values @ centres.T, 0))

    chosen = [int(rng.integers(len(values)))]
    nearest = distances(values[chosen])[:, 0] ** 2
    while len(chosen) < number:
        total = nearest.sum()
        chosen.append(
            int(rng.choice(len(values), p=nearest / total)) if total > 1e-9 else int(rng.integers(len(values)))
        )
        nearest = np.minimum(nearest, distances(values[chosen[-1:]])[:, 0] ** 2)
    centres = values[chosen]
    labels = np.zeros(len(values), np.int64)
    for _ in range(ROUNDS):
        cost = distances(centres)
        labels = (_windowed(cost, window) if window > 1 else cost).argmin(1)
        member = np.zeros((number, len(values)), np.float32)
        member[labels, np.arange(len(values))] = 1.0
        sizes = member.sum(1, keepdims=True)
        moved = np.where(sizes > 0, member @ values / np.maximum(sizes, 1), centres).astype(np.float32)
        if np.abs(moved - centres).max() <= 1e-4:
            break
        centres = moved
    return labels


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"clusters": k, "pool_s": p, "window_s": w, "vote": v, "overlap": o, "share": 1.0, "longest_s": 75.0}
    for k, p, w, (v, o) in product((4, 6, 9, 25), (7.0, 10.0, 14.0), (7 / 3, 6.0), ((0, 0.7), (12, None)))
]
