"""Tuning: recall by hand, queries that are not stored, and the cheapest setting that reaches what was asked."""

from collections.abc import Callable

import numpy as np
import pytest
from nightreel.index import tune as tuning
from nightreel.index.tune import (
    QUERIES,
    VIDEOS,
    Best,
    Trial,
    Tuned,
    held_out,
    held_out_videos,
    recall_by_owner,
    recall_by_score,
    tune,
)

K = tuning.K
INF = np.inf


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def random(count: int, dim: int = 16, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def shown(count: int) -> np.ndarray:
    return np.zeros(count, bool)


def test_the_truth_is_that_of_a_sort_however_it_passes_by() -> None:
    queries, vectors, hidden = random(7, seed=1), random(100), np.arange(100) % 9 == 4
    vectors[[3, 50]] = 0  # of no direction: counted, never found
    best = Best(queries)
    for rows in np.array_split(np.arange(100), [1, 2, 30, 30, 95]):
        best.add(vectors[rows], hidden[rows])
    assert np.concatenate(best.hidden).tolist() == np.flatnonzero(hidden).tolist()
    scores = queries @ vectors.T
    scores[:, [3, 50]] = -INF
    scores[:, hidden] = -INF
    order = np.argsort(-scores, axis=1)[:, :K]
    assert np.array_equal(np.sort(best.rows, axis=1), np.sort(order, axis=1))
    assert np.allclose(np.sort(best.scores), np.sort(np.take_along_axis(scores, order, 1)), atol=1e-6)
    assert np.allclose(best.bar, np.take_along_axis(scores, order, 1)[:, -1], atol=1e-6)


def test_the_truth_of_less_than_ten() -> None:
    best = Best(random(2))
    assert best.bar.tolist() == [INF, INF]
    best.add(random(3, seed=1), shown(3))
    assert best.found.sum(1).tolist() == [3, 3]
    assert np.isfinite(best.bar).all()
    assert (np.sort(best.rows, axis=1)[:, -3:] == [0, 1, 2]).all()
    assert recall_by_score(np.sort(best.scores)[:, ::-1], best) == 1.0
    assert recall_by_score(np.where(best.rows == 1, -INF, best.scores), best) == pytest.approx(2 / 3)


def test_recall_by_score_by_hand() -> None:
    best = Best(np.array([[1.0]], np.float32))
    best.add(np.arange(1, 13, dtype=np.float32)[:, None] / 10, shown(12))  # 0.1 to 1.2: the tenth best is 0.3
    assert best.bar == pytest.approx([0.3])
    found = np.array([[1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3]])
    assert recall_by_score(found, best) == 1.0
    assert recall_by_score(found[:, ::-1], best) == 1.0  # in any order
    assert recall_by_score(np.where(found == 0.5, 0.2, found), best) == pytest.approx(0.9)
    assert recall_by_score(np.where(found <= 0.5, -INF, found), best) == pytest.approx(0.7)
    assert recall_by_score(np.full((1, K), 0.3), best) == 1.0  # ties with the tenth are hits
    assert recall_by_score(np.full((1, K), 0.3 - 5e-5), best) == 1.0  # so is rounding
    assert recall_by_score(np.full((1, K), 0.29), best) == 0.0
    more = np.concatenate([np.full((1, 20), 0.1), found], axis=1)  # more candidates than ten
    assert recall_by_score(more, best) == 1.0


def test_recall_without_queries_or_vectors_is_whole() -> None:
    assert recall_by_score(np.zeros((0, K)), Best(np.zeros((0, 4), np.float32))) == 1.0
    assert recall_by_score(np.full((3, K), -INF), Best(random(3))) == 1.0
    assert recall_by_owner(np.zeros((0, 5), np.int64), np.zeros((0, 5), np.int64)) == 1.0
    assert recall_by_owner(np.full((2, 5), -1), np.full((2, 5), -1)) == 1.0


def test_recall_by_owner_by_hand() -> None:
    truth = np.array([[1, 2, 2, -1], [7, -1, -1, -1], [-1, -1, -1, -1]])
    found = np.array([[2, 9], [7, -1], [-1, -1]])
    assert recall_by_owner(found, truth) == pytest.approx((2 / 3 + 1) / 2)  # the third has no truth
    assert recall_by_owner(np.array([[-1, -1]]), np.array([[-1, 3]])) == 0.0  # -1 finds nothing


def test_half_of_the_queries_are_sentences_and_half_footage() -> None:
    footage, sentences = random(500), random(100, seed=1)
    queries = held_out(sentences, footage, np.random.default_rng(0))
    assert (queries.shape, queries.dtype) == ((QUERIES, 16), np.float32)
    assert np.allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5)
    assert ((queries @ sentences.T).max(1) > 0.9999).sum() == QUERIES // 2
    assert ((queries @ footage.T).max(1) > 0.9999).sum() == QUERIES // 2
    assert len(np.unique(queries.round(4), axis=0)) == QUERIES


