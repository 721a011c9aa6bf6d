"""What ranks a video: not its length, not being near to everything; and how results are shown in pages and spread out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nightreel.extract.compact import remove_videos
from nightreel.extract.errors import WeightsUnavailable
from nightreel.extract.store import Store
from nightreel.index.build import build_index
from nightreel.index.open import VectorIndex, open_index
from nightreel.search.answer import Question
from nightreel.search.archive import Archive
from nightreel.search.search import ALL, Held, Look, _best_moments, _moments, look, search

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


def slates_first(archive: Any, by: str) -> int:
    """Of 20 sentences that say little of what they mean, how many find a slate."""
    return sum(ranked(archive, archive.at(n, 0.2), by, 1)[0].startswith("slate") for n in range(20))


@pytest.mark.parametrize("by", ["video", "moment"])
def test_slates_that_are_near_to_everything_never_win(cone: Any, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each shows the mean of all films. Probes of footage are in the cone, so they see it as near as sentences do."""
    everything = np.concatenate([batch.embedding for batch in cone.store.segments(cone.slug)]).astype(np.float32)
    for n in range(3):
        cone.add(f"slate{n}.mp4", np.tile(unit(everything.mean(0)), (30, 1)))
    build_index(cone.store, cone.slug)
    assert slates_first(cone, by) == 0
    monkeypatch.setattr(VectorIndex, "penalty", lambda self, video_id: 0.0)
    assert slates_first(cone, by) == 20


