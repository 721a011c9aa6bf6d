"""Between a plan and a decoder: packets become items of a plan, and what comes out is held against what was planned.

Every picture that was sent must come out, in order, and no other. This is the second proof of a plan, after the reading of
headers: whatever libavcodec does that the plan did not foresee (pictures it skips, reorders or gives up) shows here.

It does not know: files, sampling.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from heapq import heappop, heappush
from typing import Any

from .packets.facts import Parse, Uncertain
from .plan import Planned

# Side data of packets after which the ones before say little about those to come.
_CHANGES = ("new_extradata", "param_change", "encryption_info", "palette")


def planned_packet(packet: Any, parse: Parse, tier: str, stamp: str) -> Planned[Any]:
    """The plan's view of a packet.

    Args:
        stamp: the attribute that tells when its picture is shown, `pts` or `dts`.

    Raises:
        Uncertain: nothing can be planned around this packet.
    """
    if packet.is_corrupt:
        raise Uncertain("a packet is marked as corrupt")
    if any(packet.has_sidedata(kind) for kind in _CHANGES):
        raise Uncertain("the stream changes its parameters, or is encrypted")
    try:
        facts = parse(memoryview(packet))
    except IndexError as error:
        raise Uncertain(f"a packet is not understood: {error}") from error
    if tier == "reference" and facts.layer:
        raise Uncertain("temporal layers: what is no reference in one may be one for another")
    shown = facts.shown and not packet.is_discard
    time = getattr(packet, stamp) if shown else None
    if shown and time is None:
        raise Uncertain("a picture has no presentation time")
    candidate = tier == "exact" or (packet.is_keyframe if tier == "keyframe" else facts.reference)
    return Planned(packet, time, facts, packet.size, candidate)


class Outlet:
    """Pairs decoded frames with planned packets.

    Args:
        stamp: the attribute of a frame that tells when it is shown.    time_base: of all of them.
        frames: those that are out already.
    """

    def __init__(self, stamp: str, time_base: Fraction, frames: Iterable[Any]) -> None:
        self._stamp, self._time_base = stamp, time_base
        self._frames = deque(frames)
        self._due: list[tuple[int, int]] = []  # heap of (presentation time, mask)

    def expect(self, step: Planned[Any]) -> None:
        """A packet's fate is known."""
        if step.keep and step.candidate and step.stamp is not None:
            heappush(self._due, (step.stamp, step.mask))

    def take(self, frames: Iterable[Any]) -> None:
        """These came out of the decoder."""
        self._frames.extend(frames)

    def matched(self) -> Iterator[tuple[Any, int, int]]:
        """(frame, presentation time, mask) of wanted frames that came out; others are dropped."""
        while self._frames and self._due:
            frame, (stamp, mask) = self._frames.popleft(), heappop(self._due)
            if getattr(frame, self._stamp) != stamp or frame.time_base != self._time_base:
                raise Uncertain(f"the decoder gave the picture of {getattr(frame, self._stamp)}, planned was {stamp}")
            if frame.is_corrupt:
                raise Uncertain("a picture is marked as corrupt")
            if mask:
                yield frame, stamp, mask

    def close(self) -> None:
        """Nothing comes any more.

        Raises:
            Uncertain: something is left over on either side.
        """
        if self._due or self._frames:
            raise Uncertain(f"{len(self._due)} planned pictures never came, {len(self._frames)} came unplanned")
