"""Ranking that can be worked out by hand with the toy encoder's colours, and properties that hold for any."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.index.build import build_index
from nightreel.index.levels import SEGMENT, VIDEO, at_level
from nightreel.index.open import open_index
from nightreel.index.score import video_score
from nightreel.search.curve import middles
from nightreel.search.moment import Moment
from nightreel.search.search import disjoint, look, peak_score, search

Found = list[tuple[str, float, float, float]]


def vector(text: str) -> np.ndarray:
    return ToyEncoder().encode_text([text])[0]


def found(archive: Any, text: str, *, top: int = 10, by: str = "moment", build: bool = True, **options: Any) -> Found:
    if build:
        build_index(archive.store, "toy")
    index = open_index(archive.store, "toy")
    path_of = {row.video_id: row.path.rpartition("/")[2] for row in archive.store.videos()}
    hits = search(archive.store, index, vector(text), top=top, by=by, **options)
    return [(path_of[hit.video_id], hit.moment.start_s, hit.moment.end_s, round(hit.score, 2)) for hit in hits]


def test_the_ranking_of_red_worked_out_by_hand(colours: Any) -> None:
    """red · red = 1.00, red · blue = red · green = 0.20 (see the table in `toy.py`).

    Of b b r r b b the best second is 1; the best 4 s, b b r r, 0.6 / sqrt(0.6) = 0.77; 16 s and all of it 0.467 / 0.803 = 0.58;
    together (1 + 0.77 + 0.58 + 0.5 * 0.58) / 3.5 = 0.76.
    """
    hits = found(colours, "red", by="video")
    assert hits[0] == ("red.mp4", 0.0, 4.0, 1.0)
    assert hits[1][:3] == ("mixed.mp4", 2.0, 4.0)
    assert hits[1][3] == pytest.approx(0.76, abs=0.02)  # a little less, for its length
    assert hits[2] == ("green.mp4", 0.0, 5.0, 0.2)
    assert sorted(found(colours, "red", top=2)) == [("mixed.mp4", 2.0, 4.0, 1.0), ("red.mp4", 0.0, 4.0, 1.0)]


def test_the_moment_is_where_the_colour_is(colours: Any) -> None:
    colours.add("late.mp4", ["white"] * 7 + ["green"] * 3 + ["white"] * 4, step_s=0.5)
    hits = found(colours, "green", by="video")
    assert ("late.mp4", 3.5, 5.0) in [hit[:3] for hit in hits[:2]]
    assert hits[-1][3] < 0.63
    assert ("late.mp4", 3.5, 5.0, 1.0) in found(colours, "green")


def test_by_video_gives_each_video_once_and_by_moment_disjoint_moments(colours: Any) -> None:
    colours.add("twice.mp4", ["red"] * 5 + ["blue"] * 10 + ["red"] * 5)
    names = [hit[0] for hit in found(colours, "red", by="video")]
    assert len(names) == len(set(names)) == 4
    hits = found(colours, "red")
    assert {("twice.mp4", 0.0, 5.0), ("twice.mp4", 15.0, 20.0)} <= {hit[:3] for hit in hits}
    for name in names:
        spans = sorted(hit[1:3] for hit in hits if hit[0] == name)
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_best_first_and_no_more_than_asked(colours: Any) -> None:
    for top in (1, 2, 4):
        hits = found(colours, "red", top=top)
        assert len(hits) <= top
        assert [h[3] for h in hits] == sorted((h[3] for h in hits), reverse=True)


def test_removed_videos_are_not_found_even_by_an_old_index(colours: Any) -> None:
    build_index(colours.store, "toy")
    colours.remove(colours.store.find_video("red.mp4").video_id)
    assert [hit[0] for hit in found(colours, "red", by="video", build=False)] == ["mixed.mp4", "green.mp4"]


def test_only_the_videos_named(colours: Any) -> None:
    green = colours.store.find_video("green").video_id
    assert {hit[0] for hit in found(colours, "red", only=[green])} == {"green.mp4"}
    assert found(colours, "red", only=[]) == []


def test_a_long_video_does_not_win_by_its_length(make_archive: Any) -> None:
    archive = make_archive()
    archive.add("long.mp4", ["magenta"] * 600)
    archive.add("short.mp4", ["blue", "red", "red", "red", "blue"])
    assert [hit[0] for hit in found(archive, "red", by="video")] == ["short.mp4", "long.mp4"]


def test_as_many_moments_of_one_video_as_are_asked_for(make_archive: Any) -> None:
    archive = make_archive()
    archive.add("flashes.mp4", (["blue"] * 47 + ["red"] * 3) * 12)
    hits = found(archive, "red", top=12)
    assert len(hits) == 12
    assert sorted(start % 50 for _, start, _, _ in hits) == [47.0] * 12
    assert len(found(archive, "red", top=4)) == 4


def test_a_long_video_does_not_crowd_the_others_out(make_archive: Any) -> None:
    """The best 1280 frames are all of one video; the others must be found nevertheless."""
    archive = make_archive()
    archive.add("long.mp4", ["red"] * 3000)
    for n in range(4):
        archive.add(f"{n}.mp4", ["pink"] * 3)
    assert len(found(archive, "red", by="video")) == 5


def test_the_shortlist_is_the_best_videos_in_order(make_archive: Any) -> None:
    archive = make_archive()
    ids = [archive.add(f"{c}.mp4", [c] * 3) for c in ("red", "orange", "white", "black", "blue")]
    build_index(archive.store, "toy")
    index = open_index(archive.store, "toy")
    assert index.videos(vector("red"), 3) == ids[:3]
    assert index.videos(vector("red"), 50) == ids


def test_weights_count_in_windows_and_videos_whether_indexed_or_not(make_archive: Any) -> None:
    rng = np.random.default_rng(0)
    archive = make_archive(dim=8, has_text=False, columns=["head_weight"])
    for name in ("indexed", "newer"):
        if name == "newer":
            build_index(archive.store, "toy")
        vectors = rng.normal(size=(40, 8))
        archive.add(
            f"{name}.mp4", vectors, quality={"head_weight": np.where(np.arange(40) % 7, rng.uniform(0, 3, 40), 0)}
        )
    index, query = open_index(archive.store, "toy"), rng.normal(size=8).astype(np.float32)
    spread = np.zeros((4, 1), np.float32)
    for name in ("indexed", "newer"):
        segments = archive.store.segments_of("toy", archive.store.find_video(name).video_id)
        best = []
        for level in index.levels:
            weight = None if level is SEGMENT else segments.weight()
            rows = at_level(segments.embedding.astype(np.float32), segments.start_s, segments.end_s, level, weight)
            best.append([float((rows @ query).max())])
        wanted = video_score(np.array(best, np.float32), 40.0, spread, index.levels)
        seen = look(archive.store, index, str(segments.video_id[0]), query, spread)
        assert seen is not None
        assert seen.score + seen.penalty == pytest.approx(float(wanted[0]), abs=2e-3)
    plain = at_level(segments.embedding.astype(np.float32), segments.start_s, segments.end_s, VIDEO)
    assert abs(float((plain @ query)[0]) - best[-1][0]) > 0.01  # it would have been seen


def test_a_peak_is_the_mean_of_the_best_three_inside(colours: Any) -> None:
    segments = colours.store.segments_of("toy", colours.store.find_video("mixed").video_id)
    scores = np.array([9, 0.1, 0.5, 0.4, 0.3, 9], np.float32)
    assert peak_score(scores, middles(segments.start_s, segments.end_s), Moment(1, 5, 0)) == pytest.approx(0.4)
    assert peak_score(scores, middles(segments.start_s, segments.end_s), Moment(1, 2, 0)) == pytest.approx(0.1)


def test_disjoint_keeps_the_better_of_two_that_overlap() -> None:
    a, b, c = Moment(0, 5, 3), Moment(4, 9, 2), Moment(5, 6, 1)
    assert disjoint([(a, 3.0), (b, 2.0), (c, 1.0)]) == [(a, 3.0), (c, 1.0)]
