"""The score of a whole video: worked by hand, and not for being long."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.index.levels import LEVELS, LONG, SEGMENT, SHORT, VIDEO, at_level
from nightreel.index.score import expected_best, looks, video_score

VIDEOS, QUERIES, DIM, SHOT_S = 40, 120, 24, 5


@pytest.mark.parametrize("count", [1, 2, 3, 10, 100, 1000])
def test_the_best_of_many_is_as_good_as_in_a_simulation(count: int) -> None:
    best = np.random.default_rng(0).normal(size=(4000, count)).max(1)
    assert expected_best(count) == pytest.approx(best.mean(), abs=0.06)


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_the_best_of_more_is_never_expected_lower(one: float, other: float) -> None:
    fewer, more = sorted([expected_best(one), expected_best(other)])
    assert 0 <= fewer <= more
    assert (one <= other) == (expected_best(one) <= expected_best(other)) or fewer == more


def test_looks_are_five_seconds_or_a_window() -> None:
    assert [looks(3600, level) for level in (SEGMENT, SHORT, LONG)] == [720, 720, 225]
    assert [looks(2, level) for level in LEVELS] == [1, 1, 1, 1]
    assert looks(1e9, VIDEO) == 1


def test_a_score_worked_by_hand() -> None:
    scores = np.array([[0.4], [0.3], [0.2], [0.1]], np.float32)
    none = np.zeros((4, 1), np.float32)
    plain = (0.4 + 0.3 + 0.2 + 0.05) / 3.5
    assert video_score(scores, 7200, none, LEVELS) == pytest.approx([plain])
    spread = np.full((4, 1), 0.1, np.float32)
    lowered = (
        0.1 * (2 * expected_best(50 / 5) + expected_best(50 / 16)) / 3.5
    )  # the whole video is one, and not lowered
    assert video_score(scores, 50, spread, LEVELS) == pytest.approx([plain - lowered])
    assert video_score(scores, 5, spread, LEVELS) == pytest.approx([plain])  # one look is not lowered
    clips = (SEGMENT, VIDEO)
    assert video_score(scores[:2], 50, none[:2], clips) == pytest.approx([(0.4 + 0.15) / 1.5])


@pytest.fixture(scope="module")
def unrelated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lengths (V,) of 30 s to 2 h, the best scores (V, L, Q) of unrelated shots, and how they vary within a video (L, Q)."""
    rng = np.random.default_rng(0)
    shots = np.geomspace(6, 1440, VIDEOS).astype(int)
    queries = rng.normal(size=(QUERIES, DIM)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    best, spread = [], []
    for count in shots:
        vectors = rng.normal(size=(count, DIM)).astype(np.float32)
        vectors = np.repeat(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), SHOT_S, axis=0)
        start_s = np.arange(len(vectors), dtype=float)
        scores = [queries @ at_level(vectors, start_s, start_s + 1, level).T for level in LEVELS]
        best.append([of.max(1) for of in scores])
        spread.append([of.std(1) for of in scores])
    return shots * float(SHOT_S), np.array(best), np.median(spread, axis=0)


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, axis=-1), axis=-1)


def favour(lengths_s: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Spearman's rho of scores (V, Q) with length, meaned over queries; and how often one of the longest quarter wins."""
    rank = ranks(scores.T)
    rho = np.mean([np.corrcoef(ranks(lengths_s), of)[0, 1] for of in rank])
    return float(rho), float((scores.argmax(0) >= VIDEOS * 3 // 4).mean())


def test_a_video_does_not_win_by_being_long(unrelated: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    lengths_s, best, spread = unrelated
    rho, longest = favour(
        lengths_s, np.array([video_score(b, s, spread, LEVELS) for b, s in zip(best, lengths_s, strict=True)])
    )
    plain = 0 * spread
    rho_plain, longest_plain = favour(
        lengths_s, np.array([video_score(b, s, plain, LEVELS) for b, s in zip(best, lengths_s, strict=True)])
    )
    assert rho_plain > 0.6  # what is corrected is there
    assert longest_plain > 0.5
    assert abs(rho) < 0.2
    assert longest < 0.4  # 0.25 would be chance
