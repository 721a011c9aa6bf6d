"""Decode with PyAV (libav's own demuxers and decoders): the default backend, right on every file we know.

Agrees with all 130 awkward files of `../shared/data/awkward/expected.jsonl` in outcome, frame count, times
and displayed size. Keeps one frame back (the first, from which the rotation is known) and nothing else; a
frame whose `rgb()` is called later stays valid, because libav counts references.

`samples` sends the decoder only what wanted pictures depend on (`packets/`, `plan.py`), and checks that exactly the
planned pictures come out; at the first doubt everything is decoded. So it is as right as a full decode, and 0.1 to 1.0
times as slow, by how densely a stream may be entered.

It does not know: deadlines, processes. A decoder that hangs hangs here; the caller owns the
clock.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from ..errors import UsageError, VideoError
from ..sample import Clock, Grid, sample
from .base import DecodedFrame, Effort, Reader, Restart
from .faults import as_video_error, open_container
from .header import facts_of
from .outlet import Outlet, planned_packet
from .packets.facts import Parse, Uncertain
from .packets.structure import structure_of
from .pixels import Upright
from .plan import Planned, Planner

# Which frames libavcodec may leave out. Times stay true; there are only fewer frames.
TIERS = {"exact": "DEFAULT", "reference": "NONREF", "keyframe": "NONKEY"}
_GUESSED_FPS = 25.0
_MOST_EARLY = 1 << 16  # packets before the first frame; a plan that remembers more is not worth it

_T = TypeVar("_T")


class PyavReader(Reader):
    """An open video: its first video stream that is no cover picture.

    Args:
        path: a local file; any name the file system allows, undecodable bytes included.
        tier: `exact` every frame, `reference` those that others build on, `keyframe` those that stand alone.
        decode_all: `samples` leaves nothing out.    threads: of the decoder, 0 for one per core.

    Attributes:
        fault: why decoding stopped early; already set after opening if not even one frame decodes.

    Raises:
        VideoError: unreadable, no_video or unsupported_codec; stage `open`.
    """

    def __init__(self, path: str | Path, tier: str = "exact", decode_all: bool = False, threads: int = 0) -> None:
        if tier not in TIERS:
            raise UsageError(f"unknown decoding tier {tier!r}; expected one of {', '.join(TIERS)}")
        self._path, self._tier, self._threads = path, tier, threads
        self.on_beat = lambda: None
        self._open(decode_all)

    def _open(self, decode_all: bool) -> None:
        """Open, and decode the first frame; what was read for that is remembered for a plan."""
        self._container = open_container(self._path)
        self.clock, self.effort = Clock(), Effort()
        self._parse: Parse | None = None  # None: there will be no plan
        self._early: list[tuple[Planned[Any], int | None]] = []  # packets sent for the first frame, their decode times
        try:
            self._stream = first_video_stream(self._container)
            ignore_others(self._container, self._stream)
            context = self._stream.codec_context
            context.thread_type = "AUTO"
            context.thread_count = self._threads
            context.skip_frame = TIERS[self._tier]
            self._upright = Upright(context.name)
            self.fault: VideoError | None = None
            # AVI stores no presentation times, and those libav makes up for B-frames are out of order. Decode times,
            # counted from the first frame shown, are right: one frame a tick goes in and one comes out.
            self._stamp = "dts" if self._container.format.name == "avi" else "pts"
            if not decode_all:
                self._parse = self._or_all(lambda: structure_of(context, self._tier, self._stamp))
            self._packets = self._container.demux(self._stream)
            self._ready: deque[Any] = deque()  # frames that came out together with the one before
            self._decoded = self._decode()
            self._first = self._next()  # the rotation is only known from a frame
            self.facts = facts_of(self._container, self._stream, self._first)
        except BaseException:
            self.close()
            raise

    def frames(self) -> Iterator[DecodedFrame]:
        """Frames as the decoder delivers them, once; a fault is raised after the good frames."""
        self._parse = None
        fps = self.facts.fps or _GUESSED_FPS
        time_s = -1 / fps
        frame, self._first = self._first, None
        origin_s = self._origin_s(frame)
        while frame is not None:
            own_s = self._time_s(frame)
            time_s = time_s + 1 / fps if own_s is None else own_s - origin_s
            yield DecodedFrame(time_s, partial(self._upright, frame))
            frame = self._next()
        if self.fault is not None:
            raise self.fault

    def samples(self, grids: Sequence[Grid]) -> Iterator[tuple[DecodedFrame, int]]:
        """The frames that these grids want, each with its mask, as from a full decode.

        Raises:
            Restart: a plan failed after frames came out of it, or met a fault (only a full decode tells where the good
                frames end). Before that, it is given up without a word but `effort.why_all`.
        """
        if self._parse is not None and self._first is not None:
            some = False
            try:
                for sampled in self._planned(grids, self._parse):
                    some = True
                    yield sampled
                return
            except Uncertain as doubt:
                why = str(doubt)
            if some:
                raise Restart(why)
            self.close()
            self._open(decode_all=True)
            self.effort.why_all = why
        yield from sample(self.clock.watch(self.frames()), grids, self.facts.duration_s)

    def _planned(self, grids: Sequence[Grid], parse: Parse) -> Iterator[tuple[DecodedFrame, int]]:
        origin_s, time_base = self._origin_s(self._first), self._stream.time_base
        standalone, codec = self._tier == "keyframe", self.facts.codec
        reorders = codec in ("h264", "hevc") and not standalone
        planner: Planner[Any] = Planner(
            grids,
            self.facts.duration_s,
            lambda stamp: float(stamp * time_base) - origin_s,
            self.clock,
            reorder=self._stream.codec_context.reorder_depth if reorders else None,
            layered=codec == "hevc",
            standalone=standalone,
        )
        outlet = Outlet(self._stamp, time_base, [self._first, *self._ready])
        self._first = None  # not held while all the rest is decoded
        self._ready.clear()
        flush = None  # the empty packet that makes the decoder give what it holds
        for item, dts in self._early:
            for step in planner.add(item, dts):
                yield from self._run(step, outlet, planner.seconds)
        for packet in self._unread():
            if not packet.size:
                flush = packet
                break
            item = planned_packet(packet, parse, self._tier, self._stamp)
            for step in planner.add(item, packet.dts):
                yield from self._run(step, outlet, planner.seconds)
        for step in planner.finish():
            yield from self._run(step, outlet, planner.seconds)
        if flush is not None:
            outlet.take(self._sent(flush))
        yield from self._out(outlet, planner.seconds)
        outlet.close()

    def _remember(self, packet: Any) -> None:
        """A packet that is sent for the first frame; a plan needs to know of it, but not its bytes."""
        parse = self._parse
        if parse is None:
            return
        if len(self._early) == _MOST_EARLY:
            self._parse, self.effort.why_all = None, f"no frame among the first {_MOST_EARLY} packets"
            return
        item = self._or_all(lambda: planned_packet(packet, parse, self._tier, self._stamp))
        if item is None:
            self._parse = None
        else:
            item.packet, item.sent, item.size = None, True, 0
            self._early.append((item, packet.dts))

    def _or_all(self, what: Callable[[], _T]) -> _T | None:
        """`what()`, or None when that leaves no way but to decode everything."""
        try:
            return what()
        except Uncertain as doubt:
            self.effort.why_all = str(doubt)
            return None

    def _unread(self) -> Iterator[Any]:
        """The packets that were not needed for the first frame."""
        while True:
            try:
                packet = next(self._packets, None)
            except Exception as error:
                raise self._doubt(error) from error
            if packet is None:
                return
            self.on_beat()
            self.effort.packets += bool(packet.size)
            yield packet

    def _run(
        self, step: Planned[Any], outlet: Outlet, seconds: Callable[[int], float]
    ) -> Iterator[tuple[DecodedFrame, int]]:
        """Do what was planned for one packet; what came out."""
        outlet.expect(step)
        if step.keep and not step.sent:
            self.effort.sent += 1
            outlet.take(self._sent(step.packet))
            yield from self._out(outlet, seconds)

    def _out(self, outlet: Outlet, seconds: Callable[[int], float]) -> Iterator[tuple[DecodedFrame, int]]:
        for frame, stamp, mask in outlet.matched():
            yield DecodedFrame(seconds(stamp), partial(self._upright, frame)), mask

    def _sent(self, packet: Any) -> list[Any]:
        """What comes out when a packet goes in."""
        try:
            frames: list[Any] = packet.decode()
        except Exception as error:
            raise self._doubt(error) from error
        self.effort.frames += len(frames)
        return frames

    def _doubt(self, error: Exception) -> Exception:
        fault = as_video_error(error, stage="decode")
        return fault if fault.kind == "out_of_memory" else Uncertain(f"a fault on the way: {fault}")

    def _origin_s(self, first: Any) -> float:
        """What frames' own times are counted from."""
        return (self.facts.start_s if first is None or self._stamp == "pts" else self._time_s(first)) or 0.0

    def _time_s(self, frame: Any) -> float | None:
        stamp = getattr(frame, self._stamp)
        return None if stamp is None else float(stamp * frame.time_base)

    def _next(self) -> Any:
        """The next frame, or None at the end or at a fault, which is kept for `frames` to raise."""
        try:
            return next(self._decoded, None)
        except VideoError as fault:
            self.fault = fault
            return None

    def _decode(self) -> Iterator[Any]:
        count, encrypted = 0, False
        try:
            for packet in self._packets:
                self.on_beat()
                self.effort.packets += bool(packet.size)  # the last one is empty: it flushes the decoder
                self.effort.sent += bool(packet.size)
                if packet.size:
                    self._remember(packet)
                # Only a hint: `sample_fragmented_sgpd_v2.mp4` carries it and decodes. It names the fault, if any.
                encrypted = encrypted or packet.has_sidedata("encryption_info")
                self._ready.extend(packet.decode())
                self.effort.frames += len(self._ready)
                while self._ready:
                    count += 1
                    yield self._ready.popleft()
        except Exception as error:
            if encrypted and not isinstance(error, MemoryError):
                raise VideoError("encrypted", "the video stream is encrypted; decrypt the file first") from error
            raise as_video_error(error, stage="decode", after_frames=count) from error
        if not count:
            raise VideoError("zero_frames", "the header is fine, but no frame follows; was it cut short?")

    def close(self) -> None:
        self._container.close()


def first_video_stream(container: Any) -> Any:
    """The first video stream; a cover picture (of a song, say) is no video."""
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        got = ", ".join(s.type for s in container.streams) or "no streams at all"
        raise VideoError("no_video", f"no video stream in it; got {got}", stage="open")
    if streams[0].codec_context is None:
        raise VideoError("unsupported_codec", "libavcodec has no decoder for this video stream", stage="open")
    return streams[0]


def ignore_others(container: Any, stream: Any) -> None:
    """Sound and the rest need not even be read from the disk."""
    from av.stream import Discard

    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
