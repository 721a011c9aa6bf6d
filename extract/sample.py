"""Which frames are encoded, and which span each stands for. Pure functions on times; nothing here decodes.

The grid is `k / fps` seconds. The frame of a grid point is the one a player shows then: the last frame whose time is
not after it. A frame that is shown at several grid points (slide shows, stills) is encoded once.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .decode.base import DecodedFrame

# Containers round times (Matroska to 1 ms, others to 1/90000 s): a frame this little after a grid point is on it.
TOLERANCE_S = 5e-4


def sample(frames: Iterable[DecodedFrame], fps: float, end_s: float | None = None) -> Iterator[DecodedFrame]:
    """The frames shown at 0, 1/fps, 2/fps ... seconds, each once, in one streaming pass.

    Frames whose time is not after the one before (broken or repeated time stamps) are passed over. `end_s` is where
    the video ends, if the header says: the last frame is shown until then.

        times 0.0 0.4 0.8 1.2 1.6 2.0 at 1 fps  ->  0.0 0.8 2.0
    """
    shown: DecodedFrame | None = None
    k = 0  # the first grid point not yet served
    for frame in frames:
        if frame.time_s < -TOLERANCE_S:
            continue  # before the timeline's start: no player shows it
        if shown is not None:
            if frame.time_s <= shown.time_s:
                continue
            if k / fps < frame.time_s - TOLERANCE_S:
                yield shown
                k = math.ceil((frame.time_s - TOLERANCE_S) * fps)
        shown = frame
    if shown is not None:
        last_due_s = max(shown.time_s + TOLERANCE_S, (end_s or 0.0) - TOLERANCE_S)
        if k == 0 or k / fps < last_due_s:
            yield shown


def spans(times_s: Sequence[float], end_s: float) -> list[tuple[float, float]]:
    """Half-open spans of sampled frames: from each one's time to the next one's, the last to the video's end.

    The first span starts at 0, or at the first frame where that is earlier.
    """
    if not times_s:
        return []
    starts = [max(0.0, t) for t in times_s]
    ends = [*starts[1:], max(end_s, starts[-1] + 1e-3)]
    return list(zip(starts, ends, strict=True))


@dataclass
class Clock:
    """What the decoded times tell: how many frames, where the video ends, whether its rate varies."""

    frames: int = 0
    last_s: float | None = None
    shortest_s: float = math.inf
    longest_s: float = 0.0

    def watch(self, frames: Iterable[DecodedFrame]) -> Iterator[DecodedFrame]:
        """Pass frames on and count them."""
        for frame in frames:
            self.frames += 1
            if self.last_s is not None and frame.time_s > self.last_s:
                step = frame.time_s - self.last_s
                self.shortest_s, self.longest_s = min(self.shortest_s, step), max(self.longest_s, step)
            self.last_s = frame.time_s if self.last_s is None else max(self.last_s, frame.time_s)
            yield frame

    def end_s(self, fps: float | None) -> float:
        """Where the last frame stops being shown: its time plus one frame's length."""
        step = 1 / fps if fps else (self.shortest_s if math.isfinite(self.shortest_s) else 0.04)
        return (self.last_s or 0.0) + step

    @property
    def variable_fps(self) -> bool | None:
        """Whether steps differ by more than rounding to a millisecond explains; None with under three frames."""
        if self.frames < 3 or not math.isfinite(self.shortest_s):
            return None
        return self.longest_s > 1.25 * self.shortest_s + 2e-3
