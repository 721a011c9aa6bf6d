"""VP8 and VP9: key frames are cuts; of everything between them each frame may change what the next decodes to.

VP9 frames that refresh no slot still adapt probabilities, and leave motion vectors and a segmentation map for the next
frame. So only what follows the last wanted frame before a key frame is left out.

Uncertain: several shown frames in a packet (spatial layers), empty packets.
Source: VP9 bitstream specification 6.2 and annex B; RFC 6386 9.1. Costs 2 us per packet.
"""

from .facts import PacketFacts, Uncertain


def vp8(packet: memoryview) -> PacketFacts:
    """Facts of a VP8 frame, from its first byte."""
    key, shown = not packet[0] & 1, bool(packet[0] & 0x10)
    return PacketFacts(cut=key, shown=shown)


def vp9(packet: memoryview) -> PacketFacts:
    """Facts of a VP9 frame or superframe."""
    frames = [_frame(packet[begin : begin + 2]) for begin in _frames(packet)]
    shown = sum(is_shown for _, is_shown in frames)
    if shown > 1:
        raise Uncertain("a VP9 packet shows several frames")
    return PacketFacts(cut=frames[0][0], shown=bool(shown))


def _frames(packet: memoryview) -> list[int]:
    """Where the frames of a superframe begin; [0] where it is a single frame."""
    marker = packet[-1]
    count, width = (marker & 7) + 1, (marker >> 3 & 3) + 1
    index_bytes = 2 + count * width
    if marker >> 5 != 6 or len(packet) < index_bytes or packet[-index_bytes] != marker:
        return [0]
    begins, at = [], 0
    for i in range(count):
        begins.append(at)
        size_at = len(packet) - index_bytes + 1 + i * width
        size = int.from_bytes(packet[size_at : size_at + width], "little")
        if not size:
            raise Uncertain("an empty frame in a VP9 superframe")
        at += size
    if at > len(packet) - index_bytes:
        raise IndexError("a VP9 superframe longer than its packet")
    return begins


def _frame(header: memoryview) -> tuple[bool, bool]:
    """(is a key frame, is shown)."""
    bits = int.from_bytes(header, "big") << (16 - 8 * len(header))
    if bits >> 14 != 2:
        raise Uncertain("a VP9 packet that does not begin with a frame")
    at = 11 - (bits >> 12 & 3 == 3)  # profile 3 has a reserved bit
    if bits >> at & 1:  # shows an older frame
        return False, True
    return not bits >> (at - 1) & 1, bool(bits >> (at - 2) & 1)
