"""What the run and a decoding process say to each other: small JSON texts, one a line, never pickles, for a decoder that
a hostile file has taken over must not be able to take over the run, nor to stop it.

    run -> child    Job | {"free": slot}
    child -> run    {"opened": facts} | {"sample": [slot, time_s, wanted, still, checked]} | {"restart": why}
                    | {"ended": Ended}

Masks (`wanted`, `still`, `checked`) have one bit per lane. A lane is one encoder's need: its grid and its geometry.
"""

import json
import math
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..decode.base import Effort, VideoFacts
from ..errors import VideoError
from ..geometry import Geometry, from_json
from ..sample import Clock, Grid

MAX_MESSAGE_BYTES = 1 << 16  # two texts of `MAX_TEXT` characters, each of up to 12 bytes when escaped, and numbers
MAX_TEXT = 2000
_INT32, _INT64 = (1 << 31) - 1, (1 << 63) - 1
NO_SLOT = -1  # in a sample without pictures: all lanes that want it are still


@dataclass(frozen=True, slots=True)
class Lane:
    """One encoder's need: the times it wants, and which geometry of the arena."""

    grid: Grid
    geometry: int


@dataclass(frozen=True, slots=True)
class Setup:
    """What a decoding process is told once, when it starts."""

    geometries: tuple[Geometry, ...]
    lanes: tuple[Lane, ...]
    slots: int
    memory_bytes: int
    skip_still: bool = False

    def as_json(self) -> str:
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Job:
    """One video to decode once.

    Attributes:
        backend: a name in `decode.open.BACKENDS`.    threads: for the decoder.
        decode_all: send the decoder everything, not only what samples depend on.
    """

    path: str
    backend: str = "pyav"
    tier: str = "exact"
    decode_all: bool = False
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Opened:
    """The video could be opened."""

    facts: VideoFacts


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sampled frame, its pictures in `slot` of the worker's arena."""

    slot: int
    time_s: float
    wanted: int
    still: int = 0
    checked: int = 0


@dataclass(frozen=True, slots=True)
class Restarted:
    """Forget the samples so far: the plan did not fit the file, everything is decoded now."""

    why: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last word on a job: what the times told, what it took, and what stopped it early."""

    clock: Clock
    effort: Effort
    fault: VideoError | None = None


Event = Opened | Sampled | Restarted | Ended


class Channel:
    """One end of the line between the run and a decoding process."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._unread = bytearray()

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: bytes, *, wait: bool) -> None:
        """One message.

        Raises:
            BlockingIOError: the other side does not read what it is sent; only without `wait`.    OSError: it is gone.
        """
        if wait:
            self._end.sendall(message + b"\n")
        elif self._end.send(message + b"\n", socket.MSG_DONTWAIT) <= len(message):
            raise BlockingIOError("half a message sent")

    def receive(self, *, wait: bool) -> bytes | None:
        """The next message; None if there is none (or half of one) now; only without `wait`.

        Raises:
            EOFError, OSError: the other side is gone.    ValueError: the message is longer than any of ours.
        """
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > MAX_MESSAGE_BYTES:
                raise ValueError(f"a message of more than {MAX_MESSAGE_BYTES} bytes")
            try:
                more = self._end.recv(MAX_MESSAGE_BYTES, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            if not more:
                raise EOFError
            self._unread += more
        message = bytes(self._unread[:end])
        del self._unread[: end + 1]
        return message

    @property
    def holds_more(self) -> bool:
        """Whether a message is already here, which no waiting on `fileno` will tell."""
        return b"\n" in self._unread

    def close(self) -> None:
        self._end.close()


def setup_from_json(text: str) -> Setup:
    value = json.loads(text)
    return Setup(
        tuple(from_json(g) for g in value["geometries"]),
        tuple(Lane(Grid(**lane["grid"]), lane["geometry"]) for lane in value["lanes"]),
        value["slots"],
        value["memory_bytes"],
        value["skip_still"],
    )


def pack(event: Event) -> bytes:
    """An event as the child sends it."""
    match event:
        case Opened():
            said: dict[str, Any] = {"opened": asdict(event.facts)}
        case Sampled():
            said = {"sample": [event.slot, event.time_s, event.wanted, event.still, event.checked]}
        case Restarted():
            said = {"restart": event.why[:MAX_TEXT]}
        case Ended():
            fault = event.fault
            words = [fault.kind, str(fault)[:MAX_TEXT], fault.stage] if fault else None
            why_all = event.effort.why_all
            effort = {**asdict(event.effort), "why_all": why_all and why_all[:MAX_TEXT]}
            said = {"ended": [asdict(event.clock), effort, words]}
    return json.dumps(said).encode()


def unpack(message: bytes) -> Event:
    """The inverse of `pack`, with every value of its type and in its range, for these go into the videos table.

    Raises:
        ValueError: the message is none of ours.
    """
    try:
        ((kind, value),) = json.loads(message).items()
        match kind:
            case "opened":
                return Opened(_facts(value))
            case "sample":
                slot, time_s, *masks = value
                wanted, still, checked = (_whole(mask) for mask in masks)
                return Sampled(_whole(slot, NO_SLOT), _number(time_s), wanted, still, checked)
            case "restart":
                return Restarted(_text(value))
            case "ended":
                return _ended(value)
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"a message that makes no sense: {error!r}") from error
    raise ValueError(f"a message of unknown kind {kind!r}")


def _facts(value: Mapping[str, Any]) -> VideoFacts:
    """What a header claims and cannot be is as if it claimed nothing."""
    duration_s, fps, frames = (value[key] for key in ("duration_s", "fps", "frames_expected"))
    return VideoFacts(
        start_s=_number(value["start_s"]),
        duration_s=None if duration_s is None or not 0 <= duration_s < math.inf else float(duration_s),
        width_px=_whole(value["width_px"], 0, _INT32),
        height_px=_whole(value["height_px"], 0, _INT32),
        rotation_deg=_whole(value["rotation_deg"], -_INT32, _INT32),
        fps=None if fps is None or not 0 < fps < math.inf else float(fps),
        codec=_text(value["codec"]),
        frames_expected=None if frames is None or not 0 <= frames <= _INT64 else int(frames),
    )


def _ended(value: Sequence[Any]) -> Ended:
    clock, effort, fault = value
    steps = (clock["shortest_s"], clock["longest_s"])
    if not all(type(step) in (int, float) and step >= 0 for step in steps):
        raise ValueError(f"steps between frames of {steps} seconds")
    last_s = None if clock["last_s"] is None else _number(clock["last_s"])
    why_all = None if effort["why_all"] is None else _text(effort["why_all"])
    return Ended(
        Clock(_whole(clock["frames"]), last_s, *steps),
        Effort(_whole(effort["packets"]), _whole(effort["sent"]), _whole(effort["frames"]), why_all),
        VideoError(fault[0], _text(fault[1]), stage=_text(fault[2])) if fault else None,
    )


def _whole(value: Any, least: int = 0, most: int = _INT64) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value!r:.40}: expected a whole number from {least} to {most}")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value!r:.40}: expected a finite number")
    return float(value)


def _text(value: Any) -> str:
    """Text that a table can hold: valid UTF-8, of a length that a person reads."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r:.40}: expected text")
    return value[:MAX_TEXT].encode("utf-8", "backslashreplace").decode()
