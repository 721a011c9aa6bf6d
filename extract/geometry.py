"""Which pixels an encoder wants of a frame: the size, and how a frame of another size gets there.

Every encoder declares one `Geometry`; the decoding process scales, crops or pads to it, so frames of all videos stack
into one batch and only small pictures travel between processes. Pure numbers; nothing here touches pixels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

RESIZE_MODES = ("shortest", "longest", "squash")
ALIASED = "bilinear, aliased"
INTERPOLATIONS = ("bicubic", "bilinear", ALIASED)
HALF_PIXELS = ("even", "down")


@dataclass(frozen=True, slots=True)
class Geometry:
    """How (H, W) pixels become `size_px` = (height, width).

    Attributes:
        resize_mode: `shortest` fits the short side and crops the rest off; `longest` fits the long side and pads;
            `squash` gives up the aspect ratio and keeps every pixel.
        interpolation: `bicubic` or `bilinear`, antialiased; or `bilinear, aliased`, which looks at four pixels however many
            become one: worse pictures, but those that torchvision's video networks were trained and measured on.
        fill: grey value 0..255 of the padding.
        half_px: where a crop from the middle leaves half a pixel, its offset is rounded to `even` (torchvision) or `down`
            (transformers).
        resize_px: (height, width) to fit to before `size_px` is cropped out of the middle; None: the same.
    """

    size_px: tuple[int, int]
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    fill: int = 0
    half_px: str = "even"
    resize_px: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        choices = {"resize_mode": RESIZE_MODES, "interpolation": INTERPOLATIONS, "half_px": HALF_PIXELS}
        for name, known in choices.items():
            got = getattr(self, name)
            if got not in known:
                raise ValueError(f"geometry: got {name} {got!r}; expected one of {', '.join(known)}")
        if min(self.size_px) < 1:
            raise ValueError(f"geometry: got size {self.size_px}; expected at least 1x1 pixels")
        if self.interpolation == ALIASED and self.resize_mode == "longest":
            raise ValueError(
                f"geometry: {ALIASED!r} is for pictures that are filled; got resize_mode 'longest', which pads"
            )
        if self.resize_px and (self.resize_mode == "longest" or not _holds(self.resize_px, self.size_px)):
            raise ValueError(f"geometry: cannot crop {self.size_px} out of {self.resize_px} ({self.resize_mode})")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3) of a picture of this geometry."""
        return (*self.size_px, 3)

    @property
    def nbytes(self) -> int:
        """Bytes of one picture, uint8 RGB."""
        return self.size_px[0] * self.size_px[1] * 3

    def resized_px(self, height_px: int, width_px: int) -> tuple[int, int]:
        """The size before crop or padding: (height, width).

        A 1280x720 frame for 224 px: shortest (224, 398), longest (126, 224), squash (224, 224); with `resize_px` of 256:
        shortest (256, 455), squash (256, 256).
        """
        to_height, to_width = self.resize_px or self.size_px
        if self.resize_mode == "squash":
            return to_height, to_width
        if self.resize_mode == "shortest" and to_height == to_width:
            # torchvision's Resize cuts the long side's fraction off, open_clip's own ResizeKeepRatio rounds it.
            if height_px <= width_px:
                return to_height, int(to_height * width_px / height_px)
            return int(to_width * height_px / width_px), to_width
        pick = min if self.resize_mode == "shortest" else max
        ratio = pick(height_px / to_height, width_px / to_width)
        return max(1, round(height_px / ratio)), max(1, round(width_px / ratio))

    def offset_px(self, resized_px: tuple[int, int]) -> tuple[int, int]:
        """(top, left) of the picture inside the resized frame; negative: that much padding before the frame.

        (224, 398) for 224 px: (0, 87).    (126, 224): (-49, 0).
        """
        top, left = (self._offset(have, want) for have, want in zip(resized_px, self.size_px, strict=True))
        return top, left

    def _offset(self, have: int, want: int) -> int:
        if have <= want:
            return -((want - have) // 2)
        # torchvision's int(round(x)) takes halves to the even side.
        return round((have - want) / 2) if self.half_px == "even" else (have - want) // 2

    def as_json(self) -> dict[str, Any]:
        """As it travels to a decoding process, and stands in fingerprints: what is not set is not said."""
        value: dict[str, Any] = {
            "size_px": list(self.size_px),
            "resize_mode": self.resize_mode,
            "interpolation": self.interpolation,
            "fill": self.fill,
        }
        if self.half_px != "even":
            value["half_px"] = self.half_px
        if self.resize_px is not None:
            value["resize_px"] = list(self.resize_px)
        return value


def _holds(outer_px: tuple[int, int], inner_px: tuple[int, int]) -> bool:
    return outer_px[0] >= inner_px[0] and outer_px[1] >= inner_px[1]


def from_json(value: Mapping[str, Any]) -> Geometry:
    """The inverse of `Geometry.as_json`."""
    size, resize = value["size_px"], value.get("resize_px")
    return Geometry(
        (size[0], size[1]),
        value["resize_mode"],
        value["interpolation"],
        value["fill"],
        value.get("half_px", "even"),
        (resize[0], resize[1]) if resize else None,
    )
