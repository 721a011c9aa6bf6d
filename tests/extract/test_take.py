"""What an encoder gets of one video and gives back: rows with columns and labels, clips with spans."""

import numpy as np
import pytest
from nightreel.extract.batches import Batches, Fit, likeliest
from nightreel.extract.clips import Clip, ClipPlan, consecutive
from nightreel.extract.encoders.base import Clips, Features
from nightreel.extract.errors import VideoError
from nightreel.extract.geometry import Geometry
from nightreel.extract.segment import Segments
from nightreel.extract.take import ClipTake, Kind, Row, Rows, Take, take_of

PLAN = consecutive(2, 0.5)
KIND = Kind(("luma", "variance", "steps"), PLAN)


class Counting:
    """Embeds a clip as (its first grey value, 1); measures the difference to its last; says what it looks like."""

    spec, dim, columns, labels = "counting", 2, ("steps",), ("dark", "light")
    geometry, plan = Geometry((2, 2), "squash"), PLAN

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def fingerprint(self) -> dict[str, object]:
        return {"dim": 2}

    def encode_clips(self, clips: Clips) -> Features:
        self.sizes.append(len(clips))
        first, last = (clips.frames[:, at].mean(axis=(1, 2, 3)) for at in (0, -1))
        vectors = np.stack([first, np.ones(len(clips))], axis=1)
        light = first / 255
        return Features(
            (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
            {"steps": (last - first).astype(np.float32)},
            np.stack([1 - light, light], axis=1).astype(np.float32),
        )


def grey(value: int) -> np.ndarray:
    return np.full((2, 2, 3), value, np.uint8)


def filled(take: ClipTake, values: list[int], labels: int = 0) -> Segments:
    """A frame every half second, of these grey values, through the encoder."""
    fit = Fit(Counting(), 4, labels)
    for i, value in enumerate(values):
        for index, clip in take.push(i / 2, grey(value), (48, 64)):
            take.deliver(index, fit.encode([clip])[0])
    for index, clip in take.finish((len(values) - 1) / 2, len(values) / 2):
        take.deliver(index, fit.encode([clip])[0])
    segments = take.segments("v", len(values) / 2)
    assert segments is not None
    return segments


def test_clips_become_segments_with_columns() -> None:
    segments = filled(ClipTake(KIND), [0, 10, 20, 40, 60])
    assert segments.start_s.tolist() == [0, 1, 2]
    assert segments.end_s.tolist() == [1, 2, 2.5]
    assert segments.time_s.tolist() == [0.5, 1.5, 2.0]
    assert segments.quality["steps"].tolist() == [10, 20, 0]
    assert segments.quality["repeated"].tolist() == [0, 0, 1]
    assert segments.quality["luma"].tolist() == [5, 30, 60]
    assert segments.quality["variance"].tolist() == [0, 0, 0]
    assert segments.labels is None
    assert KIND.segment_columns == ("luma", "variance", "steps", "repeated")


def test_the_likeliest_labels_are_kept_where_they_are_asked_for() -> None:
    segments = filled(ClipTake(KIND), [0, 0, 255, 255], labels=1)
    assert segments.labels is not None
    assert segments.labels.tolist() == [(("dark", 1.0),), (("light", 1.0),)]
    table = segments.to_table()
    again = Segments.from_table(table)
    assert again.labels is not None
    assert again.labels.tolist() == segments.labels.tolist()
    assert table.column("labels").to_pylist()[1] == [{"label": "light", "probability": 1.0}]


def test_likeliest_of_equal_ones_is_the_first_named() -> None:
    chances = np.array([[0.2, 0.4, 0.4], [0.5, 0.3, 0.2]], np.float32)
    found = likeliest(chances, ["a", "b", "c"], 2)
    assert [[name for name, _ in labels] for labels in found] == [["b", "c"], ["a", "b"]]
    assert likeliest(chances, ["a", "b", "c"], 9)[1][2][0] == "c"


def test_what_comes_before_the_first_missing_clip_is_kept() -> None:
    take = ClipTake(KIND)
    fit = Fit(Counting(), 4)
    for i in range(7):
        for index, clip in take.push(i / 2, grey(i), (1, 1)):
            fault = VideoError("encoder", "broken", stage="encode")
            take.deliver(index, fault if index == 1 else fit.encode([clip])[0])
    segments = take.segments("v", 3.5)
    assert segments is not None
    assert segments.start_s.tolist() == [0]
    assert segments.quality["repeated"].tolist() == [0]
    assert take.fault is not None


def test_pictures_may_change_once_they_are_pushed() -> None:
    take, picture = ClipTake(KIND), grey(10)
    list(take.push(0.0, picture, (1, 1)))
    picture[:] = 99
    list(take.push(0.5, picture, (1, 1)))
    (_, clip), *_ = take.finish(0.5, 1.0)
    assert [int(p[0, 0, 0]) for p in clip.pictures] == [10, 99]


def test_a_take_is_of_its_kind() -> None:
    assert type(take_of(Kind())) is Take
    assert type(take_of(KIND)) is ClipTake
    assert ClipTake(KIND).segments("v", 1.0) is None


def test_rows_come_in_any_order() -> None:
    rows = Rows()
    for index in (3, 0, 1, 2):
        labels = (("x", 0.5),) if index == 3 else None
        rows.put(index, Row(np.array([index, 1], np.float16), np.array([index * 10], np.float32), labels))
    assert rows.has([0, 3, 4]).tolist() == [True, True, False]
    assert rows.vectors([0, 1, 2, 3])[:, 0].tolist() == [0, 1, 2, 3]
    assert rows.columns([0, 0, 3])[:, 0].tolist() == [0, 0, 30]
    found = rows.labels([0, 3])
    assert found is not None
    assert found.tolist() == [(), (("x", 0.5),)]


@pytest.mark.parametrize(("size", "expected"), [(32, [4, 1]), (8, [4, 1]), (2, [1] * 5), (1, [1] * 5)])
def test_a_batch_counts_the_pictures_of_clips(size: int, expected: list[int]) -> None:
    """Of clips of 2 frames: 8 pictures are 4 clips; one clip at least."""
    encoder, take = Counting(), ClipTake(KIND)
    frames = {"counting": 8 if size == 32 else 2}
    with Batches({"counting": encoder}, size, frames) as batches:
        for number in range(5):
            clip = Clip(number, [grey(number), grey(0)], [number, number + 0.5], (1, 1))
            take.waiting += 1
            batches.add("counting", take, number, clip)
        batches.flush()
        while take.waiting:
            batches.deliver(1.0)
    assert encoder.sizes == expected


def test_sparse_clips_stand_for_what_follows_them() -> None:
    segments = filled(ClipTake(Kind(KIND.columns, ClipPlan(2, 0.5, 2.0))), [1, 2, 3, 4, 5, 6])
    assert segments.start_s.tolist() == [0, 2]
    assert segments.end_s.tolist() == [2, 3]


def test_columns_that_an_archive_does_not_declare_are_not_written() -> None:
    segments = filled(ClipTake(KIND), [0, 10, 20]).with_columns(["repeated", "other"])
    assert list(segments.quality) == ["repeated", "other"]
    assert segments.quality["repeated"].tolist() == [0, 1]
    assert np.isnan(segments.quality["other"]).all()
