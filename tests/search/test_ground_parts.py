"""What grounding is made of: cells, smoothing, level sets and maximal segments, against naive versions."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.search.curve import Curve, make_curve, smooth
from nightreel.search.proposals import level_sets, maximal_segments

whole = st.lists(st.integers(-4, 4), min_size=1, max_size=14)


def naive_components(values: list[int], levels: list[float]) -> list[list[int]]:
    found = set()
    for level in levels:
        first = None
        for i, value in enumerate([*values, -np.inf]):
            if value >= level and first is None:
                first = i
            if value < level and first is not None:
                found.add((first, i))
                first = None
    return sorted(map(list, found))


@given(whole, st.lists(st.integers(-5, 5), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_level_sets_equal_a_naive_loop(values: list[int], levels: list[float]) -> None:
    assert level_sets(np.array(values, float), np.array(levels, float)).tolist() == naive_components(values, levels)


def test_level_sets_nest_by_hand() -> None:
    hills = np.array([0, 1, 2, 1, 3, 0.0])
    assert level_sets(hills, np.array([1.0, 2.0, 3.0])).tolist() == [[1, 5], [2, 3], [4, 5]]


def test_ruzzo_tompa_paper_example() -> None:
    # The paper's own worked example, section 2.
    scores = np.array([4, -5, 3, -3, 1, 2, -2, 2, -2, 1, 5], float)
    assert maximal_segments(scores).tolist() == [[0, 1], [2, 3], [4, 11]]


def brute_force(values: list[int], offset: int = 0) -> list[list[int]]:
    """The definition: the best segment (of equal ones the one that no better-or-equal one shortens), then
    both sides."""
    spans = [(sum(values[i:j]), i, j) for i in range(len(values)) for j in range(i + 1, len(values) + 1)]
    best = max((total for total, _, _ in spans), default=0)
    if best <= 0:
        return []
    # Of equal sums a maximal one holds no equal one inside it; disjoint ties are found on the two sides.
    ties = [(i, j) for total, i, j in spans if total == best]
    first, last = min(ties, key=lambda s: (s[1] - s[0], s[0]))
    left, right = brute_force(values[:first], offset), brute_force(values[last:], offset + last)
    return [*left, [offset + first, offset + last], *right]


@given(whole)
@settings(max_examples=200, deadline=None)
def test_maximal_segments_equal_brute_force(values: list[int]) -> None:
    assert maximal_segments(np.array(values, float)).tolist() == brute_force(values)


def test_curve_is_standardised_over_seconds() -> None:
    # Score 1 for 9 s and 0 for 1 s: mean 0.9, deviation 0.3.
    curve = make_curve([1, 0], [0, 9], [9, 10])
    np.testing.assert_allclose(curve.z, [1 / 3, -3])


def test_a_gap_is_a_cell_that_follows_its_neighbours_when_short_and_the_mean_when_long() -> None:
    start = np.array([0, 10, 20.2, 100])
    curve = make_curve([0, 1, 1, 0], start, start + 10, 3.0)
    np.testing.assert_allclose(curve.edges, [0, 10, 20, 20.2, 30.2, 100, 110])
    assert curve.seen.tolist() == [True, True, False, True, False, True]
    assert curve.z[2] == pytest.approx(1, abs=0.05)
    assert curve.z[4] == pytest.approx(0, abs=0.05)


def test_overlapping_clips_meet_in_the_middle() -> None:
    curve = make_curve([0, 1, 0], [0, 2, 4], [4, 6, 8])
    np.testing.assert_allclose(curve.edges, [0, 3, 5, 8])
    assert curve.seen.all()


def test_rounded_time_stamps_are_no_gap() -> None:
    curve = make_curve([0, 1, 0], [0, 0.3334, 0.6666], [0.3333, 0.6667, 1])
    np.testing.assert_allclose(curve.edges, [0, 0.3334, 0.66665, 1])


def test_smoothing_an_impulse_gives_the_gaussian() -> None:
    edges = np.arange(0, 60.01, 0.1)
    impulse = np.zeros(600)
    impulse[300] = 10.0  # one unit of area at 30.05 s
    at = (edges[1:] + edges[:-1]) / 2 - 30.05
    gaussian = np.exp(-0.5 * (at / 3) ** 2) / np.sqrt(2 * np.pi) / 3
    got = smooth(Curve(edges, impulse, np.ones(600, bool)), 3.0)
    np.testing.assert_allclose(got, gaussian, atol=0.07 * gaussian.max())
    assert np.sqrt((got * at**2).sum() * 0.1) == pytest.approx(3, rel=0.02)


def test_smoothing_keeps_a_constant_up_to_the_ends() -> None:
    edges = np.cumsum([0, 1, 0.2, 5, 2, 0.1])
    np.testing.assert_allclose(smooth(Curve(edges, np.full(5, 7.0), np.ones(5, bool)), 3.0), 7.0)


def test_messages_say_what_got_expected() -> None:
    with pytest.raises(ValueError, match=r"one length, got shapes .*'scores': \(2,\).*'end_s': \(1,\)"):
        make_curve([1, 2], [0, 1], [1])
    with pytest.raises(ValueError, match=r"scores\[1\] = nan; expected finite"):
        make_curve([1, np.nan], [0, 1], [1, 2])
    with pytest.raises(ValueError, match=r"end_s\[1\] = inf"):
        make_curve([1, 2], [0, 1], [1, np.inf])
    with pytest.raises(ValueError, match=r"span 1 \[0.0, 1.0\) comes after span 0 \[1.0, 2.0\).*sort by start_s"):
        make_curve([1, 2], [1, 0], [2, 1])
    with pytest.raises(ValueError, match=r"span 1 is \[1.0, 1.0\).*expected start_s < end_s"):
        make_curve([1, 2], [0, 1], [1, 1])


def test_maximal_segments_of_a_falling_total_walk_no_list_twice() -> None:
    """Totals that drift down made every run walk all earlier ones, 4 s for a day. Lines run are counted, not time."""
    import sys

    def lines(count: int) -> int:
        values, run = np.where(np.arange(count) % 2 == 0, 1.0, -1.5), 0

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal run
            run += event == "line" and frame.f_code is maximal_segments.__code__
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            assert len(maximal_segments(values)) == count // 2
        finally:
            sys.settrace(before)
        return run

    assert lines(4000) < 2.2 * lines(2000)
