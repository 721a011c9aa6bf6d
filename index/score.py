"""How well a video as a whole fits a query: its best segment, its best short and long window and its mean, together.

    score = (1 best segment + 1 best 4 s + 1 best 16 s + 0.5 whole video) / 3.5

On QVHighlights (752 sentences, 735 videos, caption features) R@1 / R@5 / R@10 are 27.3 / 50.8 / 61.7 by the best segment,
28.7 / 54.4 / 63.8 by best segment and mean, 33.2 / 58.2 / 67.0 by the best 16 s and 33.6 / 58.9 / 69.1 by all four: one lucky
frame cannot decide, and one good scene need not fill the video.

The best of many is good by chance, so each level's best is lowered by what the best of as many unrelated pieces exceeds one
piece (`expected_best`), in units of how much scores vary within a video. A video does not win by being long.

What it does not know: how alike a video's pieces are. `LOOK_S` seconds count as one look; in a film of one standing picture all
looks are one, and it is lowered as much as any other of its length.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np

from .levels import VIDEO, Floats, Level, Rows

WEIGHTS: Mapping[str, float] = {"segment": 1.0, "4s": 1.0, "16s": 1.0, "video": 0.5}
LOOK_S = 5.0  # pieces of a video this far apart count as independent
_NORMAL = NormalDist()


def expected_best(looks: float) -> float:
    """How far the best of `looks` draws of a standard normal lies above 0, on average; 0 for one look.

    1 -> 0, 2 -> 0.59 (exactly 0.56), 10 -> 1.55 (1.54), 1000 -> 3.24 (3.24): Blom 1958, alpha = 0.375.
    """
    return _NORMAL.inv_cdf((looks - 0.375) / (looks + 0.25)) if looks > 1 else 0.0


def looks(seconds: float, level: Level) -> float:
    """How many independent pieces of a level a video of so many seconds holds, at least 1."""
    return max(1.0, seconds / max(level.length_s, LOOK_S))


def level_scores(scores: Floats, at: Sequence[tuple[Rows, Rows, Floats]], weight: Floats | None = None) -> Floats:
    """(L, Q) the best inner products of Q queries with one video at each level.

    Args:
        scores: (Q, T) of its segments, T >= 1.
        at: per level the (W,) first and after-last segment of every window and the norm of their sum: the vector of a window is
            their sum by its norm, so its score is the sum of scores by that norm, and no vector is needed.
        weight: (T,) what segments count in sums; None for 1.
    """
    scores = scores if weight is None else scores * weight
    total = np.concatenate([np.zeros((len(scores), 1)), np.cumsum(scores, axis=1, dtype=np.float64)], axis=1)
    return np.array([((total[:, after] - total[:, first]) / norms).max(1) for first, after, norms in at], np.float32)


def video_score(scores: Floats, seconds: float, spread: Floats, levels: Sequence[Level]) -> Floats:
    """(Q,) one video's score for each query.

    Args:
        scores: (L, Q) the best inner product at each level.    seconds: of footage in the video.
        spread: (L, Q) standard deviation of scores within a video at each level; 0 leaves its length out.
    """
    weights = np.array([WEIGHTS[level.name] for level in levels], np.float32)
    lowered = [0.0 if level is VIDEO else expected_best(looks(seconds, level)) for level in levels]
    corrected = scores - np.array(lowered, np.float32)[:, None] * spread
    return np.asarray(weights @ corrected / weights.sum(), np.float32)
