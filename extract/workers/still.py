"""Whether a picture is (nearly) the one before: slates, lectures, surveillance. Pure; opt-in with `--skip-still`.

Two pictures count as the same if in no block of 16x16 pixels the mean absolute difference exceeds `LEVELS` grey values,
so a small thing that moves in a large still picture is seen. They are compared with the last picture that was encoded,
not with the last sampled, so slow drifts do not add up. Costs 0.1 ms at 224 px.

It does not know what an encoder looks at. How much embeddings are off is measured on the run itself: one still picture
in `CHECK_EVERY` is encoded all the same and compared.
"""

import numpy as np
import numpy.typing as npt

BLOCK_PX = 16
LEVELS = 2.0
CHECK_EVERY = 16


def is_still(before: npt.NDArray[np.uint8], now: npt.NDArray[np.uint8]) -> bool:
    """(H, W, 3), (H, W, 3) uint8 -> whether no block changed by more than `LEVELS` of 255."""
    return before.shape == now.shape and largest_change(before, now) <= LEVELS


def largest_change(before: npt.NDArray[np.uint8], now: npt.NDArray[np.uint8]) -> float:
    """The largest mean absolute difference of a block, in grey values 0..255."""
    difference = np.maximum(before, now) - np.minimum(before, now)  # (H, W, 3), no overflow
    rows = np.add.reduceat(difference, np.arange(0, len(difference), BLOCK_PX), axis=0, dtype=np.uint32)
    sums = np.add.reduceat(rows, np.arange(0, rows.shape[1], BLOCK_PX), axis=1).sum(axis=2)  # (H/16, W/16)
    heights = np.diff([*range(0, difference.shape[0], BLOCK_PX), difference.shape[0]])
    widths = np.diff([*range(0, difference.shape[1], BLOCK_PX), difference.shape[1]])
    return float((sums / (np.outer(heights, widths) * difference.shape[2])).max())