def test_slates_do_not_keep_others_from_being_looked_into(cone: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """More slates than videos that are looked into; here a few of both, to be fast."""
    monkeypatch.setattr("nightreel.search.search.SHORTLIST", 1)
    monkeypatch.setattr("nightreel.search.search.SHORTLIST_LEAST", 1)
    for n in range(3):
        cone.add(f"slate{n}.mp4", np.tile(cone.axis, (30, 1)))
    build_index(cone.store, cone.slug)
    assert slates_first(cone, "video") == 0


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
            looks = {video: look(archive.store, index, video, query, index.null.spread(query[None])) for video in names}
            first += (
                max(names, key=lambda video: getattr(looks[video], name)) == archive.store.find_video("0.mp4").video_id
            )
        return first

    assert longest_first("bound") >= 20  # of 60, where chance gives 2: its best seconds
    assert longest_first("score") <= 8


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
    stale = archive.ask(Question("red"))
    assert any("1 of 3 videos are newer than the index" in note for note in stale.notes)
    build_index(Store.open(colours.root), "toy")
    fresh = archive.ask(Question("red", by="video"))
    assert fresh.notes == ()
    assert fresh.hits[0].path == "/films/crimson.mp4"


@pytest.mark.parametrize("by", ["video", "moment"])
def test_of_what_one_in_a_thousand_passes_nothing_else_is_looked_into(
    make_archive: MakeArchive, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, rng = make_archive("rand", dim=DIM, spec="toy", has_text=False), np.random.default_rng(3)
    vectors = unit(rng.normal(size=(40, 100, DIM)))
    for n in range(40):
        luma = np.zeros(100)
        if n % 10 == 3:
            luma[50] = 200  # 4 of 4000
        archive.add(f"{n}.mp4", vectors[n], quality={"luma": luma})
    opened = Archive(archive.root, "rand")
    opened.build_index()
    looked: list[str] = []

    def counted(store: Any, index: Any, video_id: str, *rest: Any) -> Look | None:
        looked.append(store.find_video(video_id).path[7:])
        return look(store, index, video_id, *rest)

    monkeypatch.setattr("nightreel.search.search.look", counted)
    hits = opened.search(like="0.mp4@0-1", where="luma > 100", top=10, by=by)
    passing = [f"{n}.mp4" for n in (3, 13, 23, 33)]
    assert sorted(looked) == sorted(passing)
    assert sorted(hit.path[7:] for hit in hits) == sorted(passing)
    assert {(hit.start_s, hit.end_s) for hit in hits} == {(50.0, 51.0)}
    inner = {f"/films/{n}.mp4": float(vectors[n, 50] @ vectors[0, 0]) for n in (3, 13, 23, 33)}
    assert [hit.path for hit in hits] == sorted(inner, key=inner.__getitem__, reverse=True)
    assert [hit.score for hit in hits] == pytest.approx([inner[hit.path] for hit in hits], abs=2e-3)


def made_looks(rng: np.random.Generator, query: np.ndarray) -> list[tuple[Look, float]]:
    """Some videos of one to forty seconds, some of them copies of others, some lowered."""
    looks: list[tuple[Look, float]] = []
    for _ in range(int(rng.integers(2, 15))):
        count = int(rng.integers(1, 40))
        vectors = unit(np.repeat(rng.normal(size=(count, 8)), rng.integers(1, 6), axis=0)[:count])
        if looks and rng.random() < 0.3:
            vectors = looks[int(rng.integers(len(looks)))][0].vectors
        start_s, scores = np.arange(len(vectors)) * 1.0, vectors @ query
        penalty = float(rng.choice([0.0, 0.0, 0.1]))
        name, bound = f"{rng.integers(10**6):06d}", float(scores.max()) - penalty
        looks.append((Look(name, vectors, start_s, start_s + 1, scores, 0.0, penalty, bound), float(rng.random())))
    return looks


@pytest.mark.parametrize("held", [ALL, Held(barred=np.array([0]))])
def test_looking_no_further_than_needed_finds_what_looking_at_all_finds(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, looked = np.random.default_rng(0), []

    def counted(one: Look, *rest: Any) -> Any:
        looked.append(one.video_id)
        return _moments(one, *rest)

    monkeypatch.setattr("nightreel.search.search._moments", counted)
    there = 0
    for _ in range(40):
        query = unit(rng.normal(size=8))
        looks = made_looks(rng, query)
        every = [
            (one.video_id, moment, score - one.penalty, confidence)
            for one, confidence in looks
            for moment, score in _moments(one, query, 1000, held)
        ]
        every.sort(key=lambda hit: (-hit[2], hit[0], hit[1].start_s))
        for top in (1, 3, 7):
            found = _best_moments(looks, query, top, held)
            assert [(f.video_id, f.moment, f.score, f.confidence) for f in found] == every[:top]
            there += len(looks)
    assert len(looked) < 0.9 * there  # it does save something


def test_confidence_falls_with_the_rank_of_the_video(cone: Any) -> None:
    build_index(cone.store, cone.slug)
    index = open_index(cone.store, cone.slug)
    assert index.null.measured
    for n in range(5):
        videos = search(cone.store, index, cone.at(n), top=40, by="video")
        confidences = [found.confidence for found in videos]
        assert confidences == sorted(confidences, reverse=True)
        assert 0 <= confidences[-1] < 0.5 < confidences[0] <= 1
        of_video = {found.video_id: found.confidence for found in videos}
        moments = search(cone.store, index, cone.at(n), top=10, by="moment")
        assert all(found.confidence == pytest.approx(of_video[found.video_id]) for found in moments)


def test_without_the_weights_there_is_an_index_to_search_with_footage(make_archive: MakeArchive) -> None:
    archive = make_archive("clip", spec="openclip:PE-Core-B-16@meta", has_text=True)
    for n in range(30):
        archive.add(f"{n}.mp4", ["red", "blue", "green", "white"][n % 3 :])
    opened = Archive(archive.root)
    opened.build_index()
    probes = opened.index.header["probes"]
    assert (probes["kind"], "PE-Core-B-16" in probes["why"]) == ("footage", True)
    hits = opened.search(like="0.mp4@0-1", top=3)
    assert [hit.confidence is not None for hit in hits] == [True] * 3
    with pytest.raises(WeightsUnavailable):
        opened.search("red")
