"""VideoCLIP's recipe: which span of a video goes with a sentence, and which pairs make a batch. Pure, seeded.

    overlapping(start_s, end_s, seed)        (N, 2) a new span for each pair and step, around a moment of the caption's
    batches_by_neighbours(video, vectors, 512, seed)     batches of videos that look alike, so that negatives are hard

Xu et al. 2021, "VideoCLIP" (arXiv 2109.14084), sections 3.2 and 3.3. It knows neither losses nor features of frames.

Cost of an epoch of batches: 2 V D operations and a partial sort of V for each batch; 0.07 s on one core for 10,000 videos of
512 numbers in batches of 512.
"""

import numpy as np
import numpy.typing as npt

from ...extract.errors import UsageError

SHORTEST_S, LONGEST_S = 3.0, 32.0  # of a drawn span, as in the configuration that VideoCLIP was released with
POOL = 2  # so many times a batch are the neighbours from which it is drawn; ibid., section 3.3

Seconds = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def overlapping(
    start_s: Seconds,
    end_s: Seconds,
    seed: int,
    *,
    until_s: Seconds | None = None,
    shortest_s: float = SHORTEST_S,
    longest_s: float = LONGEST_S,
) -> Seconds:
    """Spans that overlap the captions': a centre drawn from each caption's span, and a length, both evenly.

    A sentence and what is shown are seldom together to the second; spans that begin and end as the sentence does teach too
    little.

    Args:
        start_s, end_s: (N,) of the captions, each end after its start.    until_s: (N,) where the videos end, if known.
        shortest_s, longest_s: of the drawn lengths.

    Returns:
        (N, 2) start and end in [0, until_s], which have part of the caption's span in them.

    Raises:
        UsageError: an empty span, or lengths out of order.
    """
    start_s, end_s = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
    if start_s.shape != end_s.shape or not (end_s > start_s).all() or not 0 < shortest_s <= longest_s:
        raise UsageError(
            f"spans {start_s.shape} to {end_s.shape}, lengths {shortest_s} to {longest_s} s; "
            "expected ends after starts, and lengths above 0, the shortest first"
        )
    rng = np.random.default_rng(seed)
    centre_s = rng.uniform(start_s, end_s)
    half_s = rng.uniform(shortest_s, longest_s, len(start_s)) / 2
    out = np.stack([centre_s - half_s, centre_s + half_s], axis=1)
    return np.clip(out, 0.0, np.inf if until_s is None else np.asarray(until_s, np.float64)[:, None])


def batches_by_neighbours(video: Whole, vectors: npt.NDArray[np.float32], batch: int, seed: int) -> list[Whole]:
    """An epoch in batches of videos that look alike: each begins with a video at random and takes of its nearest.

    As in the paper a batch is drawn from `POOL` times as many neighbours. How we differ: each pair comes once an epoch (the
    paper draws centres anew for each batch), a batch has one pair of each video while it can (pairs of one video are no
    negatives of each other), and the order of the batches is drawn at the end, so that leftovers do not come last.
    Neighbours are exact and by numpy: over what is left of an epoch, which no index knows, that is one product of a matrix
    with a vector for each batch.

    Args:
        video: (N,) row in `vectors` of each pair's video.
        vectors: (V, D) unit norm, one for each video, such as the mean of its frames made unit.

    Returns:
        Rows of the pairs, each in one batch; all batches have `batch` but one.

    Raises:
        UsageError: a batch below 1, or videos that have no vector.
    """
    video = np.asarray(video, np.int64)
    if batch < 1 or (len(video) and not 0 <= video.min() <= video.max() < len(vectors)):
        raise UsageError(
            f"batches of {batch}, videos up to {video.max(initial=-1)} of {len(vectors)}; expected 1 or more"
        )
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(video))
    by_video = shuffled[np.argsort(video[shuffled], kind="stable")]
    left = np.bincount(video, minlength=len(vectors))
    first = np.concatenate([[0], np.cumsum(left)[:-1]])
    out = []
    for begin in range(0, len(video), batch):
        rows: list[int] = []
        while len(rows) < min(batch, len(video) - begin):
            alive = np.flatnonzero(left)
            chosen = _near(vectors, alive, min(batch, len(video) - begin) - len(rows), rng)
            left[chosen] -= 1
            rows += by_video[first[chosen] + left[chosen]].tolist()
        out.append(np.array(rows, np.int64))
    return [out[i] for i in rng.permutation(len(out))]


def _near(vectors: npt.NDArray[np.float32], alive: Whole, count: int, rng: np.random.Generator) -> Whole:
    """At most `count` of the `alive` videos: one at random, and of its nearest."""
    if len(alive) <= count:
        return alive
    cosines = vectors[alive] @ vectors[rng.choice(alive)]
    pool = min(POOL * count, len(alive))
    near = np.argpartition(-cosines, pool - 1)[:pool]
    return np.asarray(alive[rng.choice(near, count, replace=False)], np.int64)
