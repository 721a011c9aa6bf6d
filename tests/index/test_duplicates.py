"""Near-duplicates: worked examples whose spans are known, and what must never be one."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.errors import UsageError
from nightreel.index import duplicates
from nightreel.index.duplicates import (
    Footage,
    Run,
    aligned,
    blocks,
    candidates,
    centred,
    disjoint,
    find_duplicates,
    read_footage,
    runs_in,
)

DIM = 64


def film(seed: int, seconds: int) -> np.ndarray:
    """(T, 64) a new picture every second: vectors that are hardly alike."""
    return np.random.default_rng(seed).normal(size=(seconds, DIM))


def again(vectors: np.ndarray, noise: float = 0.15) -> np.ndarray:
    """The same footage encoded anew: cosine of about 0.99."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit + noise * np.random.default_rng(len(vectors)).normal(size=vectors.shape) / np.sqrt(DIM)


@pytest.fixture
def archive(make_archive: Any) -> Any:
    """Eight films of 20 s that have nothing in common."""
    archive = make_archive("rand", dim=DIM, spec="toy")
    for n in range(8):
        archive.add(f"other{n}.mp4", film(n, 20))
    return archive


def found(archive: Any, **options: Any) -> list[tuple[str, float, float, str, float, float]]:
    out = []
    for pair in find_duplicates(archive.store, archive.slug, **options):
        a, b = pair["a"], pair["b"]
        out.append((Path(a["path"]).stem, a["start_s"], a["end_s"], Path(b["path"]).stem, b["start_s"], b["end_s"]))
    return out


def test_nothing_in_common_is_nothing_found(archive: Any) -> None:
    assert found(archive) == []


def test_footage_encoded_anew_is_found_whole(archive: Any) -> None:
    archive.add("tape.mp4", film(50, 30))
    archive.add("copy.mp4", again(film(50, 30)))
    (pair,) = find_duplicates(archive.store, "rand")
    assert set(pair) == {"a", "b", "similarity", "segments"}
    assert pair["a"]["video_id"] == archive.store.find_video("tape").video_id
    assert (pair["a"]["path"], pair["a"]["start_s"], pair["a"]["end_s"]) == ("/films/tape.mp4", 0.0, 30.0)
    assert (pair["b"]["path"], pair["b"]["start_s"], pair["b"]["end_s"]) == ("/films/copy.mp4", 0.0, 30.0)
    assert pair["segments"] == 30
    assert 0.95 < pair["similarity"] <= 1


def test_a_part_that_is_cut_out_and_put_elsewhere(archive: Any) -> None:
    tape = film(50, 40)
    archive.add("tape.mp4", tape)
    archive.add("excerpt.mp4", again(tape[10:20]))
    archive.add("reel.mp4", np.concatenate([film(60, 7), again(tape[25:37]), film(61, 5)]))
    assert found(archive) == [
        ("tape", 25, 37, "reel", 7, 19),  # the longest first
        ("tape", 10, 20, "excerpt", 0, 10),
    ]


def test_three_copies_are_three_pairs_and_repeats_in_one_video_are_none(archive: Any) -> None:
    tape = film(50, 10)
    for name in ("a", "b", "c"):
        archive.add(f"{name}.mp4", again(tape, 0.1))
    archive.add("twice.mp4", np.concatenate([film(70, 6), film(70, 6)]))
    assert {(pair[0], pair[3]) for pair in found(archive)} == {("a", "b"), ("a", "c"), ("b", "c")}


def test_what_stands_twice_in_the_other_video_is_found_twice(archive: Any) -> None:
    advert = film(50, 8)
    archive.add("advert.mp4", advert)
    archive.add("evening.mp4", np.concatenate([film(51, 9), again(advert), film(52, 20), again(advert), film(53, 4)]))
    assert sorted(found(archive)) == [("advert", 0, 8, "evening", 9, 17), ("advert", 0, 8, "evening", 37, 45)]


def test_moved_by_a_part_of_a_segment(archive: Any) -> None:
    """Samples fall between those of the other: each is like its two neighbours, half and half."""
    tape = np.cumsum(film(50, 41), axis=0)  # a picture that changes slowly
    archive.add("tape.mp4", tape[:-1])
    archive.add("moved.mp4", (tape[:-1] + tape[1:]) / 2)
    (pair,) = found(archive)
    assert pair[:1] + pair[3:4] == ("tape", "moved")
    assert min(pair[2] - pair[1], pair[5] - pair[4]) >= 38


