"""From a decoded frame to what a viewer sees: RGB, 8 bits, upright.

Colour: the matrix and range that the stream is tagged with. Untagged streams are read as limited-range
BT.601, whatever their size: libswscale's rule, hence that of the ffmpeg command, decord and what
video models were trained on (players guess BT.709 for HD: saturated greens then differ by up to 35 of 255).
HDR is not tone-mapped: PQ and HLG frames come out flat and greyish, as from decord. Alpha is dropped.
Sample aspect ratio is not applied: pixels are the stream's own.

Costs: 768x576 0.23 ms with one reformatter kept, 1.6 ms with one per frame, hence `Upright` holds one.
"""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import VideoError
from ..geometry import Geometry
from .base import Pixels

# AVCOL_SPC_* to libswscale's matrices (SWS_CS_*). Others (YCgCo, ICtCp, 0 for RGB in a YUV format...) make libswscale
# refuse the whole frame; wrong hues are better than no frame, so they fall back to BT.601.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT601 = 5
_UNTAGGED = 2
_LIMITED_RANGE = 1
# Their grey is limited-range unless the stream says otherwise; grey from image codecs is full-range.
_VIDEO_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d", "vvc", "mpeg4", "mpeg2video", "vp8"})
_EXPAND = np.clip(np.round((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)

Matrix = npt.NDArray[np.int32]


class Upright:
    """Converts the frames of one stream; may be called from any thread."""

    def __init__(self, codec: str) -> None:
        from av.video.reformatter import VideoReformatter

        self._codec = codec
        self._reformatter = VideoReformatter()
        self._lock = threading.Lock()  # libswscale's context is not thread-safe

    def __call__(self, frame: Any, geometry: Geometry | None = None) -> Pixels:
        """(H, W, 3) uint8, C-contiguous, rotation and mirroring applied; of the geometry's shape if there is one."""
        turn = display_matrix(frame)
        size = _stored_size(frame, turn, geometry)
        pixels = orient(self._convert(frame, size), turn)
        return np.ascontiguousarray(pixels if geometry is None else crop_or_pad(pixels, geometry))

    def _convert(self, frame: Any, size: tuple[int, int] | None) -> Pixels:
        """RGB as stored, not yet upright; scaled by libswscale on the way, if `size` (width, height) is given."""
        space = int(frame.colorspace)
        matrix = None if space == _UNTAGGED else _MATRICES.get(space, _BT601)
        try:
            with self._lock:
                # threads=1: by default libswscale starts a thread per core for each frame, in each worker.
                rgb = self._reformatter.reformat(
                    frame,
                    width=size[0] if size else None,
                    height=size[1] if size else None,
                    format="rgb24",
                    src_colorspace=matrix,
                    interpolation="BICUBIC" if size else None,
                    threads=1,
                )
            pixels: Pixels = np.asarray(rgb.to_ndarray(), np.uint8)
        except MemoryError as error:
            raise VideoError("out_of_memory", f"no memory to convert {frame.width}x{frame.height} pixels") from error
        except Exception as error:  # libav: several types, by error number
            name = frame.format.name
            raise VideoError("unreadable", f"pixel format {name} cannot be converted to RGB: {error}") from error
        if self._is_limited_gray(frame):
            pixels = _EXPAND[pixels]
        return pixels

    def _is_limited_gray(self, frame: Any) -> bool:
        """libswscale takes all grey for full range, even where the stream says otherwise."""
        if not frame.format.name.startswith("gray"):
            return False
        limited = frame.color_range == _LIMITED_RANGE
        return bool(limited or (frame.color_range == 0 and self._codec in _VIDEO_CODECS))


def _stored_size(frame: Any, turn: "Matrix | None", geometry: Geometry | None) -> tuple[int, int] | None:
    """(width, height) to scale the stored picture to, so that it has the geometry's size once it is upright."""
    if geometry is None:
        return None
    if is_transposed(turn):
        return geometry.resized_px(frame.width, frame.height)  # upright, the stored width is the height
    height_px, width_px = geometry.resized_px(frame.height, frame.width)
    return width_px, height_px


def crop_or_pad(pixels: Pixels, geometry: Geometry) -> Pixels:
    """The middle of (H, W, 3) pixels; what is missing at the sides becomes the geometry's grey."""
    to_height, to_width = geometry.size_px
    height, width = pixels.shape[:2]
    more_h, more_w = max(0, to_height - height), max(0, to_width - width)
    if more_h or more_w:
        sides = ((more_h // 2, more_h - more_h // 2), (more_w // 2, more_w - more_w // 2), (0, 0))
        pixels = np.pad(pixels, sides, constant_values=geometry.fill)
        height, width = pixels.shape[:2]
    # torchvision rounds the half pixel to even: int(round(x)), not x // 2.
    top, left = round((height - to_height) / 2), round((width - to_width) / 2)
    return pixels[top : top + to_height, left : left + to_width]


def fitted(pixels: Pixels, geometry: Geometry) -> Pixels:
    """(H, W, 3) upright RGB -> `geometry.shape`, scaled by libswscale as a decoded frame is."""
    from av import VideoFrame

    return Upright("rawvideo")(VideoFrame.from_ndarray(pixels, "rgb24"), geometry)


def display_matrix(frame: Any) -> Matrix | None:
    """The container's 3x3 display matrix in 16.16 fixed point, or None where it has none."""
    try:
        side = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV 18.1 refuses all side data of a frame that has one of a type newer than its list. The angle it still
        # gives; a mirror is lost.
        cos, sin = (round(f(np.deg2rad(frame.rotation)) * 65536) for f in (np.cos, np.sin))
        return np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1 << 30]], np.int32)
    return None if side is None else np.frombuffer(bytes(side), np.int32).reshape(3, 3)


def is_transposed(matrix: Matrix | None) -> bool:
    """Whether a display matrix exchanges width and height (nearest quarter turn)."""
    return matrix is not None and abs(int(matrix[0, 1])) > abs(int(matrix[0, 0]))


def orient(pixels: Pixels, matrix: Matrix | None) -> Pixels:
    """Turn and mirror (H, W, 3) pixels as the display matrix says; angles snap to the nearest quarter turn.

    The matrix [a b; c d] sends the point (x, y), y downwards, to (a x + c y, b x + d y).
    """
    if matrix is None:
        return pixels
    (a, b), (c, d) = matrix[0, :2], matrix[1, :2]
    if is_transposed(matrix):
        pixels = pixels.transpose(1, 0, 2)  # (W, H, 3): now x' grows with y, y' with x
        right, down = c, b
    else:
        right, down = a, d
    return pixels[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1]
