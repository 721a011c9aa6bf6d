"""Windows and pooling: worked by hand, and against plain loops for any spans."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.index.levels import LEVELS, LONG, SEGMENT, SHORT, VIDEO, Level, at_level, levels_for, pooled, windows
from nightreel.index.score import level_scores

YEARS_S = 3e8


def each_second(count: int) -> tuple[np.ndarray, np.ndarray]:
    start_s = np.arange(count, dtype=float)
    return start_s, start_s + 1


def pairs(start_s: np.ndarray, end_s: np.ndarray, level: Level) -> list[tuple[int, int]]:
    first, after = windows(np.asarray(start_s, float), np.asarray(end_s, float), level)
    return list(zip(first.tolist(), after.tolist(), strict=True))


def test_windows_of_one_segment_a_second_by_hand() -> None:
    start_s, end_s = each_second(10)
    assert pairs(start_s, end_s, SHORT) == [(0, 4), (2, 6), (4, 8), (6, 10)]
    assert pairs(start_s, end_s, LONG) == [(0, 10)]  # [8, 24) holds nothing that [0, 16) has not
    assert pairs(start_s, end_s, VIDEO) == [(0, 10)]
    assert pairs(start_s, end_s, SEGMENT) == [(i, i + 1) for i in range(10)]


def test_the_last_window_is_whole_and_a_film_may_begin_late() -> None:
    start_s, end_s = each_second(7)
    assert pairs(start_s + 100.3, end_s + 100.3, SHORT) == [(0, 4), (2, 6), (4, 7)]


def test_nothing_begins_in_a_gap() -> None:
    start_s = np.array([0.0, 1.0, 100.0, 101.0])
    assert pairs(start_s, start_s + 1, SHORT) == [(0, 2), (2, 4)]


def test_a_file_that_lasts_for_years_has_no_more_windows_than_segments() -> None:
    start_s = np.array([0.0, 1.0, 2.0, YEARS_S])
    end_s = np.array([1.0, 2.0, YEARS_S, YEARS_S + 1])
    for level in (SHORT, LONG):
        assert pairs(start_s, end_s, level) == [(0, 2), (2, 3), (3, 4)]


def test_no_segments_no_windows() -> None:
    for level in LEVELS:
        assert pairs(np.zeros(0), np.zeros(0), level) == []
        assert at_level(np.zeros((0, 3), np.float32), np.zeros(0), np.zeros(0), level).shape == (0, 3)


LENGTHS = st.one_of(st.floats(0.01, 20), st.just(1.0), st.just(8.0), st.just(YEARS_S))
PAUSES = st.one_of(st.just(0.0), st.floats(0, 5), st.just(1000.0), st.just(YEARS_S))


@st.composite
def spans(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Up to 30 segments one after the other, with gaps."""
    lengths = np.array(draw(st.lists(LENGTHS, min_size=1, max_size=30)))
    gaps = np.array(draw(st.lists(PAUSES, min_size=len(lengths), max_size=len(lengths))))
    start_s = np.cumsum(np.r_[0.0, lengths[:-1]] + gaps)
    return start_s, start_s + lengths


def plain_windows(start_s: np.ndarray, end_s: np.ndarray, level: Level) -> list[tuple[int, int]]:
    """As the words say it: one window per hop in which a segment lies, unless the one before ends with the same."""
    middle, found = (start_s + end_s) / 2, []
    for hop in sorted({np.floor((m - start_s[0]) / level.hop_s) for m in middle}):
        begin_s = start_s[0] + hop * level.hop_s
        inside = [i for i, m in enumerate(middle) if begin_s - 1e-6 <= m < begin_s + level.length_s - 1e-6]
        if not found or inside[-1] + 1 > found[-1][1]:
            found.append((inside[0], inside[-1] + 1))
    return found


@given(spans(), st.sampled_from([SHORT, LONG]))
def test_windows_of_any_spans(span: tuple[np.ndarray, np.ndarray], level: Level) -> None:
    found = pairs(*span, level)
    assert found == plain_windows(*span, level)
    assert {row for first, after in found for row in range(first, after)} == set(range(len(span[0])))
    middle = (span[0] + span[1]) / 2
    assert all(middle[after - 1] - middle[first] <= level.length_s + 1e-5 for first, after in found)
    assert len(found) <= len(middle)


