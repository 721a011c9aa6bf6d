"""From a codec to the parser of its packets: the one place where codecs are listed.

A codec that is not listed is not understood, and everything of
it is decoded.
"""

from collections.abc import Callable
from typing import Any

from .av1 import Av1
from .facts import PacketFacts, Parse, Uncertain
from .h264 import H264
from .hevc import Hevc
from .mjpeg import Mjpeg
from .mpeg import Mpeg4, Mpeg12
from .vp9 import vp8, vp9

# Every picture stands alone, and their decoders in libavcodec keep nothing from one to the next. Not all codecs that
# libav calls intra-only are such.
STANDS_ALONE = frozenset(
    {"prores", "dnxhd", "dvvideo", "jpeg2000", "huffyuv", "ffvhuff", "utvideo", "magicyuv", "rawvideo", "v210", "v410"}
)


def _ffv1(packet: memoryview) -> PacketFacts:
    """FFV1 predicts no pixels from other pictures, but between key frames its probabilities go on. The range coder's
    first bit, at even odds, says which it is (RFC 9043, 3.8.1, 4.3)."""
    return PacketFacts(cut=int.from_bytes(packet[:2], "big") >= 0x7F80)


PARSERS: dict[str, Callable[[bytes], Parse]] = {
    "h264": H264,
    "hevc": Hevc,
    "av1": Av1,
    "vp8": lambda _: vp8,
    "vp9": lambda _: vp9,
    "mpeg1video": Mpeg12,
    "mpeg2video": Mpeg12,
    "mpeg4": Mpeg4,
    "ffv1": lambda _: _ffv1,
    "mjpeg": Mjpeg,
    **dict.fromkeys(STANDS_ALONE, lambda _: lambda _: PacketFacts(cut=True)),
}
# Codecs whose non-reference pictures libavcodec's `skip_frame` leaves out, and the same ones as their parser here.
SKIPS_NONREF = frozenset({"h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4"})
# Of these it leaves out nothing, not even for key frames only.
SHOWS_ALL = frozenset({"vp9", "ffv1"})


def parser(codec: str, extradata: bytes) -> Parse:
    """The parser for a stream.

    Raises:
        Uncertain: the codec or its header is not understood.
    """
    if codec not in PARSERS:
        raise Uncertain(f"the structure of {codec} is not known here")
    try:
        return PARSERS[codec](extradata)
    except IndexError as error:
        raise Uncertain(f"the {codec} header is not understood: {error}") from error


def structure_of(context: Any, tier: str, stamp: str) -> Parse:
    """The parser that a plan for this stream needs.

    Raises:
        Uncertain: there can be none.
    """
    codec = context.codec.canonical_name
    in_order = codec in STANDS_ALONE or codec == "mjpeg"
    if stamp == "dts" and not in_order:
        raise Uncertain("AVI stores no presentation times")
    if tier == "reference" and not in_order and codec not in SKIPS_NONREF:
        raise Uncertain(f"the decoder itself leaves out what is no reference in {codec}")
    if tier == "keyframe" and codec in SHOWS_ALL:
        raise Uncertain(f"the decoder itself leaves nothing out in {codec}")
    return parser(codec, bytes(context.extradata or b""))
