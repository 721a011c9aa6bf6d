"""`A then B` in stored videos whose answers are known."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel import Archive
from nightreel.extract.errors import UsageError
from nightreel.extract.videos import VideoRow
from nightreel.search.grounding import Grounding
from nightreel.search.moment import Moment
from nightreel.search.search import Hit
from nightreel.search.then import cores, find_in_order, least, stand_ins, standing

FILM = ["blue"] * 4 + ["red"] * 3 + ["black"] * 5 + ["green"] * 4 + ["black"] * 14 + ["red"] * 5 + ["black"] * 3


@pytest.fixture
def archive(make_archive: Any) -> Archive:
    made = make_archive()
    made.add("film.mp4", FILM)
    made.add("redder.mp4", ["black", "red", "black", "orange", "black"])
    made.add("falling.mp4", np.array([[x, 1 - x, 0, 0] for x in np.linspace(0, 1, 12)]))
    made.add("still.mp4", ["red"])
    made.add("flat.mp4", ["green"] * 6)
    return Archive(made.root)


@pytest.fixture
def sure_of_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment's confidence is its inner product here: what follows from confidences is tested, not they."""

    def hits(_: Any, row: VideoRow, query: Any, found: list[Moment], __: Any, vectors: Any) -> list[Hit]:
        scores = vectors @ query
        seen = [scores[int(moment.start_s) : int(moment.end_s)].max() for moment in found]
        spans = [(moment.start_s, moment.end_s, moment.score) for moment in found]
        return [Hit(i, row.video_id, row.path, *spans[i], float(sure)) for i, sure in enumerate(seen)]

    monkeypatch.setattr("nightreel.search.then.hits_of", hits)


def spans(found: Grounding) -> list[list[tuple[float, float]]]:
    return [[(hit.start_s, hit.end_s) for hit in one.moments] for one in found.sequences]


def test_the_order_decides_which_of_two(archive: Archive) -> None:
    assert spans(archive.ground("film.mp4", "red", then="green", top=1)) == [[(4.0, 7.0), (12.0, 16.0)]]
    assert spans(archive.ground("film.mp4", "green", then="red", top=1)) == [[(12.0, 16.0), (30.0, 35.0)]]


@pytest.mark.usefixtures("sure_of_colours")
def test_three_and_the_same_twice(archive: Archive) -> None:
    found = archive.ground("film.mp4", "red", then=["green", "red"], top=1)
    assert spans(found) == [[(4.0, 7.0), (12.0, 16.0), (30.0, 35.0)]]
    assert [hit.rank for hit in found.moments] == [1, 2, 3]
    assert found.moments == found.sequences[0].moments
    assert found.sequences[0].confidence == min(hit.confidence or 0.0 for hit in found.moments) > 0.9
    assert spans(archive.ground("film.mp4", "red", then=["red"], top=1)) == [[(4.0, 7.0), (30.0, 35.0)]]


def test_within_takes_the_near_one(archive: Archive) -> None:
    far, near = [(12.0, 16.0), (30.0, 35.0)], [(4.0, 7.0), (12.0, 16.0)]
    assert spans(archive.ground("film.mp4", "green", then="red", within_s=14, top=1)) == [far]
    (green, red), *_ = spans(archive.ground("film.mp4", "green", then="red", within_s=3, top=1))
    assert 0 <= red[0] - green[1] <= 3
    assert spans(archive.ground("film.mp4", "red", then="green", within_s=5, top=1)) == [near]


@pytest.mark.usefixtures("sure_of_colours")
def test_the_wrong_order_still_answers_and_says_so(archive: Archive) -> None:
    found = archive.ground("film.mp4", "green", then="blue")
    (green, blue), *_ = spans(found)
    assert green[1] <= blue[0]
    assert found.no_match
    assert found.notes == ("No match in this order: what fits the sentences does not come one after the other.",)
    assert found.sequences[0].confidence is not None
    assert found.sequences[0].confidence < 0.5
    assert not archive.ground("film.mp4", "blue", then="green").no_match
    limited = archive.ground("film.mp4", "green", then="red", within_s=2)
    assert limited.notes[0].startswith("No match in this order within 2 s:")


def test_pieces_that_stand_in_are_no_match_whatever_is_known_of_chance(archive: Archive) -> None:
    found = archive.ground("falling.mp4", "red", then="green")  # the best is at the end, and at the beginning
    (red, green), *_ = spans(found)
    assert red[1] <= green[0]
    assert found.sequences[0].score < 0
    assert found.no_match
    assert found.notes[0].startswith("No match")


