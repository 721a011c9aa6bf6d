"""What features add to a curve: worked examples."""

from dataclasses import replace

import numpy as np
import pytest
from nightreel.search.curve import Curve, make_curve
from nightreel.search.sharpen import Sharpening, fed_back, sharpened

HOW = Sharpening()


def curve_of(scores: list[float] | np.ndarray) -> Curve:
    start = np.arange(len(scores)) * 1.0
    return make_curve(scores, start, start + 1)


def two_shots(first: int, second: int) -> np.ndarray:
    return np.repeat(np.eye(4, dtype=np.float32)[:2], [first, second], 0)


def test_scores_move_half_way_to_the_mean_of_their_shot() -> None:
    curve = curve_of([0, 1, 0, 1, 0, 1, 4, 2, 4, 2, 4, 2])
    out = sharpened(curve, two_shots(6, 6), replace(HOW, feedback=0.0))
    for shot in (slice(0, 6), slice(6, 12)):
        np.testing.assert_allclose(out[shot], (curve.z[shot] + curve.z[shot].mean()) / 2, atol=1e-9)


def test_without_a_cut_nothing_is_steadied() -> None:
    curve = curve_of([0, 1, 0, 3, 0, 1])
    alike = np.ones((6, 4), np.float32)
    np.testing.assert_array_equal(sharpened(curve, alike, HOW), curve.z)


def test_a_flat_window_stays_as_it_is() -> None:
    curve = Curve(np.arange(4.0), np.full(3, 0.7), np.ones(3, bool))
    np.testing.assert_array_equal(sharpened(curve, np.eye(3, dtype=np.float32), HOW), curve.z)


def test_gaps_keep_what_they_had() -> None:
    start = np.array([0.0, 1, 2, 6, 7, 8])
    curve = make_curve([0, 0, 0, 1, 2, 1], start, start + 1)
    out = sharpened(curve, two_shots(3, 3), HOW)
    assert not curve.seen[3]
    assert out[3] == curve.z[3]
    assert (out[curve.seen] != curve.z[curve.seen]).any()


def test_what_looks_like_the_best_frames_rises_above_what_does_not() -> None:
    # One frame of scene 1 fits by the words; frames 5 to 9 look like it, the others do not.
    features = two_shots(5, 5)
    z = np.array([0, 0, 0, 0, 0, 0, 0, 5.0, 0, 0])
    fed = fed_back(z - z.mean(), np.ones(10), features, HOW)
    others = [5, 6, 8, 9]
    assert fed[others].min() > fed[:5].max()
    assert fed.argmax() == 7


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_a_window_is_treated_in_its_own_units(scale: float) -> None:
    rng = np.random.default_rng(0)
    z, features = rng.normal(size=80), rng.normal(size=(80, 8)).astype(np.float32)
    edges, seen = np.arange(81.0), np.ones(80, bool)
    plain = sharpened(Curve(edges, z, seen), features, HOW)
    scaled = sharpened(Curve(edges, scale * z + 2.0, seen), features, HOW)
    np.testing.assert_allclose(scaled, scale * plain + 2.0, atol=1e-9 * max(1.0, scale))
