"""Pictures for encoders: those PIL makes of the full-size frame, whatever its format, size and orientation."""

from typing import Any

import av
import numpy as np
import pytest
from nightreel.extract.decode import pixels as module
from nightreel.extract.decode.pixels import Upright, fitted, orient, reduced_px
from nightreel.extract.geometry import ALIASED, Geometry

GEOMETRIES = {
    "224": Geometry((224, 224)),
    "longest": Geometry((112, 112), "longest", fill=90),
    "squash": Geometry((96, 96), "squash", "bilinear"),
    "tall": Geometry((80, 40)),
    "toy": Geometry((32, 32), "squash", "bilinear"),
}
FORMATS = ["yuv420p", "yuvj420p", "yuv422p", "yuv444p10le", "yuv420p10le", "yuva420p", "nv12", "gray", "rgb24"]
SIZES = [(1080, 1920), (481, 641), (480, 641), (360, 640), (121, 161), (53, 37), (900, 700), (1, 1), (2, 90)]
# Every turn and mirror, as the container's matrix writes them.
TURNS = [(1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)]
TURNS += [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


def photograph(height: int, width: int) -> np.ndarray:
    """Smooth colours with edges and a little noise, (H, W, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [np.sin(9 * x + 3 * y) * 90 + 128, np.cos(14 * y + x) * 100 + 120, ((x * 5).astype(int) % 2) * 180.0 + 30]
    noise = np.random.default_rng(0).normal(0, 4, (height, width, 1))
    return (np.stack(waves, axis=-1) + noise).clip(0, 255).astype(np.uint8)


def frame_of(pixels: np.ndarray, pix_fmt: str = "yuv444p") -> Any:
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24").reformat(format=pix_fmt)


def by_pil(pixels: np.ndarray, geometry: Geometry) -> np.ndarray:
    """The plain way: all of it scaled, then cropped or padded."""
    from PIL import Image

    height, width = geometry.resized_px(*pixels.shape[:2])
    how = Image.Resampling[geometry.interpolation.upper()]
    whole = np.asarray(Image.fromarray(pixels).resize((width, height), how))
    out = np.full(geometry.shape, geometry.fill, np.uint8)
    top, left = geometry.offset_px((height, width))
    shown = whole[max(0, top) :, max(0, left) :][: geometry.size_px[0], : geometry.size_px[1]]
    out[max(0, -top) :, max(0, -left) :][: shown.shape[0], : shown.shape[1]] = shown
    return out


def difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    assert a.shape == b.shape
    return np.abs(a.astype(int) - b)


@pytest.fixture
def turned(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes every frame carry this display matrix; PyAV cannot write one into a frame."""

    def turn(a: int, b: int, c: int, d: int) -> np.ndarray:
        matrix = np.array([[a, b, 0], [c, d, 0], [0, 0, 1 << 14]], np.int32) * 65536
        monkeypatch.setattr(module, "display_matrix", lambda frame: matrix)
        return matrix

    return turn


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("pix_fmt", FORMATS)
def test_pictures_are_those_of_the_full_size_frame(pix_fmt: str, name: str) -> None:
    upright, geometry = Upright("h264"), GEOMETRIES[name]
    for size in SIZES:
        frame = frame_of(photograph(*size), pix_fmt)
        got = upright(frame, geometry)
        assert got.flags.c_contiguous
        off = difference(got, by_pil(upright(frame), geometry))
        if reduced_px(frame, geometry.resized_px(*size), False):
            # 1 of 255 on average, more where the chroma of an odd width shifts; an edge of 180 grey values may be 20 off,
            # because two filters follow each other.
            assert off.mean() < (1 if size[1] % 2 == 0 else 2), (size, off.mean())
            assert off.max() <= 40, (size, off.max())
        else:
            assert off.max() <= 4, (size, off.max())


@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("name", ["224", "longest", "tall"])
def test_a_turned_frame_gives_the_picture_of_the_upright_one(turned: Any, turn: Any, name: str) -> None:
    for size in ((90, 141), (900, 1201)):
        turned(1, 0, 0, 1)
        stored, geometry = photograph(*size), GEOMETRIES[name]
        shown = np.ascontiguousarray(orient(stored, turned(*turn)))
        frame = frame_of(stored)
        assert Upright("h264")(frame).shape == shown.shape
        got = Upright("h264")(frame, geometry)
        turned(1, 0, 0, 1)
        off = difference(got, Upright("h264")(frame_of(shown), geometry))
        assert off.mean() < (0.5 if max(size) > 900 else 0.01), off.mean()


def test_corners_stay_in_their_corners(turned: Any) -> None:
    """Red, green / blue, white, by hand: a quarter turn counter-clockwise brings green to the upper left."""
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32], stored[:24, 32:], stored[24:, :32], stored[24:, 32:] = (
        (200, 30, 30),
        (30, 200, 30),
        (30, 30, 200),
        (220, 220, 220),
    )
    turned(0, -1, 1, 0)
    got = Upright("h264")(frame_of(stored), Geometry((16, 16), "squash", "bilinear"))
    colours = [got[y, x].tolist() for y in (3, 12) for x in (3, 12)]
    expected = [(30, 200, 30), (220, 220, 220), (200, 30, 30), (30, 30, 200)]
    assert np.abs(np.array(colours) - expected).max() <= 3


