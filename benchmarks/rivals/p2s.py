"""P2S's spans: peaks of a smoothed curve, widened while the curve stays above a part of the peak.

Source: Jeon et al. 2025, "Point to span: zero-shot moment retrieval for navigating unseen hour-long videos": the part is
.5 + .5 sigmoid(deviation of the scores) and, in seconds, the smoothing window too; peaks have a prominence of .05 and are 1 s
apart; suppression at IoU .8.
Differences: scores are brought to 0 to 1 first, as a part of a peak needs a zero (`unit=False`: they are not); without its
query decomposition, a span is ranked by its peak or its mean. Made for hours at several frames a second: at one score per 2 s
the smoothing does nothing, so the grid has other windows.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ._track import Floats, listed, totals, track, unit_range


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    unit: bool = True,
    part: float | None = None,
    smooth_s: float | None = None,
    prominence: float = 0.05,
    apart_s: float = 1.0,
    overlap: float = 0.8,
    by_mean: bool = False,
) -> Floats:
    """(P, 3) widened peaks.

    Args:
        part: of the peak, down to which a span reaches; None: the paper's. smooth_s: window of the moving mean; None: `part`.
    """
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import find_peaks

    on = track(scores, start_s, end_s)
    values = unit_range(on.values) if unit else on.values
    part = 0.5 + 0.5 / (1 + float(np.exp(-values.std()))) if part is None else part
    curve = np.asarray(uniform_filter1d(values, on.samples(part if smooth_s is None else smooth_s), mode="nearest"))
    # Lower ends, so that a peak at the edge of the video is one.
    peaks = find_peaks(
        np.pad(curve, 1, constant_values=curve.min() - 1), distance=on.samples(apart_s), prominence=prominence
    )
    heights, pairs = curve.tolist(), []
    for peak in (peaks[0] - 1).tolist():
        first, last, least = peak, peak + 1, heights[peak] * part
        while first and heights[first - 1] > least:
            first -= 1
        while last < len(heights) and heights[last] > least:
            last += 1
        pairs.append((first, last))
    spans = np.array(pairs, np.int64).reshape(-1, 2)
    mean = totals(values, spans) / np.maximum(spans[:, 1] - spans[:, 0], 1)
    return listed(on, spans, mean if by_mean else curve[peaks[0] - 1], overlap)


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"part": p, "smooth_s": s, "by_mean": b, "prominence": m}
    for p, s, b, m in product((None, 0.5, 0.65, 0.8), (None, 6.0, 10.0, 14.0), (False, True), (0.05, 0.15))
]
