"""Which frames make a clip: worked examples, and brute force over every frame as the oracle."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.extract.clips import Clip, ClipMaker, ClipPlan, ClipWish, change, clip_spans, consecutive
from nightreel.extract.errors import UsageError
from nightreel.extract.sample import TOLERANCE_S, Grid, sample


class Frame:
    def __init__(self, time_s: float) -> None:
        self.time_s = time_s


def picture(time_s: float) -> np.ndarray:
    return np.full((1, 1, 3), round(time_s * 10) % 256, np.uint8)


def clips_of(plan: ClipPlan, times_s: Sequence[float], end_s: float | None = None) -> list[Clip]:
    """What comes of a video with frames at these times, sampled as the engine does it."""
    maker, clips = ClipMaker(plan, (48, 64)), []
    for frame, _ in sample([Frame(t) for t in times_s], [plan.grid], end_s):
        clips += maker.push(frame.time_s, picture(frame.time_s))
    return clips + list(maker.finish(max(times_s, default=0.0), end_s))


def shown(clips: Sequence[Clip]) -> list[tuple[float, list[float], int]]:
    return [(clip.start_s, list(clip.times_s), clip.repeated) for clip in clips]


def at_fps(fps: float, seconds: float) -> list[float]:
    return [i / fps for i in range(math.floor(seconds * fps))]


def test_clips_follow_one_another_and_the_tail_repeats_its_last_frame() -> None:
    """10 frames a second for 5 s; 4 frames, half a second apart: 0 to 2, 2 to 4, and a tail of two frames."""
    found = clips_of(consecutive(4, 0.5), at_fps(10, 5), 5.0)
    assert shown(found) == [
        (0.0, [0.0, 0.5, 1.0, 1.5], 0),
        (2.0, [2.0, 2.5, 3.0, 3.5], 0),
        (4.0, [4.0, 4.5, 4.5, 4.5], 2),
    ]
    assert [clip.shown_s for clip in found] == [1.0, 3.0, 4.5]
    assert [int(p[0, 0, 0]) for p in found[1].pictures] == [20, 25, 30, 35]
    assert found[0].source_px == (48, 64)


@pytest.mark.parametrize("fps", [25, 30, 60, 12.5])
def test_a_stride_in_seconds_means_the_same_at_any_frame_rate(fps: float) -> None:
    found = clips_of(consecutive(16, 0.5), at_fps(fps, 16), 16.0)
    assert [clip.start_s for clip in found] == [0.0, 8.0]
    for clip in found:
        expected = clip.start_s + np.arange(16) * 0.5
        assert np.all(expected - np.array(clip.times_s) < 1 / fps)
        assert np.all(np.array(clip.times_s) <= expected + TOLERANCE_S)


def test_clips_may_overlap_or_leave_gaps() -> None:
    times_s = at_fps(10, 4)
    overlapping = clips_of(ClipPlan(4, 0.5, 1.0), times_s, 4.0)
    assert [list(clip.times_s) for clip in overlapping] == [
        [0.0, 0.5, 1.0, 1.5],
        [1.0, 1.5, 2.0, 2.5],
        [2.0, 2.5, 3.0, 3.5],
        [3.0, 3.5, 3.5, 3.5],
    ]
    sparse = clips_of(ClipPlan(2, 0.1, 2.0), times_s, 4.0)
    assert [list(clip.times_s) for clip in sparse] == [[0.0, 0.1], [2.0, 2.1]]


def test_frames_between_sparse_clips_are_not_even_sampled() -> None:
    plan = ClipPlan(2, 0.1, 2.0)
    wanted = [frame.time_s for frame, _ in sample([Frame(t) for t in at_fps(10, 4)], [plan.grid], 4.0)]
    assert wanted == [0.0, 0.1, 2.0, 2.1]


def test_one_frame_makes_one_clip() -> None:
    assert shown(clips_of(consecutive(4, 0.5), [0.0])) == [(0.0, [0.0] * 4, 3)]
    assert shown(clips_of(consecutive(4, 0.5), [0.0], 60.0)) == [(0.0, [0.0] * 4, 0)]  # a slide, shown for a minute
    assert clips_of(consecutive(4, 0.5), []) == []


def test_a_picture_that_stands_still_is_encoded_once_however_long() -> None:
    """A slide is shown from 1 s to 101 s: the clip that is all slide counts once; nothing loops over its length."""
    times_s = [0.0, 0.5, 1.0, 101.0, 101.5, 102.0]
    found = clips_of(consecutive(4, 0.5), times_s, 102.5)
    assert [clip.start_s for clip in found] == [0.0, 2.0, 100.0, 102.0]
    assert list(found[1].times_s) == [1.0] * 4
    assert list(found[2].times_s) == [1.0, 1.0, 101.0, 101.5]
    spans = clip_spans([clip.start_s for clip in found], 2.0, 102.5)
    assert spans.tolist() == [[0.0, 2.0], [2.0, 100.0], [100.0, 102.0], [102.0, 102.5]]


def test_a_header_that_claims_years_costs_nothing() -> None:
    found = clips_of(consecutive(4, 0.5), [0.0, 0.5, 1.0, 1.5], 3e9)
    assert [clip.start_s for clip in found] == [0.0, 2.0]


def test_pictures_are_not_kept_longer_than_their_clip() -> None:
    maker = ClipMaker(ClipPlan(4, 0.5, 1.0), (1, 1))
    for time_s in at_fps(2, 100):
        list(maker.push(time_s, picture(time_s)))
        assert len(maker._held) <= 5


def brute_force(plan: ClipPlan, times_s: Sequence[float], end_s: float | None) -> list[list[float]]:
    """Every clip that begins while a frame is shown, each point served by the last frame not after it; then those that
    stand still as the one before are dropped."""
    until_s = max(times_s[-1] + TOLERANCE_S, (end_s or 0.0) - TOLERANCE_S)
    clips: list[list[float]] = []
    number, frames = 0, plan.frames
    while number == 0 or number / plan.grid.rate < until_s:
        points = [number / plan.grid.rate + i * plan.stride_s for i in range(plan.frames)]
        real = [p for p in points if p < until_s] or points[:1]
        clip = [max((t for t in times_s if t <= p + TOLERANCE_S), default=times_s[0]) for p in real]
        clips.append(clip + clip[-1:] * (frames - len(real)))
        number += 1
    return [c for i, c in enumerate(clips) if i == 0 or len({*c, *clips[i - 1]}) > 1]


@given(
    steps_ms=st.lists(st.integers(5, 900), min_size=1, max_size=60),
    frames=st.integers(1, 6),
    stride_ms=st.integers(20, 700),
    hop_ms=st.integers(100, 4000),
    tail_ms=st.integers(-50, 3000) | st.none(),
)
def test_clips_are_what_looking_at_every_frame_gives(
    steps_ms: list[int], frames: int, stride_ms: int, hop_ms: int, tail_ms: int | None
) -> None:
    # In 1/1000 s and off by a third, so that no time lies on the edge of a tolerance, where both answers are right.
    times_s = (
        np.concatenate([[0], np.cumsum(steps_ms)]) / 1000 + np.array([0.0] + [1 / 3000] * len(steps_ms))
    ).tolist()
    end_s = None if tail_ms is None else times_s[-1] + tail_ms / 1000
    plan = ClipPlan(frames, stride_ms / 1000, hop_ms / 1000)
    found = clips_of(plan, times_s, end_s)
    assert [list(clip.times_s) for clip in found] == brute_force(plan, times_s, end_s)
    spans = clip_spans([clip.start_s for clip in found], plan.span_s, max(times_s[-1] + 0.04, end_s or 0.0))
    assert np.all(spans[:, 0] < spans[:, 1])
    assert np.all(np.diff(spans[:, 0]) > 0)
    assert np.all(spans[1:, 0] <= spans[:-1, 1] + 1e-9)  # nothing between two clips is left to nobody
    assert all(0 <= clip.repeated < max(2, frames) for clip in found)
    assert all(len(set(clip.times_s[frames - clip.repeated - 1 :])) == 1 for clip in found)


@given(time_s=st.floats(0, 50), frames=st.integers(1, 8), stride=st.integers(1, 30), hop=st.integers(1, 90))
def test_a_grid_finds_its_next_point(time_s: float, frames: int, stride: int, hop: int) -> None:
    grid = ClipPlan(frames, stride / 20, hop / 20).grid
    points = sorted({j / grid.rate + i * grid.stride_s for j in range(1200) for i in range(frames)})
    expected = min(p for p in points if p >= time_s - 1e-9)
    assert grid.first_from(time_s) == pytest.approx(expected, abs=2e-9) or grid.first_from(time_s) == pytest.approx(
        min(p for p in points if p >= time_s + 1e-9), abs=2e-9
    )


def test_runs_that_follow_one_another_are_the_plain_grid() -> None:
    plain, runs = Grid(2.0), consecutive(16, 0.5).grid
    for time_s in np.linspace(0, 40, 997).tolist():
        assert plain.first_from(time_s) == runs.first_from(time_s)


def test_spans_of_clips_worked_out() -> None:
    assert clip_spans([0, 8, 24], 8, 27).tolist() == [[0, 8], [8, 24], [24, 27]]
    assert clip_spans([0, 4, 8], 8, 10).tolist() == [[0, 8], [4, 10], [8, 10]]
    assert clip_spans([0.0], 8, 0.0).tolist() == [[0, 0.001]]


PLAN = consecutive(16, 0.5)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        (ClipWish(), PLAN),
        (ClipWish(stride_s=0.25), consecutive(16, 0.25)),
        (ClipWish(length_s=4.0), consecutive(16, 0.25)),
        (ClipWish(length_s=8.0, stride_s=0.5), PLAN),
        (ClipWish(hop_s=2.0), ClipPlan(16, 0.5, 2.0)),
        (ClipWish(length_s=4.0, hop_s=2.0), ClipPlan(16, 0.25, 2.0)),
    ],
)
def test_wishes_change_a_plan(wish: ClipWish, expected: ClipPlan) -> None:
    assert change(PLAN, wish, "videomae") == expected


def test_sparse_clips_stay_sparse_unless_they_grow_together() -> None:
    plan = ClipPlan(9, 0.125, 4.0)
    assert change(plan, ClipWish(stride_s=0.25), "raft") == ClipPlan(9, 0.25, 4.0)
    assert change(plan, ClipWish(stride_s=0.5), "raft") == ClipPlan(9, 0.5, 4.5)
    assert change(plan, ClipWish(hop_s=1.125), "raft") == ClipPlan(9, 0.125, 1.125)


def test_a_network_that_takes_any_number_of_frames_gets_what_length_and_stride_say() -> None:
    plan = consecutive(16, 1 / 15, fewest=2, most=64)
    changed = change(plan, ClipWish(length_s=2.0, stride_s=0.1), "torchvision:r3d_18")
    assert (changed.frames, changed.stride_s, changed.length_s) == (20, 0.1, 2.0)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (ClipWish(length_s=4.0, stride_s=0.5), ["8 frames a clip", "takes 16", "--clip-length 8"]),
        (ClipWish(hop_s=0.0), ["--hop 0", "above 0"]),
        (ClipWish(stride_s=math.nan), ["--stride nan", "above 0"]),
        (ClipWish(length_s=math.inf), ["--clip-length inf", "above 0"]),
    ],
)
def test_wishes_that_cannot_be_granted_say_what_would_be(wish: ClipWish, said: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        change(PLAN, wish, "videomae")
    for words in said:
        assert words in str(caught.value)
