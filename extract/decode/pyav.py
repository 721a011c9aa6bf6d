"""Decode with PyAV (libav's own demuxers and decoders): the default backend, right on every file we know.

Agrees with all 130 awkward files of `../shared/data/awkward/expected.jsonl` in outcome, frame count, times
and displayed size. Keeps one frame back (the first, from which the rotation is known) and nothing else; a
frame whose `rgb()` is called later stays valid, because libav counts references.

It does not know: sampling, deadlines, processes. A decoder that hangs hangs here; the caller owns the
clock.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import UsageError, VideoError
from ..sample import Clock
from .base import DecodedFrame, Effort, Reader, VideoFacts
from .faults import as_video_error, open_container
from .pixels import Upright, display_matrix, is_transposed

# Which frames libavcodec may leave out. Times stay true; there are only fewer frames.
TIERS = {"exact": "DEFAULT", "reference": "NONREF", "keyframe": "NONKEY"}
_GUESSED_FPS = 25.0


class PyavReader(Reader):
    """An open video: its first video stream that is no cover picture.

    Args:
        path: a local file; any name the file system allows, undecodable bytes included.
        tier: `exact` every frame, `reference` those that others build on, `keyframe` those that stand alone.

    Attributes:
        fault: why decoding stopped early; already set after opening if not even one frame decodes.

    Raises:
        VideoError: unreadable, no_video or unsupported_codec; stage `open`.
    """

    def __init__(self, path: str | Path, tier: str = "exact", decode_all: bool = False, threads: int = 0) -> None:
        if tier not in TIERS:
            raise UsageError(f"unknown decoding tier {tier!r}; expected one of {', '.join(TIERS)}")
        self._container = open_container(path)
        self.clock, self.effort = Clock(), Effort()
        self.on_beat = lambda: None
        try:
            self._stream = first_video_stream(self._container)
            context = self._stream.codec_context
            context.thread_type = "AUTO"
            context.thread_count = threads
            context.skip_frame = TIERS[tier]
            self._upright = Upright(context.name)
            self.fault: VideoError | None = None
            # AVI stores no presentation times, and those libav makes up for B-frames are out of order. Decode times,
            # counted from the first frame shown, are right: one frame a tick goes in and one comes out.
            self._stamp = "dts" if self._container.format.name == "avi" else "pts"
            self._decoded = self._decode()
            self._first = self._next()  # the rotation is only known from a frame
            self.facts = facts_of(self._container, self._stream, self._first)
        except BaseException:
            self.close()
            raise

    def frames(self) -> Iterator[DecodedFrame]:
        """Frames as the decoder delivers them, once; a fault is raised after the good frames."""
        fps = self.facts.fps or _GUESSED_FPS
        time_s = -1 / fps
        frame, self._first = self._first, None
        origin_s = self.facts.start_s if frame is None or self._stamp == "pts" else self._time_s(frame)
        while frame is not None:
            own_s = self._time_s(frame)
            time_s = time_s + 1 / fps if own_s is None else own_s - (origin_s or 0.0)
            yield DecodedFrame(time_s, partial(self._upright, frame))
            frame = self._next()
        if self.fault is not None:
            raise self.fault

    def _time_s(self, frame: Any) -> float | None:
        stamp = getattr(frame, self._stamp)
        return None if stamp is None else float(stamp * frame.time_base)

    def _next(self) -> Any:
        """The next frame, or None at the end or at a fault, which is kept for `frames` to raise."""
        try:
            return next(self._decoded, None)
        except VideoError as fault:
            self.fault = fault
            return None

    def _decode(self) -> Iterator[Any]:
        count, encrypted = 0, False
        try:
            for packet in self._container.demux(self._stream):
                self.on_beat()
                self.effort.packets += 1
                self.effort.sent += 1
                # Only a hint: `sample_fragmented_sgpd_v2.mp4` carries it and decodes. It names the fault, if any.
                encrypted = encrypted or packet.has_sidedata("encryption_info")
                for frame in packet.decode():
                    count += 1
                    self.effort.frames += 1
                    yield frame
        except Exception as error:
            if encrypted and not isinstance(error, MemoryError):
                raise VideoError("encrypted", "the video stream is encrypted; decrypt the file first") from error
            raise as_video_error(error, stage="decode", after_frames=count) from error
        if not count:
            raise VideoError("zero_frames", "the header is fine, but no frame follows; was it cut short?")

    def close(self) -> None:
        self._container.close()


def first_video_stream(container: Any) -> Any:
    """The first video stream; a cover picture (of a song, say) is no video."""
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        got = ", ".join(s.type for s in container.streams) or "no streams at all"
        raise VideoError("no_video", f"no video stream in it; got {got}", stage="open")
    if streams[0].codec_context is None:
        raise VideoError("unsupported_codec", "libavcodec has no decoder for this video stream", stage="open")
    return streams[0]


def facts_of(container: Any, stream: Any, first: Any) -> VideoFacts:
    """What the header says, corrected by the first decoded frame (None if there is none)."""
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate
    facts = VideoFacts(
        start_s=_start_s(container, stream, first),
        duration_s=_duration_s(container, stream),
        width_px=context.width,
        height_px=context.height,
        rotation_deg=0,
        fps=float(rate) if rate else None,
        codec=context.codec.canonical_name,
        frames_expected=stream.frames or None,
    )
    if first is None:
        return facts
    size = (first.width, first.height)
    width_px, height_px = size[::-1] if is_transposed(display_matrix(first)) else size
    return replace(facts, width_px=width_px, height_px=height_px, rotation_deg=int(first.rotation))


def _start_s(container: Any, stream: Any, first: Any) -> float:
    guessed = container.format.name == "avi"  # 0, while libav numbers a first frame before B-frames 1
    if stream.start_time is not None and not (guessed and first is not None):
        return float(stream.start_time * stream.time_base)
    if first is not None and first.pts is not None:
        return float(first.pts * first.time_base)
    return 0.0


def _duration_s(container: Any, stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return float(Fraction(container.duration, 1_000_000)) if container.duration else None
