"""What an encoder is: a model, its preprocessing and its sampling need, in one object.

There are two kinds: a `FrameEncoder` sees single frames (and often knows text), a `ClipEncoder` sees T frames together.
The pipeline owns decoding, batching and devices; an encoder never opens a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..clips import Clip, ClipPlan
from ..geometry import Geometry

Frames = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Clips:
    """B clips of T frames.

    Attributes:
        frames: (B, T, H, W, 3) uint8 RGB of the encoder's geometry.
        times_s: (B, T) float64, when each frame was first shown; equal where a frame is repeated.
        source_px: (B, 2) int64, (height, width) of the videos as displayed.
    """

    frames: Frames
    times_s: npt.NDArray[np.float64]
    source_px: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.frames.ndim != 5 or self.times_s.shape != self.frames.shape[:2] or len(self.source_px) != len(self):
            raise ValueError(
                f"expected frames (B, T, H, W, 3), times_s (B, T) and source_px (B, 2); got {self.frames.shape = }, "
                f"{self.times_s.shape = }, {self.source_px.shape = }"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, some: slice) -> "Clips":
        return Clips(self.frames[some], self.times_s[some], self.source_px[some])

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> "Clips":
        """Stacked; copies the pictures."""
        return cls(
            np.stack([np.stack(clip.pictures) for clip in clips]),
            np.array([clip.times_s for clip in clips], np.float64),
            np.array([clip.source_px for clip in clips], np.int64).reshape(-1, 2),
        )


@dataclass(frozen=True)
class Features:
    """What a clip encoder says of B clips.

    Attributes:
        embedding: (B, D) float32, unit norm.
        columns: name -> (B,) float32, the encoder's `columns`.
        probabilities: (B, C) float32 over the encoder's `labels`, rows sum to 1; None without a classifier.
    """

    embedding: Embeddings
    columns: dict[str, npt.NDArray[np.float32]] = field(default_factory=dict)
    probabilities: Probabilities | None = None


class FrameEncoder(Protocol):
    """Frames in, unit vectors out. One that wants short texts inside captions is also `Templated`.

    Attributes:
        spec: canonical `family:name[@weights]`, aliases resolved.
        dim: D, the length of an embedding.
        has_text: whether `encode_text` answers (otherwise it raises `UsageError`).
        geometry: of the pictures it wants; `encode_frames` takes any, but these need no resizing.
    """

    spec: str
    dim: int
    has_text: bool
    geometry: Geometry

    def fingerprint(self) -> dict[str, Any]:
        """Everything that decides an embedding, as JSON: weights_sha256, licence, dim, size_px, preprocessing,
        pooling, precision, libraries. Equal fingerprints mean comparable embeddings."""
        ...

    def encode_frames(self, frames: Frames) -> Embeddings:
        """(B, H, W, 3) uint8 RGB of any size -> (B, D) float32, unit norm.

        Out of memory raises what the library raises; who calls tries with fewer frames.
        """
        ...

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Q sentences -> (Q, D) float32, unit norm."""
        ...


@runtime_checkable
class ClipEncoder(Protocol):
    """Clips in, unit vectors out.

    Attributes:
        spec, dim: as of a `FrameEncoder`.    geometry: of the pictures it takes.
        plan: which clips it wants by default.
        columns: names of float32 columns it fills besides the embedding, for example `motion_px`.
        labels: names of the classes of its classifier; empty without one.
    """

    spec: str
    dim: int
    geometry: Geometry
    plan: ClipPlan
    columns: tuple[str, ...]
    labels: tuple[str, ...]

    def fingerprint(self) -> dict[str, Any]:
        """As `FrameEncoder.fingerprint`."""
        ...

    def encode_clips(self, clips: Clips) -> Features:
        """B clips of the encoder's geometry -> their features; the embedding is (B, D) float32, unit norm."""
        ...


Encoder = FrameEncoder | ClipEncoder


@runtime_checkable
class Templated(Protocol):
    """A frame encoder that learned from captions of a kind, and so takes a bare word or two best inside of one.

    Attributes:
        templates: captions with `{}` in the place of the words; `{}` alone among them is the words as they are.
    """

    templates: tuple[str, ...]


BARE = ("{}",)  # the template of encoders that have no say in it


def templates_of(encoder: FrameEncoder) -> tuple[str, ...]:
    """The templates for short texts; an encoder need not have any."""
    return encoder.templates if isinstance(encoder, Templated) else BARE


def own_columns(encoder: Encoder) -> tuple[str, ...]:
    """The columns that an encoder fills itself."""
    return encoder.columns if isinstance(encoder, ClipEncoder) else ()


def as_clips(frames: Frames, geometry: Geometry, stride_s: float = 0.5) -> Clips:
    """(B, T, H, W, 3) frames of any size as clips of `geometry`, `stride_s` apart; for tests and your own scripts."""
    from ..decode.pixels import fitted

    height_px, width_px = frames.shape[2:4]
    fit = [np.stack([fitted(frame, geometry) for frame in clip]) for clip in frames]
    times_s = np.tile(np.arange(frames.shape[1]) * stride_s, (len(frames), 1))
    return Clips(np.stack(fit), times_s, np.tile([height_px, width_px], (len(frames), 1)))
