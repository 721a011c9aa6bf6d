"""What a decoding backend is: facts about a video, and its frames in presentation order.

Times are seconds from the stream's start, taken from presentation time stamps, never `frame / fps`. Pixels
are only converted to RGB when somebody asks (`DecodedFrame.rgb`), because sampling one frame a second
throws most away.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

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
    """One frame: `time_s` seconds from the stream's start; `rgb()` gives (H, W, 3) uint8, upright."""

    time_s: float
    rgb: Callable[[], Pixels]


class Reader(Protocol):
    """An open video. Frames come in presentation order, once; a fault is raised after the good frames."""

    facts: VideoFacts

    def frames(self) -> Iterator[DecodedFrame]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
