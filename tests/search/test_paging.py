"""Pages follow one another: no hit twice, none lost, ranks that go on; with everything that changes the order of hits."""

import sys
from typing import Any

import numpy as np
import pytest
from nightreel.extract.errors import UsageError
from nightreel.extract.store import Store
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer
from nightreel.index.build import build_index
from nightreel.index.open import VectorIndex, open_index
from nightreel.search.archive import Archive
from nightreel.search.search import POOL, search

DIM, VIDEOS = 16, 120


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """120 videos of scenes that have nothing to do with each other, so noisy that the best second is seldom in the best one."""
    archives = sys.modules["archives"]
    made = archives.MadeArchive(tmp_path_factory.mktemp("pages") / "a.reel", "rand", dim=DIM, has_text=False)
    rng = np.random.default_rng(0)
    writer = Writer(made.store)
    for n in range(VIDEOS):
        scenes = np.repeat(rng.normal(size=(8, DIM)), 6, axis=0)
        video_id, vectors = archives.id_of(f"{n}.mp4"), unit(scenes + 2 * rng.normal(size=scenes.shape))
        segments = archives.segments_for(video_id, vectors, quality={"luma": rng.integers(0, 255, len(vectors))})
        row = VideoRow(video_id, f"/films/{n}.mp4", "done", duration_s=float(len(vectors)))
        writer.add(row, {"rand": segments})
    writer.commit()
    build_index(made.store, "rand")
    made.queries = unit(rng.normal(size=(12, DIM)))
    return made


def spans(store: Store, index: VectorIndex, query: np.ndarray, top: int, **options: Any) -> list[tuple[str, float]]:
    return [(hit.video_id, hit.moment.start_s) for hit in search(store, index, query, top=top, **options)]


@pytest.mark.parametrize("by", ["video", "moment"])
@pytest.mark.parametrize("diversity", [0.0, 0.6])
def test_more_hits_begin_with_the_fewer(mixed: Any, by: str, diversity: float) -> None:
    """Whatever is asked for: how many hits decides how many videos are looked into, and how many moments of each."""
    index = open_index(mixed.store, "rand")
    for query in mixed.queries[: 2 if diversity else 8]:
        most = spans(mixed.store, index, query, 24, by=by, diversity=diversity)
        assert len(set(most)) == 24
        for top in (1, 6, 12):
            assert spans(mixed.store, index, query, top, by=by, diversity=diversity) == most[:top]


@pytest.mark.parametrize("by", ["video", "moment"])
def test_they_are_the_best_of_all_videos(mixed: Any, by: str) -> None:
    """Not only of those that are looked into."""
    index, names = open_index(mixed.store, "rand"), mixed.store.video_ids("rand")
    for query in mixed.queries[:4]:
        every = search(mixed.store, index, query, top=1000, by=by, only=names)
        best = [(hit.video_id, hit.moment.start_s) for hit in every[:5]]
        assert spans(mixed.store, index, query, 5, by=by) == best


def test_so_they_do_beyond_the_hits_that_are_spread_out_together(mixed: Any) -> None:
    index, query = open_index(mixed.store, "rand"), mixed.queries[0]
    most = spans(mixed.store, index, query, 2 * POOL, by="video", diversity=0.6)
    for top in (POOL - 5, POOL, POOL + 5):
        assert spans(mixed.store, index, query, top, by="video", diversity=0.6) == most[:top]
    plain = spans(mixed.store, index, query, 2 * POOL, by="video")
    assert most != plain
    assert set(most[:POOL]) == set(plain[:POOL])


@pytest.mark.parametrize("options", [{}, {"by": "video"}, {"diversity": 0.5}, {"where": "luma > 128"}])
def test_two_pages_are_the_first_of_double_size(mixed: Any, options: dict[str, Any]) -> None:
    archive = Archive(mixed.root, "rand")
    asked = {"like": "3.mp4@0-4", **options}
    first, second = archive.search(**asked, top=6), archive.search(**asked, top=6, skip=6)
    assert [hit.rank for hit in first + second] == list(range(1, 13))
    assert first + second == archive.search(**asked, top=12)
    assert archive.search(**asked, top=5, skip=10**9) == []


