"""Records are checked where they are made."""

import math
from typing import Any

import pytest
from nightreel.evaluate.records import Dataset, Labelled, Note, Query, Source, bare_name
from nightreel.extract.errors import UsageError

QUERY = Query("1", "a dog", "v")


@pytest.mark.parametrize(
    "change",
    [
        {"query_id": ""},
        {"text": " "},
        {"video": ""},
        {"duration_s": 0.0},
        {"duration_s": math.nan},
        {"duration_s": math.inf},
        {"spans": ((2.0, 2.0),)},
        {"spans": ((0.0, 1.0), (-1.0, 2.0))},
        {"spans": ((0.0, math.inf),)},
        {"spans": ((math.nan, 1.0),)},
        {"spans": ((0.0, 9.1),), "duration_s": 9.0},
    ],
)
def test_queries_that_are_none(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"blank|expected"):
        Query(**{"query_id": "1", "text": "a dog", "video": "v", **change})


def test_labels_that_are_none() -> None:
    for video, label in (("", "a"), ("v", " ")):
        with pytest.raises(ValueError, match="blank"):
            Labelled(video, label)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "0 queries and 0 labels"),
        ({"queries": (QUERY,), "labelled": (Labelled("v", "a"),)}, "1 queries and 1 labels"),
        ({"queries": (QUERY, QUERY)}, "not unique"),
        ({"labelled": (Labelled("v", "a"),), "classes": ("a", "a")}, "class names are not unique"),
        ({"labelled": (Labelled("v", "a"),), "classes": ("b",)}, "label 'a' is not among the 1 classes"),
    ],
)
def test_datasets_that_are_none(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dataset("d", **facts)


def test_parts_of_a_dataset() -> None:
    queries = (
        Query("1", "a", "v", split="train"),
        Query("2", "b", "w", split="val"),
        Query("3", "c", "v", split="train"),
    )
    dataset = Dataset("d", queries, sources=(Source("f", 3),))
    assert dataset.videos == ["v", "w"]
    assert dataset.splits == ["train", "val"]
    assert dataset.only("train").queries == (queries[0], queries[2])
    assert dataset.of_videos(["folder/w.mp4"]).queries == (queries[1],)
    with pytest.raises(UsageError, match="split 'test' of d: no such split; expected one of train, val"):
        dataset.only("test")
    with pytest.raises(UsageError, match=r"got a list of 2 videos, 1 of them without annotations \(x\).*such as v"):
        dataset.of_videos(["v", "x"])
    with pytest.raises(UsageError, match="a list of 0 videos"):
        dataset.of_videos([])


def test_what_a_source_says() -> None:
    source = Source("a.txt", 9, (Note("lines left out: they are odd", 2, "line 3"),))
    assert str(source) == "a.txt: 9 entries; 2 lines left out: they are odd (first: line 3)"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "v_ApplyEyeMakeup_g08_c01"),
        ("bP5KfdFJzC4_660.0_810.0", "bP5KfdFJzC4_660.0_810.0"),
        ("C:\\a\\b.MP4 ", "b"),
        ("a.b.mkv", "a.b"),
        (".mp4", ".mp4"),
        ("", ""),
    ],
)
def test_bare_names(path: str, name: str) -> None:
    assert bare_name(path) == name
