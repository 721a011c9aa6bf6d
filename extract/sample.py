"""Which frames are encoded, and which span each stands for. Pure functions on times; nothing here decodes.

The grid is `k / fps` seconds. The frame of a grid point is the one a player shows then: the last frame whose time is
not after it. A frame that is shown at several grid points (slide shows, stills) is encoded once. Several encoders may
each have their own grid; what is decoded is the union, and every sampled frame says which grids want it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

# Containers round times (Matroska to 1 ms, others to 1/90000 s): a frame this little after a grid point is on it.
TOLERANCE_S = 5e-4


class Timed(Protocol):
    """Anything with a time; here frames."""

    @property
    def time_s(self) -> float: ...


T = TypeVar("T", bound=Timed)


class Sampler:
    """Told the times of frames one after the other, says which grids want the frame before.

    Whether a frame is wanted is only known when the next one comes, because until then it is still being shown.

    Args:
        rates: samples per second, one per grid; bit i of a mask stands for `rates[i]`.
    """

    def __init__(self, rates: Sequence[float]) -> None:
        self._rates = list(rates)
        self._due = [0] * len(self._rates)  # per grid, the first point not yet served
        self.shown_s: float | None = None  # the time of the last frame that counted

    def counts(self, time_s: float) -> bool:
        """Whether a player would show a frame of this time: not before the start, not after a later one."""
        return time_s >= -TOLERANCE_S and (self.shown_s is None or time_s > self.shown_s)

    def push(self, time_s: float) -> int:
        """A frame that `counts` comes next: the mask of grids that want the one shown so far (0: none)."""
        mask = 0
        if self.shown_s is not None:
            for i, fps in enumerate(self._rates):
                if self._due[i] / fps < time_s - TOLERANCE_S:
                    mask |= 1 << i
                    self._due[i] = math.ceil((time_s - TOLERANCE_S) * fps)
        self.shown_s = time_s
        return mask

    def finish(self, end_s: float | None = None) -> int:
        """No frame comes any more: the mask of the last one, which is shown until `end_s` if the header says."""
        if self.shown_s is None:
            return 0
        last_due_s = max(self.shown_s + TOLERANCE_S, (end_s or 0.0) - TOLERANCE_S)
        due = enumerate(zip(self._due, self._rates, strict=True))
        return sum(1 << i for i, (k, fps) in due if k == 0 or k / fps < last_due_s)


def sample(frames: Iterable[T], rates: Sequence[float], end_s: float | None = None) -> Iterator[tuple[T, int]]:
    """The frames shown at 0, 1/fps, 2/fps ... seconds of any rate, each once with its mask, in one streaming pass.

    Frames whose time is not after the one before (broken or repeated time stamps) are passed over. `end_s` is where
    the video ends, if the header says: the last frame is shown until then.

        times 0.0 0.4 0.8 1.2 1.6 2.0 at 1 fps          ->  0.0 0.8 2.0
                                      at 1 fps and 2 fps ->  0.0 (both)  0.4 (2)  0.8 (both)  1.2 (2)  2.0 (both)
    """
    sampler, shown = Sampler(rates), None
    for frame in frames:
        if not sampler.counts(frame.time_s):
            continue
        mask = sampler.push(frame.time_s)
        if shown is not None and mask:
            yield shown, mask
        shown = frame
    mask = sampler.finish(end_s)
    if shown is not None and mask:
        yield shown, mask


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
    """What the times of a video's frames tell: how many there are, where it ends, whether its rate varies."""

    frames: int = 0
    last_s: float | None = None
    shortest_s: float = math.inf
    longest_s: float = 0.0

    def tick(self, time_s: float) -> None:
        """One more frame."""
        self.frames += 1
        if self.last_s is not None and time_s > self.last_s:
            step = time_s - self.last_s
            self.shortest_s, self.longest_s = min(self.shortest_s, step), max(self.longest_s, step)
        self.last_s = time_s if self.last_s is None else max(self.last_s, time_s)

    def watch(self, frames: Iterable[T]) -> Iterator[T]:
        """Pass frames on and count them."""
        for frame in frames:
            self.tick(frame.time_s)
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