def test_long_frames_need_no_more_memory_than_their_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    asked: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def spy(self: Any, size: tuple[int, int], *args: Any, **how: Any) -> Any:
        asked.append(size)
        return resize(self, size, *args, **how)

    geometry = Geometry((32, 32))
    for size in ((8, 4000), (4000, 8), (1, 3000)):
        stored = photograph(*size)
        expected = by_pil(stored, geometry)  # 32 x 16 000 on the way, which is just bearable
        monkeypatch.setattr(Image.Image, "resize", spy)
        got = Upright("h264")(frame_of(stored, "rgb24"), geometry)
        monkeypatch.setattr(Image.Image, "resize", resize)
        assert difference(got, expected).max() <= 2
    assert asked == [(32, 32)] * 3


def test_a_stream_may_change_its_format_and_size() -> None:
    upright, geometries = Upright("h264"), list(GEOMETRIES.values())
    for size, pix_fmt in [((90, 120), "yuv420p"), ((1080, 1920), "yuv420p"), ((120, 90), "gray"), ((90, 120), "rgb24")]:
        frame = frame_of(photograph(*size), pix_fmt)
        for geometry in [*geometries, None, *geometries]:
            np.testing.assert_array_equal(upright(frame, geometry), Upright("h264")(frame, geometry))


@pytest.mark.parametrize("size", [(90, 120), (1080, 1920)])
@pytest.mark.parametrize("space", [0, 1, 2, 5, 6, 7, 8, 9, 14])
def test_the_colour_matrix_is_the_same_at_every_size(size: tuple[int, int], space: int) -> None:
    """libswscale refuses some (8 YCgCo, 14 ICtCp); a picture must not fail nor change its hue where `rgb` does not."""
    frame = frame_of(np.full((*size, 3), (30, 200, 60), np.uint8), "yuv420p")
    frame.colorspace = space
    picture, full = (Upright("h264")(frame, geometry) for geometry in (Geometry((64, 64)), None))
    assert difference(picture[32, 32], full[40, 50]).max() <= 1
    assert int(frame.colorspace) == space


def test_limited_range_grey_is_expanded_in_pictures_too() -> None:
    frame = frame_of(np.full((50, 60, 3), 16, np.uint8), "gray")
    frame.color_range = 1
    assert Upright("h264")(frame, Geometry((20, 20))).max() == 0


def test_reduced_px_worked_examples() -> None:
    def reduced(height: int, width: int, size: int, pix_fmt: str = "yuv420p", turn: bool = False) -> Any:
        geometry = Geometry((size, size))
        upright_px = geometry.resized_px(width, height) if turn else geometry.resized_px(height, width)
        return reduced_px(frame_of(np.zeros((height, width, 3), np.uint8), pix_fmt), upright_px, turn)

    assert reduced(1080, 1920, 224) == (560, 996)
    assert reduced(1080, 1920, 224, turn=True) == (560, 996)  # as stored
    assert reduced(1081, 1921, 224) == (561, 997)  # odd stays odd
    assert reduced(720, 1280, 224) is None
    assert reduced(1080, 1920, 224, "rgb24") is None


def test_fitted_of_a_picture_that_fits_is_that_picture() -> None:
    picture = photograph(24, 40)
    np.testing.assert_array_equal(fitted(picture, Geometry((24, 40))), picture)


@pytest.mark.parametrize("resize_px", [(128, 171), (256, 256)])
@pytest.mark.parametrize("size", [(90, 120), (128, 171), (240, 320), (577, 333), (1080, 1920)])
def test_aliased_pictures_are_those_of_torchvisions_preset(resize_px: tuple[int, int], size: tuple[int, int]) -> None:
    """Also from decoded frames, which must not be reduced first."""
    import torch
    from torchvision.transforms._presets import VideoClassification

    square = resize_px[0] == resize_px[1]
    geometry = Geometry((112, 112), "shortest" if square else "squash", ALIASED, resize_px=resize_px)
    to = (resize_px[0],) if square else resize_px
    preset = VideoClassification(crop_size=(112, 112), resize_size=to, mean=(0, 0, 0), std=(1 / 255,) * 3)
    frame = frame_of(photograph(*size), "yuv420p")
    whole = Upright("h264")(frame, None)
    expected = preset(torch.from_numpy(whole).permute(2, 0, 1)[None])[:, 0].permute(1, 2, 0).numpy()
    for got in (fitted(whole, geometry), Upright("h264")(frame, geometry)):
        off = np.abs(got.astype(np.float32) - expected)
        assert off.max() <= 1.001  # where a half is rounded the other way
        assert (off > 0.5).mean() < 0.01
