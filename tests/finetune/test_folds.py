"""Folds: every caption is held out once, by source; and what is reported is not what was chosen on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.finetune.captions.examples import Examples
from nightreel.finetune.captions.folds import best_of, fold_rows, honest, pooled
from nightreel.finetune.captions.footage import Footage
from nightreel.finetune.captions.pairs import Pair
from nightreel.finetune.training.gain import gain
from nightreel.finetune.training.task import Validation


class Nowhere:
    def of(self, video_id: str) -> np.ndarray:
        return np.zeros((1, 2), np.float16)


def examples(videos: list[int], sources: list[str], weak: set[int] = frozenset()) -> Examples:  # type: ignore[assignment]
    """One pair for each of `videos`, of which number v is cut from `sources[v]`."""
    one = np.array([0.0]), np.array([1.0])
    made = [Footage(f"id{v}", f"/films/{v}.mp4", source, *one) for v, source in enumerate(sources)]
    count = len(videos)
    zero = np.zeros(count, np.int64)
    return Examples(
        tuple(made),
        Nowhere(),
        None,
        np.array(videos, np.int64),
        zero,
        zero + 1,
        np.tile([0.0, 1.0], (count, 1)),
        np.ones((1, 2), np.float32),
        zero,
        np.ones(count, np.float32),
        tuple(Pair(f"{v}.mp4", None, None, "c", weight=0.5 if i in weak else 1.0) for i, v in enumerate(videos)),
        4,
    )


@given(st.lists(st.integers(0, 29), min_size=12, max_size=60), st.integers(0, 3))
def test_each_pair_is_held_out_once_and_never_beside_its_source(videos: list[int], seed: int) -> None:
    sources = [f"upload{v // 3}" for v in range(30)]
    made = examples(videos, sources)
    folds = fold_rows(made, (), seed)
    held = np.concatenate([val for _, val in folds]) if folds else np.array([], np.int64)
    if len({sources[v] for v in videos}) > 1 and len(folds) > 1:
        assert sorted(held.tolist()) == list(range(len(videos)))
    for train, val in folds:
        of = np.array(made.sources)
        assert not set(of[train]) & set(of[val])
        assert sorted([*train.tolist(), *val.tolist()]) == list(range(len(videos)))


def test_weak_captions_train_and_do_not_validate() -> None:
    made = examples(list(range(20)), [f"u{v}" for v in range(20)], weak={3, 4, 5})
    folds = fold_rows(made, (), 0)
    assert sorted(np.concatenate([val for _, val in folds]).tolist()) == [v for v in range(20) if v not in (3, 4, 5)]
    assert any(3 in train for train, _ in folds)


def test_copies_of_footage_stay_together() -> None:
    made = examples(list(range(20)), [f"u{v}" for v in range(20)])
    pair = {"a": {"video_id": "id2", "path": "/films/2.mp4"}, "b": {"video_id": "id9", "path": "/films/9.mp4"}}
    for _, val in fold_rows(made, [pair], 0):
        assert (2 in val) == (9 in val)


def ranks(*of: int) -> Validation:
    return Validation(np.array(of), [f"s{i}" for i in range(len(of))])


def test_each_fold_is_measured_where_the_others_choose() -> None:
    """By hand: the first fold alone would choose epoch 1, the second epoch 2; so each is measured at the other's choice."""
    first = [ranks(2, 2), ranks(1, 1), ranks(2, 1)]
    second = [ranks(3), ranks(2), ranks(1)]
    before, after = honest([first, second])
    assert before.ranks.tolist() == [2, 2, 3]
    assert after.ranks.tolist() == [2, 1, 2]
    assert [found.ranks.tolist() for found in pooled([first, second])] == [[2, 2, 3], [1, 1, 2], [2, 1, 1]]
    assert best_of(pooled([first, second])) == 1  # two of three first, as epoch 2 has; the first of equals


def test_folds_that_ended_early_count_as_far_as_they_came() -> None:
    assert len(pooled([[ranks(1), ranks(1)], [ranks(1), ranks(1), ranks(1)]])) == 2


def test_what_is_only_chance_is_seldom_taken_for_a_gain() -> None:
    """100 trainings that change ranks at random, with ten epochs to choose from: a naive choice would be taken in by many."""
    draw = np.random.default_rng(1)
    sources = [[f"s{fold}-{i}" for i in range(30)] for fold in range(5)]
    fooled = naive = 0
    for _ in range(100):
        folds = [[Validation(draw.integers(1, 11, 30), of) for _ in range(11)] for of in sources]
        history = pooled(folds)
        fooled += gain(*honest(folds)).sure
        naive += gain(history[0], history[best_of(history)]).sure
    assert fooled <= 10
    assert naive > 1.5 * fooled


@pytest.mark.parametrize("better", [0, 60])
def test_a_gain_by_hand(better: int) -> None:
    before = Validation(np.full(120, 3), [f"s{i}" for i in range(120)])
    after = Validation(np.r_[np.ones(better, int), np.full(120 - better, 3)], before.sources)
    found = gain(before, after)
    assert found.value == pytest.approx(100 * better / 120)
    assert found.sure == bool(better)
    assert found.low <= found.value <= found.high
