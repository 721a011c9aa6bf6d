"""Motion JPEG: every picture is a cut if it brings its own tables.

A picture without quantisation tables is decoded with those of the one before. Huffman tables are often left out by all
(AVI: the standard's own are meant), which is fine; by some only, it is not.
Source: ITU-T T.81 B.1, B.2. Costs 3 us per packet.
"""

from .facts import PacketFacts, Uncertain

_HUFFMAN, _SCAN, _QUANTISATION = 0xC4, 0xDA, 0xDB


class Mjpeg:
    """The parser of one stream."""

    def __init__(self, extradata: bytes) -> None:
        self._huffman: bool | None = None

    def __call__(self, packet: memoryview) -> PacketFacts:
        markers, at = set(), 2
        while _SCAN not in markers:
            if packet[at] != 0xFF:
                raise Uncertain("a JPEG header that is not understood")
            if packet[at + 1] == 0xFF:  # filling
                at += 1
                continue
            markers.add(packet[at + 1])
            at += 2 + max(2, packet[at + 2] << 8 | packet[at + 3])
        huffman = _HUFFMAN in markers
        if _QUANTISATION not in markers or self._huffman not in (None, huffman):
            raise Uncertain("JPEG pictures that share tables")
        self._huffman = huffman
        return PacketFacts(cut=True)
