"""The parsers against libav's decoders: what they call no reference can be left out, what they call a cut can be entered."""

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import decode_films as films
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.decode.packets.bits import Bits, nal_units
from nightreel.extract.decode.packets.facts import PacketFacts, Uncertain
from nightreel.extract.decode.packets.structure import PARSERS, parser

FRAMES = 72
HEVC = "log-level=none:pools=2:frame-threads=1:keyint=24:min-keyint=24:scenecut=0:b-adapt=0"
MPEG2 = {"bf": "2", "g": "12", "flags": "+cgop", "sc_threshold": "1000000000"}
# name: how it is made, how many cuts, whether there are pictures that are no reference
FILMS: dict[str, tuple[dict[str, Any], int, bool]] = {
    "closed.mp4": (
        {"options": {"bf": "3", "x264-params": "keyint=24:min-keyint=24:scenecut=0:b-adapt=0"}},
        3,
        True,
    ),
    "annexb.ts": (
        {"options": {"bf": "3", "x264-params": "keyint=24:min-keyint=24:scenecut=0:slices=3:b-adapt=0"}},
        3,
        True,
    ),
    "mbaff.mkv": ({"options": {"bf": "2", "x264-params": "tff=1:keyint=36:scenecut=0:b-adapt=0"}}, 2, True),
    "open.mp4": ({"options": {"bf": "3", "x264-params": "open-gop=1:keyint=24:scenecut=0:b-adapt=0"}}, 1, True),
    "closed hevc.mp4": ({"codec": "libx265", "options": {"x265-params": f"{HEVC}:no-open-gop=1:bframes=3"}}, 3, True),
    "open hevc.mkv": ({"codec": "libx265", "options": {"x265-params": f"{HEVC}:open-gop=1:bframes=3"}}, 1, True),
    "vp9.webm": (
        {"codec": "libvpx-vp9", "options": {"g": "24", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}},
        3,
        False,
    ),
    "vp8.webm": ({"codec": "libvpx", "options": {"g": "24", "auto-alt-ref": "1", "lag-in-frames": "9"}}, 3, False),
    "av1.mkv": ({"codec": "libsvtav1", "options": {"preset": "12", "g": "24", "svtav1-params": "lp=2"}}, 3, True),
    "mpeg2.mkv": ({"codec": "mpeg2video", "options": MPEG2}, 7, True),
    "mpeg1.mkv": ({"codec": "mpeg1video", "options": MPEG2}, 7, True),
    "mpeg4.mp4": ({"codec": "mpeg4", "options": {"bf": "2", "g": "24"}}, 0, True),
    "ffv1.mkv": ({"codec": "ffv1", "options": {"g": "24", "level": "3"}}, 3, False),
}


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 200, (40, 64 + FRAMES, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    shifts = [(round(16 + 12 * math.sin(i / 3)), 4 * i) for i in range(FRAMES)]
    return [np.ascontiguousarray(noise[top : top + 96, left : left + 128]) for top, left in shifts]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("structure")


def film(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.exists():
        films.make_film(path, pictures(), range(FRAMES), time_base=Fraction(1, 25), **FILMS[name][0])
    return path


Wanted = Callable[[int, PacketFacts], bool]


def decoded(path: Path, wanted: Wanted = lambda index, facts: True) -> dict[int, str]:
    """Time to pixels of what comes out when only the wanted packets are sent."""
    import av

    found: dict[int, str] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        parse = parse_of(stream)
        for index, packet in enumerate(container.demux(stream)):
            if packet.size and not wanted(index, parse(memoryview(packet))):
                continue
            for frame in packet.decode():
                found[frame.pts] = hashlib.sha256(frame.to_ndarray()).hexdigest()
    return found


def parse_of(stream: Any) -> Any:
    context = stream.codec_context
    return parser(context.codec.canonical_name, bytes(context.extradata or b""))


def facts_of(path: Path) -> list[tuple[PacketFacts, bool]]:
    """(facts, the container says that it is a key frame) of each packet."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        parse = parse_of(stream)
        return [(parse(memoryview(p)), p.is_keyframe) for p in container.demux(stream) if p.size]


@pytest.mark.parametrize("name", FILMS)
def test_cuts_and_references_are_found(folder: Path, name: str) -> None:
    _, cuts, droppable = FILMS[name]
    facts = facts_of(film(folder, name))
    assert sum(f.cut for f, _ in facts) == cuts
    assert all(key for f, key in facts if f.cut)
    assert sum(f.shown for f, _ in facts) == FRAMES
    assert any(not f.reference for f, _ in facts) == droppable
    assert not any(f.lasting for f, _ in facts[1:])


@pytest.mark.parametrize("name", [name for name, (_, _, droppable) in FILMS.items() if droppable])
def test_what_is_no_reference_can_be_left_out(folder: Path, name: str) -> None:
    path = film(folder, name)
    whole = decoded(path)
    part = decoded(path, lambda _, facts: facts.reference)
    assert 0 < len(part) < len(whole) == FRAMES
    assert part == {stamp: whole[stamp] for stamp in part}


@pytest.mark.parametrize("name", ["closed.mp4", "closed hevc.mp4", "av1.mkv", "mpeg4.mp4", "mpeg2.mkv", "vp9.webm"])
def test_what_is_a_reference_cannot(folder: Path, name: str) -> None:
    path = film(folder, name)
    references = [i for i, (facts, _) in enumerate(facts_of(path)) if facts.reference and not facts.cut]
    whole, changed = decoded(path), 0
    for missing in references[:4]:
        try:
            part = decoded(path, lambda index, _, missing=missing: index != missing)
            # Other pixels, or (HEVC) no pictures at all until the next cut.
            changed += len(part) < FRAMES - 1 or part != {stamp: whole[stamp] for stamp in part}
        except (OSError, ValueError):
            changed += 1  # it did not even decode
    assert changed


@pytest.mark.parametrize("name", [name for name, (_, cuts, _) in FILMS.items() if cuts > 1])
def test_a_stream_can_be_entered_at_every_cut(folder: Path, name: str) -> None:
    path = film(folder, name)
    whole = decoded(path)
    for cut in [i for i, (facts, _) in enumerate(facts_of(path)) if facts.cut]:

        def behind(index: int, facts: PacketFacts, cut: int = cut) -> bool:
            return index >= cut

        part = decoded(path, behind)
        assert len(part) > 10
        assert part == {stamp: whole[stamp] for stamp in part}


def test_layers_of_hevc(tmp_path: Path) -> None:
    how = {"codec": "libx265", "options": {"x265-params": f"{HEVC}:no-open-gop=1:bframes=3:temporal-layers=3"}}
    path = films.make_film(tmp_path / "layers.mp4", pictures(), [40 * i for i in range(FRAMES)], **how)
    facts = facts_of(path)
    assert {f.layer for f, _ in facts} >= {0, 1}
    whole, part = decoded(path), decoded(path, lambda _, f: f.layer == 0)
    assert 0 < len(part) < FRAMES
    assert part == {stamp: whole[stamp] for stamp in part}


def test_field_pictures_and_packed_frames_are_uncertain(folder: Path) -> None:
    packet = b"\0\0\1\x00\0\x08\xff\xf8\0\0\1\xb5\x8f\xff\xf1\x80\0\0\1\x01\0"  # picture_structure 1: a top field
    with pytest.raises(Uncertain, match="field pictures"):
        PARSERS["mpeg2video"](b"")(memoryview(packet))
    import av

    with av.open(str(film(folder, "mpeg4.mp4"))) as container:
        stream = container.streams.video[0]
        first = bytes(next(container.demux(stream)))
        with pytest.raises(Uncertain, match="2 VOPs"):
            parse_of(stream)(memoryview(first + first))
        empty = first[: first.index(b"\0\0\1\xb6")] + b"\0\0\1\xb6\x40\x00\x00\x00\x00"  # vop_coded 0
        with pytest.raises(Uncertain, match="not coded"):
            parse_of(stream)(memoryview(empty))


@pytest.mark.parametrize(
    ("codec", "packets", "why"),
    [
        ("h264", [b"\0\0\1\x6e\x80\0"], "NAL units of type 14"),
        ("h264", [b"\0\0\1\x42\xe0\0"], "NAL units of type 2"),
        ("h264", [b"\0\0\1\x65\x88\0\0\1\x65\x88\0"], "more than one H.264 picture"),
        ("hevc", [b"\0\0\1\x27\x01\xa0\0"], "several layers or views"),
        ("hevc", [b"\0\0\1\x26\x01\xa0\0\0\1\x26\x01\xa0\0"], "more than one HEVC picture"),
        ("hevc", [b"\0\0\1\x26\x01\xa0\0", b"\0\0\1\x26\x01\xe0\0"], "drops those before"),
        ("hevc", [b"\0\0\1\x26\x01\xa0\0\0\1\x48\x01", b"\0\0\1\x2a\x01\xa0\0"], "drops those before"),
        ("vp9", [b"\x88\x82\x49\xc1\x01\x02\xc1"], "shows several frames"),
        ("vp9", [b"\x00\x00"], "does not begin with a frame"),
        ("av1", [b"\x36\x08\x00"], "spatial layers"),
        ("av1", [b"\x32\x01\x00"], "before any sequence header"),
        ("mpeg4", [b"\0\0\1\xb6\x50\0\0"], "before any layer header"),
        ("mpeg1video", [b"\0\0\1\xb3\0\0\0"], "0 pictures"),
        ("mpeg1video", [b"\0\0\1\xb3\1\0\0\0\0\1\0\0\x08", b"\0\0\1\xb3\2\0\0"], "size changes"),
        ("mjpeg", [b"\xff\xd8\xff\xda\0\2"], "share tables"),
        ("mjpeg", [b"\xff\xd8\xff\xdb\0\2\xff\xda\0\2", b"\xff\xd8\xff\xdb\0\2\xff\xc4\0\2\xff\xda\0\2"], "share"),
    ],
)
def test_what_is_not_provable_is_uncertain(codec: str, packets: list[bytes], why: str) -> None:
    parse = PARSERS[codec](b"")
    for packet in packets[:-1]:
        parse(memoryview(packet))
    with pytest.raises(Uncertain, match=why):
        parse(memoryview(packets[-1]))


def test_hevc_leading_pictures_without_their_past_are_not_shown() -> None:
    parse = PARSERS["hevc"](b"")
    kinds = {"CRA": 21, "RASL_N": 8, "RASL_R": 9, "TRAIL_R": 1, "TRAIL_N": 0, "IDR": 20}

    def facts(kind: str) -> PacketFacts:
        return parse(memoryview(b"\0\0\1" + bytes([kinds[kind] << 1, 1, 0x80, 0])))

    assert facts("CRA") == PacketFacts(cut=False)
    assert not facts("RASL_N").shown
    assert facts("TRAIL_R") == PacketFacts()
    assert facts("CRA") == PacketFacts()
    assert facts("RASL_N") == PacketFacts(reference=False)
    assert facts("TRAIL_N") == PacketFacts(reference=False)
    assert facts("IDR") == PacketFacts(cut=True)
    assert not facts("RASL_R").shown


def test_unknown_codecs_and_broken_headers_are_uncertain() -> None:
    with pytest.raises(Uncertain, match="structure of cinepak is not known"):
        parser("cinepak", b"")
    with pytest.raises(Uncertain, match="h264 header is not understood"):
        parser("h264", b"\1\x64\0\x1f\xff\xe1\0\x20\x67")
    assert parser("prores", b"")(memoryview(b"")) == PacketFacts(cut=True)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(PARSERS)), st.lists(st.binary(max_size=60), max_size=3), st.booleans())
def test_nonsense_raises_nothing_else(codec: str, packets: list[bytes], framed: bool) -> None:
    """Whatever a hostile file holds: facts, `Uncertain`, or `IndexError`."""
    try:
        parse = PARSERS[codec](packets[0] if packets else b"")
        for packet in packets:
            parse(memoryview(b"\0\0\1" + packet if framed else packet))
    except (Uncertain, IndexError):
        pass


@pytest.mark.parametrize("name", ["closed.mp4", "annexb.ts", "open hevc.mkv", "av1.mkv", "mpeg4.mp4", "vp9.webm"])
def test_spoiled_packets_raise_nothing_else(folder: Path, name: str) -> None:
    import av

    rng = np.random.default_rng(2)
    with av.open(str(film(folder, name))) as container:
        stream = container.streams.video[0]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
        for _ in range(40):
            parse = parse_of(stream)
            try:
                for packet in packets[:12]:
                    spoiled = bytearray(packet[: int(rng.integers(1, len(packet) + 1))])
                    spoiled[int(rng.integers(min(40, len(spoiled))))] = int(rng.integers(256))
                    parse(memoryview(bytes(spoiled)))
            except (Uncertain, IndexError):
                pass


def test_bits() -> None:
    unsigned = Bits(bytes([0b1_010_011_0, 0b0100_0010, 0b1_0000000]))
    assert [unsigned.ue() for _ in range(5)] == [0, 1, 2, 3, 4]
    signed = Bits(bytes([0b1_010_011_0, 0b0100_0010, 0b1_0000000]))
    assert [signed.se() for _ in range(5)] == [0, 1, -1, 2, -2]
    assert (signed.flag(), signed.u(6)) == (False, 0)
    with pytest.raises(IndexError):
        Bits(b"\0" * 9).ue()
    with pytest.raises(IndexError, match="9 bits wanted, 8 left"):
        Bits(b"\1").u(9)


def test_nal_units_of_both_framings() -> None:
    assert list(nal_units(b"\0\0\0\2ab\0\0\0\1c", 4)) == [(4, 6), (10, 11)]
    assert list(nal_units(b"\0\0\1ab\0\0\1c", 0)) == [(3, 5), (8, 9)]
    assert list(nal_units(b"", 4)) == list(nal_units(b"", 0)) == []
    for broken in (b"\0\0\0\3ab", b"\0\0\0\0", b"\0\0\0"):
        with pytest.raises(IndexError, match="do not fit"):
            list(nal_units(broken, 4))


def test_facts_compare_by_value() -> None:
    assert replace(PacketFacts(), layer=1) == PacketFacts(layer=1)
