"""Which pixels an encoder wants: worked examples, and what holds for any size."""

import json
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.decode.pixels import fitted
from nightreel.extract.geometry import ALIASED, HALF_PIXELS, INTERPOLATIONS, RESIZE_MODES, Geometry, from_json

SIDES = st.integers(1, 500)
SIZES_PX = st.tuples(st.integers(1, 64), st.integers(1, 64)) | st.integers(1, 64).map(lambda side: (side, side))
WAYS = st.sampled_from([pair for pair in product(RESIZE_MODES, INTERPOLATIONS) if pair != ("longest", ALIASED)])


@st.composite
def geometries(draw: st.DrawFn) -> Geometry:
    size_px, (mode, interpolation) = draw(SIZES_PX), draw(WAYS)
    more = draw(st.none() | st.tuples(st.integers(0, 30), st.integers(0, 30))) if mode != "longest" else None
    resize_px = None if more is None else (size_px[0] + more[0], size_px[1] + more[1])
    half_px = draw(st.sampled_from(HALF_PIXELS))
    return Geometry(size_px, mode, interpolation, draw(st.integers(0, 255)), half_px, resize_px)


GEOMETRIES = geometries()


@pytest.mark.parametrize(
    ("mode", "frame_px", "resized_px", "offset_px"),
    [
        ("shortest", (720, 1280), (224, 398), (0, 87)),
        ("shortest", (1280, 720), (398, 224), (87, 0)),
        ("longest", (720, 1280), (126, 224), (-49, 0)),
        ("longest", (1, 10_000), (1, 224), (-111, 0)),
        ("squash", (720, 1280), (224, 224), (0, 0)),
        ("shortest", (8, 4000), (224, 112_000), (0, 55_888)),
    ],
)
def test_worked_examples(
    mode: str, frame_px: tuple[int, int], resized_px: tuple[int, int], offset_px: tuple[int, int]
) -> None:
    geometry = Geometry((224, 224), mode)
    assert geometry.resized_px(*frame_px) == resized_px
    assert geometry.offset_px(resized_px) == offset_px


def test_a_crop_out_of_what_is_fitted_first() -> None:
    squashed = Geometry((112, 112), "squash", resize_px=(128, 171))
    assert squashed.resized_px(720, 1280) == (128, 171)
    assert squashed.offset_px((128, 171)) == (8, 30)  # 29.5
    short = Geometry((224, 224), resize_px=(256, 256))
    assert short.resized_px(720, 1280) == (256, 455)
    assert short.offset_px((256, 455)) == (16, 116)  # 115.5
    assert Geometry((224, 224), half_px="down", resize_px=(256, 256)).offset_px((256, 455)) == (16, 115)


def test_half_a_pixel_goes_to_the_even_side_as_torchvision_does() -> None:
    geometry = Geometry((10, 10))
    assert geometry.offset_px((10, 13)) == (0, 2)  # 1.5
    assert geometry.offset_px((10, 15)) == (0, 2)  # 2.5
    assert geometry.offset_px((10, 7)) == (0, -1)  # padding: the smaller half first


@settings(deadline=None)
@given(GEOMETRIES, SIDES, SIDES)
def test_shortest_covers_and_longest_fits(geometry: Geometry, height: int, width: int) -> None:
    resized = geometry.resized_px(height, width)
    assert min(resized) >= 1
    if geometry.resize_mode == "longest":
        assert all(got <= want for got, want in zip(resized, geometry.size_px, strict=True))
    else:
        assert all(got >= want for got, want in zip(resized, geometry.size_px, strict=True))
    to_px = geometry.resize_px or geometry.size_px
    assert any(got == want for got, want in zip(resized, to_px, strict=True))


@settings(deadline=None)
@given(GEOMETRIES, SIDES, SIDES)
def test_any_picture_becomes_one_of_the_shape(geometry: Geometry, height: int, width: int) -> None:
    got = fitted(np.full((height, width, 3), 200, np.uint8), geometry)
    assert (got.shape, got.dtype, got.flags.c_contiguous) == (geometry.shape, np.uint8, True)
    assert got.nbytes == geometry.nbytes
    assert set(np.unique(got)) <= {200, geometry.fill}
    if geometry.resize_mode != "longest":
        assert (got == 200).all()


@settings(deadline=None)
@given(GEOMETRIES)
def test_json_there_and_back(geometry: Geometry) -> None:
    assert from_json(json.loads(json.dumps(geometry.as_json()))) == geometry


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"resize_mode": "stretch"}, "resize_mode 'stretch'; expected one of shortest"),
        ({"interpolation": "nearest"}, "interpolation 'nearest'"),
        ({"size_px": (0, 5)}, r"size \(0, 5\)"),
        ({"half_px": "up"}, "half_px 'up'; expected one of even, down"),
        ({"resize_px": (9, 7)}, r"cannot crop \(8, 8\) out of \(9, 7\)"),
        ({"resize_px": (9, 9), "resize_mode": "longest"}, "cannot crop"),
        ({"interpolation": ALIASED, "resize_mode": "longest"}, "which pads"),
    ],
)
def test_what_cannot_be_is_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Geometry(**{"size_px": (8, 8), **how})
