"""Grounding metrics: small cases by hand, a plain reference, and what may never happen."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.evaluate.grounding import (
    AP_THRESHOLDS,
    average_precision,
    best_ious,
    grounding_metrics,
    overlaps,
    per_query,
    windows_metrics,
)
from nightreel.extract.errors import UsageError

span = st.tuples(st.integers(0, 60), st.integers(1, 30)).map(lambda s: (float(s[0]), float(s[0] + s[1])))
spans = st.lists(span, min_size=1, max_size=5)


def iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / (a[1] - a[0] + b[1] - b[0] - shared)


def plain_ap(predicted: list[tuple[float, float]], truth: list[tuple[float, float]], limit: float) -> float:
    """The area under the interpolated precision-recall curve, step by step."""
    taken: set[int] = set()
    points = [(0.0, 0.0)]  # recall, precision
    right = 0
    for count, one in enumerate(predicted, 1):
        for ious, window in sorted(((iou(one, t), -i) for i, t in enumerate(truth)), reverse=True):
            if ious >= limit and -window not in taken:
                taken.add(-window)
                right += 1
                break
        points.append((right / len(truth), right / count))
    area = 0.0
    for before, after in pairwise(points):
        area += (after[0] - before[0]) * max(p for r, p in points if r >= after[0])
    return area


def test_average_precision_by_hand() -> None:
    truth = [(0.0, 10.0), (20.0, 30.0)]
    # Wrong, right, right: precisions 1/2 and 2/3; the better one at the higher recall counts for both.
    assert average_precision([(50, 60), (0, 10), (20, 30)], truth, [0.5])[0] == pytest.approx(2 / 3)
    # A second prediction of a window that is taken is wrong: one of two found, at once.
    assert average_precision([(0, 10), (0, 9)], truth, [0.5])[0] == pytest.approx(1 / 2)
    # IoU 8/10: right up to 0.8, wrong from 0.85.
    assert average_precision([(0, 8)], [(0, 10)]).tolist() == [1.0] * 7 + [0.0] * 3
    assert average_precision([], truth).tolist() == [0.0] * 10


def test_a_prediction_takes_the_next_best_window_when_its_best_is_taken() -> None:
    # (0, 20) overlaps (0, 12) by 0.6 and (8, 20) by 0.6: two of them find both windows at 0.5.
    assert average_precision([(0, 20), (0, 20)], [(0, 12), (8, 20)], [0.5])[0] == 1.0


@given(spans, spans)
@settings(max_examples=150, deadline=None)
def test_average_precision_equals_the_plain_one(predicted: list, truth: list) -> None:
    got = average_precision(predicted, truth)
    want = [plain_ap(predicted, truth, limit) for limit in AP_THRESHOLDS]
    np.testing.assert_allclose(got, want)
    assert np.all(np.diff(got) <= 1e-12)  # a stricter threshold finds no more


def test_charades_protocol_by_hand() -> None:
    predicted = [
        np.array([(0.0, 10.0), (40.0, 50.0)]),  # IoU 1 at once
        np.array([(0.0, 10.0), (30.0, 36.0)]),  # 0, then 0.6
        np.array([(0.0, 4.0)]),  # 0.4
        np.zeros((0, 2)),  # nothing found
    ]
    truth = [np.array([w]) for w in [(0.0, 10.0), (30.0, 40.0), (0.0, 10.0), (0.0, 10.0)]]
    assert grounding_metrics(predicted, truth) == {
        "R1@0.3": 50.0,
        "R1@0.5": 25.0,
        "R1@0.7": 25.0,
        "R5@0.3": 75.0,
        "R5@0.5": 50.0,
        "R5@0.7": 25.0,
        "mIoU": pytest.approx(35.0),
    }
    assert list(grounding_metrics(predicted, truth, tops=(1,), thresholds=(0.5,))) == ["R1@0.5", "mIoU"]


def test_qvhighlights_figures_by_hand() -> None:
    predicted = [np.array([(0.0, 8.0)]), np.array([(50.0, 60.0), (0.0, 10.0)])]
    truth = [np.array([(0.0, 10.0)]), np.array([(0.0, 10.0)])]
    assert windows_metrics(predicted, truth) == {
        "R1@0.5": 50.0,
        "R1@0.7": 50.0,
        "mIoU": 40.0,
        "mAP": 60.0,  # (0.7 + 0.5) / 2
        "mAP@0.5": 75.0,
        "mAP@0.75": 75.0,
    }
    each = per_query(predicted, truth)
    np.testing.assert_allclose(each.ap, [0.7, 0.5])
    np.testing.assert_allclose(each.iou, [0.8, 0.0])
    assert each.hit5.tolist() == each.hit7.tolist() == [1.0, 0.0]


def test_only_ten_predictions_count_for_ap() -> None:
    wrong = [(100.0 + i, 101.0 + i) for i in range(10)]
    assert windows_metrics([np.array([*wrong, (0.0, 10.0)])], [np.array([(0.0, 10.0)])])["mAP"] == 0
    assert windows_metrics([np.array([*wrong[1:], (0.0, 10.0)])], [np.array([(0.0, 10.0)])])["mAP"] == 10.0


@given(st.lists(st.tuples(spans, spans), min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_more_predictions_never_find_less(cases: list) -> None:
    predicted, truth = [np.array(p) for p, _ in cases], [np.array(t) for _, t in cases]
    ious = best_ious(predicted, truth, (1, 5))
    assert np.all(ious[:, 0] <= ious[:, 1])
    np.testing.assert_allclose(per_query(predicted, truth).iou, ious[:, 0])
    perfect = grounding_metrics(truth, truth)
    assert set(perfect.values()) == {100.0}


def test_a_span_that_ends_before_it_starts_overlaps_nothing() -> None:
    got = overlaps([(5.0, 5.0), (0.0, 10.0), (9.0, 2.0)], [(0.0, 10.0), (5.0, 10.0)])
    np.testing.assert_allclose(got, [[0, 0], [1, 0.5], [0, 0]])


def test_bad_input_is_explained() -> None:
    with pytest.raises(UsageError, match="1 lists of predictions for 2 queries"):
        windows_metrics([np.zeros((0, 2))], [np.array([(0, 1)]), np.array([(0, 1)])])
    with pytest.raises(UsageError, match="query 1 has no true window"):
        grounding_metrics([np.zeros((0, 2))] * 2, [np.array([(0, 1)]), np.zeros((0, 2))])
    with pytest.raises(UsageError, match="no queries"):
        per_query([], [])
