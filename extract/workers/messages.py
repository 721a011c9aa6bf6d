"""What the run and a decoding process say to each other: small JSON texts, never pickles, for a decoder that a hostile
file has taken over must not be able to take over the run.

    run -> child    Job | {"free": slot}
    child -> run    {"opened": facts} | {"sample": [slot, time_s, wanted, still, checked]} | {"restart": why}
                    | {"ended": Ended}

Masks (`wanted`, `still`, `checked`) have one bit per lane. A lane is one encoder's need: its rate and its geometry.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from ..decode.base import Effort, VideoFacts
from ..errors import VideoError
from ..geometry import Geometry, from_json
from ..sample import Clock

MAX_MESSAGE_BYTES = 1 << 16
NO_SLOT = -1  # in a sample without pictures: all lanes that want it are still


@dataclass(frozen=True, slots=True)
class Lane:
    """One encoder's need: samples per second, and which geometry of the arena."""

    rate: float
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


T = TypeVar("T")
Event = Opened | Sampled | Restarted | Ended


def setup_from_json(text: str) -> Setup:
    value = json.loads(text)
    return Setup(
        tuple(from_json(g) for g in value["geometries"]),
        tuple(Lane(**lane) for lane in value["lanes"]),
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
            said = {"restart": event.why[:2000]}
        case Ended():
            fault = event.fault
            words = [fault.kind, str(fault)[:4000], fault.stage] if fault else None
            said = {"ended": [asdict(event.clock), asdict(event.effort), words]}
    return json.dumps(said).encode()


def unpack(message: bytes) -> Event:
    """The inverse of `pack`.

    Raises:
        ValueError: the message is none of ours (KeyError and TypeError included, as ValueError).
    """
    try:
        ((kind, value),) = json.loads(message).items()
        match kind:
            case "opened":
                return Opened(_facts(value))
            case "sample":
                slot, time_s, wanted, still, checked = value
                return Sampled(int(slot), float(time_s), int(wanted), int(still), int(checked))
            case "restart":
                return Restarted(str(value))
            case "ended":
                return _ended(value)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a message that makes no sense: {error!r}") from error
    raise ValueError(f"a message of unknown kind {kind!r}")


def _facts(value: Mapping[str, Any]) -> VideoFacts:
    """Each fact as its type, whatever was sent: these go into the videos table."""

    def maybe(kind: Callable[[Any], T], key: str) -> T | None:
        return None if value[key] is None else kind(value[key])

    return VideoFacts(
        start_s=float(value["start_s"]),
        duration_s=maybe(float, "duration_s"),
        width_px=int(value["width_px"]),
        height_px=int(value["height_px"]),
        rotation_deg=int(value["rotation_deg"]),
        fps=maybe(float, "fps"),
        codec=str(value["codec"]),
        frames_expected=maybe(int, "frames_expected"),
    )


def _ended(value: Sequence[Any]) -> Ended:
    clock, effort, fault = value
    return Ended(Clock(**clock), Effort(**effort), VideoError(fault[0], fault[1], stage=fault[2]) if fault else None)
