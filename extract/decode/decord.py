"""Decode with decord: the second opinion, for comparison; `pyav` is the default because it is right more
often.

decord opens whatever libavformat recognises, playlists to other files and addresses included, so the header
is read by PyAV first, behind its fences (`faults.py`), which also gives the facts decord does not tell
(codec, rotation). A frame whose shape is not what that header announces is a fault, not a frame: decord
prefers another stream where there are several.

What stays wrong is listed by file in `tests/extract/test_decode_conformance.py`, `KNOWN_WRONG`: edit lists
are ignored (extra frames, negative times), AVI of delayed frames has no times, WebM without a duration does
not open. Names that are not UTF-8 do not open. Times are float32: off by up to 0.2 ms after an hour. Every
frame is converted to RGB, wanted or not: sampling 1 fps costs as much as taking all.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UsageError, VideoError
from ..geometry import Geometry
from ..sample import Clock
from .base import DecodedFrame, Effort, Pixels, Reader
from .pixels import fitted
from .pyav import PyavReader

_NO_TIME_S = -1e9  # decord passes on libav's "no time stamp", -2^63 ticks
TIERS = ("exact", "keyframe")
# With its own choice (a thread per core) and VP9 with hidden frames, decord mistakes EAGAIN for a fault after
# about ten frames; with two threads never in 30 runs.
_THREADS = 2


class DecordReader(Reader):
    """An open video, decoded by decord on the CPU.

    Args:
        path: a local file whose name is valid UTF-8.
        tier: `exact` or `keyframe`; decord cannot leave out non-reference frames.

    Raises:
        VideoError: stage `open`.
    """

    def __init__(self, path: str | Path, tier: str = "exact") -> None:
        if tier not in TIERS:
            raise UsageError(f"decord cannot decode tier {tier!r}; expected one of {', '.join(TIERS)}, or use pyav")
        with PyavReader(path) as header:
            self.facts = header.facts
            if header.fault is not None:  # not one frame: nothing that decord could do better
                raise header.fault
        self.clock, self.effort = Clock(), Effort()
        self.on_beat = lambda: None
        self._tier = tier
        self._video: Any = _open(path)

    def frames(self) -> Iterator[DecodedFrame]:
        """Frames as decord delivers them, once; a fault is raised after the good frames."""
        count = 0
        try:
            times_s = self._video.get_frame_timestamp(range(len(self._video)))[:, 0]
            for index, array in self._arrays():
                if index >= len(times_s):
                    break
                self._check_shape(array.shape, index)
                time_s = float(times_s[index])
                if not time_s > _NO_TIME_S:
                    raise VideoError("unreadable", f"decord knows no time for frame {index}")
                self.on_beat()
                self.effort.frames += 1
                yield DecodedFrame(time_s, partial(_pixels, array))
                count += 1
        except Exception as error:
            raise _as_video_error(error, stage="decode", after_frames=count) from error
        if not count:
            raise VideoError("zero_frames", "decord opened it, but delivered no frame")

    def _arrays(self) -> Iterator[tuple[int, Any]]:
        """(index, decord NDArray) of each frame of the tier."""
        if self._tier == "keyframe":
            for index in map(int, self._video.get_key_indices()):
                self._video.seek_accurate(index)
                yield index, self._video.next()
            return
        index = 0
        while True:
            try:
                array = self._video.next()
            except StopIteration:
                return
            yield index, array
            index += 1

    def _check_shape(self, shape: tuple[int, ...], index: int) -> None:
        expected = (self.facts.height_px, self.facts.width_px)
        if tuple(shape[:2]) != expected:
            got, wanted = ("x".join(map(str, size)) for size in (shape, expected))
            raise VideoError(
                "unreadable",
                f"decord's frame {index} has the shape {got}, the first video stream shows {wanted} "
                "(height x width); decode it with pyav",
            )

    def close(self) -> None:
        self._video = None  # decord frees decoder and file with the object


def _pixels(array: Any, geometry: Geometry | None = None) -> Pixels:
    """(H, W, 3) from decord's (H, W, C): it pads lines to 64 bytes and tells bytes per line / width as C."""
    pixels: Pixels = array.asnumpy()
    height_px, width_px, channels = pixels.shape
    if channels != 3:
        lines = pixels.reshape(height_px, width_px * channels)
        pixels = np.ascontiguousarray(lines[:, : width_px * 3]).reshape(height_px, width_px, 3)
    return pixels if geometry is None else fitted(pixels, geometry)


def _open(path: str | Path) -> Any:
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    try:
        # "file:" keeps a name such as `http:x.mp4` a name.
        return decord.VideoReader(f"file:{path}", ctx=decord.cpu(0), num_threads=_THREADS)
    except UnicodeEncodeError as error:
        raise VideoError("unreadable", "its name is not UTF-8, decord needs that; use pyav", stage="open") from error
    except Exception as error:
        raise _as_video_error(error, stage="open") from error


def _as_video_error(error: Exception, *, stage: str, after_frames: int = 0) -> VideoError:
    if isinstance(error, VideoError):
        return error
    where = f"after {after_frames} good frames: " if after_frames else ""
    if isinstance(error, MemoryError):
        return VideoError("out_of_memory", f"{where}no memory for a frame of this video", stage=stage)
    # decord's message is a C++ stack trace; its first line says what failed, after times and C++ file names.
    first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    words = re.sub(r"\[\d\d:\d\d:\d\d\] \S+ ", "", first_line)
    return VideoError("unreadable", f"{where}decord: {words}", stage=stage)
