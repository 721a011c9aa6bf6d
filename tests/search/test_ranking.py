"""What ranks a video: not its length, not being near to everything; and how results are shown in pages and spread out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nightreel.extract.compact import remove_videos
from nightreel.extract.errors import UsageError
from nightreel.extract.store import Store
from nightreel.index.build import build_index
from nightreel.index.open import open_index
from nightreel.search.archive import Archive
from nightreel.search.search import _best_moments, look, search

DIM = 32
MakeArchive = Callable[..., Any]


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


@pytest.fixture
def cone(make_archive: MakeArchive) -> Any:
    """40 videos of 30 s in a cone, as pictures are; `at(n)` is what video n shows, seen from where sentences are."""
    archive, rng = make_archive("rand", dim=DIM, spec="toy", has_text=False), np.random.default_rng(1)
    axis = unit(rng.normal(size=DIM))
    topics = unit(rng.normal(size=(40, DIM)))
    for n, topic in enumerate(topics):
        archive.add(f"{n}.mp4", unit(1.5 * axis + topic + 0.5 * rng.normal(size=(30, DIM)) / np.sqrt(DIM)))
    archive.axis = axis
    archive.at = lambda n, strength=0.6: unit(axis + strength * topics[n])
    return archive


def ranked(archive: Any, query: np.ndarray, by: str, top: int = 5) -> list[str]:
    index = open_index(archive.store, archive.slug)
    path_of = {row.video_id: row.path.rpartition("/")[2] for row in archive.store.videos()}
    return [path_of[hit.video_id] for hit in search(archive.store, index, query, top=top, by=by)]


@pytest.mark.parametrize("by", ["video", "moment"])
def test_a_slate_that_is_near_to_everything_does_not_win(cone: Any, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen from a sentence the cone's axis is nearer than most of what is in the cone."""
    for n in range(3):
        cone.add(f"slate{n}.mp4", np.tile(cone.axis, (30, 1)))
    queries = [cone.at(n, 0.2) for n in range(40)]

    def slates_first(correct: bool) -> int:
        with monkeypatch.context() as patch:
            if not correct:
                patch.setattr("nightreel.index.open.VectorIndex.penalty", lambda self, video_id: 0.0)
            return sum(ranked(cone, query, by, 1)[0].startswith("slate") for query in queries)

    # Probes of footage are in the cone, so they see the axis as near as sentences do.
    build_index(cone.store, cone.slug)
    without, corrected = slates_first(False), slates_first(True)
    assert without >= 20
    assert corrected <= without / 4


def test_videos_that_are_no_hubs_keep_their_scores(cone: Any) -> None:
    build_index(cone.store, cone.slug)
    index = open_index(cone.store, cone.slug)
    assert [index.penalty(name) for name in cone.store.video_ids(cone.slug)] == [0.0] * 40
    assert all(ranked(cone, cone.at(n), "video", 1) == [f"{n}.mp4"] for n in range(40))


def test_a_long_video_of_noise_does_not_win_by_its_length(make_archive: MakeArchive) -> None:
    archive, rng = make_archive("rand", dim=DIM, spec="toy", has_text=False), np.random.default_rng(2)
    for n in range(30):  # every second is another picture, and each look of 5 s lasts five of them
        archive.add(f"{n}.mp4", unit(np.repeat(rng.normal(size=(6 if n else 400, DIM)), 5, axis=0)))
    build_index(archive.store, "rand")
    index, queries = open_index(archive.store, "rand"), unit(rng.normal(size=(60, DIM)))

    def longest_first(name: str) -> int:
        names = archive.store.video_ids("rand")
        first = 0
        for query in queries:
            looks = {video: look(archive.store, index, video, query) for video in names}
            first += (
                max(names, key=lambda video: getattr(looks[video], name)) == archive.store.find_video("0.mp4").video_id
            )
        return first

    assert longest_first("bound") >= 20  # of 60, where chance gives 2: its best seconds
    assert longest_first("score") <= 8