def test_queries_where_there_is_little() -> None:
    footage, none, rng = random(500), np.zeros((0, 16), np.float32), np.random.default_rng(0)
    assert held_out(none, footage, rng).shape == (QUERIES, 16)
    assert held_out(footage, none, rng).shape == (QUERIES // 2, 16)
    assert held_out(none, footage[:1], rng).shape == (1, 16)
    assert held_out(none, none, rng).shape == (0, 16)


def test_videos_held_out_are_few() -> None:
    names = [f"v{i}" for i in range(1000)]
    held = held_out_videos(names, np.random.default_rng(0))
    assert len(held) == VIDEOS
    assert held < set(names)
    assert len(held_out_videos(names[:25], np.random.default_rng(0))) == 2
    assert held_out_videos(names[:9], np.random.default_rng(0)) == set()
    assert held_out_videos([], np.random.default_rng(0)) == set()


@pytest.fixture
def by_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock says what a setting costs: what it reads and what it scores again."""
    monkeypatch.setattr(tuning, "_milliseconds", lambda trial, probes, factor: probes + 3.0 * factor)


def trial(recall: Callable[[int, int], float], lists: int = 64, exact: bool = False) -> Trial:
    def checked(probes: int, factor: int) -> float:
        assert 1 <= probes <= max(lists, 1)
        assert factor in tuning.FACTORS
        return recall(probes, factor)

    return Trial(lists, exact, 10, checked, lambda *_: None)


@pytest.mark.usefixtures("by_cost")
def test_the_cheapest_that_reaches_what_is_wanted() -> None:
    def recall(probes: int, factor: int) -> float:
        return min(1.0, probes / 16) * min(1.0, factor / 8)

    assert tune(trial(recall), 1.0) == Tuned(16, 8, 1.0, 16 + 24)
    assert tune(trial(recall), 0.5) == Tuned(16, 4, 0.5, 16 + 12)  # (8, 8) would cost 32


@pytest.mark.usefixtures("by_cost")
def test_more_lists_may_save_candidates() -> None:
    def recall(probes: int, factor: int) -> float:
        return 1.0 if probes * factor >= 128 else 0.0

    assert tune(trial(recall), 0.9) == Tuned(8, 16, 1.0, 8 + 48)  # not (4, 32), where the search for lists ends


@pytest.mark.usefixtures("by_cost")
def test_the_best_there_is_where_none_reaches_it() -> None:
    def recall(probes: int, factor: int) -> float:
        return 0.5 * min(1.0, probes / 50) + 0.3 * min(1.0, factor / 8)

    found = tune(trial(recall, lists=50), 0.95)
    assert (found.probes, found.factor, found.recall) == (50, 8, 0.8)  # all 50 lists, though 50 is no power of two


@pytest.mark.usefixtures("by_cost")
def test_exact_kinds_need_no_candidates_and_flat_ones_no_lists() -> None:
    assert tune(trial(lambda p, f: p / 32, exact=True), 0.9)[:3] == (32, 1, 1.0)
    assert tune(trial(lambda p, f: 1.0, lists=0, exact=True), 0.9)[:3] == (1, 1, 1.0)


def test_times_are_of_single_searches() -> None:
    asked = []
    one = Trial(0, True, 3, lambda p, f: 1.0, lambda query, p, f: asked.append((query, p, f)))
    assert tune(one, 0.9).latency_ms >= 0
    assert asked == [(0, 1, 1), (1, 1, 1), (2, 1, 1)]
    assert tune(Trial(0, True, 0, lambda p, f: 1.0, lambda *_: None), 0.9).latency_ms == 0
