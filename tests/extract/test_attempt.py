"""What is kept of one or two tries at a video, worked out by hand."""

import math
from typing import Any

import numpy as np
import pytest
from nightreel.extract.attempt import Attempt, settle, wants_second_opinion
from nightreel.extract.decode.base import Effort, VideoFacts
from nightreel.extract.errors import ERROR_KINDS, VideoError
from nightreel.extract.sample import Clock
from nightreel.extract.segment import ROW_BITS
from nightreel.extract.take import Kind, Row, Take
from nightreel.extract.workers.messages import Ended, Job

FACTS = VideoFacts(0.0, 10.0, 64, 48, 0, 10.0, "h264", 100)
ENCODER_FAULT = VideoError("encoder", "no kernel", stage="encode")


def vector(value: float) -> Row:
    return row(value, 0)


def row(*values: float) -> Row:
    return Row(np.array(values, np.float16), np.zeros(0, np.float32))


def take_of(*vectors: float | VideoError | None) -> Take:
    """A sample a second; None is still on its way."""
    take = Take()
    for second, value in enumerate(vectors):
        index = take.expect(float(second))
        if value is not None:
            take.deliver(index, value if isinstance(value, VideoError) else vector(value))
    return take


def attempt_of(
    times_s: list[float], fault: tuple[str, str] | None = None, backend: str = "pyav", frames: int = 100
) -> Attempt:
    """A finished attempt of one encoder; `fault` is (kind, stage)."""
    attempt = Attempt(Job("/films/a.mp4", backend), {"toy": Kind()})
    attempt.facts = FACTS
    for time_s in times_s:
        attempt.takes["toy"].deliver(attempt.takes["toy"].expect(time_s), vector(time_s))
    clock = Clock()
    for time_s in times_s:
        clock.tick(time_s)
    error = VideoError(fault[0], "it broke", stage=fault[1]) if fault else None
    attempt.end(Ended(clock, Effort(frames=frames), error))
    return attempt


@pytest.mark.parametrize(
    ("vectors", "kept"),
    [
        ((0.0, 1.0, 2.0), 3),
        ((0.0, None, 2.0), 1),
        ((0.0, 1.0, ENCODER_FAULT), 2),
        ((0.0, ENCODER_FAULT, 2.0), 1),
        ((ENCODER_FAULT, 1.0, 2.0), 0),
        ((), 0),
    ],
)
def test_what_comes_before_the_first_gap_is_kept(vectors: tuple[Any, ...], kept: int) -> None:
    segments = take_of(*vectors).segments("v", 3.0)
    assert (0 if segments is None else len(segments)) == kept
    if segments is not None:
        assert segments.embedding[:, 0].tolist() == list(range(kept))
        assert segments.start_s.tolist() == list(range(kept))
        assert segments.end_s.tolist() == list(range(1, kept + 1))


def test_still_samples_share_the_vector_before_them() -> None:
    take = Take()
    take.deliver(take.expect(0.0), vector(5))
    take.repeat(1.0)
    reused, index = take.row_of[-1], take.expect(2.0)
    take.checks.append((index, reused))
    take.repeat(3.0)
    assert (take.waiting, take.check_errors()) == (1, [])  # not until its vector is here
    take.deliver(index, row(0, 1))
    segments = take.segments("v", 4.0)
    assert segments is not None
    assert segments.embedding.tolist() == [[5, 0], [5, 0], [0, 1], [0, 1]]
    assert segments.time_s.tolist() == [0, 1, 2, 3]
    assert take.check_errors() == [1.0]
    assert take.reused == 2


def test_vectors_come_in_any_order() -> None:
    take = Take()
    first, second = take.expect(0.0), take.expect(1.0)
    take.deliver(second, vector(2))
    assert take.segments("v", 2.0) is None
    take.deliver(first, vector(1))
    segments = take.segments("v", 2.0)
    assert segments is not None
    assert segments.embedding[:, 0].tolist() == [1, 2]
    assert take.waiting == 0


@pytest.mark.parametrize("time_s", [math.nan, math.inf, -math.inf, 1.0, 0.5, -1.0])
def test_times_go_forward(time_s: float) -> None:
    take = take_of(0.0, 1.0)
    for add in (take.expect, take.repeat):
        with pytest.raises(ValueError, match="a sample at"):
            add(time_s)
    assert (take.times_s, take.waiting, len(take.row_of)) == ([0.0, 1.0], 0, 2)  # as if it had not been tried


def test_two_frames_before_the_start_have_no_span_of_their_own() -> None:
    take = Take()
    take.expect(-0.0004)
    with pytest.raises(ValueError, match="a sample at"):
        take.expect(-0.0001)
    take.expect(0.1)


def test_nothing_can_be_repeated_before_the_first() -> None:
    take = Take()
    with pytest.raises(IndexError):
        take.repeat(0.0)
    assert take.times_s == []


def test_there_are_no_more_samples_than_ids() -> None:
    take = Take(times_s=[float(i) for i in range(1 << ROW_BITS)])
    with pytest.raises(ValueError, match="more than 2097152 samples"):
        take.expect(1e9)


