"""Frames to a network's input: resize, crop or pad, normalise; a whole batch at once, as tensors.

It reproduces what PIL and torchvision do to one picture (antialiased resize to whole grey values,
torchvision's rounding of sizes and crop offsets), so a checkpoint sees the pixels it was trained on. On the
CPU 0.3 % of the values differ from PIL's, by 1 or 2 grey values of 255; on CUDA 11 %, by up to 4. It knows no
model: what to do is the `Preprocessing` an encoder hands over.

Cost: 1280x720 to 224 px, bicubic, one core: 14 ms a frame (66 ms if done in float32).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Frames

if TYPE_CHECKING:
    import torch

RESIZE_MODES = ("shortest", "longest", "squash")
# Of a group of frames that is resized at once: 0.8 GB as float32.
MAX_PIXELS = 2**26
INTERPOLATIONS = ("bicubic", "bilinear")


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How (H, W) pixels become `size_px` = (height, width).

    Attributes:
        resize_mode: `shortest` fits the short side and crops the rest off; `longest` fits the long side and
            pads;
            `squash` gives up the aspect ratio and keeps every pixel.
        interpolation: `bicubic` or `bilinear`, always antialiased.
        mean, std: per channel, of values in [0, 1].
        fill: grey value 0..255 of the padding.
    """

    size_px: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    fill: int = 0

    def __post_init__(self) -> None:
        for name, known in (("resize_mode", RESIZE_MODES), ("interpolation", INTERPOLATIONS)):
            got = getattr(self, name)
            if got not in known:
                raise ValueError(f"preprocessing: got {name} {got!r}; expected one of {', '.join(known)}")

    def as_json(self) -> dict[str, Any]:
        """As it stands in a fingerprint."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


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
    return Preprocessing((height, width), mean, std, resize_mode, interpolation, int(cfg.get("fill_color") or 0))


def resized_px(height_px: int, width_px: int, how: Preprocessing) -> tuple[int, int]:
    """The size before crop or padding: (height, width).

    A 1280x720 frame for 224 px: shortest (224, 398), longest (126, 224), squash (224, 224).
    """
    to_height, to_width = how.size_px
    if how.resize_mode == "squash":
        return how.size_px
    if how.resize_mode == "shortest" and to_height == to_width:
        # torchvision's Resize cuts the long side's fraction off, open_clip's own ResizeKeepRatio rounds it.
        if height_px <= width_px:
            return to_height, int(to_height * width_px / height_px)
        return int(to_width * height_px / width_px), to_width
    pick = min if how.resize_mode == "shortest" else max
    ratio = pick(height_px / to_height, width_px / to_width)
    return max(1, round(height_px / ratio)), max(1, round(width_px / ratio))


def resize(pixels: "torch.Tensor", size_px: tuple[int, int], interpolation: str) -> "torch.Tensor":
    """(B, 3, H, W) uint8 -> (B, 3, h, w) float32 of whole grey values 0..255, as PIL makes them."""
    import torch.nn.functional as F

    if tuple(pixels.shape[-2:]) == size_px:
        return pixels.float()
    if pixels.device.type == "cpu":
        # torch's uint8 kernel does PIL's own fixed-point arithmetic: 5 times as fast as float, and nearer to
        # PIL.
        return F.interpolate(pixels, size_px, mode=interpolation, antialias=True).float()
    resized = F.interpolate(pixels.float(), size_px, mode=interpolation, antialias=True)
    return resized.round_().clamp_(0, 255)


def crop_or_pad(pixels: "torch.Tensor", size_px: tuple[int, int], fill: int) -> "torch.Tensor":
    """The middle `size_px` of (B, 3, H, W); what is missing at the sides becomes `fill`."""
    import torch.nn.functional as F

    height, width = pixels.shape[-2:]
    more_h, more_w = max(0, size_px[0] - height), max(0, size_px[1] - width)
    if more_h or more_w:
        sides = (more_w // 2, more_w - more_w // 2, more_h // 2, more_h - more_h // 2)
        pixels = F.pad(pixels, sides, value=float(fill))
        height, width = pixels.shape[-2:]
    # torchvision rounds the half pixel to even: int(round(x)), not x // 2.
    top, left = round((height - size_px[0]) / 2), round((width - size_px[1]) / 2)
    return pixels[..., top : top + size_px[0], left : left + size_px[1]]


def normalise(pixels: "torch.Tensor", how: Preprocessing) -> "torch.Tensor":
    """(B, 3, h, w) in 0..255 -> zero mean, unit variance by `how`'s numbers."""
    mean = pixels.new_tensor(how.mean).view(1, 3, 1, 1)
    std = pixels.new_tensor(how.std).view(1, 3, 1, 1)
    return (pixels / 255 - mean) / std


def preprocess(frames: Frames, how: Preprocessing, device: str = "cpu") -> "torch.Tensor":
    """(B, H, W, 3) uint8 RGB -> (B, 3, h, w) float32 on `device`, the network's input.

    Large frames go a few at a time, so that B frames of 8K need not be in memory as floats at once.
    """
    import torch

    count, height, width = frames.shape[:3]
    step = max(1, MAX_PIXELS // (height * width))
    # torch warns about arrays that cannot be written to (those of a decoder's buffer); we only read.
    parts = [
        _preprocess_some(np.require(frames[at : at + step], requirements=["C", "W"]), how, device)
        for at in range(0, count, step)
    ]
    return torch.cat(parts) if parts else torch.empty((0, 3, *how.size_px), device=device)


def _preprocess_some(frames: Frames, how: Preprocessing, device: str) -> "torch.Tensor":
    import torch

    # uint8 on the way to the device, a quarter of the bytes; a channels-last view, which `resize` is fast on.
    height, width = frames.shape[1:3]
    pixels = torch.from_numpy(frames).to(device).permute(0, 3, 1, 2)
    pixels = resize(pixels, resized_px(height, width, how), how.interpolation)
    return normalise(crop_or_pad(pixels, how.size_px, how.fill), how)


def _three(values: Any) -> tuple[float, float, float]:
    if isinstance(values, int | float):
        return float(values), float(values), float(values)
    red, green, blue = (float(value) for value in values)
    return red, green, blue
