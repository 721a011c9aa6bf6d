"""Moments: worked examples of overlap and suppression."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.search.moment import Moment, iou, nms, suppress, temporal_iou

spans = st.tuples(st.integers(0, 40), st.integers(1, 20)).map(lambda s: (float(s[0]), float(s[0] + s[1])))


def test_iou_by_hand() -> None:
    # [0, 10) and [5, 20): 5 s shared of 20 s.
    assert iou(Moment(0, 10, 1), Moment(5, 20, 1)) == pytest.approx(0.25)
    assert iou(Moment(0, 10, 1), Moment(10, 20, 1)) == 0  # half-open: they only touch
    assert iou(Moment(0, 10, 1), Moment(0, 10, 2)) == 1


def test_temporal_iou_by_hand() -> None:
    got = temporal_iou([[0, 10], [10, 12]], [[0, 10], [5, 15], [30, 31]])
    np.testing.assert_allclose(got, [[1, 5 / 15, 0], [0, 2 / 10, 0]])
    assert temporal_iou([], [[0, 1]]).shape == (0, 1)


@given(st.lists(spans, min_size=1, max_size=6), st.lists(spans, min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_matrix_equals_pairs(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> None:
    got = temporal_iou(a, b)
    want = [[iou(Moment(*x, 0.0), Moment(*y, 0.0)) for y in b] for x in a]
    np.testing.assert_allclose(got, want)
    np.testing.assert_allclose(got, temporal_iou(b, a).T)


def test_nms_keeps_the_better_of_two_and_touching_neighbours() -> None:
    weak, best, near, other = Moment(0, 10, 1), Moment(10, 20, 5), Moment(11, 20, 4), Moment(30, 40, 2)
    assert nms([weak, best, near, other], 0.7) == [best, other, weak]  # iou(best, near) = 0.9
    assert nms([weak, best, near, other], 0.9) == [best, near, other, weak]  # only *more* than 0.9 goes
    assert nms([], 0.5) == []


def test_suppress_breaks_ties_by_row_and_stops_at_top() -> None:
    rows = [[0, 1], [2, 3], [4, 5]]
    assert suppress(rows, [1, 1, 1], 0.5).tolist() == [0, 1, 2]
    assert suppress(rows, [1, 1, 2], 0.5, top=2).tolist() == [2, 0]


@given(st.lists(spans, min_size=1, max_size=12))
@settings(max_examples=50, deadline=None)
def test_what_is_kept_does_not_overlap_and_what_goes_does(rows: list[tuple[float, float]]) -> None:
    kept = suppress(rows, np.arange(len(rows)), 0.4)
    overlap = temporal_iou(rows, rows)
    assert np.all((overlap[np.ix_(kept, kept)] <= 0.4) | np.eye(len(kept), dtype=bool))
    for gone in set(range(len(rows))) - set(kept.tolist()):
        assert any(overlap[gone, k] > 0.4 and k > gone for k in kept)


def test_messages_say_what_got_expected() -> None:
    with pytest.raises(ValueError, match=r"half-open: expected start_s < end_s, got self.start_s = 2"):
        Moment(2, 2, 0)
    with pytest.raises(ValueError, match=r"a\[1\] = \[3.0, 1.0\].*expected start < end"):
        temporal_iou([[0, 1], [3, 1]], [[0, 1]])
    with pytest.raises(ValueError, match=r"spans \(N, 2\).*rows.shape = \(3,\)"):
        temporal_iou([0, 1, 2], [[0, 1]])
    with pytest.raises(ValueError, match="got 1 scores for 2 spans"):
        suppress([[0, 1], [1, 2]], [1], 0.5)
