"""Retrieval metrics: matrices worked by hand, a plain reference, and that scores which say nothing look terrible."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from nightreel.evaluate.retrieval import (
    as_mask,
    auroc,
    both_directions,
    dual_softmax,
    ranks,
    retrieval_metrics,
    video_to_text_ranks,
)
from nightreel.extract.errors import UsageError

# Rows: the own video is first, second and last.
WORKED = np.array([[0.9, 0.1, 0.2], [0.8, 0.7, 0.1], [0.5, 0.4, 0.3]])

matrices = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(
        arrays(np.float64, shape, elements=st.integers(-2, 2)), arrays(np.bool_, shape, elements=st.booleans())
    )
)


def plain_rank(row: np.ndarray, right: np.ndarray) -> int:
    """The rank of the best placed right column when every wrong one of equal score stands before it."""
    best = max(score for score, own in zip(row, right, strict=True) if own)
    return 1 + sum(1 for score, own in zip(row, right, strict=True) if not own and score >= best)


def test_a_matrix_worked_by_hand() -> None:
    got = retrieval_metrics(WORKED)
    assert list(got) == ["R@1", "R@5", "R@10", "R@50", "MdR", "MnR"]
    assert ranks(WORKED).tolist() == [1, 2, 3]
    assert got["R@1"] == pytest.approx(100 / 3)
    assert (got["R@5"], got["MdR"], got["MnR"]) == (100.0, 2.0, 2.0)


def test_ties_count_against_us() -> None:
    # Equal to one wrong video: second, not first.
    assert ranks([[0.5, 0.5, 0.1]], [0]).tolist() == [2]
    got = retrieval_metrics(np.ones((100, 100)))
    assert got == {"R@1": 0.0, "R@5": 0.0, "R@10": 0.0, "R@50": 0.0, "MdR": 100.0, "MnR": 100.0}
    assert both_directions(np.zeros((60, 60)))["video_to_text"]["MdR"] == 60.0
    assert ranks([[-np.inf, -np.inf, 1.0]], [0]).tolist() == [3]


def test_all_forms_of_positives_mean_the_same() -> None:
    own = [2, 0, 0]
    mask = np.zeros((3, 3), bool)
    mask[range(3), own] = True
    want = ranks(WORKED, own)
    assert want.tolist() == [2, 1, 1]
    for form in (np.array(own), mask, [[2], [0], [0]], [(2,), (0,), (0,)], np.array(own)[:, None]):
        np.testing.assert_array_equal(ranks(WORKED, form), want)
    np.testing.assert_array_equal(ranks(WORKED), ranks(WORKED, np.arange(3)))


def test_other_right_videos_do_not_push_down() -> None:
    # Two right ones at places 2 and 3, one wrong before them: rank 2.
    assert ranks([[0.9, 0.8, 0.7, 0.1]], [[1, 2]]).tolist() == [2]
    # Two right ones of equal score: neither is wrong for the other.
    assert ranks([[0.9, 0.9, 0.1]], [[0, 1]]).tolist() == [1]


def test_several_captions_a_video_by_hand() -> None:
    # Captions 0 and 1 are of video 0, caption 2 of video 1; video 2 has none.
    scores = np.array([[0.9, 0.3, 0.1], [0.2, 0.8, 0.1], [0.4, 0.5, 0.7]])
    got = both_directions(scores, [0, 0, 1])
    assert ranks(scores, [0, 0, 1]).tolist() == [1, 2, 2]
    assert got["text_to_video"]["MnR"] == pytest.approx(5 / 3)
    back, left_out = video_to_text_ranks(scores, [0, 0, 1])
    assert back.tolist() == [1, 2]  # video 0: 0.9 before 0.4; video 1: caption 1 scores 0.8 > 0.5
    assert left_out == got["video_to_text"]["left_out"] == 1


@given(matrices)
@settings(max_examples=200, deadline=None)
def test_ranks_equal_the_plain_ones(case: tuple[np.ndarray, np.ndarray]) -> None:
    scores, right = case
    rows = right.any(1)
    back, left_out = video_to_text_ranks(scores, right)
    assert back.tolist() == [plain_rank(s, r) for s, r in zip(scores.T, right.T, strict=True) if r.any()]
    assert left_out == (~right.any(0)).sum()
    if rows.any():
        want = [plain_rank(s, r) for s, r in zip(scores[rows], right[rows], strict=True)]
        assert ranks(scores[rows], right[rows]).tolist() == want
        lists = [np.flatnonzero(row).tolist() for row in right[rows]]
        assert ranks(scores[rows], lists).tolist() == want


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).normal(size=(23, 17))
    own = np.random.default_rng(1).integers(0, 17, 23)
    whole = both_directions(scores, own)
    monkeypatch.setattr("nightreel.evaluate.retrieval.BLOCK", 40)
    assert both_directions(scores, own) == whole


def test_memory_beside_the_matrix_is_small() -> None:
    scores = np.random.default_rng(0).random((3000, 3000), np.float32)
    tracemalloc.start()
    both_directions(scores)
    dual_softmax(scores)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 2.3 * scores.nbytes


def test_dual_softmax_by_hand() -> None:
    # Video 0 is a hub: both sentences are nearest to it. Its softmax over sentences takes it from the second.
    scores = np.array([[0.9, 0.1], [0.8, 0.7]])
    got = dual_softmax(scores, temperature=10)
    first, second = np.exp(9) / (np.exp(9) + np.exp(8)), np.exp(7) / (np.exp(1) + np.exp(7))
    product = [[0.9 * first, 0.1 * (1 - second)], [0.8 * (1 - first), 0.7 * second]]
    np.testing.assert_allclose(np.exp(got), product)
    assert ranks(scores).tolist() == [1, 2]
    assert ranks(got).tolist() == [1, 1]


def test_dual_softmax_with_negative_scores_does_not_rank_backwards() -> None:
    assert ranks(dual_softmax(np.array([[-0.1, -0.6], [-0.6, -0.1]]))).tolist() == [1, 1]


def test_dual_softmax_of_logits_is_no_worse_for_their_scale() -> None:
    """The product of the paper underflows to 0 there, for right pairs too, and ties count against."""
    rng = np.random.default_rng(0)
    scores = 30 * (0.2 * np.eye(40) + 0.1 * rng.normal(size=(40, 40))).astype(np.float32)
    got = dual_softmax(scores)
    assert len(np.unique(got)) > 0.99 * got.size
    assert retrieval_metrics(got)["R@10"] >= retrieval_metrics(scores)["R@10"] - 5


def test_auroc_by_hand() -> None:
    assert auroc([3, 2], [1, 0]) == 1.0
    assert auroc([0, 1], [0, 1]) == 0.5
    assert auroc([1, 1], [1, 1, 1]) == 0.5
    assert auroc([2, 1], [1, 0]) == pytest.approx((1 + 1 + 0.5 + 1) / 4)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=8), st.lists(st.integers(0, 4), min_size=1, max_size=8))
@settings(max_examples=50, deadline=None)
def test_auroc_equals_all_pairs(above: list[int], below: list[int]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in above for b in below]
    assert auroc(above, below) == pytest.approx(np.mean(pairs))
    assert auroc(above, below) == pytest.approx(1 - auroc(below, above))


def test_bad_input_is_explained() -> None:
    broken = WORKED.copy()
    broken[1, 2] = np.nan
    with pytest.raises(UsageError, match=r"similarity\[1, 2\] is NaN"):
        retrieval_metrics(broken)
    with pytest.raises(UsageError, match=r"2 queries and 3 videos is not square.*positives"):
        retrieval_metrics(WORKED[:2])
    with pytest.raises(UsageError, match=r"positives for 2 queries.*3 rows"):
        retrieval_metrics(WORKED, [0, 1])
    with pytest.raises(UsageError, match=r"positives\[1\] = 3.*from 0 to 2"):
        retrieval_metrics(WORKED, [0, 3, 1])
    with pytest.raises(UsageError, match=r"a matrix of 0 and 1 is none; save it with .astype"):
        retrieval_metrics(np.ones((2, 3)), np.array([[0, 0, 1], [1, 0, 0]]))
    with pytest.raises(UsageError, match=r"positives for 0 queries.*2 rows"):
        retrieval_metrics(np.ones((2, 3)), np.array(1))
    with pytest.raises(UsageError, match=r"positives\[0\] = -1"):
        retrieval_metrics(WORKED, [-1, 0, 1])
    with pytest.raises(UsageError, match="1 of 3 queries have no right column, first row 1"):
        retrieval_metrics(WORKED, [[0], [], [1]])
    with pytest.raises(UsageError, match=r"shape \(3, 2\), similarity \(3, 3\)"):
        as_mask(np.ones((3, 2), bool), (3, 3))
    with pytest.raises(UsageError, match=r"shape \(3,\)"):
        retrieval_metrics([1, 2, 3])
    with pytest.raises(UsageError, match="type <U1"):
        retrieval_metrics([["a"]])
    with pytest.raises(UsageError, match="infinities"):
        dual_softmax([[np.inf, 0.0]])
    with pytest.raises(UsageError, match="more than 0"):
        dual_softmax(WORKED, 0)
    with pytest.raises(UsageError, match="0 positive and 1 negative"):
        auroc([], [1])
    with pytest.raises(UsageError, match="1 of 2 scores are NaN"):
        auroc([np.nan], [1])