# --- second opinions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ERROR_KINDS)
@pytest.mark.parametrize("stage", ["open", "decode"])
def test_when_a_second_opinion_is_asked_for(kind: str, stage: str) -> None:
    wanted = kind in ("timeout", "crashed", "out_of_memory") or (
        stage == "decode" and kind not in ("no_video", "encrypted")
    )
    assert wants_second_opinion(attempt_of([], (kind, stage))) == wanted


def test_a_good_video_needs_none() -> None:
    assert not wants_second_opinion(attempt_of([0.0]))
    assert wants_second_opinion(attempt_of([]))  # no frame at all


A, B = [0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("first", "second", "kept", "kind"),
    [
        ((A, None), None, 0, None),
        ((A, "unreadable"), None, 0, "unreadable"),
        ((A, "timeout"), (B, None), 1, None),  # the other decoder had no trouble: nothing is wrong with the video
        ((A, "crashed"), (A, None), 1, None),
        (([], "crashed"), (A, None), 1, None),
        ((B, "timeout"), (A, None), 0, "timeout"),  # it ended early without saying so
        ((A, "timeout"), (B, "unreadable"), 1, "timeout"),  # further, but not to the end
        ((B, "timeout"), (A, "crashed"), 0, "timeout"),
        ((A, "timeout"), (A, "timeout"), 0, "timeout"),
        ((A, "unreadable"), (B, None), 1, "unreadable"),  # the data are at fault, whoever reads them
        ((A, "unreadable"), (A, None), 0, "unreadable"),
        (([], "zero_frames"), (A, None), 1, "zero_frames"),
        (([], "crashed"), ([], None), 0, "crashed"),
    ],
)
def test_which_attempt_is_kept(
    first: tuple[list[float], str], second: tuple[list[float], str] | None, kept: int, kind: str | None
) -> None:
    attempts = [
        attempt_of(times_s, (fault, "decode") if fault else None, backend)
        for (times_s, fault), backend in zip([first, *([second] if second else [])], ("pyav", "decord"), strict=False)
    ]
    chosen, fault = settle(attempts)
    assert chosen is attempts[kept]
    assert (fault.kind if fault else None) == kind


# --- the row -----------------------------------------------------------------------------------------------


def test_a_good_video() -> None:
    row, segments = attempt_of(A).result("v", None)
    assert (row.status, row.decoder, row.frames_decoded, row.duration_s) == ("done", "pyav", 100, 10.0)
    assert segments["toy"].end_s.tolist() == [1.0, 2.0, 10.0]  # the last frame is shown to the end


def test_a_video_that_was_cut_short() -> None:
    attempt = attempt_of(A, ("timeout", "decode"))
    row, segments = attempt.result("v", attempt.fault)
    assert (row.status, row.stage, row.error_kind, row.error) == ("partial", "decode", "timeout", "it broke")
    assert segments["toy"].end_s.tolist() == [1.0, 2.0, pytest.approx(2.1)]  # what comes after is not known
    assert row.duration_s == pytest.approx(2.1)
    assert (row.width_px, row.codec, row.frames_expected) == (64, "h264", 100)


def test_a_video_of_which_nothing_came() -> None:
    attempt = attempt_of([], ("crashed", "decode"), frames=0)
    row, segments = attempt.result("v", attempt.fault)
    assert (row.status, segments, row.duration_s) == ("failed", {}, 10.0)


def test_a_killed_decoder_tells_no_times_but_its_samples_do() -> None:
    attempt = Attempt(Job("/films/a.mp4"), {"toy": Kind()})
    for time_s in (0.0, 1.0, 2.5):
        attempt.takes["toy"].expect(time_s)
    attempt.end(Ended(Clock(), Effort(frames=26), VideoError("timeout", "it hangs")))
    assert (attempt.clock.frames, attempt.clock.last_s) == (3, 2.5)
    assert not attempt.finished  # its vectors are still on their way
    for index in range(3):
        attempt.takes["toy"].deliver(index, vector(1))
    assert attempt.finished
    row, segments = attempt.result("v", attempt.fault)
    assert (row.decoder, row.width_px, len(segments["toy"])) == (None, None, 3)


def test_one_broken_encoder_makes_it_partial_and_keeps_the_other() -> None:
    attempt = Attempt(Job("/films/a.mp4"), {"good": Kind(), "bad": Kind()})
    attempt.facts = FACTS
    for take, value in zip(attempt.takes.values(), (vector(1), ENCODER_FAULT), strict=True):
        take.deliver(take.expect(0.0), value)
    attempt.end(Ended(Clock(), Effort(), None))
    row, segments = attempt.result("v", None)
    assert (row.status, row.stage, row.error_kind, list(segments)) == ("partial", "encode", "encoder", ["good"])


def test_a_restart_forgets_the_samples_and_what_is_on_its_way() -> None:
    attempt = Attempt(Job("/films/a.mp4"), {"toy": Kind()})
    old = attempt.takes["toy"]
    index = old.expect(0.0)
    attempt.restart("times go back")
    take = attempt.takes["toy"]
    take.deliver(take.expect(0.0), vector(7))
    attempt.facts = FACTS
    attempt.end(Ended(Clock(), Effort(), None))
    assert attempt.finished
    old.deliver(index, vector(1))
    row, segments = attempt.result("v", None)
    assert segments["toy"].embedding[:, 0].tolist() == [7]
    assert row.decoder == "pyav, all: times go back"
