"""Light and variety of pictures, worked out by hand."""

import numpy as np
import pytest
from nightreel.extract.looks import BLANK_VARIANCE, blank, look


def test_one_colour_has_its_luma_and_no_variance() -> None:
    pictures = np.zeros((3, 8, 8, 3), np.uint8)
    pictures[1] = 255
    pictures[2, ..., 0] = 100
    found = look(pictures)
    assert found.shape == (3, 2)
    np.testing.assert_allclose(found[:, 0], [0, 255, 29.9], atol=1e-3)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-3)


def test_half_black_half_white_varies_most() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:4] = 255
    assert look(picture).tolist() == pytest.approx([127.5, 127.5**2], abs=0.1)


def test_clips_keep_their_axes() -> None:
    assert look(np.zeros((2, 5, 6, 4, 3), np.uint8)).shape == (2, 5, 2)


def test_black_white_and_fades_are_blank_and_pictures_are_not() -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (32, 32, 3))
    pictures = [np.zeros_like(photo), np.full_like(photo, 255), photo // 25, photo, photo // 4]
    noise = np.clip(rng.normal(16, 3, photo.shape), 0, 255)  # what black is on a tape
    variance = look(np.array([*pictures, noise], np.uint8))[:, 1]
    assert blank(variance).tolist() == [True, True, True, False, False, True]
    assert not blank(np.array([np.nan])).any()
    assert BLANK_VARIANCE == 25
