"""Charades-STA, ActivityNet, TACoS, DiDeMo and QVHighlights: spans in seconds, and what becomes of those that are none."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.evaluate.readers import read_dataset
from nightreel.evaluate.readers.didemo import agreed
from nightreel.evaluate.readers.files import Notes
from nightreel.evaluate.readers.spans import BEFORE, CUT, EMPTY, OUTSIDE, span_of
from nightreel.evaluate.records import Dataset, Note, Query, Source
from nightreel.extract.errors import UsageError


def read(folder: Path, name: str, file: str, content: Any, **options: Path) -> Dataset:
    path = folder / file
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_dataset("grounding", name, path, **options)


@pytest.mark.parametrize(
    ("start", "end", "duration_s", "span", "note"),
    [
        (1, "2.5", None, (1.0, 2.5), None),
        (1, 2, 2, (1.0, 2.0), None),
        (2, 2, 9, None, EMPTY),
        (3, 2, None, None, EMPTY),
        (9, 10, 9, None, OUTSIDE),
        (-3, -1, None, None, OUTSIDE),
        (8, 10, 9, (8.0, 9.0), CUT),
        (-1, 2, None, (0.0, 2.0), BEFORE),
    ],
)
def test_spans_that_are_none(start: Any, end: Any, duration_s: Any, span: Any, note: str | None) -> None:
    notes = Notes()
    assert span_of(Path("f"), "line 1", start, end, duration_s, notes) == span
    assert notes.taken() == ((Note(note, 1, "line 1"),) if note else ())


@settings(deadline=None)
@given(
    start=st.floats(-20, 50), end=st.floats(-20, 50), duration_s=st.floats(0.1, 40), per_s=st.sampled_from([1, 29.4])
)
def test_a_span_is_within_the_video_or_noted(start: float, end: float, duration_s: float, per_s: float) -> None:
    notes = Notes()
    span = span_of(Path("f"), "line 1", start, end, duration_s, notes, per_s)
    if span is not None:
        Query("q", "text", "v", spans=(span,), duration_s=duration_s)
    assert notes.taken() or span == (start / per_s, end / per_s)


CHARADES = (
    "3MSZA 24.3 30.4##person turn a light on.\n3MSZA 0.0 5##a person ## sits.\r\n\nAO8RW 9 6.9##x.\nAO8RW 30.1 40##y.\n"
)


def test_charades(tmp_path: Path) -> None:
    dataset = read(tmp_path, "charades", "charades_sta_test.txt", CHARADES)
    assert dataset.queries == (
        Query("3MSZA#0", "person turn a light on.", "3MSZA", ((24.3, 30.4),)),
        Query("3MSZA#1", "a person ## sits.", "3MSZA", ((0.0, 5.0),)),
        Query("AO8RW#1", "y.", "AO8RW", ((30.1, 40.0),)),  # its id does not move because the line before is left out
    )
    assert dataset.sources == (Source("charades_sta_test.txt", 4, (Note(EMPTY, 1, "line 4"),)),)


def test_charades_with_the_lengths(tmp_path: Path) -> None:
    table = tmp_path / "Charades_v1_test.csv"
    table.write_text('id,subject,script,length\n3MSZA,A,"a, b",30.0\nAO8RW,B,c,30.08\n')
    dataset = read(tmp_path, "charades", "charades_sta_test.txt", CHARADES, durations=table)
    assert [(query.query_id, query.spans, query.duration_s) for query in dataset.queries] == [
        ("3MSZA#0", ((24.3, 30.0),), 30.0),
        ("3MSZA#1", ((0.0, 5.0),), 30.0),
    ]
    assert dataset.sources[0].notes == (Note(CUT, 1, "line 1"), Note(EMPTY, 1, "line 4"), Note(OUTSIDE, 1, "line 5"))
    table.write_text("id,length\n3MSZA,30.0\n")
    with pytest.raises(UsageError, match=r"line 4: got AO8RW; expected a video that Charades_v1_test.csv names"):
        read(tmp_path, "charades", "charades_sta_test.txt", CHARADES, durations=table)
    table.write_text("id,length\n3MSZA,0\n")
    with pytest.raises(UsageError, match=r"line 2: got 0; expected a duration above 0 seconds"):
        read(tmp_path, "charades", "charades_sta_test.txt", CHARADES, durations=table)


@pytest.mark.parametrize("line", ["3MSZA 24.3 30.4 no marks", "3MSZA 24.3##x", "a b c d##x", "##x"])
def test_charades_of_another_shape(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"line 2: got .*; expected `VIDEO START END##SENTENCE`"):
        read(tmp_path, "charades", "a.txt", "3MSZA 24.3 30.4##x.\n" + line)


@pytest.mark.parametrize("start", ["x", "nan", "inf", "1e999"])
def test_charades_times_are_numbers(tmp_path: Path, start: str) -> None:
    with pytest.raises(UsageError, match=rf"line 1: got {start}; expected a number \(start\)"):
        read(tmp_path, "charades", "a.txt", f"3MSZA {start} 30.4##x.\n")


def test_activitynet(tmp_path: Path) -> None:
    entry = {
        "duration": 82.73,
        "timestamps": [[0.83, 19.86], [60.81, 17.37], [56.26, 90]],
        "sentences": ["A young woman.", " The girl.", " She ends."],
    }
    dataset = read(tmp_path, "activitynet", "val_1.json", {"v_QOlSCBRmfWY": entry})
    assert dataset.queries == (
        Query("v_QOlSCBRmfWY#0", "A young woman.", "v_QOlSCBRmfWY", ((0.83, 19.86),), 82.73),
        Query("v_QOlSCBRmfWY#2", "She ends.", "v_QOlSCBRmfWY", ((56.26, 82.73),), 82.73),
    )
    assert dataset.sources == (
        Source("val_1.json", 3, (Note(EMPTY, 1, "v_QOlSCBRmfWY[1]"), Note(CUT, 1, "v_QOlSCBRmfWY[2]"))),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"duration": 0}, "v_a.duration: got 0; expected a duration above 0 seconds"),
        ({"duration": True}, r"v_a.duration: got True; expected a number"),
        ({"sentences": ["x", "y"]}, "v_a: got 1 timestamps and 2 sentences"),
        ({"sentences": [3]}, r"v_a\[0\]: got 3; expected a sentence"),
        ({"timestamps": [[1, 2, 3]]}, r"v_a\[0\]: got \[1, 2, 3\]; expected a span \[start, end\]"),
        ({"timestamps": {"0": 1}}, "v_a: got .*; expected a list under 'timestamps'"),
    ],
)
def test_activitynet_of_another_shape(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    entry = {"duration": 9, "timestamps": [[1, 2]], "sentences": ["x"], **change}
    with pytest.raises(UsageError, match=message):
        read(tmp_path, "activitynet", "a.json", {"v_a": entry})


def test_tacos_frames_are_seconds(tmp_path: Path) -> None:
    entry = {
        "timestamps": [[147, 294], [5880, 7346], [7346, 8000]],
        "sentences": ["She took out kiwi", " She peeled it", "gone"],
        "fps": 29.4,
        "num_frames": 7346,
    }
    dataset = read(tmp_path, "tacos", "test.json", {"s30-d52.avi": entry})
    assert dataset.queries == (
        Query("s30-d52#0", "She took out kiwi", "s30-d52", ((147 / 29.4, 294 / 29.4),), 7346 / 29.4),
        Query("s30-d52#1", "She peeled it", "s30-d52", ((200.0, 7346 / 29.4),), 7346 / 29.4),
    )
    assert dataset.queries[0].spans[0] == (pytest.approx(5), pytest.approx(10))
    assert dataset.sources == (Source("test.json", 3, (Note(OUTSIDE, 1, "s30-d52.avi[2]"),)),)
    with pytest.raises(UsageError, match=r"s30-d52.avi: got fps 0 and num_frames 7346; expected both above 0"):
        read(tmp_path, "tacos", "test.json", {"s30-d52.avi": {**entry, "fps": 0}})


def test_didemo(tmp_path: Path) -> None:
    entries = [
        {
            "annotation_id": 5,
            "video": "1@N00_2_ab.mov",
            "description": "jumps",
            "times": [[0, 5], [1, 1], [1, 2], [1, 2]],
        },
        {"annotation_id": 9, "video": "1@N00_2_ab.mov", "description": "lands", "times": [[3, 2]], "num_segments": 6},
        {"annotation_id": 7, "video": "1@N00_2_ab.mov", "description": "sits", "times": [[3, 2], [5, 5]]},
    ]
    dataset = read(tmp_path, "didemo", "test_data.json", entries)
    assert dataset.queries == (
        Query("5", "jumps", "1@N00_2_ab", ((5.0, 15.0),)),
        Query("7", "sits", "1@N00_2_ab", ((25.0, 30.0),)),
    )
    assert dataset.sources == (Source("test_data.json", 3, (Note(EMPTY, 1, "entry 1"),)),)
    for times in ([[0.5, 1]], [[-1, 1]], [[True, 1]], [["0", 1]], [[0, 720]]):
        with pytest.raises(UsageError, match=r"entry 0: got \[.*\]; expected chunk numbers \[first, last\] from 0"):
            read(tmp_path, "didemo", "a.json", [{**entries[0], "times": times}])


def test_the_span_that_people_agree_on() -> None:
    assert agreed([(0, 0), (2, 2), (2, 2)]) == (2, 2)
    assert agreed([(3, 3), (1, 1)]) == (1, 1)  # no one agrees: the earlier
    assert agreed([(0, 0), (0, 1)]) == (0, 0)  # as good: the shorter
    # (0, 5) holds all of them, but means little: IoU 1 + 1/6 + 2/6 + 1/6; (1, 2) has 2/6 + 1/2 + 1 + 1/2.
    assert agreed([(0, 5), (1, 1), (1, 2), (2, 2)]) == (1, 2)


QVH = {"qid": 8737, "query": "A family plays.", "duration": 126, "vid": "bP5KfdFJzC4_660.0_810.0"}


def test_qvhighlights(tmp_path: Path) -> None:
    lines = [
        {**QVH, "relevant_windows": [[0, 16], [120, 128]], "relevant_clip_ids": [0], "saliency_scores": [[4, 1, 1]]},
        {**QVH, "qid": 2},
        {**QVH, "qid": 3, "relevant_windows": [[5, 5]]},
    ]
    dataset = read(tmp_path, "qvhighlights", "val.jsonl", "\r\n".join(map(json.dumps, lines)))
    video = "bP5KfdFJzC4_660.0_810.0"
    assert dataset.queries == (
        Query("8737", "A family plays.", video, ((0.0, 16.0), (120.0, 126.0)), 126.0),
        Query("2", "A family plays.", video, (), 126.0),
    )
    assert [(note.count, note.first) for note in dataset.sources[0].notes] == [
        (1, "line 1"),
        (1, "line 2"),
        (1, "line 3"),
        (1, "line 3"),
    ]
    with pytest.raises(UsageError, match="line 1: got None; expected a number"):
        read(tmp_path, "qvhighlights", "val.jsonl", '{"qid": 1, "vid": "a", "query": "b"}')


def test_the_real_qvhighlights(shared_data: Path) -> None:
    path = shared_data / "qvh" / "queries.jsonl"
    dataset = read_dataset("grounding", "qvhighlights", path)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert dataset.sources == (Source("queries.jsonl", 752),)  # nothing cut, nothing left out
    assert len(dataset.videos) == 735
    for query, entry in zip(dataset.queries, entries, strict=True):
        assert query == Query(
            str(entry["qid"]),
            entry["query"].strip(),
            entry["vid"],
            tuple((float(start), float(end)) for start, end in entry["relevant_windows"]),
            float(entry["duration"]),
        )


def test_reading_is_linear(tmp_path: Path) -> None:
    """10 000 videos as in ActivityNet Captions: a quadratic step would take minutes, this takes half a second."""
    entry = {"duration": 82.73, "timestamps": [[0.83, 19.86]] * 4, "sentences": ["A young woman is seen."] * 4}
    began = time.perf_counter()
    dataset = read(tmp_path, "activitynet", "train.json", {f"v_{number:011d}": entry for number in range(10_000)})
    assert len(dataset.queries) == 40_000
    assert len(dataset.of_videos(dataset.videos).queries) == 40_000
    assert time.perf_counter() - began < 20
