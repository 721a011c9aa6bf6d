"""find_moments: worked examples, invariances and simulated films."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.search.ground import find_moments
from nightreel.search.moment import Moment, iou

Array = np.ndarray
curves = st.lists(st.integers(-100, 100), min_size=1, max_size=60)


def plateau(
    seconds: int, *spans: tuple[int, int], fps: int = 1, noise: float = 0.0, seed: int = 0
) -> tuple[Array, ...]:
    """A curve that is 1 inside the spans and 0 outside, as scores, start_s, end_s."""
    start = np.arange(seconds * fps) / fps
    scores = np.random.default_rng(seed).normal(0, noise, len(start)) if noise else np.zeros(len(start))
    for first, last in spans:
        scores[(start >= first) & (start < last)] += 1
    return scores, start, start + 1 / fps


def span(moment: Moment) -> tuple[float, float]:
    return moment.start_s, moment.end_s


@pytest.mark.parametrize("fps", [1, 2, 5])
@pytest.mark.parametrize("where", [(0, 6), (12, 18), (24, 30), (3, 20)])
def test_a_clean_plateau_is_found_to_the_sample(where: tuple[int, int], fps: int) -> None:
    assert span(find_moments(*plateau(30, where, fps=fps))[0]) == where


def test_two_plateaus_are_the_first_two_moments() -> None:
    found = find_moments(*plateau(150, (20, 35), (90, 110)))
    assert [span(m) for m in found[:2]] == [(90, 110), (20, 35)]  # the longer one has more to show


def test_peak_over_a_shelf_ranks_the_whole_event_and_offers_the_peak() -> None:
    scores, start, end = plateau(120, (40, 80))
    scores[55:65] += 1
    spans = [span(m) for m in find_moments(scores, start, end)]
    assert spans[0] in [(40, 80), (55, 65)]
    assert {(40, 80), (55, 65)} <= set(spans)


def test_no_samples_no_moments() -> None:
    assert find_moments([], [], []) == []


@pytest.mark.parametrize("value", [0.0, 0.3, -1e300, 1e300])
@pytest.mark.parametrize("count", [1, 2, 37])
def test_constant_scores_give_one_moment_of_everything(value: float, count: int) -> None:
    start = np.arange(count) + 3.0
    assert find_moments(np.full(count, value), start, start + 1) == [Moment(3.0, 3.0 + count, 0.0)]


def test_rounding_is_no_signal() -> None:
    start = np.arange(20.0)
    scores = np.full(20, 0.1) + np.where(start % 3 == 0, 1e-16, 0)
    assert len(find_moments(scores, start, start + 1)) == 1


@given(curves, st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_moments_are_sorted_finite_inside_and_on_the_edges(values: list[int], spacing: int) -> None:
    start = np.arange(len(values)) * spacing + 7.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_moments(values, start, start + spacing)
    assert 1 <= len(found) <= 10
    assert [m.score for m in found] == sorted((m.score for m in found), reverse=True)
    assert np.isfinite([m.score for m in found]).all()
    assert {m.start_s for m in found} <= set(start)
    assert {m.end_s for m in found} <= set(start + spacing)
    assert all(iou(a, b) <= 0.7 for i, a in enumerate(found) for b in found[:i])
    assert found == find_moments(values, start, start + spacing)


@given(curves, st.floats(0.01, 100), st.floats(-100, 100))
@settings(max_examples=60, deadline=None)
def test_scale_and_offset_of_scores_do_not_matter(values: list[int], a: float, b: float) -> None:
    start = np.arange(len(values)) * 1.0
    plain = find_moments(values, start, start + 1)
    other = find_moments(a * np.array(values) + b, start, start + 1)
    assert [span(m) for m in plain] == [span(m) for m in other]
    np.testing.assert_allclose([m.score for m in plain], [m.score for m in other], atol=1e-6)


@given(curves, st.integers(-1000, 1000))
@settings(max_examples=30, deadline=None)
def test_moments_move_with_the_time_line(values: list[int], by: int) -> None:
    start = np.arange(len(values)) * 1.0
    plain, moved = find_moments(values, start, start + 1), find_moments(values, start + by, start + 1 + by)
    assert [(m.start_s + by, m.end_s + by) for m in plain] == [span(m) for m in moved]


def test_twice_the_samples_of_one_curve_give_the_same_moments() -> None:
    scores, start, _ = plateau(120, (30, 50), (80, 88), noise=0.3)
    once = find_moments(scores, start, start + 1)
    fine = np.arange(240) / 2
    twice = find_moments(np.repeat(scores, 2), fine, fine + 0.5)
    assert span(once[0]) == span(twice[0])
    assert all(max(iou(m, n) for n in twice) > 0.7 for m in once[:5])


def test_irregular_samples_weigh_by_their_seconds() -> None:
    # Ten samples a second in the first half, one in 2 s in the second: counting samples would drown the
    # plateau.
    start = np.concatenate([np.arange(0, 30, 0.1), np.arange(30, 60, 2.0)])
    end = np.append(start[1:], 60.0)
    scores = ((start >= 40) & (start < 50)).astype(float)
    assert span(find_moments(scores, start, end)[0]) == (40, 50)


def test_a_dropped_frame_does_not_cut_a_moment_and_a_gap_is_none() -> None:
    scores, start, end = plateau(60, (20, 32))
    keep = start != 26
    assert span(find_moments(scores[keep], start[keep], end[keep])[0]) == (20, 32)
    keep = (start < 32) | (start >= 50)  # 18 s are missing right after the moment
    assert span(find_moments(scores[keep], start[keep], end[keep])[0]) == (20, 32)


@pytest.mark.parametrize("background_s", [60, 300, 1800])
@pytest.mark.parametrize("seed", range(5))
def test_more_background_does_not_move_the_first_moment(background_s: int, seed: int) -> None:
    scores, _, _ = plateau(150, (60, 85), noise=0.25, seed=seed)
    noise = np.random.default_rng(100 + seed).normal(0, 0.25, background_s)
    longer = np.append(scores, noise)
    start = np.arange(len(longer)) * 1.0
    before = find_moments(scores, start[:150], start[:150] + 1)[0]
    after = find_moments(longer, start, start + 1)[0]
    assert iou(before, after) >= 0.7


def film(rng: np.random.Generator, lengths_s: Array, noise: float, fps: float) -> tuple[tuple[Array, ...], Moment]:
    """Scenes with a score each, one far above the others; white noise and drift within scenes. And the true
    moment."""
    base, truth = rng.uniform(0, 0.5, len(lengths_s)), int(rng.integers(len(lengths_s)))
    base[truth] = 1
    cuts = np.append(0, np.cumsum(lengths_s))
    start = np.arange(0, cuts[-1], 1 / fps)
    scene = np.searchsorted(cuts, start, side="right") - 1
    drift = 0.2 * rng.choice([-1, 1], len(base))[scene] * ((start - cuts[scene]) / lengths_s[scene] - 0.5)
    scores = base[scene] + drift + rng.normal(0, noise, len(start))
    return (scores, start, np.append(start[1:], cuts[-1])), Moment(cuts[truth], cuts[truth + 1], 0.0)


def test_scenes_of_short_films() -> None:
    rng = np.random.default_rng(1)
    cases = [film(rng, rng.uniform(4, 10, rng.integers(4, 7)), 0.2, rng.choice([1, 2])) for _ in range(60)]
    overlaps = [iou(find_moments(*curve)[0], truth) for curve, truth in cases]
    assert np.mean(overlaps) >= 0.8


def test_whole_clips_of_a_concatenation() -> None:
    rng = np.random.default_rng(2)
    cases = [film(rng, rng.uniform(2, 30, 8), 0.25, 1) for _ in range(60)]
    overlaps = np.array([iou(find_moments(*curve)[0], truth) for curve, truth in cases])
    assert (overlaps >= 0.5).mean() >= 0.75  # measured 0.85-0.93 over seeds


def test_feedback_finds_the_frames_that_look_like_the_best_ones() -> None:
    # The words fit the first third of the scene only; the pictures say that it goes on.
    rng = np.random.default_rng(3)
    start = np.arange(90.0)
    features = rng.normal(0, 0.2, (90, 16))
    features[30:60, 1] += 1
    query = np.eye(16)[0]
    features[:, 0] = 0.05 * rng.normal(size=90)
    features[30:40, 0] += 0.3
    features[40:60, 0] += 0.1
    scores = features @ query
    alone = find_moments(scores, start, start + 1)[0]
    fed = find_moments(scores, start, start + 1, features=features, query=query)[0]
    truth = Moment(30, 60, 0.0)
    assert iou(fed, truth) > iou(alone, truth)
    same = find_moments(5 * scores - 2, start, start + 1, features=features, query=query)[0]
    assert span(same) == span(fed)


def test_feedback_of_frames_that_look_alike_changes_nothing() -> None:
    scores, start, end = plateau(30, (10, 16))
    assert find_moments(scores, start, end, features=np.full((30, 4), 0.5), query=np.ones(4)) == find_moments(
        scores, start, end
    )


def test_messages_say_what_got_expected() -> None:
    scores, start, end = plateau(4, (1, 2))
    with pytest.raises(ValueError, match=r"expected top >= 1, got top = 0"):
        find_moments(scores, start, end, top=0)
    with pytest.raises(ValueError, match=r"features must be \(T, D\) with 4 rows.*rows.shape = \(3, 2\)"):
        find_moments(scores, start, end, features=np.ones((3, 2)), query=np.ones(2))
    with pytest.raises(ValueError, match="must be finite"):
        find_moments(scores, start, end, features=np.full((4, 2), np.nan), query=np.ones(2))
    with pytest.raises(ValueError, match="one length, got shapes"):
        find_moments(scores, [], [])
    assert len(find_moments(scores, start, end, top=1)) == 1
