"""Which packets the decoder must see so that the wanted pictures come out exactly as from a full decode.

Decoding more is always right; leaving out needs proof. Packets come in decoding order. Pictures are put into presentation
order as far as that is settled (everything later is shown after this packet's decode time), and told to the same `Sampler`
that samples decoded frames. Between two cuts, packets are then judged from the end: what follows the last wanted
picture is dropped, and so are pictures that no kept one can be predicted from.

    decoding order  I P b b P b b P b b | I ...      only the third picture shown (a b) is wanted
    sent            I P - b - - - - - - | ?

It does not know: codecs, bytes, libav. Holds at most `MOST_PACKETS` packets or `MOST_BYTES`; beyond, references are
sent without waiting for the cut. Costs 5 us per packet.
"""

from bisect import bisect, insort
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from ..sample import Clock, Grid, Sampler
from .packets.facts import PacketFacts, Uncertain

MOST_PACKETS, MOST_BYTES = 1024, 64 << 20

P = TypeVar("P")


@dataclass(slots=True, eq=False)
class Planned(Generic[P]):
    """A packet and what became of it.

    Attributes:
        stamp: presentation time in ticks; None if it shows no picture.
        candidate: may be sampled.    sent: the decoder has it already.
        mask: the grids that want its picture.    keep: must be decoded.
    """

    packet: P
    stamp: int | None
    facts: PacketFacts
    size: int = 0
    candidate: bool = True
    sent: bool = False
    mask: int = 0
    keep: bool = False
    open: bool = True  # its mask is not known yet


class Planner(Generic[P]):
    """Takes packets one by one, returns those whose fate is known, kept ones in decoding order.

    Args:
        grids, end_s: as for `sample`.
        seconds: ticks to seconds from the stream's start.
        clock: is told the time of every picture, decoded or not, in presentation order.
        reorder: how many pictures the decoder holds back to put them in order; more needed is `Uncertain`, for
            a full decode might then lose pictures.
        layered: the codec may have temporal layers.
        standalone: candidates are decoded without what is between them (tier `keyframe`).
    """

    def __init__(
        self,
        grids: Sequence[Grid],
        end_s: float | None,
        seconds: Callable[[int], float],
        clock: Clock,
        *,
        reorder: int | None = None,
        layered: bool = False,
        standalone: bool = False,
    ) -> None:
        self._sampler, self._end_s = Sampler(grids), end_s
        self.seconds, self._clock = seconds, clock
        self._reorder, self._layered, self._standalone = reorder, layered, standalone
        self._segments: deque[deque[Planned[P]]] = deque([deque()])
        self._unsettled: list[tuple[int, int, Planned[P]]] = []  # by presentation time
        self._latest: Planned[P] | None = None  # the last settled picture that counted
        self._settled = self._decoded_at = -(1 << 62)  # ticks
        self._count = self._held = self._bytes = 0

    def add(self, item: Planned[P], dts: int | None) -> list[Planned[P]]:
        """One more packet, `dts` its decode time; the packets whose fate that settles.

        Raises:
            Uncertain: times contradict each other or do not settle.
        """
        item.open = item.stamp is not None
        if item.stamp is not None:
            self._await(item, item.stamp)
        unneeded = self._standalone and not item.candidate
        if unneeded:
            if item.facts.lasting:
                raise Uncertain("new parameter sets between key frames")
            item.keep = item.sent
        else:
            if (item.facts.cut or self._standalone) and self._segments[-1]:
                self._segments.append(deque())
            self._segments[-1].append(item)
            self._held, self._bytes = self._held + 1, self._bytes + item.size
        if dts is not None:
            if dts <= self._decoded_at:
                raise Uncertain("decode times do not increase")
            if item.stamp is not None and item.stamp < dts:
                raise Uncertain("a picture is shown before it is decoded")
            self._decoded_at = dts
            self._settle(dts)
        return [*([item] if unneeded else []), *self._closed(last=False), *self._overflow()]

    def finish(self) -> list[Planned[P]]:
        """No packet comes any more: what is left."""
        self._settle(1 << 62)
        if self._latest is not None:
            self._latest.mask, self._latest.open = self._sampler.finish(self._end_s), False
        return list(self._closed(last=True))

    def _await(self, item: Planned[P], stamp: int) -> None:
        if stamp <= self._settled:
            raise Uncertain("presentation times go back")
        self._count += 1
        entry = (stamp, self._count, item)
        before = bisect(self._unsettled, (stamp, 0))
        if before < len(self._unsettled) and self._unsettled[before][0] == stamp:
            raise Uncertain("two pictures have the same time")
        if self._reorder is not None and len(self._unsettled) - before > self._reorder:
            raise Uncertain("pictures are reordered more than the header says")
        insort(self._unsettled, entry)

    def _settle(self, until: int) -> None:
        """Tell the sampler of pictures shown not after `until`: all later packets are."""
        count = bisect(self._unsettled, (until, 1 << 62))
        for stamp, _, item in self._unsettled[:count]:
            time_s = self.seconds(stamp)
            self._clock.tick(time_s)
            self._settled = stamp
            if not item.candidate or not self._sampler.counts(time_s):
                item.open = False
                continue
            mask = self._sampler.push(time_s)
            if self._latest is not None:
                self._latest.mask, self._latest.open = mask, False
            self._latest = item
        del self._unsettled[:count]

    def _closed(self, last: bool) -> Iterator[Planned[P]]:
        """Segments between cuts whose pictures are all judged."""
        while self._segments and (last or len(self._segments) > 1):
            segment = self._segments[0]
            if any(item.open for item in segment):
                return
            self._judge(segment)
            self._segments.popleft()
            yield from self._released(segment)

    def _judge(self, segment: "deque[Planned[P]]") -> None:
        """Backward from the end: `need` is the highest layer that something kept may be predicted from."""
        need = -1
        for item in reversed(segment):
            facts = item.facts
            item.keep = bool(item.mask) or facts.lasting or item.sent
            if self._standalone:
                item.keep |= not facts.cut
            else:
                item.keep |= facts.layer <= need if facts.reference else facts.layer < need
            if item.keep:
                need = max(need, facts.layer)

    def _overflow(self) -> Iterator[Planned[P]]:
        """Too much is held: send the oldest without waiting for the cut, all that could be needed."""
        while self._held > MOST_PACKETS or self._bytes > MOST_BYTES:
            segment = self._segments[0]
            item = segment[0]
            if item.open:
                raise Uncertain(f"times of {self._held} packets do not settle an order")
            segment.popleft()
            unneeded = not item.facts.reference and not self._layered
            item.keep = bool(item.mask) or item.facts.lasting or item.sent or not unneeded
            if not segment and len(self._segments) > 1:
                self._segments.popleft()
            yield from self._released([item])

    def _released(self, items: Sequence[Planned[P]]) -> Sequence[Planned[P]]:
        self._held -= len(items)
        self._bytes -= sum(item.size for item in items)
        return items
