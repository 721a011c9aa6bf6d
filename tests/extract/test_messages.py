"""What the run and a decoding process say to each other: all of it arrives, and nothing else is understood."""

import json
import math
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from nightreel.extract.decode.base import Effort, VideoFacts
from nightreel.extract.errors import ERROR_KINDS, VideoError
from nightreel.extract.geometry import Geometry
from nightreel.extract.sample import Clock, Grid
from nightreel.extract.workers.messages import (
    MAX_MESSAGE_BYTES,
    MAX_TEXT,
    Channel,
    Ended,
    Event,
    Lane,
    Opened,
    Restarted,
    Sampled,
    Setup,
    pack,
    setup_from_json,
    unpack,
)

quick = settings(deadline=None, max_examples=50)  # this machine may be busy
INT32, INT64 = (1 << 31) - 1, (1 << 63) - 1
counts = some.integers(0, INT64)
seconds = some.floats(allow_nan=False, allow_infinity=False)
positive = some.floats(0, exclude_min=True, allow_nan=False, allow_infinity=False)
utf8 = some.text(some.characters(codec="utf-8"), max_size=50)

facts = some.builds(
    VideoFacts,
    start_s=seconds,
    duration_s=some.none() | positive,
    width_px=some.integers(0, INT32),
    height_px=some.integers(0, INT32),
    rotation_deg=some.integers(-360, 360),
    fps=some.none() | positive,
    codec=utf8,
    frames_expected=some.none() | counts,
)
clocks = some.builds(
    Clock, counts, some.none() | seconds, some.floats(0, allow_nan=False), some.floats(0, allow_nan=False)
)
efforts = some.builds(Effort, counts, counts, counts, some.none() | utf8)
faults = some.builds(VideoError, some.sampled_from(ERROR_KINDS), utf8, stage=some.sampled_from(["open", "decode"]))
events = (
    some.builds(Opened, facts)
    | some.builds(Sampled, some.integers(-1, 99), seconds, counts, counts, counts)
    | some.builds(Restarted, utf8)
    | some.builds(Ended, clocks, efforts, some.none() | faults)
)


def told(event: Event) -> object:
    """An event as a value that can be compared: exceptions are equal only to themselves."""
    if isinstance(event, Ended):
        fault = event.fault and (event.fault.kind, event.fault.stage, str(event.fault))
        return event.clock, event.effort, fault
    return event


@quick
@given(events)
def test_every_event_arrives_as_it_was_sent(event: Event) -> None:
    assert told(unpack(pack(event))) == told(event)


@quick
@given(events)
def test_no_event_is_longer_than_a_message_may_be(event: Event) -> None:
    long = "\U0001f3ac" * 100_000  # 12 bytes each when escaped
    for said in (
        event,
        Restarted(long),
        Ended(Clock(), Effort(why_all=long), VideoError("crashed", long)),
    ):
        message = pack(said)
        assert len(message) < MAX_MESSAGE_BYTES
        assert b"\n" not in message
        unpack(message)


json_values = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=6) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=12,
)
kinds = some.sampled_from(["opened", "sample", "restart", "ended", "boo"])


def understood(message: bytes) -> Event | None:
    """The event, or None for a ValueError; any other error is the test's failure."""
    try:
        return unpack(message)
    except ValueError:
        return None


@quick
@given(some.binary(max_size=200))
def test_bytes_are_an_event_or_a_value_error(message: bytes) -> None:
    understood(message)


@quick
@given(kinds, json_values)
def test_any_json_is_an_event_or_a_value_error(kind: str, value: Any) -> None:
    understood(json.dumps({kind: value}).encode())
    understood(json.dumps(value).encode())


