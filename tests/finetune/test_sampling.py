"""VideoCLIP's sampling: spans overlap their captions, batches hold each pair once and videos that look alike."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from nightreel.extract.errors import UsageError
from nightreel.finetune.training.sampling import batches_by_neighbours, overlapping


@given(
    st.lists(st.tuples(st.floats(0, 1e4), st.floats(0.01, 100), st.floats(0, 50)), min_size=1, max_size=20),
    st.integers(0, 99),
)
def test_spans_overlap_their_captions(rows: list[tuple[float, float, float]], seed: int) -> None:
    start_s, length_s, rest_s = np.array(rows).T
    end_s = start_s + length_s
    until_s = end_s + rest_s
    got = overlapping(start_s, end_s, seed, until_s=until_s)
    assert ((got[:, 0] < end_s) & (got[:, 1] > start_s)).all()
    assert ((got[:, 0] >= 0) & (got[:, 1] <= until_s) & (got[:, 0] < got[:, 1])).all()
    assert (got[:, 1] - got[:, 0] <= 32 + 1e-9).all()
    assert np.array_equal(got, overlapping(start_s, end_s, seed, until_s=until_s))


def test_centres_lie_in_the_caption_and_lengths_are_even() -> None:
    start_s = np.full(4000, 100.0)
    got = overlapping(start_s, start_s + 10, 0)
    centre_s, length_s = got.mean(axis=1), got[:, 1] - got[:, 0]
    assert 100 <= centre_s.min() < 100.1
    assert 109.9 < centre_s.max() <= 110
    assert 3 <= length_s.min() < 3.1
    assert 31.9 < length_s.max() <= 32
    assert abs(length_s.mean() - 17.5) < 0.5
    assert abs(np.corrcoef(centre_s, length_s)[0, 1]) < 0.05


def test_refuses_empty_spans_and_lengths_out_of_order() -> None:
    one = np.ones(1)
    with pytest.raises(UsageError, match="ends after starts"):
        overlapping(one, one, 0)
    with pytest.raises(UsageError, match="the shortest first"):
        overlapping(one, one + 1, 0, shortest_s=5, longest_s=4)


@settings(deadline=None)
@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 12), st.integers(0, 99))
def test_each_pair_comes_once_and_videos_do_not_repeat_while_others_are_left(
    video: list[int], batch: int, seed: int
) -> None:
    vectors = np.random.default_rng(seed).normal(size=(7, 3)).astype(np.float32)
    ids = np.array(video, np.int64)
    batches = batches_by_neighbours(ids, vectors, batch, seed)
    assert sorted(np.concatenate([*batches, np.zeros(0, np.int64)]).tolist()) == list(range(len(video)))
    assert sorted(len(rows) for rows in batches)[1:] == [batch] * (len(batches) - 1)
    again = batches_by_neighbours(ids, vectors, batch, seed)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


def test_batches_have_a_video_twice_only_when_no_other_is_left() -> None:
    video = np.repeat(np.arange(50), 4)
    vectors = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    twice = [len(rows) - len(set(video[rows])) for rows in batches_by_neighbours(video, vectors, 10, 1)]
    assert sum(n == 0 for n in twice) >= 15  # of 20: towards the end of an epoch few videos are left


def test_batches_are_of_one_neighbourhood() -> None:
    """Eight groups of 60 videos far from each other: most batches of 10 hold one group, batches at random six of them."""
    group = np.repeat(np.arange(8), 60)
    vectors = np.eye(8, dtype=np.float32)[group]
    vectors += np.random.default_rng(0).normal(scale=0.01, size=vectors.shape).astype(np.float32)
    near = batches_by_neighbours(np.arange(480), vectors, 10, 0)
    by_chance = np.random.default_rng(0).permutation(480).reshape(-1, 10)
    assert np.median([len(set(group[rows])) for rows in near]) == 1
    assert np.median([len(set(group[rows])) for rows in by_chance]) >= 5


def test_refuses_videos_without_a_vector() -> None:
    with pytest.raises(UsageError, match="videos up to 3 of 2"):
        batches_by_neighbours(np.array([0, 3]), np.eye(2, dtype=np.float32), 2, 0)
    with pytest.raises(UsageError, match="batches of 0"):
        batches_by_neighbours(np.array([0]), np.eye(2, dtype=np.float32), 0, 0)
