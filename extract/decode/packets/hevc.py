"""HEVC: temporal layers, pictures that no other of their layer is predicted from, closed entry points.

IDR and BLA pictures are cuts. CRA pictures are not: their leading pictures look back, and the high bits of picture order
counts come from the picture before. "Sub-layer non-reference" pictures (even types below 16) may serve higher layers,
hence `PacketFacts.layer`. Leading pictures that cannot be decoded (RASL behind an IDR, BLA or first CRA) are not shown,
as libavcodec does.

Uncertain: new sequence parameters on the way, pictures hidden by `pic_output_flag` or dropped by
`no_output_of_prior_pics_flag`, several views or layers.
Source: ITU-T H.265 7.3.1, 7.4.2.2, 8.1.3. Costs as `h264.py`.
"""

from .bits import Bits, nal_units, sized_units, unescaped
from .facts import PacketFacts, Uncertain

_RASL = (8, 9)
_BLA, _IDR, _CRA = (16, 17, 18), (19, 20), 21
_VPS, _SPS, _PPS, _END = 32, 33, 34, (36, 37)


class Hevc:
    """The parser of one stream.

    Args:
        extradata: `hvcC`, or NAL units with start codes, or nothing.
    """

    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = 0
        self._sets: dict[tuple[int, int], bytes] = {}
        self._sequences: set[bytes] = set()
        self._begun = False
        self._ended = False
        self._skips_leading = True
        if extradata[:1] == b"\1" and len(extradata) >= 23:
            self._length_bytes = (extradata[21] & 3) + 1
            at = 23
            for _ in range(extradata[22]):
                units, at = sized_units(extradata, at + 3, int.from_bytes(extradata[at + 1 : at + 3], "big"))
                for unit in units:
                    self._learn(unit)
        else:
            for begin, end in nal_units(extradata, 0):
                self._learn(extradata[begin:end])

    def __call__(self, packet: memoryview) -> PacketFacts:
        data = bytes(packet)
        shown = lasting = ends = False
        picture, layer = -1, 0
        for begin, end in nal_units(data, self._length_bytes):
            kind = data[begin] >> 1 & 63
            if data[begin] & 1 or data[begin + 1] >> 3:
                raise Uncertain("HEVC with several layers or views")
            if kind < 32:
                first = data[begin + 2] & 0x80
                if first and shown:
                    raise Uncertain("a packet holds more than one HEVC picture")
                shown = shown or bool(first)
                picture, layer = kind, (data[begin + 1] & 7) - 1
                drops = data[begin + 2] & 0x40 or (kind == _CRA and self._ended)
                if 16 <= kind < 24 and drops and self._begun:
                    raise Uncertain("an HEVC picture that drops those before it")
            elif kind in (_VPS, _SPS, _PPS):
                lasting = self._learn(data[begin:end]) or lasting
            elif kind in _END:
                ends = True
        facts = self._facts(picture, layer, lasting) if shown else PacketFacts(shown=False, lasting=lasting)
        self._begun = self._begun or shown
        self._ended = ends or (self._ended and not shown)
        return facts

    def _facts(self, kind: int, layer: int, lasting: bool) -> PacketFacts:
        if 16 <= kind < 24:
            self._skips_leading = kind != _CRA or not self._begun
            return PacketFacts(True, layer, kind in _BLA or kind in _IDR, True, lasting)
        if kind in _RASL and self._skips_leading:
            return PacketFacts(False, layer, False, False, lasting)
        return PacketFacts(kind >= 16 or kind % 2 == 1, layer, False, True, lasting)

    def _learn(self, nal: bytes) -> bool:
        """Remember a parameter set; whether it says anything new."""
        kind, nal = nal[0] >> 1 & 63, nal.rstrip(b"\0")
        if kind not in (_VPS, _SPS, _PPS) or nal[0] & 1 or nal[1] >> 3:
            return False
        if kind == _SPS:
            if self._begun and nal not in self._sequences:
                raise Uncertain("the HEVC sequence parameters change")
            self._sequences.add(nal)
            return False
        number = nal[2] >> 4  # of a video parameter set
        if kind == _PPS:
            bits = Bits(unescaped(nal[2:16]))
            number = bits.ue()
            bits.ue(), bits.flag()
            if bits.flag():
                raise Uncertain("HEVC pictures may be hidden (pic_output_flag)")
        known, self._sets[kind, number] = self._sets.get((kind, number)), nal
        return known != nal
