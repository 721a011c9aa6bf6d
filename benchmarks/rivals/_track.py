"""What the rivals share: one query's scores along one video, spans of it, and the sums that most scores are made of.

A span is a pair of sample numbers [first, last). Samples must touch one another and be about equally long: a parameter in
seconds becomes a number of samples by the median length, as it does in the originals, which count frames.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Pairs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
TOP = 10


@dataclass(frozen=True)
class Track:
    """Scores (T,) and where their samples meet (T + 1,), in seconds."""

    values: Floats
    edges: Floats

    @property
    def step_s(self) -> float:
        """What a sample lasts, in the middle."""
        return float(np.median(np.diff(self.edges)))

    def samples(self, seconds: float, at_least: int = 1) -> int:
        """How many samples last so long."""
        return max(at_least, round(seconds / self.step_s))


def track(scores: npt.ArrayLike, start_s: npt.ArrayLike, end_s: npt.ArrayLike) -> Track:
    """Checks and joins the arguments that every `propose` has.

    Raises:
        ValueError: not three arrays (T,) with T >= 1, or a score is not finite.
    """
    values, start, end = (np.asarray(column, np.float64) for column in (scores, start_s, end_s))
    if not values.shape == start.shape == end.shape or values.ndim != 1 or not len(values):
        raise ValueError(
            f"scores, start_s and end_s must be three arrays (T,), T >= 1; got {values.shape}, {start.shape}, {end.shape}"
        )
    if not np.isfinite(values).all():
        raise ValueError(f"scores[{int(np.argmin(np.isfinite(values)))}] is not finite; leave such samples out")
    return Track(values, np.append(start, end[-1]))


def rows(features: npt.ArrayLike | None, count: int) -> npt.NDArray[np.float32]:
    """The features (T, D) of a method that needs them.

    Raises:
        ValueError: there are none, or another number of rows.
    """
    if features is None or len(np.asarray(features)) != count:
        got = "None" if features is None else str(np.asarray(features).shape)
        raise ValueError(f"this method needs features (T, D) with T = {count}, got {got}")
    return np.asarray(features, np.float32)


def listed(on: Track, pairs: npt.ArrayLike, scores: npt.ArrayLike, overlap: float | None = None) -> Floats:
    """(P, 3) start_s, end_s, score of the best `TOP` spans, best first; of two that overlap by more than `overlap` (IoU; None:
    never) the worse goes. The whole track, with score 0, where there is no span."""
    index, score = np.asarray(pairs, np.int64).reshape(-1, 2), np.asarray(scores, np.float64)
    if not len(index):
        return np.array([[on.edges[0], on.edges[-1], 0.0]])
    spans, order = on.edges[index], np.argsort(-score, kind="stable")
    best = order[:TOP] if overlap is None else order[apart(spans[order], overlap)]
    return np.column_stack([spans[best], score[best]])


def apart(spans: Floats, overlap: float) -> list[int]:
    """Which spans (P, 2), best first, greedy suppression keeps, at most `TOP`: `nightreel.search.moment.suppress` without
    its checks, which are most of what a setting would cost."""
    kept: list[int] = []
    left = np.arange(len(spans))
    start, end = spans[:, 0], spans[:, 1]
    while len(left) and len(kept) < TOP:
        kept.append(int(left[0]))
        inter = np.maximum(np.minimum(end, end[0]) - np.maximum(start, start[0]), 0.0)
        stay = inter / (end - start + end[0] - start[0] - inter) <= overlap
        stay[0] = False
        left, start, end = left[stay], start[stay], end[stay]
    return kept


def runs(mask: Mask) -> Pairs:
    """(P, 2) the runs of True."""
    steps = np.diff(np.concatenate(([0], mask.astype(np.int8), [0])))
    return np.stack([np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)], axis=1)


def joined(hits: Pairs, gap: int) -> Pairs:
    """(P, 2) from increasing sample numbers (N,): numbers at most `gap` apart are of one span."""
    cuts = np.flatnonzero(np.diff(hits) > gap) + 1
    return np.array([(part[0], part[-1] + 1) for part in np.split(hits, cuts) if len(part)], np.int64).reshape(-1, 2)


def windows(count: int, sizes: npt.ArrayLike) -> Pairs:
    """(P, 2) every window of each size, in samples, at every place."""
    parts = [np.arange(count - size + 1)[:, None] + (0, size) for size in np.asarray(sizes, int) if size <= count]
    return np.concatenate(parts) if parts else np.array([[0, count]])


def between(points: Pairs, longest: float) -> Pairs:
    """(P, 2) all pairs of increasing `points` (N,) at most `longest` apart."""
    parts: list[Pairs] = [np.zeros((0, 2), np.int64)]
    for apart in range(1, len(points)):
        pair = np.stack([points[:-apart], points[apart:]], axis=1)
        pair = pair[pair[:, 1] - pair[:, 0] <= longest]
        if not len(pair):  # points only get further apart
            break
        parts.append(pair)
    return np.concatenate(parts)


def totals(values: Floats, pairs: Pairs) -> Floats:
    """(P,) sums over spans."""
    integral = np.concatenate(([0.0], np.cumsum(values)))
    return np.asarray(integral[pairs[:, 1]] - integral[pairs[:, 0]])


def contrast(values: Floats, pairs: Pairs) -> Floats:
    """(P,) mean inside less mean outside; of a span that covers everything, the mean."""
    inside, length = totals(values, pairs), pairs[:, 1] - pairs[:, 0]
    rest = len(values) - length
    return np.asarray(inside / length - (values.sum() - inside) / np.maximum(rest, 1) * (rest > 0))


def standardised(values: Floats) -> Floats:
    """Mean 0 and deviation 1; all 0 where the scores are equal."""
    centred = values - values.mean()
    deviation = centred.std()
    return centred / deviation if deviation > 1e-12 * (1 + np.abs(values).max()) else np.zeros_like(values)


def unit_range(values: Floats) -> Floats:
    """From 0 to 1; all 0 where the scores are equal."""
    spread = np.ptp(values)
    return (values - values.min()) / spread if spread > 1e-12 * (1 + np.abs(values).max()) else np.zeros_like(values)


def smoothed(values: Floats, sigma: float) -> Floats:
    """Convolved with a Gaussian of `sigma` samples; 0 leaves them."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(values, sigma, mode="nearest")) if sigma > 0 else values


