"""Results that differ: maximal marginal relevance (Carbonell and Goldstein 1998, "The use of MMR, diversity-based reranking for
reordering documents and producing summaries").

The best candidate comes first; after it, always the one with the most of

    (1 - diversity) * relevance - diversity * (its largest similarity to those picked)

Scores of sentences with pictures live in a narrow band (0.2 to 0.35 for CLIP), inner products of pictures in another (0.5 to
1). So that `diversity` weighs like with like, both are brought to [0, 1] over the candidates: the worst score and the least
alike pair become 0, the best and the most alike 1; where all are the same up to rounding, 0. The scale thus depends on which
candidates there are: give it the ones worth showing (a few times `top`), not everything.

It knows nothing of videos or queries. It costs all pairs: N^2 D multiplications and about 20 N^2 bytes (20 MB for 1000).
"""

import numpy as np
import numpy.typing as npt

from ..extract.errors import UsageError

LEAST_SPREAD = 1e-6  # of inner products of unit vectors in float32; below, differences are rounding


def diverse(scores: npt.ArrayLike, vectors: npt.ArrayLike, top: int, diversity: float) -> npt.NDArray[np.int64]:
    """The rows of the best `top` candidates that differ from each other, in the order picked.

    Ties go to the better score, then to the earlier row; so `diversity` 0 is the order by score (stable), and the first pick is
    the best score always.

    Args:
        scores: (N,), larger is better; any scale.    vectors: (N, D), unit norm.
        top: how many at most; K = min(top, N).
        diversity: 0 (only relevance counts) to 1 (only difference does).

    Returns:
        (K,) int64.

    Raises:
        UsageError: `top` or `diversity` out of range.    ValueError: shapes do not fit, or a number is not finite.
    """
    score, vector = np.asarray(scores, np.float64), np.asarray(vectors, np.float32)
    _check(score, vector, top, diversity)
    order = np.argsort(-score, kind="stable")  # argmax takes the first of equals: the better score
    relevance = _scores_to_unit(score[order])
    similarity = _pairs_to_unit(vector[order])
    nearest = np.zeros(len(order), np.float32)  # largest similarity to those picked
    left = np.ones(len(order), bool)
    picked: list[int] = []
    for _ in range(min(top, len(order))):
        # Rounded, since inner products of equal rows differ in their last bits, and a tie should not hang on those.
        value = np.round((1 - diversity) * relevance - diversity * nearest, 6)
        best = int(np.argmax(np.where(left, value, -np.inf)))
        picked.append(best)
        left[best] = False
        np.maximum(nearest, similarity[best], out=nearest)
    return order[picked].astype(np.int64)


def _scores_to_unit(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(N,) sorted, best first -> (N,) in [0, 1]."""
    if not len(scores):
        return scores
    best, worst = scores[0], scores[-1]
    if best - worst <= LEAST_SPREAD * max(abs(best), abs(worst)):
        return np.zeros_like(scores)
    return np.asarray((scores - worst) / (best - worst))


def _pairs_to_unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(N, D) unit norm -> (N, N) in [0, 1], scaled over the pairs of different rows; the diagonal means nothing."""
    similarity = vectors @ vectors.T
    pairs = similarity[~np.eye(len(vectors), dtype=bool)]
    if not len(pairs) or pairs.max() - pairs.min() <= LEAST_SPREAD:
        return np.zeros_like(similarity)
    return np.asarray((similarity - pairs.min()) / (pairs.max() - pairs.min()))


def _check(scores: npt.NDArray[np.float64], vectors: npt.NDArray[np.float32], top: int, diversity: float) -> None:
    if not 0 <= diversity <= 1:
        raise UsageError(
            f"diversity: expected a number from 0 (the best) to 1 (the most different), got {diversity}. Try 0.3."
        )
    if top < 1:
        raise UsageError(f"top: expected how many to show, at least 1, got {top}.")
    if scores.ndim != 1 or vectors.ndim != 2 or len(scores) != len(vectors):
        raise ValueError(f"expected scores (N,) and vectors (N, D), got {scores.shape} and {vectors.shape}.")
    if not (np.isfinite(scores).all() and np.isfinite(vectors).all()):
        raise ValueError("expected finite scores and vectors, got nan or infinity among them; leave those rows out.")
