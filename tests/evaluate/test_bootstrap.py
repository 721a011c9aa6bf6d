"""Bootstrap intervals: against theory where there is one, and what must always hold."""

import numpy as np
import pytest
from nightreel.evaluate.bootstrap import interval, interval_of, paired
from nightreel.extract.errors import UsageError


def test_a_mean_of_coins_has_the_width_that_theory_says() -> None:
    hits = np.repeat([0.0, 1.0], [300, 100])
    got = interval(hits)
    spread = 1.96 * np.sqrt(0.25 * 0.75 / 400)
    assert got.value == 0.25
    assert got.low == pytest.approx(0.25 - spread, abs=0.006)
    assert got.high == pytest.approx(0.25 + spread, abs=0.006)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    inside = 0
    for trial in range(200):
        low, high = interval(rng.normal(size=60), samples=300, level=0.9, seed=trial)[1:]
        inside += low <= 0 <= high
    assert 165 <= inside <= 195  # 180 of 200, and four standard deviations


def test_queries_of_one_group_are_drawn_together() -> None:
    # 10 groups of 40 equal values tell as much as 10 values: the interval is sqrt(40) times as wide.
    groups = np.repeat(np.arange(10), 40)
    values = np.repeat(np.random.default_rng(0).normal(size=10), 40)
    alone, together = interval(values), interval(values, groups)
    assert together.value == pytest.approx(alone.value)
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(40), rel=0.1)
    of_one = interval(values[::40])
    np.testing.assert_allclose(together, of_one)  # the same draws


def test_a_group_counts_by_its_queries() -> None:
    got = interval([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])
    assert (got.value, got.low, got.high) == (0.75, 0.0, 1.0)


def test_columns_are_drawn_together_and_seeds_repeat() -> None:
    values = np.random.default_rng(0).random((50, 3))
    got = interval(values, seed=3)
    assert got.low.shape == got.value.shape == (3,)
    one = interval(values[:, 1], seed=3)
    np.testing.assert_allclose([got.value[1], got.low[1], got.high[1]], one)
    assert interval(values[:, 0], seed=1) != interval(values[:, 0], seed=2)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random(50)
    whole = interval(values, samples=100)
    monkeypatch.setattr("nightreel.evaluate.bootstrap.BLOCK", 120)
    np.testing.assert_allclose(interval(values, samples=100), whole)


def test_a_paired_difference_is_narrow_where_methods_agree() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(300)
    better = paired(hard + 0.05 + 0.01 * rng.normal(size=300), hard)
    assert better.low > 0.04
    assert better.high < 0.06
    assert interval(hard).high - interval(hard).low > 0.05
    assert paired(hard, hard) == (0.0, 0.0, 0.0)


def test_any_statistic_of_rows() -> None:
    rank = np.random.default_rng(0).integers(1, 50, 80)
    mean = interval_of(lambda rows: float(rank[rows].mean()), 80, samples=500)
    np.testing.assert_allclose(mean, interval(rank, samples=500))  # the same draws, the same mean
    median = interval_of(lambda rows: float(np.median(rank[rows])), 80, samples=500)
    assert median.low <= median.value == np.median(rank) <= median.high


def test_any_statistic_draws_whole_groups() -> None:
    groups = np.array(["b", "a", "b", "c", "c", "c"])
    seen: list[list[int]] = []
    interval_of(lambda rows: float(bool(seen.append(sorted(rows.tolist()))) or len(rows)), 6, groups, samples=50)
    assert len(seen) == 51
    for rows in seen[:50]:
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[2]
        assert counts[3] == counts[4] == counts[5]
        assert counts[0] + counts[1] + counts[3] == 3
    assert {len(rows) for rows in seen} > {6}


def test_bad_input_is_explained() -> None:
    with pytest.raises(UsageError, match="at least one, all finite"):
        interval([])
    with pytest.raises(UsageError, match="all finite"):
        interval([1.0, np.nan])
    with pytest.raises(UsageError, match=r"groups \(1,\) for 2 values"):
        interval([1.0, 2.0], [0])
    with pytest.raises(UsageError, match=r"level = 95"):
        interval([1.0], level=95)
    with pytest.raises(UsageError, match=r"\(2,\) and \(1,\)"):
        paired([1.0, 2.0], [1.0])
    with pytest.raises(UsageError, match="0 queries"):
        interval_of(lambda rows: 0.0, 0)
