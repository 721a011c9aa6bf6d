"""The regression is at its optimum: as scikit-learn finds it, with a gradient of zero, from wherever it began."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.errors import UsageError
from nightreel.finetune.probing.linear import Scaling, cross_entropy, fit_linear, scaling_of

pytestmark = pytest.mark.usefixtures("one_thread")


def blobs(count: int, dim: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32, (N,) labels of overlapping classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    means = rng.normal(size=(classes, dim))
    return (0.7 * means[labels] + rng.normal(size=(count, dim))).astype(np.float32), labels


@pytest.mark.parametrize("l2", [1.0, 1e-2, 1e-4])
def test_probabilities_are_those_of_scikit_learn(l2: float) -> None:
    sklearn = pytest.importorskip("sklearn.linear_model", reason="scikit-learn comes with the extra [demo]")
    x, y = blobs(150, 6, 4)
    made = fit_linear(x, y, 4, l2)
    theirs = sklearn.LogisticRegression(C=1 / (l2 * len(x)), tol=1e-10, max_iter=10_000)
    scaled = made.scaling(x).astype(np.float64)
    theirs.fit(scaled, y)
    fresh = blobs(50, 6, 4, seed=1)[0]
    expected = theirs.predict_proba(made.scaling(fresh).astype(np.float64))
    np.testing.assert_allclose(made.probabilities(fresh), expected, atol=2e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), l2=st.sampled_from([10.0, 0.1, 1e-3]), classes=st.integers(2, 5))
def test_at_the_optimum_the_gradient_is_zero(seed: int, l2: float, classes: int) -> None:
    x, y = blobs(40, 3, classes, seed)
    y[:classes] = np.arange(classes)
    made = fit_linear(x, y, classes, l2)
    wrong = made.probabilities(x) - np.eye(classes)[y]  # (N, C)
    scaled = made.scaling(x).astype(np.float64)
    assert np.abs(wrong.T @ scaled / len(x) + l2 * made.weight).max() < 2e-5
    assert np.abs(wrong.mean(axis=0)).max() < 2e-5  # the bias is not held down
    assert made.flat


@pytest.mark.parametrize("l2", [1e-4, 1e-6])
def test_a_weak_l2_is_felt_also_after_a_stronger_one(l2: float) -> None:
    """Classes that can be told apart: what is left of the gradient is small beside what `l2` pulls."""
    x, y = blobs(40, 30, 3)
    made = fit_linear(x, y, 3, l2, start=fit_linear(x, y, 3, 3 * l2))
    wrong = made.probabilities(x) - np.eye(3)[y]
    left = wrong.T @ made.scaling(x).astype(np.float64) / len(x) + l2 * made.weight
    assert np.abs(left).max() < 0.05 * l2 * np.abs(made.weight).max()


def test_where_it_begins_changes_nothing() -> None:
    x, y = blobs(100, 5, 3)
    cold, far = fit_linear(x, y, 3, 1e-3), fit_linear(x, y, 3, 10.0)
    warm = fit_linear(x, y, 3, 1e-3, start=far)
    np.testing.assert_allclose(warm.probabilities(x), cold.probabilities(x), atol=1e-4)
    order = np.random.default_rng(0).permutation(100)
    np.testing.assert_allclose(
        fit_linear(x[order], y[order], 3, 1e-3).probabilities(x), cold.probabilities(x), atol=1e-4
    )


def test_more_l2_says_less() -> None:
    x, y = blobs(100, 5, 3)
    losses = [cross_entropy(fit_linear(x, y, 3, l2).probabilities(x), y) for l2 in (1e-4, 1e-2, 1.0, 100.0)]
    assert losses == sorted(losses)
    shares = np.bincount(y) / len(y)
    np.testing.assert_allclose(fit_linear(x, y, 3, 1e4).probabilities(x), np.tile(shares, (100, 1)), atol=1e-3)


def test_units_of_the_features_do_not_matter() -> None:
    x, y = blobs(100, 5, 3)
    moved = 1000 * x + 7
    np.testing.assert_allclose(
        fit_linear(x, y, 3, 1e-2).probabilities(x), fit_linear(moved, y, 3, 1e-2).probabilities(moved), atol=1e-4
    )


def test_scaling_by_hand() -> None:
    # Means 1 and 10; squares of what is left 1, 1, 0, 0: one spread for both, the root of their mean 1/2.
    found = scaling_of(np.array([[0, 10], [2, 10]], np.float32))
    np.testing.assert_allclose(found.mean, [1, 10])
    np.testing.assert_allclose(found.spread, [0.5**0.5] * 2)
    np.testing.assert_allclose(found(np.array([[2, 10]], np.float32)), [[2**0.5, 0]])
    assert np.isfinite(scaling_of(np.ones((3, 2), np.float32))(np.ones((1, 2), np.float32))).all()


def test_a_class_without_examples_is_never_likely() -> None:
    x, y = blobs(60, 4, 2)
    said = fit_linear(x, y, 3, 1e-2).probabilities(x)
    assert said.shape == (60, 3)
    assert said[:, 2].max() < 1e-3
    np.testing.assert_allclose(said.sum(axis=1), 1)


def test_cross_entropy_by_hand() -> None:
    said = np.array([[0.5, 0.5], [0.0, 1.0]])
    assert cross_entropy(said, np.array([0, 1])) == pytest.approx(np.log(2) / 2)
    assert cross_entropy(said[1:], np.array([0])) == pytest.approx(12 * np.log(10))


def test_bad_input() -> None:
    x, y = blobs(10, 2, 2)
    with pytest.raises(UsageError, match="expected l2 above 0"):
        fit_linear(x, y, 2, 0.0)
    with pytest.raises(UsageError, match="two classes or more"):
        fit_linear(x, np.zeros(10, np.int64), 1, 1.0)
    with pytest.raises(UsageError, match=r"labels run from 0 to 1; expected 0 to 0|labels run from"):
        fit_linear(x, y + 5, 2, 1.0)
    with pytest.raises(UsageError, match="finite"):
        fit_linear(np.full_like(x, np.nan), y, 2, 1.0)
    with pytest.raises(UsageError, match=r"\(N, D\)"):
        fit_linear(x, y[:5], 2, 1.0)


def test_a_scaling_that_is_given_is_kept() -> None:
    x, y = blobs(50, 2, 2)
    mine = Scaling(np.zeros(2, np.float32), np.full(2, 2.0, np.float32))
    assert fit_linear(x, y, 2, 1.0, scaling=mine).scaling is mine
