"""What is found by chance: mean, deviation and confidence, measured on an archive that was made for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.index.build import build_index
from nightreel.index.levels import LEVELS, Floats, at_level
from nightreel.index.null import LEAST, Null, measure_null, read_null, write_null
from nightreel.index.open import open_index
from nightreel.index.reading import Footage
from nightreel.index.score import video_score

DIM, VIDEOS, FRAMES, PROBES = 16, 48, 40, 200
DRAW = np.random.default_rng(0)


def unit(vectors: np.ndarray) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), np.float32)


def footage_of(vectors: np.ndarray) -> Footage:
    start_s = np.arange(len(vectors), dtype=float)
    return Footage("v", "f", unit(vectors), start_s, start_s + 1, np.zeros(len(vectors), bool))


def made(videos: int, rng: np.random.Generator) -> list[Footage]:
    return [footage_of(rng.normal(size=DIM) + rng.normal(size=(FRAMES, DIM))) for _ in range(videos)]


SAMPLE, QUERIES = made(VIDEOS, DRAW), unit(DRAW.normal(size=(PROBES, DIM)))
NULL = measure_null(SAMPLE, QUERIES, LEVELS, VIDEOS)
FEW = measure_null(SAMPLE[: LEAST - 1], QUERIES, LEVELS, LEAST - 1)


def scores_of(null: Null, query: Floats, sample: list[Footage]) -> Floats:
    spread = null.spread(query[None])
    out = []
    for of in sample:
        best = [(at_level(of.vectors, of.start_s, of.end_s, level) @ query[:, None]).max(0) for level in LEVELS]
        out.append(video_score(np.stack(best), of.seconds, spread, LEVELS)[0])
    return np.array(out, np.float32)


def test_it_is_measured_where_there_is_enough() -> None:
    assert NULL.measured
    assert not FEW.measured
    assert not measure_null(SAMPLE, QUERIES[: LEAST - 1], LEVELS, VIDEOS).measured
    assert measure_null(SAMPLE[:LEAST], QUERIES[:LEAST], LEVELS, LEAST).measured


@given(st.integers(0, 50), st.lists(st.floats(-1.5, 1.5, width=32), min_size=2, max_size=20), st.integers(1, 10**6))
def test_confidence_rises_with_the_score_and_falls_with_the_number_of_videos(
    seed: int, values: list[float], videos: int
) -> None:
    query = unit(np.random.default_rng(seed).normal(size=DIM))
    scores = np.sort(np.array(values, np.float32))
    for null in (NULL, FEW):
        confidence = null.confidence(query, scores, videos)
        assert confidence.dtype == np.float32
        assert ((confidence >= 0) & (confidence <= 1)).all()
        assert (np.diff(confidence) >= 0).all()
        assert (null.confidence(query, scores, videos * 10) <= confidence + 1e-6).all()


def test_confidence_in_the_best_of_unrelated_videos_is_even() -> None:
    rng = np.random.default_rng(5)
    sample, best = made(VIDEOS, rng), []
    for query in unit(rng.normal(size=(100, DIM))):
        best.append(float(NULL.confidence(query, scores_of(NULL, query, sample).max()[None], VIDEOS)[0]))
    quartiles = np.quantile(best, [0.25, 0.5, 0.75])
    assert np.allclose(quartiles, [0.25, 0.5, 0.75], atol=0.17)


def test_a_video_that_shows_it_is_told_from_chance() -> None:
    rng, found = np.random.default_rng(6), []
    for query in unit(rng.normal(size=(20, DIM))):
        vectors = rng.normal(size=(FRAMES, DIM))
        vectors[10:30] = query + 0.05 * rng.normal(size=(20, DIM))
        found.append(NULL.confidence(query, scores_of(NULL, query, [footage_of(vectors)]), VIDEOS)[0])
    assert min(found) > 0.9


def test_standard_scores_are_in_deviations_over_the_archive() -> None:
    z = np.concatenate([NULL.standard(query, scores_of(NULL, query, SAMPLE)) for query in QUERIES[:60]])
    assert z.mean() == pytest.approx(0, abs=0.15)
    assert z.std() == pytest.approx(1, abs=0.15)


def test_spread_is_that_within_videos_by_level() -> None:
    spread = NULL.spread(QUERIES[:1])[:, 0]
    inner = [np.std(of.vectors @ QUERIES[0]) for of in SAMPLE]
    assert spread[0] == pytest.approx(np.median(inner), rel=0.15)
    assert spread[0] > spread[1] > spread[2] > 0  # longer windows vary less
    assert spread[3] == 0  # a whole video does not


def test_without_enough_it_is_taken_for_normal() -> None:
    vectors = np.concatenate([of.vectors for of in SAMPLE[: LEAST - 1]]).astype(float)
    inner, query = vectors @ QUERIES[0], QUERIES[0]
    z = FEW.standard(query, np.array([0.5], np.float32))
    assert z == pytest.approx((0.5 - inner.mean()) / inner.std(), abs=1e-3)
    middle = np.array([inner.mean()], np.float32)
    assert FEW.confidence(query, middle, 1) == pytest.approx(0.5, abs=1e-3)
    assert FEW.confidence(query, middle, 3) == pytest.approx(0.125, abs=1e-3)


def test_vectors_of_no_direction_are_no_part_of_it() -> None:
    bad = np.arange(FRAMES) < 10
    spoilt = [Footage("v", "f", of.vectors * ~bad[:, None], of.start_s, of.end_s, bad) for of in SAMPLE]
    whole = np.concatenate([of.vectors[10:] for of in SAMPLE]).mean(0)
    assert np.allclose(measure_null(spoilt, QUERIES, LEVELS, VIDEOS).segments.mean, whole, atol=1e-5)


def test_a_probe_that_is_itself_footage_is_not_chance() -> None:
    taken = np.stack([of.vectors[0] for of in SAMPLE])
    null = measure_null(SAMPLE, taken, LEVELS, VIDEOS)
    with_itself = scores_of(null, taken[0], SAMPLE)[0]
    assert null.standard(taken[0], np.array([with_itself]))[0] > null.pairs[-1] > 0
    assert np.isfinite(null.tops).all()


@pytest.mark.parametrize("null", [NULL, FEW])
def test_it_is_read_as_it_was_written(null: Null, tmp_path: Path) -> None:
    write_null(tmp_path / "x.npz", null)
    again = read_null(tmp_path / "x.npz", DIM)
    assert again.measured == null.measured
    scores = np.linspace(-1, 1, 9).astype(np.float32)
    assert np.array_equal(again.confidence(QUERIES[0], scores, 7), null.confidence(QUERIES[0], scores, 7))
    assert np.array_equal(again.spread(QUERIES), null.spread(QUERIES))
    with pytest.raises(ValueError, match="not of vectors of D = 8"):
        read_null(tmp_path / "x.npz", 8)


@pytest.mark.parametrize("content", [np.zeros((1, DIM)), np.zeros((PROBES, DIM)), np.zeros((0, DIM))])
def test_an_archive_of_nothing_but_one_picture_gives_numbers(content: np.ndarray) -> None:
    same = [footage_of(np.ones((5, DIM))) for _ in range(30)]
    probes = np.asarray(content, np.float32)
    null = measure_null(same, probes, LEVELS, 30)
    values = null.confidence(unit(np.ones(DIM)), np.array([-1, 0, 1], np.float32), 30)
    assert np.isfinite(values).all()
    assert np.isfinite(measure_null([], probes, LEVELS, 0).confidence(QUERIES[0], values, 0)).all()


def test_an_index_has_it_and_keeps_it_while_the_archive_hardly_grows(
    make_archive: Callable[..., Any], more_footage: Callable[..., list[str]]
) -> None:
    archive = make_archive("rand", dim=DIM, spec="toy", has_text=False)
    more_footage(archive, [f"{n}.mp4" for n in range(40)], 6)
    build_index(archive.store, "rand")
    before = open_index(archive.store, "rand")
    assert before.null.measured
    more_footage(archive, ["a.mp4", "b.mp4"], 6, seed=2)
    build_index(archive.store, "rand")
    assert open_index(archive.store, "rand").header["null"] == before.header["null"]
    more_footage(archive, [f"c{n}.mp4" for n in range(9)], 6, seed=3)
    build_index(archive.store, "rand")
    after = open_index(archive.store, "rand").header
    assert (after["null"]["videos"], after["null"]["file"] == before.header["null"]["file"]) == (51, False)
