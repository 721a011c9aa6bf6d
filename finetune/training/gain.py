"""Has training helped? The untouched model and the trained one on the same held-out captions. Pure."""

from dataclasses import dataclass

from ...evaluate.bootstrap import paired
from .task import Validation


@dataclass(frozen=True)
class Gain:
    """Attributes:
    value, low, high: of R@1 in percent points, trained minus untouched, with a 95 % interval over sources.
    sure: whether the trained model ranks better beyond chance.
    """

    value: float
    low: float
    high: float
    sure: bool

    def facts(self) -> list[float]:
        """[low, high], for JSON."""
        return [round(self.low, 3), round(self.high, 3)]


def gain(before: Validation, after: Validation) -> Gain:
    """Paired by caption, drawn by source.

    `sure` asks two things: a higher R@1, and a mean of 1 / rank that is higher by an interval above 0. The latter uses every
    caption's rank, where R@1 sees only those that came first or left it, so it tells with fewer captions.
    """
    first = paired(after.hits, before.hits, list(before.sources))
    inverse = paired(1 / after.ranks, 1 / before.ranks, list(before.sources))
    return Gain(first.value, first.low, first.high, bool(first.value > 0 and inverse.low > 0))
