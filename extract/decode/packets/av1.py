"""AV1: temporal units that refresh no slot are referred to by nothing; shown key frames are cuts.

All that one frame leaves to others (pixels, probabilities, motion vectors, segmentation) lies in the slots it refreshes.
A temporal unit is taken apart into its OBUs, and frame headers are read as far as `refresh_frame_flags`.

Uncertain: spatial layers, a decoder model, several shown frames in a unit, new sequence headers on the way.
Source: AV1 bitstream specification 5.3 to 5.9.2. Costs 15 us per packet.
"""

from dataclasses import dataclass

from .bits import Bits
from .facts import PacketFacts, Uncertain

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3
_ALL, _SELECT = 255, 2
_HEADER_BYTES = 24


@dataclass(frozen=True, slots=True)
class _Sequence:
    still: bool  # reduced headers
    frame_id_bits: int
    screen_content: int
    integer_mv: int
    order_bits: int


class Av1:
    """The parser of one stream.

    Args:
        extradata: `av1C`, or nothing.
    """

    def __init__(self, extradata: bytes) -> None:
        self._header = b""
        self._sequence: _Sequence | None = None
        self._begun = False
        self._kinds = [_INTRA_ONLY] * 8  # frame type in each slot; only whether it is a key frame matters
        if len(extradata) > 4:
            self(memoryview(extradata)[4:])

    def __call__(self, packet: memoryview) -> PacketFacts:
        reference = lasting = cut = False
        shown = frames = 0
        for kind, payload in _obus(packet):
            if kind == _SEQUENCE:
                lasting = self._learn(bytes(payload)) or lasting
            elif kind in (_FRAME_HEADER, _FRAME):
                is_shown, refresh, is_key = self._frame(Bits(bytes(payload[:_HEADER_BYTES])))
                cut = cut or (not frames and is_key and refresh == _ALL)
                reference = reference or refresh != 0
                frames, shown = frames + 1, shown + is_shown
        self._begun = self._begun or frames > 0
        if shown > 1:
            raise Uncertain("an AV1 packet shows several frames")
        return PacketFacts(reference or not frames, 0, cut, bool(shown), lasting)

    def _learn(self, header: bytes) -> bool:
        """Read a sequence header; whether it says anything new."""
        header = header.rstrip(b"\0")
        if header == self._header:
            return False
        if self._begun:
            raise Uncertain("the AV1 sequence header changes")
        self._header, self._sequence = header, _sequence(Bits(header + b"\0\0\0\0"))
        return True

    def _frame(self, bits: Bits) -> tuple[bool, int, bool]:
        """(is shown, slots it refreshes, is a shown key frame)."""
        sequence = self._sequence
        if sequence is None:
            raise Uncertain("an AV1 frame before any sequence header")
        if sequence.still:
            return True, _ALL, True
        if bits.flag():  # shows what a slot holds; a key frame is then loaded into all
            is_key = self._kinds[bits.u(3)] == _KEY
            if is_key:
                self._kinds = [_KEY] * 8
            return True, _ALL if is_key else 0, False
        kind, is_shown = bits.u(2), bits.flag()
        if not is_shown:
            bits.flag()
        resilient = kind == _SWITCH or (kind == _KEY and is_shown) or bits.flag()
        bits.flag()
        screen = bits.flag() if sequence.screen_content == _SELECT else sequence.screen_content
        if screen and sequence.integer_mv == _SELECT:
            bits.flag()
        bits.u(sequence.frame_id_bits)
        if kind != _SWITCH:
            bits.flag()
        bits.u(sequence.order_bits)
        if kind not in (_KEY, _INTRA_ONLY) and not resilient:
            bits.u(3)
        refresh = _ALL if kind == _SWITCH or (kind == _KEY and is_shown) else bits.u(8)
        self._kinds = [kind if refresh >> i & 1 else known for i, known in enumerate(self._kinds)]
        return is_shown, refresh, kind == _KEY and is_shown


def _obus(packet: memoryview) -> list[tuple[int, memoryview]]:
    """(type, payload) of each OBU."""
    found, at, end = [], 0, len(packet)
    while at < end:
        head = packet[at]
        at += 1
        if head & 4:
            if packet[at] >> 3 & 3:
                raise Uncertain("AV1 with spatial layers")
            at += 1
        size = end - at
        if head & 2:
            size = shift = 0
            while True:
                byte = packet[at]
                size |= (byte & 127) << shift
                at, shift = at + 1, shift + 7
                if not byte & 128:
                    break
        if at + size > end:
            raise IndexError("an AV1 OBU longer than its packet")
        found.append((head >> 3 & 15, packet[at : at + size]))
        at += size
    return found


def _sequence(bits: Bits) -> _Sequence:
    bits.u(3), bits.flag()
    if bits.flag():
        return _Sequence(True, 0, 0, 0, 0)
    if bits.flag():  # timing info
        bits.u(32), bits.u(32)
        if bits.flag():
            bits.ue()
        if bits.flag():
            raise Uncertain("AV1 with a decoder model")
    delays = bits.flag()
    for _ in range(bits.u(5) + 1):
        bits.u(12)
        if bits.u(5) > 7:
            bits.flag()
        if delays and bits.flag():
            bits.u(4)
    width_bits, height_bits = bits.u(4) + 1, bits.u(4) + 1
    bits.u(width_bits), bits.u(height_bits)
    frame_id_bits = 0
    if bits.flag():
        delta = bits.u(4) + 2
        frame_id_bits = delta + bits.u(3) + 1
    bits.u(3)  # superblocks, two intra tools
    bits.u(4)  # compound tools, warped motion, dual filter
    ordered = bits.flag()
    if ordered:
        bits.u(2)
    screen = _SELECT if bits.flag() else bits.u(1)
    integer_mv = _SELECT
    if screen:
        integer_mv = _SELECT if bits.flag() else bits.u(1)
    return _Sequence(False, frame_id_bits, screen, integer_mv, bits.u(3) + 1 if ordered else 0)
