"""The archive's own null distribution: how similar a query is to footage that has nothing to do with it.

Mean and covariance of all vectors, so that for any unit query q the mean and variance of its inner products with the
whole archive are q.mu and q'Cq, without touching a vector. Costs D*D*4 bytes (0.6 MB at D = 384, 4 MB at 1024).

What it does not know: that tails are not normal, and that frames of one video are alike; `null.py` and `search/trust.py` do.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class NullStats:
    """Attributes: mean (D,) and covariance (D, D) of the vectors, float32; `videos`: how many they came from."""

    mean: FloatArray
    covariance: FloatArray
    videos: int

    def variance(self, queries: FloatArray) -> FloatArray:
        """(Q,) of the inner products of queries (Q, D) with the vectors."""
        return np.asarray(np.maximum(((queries @ self.covariance) * queries).sum(1), 1e-12), np.float32)


class Accumulator:
    """Streaming mean and covariance in float64: exact to rounding, one pass."""

    def __init__(self, dim: int) -> None:
        self.count = 0
        self._sum = np.zeros(dim)
        self._outer = np.zeros((dim, dim))

    def add(self, vectors: FloatArray) -> None:
        """Take (S, D) vectors in."""
        self.count += len(vectors)
        wide = vectors.astype(np.float64)
        self._sum += wide.sum(0)
        self._outer += wide.T @ wide

    def stats(self, videos: int) -> NullStats:
        """What was taken in so far."""
        count = max(1, self.count)
        mean = self._sum / count
        covariance = self._outer / count - np.outer(mean, mean)
        return NullStats(mean.astype(np.float32), covariance.astype(np.float32), videos)
