"""Cuts from features: worked examples and the plain definition."""

import numpy as np
import pytest
from nightreel.search.ground import find_moments
from nightreel.search.shots import novelty, shots, steadied


def footage(*lengths: int, noise: float = 0.0, dim: int = 16, seed: int = 0) -> np.ndarray:
    """(T, dim) unit vectors: one direction per shot, plus noise."""
    draw = np.random.default_rng(seed)
    rows = np.concatenate([np.repeat(np.eye(dim)[i : i + 1], length, 0) for i, length in enumerate(lengths)])
    rows = rows + noise * draw.standard_normal(rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def plain_novelty(features: np.ndarray, window: int) -> np.ndarray:
    out = []
    for t in range(1, len(features)):
        before, after = features[max(0, t - window) : t].sum(0), features[t : t + window].sum(0)
        out.append(1 - before @ after / (np.linalg.norm(before) * np.linalg.norm(after)))
    return np.array(out)


@pytest.mark.parametrize("count", [2, 7, 256, 773])
@pytest.mark.parametrize("window", [1, 2, 3, 7, 100])
def test_novelty_equals_the_plain_definition(count: int, window: int) -> None:
    features = footage(count, noise=1.0)
    np.testing.assert_allclose(novelty(features, window), plain_novelty(features, window), atol=2e-5)


def test_cuts_are_found_and_nothing_else() -> None:
    assert shots(footage(6, 9, 5), 3, 0.5).tolist() == [0, 6, 15, 20]
    assert shots(footage(6, 9, 5, noise=0.1), 3, 0.5).tolist() == [0, 6, 15, 20]
    assert shots(footage(12), 3, 0.5).tolist() == [0, 12]
    assert shots(footage(2), 3, 0.5).tolist() == [0, 2]


def test_scores_move_towards_the_mean_of_their_shot() -> None:
    scores, weights = np.array([0.0, 2.0, 4.0, 10.0]), np.array([1.0, 1.0, 2.0, 1.0])
    edges = np.array([0, 3, 4])
    assert steadied(scores, weights, edges, 1.0).tolist() == [2.5, 2.5, 2.5, 10.0]
    assert steadied(scores, weights, edges, 0.5).tolist() == [1.25, 2.25, 3.25, 10.0]
    assert steadied(scores, weights, edges, 0.0).tolist() == scores.tolist()


def test_a_noisy_curve_keeps_to_its_shot() -> None:
    """The third shot answers; single frames of it score low and one of its neighbour scores high."""
    features = footage(8, 8, 8, 8, noise=0.05)
    scores = np.where(np.arange(32) // 8 == 2, 0.5, 0.1)
    scores[[18, 21]], scores[15] = 0.25, 0.4
    query = np.eye(16)[2]
    start = np.arange(32.0)
    best = find_moments(scores, start, start + 1, features=features, query=query, top=1)[0]
    assert (best.start_s, best.end_s) == (16.0, 24.0)