@given(spans(), st.sampled_from(LEVELS), st.integers(0, 99))
def test_pooling_is_the_mean_made_unit_and_scores_follow_from_its_norms(
    span: tuple[np.ndarray, np.ndarray], level: Level, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(span[0]), 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    first, after = windows(*span, level)
    rows, norms = pooled(vectors, first, after)
    assert rows.dtype == norms.dtype == np.float32
    for row, norm, a, b in zip(rows, norms, first, after, strict=True):
        mean = vectors[a:b].astype(float).mean(0)
        assert np.allclose(row, mean / np.linalg.norm(mean), atol=1e-4)
        assert norm == pytest.approx(np.linalg.norm(mean) * (b - a), rel=1e-4)
    assert np.allclose(at_level(vectors, *span, level), rows, atol=1e-6)
    query = rng.normal(size=6).astype(np.float32)
    best = level_scores(np.stack([vectors @ query, -vectors @ query]), [(first, after, norms)])
    assert np.allclose(best, [[(rows @ query).max(), (-rows @ query).max()]], atol=1e-4)


@given(spans(), st.sampled_from(LEVELS), st.integers(0, 5))
def test_weights_are_those_of_a_weighted_mean(span: tuple[np.ndarray, np.ndarray], level: Level, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, after = windows(*span, level)
    vectors = rng.normal(size=(len(span[0]), 5)).astype(np.float32)
    weight = rng.uniform(0.1, 3, len(vectors)).astype(np.float32)
    got, norms = pooled(vectors, first, after, weight)
    query = rng.normal(size=5).astype(np.float32)
    for row, (low, high) in zip(got, zip(first, after, strict=True), strict=True):
        mean = np.average(vectors[low:high], axis=0, weights=weight[low:high])
        np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-5)
    if len(first):
        best = level_scores((vectors @ query)[None], [(first, after, norms)], weight)
        assert best[0, 0] == pytest.approx(float((got @ query).max()), abs=1e-4)


def test_a_whole_video_is_pooled_as_clip4clip_does() -> None:
    # meanP: unit vectors of frames, their mean, made unit (Luo 2021): (1, 0) + (0.6, 0.8) = (1.6, 0.8).
    vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
    ((row,), (norm,)) = pooled(vectors, *windows(*each_second(2), VIDEO))
    assert np.allclose(row, np.array([2, 1]) / np.sqrt(5))
    assert norm == pytest.approx(np.sqrt(1.6**2 + 0.8**2))


def test_vectors_that_cancel_out_are_no_direction() -> None:
    vectors = np.array([[1, 0], [-1, 0]], np.float32)
    rows, norms = pooled(vectors, np.array([0]), np.array([2]))
    assert rows.tolist() == [[0, 0]]
    assert norms.tolist() == [np.inf]
    assert level_scores(vectors[None, :, 0], [(np.array([0]), np.array([2]), norms)]).tolist() == [[0]]


def test_half_precision_is_summed_in_single() -> None:
    vectors = np.full((3000, 2), np.float16(np.sqrt(0.5)))
    rows, norms = pooled(vectors, np.array([0]), np.array([3000]))
    assert norms == pytest.approx([3000], rel=1e-3)  # in float16 the sum stands still at 2048 * 0.7
    assert np.allclose(rows, np.sqrt(0.5), atol=1e-3)


@pytest.mark.parametrize(
    ("sampling", "names"),
    [
        ({"fps": 1.0}, ["segment", "4s", "16s", "video"]),
        ({"fps": 0.5}, ["segment", "4s", "16s", "video"]),
        ({"fps": 0.25}, ["segment", "16s", "video"]),
        ({"hop_s": 8.0, "frames_per_clip": 16}, ["segment", "16s", "video"]),
        ({"hop_s": 2.0, "fps": 0.01}, ["segment", "4s", "16s", "video"]),
        ({"fps": 0.1}, ["segment", "video"]),
        (None, ["segment", "4s", "16s", "video"]),
    ],
)
def test_windows_of_fewer_than_two_segments_are_no_level(sampling: dict[str, float] | None, names: list[str]) -> None:
    assert [level.name for level in levels_for(sampling)] == names
