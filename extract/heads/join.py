"""Which clip lies over each frame: features of two encoders of one video, joined by time and never by row."""

import numpy as np
import numpy.typing as npt

Seconds = npt.NDArray[np.float64]


def clips_over(time_s: Seconds, start_s: Seconds, end_s: Seconds) -> npt.NDArray[np.int64]:
    """(T,) the clip whose span `[start_s, end_s)` holds a frame's time, of several that whose middle is nearest; -1 for none.

    Args:
        time_s: (T,) of the frames.    start_s, end_s: (C,) of the clips, in order of their starts.
    """
    out = np.full(len(time_s), -1, np.int64)
    if not len(start_s):
        return out
    middle = (start_s + end_s) / 2
    distance = np.full(len(time_s), np.inf)
    # Clips are as long as each other but for the last, so few begin within one length of a frame.
    last = np.searchsorted(start_s, time_s, side="right")
    longest = float((end_s - start_s).max())
    first = np.searchsorted(start_s, time_s - longest, side="left")
    for step in range(int((last - first).max(initial=0))):
        clip = np.minimum(first + step, len(start_s) - 1)
        nearer = (first + step < last) & (time_s < end_s[clip]) & (abs(time_s - middle[clip]) < distance)
        out[nearer], distance[nearer] = clip[nearer], abs(time_s - middle[clip])[nearer]
    return out
