"""k nearest neighbours with weighted votes, without any training: how well the features alone tell classes apart.

    Neighbours(bank, labels, classes).probabilities(features)       (N, C)

As in Wu et al. 2018 (arXiv 1805.01978, section 3.4) and DINO (Caron et al. 2021, arXiv 2104.14294): of the k most similar
examples, each votes for its class with weight exp(cosine / T), k = 20, T = 0.07. How we differ: k is capped at the number of
examples, and votes are divided by their sum, which changes no order and gives shares in [0, 1]. A class without a vote has 0,
tied with others; ties count against us.

Costs 2 N M D floating point operations for N queries and M examples, in blocks of 64 MB: 10 000 against 10 000 at D = 768 in
2.9 s of one core.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .linear import Floats, Probabilities, Whole

K, TEMPERATURE = 20, 0.07
BLOCK = 1 << 24  # similarities at once


@dataclass(frozen=True)
class Neighbours:
    """Attributes:
    bank: (M, D) float32, unit norm, the examples.    labels: (M,) their classes.    classes: C.
    k, temperature: see the module.
    """

    bank: Floats
    labels: Whole
    classes: int
    k: int = K
    temperature: float = TEMPERATURE

    def probabilities(self, features: Floats) -> Probabilities:
        """(N, D) float32 of unit norm -> (N, C) float64 shares of the votes, each row adds up to 1."""
        step = max(1, BLOCK // len(self.bank))
        parts = [self._votes(features[low : low + step]) for low in range(0, len(features), step)]
        return np.concatenate([np.zeros((0, self.classes)), *parts])

    def _votes(self, features: Floats) -> Probabilities:
        cosines: npt.NDArray[np.float32] = features @ self.bank.T
        k = min(self.k, len(self.bank))
        nearest = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(cosines, nearest, axis=1).astype(np.float64)
        weights = np.exp((near - near.max(axis=1, keepdims=True)) / self.temperature)
        votes = np.zeros((len(features), self.classes))
        np.add.at(votes, (np.arange(len(features))[:, None], self.labels[nearest]), weights)
        return np.asarray(votes / votes.sum(axis=1, keepdims=True), np.float64)
