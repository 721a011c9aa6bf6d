"""One video in, one row and its segments out. A bad video is a result here, never an exception.

Frames are decoded once for all encoders, sampled, encoded in batches and dropped: memory is one batch of full-size
frames (at most `BATCH_BYTES`, or one frame), however long the video is.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .decode.base import Pixels, VideoFacts
from .decode.open import open_video
from .encoders.base import Encoder
from .errors import VideoError
from .sample import Clock, sample, spans
from .segment import Segments, segment_ids, unit_norm_f16
from .videos import VideoRow

BATCH_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """How videos are sampled; part of the fingerprint.

    Attributes:
        fps: samples per second of video.
        tier: `exact` (the frame shown at the time), `reference`, `keyframe` (nearest such picture before it).
        backend: which decoder.    batch: frames per encoder call.
    """

    fps: float = 1.0
    tier: str = "exact"
    backend: str = "pyav"
    batch: int = 32

    def sampling(self) -> dict[str, object]:
        """What of the plan decides times and pixels, for the fingerprint."""
        return {"fps": self.fps, "decode": self.tier}


@dataclass
class Extracted:
    """What came of one video: its row, its segments by encoder slug, and where the time went."""

    row: VideoRow
    segments: dict[str, Segments]
    stages_s: dict[str, float] = field(default_factory=dict)


@dataclass
class _Pass:
    """What one decode pass collects. An encoder that breaks is left out from there on; the others go on."""

    times_s: list[float] = field(default_factory=list)
    vectors: dict[str, list[npt.NDArray[np.float16]]] = field(default_factory=dict)
    batch: list[tuple[float, Pixels]] = field(default_factory=list)
    broken: dict[str, VideoError] = field(default_factory=dict)
    encode_s: float = 0.0

    def flush(self, encoders: Mapping[str, Encoder]) -> None:
        """Encode the batch with every encoder that still works; raises when none does."""
        if not self.batch:
            return
        began = time.perf_counter()
        frames = np.stack([pixels for _, pixels in self.batch])  # (B, H, W, 3)
        for slug, encoder in encoders.items():
            if slug not in self.broken:
                try:
                    vectors = encode(encoder, frames)
                    self.vectors.setdefault(slug, []).append(vectors)
                except VideoError as error:
                    self.broken[slug] = error
        if len(self.broken) < len(encoders):
            self.times_s += [t for t, _ in self.batch]
        self.batch = []
        self.encode_s += time.perf_counter() - began
        if len(self.broken) == len(encoders):
            raise next(iter(self.broken.values()))


def encode(encoder: Encoder, frames: Pixels) -> npt.NDArray[np.float16]:
    """(B, H, W, 3) -> (B, D) float16, unit norm; halves the batch as long as it does not fit into memory.

    Raises:
        VideoError: out_of_memory for a single frame, or whatever else the encoder raised.
    """
    try:
        return unit_norm_f16(encoder.encode_frames(frames))
    except Exception as error:
        full = isinstance(error, MemoryError) or "out of memory" in str(error).lower()
        if not full or len(frames) == 1:
            kind = "out_of_memory" if full else "encoder"
            raise VideoError(kind, f"{encoder.spec}: {type(error).__name__}: {error}", stage="encode") from error
    half = len(frames) // 2  # outside the handler, so that the failed try's memory is free again
    return np.concatenate([encode(encoder, frames[:half]), encode(encoder, frames[half:])])


def extract_video(path: Path, video_id: str, encoders: Mapping[str, Encoder], plan: Plan) -> Extracted:
    """Decode `path` once, sample it, encode the samples with every encoder.

    Returns:
        A row with status `done`, `partial` (a fault after some frames, which are kept) or `failed`, and (S, D)
        segments per encoder. Never raises for what is wrong with the video, a decoder or an encoder.
    """
    began = time.perf_counter()
    clock, collected = Clock(), _Pass()
    facts, fault = _decode(path, encoders, plan, clock, collected)
    if fault is None and not collected.times_s:
        fault = VideoError("zero_frames", "the video stream holds no frames that can be decoded")
    fault = fault or next(iter(collected.broken.values()), None)
    row, segments = _result(path, video_id, facts, clock, collected, fault)
    wall_s = time.perf_counter() - began
    return Extracted(row, segments, {"decode_s": wall_s - collected.encode_s, "encode_s": collected.encode_s})


def _decode(
    path: Path, encoders: Mapping[str, Encoder], plan: Plan, clock: Clock, collected: _Pass
) -> tuple[VideoFacts | None, VideoError | None]:
    """Fill `clock` and `collected`; what is known of the video, and what stopped it early."""
    facts: VideoFacts | None = None
    try:
        with open_video(path, backend=plan.backend, tier=plan.tier) as reader:
            facts = reader.facts
            try:
                for frame, _ in sample(clock.watch(reader.frames()), [plan.fps], facts.duration_s):
                    _take(collected, frame.time_s, frame.rgb(), encoders, plan.batch)
            finally:
                collected.flush(encoders)  # what was decoded before a fault is kept
        return facts, None
    except VideoError as error:
        return facts, error
    except Exception as error:  # one odd file must not stop the night, whatever a library raises for it
        return facts, VideoError("crashed", f"{type(error).__name__}: {error}")


def _take(collected: _Pass, time_s: float, pixels: Pixels, encoders: Mapping[str, Encoder], batch: int) -> None:
    """Add a frame to the batch, encoding first what cannot stand beside it (another size, too many, too large)."""
    full = len(collected.batch) >= batch or (len(collected.batch) + 1) * pixels.nbytes > BATCH_BYTES
    if collected.batch and (full or collected.batch[0][1].shape != pixels.shape):
        collected.flush(encoders)
    collected.batch.append((time_s, pixels))


def _result(
    path: Path, video_id: str, facts: VideoFacts | None, clock: Clock, collected: _Pass, fault: VideoError | None
) -> tuple[VideoRow, dict[str, Segments]]:
    times_s = collected.times_s
    status = "done" if fault is None else ("partial" if times_s else "failed")
    end_s = clock.end_s(facts.fps if facts else None)
    if fault is None and facts and facts.duration_s:
        end_s = max(end_s, facts.duration_s)  # the last frame is shown until the stream's end
    segments: dict[str, Segments] = {}
    if times_s:
        bounds = np.array(spans(times_s, end_s))
        for slug, parts in collected.vectors.items():
            vectors = np.concatenate(parts)
            count = len(vectors)  # fewer than all if this encoder broke
            segments[slug] = Segments(
                segment_ids(video_id, count),
                np.full(count, video_id, object),
                bounds[:count, 0],
                bounds[:count, 1],
                np.maximum(0.0, np.array(times_s[:count])),
                vectors,
            )
    row = VideoRow(
        video_id=video_id,
        path=str(path),
        status=status,
        duration_s=end_s if clock.frames else (facts.duration_s if facts else None),
        width_px=facts.width_px if facts else None,
        height_px=facts.height_px if facts else None,
        rotation_deg=facts.rotation_deg if facts else None,
        fps=facts.fps if facts else None,
        variable_fps=clock.variable_fps,
        codec=facts.codec if facts else None,
        frames_expected=facts.frames_expected if facts else None,
        frames_decoded=clock.frames,
        stage=fault.stage if fault else None,
        error_kind=fault.kind if fault else None,
        error=str(fault) if fault else None,
    )
    return row, segments