@pytest.mark.usefixtures("sure_of_colours")
def test_a_sentence_that_is_nowhere_is_named(archive: Archive) -> None:
    found = archive.ground("redder.mp4", "red", then="blue")
    assert found.no_match
    assert found.notes == ("No match: nothing for 'blue' is better than what other videos of the archive show.",)


def test_one_segment_has_no_order(archive: Archive) -> None:
    found = archive.ground("still.mp4", "red", then="red", within_s=1)
    assert found.sequences == found.moments == []
    assert found.no_match
    assert found.notes == ("No match: the video's 1 segment cannot hold 2 moments in order at most 1 s apart.",)


def test_where_nothing_stands_out_pieces_stand_in(archive: Archive) -> None:
    found = archive.ground("flat.mp4", "green", then="green", top=1)
    assert spans(found) == [[(0.0, 1.0), (1.0, 2.0)]]
    assert found.no_match


def test_it_is_the_same_every_time_and_one_sentence_is_as_ever(archive: Archive) -> None:
    assert archive.ground("film.mp4", "red", then="blue") == archive.ground("film.mp4", "red", then=["blue"])
    alone = archive.ground("film.mp4", "red", then=())
    assert alone == archive.ground("film.mp4", "red")
    assert alone.sequences == []


def test_the_curves_are_inner_products(archive: Archive) -> None:
    red, blue = archive.ground("film.mp4", "red", then="blue").curves
    assert (red.text, blue.text) == ("red", "blue")
    assert red.start_s.tolist() == list(range(38))
    assert np.allclose(red.scores[[0, 4, 7]], [0.2, 1, 0.447], atol=1e-3)
    (alone,) = archive.ground("film.mp4", "red").curves
    assert np.array_equal(alone.scores, red.scores)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"within_s": 5.0}, "--within 5 limits .* got one sentence. Add .* --then"),
        ({"within_s": -1.0, "then": "red"}, "--within -1: expected seconds, at least 0"),
        ({"within_s": float("nan"), "then": "red"}, "--within nan"),
        ({"then": ""}, "sentence is empty"),
    ],
)
def test_wrong_questions(archive: Archive, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        archive.ground("film.mp4", "red", **options)


@given(st.integers(2, 12), st.integers(2, 3), st.integers(0, 2**16))
def test_there_is_an_answer_wherever_there_are_segments_enough(count: int, asked: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, queries = (rng.normal(size=(n, 3)).astype(np.float32) for n in (count, asked))
    start_s = np.arange(count) * 2.0
    candidates, picked, _ = find_in_order(vectors, start_s, start_s + 2, queries, 3, within_s=0.0)
    if asked > count:
        assert picked == []
        return
    for one in picked:
        chosen = [moments[i] for moments, i in zip(candidates, one.picks, strict=True)]
        assert all(a.end_s == b.start_s for a, b in pairwise(chosen))  # within 0 s
    assert picked


def test_a_core_is_what_stands_out_of_a_moment() -> None:
    start_s = np.arange(10) * 1.0
    scores = [0, 0, 9, 3, 9, 0, 0, 0, 0, 0]  # half of the best stands above the middle one
    moments = [Moment(0, 10, 1.0), Moment(2, 5, 1.0), Moment(3, 8, 1.0), Moment(5, 8, 1.0)]
    found = cores(moments, scores, start_s, start_s + 1)
    assert found.tolist() == [[2, 5], [2, 5], [4, 5], [5, 8]]


def test_pieces_stand_in_below_what_is_found() -> None:
    start_s = np.arange(6) * 1.0
    pieces = stand_ins([0, 0, 0, 0, 3, 3], start_s, start_s + 1, below=-2.0, most=3)
    assert [(p.start_s, p.end_s) for p in pieces] == [(0, 2), (2, 4), (4, 6)]
    # z is -1/sqrt(2) and sqrt(2)
    assert [p.score for p in pieces] == pytest.approx([-3 - 1.5 * 2**0.5, -3 - 1.5 * 2**0.5, -3.0])


def test_standing_needs_no_scale_and_no_sign() -> None:
    moments = [Moment(0, 1, score) for score in (-1.0, -2.0, -3.0, -4.0, -9.0)]
    assert standing(moments, 5) == [1.0, 0.5, 0.0, -0.5, -3.0]
    assert standing(moments, 3) == [1.0, 0.0, -1.0, -2.0, -7.0]
    assert standing(moments[:1], 1) == [1.0]


def test_a_chain_is_as_certain_as_its_least_certain_link() -> None:
    assert least([0.9, 0.2, 0.6]) == 0.2
    assert least([0.9, None]) is None
