"""Mean and covariance of single segments."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nightreel.index.build import build_index
from nightreel.index.open import open_index
from nightreel.index.stats import Accumulator


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