def test_black_white_and_fades_never_count(make_archive: Any) -> None:
    """Every film has the same 20 s of black before and white behind; in the middle nothing is alike but two."""
    archive = make_archive("rand", dim=DIM, spec="toy")
    black, white = np.ones((20, DIM)), np.eye(1, DIM).repeat(20, 0)
    variance = [0.0] * 20 + [900.0] * 15 + [24.9] * 20
    for n in range(8):
        archive.add(f"{n}.mp4", np.concatenate([black, film(n % 7, 15), white]), quality={"variance": variance})
    assert found(archive) == [("0", 20, 35, "7", 20, 35)]
    assert len(read_footage(archive.store, "rand").start_s) == 8 * 15
    plain = make_archive("rand", "plain.reel", dim=DIM, spec="toy")  # nobody said what is blank
    for n in range(8):
        plain.add(f"{n}.mp4", np.concatenate([black, film(n % 7, 15), white]))
    assert len(found(plain)) > 20


def test_a_blank_in_the_middle_does_not_part_a_run(archive: Any) -> None:
    tape = film(50, 20)
    variance = [900.0] * 8 + [1.0] * 5 + [900.0] * 7
    archive.add("tape.mp4", tape, quality={"variance": variance})
    archive.add("copy.mp4", again(tape), quality={"variance": variance})
    (pair,) = find_duplicates(archive.store, "rand")
    assert (pair["a"]["start_s"], pair["a"]["end_s"], pair["segments"]) == (0, 20, 15)


def test_all_blank_or_empty_is_nothing(make_archive: Any) -> None:
    archive = make_archive("rand", dim=DIM, spec="toy")
    assert found(archive) == []
    archive.add("a.mp4", film(1, 5), quality={"variance": [0] * 5})
    archive.add("b.mp4", film(1, 5), quality={"variance": [0] * 5})
    assert found(archive) == []


def test_vectors_in_a_narrow_cone_are_told_apart(make_archive: Any) -> None:
    """As untrained networks give them: every raw cosine is above 0.95, and still only the copy is one."""
    archive = make_archive("rand", dim=DIM, spec="toy")
    cone = np.full((1, DIM), 3.0)

    def narrow(vectors: np.ndarray) -> np.ndarray:
        return cone + 0.3 * vectors

    for n in range(8):
        archive.add(f"{n}.mp4", narrow(film(n, 12)))
    archive.add("copy.mp4", narrow(film(3, 12)) + 0.02 * film(99, 12))
    stored = np.concatenate([b.embedding for b in archive.store.segments("rand")]).astype(np.float32)
    assert (stored @ stored.T).min() > 0.95
    assert found(archive) == [("3", 0, 12, "copy", 0, 12)]


@pytest.mark.parametrize("clips", [1, 2])
def test_videos_of_one_or_two_clips(make_archive: Any, clips: int) -> None:
    archives = sys.modules["archives"]
    archive = make_archive("mae", dim=DIM, spec="videomae:x", sampling=archives.CLIPS)
    for n in range(12):
        archive.add(f"{n}.mp4", film(n, clips), 8.0)
    archive.add("copy.mp4", again(film(5, clips)), 8.0)
    assert found(archive) == [("5", 0, 8 * clips, "copy", 0, 8 * clips)]


def test_clips_that_overlap(make_archive: Any) -> None:
    archive = make_archive("mae", dim=DIM, spec="videomae:x")
    for n in range(8):
        archive.add(f"{n}.mp4", film(n, 10), 4.0, length_s=8.0)
    archive.add("copy.mp4", np.concatenate([film(90, 3), again(film(2, 10))[4:9], film(91, 2)]), 4.0, length_s=8.0)
    assert found(archive) == [("2", 16, 40, "copy", 12, 36)]


def test_a_single_second_alike_is_not_enough_in_long_videos(archive: Any) -> None:
    archive.add("logo.mp4", np.concatenate([film(50, 9), film(3, 20)[4:6], film(51, 9)]))
    assert found(archive) == []  # two seconds of other3.mp4