@quick
@given(events, some.data())
def test_an_event_with_another_value_in_it_is_an_event_or_a_value_error(event: Event, data: some.DataObject) -> None:
    """One value somewhere is replaced: what is understood then is fit for the videos table."""
    said = json.loads(pack(event))
    place: Any = said
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(some.sampled_from(keys))
        if isinstance(place[key], dict | list) and place[key] and data.draw(some.booleans()):
            place = place[key]
            continue
        place[key] = data.draw(json_values)
        break
    found = understood(json.dumps(said).encode())
    match found:
        case Opened(known):
            assert 0 <= known.width_px <= INT32
            assert 0 <= known.height_px <= INT32
            assert known.duration_s is None or 0 <= known.duration_s < math.inf
            assert known.frames_expected is None or known.frames_expected <= INT64
            known.codec.encode()
        case Sampled():
            assert math.isfinite(found.time_s)
            assert found.slot >= -1
            assert min(found.wanted, found.still, found.checked) >= 0
        case Ended():
            assert 0 <= found.effort.frames <= INT64
            assert math.isfinite(found.clock.end_s(None))
            assert found.fault is None or found.fault.kind in ERROR_KINDS
            str(found.fault).encode()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"[" * 50_000,
        b"null",
        b"{}",
        b'{"sample": [0, 1.0, 1, 0, 0], "restart": "x"}',
        b'{"sample": [0, NaN, 1, 0, 0]}',
        b'{"sample": [0, Infinity, 1, 0, 0]}',
        b'{"sample": [0, 1e999, 1, 0, 0]}',
        b'{"sample": [0.5, 1.0, 1, 0, 0]}',
        b'{"sample": [true, 1.0, 1, 0, 0]}',
        b'{"sample": ["0", 1.0, 1, 0, 0]}',
        b'{"sample": [-2, 1.0, 1, 0, 0]}',
        b'{"sample": [0, 1.0, 1, 0]}',
        b'{"sample": [0, 1.0, -1, 0, 0]}',
        b'{"sample": [0, 1' + b"0" * 400 + b", 1, 0, 0]}",
        b'{"sample": [0, 1' + b"0" * 5000 + b", 1, 0, 0]}",
        b'{"sample": [0, 1.0, 1' + b"0" * 30 + b", 0, 0]}",
        b'{"restart": 5}',
        b'{"ended": []}',
        b'{"ended": [{}, {}, null]}',
        b'{"opened": {}}',
        b'{"restart": "\xff"}',
    ],
)
def test_nonsense_is_a_value_error(message: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  all kinds of it
        unpack(message)


FACTS = VideoFacts(0.0, 5.0, 64, 48, 0, 10.0, "h264", 50)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"duration_s": math.inf}, {"duration_s": None}),
        ({"duration_s": math.nan}, {"duration_s": None}),
        ({"duration_s": -3.0}, {"duration_s": None}),
        ({"fps": math.nan}, {"fps": None}),
        ({"fps": 0.0}, {"fps": None}),
        ({"frames_expected": -1}, {"frames_expected": None}),
        ({"frames_expected": 1 << 63}, {"frames_expected": None}),
        ({"codec": "a\udcffb"}, {"codec": "a\\udcffb"}),
        ({"codec": "x" * 9999}, {"codec": "x" * MAX_TEXT}),
    ],
)
def test_headers_may_claim_anything(change: dict[str, Any], expected: dict[str, Any]) -> None:
    """What no video can be is as if the header did not say; none of it is the decoder's fault."""
    said = json.dumps({"opened": {**asdict(FACTS), **change}}).encode()
    assert unpack(said) == Opened(VideoFacts(**{**asdict(FACTS), **expected}))


def test_a_name_that_is_no_utf8_arrives_as_text() -> None:
    ended = unpack(pack(Ended(Clock(), Effort(), VideoError("crashed", "caf\udce9.mp4"))))
    assert isinstance(ended, Ended)
    assert str(ended.fault) == "caf\\udce9.mp4"


def test_a_setup_arrives_as_it_was() -> None:
    setup = Setup(
        (Geometry((4, 6), "longest", "bilinear", 128), Geometry((8, 8))),
        (Lane(Grid(1.0), 0), Lane(Grid(1 / 8, 16, 0.5), 1)),
        16,
        4 << 30,
        True,
    )
    assert setup_from_json(setup.as_json()) == setup


# --- the line ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    """A channel, and the other end as the bare socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours), theirs


def test_messages_come_one_by_one_and_in_order(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    assert channel.receive(wait=False) is None
    other.sendall(b"one\ntwo\nthr")
    assert channel.receive(wait=False) == b"one"
    assert channel.holds_more
    assert channel.receive(wait=True) == b"two"
    assert channel.receive(wait=False) is None
    assert not channel.holds_more
    other.sendall(b"ee\n")
    assert channel.receive(wait=False) == b"three"


def test_what_was_said_before_the_end_is_heard(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.sendall(b"last\nhalf")
    other.close()
    assert channel.receive(wait=False) == b"last"
    for wait in (False, True):
        with pytest.raises(EOFError):
            channel.receive(wait=wait)


def test_a_message_without_end_is_not_read_for_ever(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.setblocking(False)
    with pytest.raises(ValueError, match=f"more than {MAX_MESSAGE_BYTES} bytes"):  # noqa: PT012
        for _ in range(100):
            with suppress(BlockingIOError):
                other.send(b"x" * 10_000)
            channel.receive(wait=False)


def test_who_does_not_read_cannot_make_the_run_wait(ends: tuple[Channel, socket.socket]) -> None:
    channel, _ = ends
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            channel.send(b'{"free": 0}', wait=False)
    with pytest.raises(BlockingIOError):
        channel.send(b"x" * (1 << 22), wait=False)


def test_sending_to_nobody(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.close()
    with pytest.raises(OSError, match="Broken pipe"):
        channel.send(b"hello", wait=False)
