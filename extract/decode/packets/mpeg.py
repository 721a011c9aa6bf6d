"""MPEG-1, MPEG-2 and MPEG-4 part 2: B-pictures are referred to by nothing.

MPEG-1/2: an I-picture behind a sequence header and a group header that says `closed_gop` is a cut, for the sequence
header also resets what earlier pictures may have changed (quantiser matrices). A B-picture that carries matrices is
kept as a reference. MPEG-4: no cut, for nothing in an I-VOP says that no B-VOP behind it looks back.

Uncertain: field pictures, packed B-frames, VOPs that are not coded, new sizes, interlaced MPEG-4 (its direct mode counts
from the first B-VOP), sprites that stand still, shapes.
Source: ISO 13818-2 6.2, ISO 14496-2 6.2.3, 6.2.5. Costs 0.2 us per KB: start codes are searched.
"""

from .bits import Bits, start_code_units
from .facts import PacketFacts, Uncertain

_PICTURE, _SEQUENCE, _EXTENSION, _GROUP = 0x00, 0xB3, 0xB5, 0xB8
_CODING_EXTENSION, _MATRIX_EXTENSION = 8, 3
_I, _B, _D = 1, 3, 4
_VOP, _VOP_I, _VOP_B = 0xB6, 0, 2


class Mpeg12:
    """The parser of one MPEG-1 or MPEG-2 stream, whose packets are one picture with the headers before it."""

    def __init__(self, extradata: bytes) -> None:
        self._size = b""

    def __call__(self, packet: memoryview) -> PacketFacts:
        data = bytes(packet)
        for at, _ in start_code_units(data):
            if data[at] == _SEQUENCE:
                size = data[at + 1 : at + 4]
                if self._size and size != self._size:  # libavcodec may lose the picture it still holds
                    raise Uncertain("the MPEG-1/2 picture size changes")
                self._size = size
            elif data[at] == _PICTURE:
                break
        return _mpeg12(data)


def _mpeg12(data: bytes) -> PacketFacts:
    kind, pictures = 0, 0
    sequence = closed = matrices = False
    for at, _ in start_code_units(data):
        code = data[at]
        if code == _PICTURE:
            kind, pictures = data[at + 2] >> 3 & 7, pictures + 1
        elif code == _SEQUENCE:
            sequence = True
        elif code == _GROUP:
            closed = bool(data[at + 4] & 0x40)
        elif code == _EXTENSION:
            extension = data[at + 1] >> 4
            matrices = matrices or extension == _MATRIX_EXTENSION
            if extension == _CODING_EXTENSION and data[at + 3] & 3 != 3:
                raise Uncertain("MPEG-2 field pictures")
    if pictures != 1 or kind == _D:
        raise Uncertain(f"an MPEG-1/2 packet of {pictures} pictures" if pictures != 1 else "MPEG-1 D-pictures")
    return PacketFacts(kind != _B or matrices, 0, kind == _I and sequence and closed)


class Mpeg4:
    """The parser of one MPEG-4 part 2 stream.

    Args:
        extradata: the configuration (VOL header), or nothing.
    """

    def __init__(self, extradata: bytes) -> None:
        self._layer = b""
        self._time_bits = 0
        self._units(extradata)

    def __call__(self, packet: memoryview) -> PacketFacts:
        data = bytes(packet)
        vops, lasting = self._units(data)
        if len(vops) != 1:
            raise Uncertain(f"an MPEG-4 packet of {len(vops)} VOPs (packed B-frames?)")
        bits = Bits(data[vops[0] + 1 : vops[0] + 17])
        kind = bits.u(2)
        while bits.flag():  # whole seconds
            pass
        bits.flag(), bits.u(self._time_bits), bits.flag()
        if not bits.flag():
            raise Uncertain("MPEG-4 VOPs that are not coded")
        return PacketFacts(kind != _VOP_B, lasting=lasting)

    def _units(self, data: bytes) -> tuple[list[int], bool]:
        """(where the VOPs begin, whether there is a new VOL header)."""
        units = list(start_code_units(data))
        vops, lasting = [at for at, _ in units if data[at] == _VOP], False
        for at, end in units:
            if 0x20 <= data[at] <= 0x2F and data[at:end] != self._layer:
                if self._layer:
                    raise Uncertain("the MPEG-4 layer header changes")
                self._layer, lasting = data[at:end], True
                self._time_bits = _time_bits(Bits(self._layer[1:]))
        if vops and not self._layer:
            raise Uncertain("an MPEG-4 VOP before any layer header")
        return vops, lasting


def _time_bits(bits: Bits) -> int:
    """Bits of `vop_time_increment`, from a VOL header."""
    bits.u(9)
    version = 1
    if bits.flag():
        version = bits.u(4)
        bits.u(3)
    if bits.u(4) == 15:
        bits.u(16)
    if bits.flag():
        bits.u(3)
        if bits.flag():
            bits.u(79)
    if bits.u(2):
        raise Uncertain("MPEG-4 shapes")
    bits.flag()
    resolution = bits.u(16)
    time_bits = max(1, (resolution - 1).bit_length())
    bits.flag()
    if bits.flag():
        bits.u(time_bits)
    bits.u(29)  # width and height between markers
    if bits.flag():
        raise Uncertain("interlaced MPEG-4")
    bits.flag()
    if bits.u(1 if version == 1 else 2) == 1:
        raise Uncertain("MPEG-4 sprites")
    return time_bits
