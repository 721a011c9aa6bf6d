"""One video in, one row and its segments out. A bad video is a result here, never an exception.

Frames are decoded once for all encoders, sampled, encoded in batches and dropped: memory is one batch of full-size
frames (at most `BATCH_BYTES`, or one frame), however long the video is.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

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
    """What one decode pass collects."""

    times_s: list[float] = field(default_factory=list)
    vectors: dict[str, list[np.ndarray]] = field(default_factory=dict)
    batch: list[tuple[float, Pixels]] = field(default_factory=list)
    encode_s: float = 0.0

    def flush(self, encoders: Mapping[str, Encoder]) -> None:
        """Encode the batch; its frames count only if every encoder took them."""
        if not self.batch:
            return
        began = time.perf_counter()
        frames = np.stack([pixels for _, pixels in self.batch])  # (B, H, W, 3)
        try:
            encoded = {slug: unit_norm_f16(encoder.encode_frames(frames)) for slug, encoder in encoders.items()}
        except Exception as error:
            kind = "out_of_memory" if "out of memory" in str(error).lower() else "encoder"
            raise VideoError(kind, f"{type(error).__name__}: {error}", stage="encode") from error
        for slug, vectors in encoded.items():
            self.vectors.setdefault(slug, []).append(vectors)
        self.times_s += [t for t, _ in self.batch]
        self.batch = []
        self.encode_s += time.perf_counter() - began


def extract_video(path: Path, video_id: str, encoders: Mapping[str, Encoder], plan: Plan) -> Extracted:
    """Decode `path` once, sample it, encode the samples with every encoder.

    Returns:
        A row with status `done`, `partial` (a fault after some frames, which are kept) or `failed`, and (S, D)
        segments per encoder. Never raises for what is wrong with the video.
    """
    began = time.perf_counter()
    facts: VideoFacts | None = None
    clock, collected, fault = Clock(), _Pass(), None
    try:
        with open_video(path, backend=plan.backend, tier=plan.tier) as reader:
            facts = reader.facts
            try:
                for frame in sample(clock.watch(reader.frames()), plan.fps, facts.duration_s):
                    _take(collected, frame.time_s, frame.rgb(), encoders, plan.batch)
            except VideoError as error:
                fault = error
                if error.stage == "encode":
                    collected.batch = []
            collected.flush(encoders)
        if not collected.times_s and fault is None:
            fault = VideoError("zero_frames", "the video stream holds no frames that can be decoded")
    except VideoError as error:
        fault = fault or error
    row, segments = _result(path, video_id, facts, clock, collected, fault)
    wall_s = time.perf_counter() - began
    return Extracted(row, segments, {"decode_s": wall_s - collected.encode_s, "encode_s": collected.encode_s})


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
            segments[slug] = Segments(
                segment_ids(video_id, len(times_s)),
                np.array([video_id] * len(times_s), object),
                bounds[:, 0],
                bounds[:, 1],
                np.maximum(0.0, np.array(times_s)),
                np.concatenate(parts),
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
