"""What an encoder is: a model, its preprocessing and its sampling need, in one object.

The pipeline owns decoding, batching and devices; an encoder never opens a file.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..geometry import Geometry

Frames = npt.NDArray[np.uint8]
Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FamilyInfo:
    """One line of `nightreel encoders`."""

    family: str
    example: str
    features: str
    licence: str
    needs: str


class Encoder(Protocol):
    """Frames in, unit vectors out.

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