def test_pages_follow_one_another(cone: Any) -> None:
    archive = Archive(cone.root, "rand")
    archive.build_index()
    both = archive.search(like="3.mp4@0-10", top=12, by="video")
    first = archive.search(like="3.mp4@0-10", top=6, by="video")
    second = archive.search(like="3.mp4@0-10", top=6, skip=6, by="video")
    assert [hit.rank for hit in second] == [7, 8, 9, 10, 11, 12]
    assert first + second == both
    assert archive.search(like="3.mp4@0-10", top=6, skip=500) == []
    with pytest.raises(UsageError, match="skip of at least 0"):
        archive.search(like="3.mp4@0-10", skip=-1)


def test_what_looks_like_a_better_hit_falls_back(colours: Any) -> None:
    for name in ("red2.mp4", "red3.mp4"):
        colours.add(name, ["red"] * 4)
    colours.add("orange.mp4", ["orange"] * 4)
    archive = Archive(colours.root)
    archive.build_index()

    def names(diversity: float) -> list[str]:
        return [hit.path.rpartition("/")[2] for hit in archive.search("red", by="video", top=3, diversity=diversity)]

    assert all(name.startswith("red") for name in names(0))
    assert names(0.7)[0].startswith("red")
    assert sum(name.startswith("red") for name in names(0.7)) == 1
    with pytest.raises(UsageError, match="--diverse 2: expected 0"):
        archive.search("red", diversity=2)


def test_a_weight_moves_the_question(colours: Any) -> None:
    archive = Archive(colours.root)
    archive.build_index()
    first = [archive.search(["red", f"green{boost}"], by="video", top=1)[0].path for boost in ("^0.2", "^5")]
    assert first == ["/films/red.mp4", "/films/green.mp4"]


def test_an_open_archive_sees_what_others_remove_index_and_replace(colours: Any) -> None:
    archive = Archive(colours.root)
    archive.build_index()
    assert archive.search("red", top=1, by="video")[0].path == "/films/red.mp4"
    other = Store.open(colours.root)
    remove_videos(other, ["red.mp4"])
    assert "/films/red.mp4" not in {hit.path for hit in archive.search("red")}
    colours.add("crimson.mp4", ["red"] * 5)
    from nightreel.search.answer import Question

    stale = archive.ask(Question("red"))
    assert any("1 of 3 videos are newer than the index" in note for note in stale.notes)
    build_index(Store.open(colours.root), "toy")
    fresh = archive.ask(Question("red", by="video"))
    assert fresh.notes == ()
    assert fresh.hits[0].path == "/films/crimson.mp4"


@pytest.mark.parametrize("by", ["video", "moment"])
def test_an_expression_that_one_in_a_thousand_passes_is_answered_right(make_archive: MakeArchive, by: str) -> None:
    archive, rng = make_archive("rand", dim=DIM, spec="toy", has_text=False), np.random.default_rng(3)
    for n in range(40):
        luma = np.zeros(100)
        if n % 10 == 3:
            luma[50] = 200  # 4 of 4000
        archive.add(f"{n}.mp4", unit(rng.normal(size=(100, DIM))), quality={"luma": luma})
    opened = Archive(archive.root, "rand")
    opened.build_index()
    hits = opened.search(like="0.mp4@0-1", where="luma > 100", top=10, by=by)
    assert {hit.path.rpartition("/")[2] for hit in hits} == {f"{n}.mp4" for n in (3, 13, 23, 33)}
    assert {(hit.start_s, hit.end_s) for hit in hits} == {(50.0, 51.0)}
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


def test_looking_no_further_than_needed_finds_what_looking_at_all_finds(cone: Any) -> None:
    build_index(cone.store, cone.slug)
    index = open_index(cone.store, cone.slug)
    for n in range(5):
        looks = [(look(cone.store, index, video, cone.at(n)), 0.5) for video in cone.store.video_ids(cone.slug)]
        from nightreel.search.search import ALL

        few = _best_moments(looks, cone.at(n), 4, ALL)
        every = _best_moments(looks, cone.at(n), 1000, ALL)
        assert [(f.video_id, f.moment) for f in few] == [(f.video_id, f.moment) for f in every[:4]]
