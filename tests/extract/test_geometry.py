"""Which pixels an encoder wants: worked examples, and what holds for any size."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.decode.pixels import fitted
from nightreel.extract.geometry import INTERPOLATIONS, RESIZE_MODES, Geometry, from_json

SIDES = st.integers(1, 500)
GEOMETRIES = st.builds(
    Geometry,
    st.tuples(st.integers(1, 64), st.integers(1, 64)) | st.integers(1, 64).map(lambda side: (side, side)),
    st.sampled_from(RESIZE_MODES),
    st.sampled_from(INTERPOLATIONS),
    st.integers(0, 255),
)


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
    assert any(got == want for got, want in zip(resized, geometry.size_px, strict=True))


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
    ],
)
def test_what_cannot_be_is_refused(how: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Geometry(**{"size_px": (8, 8), **how})
