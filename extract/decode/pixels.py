"""From a decoded frame to what a viewer sees: RGB, 8 bits, upright.

Colour: the matrix and range that the stream is tagged with. Untagged streams are read as limited-range
BT.601, whatever their size: libswscale's rule, hence that of the ffmpeg command, decord and what
video models were trained on (players guess BT.709 for HD: saturated greens then differ by up to 35 of 255).
HDR is not tone-mapped: PQ and HLG frames come out flat and greyish, as from decord. Alpha is dropped.
Sample aspect ratio is not applied: pixels are the stream's own.

Scaling is PIL's, because that is what encoders were trained on and what archives hold: libswscale's own is twice as
fast, but an encoder sees the difference (docs/decisions.md). It only takes large pictures down to a size that is still
2.5 times what is wanted, as planes, before they become RGB.

Costs, one core: RGB of 768x576 0.23 ms with one reformatter kept, 1.6 ms with one per frame, hence `Upright` holds
them. A picture of 224 (288) px from 360p 1.7 (2.1) ms, 720p 4.8 (5.2), 1080p 6 (9), 2160p 10 (13).
"""

import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import VideoError
from ..geometry import ALIASED, Geometry
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
# Pictures are first reduced to 2.5 times the wanted size (cosine of `conse` to unreduced ones >= 0.9992; 0.9983 from 2
# times), where that leaves less than 60 % of the pixels.
_SPARE = 2.5
_WORTHWHILE = 1.3

Matrix = npt.NDArray[np.int32]


class Upright:
    """Converts the frames of one stream, whose format and size may change; may be called from any thread."""

    def __init__(self, codec: str) -> None:
        self._codec = codec
        self._reformatters: dict[Any, Any] = {}
        self._lock = threading.Lock()  # libswscale's contexts are not thread-safe

    def __call__(self, frame: Any, geometry: Geometry | None = None) -> Pixels:
        """(H, W, 3) uint8, C-contiguous, rotation and mirroring applied; of the geometry's shape if there is one.

        Raises:
            VideoError: unreadable (libswscale knows no way from this pixel format), out_of_memory.
        """
        turn = display_matrix(frame)
        try:
            if geometry is None:
                return np.ascontiguousarray(orient(self._rgb(frame), turn))
            # From the frame's own size, which the smaller picture has only roughly.
            size_px = (frame.width, frame.height) if is_transposed(turn) else (frame.height, frame.width)
            whole = geometry.interpolation == ALIASED  # its four pixels must be the frame's own
            reduced = None if whole else reduced_px(frame, geometry.resized_px(*size_px), is_transposed(turn))
            source, of = (frame, None) if reduced is None else (self._reduce(frame, reduced, geometry), geometry)
            return fitted(orient(self._rgb(source, of), turn), geometry, size_px)
        except MemoryError as error:
            raise VideoError("out_of_memory", f"no memory to convert {frame.width}x{frame.height} pixels") from error

    def _reduce(self, frame: Any, to_px: tuple[int, int], geometry: Geometry) -> Any:
        """The frame at (height, width) `to_px`, in its own pixel format and colour space."""
        from av.video.reformatter import Interpolation

        how = {"height": to_px[0], "width": to_px[1], "dst_colorspace": _matrix(frame)}
        flags = Interpolation.LANCZOS | Interpolation.ACCURATE_RND
        return self._reformat(frame, ("reduce", geometry), interpolation=flags, **how)

    def _rgb(self, frame: Any, of: Geometry | None = None) -> Pixels:
        """RGB as stored, not yet upright; `of` is the geometry for which the frame was reduced."""
        # libswscale's fast way; its rounding, about one grey value too dark, is then in pictures of every size.
        pixels: Pixels = np.asarray(self._reformat(frame, ("rgb", of), format="rgb24").to_ndarray(), np.uint8)
        return _EXPAND[pixels] if self._is_limited_gray(frame) else pixels

    def _reformat(self, frame: Any, key: Any, **how: Any) -> Any:
        """One reformatter for each `key`: one that must change what it does for every frame is 7 times as slow."""
        from av.video.reformatter import VideoReformatter

        try:
            with self._lock:
                if key not in self._reformatters:
                    self._reformatters[key] = VideoReformatter()
                # threads=1: by default libswscale starts a thread per core for each frame, in each worker.
                return self._reformatters[key].reformat(frame, src_colorspace=_matrix(frame), threads=1, **how)
        except MemoryError:
            raise
        except Exception as error:  # libav: several types, by error number
            name = frame.format.name
            raise VideoError("unreadable", f"pixel format {name} cannot be converted to RGB: {error}") from error

    def _is_limited_gray(self, frame: Any) -> bool:
        """libswscale takes all grey for full range, even where the stream says otherwise."""
        if not frame.format.name.startswith("gray"):
            return False
        limited = frame.color_range == _LIMITED_RANGE
        return bool(limited or (frame.color_range == 0 and self._codec in _VIDEO_CODECS))


