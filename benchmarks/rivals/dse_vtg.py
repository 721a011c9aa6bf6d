"""DSE-VTG's proposal stage: frame and clip scores fused, low scores masked, power transform, spans between changes, contrast.

Source: a description of DSE-VTG (38.64 mAP on QVHighlights with its encoders): scores of frames and of 4 s clips, under a
triangular kernel, mixed by `alpha`; only what exceeds mean - deviation; Box-Cox; change points; mean inside less mean outside.
Neither its paper nor its code was at hand, so what the description leaves open is ours: the change points are where the stored
features change, spans are suppressed at `overlap`, and the defaults.
Differences: without its adaptation of the query at test time (its authors gain a point of mIoU by it); clips are weighted
means of frame scores, since there is no clip encoder here, and its authors gain most by that second encoder.
"""

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from ._track import Floats, between, box_cox, changes, contrast, listed, rows, track


def propose(
    scores: npt.ArrayLike,
    start_s: npt.ArrayLike,
    end_s: npt.ArrayLike,
    features: npt.ArrayLike | None = None,
    query: npt.ArrayLike | None = None,
    *,
    alpha: float = 0.5,
    clip_s: float = 4.0,
    mask_deviations: float = 1.0,
    window_s: float = 4.0,
    deviations: float = 0.0,
    share: float = 0.5,
    longest_s: float | None = None,
    overlap: float | None = 0.7,
) -> Floats:
    """(P, 3) spans between changes.

    Args:
        alpha: weight of the clip scores.
        window_s, deviations: what counts as a change, see `changes`.
    """
    on = track(scores, start_s, end_s)
    count = len(on.values)
    width = on.samples(clip_s)
    kernel = 1.0 - np.abs(np.arange(-width, width + 1)) / (width + 1)
    padded = np.pad(on.values, width, mode="edge")
    fused = (1 - alpha) * on.values + alpha * np.convolve(padded, kernel / kernel.sum(), "valid")
    kept = np.flatnonzero(fused >= fused.mean() - mask_deviations * fused.std())
    points = np.unique(np.searchsorted(kept, changes(rows(features, count), on.samples(window_s), deviations)))
    longest = count * share if longest_s is None else min(count * share, on.samples(longest_s))
    pairs = between(points, longest)
    last = kept[pairs[:, 1] - 1] + 1
    return listed(on, np.stack([kept[pairs[:, 0]], last], axis=1), contrast(box_cox(fused[kept]), pairs), overlap)


PUBLISHED: dict[str, Any] = {}
GRID = [
    {"alpha": a, "window_s": w, "deviations": d, "overlap": o, "share": 1.0, "longest_s": 75.0}
    for a, w, d, o in product((0.0, 0.3, 0.5), (2.0, 4.0, 8.0), (-0.5, 0.0, 0.5, 1.0), (0.5, 0.7))
]
