"""Maximal marginal relevance: worked examples, and what holds for any candidates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.errors import UsageError
from nightreel.search.diverse import diverse

# On a circle, so that inner products are cosines of the angles between: two views of one thing, and another thing.
DOG, SAME_DOG, CAT = ((np.cos(a), np.sin(a)) for a in np.radians([0, 5, 60]))


@st.composite
def candidates(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """(N,) scores with ties, (N, 3) unit vectors with duplicates."""
    n = draw(st.integers(1, 12))
    scores = draw(st.lists(st.integers(-3, 3), min_size=n, max_size=n))
    rows = draw(st.lists(st.tuples(*[st.integers(-2, 2)] * 3).filter(any), min_size=n, max_size=n))
    vectors = np.array(rows, np.float32)
    return np.array(scores) / 7, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_by_hand() -> None:
    # Relevance (1, 0.8, 0). Similarities: dog to same dog cos 5 = 0.996, to cat cos 60 = 0.5, same dog to cat cos 55 = 0.574;
    # scaled over those three pairs 1, 0, 0.148.
    scores, vectors = [0.30, 0.28, 0.20], [DOG, SAME_DOG, CAT]
    # After the dog, at 0.4: same dog 0.6 * 0.8 - 0.4 * 1 = 0.08, cat 0.6 * 0 - 0.4 * 0 = 0.
    assert diverse(scores, vectors, 3, 0.4).tolist() == [0, 1, 2]
    # At 0.5: same dog 0.4 - 0.5 = -0.1, cat 0.
    assert diverse(scores, vectors, 3, 0.5).tolist() == [0, 2, 1]
    assert diverse(scores, vectors, 2, 0.5).tolist() == [0, 2]
    assert diverse(scores, vectors, 1, 0.5).tolist() == [0]


def test_it_is_the_largest_similarity_to_any_picked_that_counts() -> None:
    # Right angles apart, but row 3 is row 1 again and row 2 is none of them; all as relevant as each other, but the first.
    axes = np.eye(3)
    assert diverse([0.4, 0.3, 0.3, 0.3], axes[[0, 1, 2, 1]], 4, 0.6).tolist() == [0, 1, 2, 3]
    assert diverse([0.4, 0.3, 0.3, 0.3], axes[[0, 1, 1, 2]], 4, 0.6).tolist() == [0, 1, 3, 2]


def test_near_duplicates_of_a_long_still_scene_make_room() -> None:
    rng = np.random.default_rng(0)
    scene = np.tile(np.eye(8)[0], (20, 1)) + rng.normal(0, 0.01, (20, 8))
    others = np.eye(8)[1:4] + 1.0  # alike as pictures are, cos 0.7 and more
    vectors = np.concatenate([scene, others])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = np.concatenate([np.linspace(0.33, 0.32, 20), [0.30, 0.29, 0.28]])
    assert diverse(scores, vectors, 4, 0).tolist() == [0, 1, 2, 3]
    assert diverse(scores, vectors, 2, 0.5).tolist() == [0, 20]


@given(candidates(), st.integers(1, 15), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_unique_rows_the_best_first(made: tuple[np.ndarray, np.ndarray], top: int, diversity: float) -> None:
    scores, vectors = made
    rows = diverse(scores, vectors, top, diversity)
    assert rows.dtype == np.int64
    assert len(set(rows.tolist())) == len(rows) == min(top, len(scores))
    assert rows[0] == np.argmax(scores)
    assert set(rows.tolist()) <= set(range(len(scores)))
    assert (
        diverse(scores, vectors, 15, diversity)[: len(rows)].tolist() == rows.tolist()
    )  # more is asked for: the same, and more


@given(candidates())
@settings(max_examples=100, deadline=None)
def test_no_diversity_is_the_order_by_score(made: tuple[np.ndarray, np.ndarray]) -> None:
    scores, vectors = made
    assert diverse(scores, vectors, 15, 0).tolist() == np.argsort(-scores, kind="stable").tolist()


@pytest.mark.parametrize("step", [1e-3, 1e-12])
def test_the_order_by_score_is_exact_however_near_scores_are(step: float) -> None:
    scores = 1 + step * np.random.default_rng(0).permutation(50)
    assert diverse(scores, np.eye(50), 50, 0).tolist() == np.argsort(-scores).tolist()


@given(candidates(), st.integers(1, 11), st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]))
@settings(max_examples=100, deadline=None)
def test_scale_and_place_of_scores_mean_nothing(
    made: tuple[np.ndarray, np.ndarray], shift: int, diversity: float
) -> None:
    scores, vectors = made
    assert (
        diverse(scores, vectors, 9, diversity).tolist() == diverse(scores * 8 + shift, vectors, 9, diversity).tolist()
    )


@given(candidates(), st.floats(0.05, 1))
@settings(max_examples=100, deadline=None)
def test_a_copy_of_the_best_is_never_before_another_as_good(
    made: tuple[np.ndarray, np.ndarray], diversity: float
) -> None:
    _, vectors = made
    vectors = np.concatenate([vectors[:1], vectors])  # rows 0 and 1 are the same
    rows = diverse(np.ones(len(vectors)), vectors, len(vectors), diversity)
    alike = vectors @ vectors[0] > 1 - 1e-5
    if not alike.all():
        assert not alike[rows[1]]


def test_ties_go_to_the_better_score_then_to_the_earlier_row() -> None:
    axes = np.eye(4)
    assert diverse([1, 1, 1, 1], axes, 4, 0.5).tolist() == [0, 1, 2, 3]
    assert diverse([1, 2, 1, 2], axes, 4, 1).tolist() == [
        1,
        3,
        0,
        2,
    ]  # nothing but difference counts, and all differ alike
    assert diverse([1, 1, 1], np.tile(DOG, (3, 1)), 3, 0.7).tolist() == [0, 1, 2]


def test_one_candidate_and_none() -> None:
    assert diverse([0.3], [DOG], 5, 0.5).tolist() == [0]
    empty = diverse([], np.empty((0, 4)), 5, 0.5)
    assert (empty.shape, empty.dtype) == ((0,), np.int64)


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_diversity_out_of_range(diversity: float) -> None:
    with pytest.raises(UsageError, match=r"expected a number from 0 .* to 1 .*, got"):
        diverse([1], [DOG], 1, diversity)


def test_what_else_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1, got 0"):
        diverse([1], [DOG], 0, 0.5)
    with pytest.raises(ValueError, match=r"expected scores \(N,\) and vectors \(N, D\), got \(2,\) and \(1, 2\)"):
        diverse([1, 2], [DOG], 1, 0.5)
    with pytest.raises(ValueError, match="expected finite scores"):
        diverse([float("nan")], [DOG], 1, 0.5)
    with pytest.raises(ValueError, match="expected finite scores"):
        diverse([1], [(float("inf"), 0)], 1, 0.5)
