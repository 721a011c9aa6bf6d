"""`toy`: the mean colour of a frame, and colour words; a ranking that can be worked out by hand.

For tests and documentation: it needs no weights, no torch and 0.1 ms a frame. It knows nothing about what a
picture shows.

The space has D = 4 dimensions: red, green, blue and a constant. A colour (r, g, b) with each part in 0..1
becomes (r, g, b, 0.5), divided by its length; the constant gives black a direction. So

    word      red           blue          black       white
    before    1 0 0 0.5     0 0 1 0.5     0 0 0 0.5   1 1 1 0.5
    length    1.118         1.118         0.5         1.803

    "red"  · red frame = (1 + 0.25) / 1.25         = 1.00
    "red"  · white     = (1 + 0.25) / (1.118*1.803) = 0.62
    "red"  · black     = 0.25 / (1.118*0.5)         = 0.45
    "red"  · blue      = 0.25 / 1.25                = 0.20

A sentence is the mean of the colours of the colour words in it, so "a red and a blue thing" is the colour
(0.5, 0, 0.5). A sentence without any is mid grey.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..geometry import Geometry
from .base import Embeddings, Frames
from .family import Family, Model, check_bare

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "yellow": (1, 1, 0),
    "cyan": (0, 1, 1),
    "magenta": (1, 0, 1),
    "white": (1, 1, 1),
    "black": (0, 0, 0),
    "grey": (0.5, 0.5, 0.5),
    "gray": (0.5, 0.5, 0.5),
    "orange": (1, 0.5, 0),
    "purple": (0.5, 0, 0.5),
    "pink": (1, 0.75, 0.8),
    "brown": (0.6, 0.3, 0.1),
}
NEUTRAL = COLOURS["grey"]
CONSTANT = 0.5


class ToyEncoder:
    """Frames and sentences to D = 4 unit vectors; see the table in the module's docstring."""

    spec = "toy"
    dim = 4
    has_text = True
    # Small, because a mean colour needs no more; every pixel counts, hence `squash`. Only what the decoder hands over is
    # scaled to it: other frames are averaged as they are, so it is no part of the fingerprint.
    geometry = Geometry((32, 32), "squash", "bilinear")

    def fingerprint(self) -> dict[str, Any]:
        """As `Encoder.fingerprint`; there are no weights to hash."""
        return {
            "spec": self.spec,
            "weights_sha256": None,
            "licence": "Apache-2.0",
            "dim": self.dim,
            "size_px": None,
            "preprocessing": {"mean_colour": True, "constant": CONSTANT},
            "pooling": "mean",
            "precision": "float32",
            "libraries": {},
        }

    def encode_frames(self, frames: Frames) -> Embeddings:
        """(B, H, W, 3) uint8 RGB -> (B, 4) float32, unit norm."""
        # Integers add up without rounding, so a frame's mean does not depend on the batch around it.
        sums = frames.sum(axis=(1, 2), dtype=np.uint64)  # (B, 3)
        return _unit(sums / (255 * frames.shape[1] * frames.shape[2]))

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Q sentences -> (Q, 4) float32, unit norm."""
        return _unit(np.array([_colour(text) for text in texts], np.float64).reshape(-1, 3))


def _colour(text: str) -> tuple[float, float, float]:
    """The mean colour of a sentence's colour words: "Red, or blue?" -> (0.5, 0, 0.5)."""
    found = [COLOURS[word] for word in re.findall(r"[a-z]+", text.lower()) if word in COLOURS]
    red, green, blue = np.mean(found or [NEUTRAL], axis=0).tolist()
    return red, green, blue


def _unit(colours: npt.NDArray[np.float64]) -> Embeddings:
    """(N, 3) in 0..1 -> (N, 4) unit vectors."""
    vectors = np.concatenate([colours, np.full((len(colours), 1), CONSTANT)], axis=1)
    unit: Embeddings = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return unit


FAMILY = Family(
    "toy",
    "nothing",
    (
        Model(
            "toy", "frames, text, images", ToyEncoder.dim, 1, ToyEncoder.geometry.size_px, 1.0, None, None, "Apache-2.0"
        ),
    ),
    lambda spec, device: ToyEncoder(),
    check_bare,
    on_device=False,
)
