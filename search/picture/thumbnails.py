"""Pictures of a video at given times, small, for people to look at: `thumbnails`.

A decoding process (`extract/workers`) opens the file, jumps to the key frame before each time and decodes from there; it is
killed when it hangs, grows or takes longer than `LIMITS`. Pictures are upright and as wide as a player shows them: here, not
in what encoders get, the sample aspect ratio is applied.

It does not know: archives, moments. Costs on two busy cores, eight pictures of 240 px: 0.6 to 1.0 s from an hour of 160x120 in
MP4, as much in Matroska, 2 to 5 s in a transport stream, which has no index; 1 to 4 s from 10 s of 1280x720 with one or two key
frames, all of which is decoded; 6 s at worst for five pictures of any of 130 awkward files. 0.3 s are the process's start.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...extract.decode.base import DecodedFrame, Effort, Pixels, Reader
from ...extract.decode.faults import as_video_error, open_container
from ...extract.decode.header import facts_of
from ...extract.decode.pixels import Upright, display_matrix, is_transposed
from ...extract.decode.pyav import first_video_stream, ignore_others
from ...extract.errors import VideoError
from ...extract.geometry import Geometry
from ...extract.sample import TOLERANCE_S, Clock, Grid
from ...extract.workers.messages import Ended, Job, Lane, Opened, Sampled, Setup
from ...extract.workers.pool import Pool
from ...extract.workers.process import Limits

MOST_TIMES = 60  # one bit each in a mask of 63
WIDEST = 4  # times the height; a wider picture is less high
LIMITS = Limits(floor_s=30.0, multiple=0.0, stall_s=10.0)
# Pixels decoded for one picture (250 frames of 1280x720, about a second) and at least so many frames: where key frames are
# farther apart, the picture is an earlier one and says so.
_MOST_PX, _LEAST_FRAMES = 250 * 1280 * 720, 60
_SOON_S = 2.0  # ahead: decoding on is as cheap as a jump
_BACK_S = (0.0, 2.0, 10.0)  # where files without an index are entered again if decoding began too late
_ODDEST = 8  # a sample aspect ratio beyond is an error of the header


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """What a video shows at a time.

    Attributes:
        time_s: the time asked for; an earlier one where that could not be reached cheaply.
        rgb: (H, W, 3) uint8, upright, with the proportions of the display.
    """

    time_s: float
    rgb: npt.NDArray[np.uint8]


def thumbnails(video: Path, times_s: Sequence[float], height_px: int = 120) -> list[Thumbnail]:
    """The pictures a player shows at `times_s`, in the order of time; fewer where some cannot be decoded.

    Args:
        times_s: at most `MOST_TIMES`, in seconds on the video's timeline; equal ones give one picture.
        height_px: of the pictures; less for one more than `WIDEST` times as wide as high.

    Raises:
        VideoError: not one picture could be had.    ValueError: too many times, or one that is negative or not finite.
    """
    times = sorted(set(times_s))
    if len(times) > MOST_TIMES or not all(0 <= time_s < math.inf for time_s in times):
        raise ValueError(
            f"times_s: got {list(times_s)!r:.200}; expected at most {MOST_TIMES} times, 0 or later, finite"
        )
    if not times:
        return []
    geometry = Geometry((height_px, WIDEST * height_px))
    # A lane's grid has two points here, 0 and the time; `JumpingReader` looks at the second.
    lanes = tuple(Lane(Grid(1.0, 2, time_s), 0) for time_s in times)
    setup = Setup((geometry,), lanes, slots=min(4, len(times)), memory_bytes=LIMITS.memory_bytes)
    return _collect(Job(str(video), backend=f"{__name__}:JumpingReader"), setup)


def _collect(job: Job, setup: Setup) -> list[Thumbnail]:
    """What a decoding process gives, until it ends or is ended."""
    found: list[Thumbnail] = []
    fault: VideoError | None = None
    shown_px = setup.geometries[0].size_px
    with Pool(1, setup, LIMITS) as pool:
        worker = pool.idle()
        assert worker is not None
        worker.start(job)
        while pool.busy:
            for _, event in pool.poll(1.0):
                try:
                    if isinstance(event, Opened):
                        shown_px = shrunk(event.facts.height_px, event.facts.width_px, setup.geometries[0].size_px)
                    elif isinstance(event, Sampled):
                        picture = worker.picture(event.slot, 0)
                        found.append(Thumbnail(event.time_s, picture[: shown_px[0], : shown_px[1]].copy()))
                        worker.free(event.slot)
                    elif isinstance(event, Ended):
                        fault = event.fault
                except ValueError as error:  # it names a slot that there is not
                    worker.distrust(error)
    if not found:
        raise fault or VideoError("zero_frames", "the video shows nothing at these times")
    once = {thumbnail.time_s: thumbnail for thumbnail in found}  # times out of reach may all give the same picture
    return [once[time_s] for time_s in sorted(once)]


class JumpingReader(Reader):
    """Runs in the decoding process, named as the backend of its job. Its facts' size is that of the display.

    Raises:
        VideoError: unreadable, no_video or unsupported_codec; stage `open`.
    """

    def __init__(self, path: str | Path, tier: str = "exact", decode_all: bool = False, threads: int = 1) -> None:
        self.clock, self.effort = Clock(), Effort()
        self.on_beat = lambda: None
        self._container = open_container(path)
        try:
            self._stream = first_video_stream(self._container)
            ignore_others(self._container, self._stream)
            context = self._stream.codec_context
            context.thread_type, context.thread_count = "AUTO", threads
            self._upright = Upright(context.name)
            self._stamp = "dts" if self._container.format.name == "avi" else "pts"  # as in `PyavReader`
            self._frames = self._decode()
            first = next(self._frames, None)
            # A raw stream has no times: its frames are counted, as `PyavReader` does, and there is no jumping.
            self._count: int | None = None
            if first is not None and getattr(first, self._stamp) is None:
                self._stamp, self._count = "pts", 0
                self._number(first)
            facts = facts_of(self._container, self._stream, first)
            self._origin_s = facts.start_s if self._stamp == "pts" else 0.0
            if self._stamp == "dts" and first is not None:
                self._origin_s = self._seconds(first)
            self._shown: Any = first  # the frame that came out last, and the one after it
            self._after: Any = None
            height, width = (facts.height_px, facts.width_px) if first is None else display_px(first, self._ratio())
            self.facts = replace(facts, height_px=round(height), width_px=round(width))
        except BaseException:
            self.close()
            raise

    def samples(self, grids: Sequence[Grid]) -> Iterator[tuple[DecodedFrame, int]]:
        """For each grid the frame shown at its second point; a fault is raised after the good ones."""
        fault: VideoError | None = None
        for i, grid in enumerate(grids):
            try:
                time_s = self._go_to(grid.stride_s)
            except VideoError as error:
                fault, self._shown, self._after = error, None, None
                continue
            if time_s is not None:
                yield DecodedFrame(time_s, partial(self._picture, self._shown)), 1 << i
        if fault is not None:
            raise fault

    def _go_to(self, time_s: float) -> float | None:
        """Make `_shown` the frame that is shown at `time_s`; the time it stands for, None if nothing was decoded."""
        if self._is_far(time_s):
            self._jump(time_s)
        if self._shown is None:
            return None
        left = max(_LEAST_FRAMES, _MOST_PX // max(1, self._stream.width * self._stream.height))
        while left and (self._after is None or self._seconds(self._after) <= time_s + TOLERANCE_S):
            self._shown = self._after or self._shown
            self._after, left = self._next(), left - 1
            if self._after is None:
                return max(self._seconds(self._shown), min(time_s, self.facts.duration_s or 0.0))
            if self._seconds(self._after) > time_s + TOLERANCE_S:
                return max(self._seconds(self._shown), time_s)
        return max(0.0, self._seconds(self._shown), time_s if left else 0.0)

    def _is_far(self, time_s: float) -> bool:
        """Whether it is worth to jump: not where decoding is there soon, or is past the last key frame before it."""
        if self._count is not None:
            return False
        newest = self._after or self._shown
        return newest is None or (time_s > self._seconds(newest) + _SOON_S and not self._is_past_key(time_s, newest))

    def _jump(self, time_s: float) -> None:
        """Seek to the key frame before and make `_shown` the first frame from there; elsewhere if the file cannot seek well."""
        for back_s in _BACK_S:
            try:
                stamp = int((max(0.0, time_s - back_s) + self._origin_s) / self._stream.time_base)
                self._container.seek(stamp, stream=self._stream, backward=True)
            except MemoryError:
                raise
            except Exception as error:  # libav: several types, by error number
                if self._shown is None:
                    raise as_video_error(error, stage="decode") from error
                return  # a stream that only goes forward
            self._frames = self._decode()
            self._shown, self._after = self._next(), None
            if self._shown is not None and self._seconds(self._shown) <= time_s + TOLERANCE_S:
                return

    def _is_past_key(self, time_s: float, newest: Any) -> bool:
        """Whether the file's index reaches to the time, and its last key frame before that is decoded already."""
        index, stamp = self._stream.index_entries, int((time_s + self._origin_s) / self._stream.time_base)
        if not len(index) or index[len(index) - 1].timestamp < stamp or newest.dts is None:
            return False
        at = index.search_timestamp(stamp, backward=True)
        return bool(at < 0 or index[at].timestamp <= newest.dts)

    def _next(self) -> Any:
        for frame in self._frames:
            if self._count is not None:
                self._number(frame)
            if getattr(frame, self._stamp) is not None:
                return frame
        return None

    def _number(self, frame: Any) -> None:
        """Give the next of a raw stream's frames its time."""
        assert self._count is not None
        rate = self._stream.average_rate or self._stream.guessed_rate or 25
        frame.pts, frame.time_base, self._count = self._count, 1 / Fraction(rate), self._count + 1

    def _decode(self) -> Iterator[Any]:
        try:
            for packet in self._container.demux(self._stream):
                self.on_beat()
                self.effort.packets += 1
                for frame in packet.decode():
                    self.effort.frames += 1
                    yield frame
        except Exception as error:
            raise as_video_error(error, stage="decode", after_frames=self.effort.frames) from error

    def _seconds(self, frame: Any) -> float:
        return float(getattr(frame, self._stamp) * frame.time_base) - self._origin_s

    def _ratio(self) -> Fraction:
        """Width to height of one pixel."""
        ratio = self._stream.sample_aspect_ratio
        return ratio if ratio and Fraction(1, _ODDEST) <= ratio <= _ODDEST else Fraction(1)

    def _picture(self, frame: Any, geometry: Geometry | None) -> Pixels:
        """The frame in the upper left of the geometry's pixels; black around one of another shape than the facts say."""
        assert geometry is not None
        out: Pixels = np.zeros(geometry.shape, np.uint8)
        height_px, width_px = shrunk(self.facts.height_px, self.facts.width_px, geometry.size_px)
        size_px = shrunk(*display_px(frame, self._ratio()), (height_px, width_px))
        top, left = (height_px - size_px[0]) // 2, (width_px - size_px[1]) // 2
        out[top : top + size_px[0], left : left + size_px[1]] = self._upright(frame, Geometry(size_px, "squash"))
        return out

    def frames(self) -> Iterator[DecodedFrame]:
        raise NotImplementedError("this reader only jumps; see `samples`")

    def close(self) -> None:
        self._container.close()


def display_px(frame: Any, ratio: Fraction) -> tuple[float, float]:
    """(height, width) of a frame as a player shows it, turned, its pixels `ratio` times as wide as high."""
    height, width = float(frame.height), float(frame.width * ratio)
    return (width, height) if is_transposed(display_matrix(frame)) else (height, width)


def shrunk(height: float, width: float, box_px: tuple[int, int]) -> tuple[int, int]:
    """(height, width) in whole pixels, at least 1, of a shape made as large as fits into `box_px`.

    1280x720 into (120, 480): (120, 213). 1000x100: (48, 480).
    """
    if not (height > 0 and width > 0):
        return box_px
    scale = min(box_px[0] / height, box_px[1] / width)
    return max(1, min(box_px[0], round(height * scale))), max(1, min(box_px[1], round(width * scale)))
