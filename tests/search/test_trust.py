"""How far a video is trusted to show what is asked: evidence, what is foreseen, odds; by hand and on made archives."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel import Archive
from nightreel.search.features import Features
from nightreel.search.trust import (
    LEAST_VIDEOS,
    LIFT,
    Sample,
    Sizes,
    confidence,
    draw,
    evidence,
    moment_evidence,
    pieces,
    run_of,
    sizes_for,
    spread,
    stretches,
    trust,
    whole,
)

DIM = 24
SIZES = sizes_for({"fps": 0.5})


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def footage(rng: np.random.Generator, length: int, *, like: np.ndarray | None = None, at: int = 0) -> np.ndarray:
    """(length, D) of one made video; `like`: what 10 of its pieces from `at` on lean towards."""
    vectors = unit(rng.normal(size=DIM) + rng.normal(size=(length, DIM)))
    if like is not None:
        vectors[at : at + 10] = unit(vectors[at : at + 10] + like)
    return vectors


def sample_of(videos: list[np.ndarray]) -> Sample:
    ends = np.cumsum([len(video) for video in videos])
    spans = np.stack([ends - [len(video) for video in videos], ends], axis=1)
    return Sample(np.concatenate(videos), spans, tuple(f"v{n}" for n in range(len(videos))), SIZES)


@pytest.mark.parametrize(
    ("sampling", "sizes"),
    [
        ({"fps": 1.0}, Sizes(2, 3, 75)),
        ({"fps": 0.5}, Sizes(1, 3, 75)),
        ({"fps": 4.0}, Sizes(8, 3, 75)),
        ({"hop_s": 8.0}, Sizes(1, 1, 19)),
        ({"hop_s": 300.0}, Sizes(1, 1, 1)),
        (None, Sizes(2, 3, 75)),
    ],
)
def test_sizes_are_seconds(sampling: dict[str, float] | None, sizes: Sizes) -> None:
    assert sizes_for(sampling) == sizes


def test_pieces_are_means_of_unit_norm() -> None:
    rows = np.array([[1, 0], [0, 1], [1, 0], [1, 0], [0, -1]], np.float16)
    assert np.allclose(pieces(rows, 2), [[math.sqrt(0.5), math.sqrt(0.5)], [1, 0], [0, -1]], atol=1e-6)
    bad = np.array([[np.nan, 0], [0, 0]], np.float32)
    assert np.array_equal(pieces(bad, 1), np.zeros((2, 2)))


def test_stretches_stay_within_their_video() -> None:
    assert stretches(np.array([[0, 5], [5, 6]]), 2).tolist() == [[0, 1], [2, 3], [5, -1]]  # 4 alone is no half more
    assert stretches(np.array([[0, 5]]), 4, 2).tolist() == [[0, 1, 2, 3], [2, 3, 4, -1]]


@given(st.integers(1, 200), st.integers(1, 80))
def test_half_overlapping_stretches_leave_nothing_out(length: int, size: int) -> None:
    rows = stretches(np.array([[0, length]]), min(size, length), max(1, min(size, length) // 2))
    assert set(rows.reshape(-1).tolist()) - {-1} == set(range(length))


def test_evidence_by_hand() -> None:
    scores = np.array([0, 1, 3, 2, 0, 0, 6, 0, 0, 0], np.float32)
    rows = np.array([np.arange(10), [0, 1, 2, 3, 4, -1, -1, -1, -1, -1]])
    # 10 pieces: a run of 2. Best three 6, 3, 2; best run 6 + 0. Of the first five: 3, 2, 1 and 3 + 2.
    assert evidence(scores, rows, 3).tolist() == pytest.approx([(11 / 3 + 3) / 2, (2 + 2.5) / 2])
    assert evidence(scores, np.array([[6, -1, -1]]), 3).tolist() == [6]


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=60), st.data())
def test_evidence_and_that_of_moments_against_a_plain_reference(values: list[float], data: st.DataObject) -> None:
    scores = np.array(values, np.float32)
    run, count = run_of(len(scores)), len(scores)
    starts = range(count - run + 1)
    runs = [float(scores[i : i + run].mean()) for i in starts]
    expected = (float(np.sort(scores)[-3:].mean()) + max(runs)) / 2
    assert evidence(scores, np.arange(count)[None], 3)[0] == pytest.approx(expected, abs=1e-5)
    first = data.draw(st.integers(0, count - 1))
    after = data.draw(st.integers(first + 1, count))
    found = moment_evidence(scores, first, after, 3, run)
    assert found <= expected + 1e-5
    assert moment_evidence(scores, 0, count, 3, run) == pytest.approx(expected, abs=1e-5)


def test_evidence_of_a_moment_is_its_own() -> None:
    scores = np.zeros(50, np.float32)
    scores[10:20] = 1
    assert moment_evidence(scores, 10, 20, 3, 10) == 1
    assert moment_evidence(scores, 30, 40, 3, 10) == 0
    assert moment_evidence(scores, 18, 22, 3, 10) == pytest.approx(
        (2 / 3 + 0.7) / 2
    )  # runs from 13 on have their middle there


def test_even_odds_lie_halfway_to_the_lift() -> None:
    assert confidence(LIFT / 2, 1) == pytest.approx(0.5)
    assert confidence(LIFT, 1) == pytest.approx(1 / (1 + math.exp(-(LIFT**2) / 2)))
    assert confidence(-1e9, 1) < 1e-12 < 1 - 1e-12 < confidence(1e9, 3)


@given(st.floats(-8, 8), st.floats(0, 4), st.floats(1, 500), st.floats(1, 10))
def test_confidence_rises_with_evidence_and_never_by_length(z: float, more: float, count: float, times: float) -> None:
    here = confidence(z, count)
    assert 0 <= here <= 1
    assert confidence(z + more, count) >= here - 1e-12
    if here > 0.5:
        assert confidence(z, count * times) <= here + 1e-12


@pytest.mark.parametrize("count", [1, 4, 24])
def test_it_is_the_share_of_right_ones_where_the_model_holds(count: int) -> None:
    rng, trials = np.random.default_rng(count), 40_000
    wrong = rng.normal(size=(trials, count)).max(1)
    right = np.maximum(rng.normal(size=(trials, count))[:, 1:].max(1, initial=-9), rng.normal(LIFT, 1, trials))
    told = [np.array([confidence(z, count) for z in values]) for values in (wrong, right)]
    for low in np.arange(0, 1, 0.1):
        here = [values[(values >= low) & (values < low + 0.1)] for values in told]
        if min(map(len, here)) > 300:
            seen = len(here[1]) / (len(here[0]) + len(here[1]))
            assert np.concatenate(here).mean() == pytest.approx(seen, abs=0.05)


def test_what_is_foreseen_of_many_is_their_own_and_of_few_what_is_usual() -> None:
    rng = np.random.default_rng(0)
    found, scores = rng.normal(3, 0.5, 10_000).astype(np.float32), rng.normal(0, 1, 10_000).astype(np.float32)
    mean, deviation = spread(found, 10_000, scores, 75)
    assert (mean, deviation) == (pytest.approx(3, abs=0.03), pytest.approx(0.5, abs=0.03))
    mean, deviation = spread(found[:2], 2, scores, 75)
    assert 1.1 < mean < 1.5
    assert 0.7 < deviation < 0.9
    assert spread(np.ones(5, np.float32), 5, np.ones(9, np.float32), 5)[1] > 0


def test_a_video_that_shows_it_is_told_from_those_that_do_not() -> None:
    rng, right, wrong = np.random.default_rng(0), [], []
    for query in unit(rng.normal(size=(40, DIM))):
        sample = sample_of([footage(rng, 75) for _ in range(40)])
        for length, at in ((75, 30), (750, 400)):
            for like, out in ((1.5 * query, right), (None, wrong)):
                known = trust(sample, "x", footage(rng, length, like=like, at=at), query)
                assert known is not None
                out += known.of_moments([(at, at + 10)])
    assert np.median(right) > 0.9 > 0.3 > np.median(wrong)
    assert np.mean(np.array(wrong) > 0.5) < 0.2


def test_moments_lose_by_their_own_evidence() -> None:
    rng = np.random.default_rng(3)
    query = unit(rng.normal(size=DIM))
    known = trust(sample_of([footage(rng, 75) for _ in range(40)]), "x", footage(rng, 75, like=2 * query, at=30), query)
    assert known is not None
    first, same, worse = known.of_moments([(30, 40), (30, 40), (60, 70)])
    assert first == same > worse
    assert known.of_moments([(60, 70), (30, 40)])[1] == first  # none is above the first, which has all of the video's
    assert known.of_moments([]) == []


def test_it_is_not_compared_with_itself_and_says_nothing_without_others() -> None:
    rng = np.random.default_rng(4)
    videos = [footage(rng, 75) for _ in range(LEAST_VIDEOS + 1)]
    query = unit(rng.normal(size=DIM))
    inside = trust(sample_of(videos), "v0", videos[0], query)
    outside = trust(sample_of([videos[0][:5], *videos[1:]]), "v0", videos[0], query)
    assert inside is not None
    assert outside is not None
    assert inside.mean == pytest.approx(outside.mean)
    assert inside.deviation == pytest.approx(outside.deviation)
    assert trust(sample_of(videos[:-1]), "v0", videos[0], query) is None
    assert trust(sample_of(videos[:-1]), "x", videos[0], query) is not None


def test_a_query_that_fits_everything_is_doubted_everywhere() -> None:
    rng = np.random.default_rng(5)
    query = unit(rng.normal(size=DIM))
    videos = [footage(rng, 75, like=2 * query, at=20) for _ in range(60)]
    known = [trust(sample_of(videos), f"v{n}", videos[n], query) for n in range(20)]
    assert np.median([one.of_moments([(20, 30)])[0] for one in known if one is not None]) < 0.5


def test_the_sample_of_many_videos_is_one_stretch_of_each(make_archive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightreel.search.trust.SAMPLE", 20)
    archive = make_archive("rand", dim=DIM, spec="toy", has_text=False)
    rng = np.random.default_rng(6)
    for n in range(25):
        archive.add(f"{n}.mp4", footage(rng, 7))
    sample = draw(archive.store, "rand", sizes_for({"fps": 1}))
    assert len(sample.video_ids) == 20 == len(set(sample.video_ids))
    assert (np.diff(sample.spans, axis=1) == 4).all()
    assert draw(archive.store, "rand", sizes_for({"fps": 1})).video_ids == sample.video_ids
    place = 3
    vectors = archive.store.segments_of("rand", sample.video_ids[place]).embedding
    low, high = sample.spans[place]
    assert np.allclose(sample.pieces[low:high], pieces(vectors, 2), atol=1e-6)


def test_the_sample_of_few_long_videos_is_several_stretches_of_each(
    make_archive: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightreel.search.trust.SAMPLE", 9)
    archive = make_archive("rand", dim=DIM, spec="toy", has_text=False)
    rng = np.random.default_rng(7)
    for n, length in enumerate((1000, 10, 160)):
        archive.add(f"{n}.mp4", footage(rng, length))
    sample = draw(archive.store, "rand", sizes_for({"fps": 1}))
    assert sorted(np.diff(sample.spans, axis=1)[:, 0].tolist()) == [5, 75, 225]
    assert draw(archive.store, "rand", Sizes(1, 3, 2000)).pieces.shape == (1170, DIM)


def test_it_is_drawn_once_and_anew_when_the_archive_has_changed(colours: Any) -> None:
    features = Features(colours.store, colours.slug)
    first = features.sample
    assert features.sample is first
    colours.add("new.mp4", ["yellow"] * 3)
    colours.store.refresh()
    assert len(features.sample.video_ids) == len(first.video_ids) + 1


def test_ground_says_how_sure_it_is_and_nothing_where_nothing_is_known(make_archive: Any) -> None:
    made = make_archive()
    made.add("a.mp4", ["red"] * 4 + ["blue"] * 8)
    alone = Archive(made.root).ground("a.mp4", "red")
    assert (alone.moments[0].confidence, alone.no_match, alone.notes) == (None, False, ())
    for n in range(30):
        made.add(f"{n}.mp4", ["green"] * 4 + ["white"] * 4 + ["black"] * 4)
    archive = Archive(made.root)
    found, other = archive.ground("a.mp4", "red"), archive.ground("0.mp4", "red")
    assert found.moments[0].confidence is not None
    assert other.moments[0].confidence is not None
    assert found.moments[0].confidence > 0.9 > 0.1 > other.moments[0].confidence
    assert (found.no_match, other.no_match) == (False, True)
    assert archive.ground("a.mp4", "red", top=1).moments[0].confidence == found.moments[0].confidence


def test_whole_is_all_pieces() -> None:
    assert whole(np.zeros(7, np.float32)).tolist() == [[0, 7]]
