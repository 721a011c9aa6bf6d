"""Which frames are encoded, and which span each stands for. Pure functions on times; nothing here decodes.

The frame of a grid point is the one a player shows then: the last frame whose time is not after it. A frame that is
shown at several grid points (slide shows, stills) is sampled once. Several encoders may each have their own grid; what is
decoded is the union, and every sampled frame says which grids want it.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

# Containers round times (Matroska to 1 ms, others to 1/90000 s): a frame this little after a grid point is on it.
TOLERANCE_S = 5e-4


@dataclass(frozen=True, slots=True)
class Grid:
    """Times that want a frame: runs of `frames` points, `stride_s` seconds apart; run j begins at `j / rate` seconds.

    Grid(2)            0  0.5  1  1.5 ...
    Grid(0.25, 3, 0.1) 0  0.1  0.2    4  4.1  4.2    8 ...
    Grid(1, 3, 0.5)    0  0.5  1  1.5 ...   (runs overlap; a time that two of them want is one point)
    """

    rate: float
    frames: int = 1
    stride_s: float = 0.0

    def first_from(self, time_s: float) -> float:
        """The first point at or after `time_s`."""
        run = max(0, math.ceil(time_s * self.rate))
        first = run / self.rate
        if self.frames == 1:
            return first
        length_s = (self.frames - 1) * self.stride_s
        for earlier in range(run - 1, -1, -1):  # a run that began before may still have points to come
            begin = earlier / self.rate
            if begin + length_s < time_s:
                break
            i = math.ceil((time_s - begin) / self.stride_s)
            if i < self.frames:
                first = min(first, begin + i * self.stride_s)
        return first


class Timed(Protocol):
    """Anything with a time; here frames."""

    @property
    def time_s(self) -> float: ...


T = TypeVar("T", bound=Timed)


class Sampler:
    """Told the times of frames one after the other, says which grids want the frame before.

    Whether a frame is wanted is only known when the next one comes, because until then it is still being shown.

    Args:
        grids: bit i of a mask stands for `grids[i]`.
    """

    def __init__(self, grids: Sequence[Grid]) -> None:
        self._grids = list(grids)
        self._due = [0.0] * len(self._grids)  # per grid, the first point not yet served
        self.shown_s: float | None = None  # the time of the last frame that counted

    def counts(self, time_s: float) -> bool:
        """Whether a player would show a frame of this time: not before the start, not after a later one."""
        return time_s >= -TOLERANCE_S and (self.shown_s is None or time_s > self.shown_s)

    def push(self, time_s: float) -> int:
        """A frame that `counts` comes next: the mask of grids that want the one shown so far (0: none)."""
        mask = 0
        if self.shown_s is not None:
            for i, grid in enumerate(self._grids):
                if self._due[i] < time_s - TOLERANCE_S:
                    mask |= 1 << i
                    self._due[i] = grid.first_from(time_s - TOLERANCE_S)
        self.shown_s = time_s
        return mask

    def finish(self, end_s: float | None = None) -> int:
        """No frame comes any more: the mask of the last one, which is shown until `end_s` if the header says."""
        if self.shown_s is None:
            return 0
        shown_until_s = last_due_s(self.shown_s, end_s)
        return sum(1 << i for i, due_s in enumerate(self._due) if due_s == 0 or due_s < shown_until_s)


def last_due_s(shown_s: float, end_s: float | None) -> float:
    """Points before this are served by the last frame, shown since `shown_s` and until `end_s` if the header says."""
    return max(shown_s + TOLERANCE_S, (end_s or 0.0) - TOLERANCE_S)


def sample(frames: Iterable[T], grids: Sequence[Grid], end_s: float | None = None) -> Iterator[tuple[T, int]]:
    """The frames shown at the points of any grid, each once with its mask, in one streaming pass.

    Frames whose time is not after the one before (broken or repeated time stamps) are passed over. `end_s` is where
    the video ends, if the header says: the last frame is shown until then.

        times 0.0 0.4 0.8 1.2 1.6 2.0 at 1 fps          ->  0.0 0.8 2.0
                                      at 1 fps and 2 fps ->  0.0 (both)  0.4 (2)  0.8 (both)  1.2 (2)  2.0 (both)
    """
    sampler, shown = Sampler(grids), None
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
