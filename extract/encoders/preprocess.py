"""Frames to a network's input: scaled, cropped or padded to its geometry, uploaded, normalised.

Frames from the decoding processes have the geometry already; others (query images, tests) are fitted here by the same
code (`decode.pixels.fitted`), so that an archive and a query see the same pixels. These are PIL's, hence those a
checkpoint was trained on. It knows no model: what to do is the `Preprocessing` an encoder hands over.

Cost on one core: 0.4 ms a frame of 224 px; fitting a 1280x720 frame first, 5 ms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..decode.pixels import fitted
from ..geometry import Geometry
from .base import Frames
from .device import upload

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How a frame becomes a network's input.

    Attributes:
        geometry: which pixels.    mean, std: per channel, of values in [0, 1].
    """

    geometry: Geometry
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def as_json(self) -> dict[str, Any]:
        """As it stands in a fingerprint; archives compare it, so neither a key nor a value may change."""
        return {**self.geometry.as_json(), "mean": list(self.mean), "std": list(self.std)}


def from_open_clip(cfg: Mapping[str, Any]) -> Preprocessing:
    """open_clip's `preprocess_cfg` (keys size, mean, std, interpolation, resize_mode, fill_color)."""
    size = cfg["size"]
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    mean, std = (_three(cfg[key]) for key in ("mean", "std"))
    resize_mode = cfg.get("resize_mode") or "shortest"
    # open_clip reads everything that is not "bilinear" as bicubic (its "random" is for training).
    interpolation = "bilinear" if cfg.get("interpolation") == "bilinear" else "bicubic"
    if resize_mode == "shortest" and height != width:
        # Its ResizeKeepRatio is called without an interpolation there, and falls back to its own default.
        interpolation = "bicubic"
    geometry = Geometry((height, width), resize_mode, interpolation, int(cfg.get("fill_color") or 0))
    return Preprocessing(geometry, mean, std)


def preprocess(frames: Frames, how: Preprocessing, device: str = "cpu") -> "torch.Tensor":
    """(B, H, W, 3) uint8 RGB -> (B, 3, h, w) float32 on `device`, the network's input, channels last in memory."""
    if frames.shape[1:] != how.geometry.shape:
        parts = [fitted(frame, how.geometry) for frame in frames]
        frames = np.stack(parts) if parts else np.empty((0, *how.geometry.shape), np.uint8)
    return normalise(upload(frames, device), how)


def normalise(pixels: "torch.Tensor", how: Preprocessing) -> "torch.Tensor":
    """(B, 3, h, w) uint8 -> float32 of zero mean, unit variance by `how`'s numbers, on the same device."""
    values = pixels.float()
    mean = values.new_tensor(how.mean).view(1, 3, 1, 1)
    std = values.new_tensor(how.std).view(1, 3, 1, 1)
    return (values / 255 - mean) / std


def _three(values: Any) -> tuple[float, float, float]:
    if isinstance(values, int | float):
        return float(values), float(values), float(values)
    red, green, blue = (float(value) for value in values)
    return red, green, blue
