"""Classification metrics by hand, against a plain reference, and for a classifier that says nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nightreel.evaluate.classification import (
    PerClass,
    average_views,
    classification_metrics,
    label_ranks,
    per_class,
)
from nightreel.extract.errors import UsageError


def test_accuracy_by_hand() -> None:
    scores = np.array([[9, 1, 2, 3, 4, 5], [9, 1, 2, 3, 4, 5], [9, 1, 2, 3, 4, 5]])
    # Class 0 is first, class 5 second, class 1 last of six.
    assert label_ranks(scores, [0, 5, 1]).tolist() == [1, 2, 6]
    assert classification_metrics(scores, [0, 5, 1]) == {
        "top-1": pytest.approx(100 / 3),
        "top-5": pytest.approx(200 / 3),
        "mean-class": pytest.approx(100 / 3),
    }


def test_mean_class_does_not_favour_large_classes() -> None:
    scores = np.array([[1, 0], [1, 0], [1, 0], [1, 0]])
    got = classification_metrics(scores, [0, 0, 0, 1])
    assert got == {"top-1": 75.0, "mean-class": 50.0}  # two classes: no top-5
    assert per_class(scores, [0, 0, 0, 1]) == [PerClass(0, 3, 100.0), PerClass(1, 1, 0.0)]
    assert [row.label for row in per_class(np.eye(4)[[3, 1]], [3, 1])] == [1, 3]  # only what occurs


def test_a_classifier_that_says_nothing_gets_nothing() -> None:
    got = classification_metrics(np.ones((8, 6)), np.zeros(8, int))
    assert got == {"top-1": 0.0, "top-5": 0.0, "mean-class": 0.0}


@given(arrays(np.int64, (5, 6), elements=st.integers(0, 3)), st.lists(st.integers(0, 5), min_size=5, max_size=5))
@settings(max_examples=100, deadline=None)
def test_ranks_equal_the_plain_ones(scores: np.ndarray, labels: list[int]) -> None:
    want = [1 + sum(s >= row[k] for c, s in enumerate(row) if c != k) for row, k in zip(scores, labels, strict=True)]
    assert label_ranks(scores, labels).tolist() == want


def test_views_are_averaged_per_video() -> None:
    # One sure view of class 1 and two of class 0: the mean is what counts, not the vote.
    scores = [[0.6, 0.4], [0.6, 0.4], [0.0, 1.0], [1.0, 0.0]]
    names, got = average_views(scores, ["b", "b", "b", "a"])
    assert names.tolist() == ["a", "b"]
    np.testing.assert_allclose(got, [[1.0, 0.0], [0.4, 0.6]])
    numbers, again = average_views(scores, [7, 7, 7, 2])
    assert numbers.tolist() == [2, 7]
    np.testing.assert_allclose(again, got)


def test_bad_input_is_explained() -> None:
    with pytest.raises(UsageError, match=r"scores \(2, 3\) and labels \(3,\)"):
        classification_metrics(np.ones((2, 3)), [0, 1, 2])
    with pytest.raises(UsageError, match=r"labels run from 0 to 3.*3 classes; expected 0 to 2"):
        classification_metrics(np.ones((2, 3)), [0, 3])
    with pytest.raises(UsageError, match=r"scores\[1, 0\] is NaN"):
        classification_metrics([[0.0, 1.0], [np.nan, 0.0]], [0, 1])
    with pytest.raises(UsageError, match="labels of float64"):
        per_class(np.ones((2, 3)), [0.0, 1.0])
    with pytest.raises(UsageError, match=r"from -2 to 3.*softmax"):
        average_views([[-2.0, 3.0]], [0])
    with pytest.raises(UsageError, match=r"owner \(2,\)"):
        average_views([[0.5, 0.5]], [0, 1])