def _matrix(frame: Any) -> int | None:
    """libswscale's number of the frame's colour matrix; None leaves an untagged frame to libswscale."""
    space = int(frame.colorspace)
    return None if space == _UNTAGGED else _MATRICES.get(space, _BT601)


def reduced_px(frame: Any, upright_px: tuple[int, int], transposed: bool) -> tuple[int, int] | None:
    """(height, width) to reduce a stored frame to before it becomes RGB and then `upright_px`; None: not at all.

    1920x1080 for 224 px: `upright_px` (224, 398), reduced (560, 996). 1280x720 is too small to gain by it.
    """
    # Lines of interlaced fields must not be mixed twice; packed formats and grey go the plain way.
    if frame.interlaced_frame or not frame.format.name.startswith("yuv"):
        return None
    height_px, width_px = upright_px[::-1] if transposed else upright_px
    to_height, to_width = (2 * math.ceil(_SPARE * side / 2) for side in (height_px, width_px))
    # libswscale's ways from YUV to RGB round differently, by one or two grey values: one for even heights, one for odd
    # heights and even widths, one for both odd. So the smaller picture is odd where the frame is.
    to_height, to_width = to_height + frame.height % 2, to_width + frame.width % 2 * (frame.height % 2)
    if frame.height < _WORTHWHILE * to_height or frame.width < _WORTHWHILE * to_width:
        return None
    return to_height, to_width


def fitted(pixels: Pixels, geometry: Geometry, size_px: tuple[int, int] | None = None) -> Pixels:
    """(H, W, 3) upright RGB -> `geometry.shape`, C-contiguous: the window that is wanted, scaled by PIL, then padded.

    Only the window is scaled, so an 8x4000 frame for 224 px never becomes 224x112000.

    Args:
        size_px: (height, width) of the frame, where `pixels` is a smaller picture of it.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    whole_px = geometry.resized_px(*(size_px or (height, width)))
    if geometry.interpolation == ALIASED:
        return _aliased(pixels, whole_px, geometry)
    spans = [
        _span(*axis)
        for axis in zip((height, width), whole_px, geometry.size_px, geometry.offset_px(whole_px), strict=True)
    ]
    (rows, y0, y1), (columns, x0, x1) = spans
    how = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}[geometry.interpolation]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    scaled = image.resize((columns.stop - columns.start, rows.stop - rows.start), how, box=(x0, y0, x1, y1))
    out = np.full(geometry.shape, geometry.fill, np.uint8)
    out[rows, columns] = np.asarray(scaled)
    return out


def _aliased(pixels: Pixels, whole_px: tuple[int, int], geometry: Geometry) -> Pixels:
    """Each result pixel from the four around its place, as `torch.nn.functional.interpolate` without antialiasing does."""
    top, left = geometry.offset_px(whole_px)
    (y0, y1, dy), (x0, x1, dx) = (
        _neighbours(have, whole, want, offset)
        for have, whole, want, offset in zip(pixels.shape, whole_px, geometry.size_px, (top, left), strict=False)
    )
    rows = [pixels[y] for y in (y0, y1)]  # (h, W, 3)
    upper, lower = (row[:, x0] * (1 - dx)[:, None] + row[:, x1] * dx[:, None] for row in rows)  # (h, w, 3) float32
    blended: Pixels = np.rint(upper + (lower - upper) * dy[:, None, None]).astype(np.uint8, order="C")
    return blended


def _neighbours(have: int, whole: int, want: int, offset: int) -> tuple[Any, Any, npt.NDArray[np.float32]]:
    """One axis: (want,) source pixels before and after each result pixel's centre, and how far between them it is."""
    places = np.maximum((np.arange(want) + offset + 0.5) * (have / whole) - 0.5, 0).astype(np.float32)
    before = np.minimum(places.astype(np.int64), have - 1)
    return before, np.minimum(before + 1, have - 1), places - before


def _span(have: int, whole: int, want: int, offset: int) -> tuple[slice, float, float]:
    """One axis: which of the `want` result pixels are filled, from where to where in `have` source pixels.

    Args:
        whole: pixels of the axis if it were scaled entirely.    offset: of the first result pixel in these.
    """
    first, last = max(0, -offset), min(want, whole - offset)
    begin, end = ((at + offset) * have / whole for at in (first, last))
    return slice(first, last), begin, min(end, have)


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
