"""Moments in order: by hand, against every possible sequence, and what is never broken."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.search.moment import Moment
from nightreel.search.sequence import Picked, in_order

Steps = list[list[Moment]]


def test_the_best_of_each_is_taken_if_they_are_in_order() -> None:
    a = [Moment(0, 5, 3.0), Moment(20, 25, 1.0)]
    b = [Moment(2, 9, 1.0), Moment(9, 12, 2.0)]
    assert in_order([a, b]) == [Picked((0, 1), 5.0)]


def test_the_step_that_loses_least_gives_way() -> None:
    a = [Moment(10, 15, 3.0), Moment(0, 2, 2.5)]
    b = [Moment(5, 8, 3.0), Moment(20, 25, 0.0)]
    assert in_order([a, b]) == [Picked((1, 0), 5.5)]  # the other way out costs 3


def test_touching_is_in_order_and_overlapping_is_not() -> None:
    assert in_order([[Moment(0, 5, 1.0)], [Moment(5, 6, 1.0)]]) == [Picked((0, 0), 2.0)]
    assert in_order([[Moment(0, 5, 1.0)], [Moment(4.999, 6, 1.0)]]) == []


def test_one_sentence_twice_is_two_moments() -> None:
    jumps = [Moment(7, 9, 2.0), Moment(1, 3, 1.5), Moment(20, 22, 0.5)]
    assert in_order([jumps, jumps], top=2) == [Picked((1, 0), 3.5), Picked((0, 2), 2.5)]


def test_within_leaves_out_what_lies_too_far_apart() -> None:
    a, b = [Moment(0, 5, 3.0), Moment(30, 35, 1.0)], [Moment(40, 45, 1.0)]
    assert in_order([a, b]) == [Picked((0, 0), 4.0)]
    assert in_order([a, b], within_s=5.0) == [Picked((1, 0), 2.0)]
    assert in_order([a, b], within_s=4.9) == []


def test_within_counts_from_core_to_core() -> None:
    a, b = [Moment(0, 30, 1.0)], [Moment(32, 90, 1.0)]
    cores = [np.array([[0.0, 10.0]]), np.array([[40.0, 50.0]])]
    assert in_order([a, b], within_s=2) == [Picked((0, 0), 2.0)]
    assert in_order([a, b], within_s=29.9, cores=cores) == []
    assert in_order([a, b], within_s=30, cores=cores) == [Picked((0, 0), 2.0)]


def test_answers_differ_in_footage_not_in_a_second() -> None:
    a = [Moment(0, 10, 3.0), Moment(1, 10, 2.9), Moment(30, 35, 1.0)]
    b = [Moment(10, 20, 3.0), Moment(10, 19, 2.9), Moment(40, 45, 1.0)]
    assert in_order([a, b], top=9) == [Picked((0, 0), 6.0), Picked((0, 2), 4.0), Picked((2, 2), 2.0)]


def test_of_equal_sequences_the_one_with_earlier_candidates() -> None:
    same = [Moment(start, start + 1, 1.0) for start in (0, 2, 4)]
    assert [one.picks for one in in_order([same, same], top=3)] == [(0, 1), (0, 2), (1, 2)]


spans = st.tuples(st.integers(0, 12), st.integers(1, 6), st.integers(-4, 4)).map(
    lambda drawn: Moment(drawn[0], drawn[0] + drawn[1], float(drawn[2]))
)
steps = st.lists(st.lists(spans, min_size=1, max_size=5), min_size=1, max_size=3)


def every(candidates: Steps, within_s: float | None) -> list[tuple[int, ...]]:
    """All sequences in order, by trying all."""
    out = []
    for picks in product(*(range(len(moments)) for moments in candidates)):
        chosen = [moments[i] for moments, i in zip(candidates, picks, strict=True)]
        gaps = [b.start_s - a.end_s for a, b in pairwise(chosen)]
        if all(gap >= 0 and (within_s is None or gap <= within_s) for gap in gaps):
            out.append(picks)
    return out


def total(candidates: Steps, picks: tuple[int, ...]) -> float:
    return sum(moments[i].score for moments, i in zip(candidates, picks, strict=True))


def alike(candidates: Steps, one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two sequences share footage in every place."""
    pairs = [(moments[i], moments[j]) for moments, i, j in zip(candidates, one, other, strict=True)]
    return all(a.start_s < b.end_s and b.start_s < a.end_s for a, b in pairs)


@given(steps, st.integers(1, 6), st.none() | st.integers(0, 5))
def test_each_is_the_best_of_all_that_are_left(candidates: Steps, top: int, within_s: int | None) -> None:
    found = in_order(candidates, top, within_s)
    left = every(candidates, within_s)
    for one in found:
        assert one.picks in left  # in order, and unlike those before
        assert one.score == total(candidates, one.picks) == max(total(candidates, picks) for picks in left)
        left = [picks for picks in left if not alike(candidates, picks, one.picks)]
    assert len(found) == top or not left
    assert found == in_order(candidates, top, within_s)


@given(steps, st.integers(0, 5))
def test_a_limit_never_finds_better(candidates: Steps, within_s: int) -> None:
    free, limited = in_order(candidates), in_order(candidates, within_s=within_s)
    assert not limited or limited[0].score <= free[0].score
    assert in_order(candidates, within_s=100) == free


def test_hundreds_of_candidates_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)

    def random_step() -> list[Moment]:
        start = rng.uniform(0, 10_000, 200)
        return [
            Moment(s, s + d, v) for s, d, v in zip(start, rng.uniform(1, 200, 200), rng.normal(size=200), strict=True)
        ]

    a, b, c = random_step(), random_step(), random_step()
    best = max(
        x.score + y.score + max((z.score for z in c if z.start_s >= y.end_s), default=-np.inf)
        for x in a
        for y in b
        if y.start_s >= x.end_s
    )
    assert in_order([a, b, c])[0].score == pytest.approx(best, abs=1e-12)


def test_a_step_without_candidates_has_no_sequence() -> None:
    assert in_order([[Moment(0, 1, 1.0)], []]) == []


@pytest.mark.parametrize(
    ("candidates", "options", "said"),
    [
        ([], {}, "at least one step"),
        ([[Moment(0, 1, 1.0)]], {"top": 0}, "top = 0"),
        ([[Moment(0, 1, 1.0)]], {"within_s": -1.0}, r"within_s = -1\.0"),
        ([[Moment(0, 1, 1.0)]], {"within_s": float("nan")}, "within_s = nan"),
    ],
)
def test_bad_input(candidates: Steps, options: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        in_order(candidates, **options)  # type: ignore[arg-type]
