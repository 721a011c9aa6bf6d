"""Windows of a long video: whole events, no overlap, the best place first; and what they are for."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.search.curve import Curve, make_curve, smooth
from nightreel.search.ground import find_moments
from nightreel.search.moment import Moment, iou
from nightreel.search.windows import part, windows

MARGIN_S = 75.0


def curve_of(scores: np.ndarray, step_s: float = 1.0) -> Curve:
    start = np.arange(len(scores)) * step_s
    return make_curve(scores, start, start + step_s)


def windows_of(curve: Curve, most: int = 8, bar: float = 1.0) -> list[tuple[int, int]]:
    return windows(curve, smooth(curve, 3.0), bar, most, MARGIN_S)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


@pytest.mark.parametrize(("count", "step_s"), [(1, 1.0), (225, 1.0), (112, 2.0), (1000, 0.2)])
def test_a_short_video_is_one_window(count: int, step_s: float) -> None:
    assert windows_of(curve_of(noise(count), step_s)) == [(0, count)]


def test_two_peaks_have_windows_of_their_own() -> None:
    scores = np.zeros(2000)
    scores[500:510], scores[1500:1510] = 1.0, 2.0
    (a, b), (c, d) = windows_of(curve_of(scores), most=2)
    for (first, last), (begin, end) in (((a, b), (500, 510)), ((c, d), (1500, 1510))):
        assert begin - 85 <= first <= begin - 60
        assert end + 60 <= last <= end + 85
    ((c, d),) = windows_of(curve_of(scores), most=1)
    assert c < 1500 < d


def test_neighbours_share_no_cell() -> None:
    scores = np.zeros(2000)
    scores[500:510], scores[600:610] = 2.0, 1.0
    (a, b), (c, d) = windows_of(curve_of(scores), most=2)
    assert a < 500 < b == c < 600 < 610 < d


def test_an_event_of_ten_minutes_is_not_cut() -> None:
    scores = 0.2 * noise(7200)
    scores[3000:3600] += 1.0
    (window, *_) = [w for w in windows_of(curve_of(scores)) if w[0] <= 3300 < w[1]]
    assert window[0] <= 3000 - 10
    assert window[1] >= 3600 + 10
    start = np.arange(7200.0)
    assert iou(find_moments(scores, start, start + 1)[0], Moment(3000, 3600, 0.0)) > 0.95


@settings(max_examples=60, deadline=None)
@given(st.integers(226, 3000), st.integers(1, 12), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 99))
def test_windows_are_disjoint_in_order_and_hold_the_highest_cell(
    count: int, most: int, step_s: float, seed: int
) -> None:
    curve = curve_of(noise(count, seed), step_s)
    found = windows_of(curve, most)
    assert 1 <= len(found) <= most
    assert all(a < b for a, b in found)
    assert all(b <= c for (_, b), (c, _) in pairwise(found))
    assert found[0][0] >= 0
    assert found[-1][1] <= count
    best = int(np.argmax(curve.z + smooth(curve, 3.0)))
    assert any(a <= best < b for a, b in found)


def test_a_part_is_the_cells_as_they_are() -> None:
    curve = curve_of(noise(50))
    inside = part(curve, (10, 20))
    np.testing.assert_array_equal(inside.z, curve.z[10:20])
    np.testing.assert_array_equal(inside.edges, curve.edges[10:21])


@pytest.mark.parametrize("minutes", [5, 15, 60, 180])
@pytest.mark.parametrize("with_features", [False, True])
def test_the_answer_does_not_depend_on_the_length_of_the_tape(minutes: int, with_features: bool) -> None:
    """A moment of 20 s among scenes of 8 s that have nothing to do with the query."""
    rng = np.random.default_rng(minutes)
    hits = []
    for _ in range(6):
        count = 60 * minutes
        scenes = np.repeat(rng.normal(size=(count // 8 + 1, 32)), 8, 0)[:count]
        at = int(rng.integers(0, count - 20))
        query = rng.normal(size=32)
        scenes[at : at + 20] = query + 0.7 * rng.normal(size=32)
        rows = (scenes + 0.5 * rng.normal(size=scenes.shape)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        vector = (query / np.linalg.norm(query)).astype(np.float32)
        start = np.arange(count) * 1.0
        more = {"features": rows.astype(np.float16), "query": vector} if with_features else {}
        best = find_moments(rows @ vector, start, start + 1, **more)[0]  # type: ignore[arg-type]
        hits.append(iou(best, Moment(at, at + 20, 0.0)))
    assert np.mean(hits) > 0.85


@pytest.mark.parametrize("gap_s", [5, 20, 80, 300, 3600])
def test_a_gap_is_no_place_to_look_at(gap_s: int) -> None:
    """A window of nothing but a gap had no features to be sharpened by."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        start = np.arange(300.0)
        start[150:] += gap_s
        rows, query = rng.normal(size=(300, 16)), rng.normal(size=16)
        found = find_moments(rows @ query, start, start + 1, features=rows, query=query)
        assert found
        curve = make_curve(rows @ query, start, start + 1)
        assert all(curve.seen[a:b].any() for a, b in windows_of(curve))