def test_the_answer_does_not_depend_on_the_blocks(archive: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tape = film(50, 30)
    archive.add("tape.mp4", tape)
    archive.add("copy.mp4", again(tape[5:25]))
    whole = found(archive)
    for size in (1, 7, 20, 50, 1000):
        monkeypatch.setattr(duplicates, "BLOCK", size)
        assert found(archive) == whole
    assert whole == [("tape", 5, 25, "copy", 0, 20)]


def test_rows_that_no_longer_count_are_not_compared(archive: Any) -> None:
    archive.add("tape.mp4", film(3, 20))
    assert [pair[3] for pair in found(archive)] == ["tape"]
    archive.add("tape.mp4", film(88, 20))
    assert found(archive) == []


def test_a_higher_threshold_finds_no_more(archive: Any) -> None:
    archive.add("tape.mp4", again(film(3, 20), 0.9))
    counts = [sum(p["segments"] for p in find_duplicates(archive.store, "rand", t)) for t in (0.2, 0.5, 0.8, 0.95, 1)]
    assert counts[1] > 0
    assert counts[-1] == 0
    assert sorted(counts[1:], reverse=True) == counts[1:]


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, float("nan")])
def test_a_threshold_out_of_range(archive: Any, threshold: float) -> None:
    with pytest.raises(UsageError, match="above 0 and up to 1, for example"):
        find_duplicates(archive.store, "rand", threshold)


# --- its parts ------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_blocks_are_whole_videos_and_all_of_them(sizes: list[int], most: int) -> None:
    bounds = np.append(0, np.cumsum(sizes))
    before, duplicates.BLOCK = duplicates.BLOCK, most
    try:
        cut = list(blocks(bounds))
    finally:
        duplicates.BLOCK = before
    assert cut[0][0] == 0
    assert cut[-1][1] == bounds[-1]
    assert all(one[1] == other[0] for one, other in pairwise(cut))
    assert {edge for pair in cut for edge in pair} <= set(bounds.tolist())
    assert all(high - low <= most or (low, high) in set(pairwise(bounds.tolist())) for low, high in cut)


@given(st.integers(0, 10_000), st.integers(-8, 25))
@settings(max_examples=40, deadline=None)
def test_a_copy_anywhere_is_found_where_it_is(seed: int, at: int) -> None:
    """The later film shows 12 s of the earlier from `at`; where it begins or ends outside, less of it."""
    draw = np.random.default_rng(seed)
    rows = [draw.normal(size=(20, DIM)) for _ in range(6)]
    low, high = max(0, at), max(0, at, min(20, at + 12))
    shown = draw.normal(size=(12, DIM))
    shown[low - at : high - at] = rows[2][low:high] + 0.05 * draw.normal(size=(high - low, DIM))
    rows.append(shown)
    bounds = np.append(0, np.cumsum([len(r) for r in rows]))
    start_s = np.concatenate([np.arange(float(len(r))) for r in rows])
    vectors = centred(np.concatenate(rows).astype(np.float32), bounds)
    runs = [
        run
        for run in runs_in(Footage(vectors, start_s, start_s + 1, bounds, [""] * 7, 1.0), 0.8)
        if (run.a, run.b) == (2, 6)
    ]
    if high - low < 3:
        assert runs == []
    else:
        assert [(run.a_span, run.b_span) for run in runs] == [((low, high), (low - at, high - at))]


def test_candidates_and_their_distance_by_hand() -> None:
    unit = np.eye(6, dtype=np.float32)
    vectors = np.concatenate([unit[:4], unit[1:3]])  # the second film is seconds 1 and 2 of the first
    start_s = np.array([0.0, 1, 2, 3, 10, 11])
    footage = Footage(vectors, start_s, start_s + 1, np.array([0, 4, 6]), ["x", "y"], 1.0)
    ((a, b, offsets_s),) = candidates(footage, 0.9)
    assert (a, b, offsets_s.tolist()) == (0, 1, [9.0])
    (run,) = aligned(footage, 0, 1, 9.0, 0.9)
    assert run == Run(0, 1, (1.0, 3.0), (10.0, 12.0), 1.0, 2)
    assert aligned(footage, 0, 1, 50.0, 0.9) == []


def test_the_mean_of_a_long_video_is_not_that_of_all() -> None:
    long, short = np.tile(np.eye(1, 4, dtype=np.float32), (1000, 1)), np.eye(4, dtype=np.float32)[1:3]
    out = centred(np.concatenate([long, short]), np.array([0, 1000, 1001, 1002]))
    assert np.allclose(np.linalg.norm(out, axis=1), 1, atol=1e-6)
    assert out[0] @ out[1000] == pytest.approx(-0.5, abs=1e-6)
    same = centred(np.ones((5, 4), np.float32), np.array([0, 2, 5]))
    assert not same.any()  # nothing tells them apart: like nothing, not like everything


def test_disjoint_keeps_the_better_of_two_that_overlap_in_both() -> None:
    one = Run(0, 1, (0, 9), (0, 9), 0.9, 9)
    moved = Run(0, 1, (1, 9), (2, 9), 0.8, 7)
    elsewhere = Run(0, 1, (1, 9), (20, 28), 0.8, 7)
    assert disjoint([one, moved, elsewhere]) == [one, elsewhere]
