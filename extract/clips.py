"""Clips: which sampled frames of a video belong together. Pure; knows no encoder and no file.

Clip j of a plan has `frames` points, `stride_s` apart, from `j * hop_s` on; each point takes the frame that is shown then.
Strides are seconds, so 25, 30 and 60 fps footage mean the same. Points past the video's end take the clip's last frame
again, and the clip says how many they were. A clip that would be one standing picture, the same as the clip before, is not
made again: the span of the one before goes on, as with single frames.

Memory: the pictures of clips that are not complete yet, 2.4 MB for 16 of 224 px.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .errors import UsageError
from .sample import TOLERANCE_S, Grid, last_due_s

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ClipPlan:
    """Which clips an encoder takes of a video.

    Attributes:
        frames: T, frames per clip.    stride_s: from one to the next.    hop_s: from one clip's start to the next's.
        fewest, most: what the network takes; `frames` if 0.

        ClipPlan(16, 0.5, 8.0): a clip covers 8 s, and clips follow one another.
    """

    frames: int
    stride_s: float
    hop_s: float
    fewest: int = 0
    most: int = 0

    @property
    def length_s(self) -> float:
        """Seconds that a clip covers."""
        return self.frames * self.stride_s

    @property
    def span_s(self) -> float:
        """Seconds that a clip stands for: where clips are sparse, up to the next one."""
        return max(self.length_s, self.hop_s)

    @property
    def grid(self) -> Grid:
        return Grid(1 / self.hop_s, self.frames, self.stride_s)

    def as_json(self) -> dict[str, float]:
        """As it stands in a fingerprint."""
        return {"frames_per_clip": self.frames, "stride_s": self.stride_s, "hop_s": self.hop_s}


@dataclass(frozen=True, slots=True)
class ClipWish:
    """What the user wants changed of every plan; None where nothing was said."""

    length_s: float | None = None
    stride_s: float | None = None
    hop_s: float | None = None


def consecutive(frames: int, stride_s: float, *, fewest: int = 0, most: int = 0) -> ClipPlan:
    """Clips that follow one another without gap or overlap."""
    return ClipPlan(frames, stride_s, frames * stride_s, fewest, most)


def change(plan: ClipPlan, wish: ClipWish, spec: str) -> ClipPlan:
    """The plan with what the user wants; a length without a stride spreads the plan's own number of frames over it; without
    a hop clips follow one another, or stay as sparse as they were.

    Raises:
        UsageError: not positive, or a number of frames that the encoder `spec` does not take.
    """
    named = {"--clip-length": wish.length_s, "--stride": wish.stride_s, "--hop": wish.hop_s}
    for option, value in named.items():
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{option} {value:g}: expected seconds above 0.")
    if wish == ClipWish():
        return plan
    stride_s, frames = wish.stride_s or plan.stride_s, plan.frames
    if wish.length_s is not None:
        if wish.stride_s is None:
            stride_s = wish.length_s / frames
        else:
            frames = round(wish.length_s / stride_s)
    fewest, most = plan.fewest or plan.frames, plan.most or plan.frames
    if not fewest <= frames <= most:
        takes = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise UsageError(
            f"encoder {spec}: --clip-length {wish.length_s:g} with --stride {stride_s:g} is {frames} frames a clip; this "
            f"encoder takes {takes}. Give only one of the two, or --clip-length {fewest * stride_s:g}."
        )
    is_sparse = plan.hop_s > 1.001 * plan.length_s
    hop_s = wish.hop_s or max(frames * stride_s, plan.hop_s if is_sparse else 0.0)
    return replace(plan, frames=frames, stride_s=stride_s, hop_s=hop_s)


@dataclass(frozen=True, slots=True)
class Clip:
    """T frames of one video.

    Attributes:
        start_s: of its first point.    pictures: T times (H, W, 3) uint8.    times_s: (T,) when they were first shown.
        source_px: (height, width) of the video as displayed.    repeated: how many at the end only repeat the last.
    """

    start_s: float
    pictures: Sequence[Picture]
    times_s: Sequence[float]
    source_px: tuple[int, int]
    repeated: int = 0

    @property
    def shown_s(self) -> float:
        """The time of the frame in the middle of what is not repeated."""
        return self.times_s[(len(self.times_s) - self.repeated) // 2]


class ClipMaker:
    """Told the sampled frames of one video one after the other, makes its clips.

    Args:
        source_px: (height, width) of the video as displayed.
    """

    def __init__(self, plan: ClipPlan, source_px: tuple[int, int]) -> None:
        self._plan, self._grid = plan, plan.grid
        self._source_px = source_px
        self._held: deque[tuple[float, Picture]] = deque()
        self._next = 0  # number of the clip to make
        self._standing_s: float | None = (
            None  # the time of the frame that the clip before consists of, if it is one only
        )

    def push(self, time_s: float, picture: Picture) -> Iterator[Clip]:
        """The next sampled frame, later than those before; gives the clips that no later frame belongs to."""
        while self._held and self._point(self._next, self._plan.frames - 1) + TOLERANCE_S < time_s:
            yield from self._make(time_s)
        self._held.append((time_s, picture))
        first_s = self._point(self._next, 0) + TOLERANCE_S
        while len(self._held) > 1 and self._held[1][0] <= first_s:
            self._held.popleft()

    def finish(self, last_s: float, end_s: float | None = None) -> Iterator[Clip]:
        """No frame comes any more: the video's last, sampled or not, is of `last_s` and shown until `end_s`, if known."""
        if self._held:
            until_s = last_due_s(max(last_s, self._held[-1][0]), end_s)
            while self._next == 0 or self._point(self._next, 0) < until_s:
                yield from self._make(math.inf, until_s)

    def _point(self, clip: int, i: int) -> float:
        return clip / self._grid.rate + i * self._plan.stride_s

    def _make(self, before_s: float, until_s: float = math.inf) -> Iterator[Clip]:
        """Clip `_next`, unless it stands still as the one before; then all that do are passed over.

        Args:
            before_s: when the next frame comes.    until_s: where the last frame stops being shown.
        """
        points = [self._point(self._next, i) for i in range(self._plan.frames)]
        real = max(1, sum(point < until_s for point in points))  # the first clip of a video may have no point in it
        shown = [self._shown_at(point) for point in points[:real]]
        shown += [shown[-1]] * (len(points) - real)
        times_s = [self._held[at][0] for at in shown]
        standing_s = times_s[0] if shown[0] == shown[-1] else None
        if standing_s is not None and standing_s == self._standing_s:
            reach_s = min(before_s - TOLERANCE_S, until_s)  # a header may claim years: no loop over them
            self._next = max(self._next + 1, math.floor((reach_s - points[-1] + points[0]) * self._grid.rate))
            return
        self._next, self._standing_s = self._next + 1, standing_s
        yield Clip(points[0], [self._held[at][1] for at in shown], times_s, self._source_px, len(points) - real)

    def _shown_at(self, point_s: float) -> int:
        at = sum(time_s <= point_s + TOLERANCE_S for time_s, _ in self._held) - 1
        return max(0, at)


def clip_spans(starts_s: Sequence[float], span_s: float, end_s: float) -> npt.NDArray[np.float64]:
    """(S, 2) half-open spans of clips: each stands for `span_s`, or up to the next one where that is later (the picture
    stood still), none beyond the video's end, and the last up to it.

        starts 0 8 24, span 8, end 27 -> [0, 8) [8, 24) [24, 27)
        starts 0 4 8,  span 8, end 10 -> [0, 8) [4, 10) [8, 10)
    """
    starts = np.asarray(starts_s, np.float64)
    ends = np.minimum(np.maximum(starts + span_s, np.append(starts[1:], end_s)), end_s)
    return np.stack([starts, np.maximum(ends, starts + 1e-3)], axis=1)