def test_pages_of_what_is_listed(mixed: Any) -> None:
    archive = Archive(mixed.root, "rand")
    for options in ({"where": "luma > 200"}, {"sort": "luma"}, {"sort": "luma", "by": "video"}):
        first, second = archive.search(**options, top=6), archive.search(**options, top=6, skip=6)
        assert [hit.rank for hit in first + second] == list(range(1, 13))
        assert first + second == archive.search(**options, top=12)


def test_a_hit_is_on_one_page_also_when_a_page_is_sorted(mixed: Any) -> None:
    """Each page has the next most alike, in the order of the number."""
    archive, asked = Archive(mixed.root, "rand"), {"like": "3.mp4@0-4", "by": "video", "top": 6}
    for skip in (0, 6, 12):
        alike = archive.search(**asked, skip=skip)
        page = archive.search(**asked, skip=skip, sort="luma")
        assert {hit.video_id for hit in page} == {hit.video_id for hit in alike}
        assert [hit.rank for hit in page] == list(range(skip + 1, skip + 7))
        assert [hit.score for hit in page] == sorted((hit.score for hit in page), reverse=True)


@pytest.mark.parametrize("skip", [-1, -(10**9)])
def test_a_page_before_the_first_is_refused(mixed: Any, skip: int) -> None:
    with pytest.raises(UsageError, match="skip of at least 0"):
        Archive(mixed.root, "rand").search(like="3.mp4@0-4", skip=skip)


# --- hits that differ -----------------------------------------------------------------------------------------


@pytest.fixture
def copies(colours: Any) -> Archive:
    """`colours`, three more films of red, and one of orange, which is like red."""
    for name in ("red2.mp4", "red3.mp4", "red4.mp4"):
        colours.add(name, ["red"] * 4)
    colours.add("orange.mp4", ["orange"] * 4)
    archive = Archive(colours.root)
    archive.build_index()
    return archive


def names(archive: Archive, **options: Any) -> list[str]:
    return [hit.path.rpartition("/")[2] for hit in archive.search("red", by="video", **options)]


def test_what_looks_like_a_better_hit_falls_back(copies: Archive) -> None:
    assert all(name.startswith("red") for name in names(copies, top=3))
    spread = names(copies, top=3, diversity=0.7)
    assert spread[0].startswith("red")
    assert sum(name.startswith("red") for name in spread) == 1
    # They only fall back; all that was there is still there.
    assert sorted(names(copies, diversity=0.7)) == sorted(names(copies))


def test_no_diversity_changes_nothing(copies: Archive) -> None:
    for by in ("video", "moment"):
        assert copies.search("red", by=by, diversity=0.0) == copies.search("red", by=by)


@pytest.mark.parametrize("diversity", [-0.1, 1.1, float("nan")])
def test_a_diversity_out_of_range_is_refused(copies: Archive, diversity: float) -> None:
    with pytest.raises(UsageError, match=r"--diverse .*: expected 0 \(the best\) to 1"):
        copies.search("red", diversity=diversity)


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Videos of half an hour, of which only some windows are looked at; a quarter of the seconds is bright."""
    archives = sys.modules["archives"]
    made = archives.MadeArchive(tmp_path_factory.mktemp("tapes") / "a.reel", "rand", dim=DIM, has_text=False)
    rng = np.random.default_rng(1)
    for n in range(3):
        scenes = np.repeat(rng.normal(size=(60, DIM)), 30, axis=0)
        luma = np.repeat(rng.integers(0, 255, 60), 30)
        made.add(f"{n}.mp4", unit(scenes + 2 * rng.normal(size=scenes.shape)), quality={"luma": luma})
    build_index(made.store, "rand")
    made.queries = unit(rng.normal(size=(4, DIM)))
    return made


def test_pages_of_long_videos_fit_together(tape: Any) -> None:
    index = open_index(tape.store, "rand")
    for query in tape.queries:
        most = spans(tape.store, index, query, 40, by="moment")
        assert spans(tape.store, index, query, 10, by="moment") == most[:10]
        assert spans(tape.store, index, query, 20, by="moment") == most[:20]


@pytest.mark.parametrize("limit", [60, 120, 200])
def test_long_videos_with_most_of_them_left_out(tape: Any, limit: int) -> None:
    """What `--where` leaves out is a gap; there was a window in every large one, and nothing in it."""
    hits = Archive(tape.store.root).search(like="0.mp4@100-110", where=f"luma > {limit}", top=10)
    assert len(hits) == 10
