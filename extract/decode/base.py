"""What a decoding backend is: facts about a video, and its frames in presentation order.

Times are seconds from the stream's start, taken from presentation time stamps, never `frame / fps`. Pixels
are only converted to RGB when somebody asks (`DecodedFrame.rgb`, `DecodedFrame.picture`), because sampling one
frame a second throws most away.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from ..geometry import Geometry
from ..sample import Clock, Grid, sample

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a header says of a video; None where it does not say.

    Attributes:
        start_s: presentation time of the stream's start in the container's clock; already subtracted from
            all times.
        duration_s: length of the video stream (of the container where the stream does not say), or None.
        width_px, height_px: as displayed, rotation applied.
        rotation_deg: what the container's display matrix says, counter-clockwise; already applied to pixels.
        fps: average frame rate.    codec: libavcodec's name.    frames_expected: frames the header announces.
    """

    start_s: float
    duration_s: float | None
    width_px: int
    height_px: int
    rotation_deg: int
    fps: float | None
    codec: str
    frames_expected: int | None


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """One frame, `time_s` seconds from the stream's start; its pixels are made when asked for."""

    time_s: float
    convert: Callable[[Geometry | None], Pixels]

    def rgb(self) -> Pixels:
        """(H, W, 3) uint8, upright, as large as it is displayed."""
        return self.convert(None)

    def picture(self, geometry: Geometry) -> Pixels:
        """`geometry.shape` uint8 RGB, upright: scaled, then cropped or padded."""
        return self.convert(geometry)


class Restart(Exception):
    """Raised by `samples` after some came out: forget them, open the file again with `decode_all=True`.

    Attributes:
        why: why what was to be left out could not be proven unneeded, or did not come out as planned.
    """

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass
class Effort:
    """What reading a video took, for the run's report.

    Attributes:
        packets: of the video stream, read.    sent: of these, given to the decoder.
        frames: that came out of the decoder.
        why_all: why everything was decoded although the plan was to decode only what samples need; None if it was not.
    """

    packets: int = 0
    sent: int = 0
    frames: int = 0
    why_all: str | None = None


class Reader(Protocol):
    """An open video. Frames come in presentation order, once; a fault is raised after the good frames.

    Attributes:
        facts: what the header says.    clock: what the frames' times tell, as far as they were read.
        effort: as far as was read.     on_beat: called for every packet or frame, as a sign of life.
    """

    facts: VideoFacts
    clock: Clock
    effort: Effort
    on_beat: Callable[[], None]

    def frames(self) -> Iterator[DecodedFrame]:
        """Every frame (of the tier)."""
        ...

    def samples(self, grids: Sequence[Grid]) -> Iterator[tuple[DecodedFrame, int]]:
        """The frames that these grids want, each with its mask, see `sample`.

        Raises:
            Restart: see there; only by readers that leave packets out.
        """
        yield from sample(self.clock.watch(self.frames()), grids, self.facts.duration_s)

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
