"""Mean and covariance of single segments, and the confidence that is worked out from them alone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.index.build import build_index
from nightreel.index.open import open_index
from nightreel.index.stats import Accumulator, NullStats


def test_mean_and_variance_are_those_of_the_whole_archive(
    clustered: Callable[..., Any], stored: Callable[..., Any]
) -> None:
    random_archive = clustered(6, 40, 16)
    build_index(random_archive.store, "rand")
    null, (_, vectors) = open_index(random_archive.store, "rand").null.segments, stored(random_archive)
    wide = vectors.astype(np.float64)
    assert np.allclose(null.mean, wide.mean(0), atol=1e-6)
    assert np.allclose(null.covariance, np.cov(wide.T, bias=True), atol=1e-6)
    assert null.videos == 6
    query = np.random.default_rng(9).normal(size=16)
    scores = wide @ query
    assert query @ null.mean == pytest.approx(scores.mean(), abs=1e-5)
    assert query @ null.covariance @ query == pytest.approx(scores.var(), rel=1e-4)


def test_taking_vectors_in_by_parts_changes_nothing() -> None:
    vectors = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    whole, parts = Accumulator(6), Accumulator(6)
    whole.add(vectors)
    for part in np.array_split(vectors, 7):
        parts.add(part)
    assert np.allclose(whole.stats(1).covariance, parts.stats(1).covariance, atol=1e-7)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.integers(1, 10_000))
def test_confidence_rises_with_the_score_and_falls_with_the_number_of_videos(scores: list[float], videos: int) -> None:
    null = NullStats(np.full(4, 0.1, np.float32), np.eye(4, dtype=np.float32) * 0.04, videos)
    larger = NullStats(null.mean, null.covariance, videos * 10)
    query = np.full(4, 0.5, np.float32)
    values = [null.confidence(query, score) for score in sorted(scores)]
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)
    assert all(larger.confidence(query, score) <= null.confidence(query, score) for score in scores)


def test_confidence_worked_out_by_hand() -> None:
    null = NullStats(np.zeros(2, np.float32), np.eye(2, dtype=np.float32) * 0.01, 1)
    query = np.array([1, 0], np.float32)
    assert null.confidence(query, 0.0) == pytest.approx(0.5)
    assert null.confidence(query, 0.1) == pytest.approx(0.8413, abs=1e-4)  # one standard deviation
    assert NullStats(null.mean, null.covariance, 2).confidence(query, 0.1) == pytest.approx(0.8413**2, abs=1e-4)