def box_cox(values: Floats) -> Floats:
    """The power transform that makes the values most nearly normal, with a power of -2 to 2; Box and Cox 1964, by likelihood.

    Values that are not all positive are moved to begin at 1e-6, as TAG does.
    """
    from scipy.optimize import minimize_scalar

    if len(values) < 3 or np.ptp(values) <= 1e-12:
        return values
    x = values if values.min() > 0 else values - values.min() + 1e-6
    logs = np.log(x)

    def transformed(power: float) -> Floats:
        return logs if abs(power) < 1e-9 else np.expm1(power * logs) / power

    def misfit(power: float) -> float:
        return 0.5 * len(x) * float(np.log(max(transformed(power).var(), 1e-300))) - (power - 1) * float(logs.sum())

    return transformed(float(minimize_scalar(misfit, bounds=(-2.0, 2.0), method="bounded").x))


def changes(features: npt.NDArray[np.float32], window: int, deviations: float) -> Pairs:
    """(K + 1,) edges of K shots, 0 and T included: where the `window` rows before and after are least alike.

    An edge is the strongest within `window`, and above the mean by so many standard deviations. Stands for the shot detectors
    that the originals run on pixels.
    """
    count = len(features)
    if count < 3:
        return np.array([0, count])
    sums = np.concatenate([np.zeros((1, features.shape[1])), np.cumsum(features, axis=0, dtype=np.float64)])
    at = np.arange(1, count)
    before, after = sums[at] - sums[np.maximum(at - window, 0)], sums[np.minimum(at + window, count)] - sums[at]
    norms = np.maximum(np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1), 1e-12)
    novelty = 1.0 - (before * after).sum(1) / norms
    around = np.lib.stride_tricks.sliding_window_view(np.pad(novelty, window, constant_values=-np.inf), 2 * window + 1)
    cut = (novelty >= around.max(1)) & (novelty > novelty.mean() + deviations * novelty.std())
    return np.concatenate([[0], np.flatnonzero(cut) + 1, [count]])
