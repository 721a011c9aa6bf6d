"""What is drawn: sentences with their curves, and the moments found."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Span:
    """A found moment `[start_s, end_s)`; `confidence` in 0..1, None where it is not known."""

    start_s: float
    end_s: float
    confidence: float | None


@dataclass(frozen=True, slots=True)
class Line:
    """One sentence's curve and its moments.

    Attributes:
        label: the sentence.
        start_s, end_s, scores: (T,) segments in the order of time, T >= 1; scores on any scale, they are standardised.
        moments: best first.
    """

    label: str
    start_s: npt.NDArray[np.floating]
    end_s: npt.NDArray[np.floating]
    scores: npt.NDArray[np.floating]
    moments: Sequence[Span]
