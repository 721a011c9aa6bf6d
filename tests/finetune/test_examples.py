"""Examples: which frames of the archive a pair gets, what is left out and why, captions once, clips by time."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.evaluate.runners.videos import embed_captions
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.errors import UsageError
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer, claim_encoder
from nightreel.finetune.captions.collate import collate
from nightreel.finetune.captions.examples import TEXTS, Examples, build_examples
from nightreel.finetune.captions.footage import Footage, frames_of
from nightreel.finetune.captions.pairs import Pair
from nightreel.search.features import Features


def embed(texts: Sequence[str]) -> np.ndarray:
    return ToyEncoder().encode_text(texts)


def pair(video: str, start_s: float | None, end_s: float | None, caption: str = "red", **facts: Any) -> Pair:
    return Pair(video, start_s, end_s, caption, **facts)


def places(examples: Examples) -> list[tuple[str, int, int]]:
    columns = (examples.video.tolist(), examples.low.tolist(), examples.high.tolist())
    return [(Path(examples.videos[v].path).stem, low, high) for v, low, high in zip(*columns, strict=True)]


def test_a_pair_gets_the_frames_whose_middle_lies_in_its_span(colours: Any) -> None:
    # mixed.mp4 has a frame each second, with middles at 0.5, 1.5, ...
    spans = [(1.0, 3.0), (1.5, 2.5), (1.6, 2.4), (2.0, None), (None, 2.0), (None, None), (5.9, 90.0), (0.5, 0.6)]
    examples = build_examples(colours.store, "toy", [pair("mixed", *span) for span in spans], embed)
    rows = [(1, 3), (1, 2), (1, 2), (2, 6), (0, 2), (0, 6), (5, 6), (0, 1)]
    assert places(examples) == [("mixed", low, high) for low, high in rows]
    assert examples.span.tolist()[3:6] == [[2.0, 6.0], [0.0, 2.0], [0.0, 6.0]]
    frames, mask, clips = collate(examples, [0])
    assert np.allclose(frames[0], embed(["blue", "red"]), atol=1e-3)
    assert mask.tolist() == [[True, True]]
    assert clips is None


def test_names_as_evaluate_matches_them_and_what_is_missing_has_its_line_and_reason(colours: Any) -> None:
    red = colours.store.find_video("red.mp4").video_id
    pairs = [
        pair("red.mp4", None, None),
        pair("blue.mp4", 0, 1, line="p.csv, line 3"),
        pair(red, 0, 1),
        pair("/films/mixed.mp4", 6.5, 7, line="p.csv, line 5"),
        pair("v_green", 0, 1),
    ]
    examples = build_examples(colours.store, "toy", pairs, embed)
    assert places(examples) == [("red", 0, 4), ("red", 0, 1), ("green", 0, 1)]
    assert [(one.line, one.reason) for one in examples.bad] == [
        ("p.csv, line 3", "blue.mp4: no such file"),
        ("p.csv, line 5", "/films/mixed.mp4: the span begins at 6.5 s, after the last frame, which ends at 6 s"),
    ]
    assert examples.loosely == 1


def test_none_that_can_be_used_is_an_error(colours: Any) -> None:
    with pytest.raises(UsageError, match=r"none of 1 pairs can be used.*\n  p, 1: blue: no such file"):
        build_examples(colours.store, "toy", [pair("blue", 0, 1, line="p, 1")], embed)
    with pytest.raises(UsageError, match="no pairs were given"):
        build_examples(colours.store, "toy", [], embed)
    with pytest.raises(UsageError, match="--max-frames 0: expected 1 or more"):
        build_examples(colours.store, "toy", [pair("red", 0, 1)], embed, max_frames=0)


def test_two_videos_of_one_name_are_an_error(colours: Any) -> None:
    colours.add("b/red.mp4", ["red"] * 3)
    with pytest.raises(UsageError, match=r"2 videos of .* are called 'red'"):
        build_examples(colours.store, "toy", [pair("red", 0, 1)], embed)


def test_captions_are_embedded_once_in_batches_as_search_embeds_them(colours: Any) -> None:
    features = Features(colours.store, "toy")
    asked: list[list[str]] = []
    steps: list[tuple[str, int, int]] = []

    def count(texts: Sequence[str]) -> np.ndarray:
        asked.append(list(texts))
        return embed_captions(features, texts)

    captions = [f"a red thing, number {n % (TEXTS + 4)}" for n in range(2 * TEXTS)]
    examples = build_examples(
        colours.store, "toy", [pair("red", 0, 1, c) for c in captions], count, progress=lambda *step: steps.append(step)
    )
    assert [len(texts) for texts in asked] == [TEXTS, 4]
    assert steps == [("frames", 1, 1), ("captions", TEXTS, TEXTS + 4), ("captions", TEXTS + 4, TEXTS + 4)]
    assert len(examples.texts) == TEXTS + 4
    assert np.array_equal(examples.text(), embed_captions(features, captions))
    assert examples.text([0]).dtype == np.float32


def test_a_subset_is_numbered_anew_and_says_the_same(colours: Any) -> None:
    pairs = [pair("red", 0, 2), pair("mixed", 2, 4, "blue"), pair("green", None, None, "green", weight=0.5)]
    whole = build_examples(colours.store, "toy", pairs, embed)
    part = whole.subset([2, 1])
    assert part.pairs == (pairs[2], pairs[1])
    assert places(part) == [places(whole)[2], places(whole)[1]]
    assert part.weight.tolist() == [0.5, 1.0]
    assert np.array_equal(part.text(), whole.text([2, 1]))
    assert np.array_equal(collate(part, [1])[0], collate(whole, [1])[0])
    assert part.sources == ["/films/green.mp4", "/films/mixed.mp4"]
    assert len(whole.subset([])) == 0


def test_several_captions_of_one_span_are_one_thing_to_find(colours: Any) -> None:
    spans = [("green", 0, 2), ("red", 0, 2), ("green", 0, 2), ("green", 0, 3), ("red", 0.2, 1.9)]
    pairs = [pair(*span, f"caption {n}") for n, span in enumerate(spans)]
    first, item = build_examples(colours.store, "toy", pairs, embed).items()
    assert first.tolist() == [0, 1, 3]
    assert item.tolist() == [0, 1, 0, 2, 1]


def test_spans_that_move_take_other_frames_and_stay_where_there_are_none(colours: Any) -> None:
    examples = build_examples(colours.store, "toy", [pair("mixed", 2, 4), pair("red", 0, 2)], embed)
    moved = examples.moved(np.array([[3.0, 5.0], [80.0, 90.0]]))
    assert places(moved) == [("mixed", 3, 5), ("red", 0, 2)]
    assert moved.span.tolist() == [[3.0, 5.0], [0.0, 2.0]]
    assert places(examples) == [("mixed", 2, 4), ("red", 0, 2)]


def test_the_source_that_the_file_says_holds_for_all_pairs_of_the_video(colours: Any) -> None:
    colours.add("NUsG9BgSes0_210.0_360.0.mp4", ["red"] * 3)
    pairs = [pair("red", 0, 1), pair("/films/red.mp4", 1, 2, source="tape"), pair("NUsG9BgSes0_210.0_360.0", 0, 1)]
    assert build_examples(colours.store, "toy", pairs, embed).sources == ["tape", "tape", "NUsG9BgSes0"]


def broken(archive: Any, name: str, vectors: np.ndarray) -> None:
    """A video with vectors as they are, which `extract` would not write."""
    video_id = sys.modules["archives"].id_of(name)
    segments = sys.modules["archives"].segments_for(video_id, np.ones_like(vectors))
    writer = Writer(archive.store)
    row = VideoRow(video_id, path=f"/films/{name}", status="done")
    writer.add(row, {archive.slug: replace(segments, embedding=vectors.astype(np.float16))})
    writer.commit()


def test_frames_without_a_direction_are_masked_and_spans_of_nothing_else_left_out(colours: Any) -> None:
    dim = ToyEncoder().dim
    vectors = np.tile(embed(["red"]), (6, 1))
    vectors[[1, 4, 5]] = np.zeros(dim)
    vectors[2, 0] = np.nan
    broken(colours, "bad.mp4", vectors)
    pairs = [pair("bad", 0, 4), pair("bad", 4, 6, line="p, 2"), pair("red", 0, 4), pair("bad", 1, 4)]
    examples = build_examples(colours.store, "toy", pairs, embed, max_frames=4)
    assert [one.line for one in examples.bad] == ["p, 2"]
    assert "no frame of the span has a direction" in examples.bad[0].reason
    frames, mask, _ = collate(examples, [0, 1, 2])
    assert mask.tolist() == [[True, False, False, True], [True] * 4, [False, False, True, False]]
    assert frames.isfinite().all()
    assert not frames[~mask].any()
    one, there, _ = collate(examples.subset([2]), [0], np.random.default_rng(0))
    assert there.sum() == 1
    few = build_examples(colours.store, "toy", pairs, embed, max_frames=1)  # the middle of 0..4 is a bad one
    one, there, _ = collate(few, [0])
    assert there.tolist() == [[True]]
    assert np.allclose(one[0, 0], embed(["red"])[0], atol=1e-3)


def test_clips_join_by_time_and_are_zero_where_none_lies_over_a_frame(colours: Any) -> None:
    claim_encoder(colours.store, "motion", {**colours.store.encoders()["toy"], "spec": "motion", "dim": 8})
    video = colours.store.find_video("mixed.mp4")
    made = sys.modules["archives"].segments_for(video.video_id, np.eye(2, 8), 2.0, length_s=2.0)  # [0, 2), [2, 4)
    writer = Writer(colours.store)
    writer.add_segments("motion", made)
    writer.commit()
    pairs = [pair("mixed", 1, 6), pair("red", 0, 2)]
    examples = build_examples(colours.store, "toy", pairs, embed, clips="motion")
    frames, mask, clips = collate(examples, [0, 1])
    assert clips is not None
    assert clips.shape == (2, 5, 8)
    assert clips[0].argmax(1).tolist() == [0, 1, 1, 0, 0]
    assert clips[0].sum(1).tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]  # no clip over [4, 6)
    assert not clips[1].any()  # no clips of this video
    assert frames.shape[:2] == mask.shape == (2, 5)


edges = st.lists(st.floats(0.1, 9.0), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(edges, st.floats(0, 60) | st.none(), st.floats(0.01, 60) | st.none())
def test_every_frame_of_a_span_lies_in_it_and_no_other_does(
    lengths_s: list[float], start_s: float | None, length_s: float | None
) -> None:
    ends = np.cumsum(lengths_s)
    video = Footage("v", "v.mp4", "v", ends - np.array(lengths_s), ends)
    end_s = None if length_s is None else (start_s or 0.0) + length_s
    found = frames_of(video, start_s, end_s)
    begin_s, stop_s = start_s or 0.0, ends[-1] if end_s is None else end_s
    if isinstance(found, str):
        assert begin_s >= ends[-1]
        return
    low, high = found
    assert 0 <= low < high <= len(ends)
    middles = (video.start_s + video.end_s) / 2
    inside = [at for at, middle in enumerate(middles) if begin_s <= middle < stop_s]
    centre = (begin_s + stop_s) / 2
    if inside:
        assert list(range(low, high)) == inside
    else:
        assert high == low + 1
        assert abs(middles[low] - centre) == min(abs(middles - centre))
