"""Cut found moments out of their videos, as MP4 files that play anywhere: `nightreel search ... --export FOLDER`.

Pictures and sound are decoded and encoded again (H.264 and AAC), because a copied stream can only begin at a keyframe,
often seconds away. Pictures are upright and 8-bit; only the first sound track comes along, in stereo; subtitles do not.
Decoding begins at the keyframe before the moment, so a cut costs the moment's length, not the video's: about 2 s for
10 s of 720p on two cores.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..extract.decode.faults import as_video_error, open_container
from ..extract.decode.pixels import Upright
from ..extract.decode.pyav import first_video_stream
from ..extract.errors import VideoError
from ..extract.files import write_atomic
from .search import Hit

TICKS = 90_000  # per second, of the pictures' time stamps
RATE_HZ, AAC_SAMPLES = 48_000, 1024


def export(hits: Sequence[Hit], folder: Path) -> Iterator[tuple[Hit, Path | VideoError]]:
    """Cut every hit into `folder/<rank>_<name>_<start>-<end>.mp4`; yields the file, or why it could not be cut."""
    for hit in hits:
        name = f"{hit.rank:03}_{Path(hit.path).stem}_{hit.start_s:.1f}-{hit.end_s:.1f}.mp4"
        try:
            cut(Path(hit.path), hit.start_s, hit.end_s, folder / name)
            yield hit, folder / name
        except VideoError as error:
            yield hit, error


def cut(source: Path, start_s: float, end_s: float, target: Path) -> None:
    """Write `[start_s, end_s)` of a video to `target`, whole or not at all.

    Raises:
        VideoError: the video is gone, cannot be decoded there, or has no picture there.
    """
    write_atomic(target, lambda temporary: _write(source, start_s, end_s, temporary))


def _write(source: Path, start_s: float, end_s: float, target: Path) -> None:
    import av

    with open_container(source) as container, av.open(str(target), "w", format="mp4") as out:
        video = first_video_stream(container)
        sound = next(iter(container.streams.audio), None)
        origin_s = float((video.start_time or 0) * video.time_base)
        begin_s, stop_s = origin_s + start_s, origin_s + end_s
        pictures = _Pictures(out, video, begin_s, stop_s)
        samples = _Samples(out, begin_s, stop_s) if sound is not None else None
        container.seek(int(begin_s / video.time_base), stream=video, backward=True)
        try:
            for packet in container.demux([s for s in (video, sound) if s is not None]):
                track = pictures if packet.stream is video else samples
                for frame in packet.decode():
                    if track is not None:
                        track.take(frame)
                if pictures.done and (samples is None or samples.done):
                    break
        except Exception as error:
            if not pictures.count:
                raise as_video_error(error, stage="decode") from error
        pictures.finish()
        if samples is not None:
            samples.finish()
        if not pictures.count:
            raise VideoError("zero_frames", f"the video shows nothing from {start_s:.1f} to {end_s:.1f} s")


class _Pictures:
    """The picture track of a cut: takes decoded frames, keeps those inside, encodes them upright."""

    def __init__(self, out: Any, video: Any, begin_s: float, stop_s: float) -> None:
        self._out, self._begin_s, self._stop_s = out, begin_s, stop_s
        self._upright = Upright(video.codec_context.name)
        self._stream = out.add_stream("libx264", rate=Fraction(video.average_rate or 25).limit_denominator(1000))
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._last = -1
        self.count, self.done = 0, False

    def take(self, frame: Any) -> None:
        import av

        time_s = frame.time
        self.done = self.done or (time_s is not None and time_s >= self._stop_s - 1e-3)
        if time_s is None or not self._begin_s - 1e-3 <= time_s < self._stop_s - 1e-3:
            return
        pixels = _even(self._upright(frame))
        if not self._stream.codec_context.is_open:
            self._stream.height, self._stream.width = pixels.shape[:2]
        picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        self._last = max(self._last + 1, round((time_s - self._begin_s) * TICKS))
        picture.pts, picture.time_base = self._last, Fraction(1, TICKS)
        self._out.mux(self._stream.encode(picture))
        self.count += 1

    def finish(self) -> None:
        if self.count:
            self._out.mux(self._stream.encode())


class _Samples:
    """The sound track of a cut."""

    def __init__(self, out: Any, begin_s: float, stop_s: float) -> None:
        import av

        self._out, self._begin_s, self._stop_s = out, begin_s, stop_s
        self._stream = out.add_stream("aac", rate=RATE_HZ, layout="stereo")
        self._resampler = av.AudioResampler("fltp", "stereo", RATE_HZ, AAC_SAMPLES)
        self.done = False

    def take(self, frame: Any) -> None:
        if frame.time is None or self.done:
            return
        if frame.time >= self._stop_s:
            self.done = True
        elif frame.time >= self._begin_s - frame.samples / frame.sample_rate / 2:
            frame.pts = None  # counted from the cut's start
            self._encode(self._resampler.resample(frame))

    def _encode(self, frames: Any) -> None:
        for frame in frames:
            self._out.mux(self._stream.encode(frame))

    def finish(self) -> None:
        self._encode(self._resampler.resample(None))
        self._out.mux(self._stream.encode())


def _even(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Without the last row or column of odd sizes (4:2:0 needs even ones); a single one is doubled instead."""
    height, width = pixels.shape[:2]
    pixels = np.pad(pixels, ((0, int(height == 1)), (0, int(width == 1)), (0, 0)), mode="edge")
    height, width = pixels.shape[:2]
    return np.ascontiguousarray(pixels[: height // 2 * 2, : width // 2 * 2])
