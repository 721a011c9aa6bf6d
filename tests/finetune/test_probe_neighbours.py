"""Votes of the nearest, against a plain loop and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.finetune.probing.neighbours import Neighbours


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def slow(bank: np.ndarray, labels: np.ndarray, classes: int, query: np.ndarray, k: int) -> np.ndarray:
    """One query at a time, in plain words."""
    votes = np.zeros(classes)
    cosines = [float(np.dot(example.astype(np.float64), query)) for example in bank]
    for i in sorted(range(len(bank)), key=lambda i: -cosines[i])[:k]:
        votes[labels[i]] += np.exp(cosines[i] / 0.07)
    return votes / votes.sum()


def test_by_hand() -> None:
    # Cosines 1, 0.8, 0 with k = 2: weights 1 and exp(-0.2 / 0.07) = 0.0574; the third, as good as class 1, has no vote.
    bank = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
    said = Neighbours(bank, np.array([0, 1, 1]), 3, k=2).probabilities(np.array([[1, 0]], np.float32))
    far = np.exp(-0.2 / 0.07)
    np.testing.assert_allclose(said, [[1 / (1 + far), far / (1 + far), 0]], atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), k=st.integers(1, 50))
def test_as_a_plain_loop_says(seed: int, count: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    bank, queries = unit(rng.normal(size=(count, 5))), unit(rng.normal(size=(7, 5)))
    labels = rng.integers(0, 4, count)
    said = Neighbours(bank, labels, 4, k=k).probabilities(queries)
    np.testing.assert_allclose(said, [slow(bank, labels, 4, query, min(k, count)) for query in queries], atol=1e-4)
    np.testing.assert_allclose(said.sum(axis=1), 1)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    bank, queries = unit(rng.normal(size=(30, 5))), unit(rng.normal(size=(11, 5)))
    model = Neighbours(bank, rng.integers(0, 3, 30), 3)
    whole = model.probabilities(queries)
    monkeypatch.setattr("nightreel.finetune.probing.neighbours.BLOCK", 100)
    np.testing.assert_allclose(model.probabilities(queries), whole, atol=1e-6)
    assert model.probabilities(queries[:0]).shape == (0, 3)


def test_a_wrong_one_at_the_same_place_is_outvoted() -> None:
    bank = unit(np.array([[1, 0.01], [1, 0.02], [1, 0.0], [0, 1]]))
    said = Neighbours(bank, np.array([0, 0, 1, 1]), 2).probabilities(unit(np.array([[1.0, 0.0]])))
    assert said[0, 0] > 0.6
