"""Which frames are sampled and which spans they stand for: worked examples, then properties."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.decode.base import DecodedFrame
from nightreel.extract.sample import TOLERANCE_S, Clock, Grid, sample, spans


def sampled(times: list[float], fps: float, end_s: float | None = None) -> list[float]:
    return [frame.time_s for frame, _ in sample(frames(times), [Grid(fps)], end_s)]


def frames(times: list[float]) -> list[DecodedFrame]:
    return [DecodedFrame(t, lambda geometry: np.zeros((1, 1, 3), np.uint8)) for t in times]


@pytest.mark.parametrize(
    ("times", "fps", "end_s", "expected"),
    [
        ([0.0, 0.4, 0.8, 1.2, 1.6, 2.0], 1, None, [0.0, 0.8, 2.0]),
        ([i / 30 for i in range(90)], 1, 3.0, [0.0, 1.0, 2.0]),
        ([i / 10 for i in range(31)], 1, 3.1, [0.0, 1.0, 2.0, 3.0]),
        ([i / 10 for i in range(20)], 2, 2.0, [0.0, 0.5, 1.0, 1.5]),
        ([0.0, 5.0, 10.0], 1, 15.0, [0.0, 5.0, 10.0]),  # slides: each once
        ([0.0, 0.4], 1, 10.0, [0.0, 0.4]),  # the last frame is shown until the end
        ([0.0, 0.4], 1, 0.8, [0.0]),
        ([0.0], 1, None, [0.0]),
        ([], 1, None, []),
        ([0.0, 0.0, 0.0], 1, None, [0.0]),  # repeated times
        ([0.0, 1.0, 0.5, 2.0], 1, None, [0.0, 1.0, 2.0]),  # a time that goes back is passed over
        ([-0.5, -0.2, 0.0, 1.0], 1, None, [0.0, 1.0]),  # before the timeline
        ([0.0, 0.9997, 1.9994], 1, 3.0, [0.0, 0.9997, 1.9994]),  # rounded time stamps
        ([0.0, 1.0003, 2.0004], 1, 3.0, [0.0, 1.0003, 2.0004]),
    ],
)
def test_worked_examples(times: list[float], fps: float, end_s: float | None, expected: list[float]) -> None:
    assert sampled(times, fps, end_s) == expected


def shown_at(times: list[float], grid_s: float) -> float:
    """What a player shows, said as plainly as possible: the last frame that is not after the time."""
    return [t for t in times if t <= grid_s + TOLERANCE_S][-1]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.integers(1, 3000), min_size=1, max_size=60),
    st.sampled_from([0.5, 1.0, 2.0, 4.0, 30.0]),
)
def test_equals_the_plain_definition(steps_ms: list[int], fps: float) -> None:
    times = np.concatenate([[0.0], np.cumsum(steps_ms) / 1000]).tolist()
    last = times[-1]
    grid = [k / fps for k in range(int(last * fps) + 2) if k / fps <= last]
    expected = dict.fromkeys(shown_at(times, g) for g in grid)
    got = sampled(times, fps)
    # At the very end a grid point within the tolerance of the last frame may or may not count.
    assert got in (list(expected), [*expected, last])


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 2000), max_size=60),
    st.lists(st.sampled_from([0.3, 1.0, 2.0, 7.0]), min_size=1, max_size=3),
    st.none() | st.floats(0, 50),
)
def test_several_grids_are_the_union_of_each_alone(
    steps_ms: list[int], rates: list[float], end_s: float | None
) -> None:
    times = (np.cumsum(steps_ms) / 1000).tolist()
    together = [(frame.time_s, mask) for frame, mask in sample(frames(times), [Grid(rate) for rate in rates], end_s)]
    for i, fps in enumerate(rates):
        assert [t for t, mask in together if mask >> i & 1] == sampled(times, fps, end_s)
    assert all(together[i][0] < together[i + 1][0] for i in range(len(together) - 1))
    assert all(mask for _, mask in together)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 1e5, allow_nan=False), min_size=1, max_size=50, unique=True), st.floats(0, 100))
def test_spans_cover_the_video_without_gaps(times: list[float], beyond: float) -> None:
    times = sorted(times)
    if np.any(np.diff(times) <= 0):
        return
    result = spans(times, times[-1] + beyond)
    assert [start for start, _ in result] == times
    assert all(start < end for start, end in result)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(result))


def test_clock_tells_a_variable_rate_and_the_end() -> None:
    def watch(times: list[float]) -> Clock:
        clock = Clock()
        list(clock.watch(frames(times)))
        return clock

    steady = watch([0.0, 0.033, 0.067, 0.1])  # 30 fps in whole milliseconds
    assert (steady.frames, steady.variable_fps) == (4, False)
    assert steady.end_s(30.0) == pytest.approx(0.1 + 1 / 30)
    assert watch([0.0, 0.1, 0.5]).variable_fps is True
    assert watch([0.0, 0.1]).variable_fps is None
    assert watch([0.0, 0.1, 0.5]).end_s(None) == pytest.approx(0.6)
