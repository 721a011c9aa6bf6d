"""Decoding only what samples depend on gives what decoding everything gives: the same times, masks and pixels.

Held against a full decode, frame hash by frame hash, over every kind of structure that the encoders here can make, and over
the real files of `../shared/data`. The films are busy, so that a picture predicted from a wrong one differs.
"""

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel.extract.clips import ClipPlan, consecutive
from nightreel.extract.decode import plan
from nightreel.extract.decode.base import Effort, Restart
from nightreel.extract.decode.open import open_video
from nightreel.extract.decode.packets import structure
from nightreel.extract.decode.packets.facts import PacketFacts, Parse
from nightreel.extract.errors import VideoError
from nightreel.extract.sample import Clock, Grid, sample

WIDTH, HEIGHT, FPS, FRAMES = 160, 112, 25, 220
RATES = ([0.3], [1], [2], [4], [0.3, 4])

X264 = "keyint=250:threads=2"
X265 = "log-level=none:pools=2:frame-threads=1"
# name: (codec, options, most packets sent at 1 fps as a share; 1.0: nothing can be left out)
FILMS: dict[str, tuple[str, dict[str, str], float]] = {
    "plain.mp4": ("libx264", {"bf": "3", "x264-params": f"{X264}:b-adapt=0"}, 0.6),
    "pyramid.mkv": ("libx264", {"bf": "7", "x264-params": f"{X264}:b-adapt=0:b-pyramid=normal"}, 0.7),
    "no pyramid.mp4": ("libx264", {"bf": "3", "x264-params": f"{X264}:b-adapt=0:b-pyramid=none"}, 0.4),
    "closed.mp4": ("libx264", {"bf": "3", "x264-params": "keyint=25:min-keyint=25:scenecut=0"}, 0.2),
    "odd.mkv": ("libx264", {"bf": "2", "x264-params": "keyint=33:min-keyint=33:scenecut=0"}, 0.7),
    "open.mp4": ("libx264", {"bf": "3", "x264-params": "keyint=30:open-gop=1:b-adapt=0"}, 0.6),
    "open.ts": ("libx264", {"bf": "3", "x264-params": "keyint=30:open-gop=1:b-adapt=0"}, 0.6),
    "all.mp4": ("libx264", {"bf": "0", "x264-params": X264}, 1.0),
    "refresh.mp4": ("libx264", {"bf": "0", "x264-params": "keyint=40:intra-refresh=1"}, 1.0),
    "annexb.ts": ("libx264", {"bf": "3", "x264-params": "keyint=50:min-keyint=50:scenecut=0"}, 0.4),
    "mbaff.mp4": ("libx264", {"bf": "3", "x264-params": f"{X264}:tff=1:b-adapt=0"}, 0.7),
    "slices.mp4": ("libx264", {"bf": "3", "x264-params": f"{X264}:slices=4:b-adapt=0"}, 0.6),
    "ldr.flv": ("libx264", {"bf": "2", "x264-params": "keyint=60:weightp=2:ref=5"}, 0.7),
    "closed hevc.mp4": ("libx265", {"x265-params": f"{X265}:keyint=50:no-open-gop=1:bframes=3"}, 0.4),
    "open hevc.mkv": ("libx265", {"x265-params": f"{X265}:keyint=40:open-gop=1:bframes=4"}, 0.6),
    "layers hevc.mp4": ("libx265", {"x265-params": f"{X265}:keyint=60:temporal-layers=3:b-adapt=0:bframes=3"}, 0.6),
    "hevc.ts": ("libx265", {"x265-params": f"{X265}:keyint=50:open-gop=0:bframes=3"}, 0.4),
    "altref vp9.webm": ("libvpx-vp9", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8", "g": "70"}, 0.8),
    "vp8.webm": ("libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8", "g": "70"}, 0.8),
    "av1.mkv": ("libsvtav1", {"preset": "12", "g": "75", "svtav1-params": "lp=2"}, 0.8),
    "av1.mp4": ("libsvtav1", {"preset": "11", "g": "250", "svtav1-params": "lp=2:pred-struct=1"}, 1.0),
    "mpeg2.mpg": ("mpeg2video", {"bf": "2", "g": "12"}, 0.6),
    "mpeg2.mkv": ("mpeg2video", {"bf": "2", "g": "15", "flags": "+cgop", "sc_threshold": "1000000000"}, 0.6),
    "mpeg4.mp4": ("mpeg4", {"bf": "2", "g": "25"}, 0.6),
    "mpeg4.avi": ("mpeg4", {"bf": "0", "g": "25"}, 1.0),
    "mjpeg.avi": ("mjpeg", {"q:v": "6"}, 0.1),
    "mjpeg.mkv": ("mjpeg", {"q:v": "6"}, 0.1),
    "prores.mov": ("prores_ks", {}, 0.1),
    "ffv1.mkv": ("ffv1", {"g": "20", "level": "3"}, 0.8),
}
PIX_FMT = {"mjpeg": "yuvj420p", "prores_ks": "yuv422p10le"}
# Known before the first sample: everything is decoded, without a restart.
DECODED_WHOLE = {"mpeg4.avi": "AVI stores no presentation times"}

# Its key frames are such only for the container.
RESTARTS = ("refresh.mp4", "keyframe")


@dataclass(frozen=True)
class Shown:
    """A frame of which only time and pixels are left."""

    time_s: float
    sha: str


def busy_pictures() -> Iterator[np.ndarray]:
    """Noise that slides over a gradient, with a block that jumps: nothing looks like what was elsewhere or before."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 160, (HEIGHT // 4 + 16, WIDTH // 4 + FRAMES, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    ramp = np.linspace(0, 90, WIDTH).astype(np.uint8)[None, :, None]
    for i in range(FRAMES):
        top, left = round(8 + 8 * math.sin(i / 5)), 3 * i
        picture = noise[top : top + HEIGHT, left : left + WIDTH] + ramp
        if i > FRAMES // 2:
            picture = 255 - picture
        picture[20:60, (7 * i) % 120 :][:, :32] = (11 * i % 256, 5 * i % 256, 200)
        yield picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planned")


def film(folder: Path, name: str) -> Path:
    """A film of `FILMS`, made once."""
    import av

    path = folder / name
    if path.exists():
        return path
    codec, options, _ = FILMS[name]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, PIX_FMT.get(codec, "yuv420p")
        if codec == "libx264":
            stream.options = {**options, "preset": "veryfast" if "pyramid" not in name else "medium"}
        for i, picture in enumerate(busy_pictures()):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def shown(path: Path, tier: str = "exact") -> tuple[list[Shown], float | None, Clock]:
    """Every frame of a full decode, the duration its header says, and its clock."""
    clock = Clock()
    with open_video(path, tier=tier, decode_all=True) as reader:
        frames = [Shown(f.time_s, hashlib.sha256(f.rgb()).hexdigest()) for f in clock.watch(reader.frames())]
        return frames, reader.facts.duration_s, clock


def planned(path: Path, rates: Sequence[float], tier: str = "exact") -> tuple[list[tuple[Shown, int]], Any]:
    """The planned samples, and the reader they came from."""
    with open_video(path, tier=tier) as reader:
        return [
            (Shown(f.time_s, hashlib.sha256(f.rgb()).hexdigest()), mask)
            for f, mask in reader.samples([Grid(rate) for rate in rates])
        ], reader


@pytest.mark.parametrize("name", FILMS)
def test_planned_samples_are_those_of_a_full_decode(folder: Path, name: str) -> None:
    path = film(folder, name)
    frames, duration_s, clock = shown(path)
    assert len(frames) == FRAMES
    assert len({frame.sha for frame in frames}) == FRAMES  # or the comparison would prove little
    for rates in RATES:
        got, reader = planned(path, rates)
        assert got == list(sample(frames, [Grid(rate) for rate in rates], duration_s)), rates
        assert reader.clock == clock
        assert (reader.effort.why_all or "").startswith(DECODED_WHOLE.get(name, ""))
        assert bool(reader.effort.why_all) == (name in DECODED_WHOLE)
        assert reader.effort.packets >= FRAMES
        if rates == [1]:
            assert reader.effort.sent <= FILMS[name][2] * reader.effort.packets
            assert reader.effort.frames <= reader.effort.sent


@pytest.mark.parametrize("name", ["closed.mp4", "altref vp9.webm", "layers hevc.mp4", "av1.mp4"])
def test_planned_samples_of_clips_are_those_of_a_full_decode(folder: Path, name: str) -> None:
    """Dense, sparse and overlapping clips, beside single frames."""
    grids = [consecutive(16, 0.1).grid, ClipPlan(3, 1 / 25, 2.0).grid, ClipPlan(4, 0.3, 0.5).grid, Grid(1)]
    path = film(folder, name)
    frames, duration_s, _ = shown(path)
    with open_video(path) as reader:
        got = [(Shown(f.time_s, hashlib.sha256(f.rgb()).hexdigest()), mask) for f, mask in reader.samples(grids)]
    assert got == list(sample(frames, grids, duration_s))
    assert not reader.effort.why_all


@pytest.mark.parametrize("tier", ["reference", "keyframe"])
@pytest.mark.parametrize("name", FILMS)
def test_tiers_are_those_of_the_decoder_that_skips(folder: Path, name: str, tier: str) -> None:
    path = film(folder, name)
    frames, duration_s, _ = shown(path, tier)
    for rates in ([1], [0.3, 4]):
        if (name, tier) == RESTARTS:
            with pytest.raises(Restart, match="planned was"):
                planned(path, rates, tier)
            continue
        got, reader = planned(path, rates, tier)
        assert got == list(sample(frames, [Grid(rate) for rate in rates], duration_s)), rates
        if reader.effort.why_all is None:
            assert reader.clock.frames == FRAMES


@pytest.mark.parametrize("name", ["closed.mp4", "altref vp9.webm", "layers hevc.mp4"])
def test_decoding_all_is_the_plain_path(folder: Path, name: str) -> None:
    path = film(folder, name)
    frames, duration_s, clock = shown(path)
    with open_video(path, decode_all=True, threads=1) as reader:
        got = [(Shown(f.time_s, hashlib.sha256(f.rgb()).hexdigest()), mask) for f, mask in reader.samples([Grid(1)])]
    assert got == list(sample(frames, [Grid(1)], duration_s))
    assert reader.clock == clock
    assert reader.effort == Effort(FRAMES, FRAMES, FRAMES, None)


def test_key_frames_alone_are_cheap(folder: Path) -> None:
    _, reader = planned(film(folder, "odd.mkv"), [1], "keyframe")
    assert reader.effort.frames == 7
    assert reader.effort.sent < FRAMES / 2  # nearly all of these to get the first frame: it comes two key frames later


@pytest.mark.parametrize("name", ["no pyramid.mp4", "altref vp9.webm", "open hevc.mkv", "mpeg4.mp4"])
def test_a_wrong_parser_would_be_noticed(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof that these tests can fail: every other reference is said to be none, and pixels or frames differ."""
    path = film(folder, name)
    frames, duration_s, _ = shown(path)
    with open_video(path) as reader:
        codec = reader.facts.codec
    right, seen = structure.PARSERS[codec], []

    def careless(extradata: bytes) -> Parse:
        parse = right(extradata)

        def lying(packet: memoryview) -> PacketFacts:
            facts = parse(packet)
            seen.append(facts)
            return replace(facts, reference=facts.reference and len(seen) % 2 == 1)

        return lying

    monkeypatch.setitem(structure.PARSERS, codec, careless)
    try:
        got, _ = planned(path, [4])
    except Restart:
        return
    assert got != list(sample(frames, [Grid(4)], duration_s))


def spoil(path: Path, to: Path, which: Sequence[int], skip: int = 0) -> Path:
    """A copy in which these packets (by decoding order) hold nonsense, behind their first `skip` bytes."""
    import av

    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        for index, packet in enumerate(container.demux(video=0)):
            if index in which:
                begin, end = packet.pos + skip, packet.pos + packet.size
                data[begin:end] = b"\xff" * (end - begin)
    to.write_bytes(data)
    return to


def test_a_fault_that_no_sample_needs_does_not_show(folder: Path, tmp_path: Path) -> None:
    path = film(folder, "prores.mov")
    spoiled = spoil(path, tmp_path / "spoiled.mov", [90])
    whole, _ = planned(path, [1])
    got, reader = planned(spoiled, [1])
    assert got == whole
    assert reader.effort.why_all is None
    with pytest.raises(VideoError, match="after 90 good frames"), open_video(spoiled, decode_all=True) as reader:
        list(reader.samples([Grid(1)]))


def test_a_fault_that_a_sample_needs_restarts_and_is_found(folder: Path, tmp_path: Path) -> None:
    spoiled = spoil(film(folder, "prores.mov"), tmp_path / "spoiled.mov", [100])
    with pytest.raises(Restart, match="a fault on the way"):
        planned(spoiled, [1])
    with pytest.raises(VideoError, match="after 100 good frames"), open_video(spoiled, decode_all=True) as reader:
        list(reader.samples([Grid(1)]))


def test_lengths_that_do_not_fit_are_decoded_whole(folder: Path, tmp_path: Path) -> None:
    spoiled = spoil(film(folder, "no pyramid.mp4"), tmp_path / "spoiled.mp4", range(12, 14))
    with pytest.raises(VideoError), open_video(spoiled) as reader:
        list(reader.samples([Grid(1)]))
    assert reader.effort.why_all is not None
    assert "lengths of the NAL units" in reader.effort.why_all


@pytest.mark.parametrize("most", [1, 8, 60])
@pytest.mark.parametrize("name", ["plain.mp4", "layers hevc.mp4", "altref vp9.webm", "open.ts"])
def test_holding_fewer_packets_changes_nothing(
    folder: Path, name: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(folder, name)
    frames, duration_s, _ = shown(path)
    monkeypatch.setattr(plan, "MOST_PACKETS", most)
    try:
        got, _ = planned(path, [1])
    except Restart as restart:
        assert "do not settle" in restart.why
        assert most == 1
        return
    assert got == list(sample(frames, [Grid(1)], duration_s))


def test_a_beat_for_every_packet(folder: Path) -> None:
    beats = []
    with open_video(film(folder, "closed.mp4")) as reader:
        early = reader.effort.packets
        reader.on_beat = lambda: beats.append(1)
        list(reader.samples([Grid(0.3)]))
    assert len(beats) >= FRAMES - early


# --- real files, in children: one that crashes the decoder must not take the tests along ---

# Right as well (`benchmarks/decode.py`), but half of the time.
SLOW = {
    "8k24fps_300ms.mp4",
    "video_dovi_1920x1080_60fps_dvav_09.mp4",
    "testvideo.mp4",
    "sowt-with-video.mov",
    "sample_fragmented_seekable_multiple_sidx.mp4",
    "smpte-2997.mp4",
    "big_buck_bunny_0_30.webm",
}
# Encrypted, and decodes to something else every time, planned or not.
RANDOM = {"sample_fragmented_sgpd_v2.mp4"}
REAL_RATES = [0.3, 2]


def outcome(path: str, decode_all: bool) -> dict[str, Any]:
    """What came of a file: samples, fault, clock; and whether everything was decoded."""
    found: dict[str, Any] = {"samples": []}
    try:
        with open_video(path, decode_all=decode_all, threads=1) as reader:
            found |= {"why_all": reader.effort.why_all}
            for frame, mask in reader.samples([Grid(rate) for rate in REAL_RATES]):
                found["samples"].append((frame.time_s, mask, hashlib.sha256(frame.rgb()).hexdigest()))
    except VideoError as error:
        found["fault"] = [error.kind, str(error)]
    except Restart as restart:
        return outcome(path, True) | {"why_all": f"restart: {restart.why}"}
    if "why_all" in found:
        found |= {"why_all": reader.effort.why_all, "clock": vars(reader.clock)}
        found["sent"] = reader.effort.sent / max(1, reader.effort.packets)
    return found


def compare(path: str) -> dict[str, Any]:
    whole, part = outcome(path, True), outcome(path, False)
    keys = ("samples", "fault", "clock")
    return {"differs": [key for key in keys if whole.get(key) != part.get(key)]} | {
        key: part.get(key) for key in ("why_all", "sent")
    }


@pytest.fixture(scope="module")
def real(shared_data: Path) -> dict[str, dict[str, Any]]:
    """What `compare` says, by file name; two children share the files."""
    paths = sorted(p for p in [*shared_data.glob("clips/*"), *shared_data.glob("awkward/*")] if p.suffix != ".jsonl")
    paths = [path for path in paths if path.name not in SLOW | RANDOM]
    if not paths:
        pytest.skip("neither clips nor awkward files are there")
    children = []
    for share in (paths[::2], paths[1::2]):
        child = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdin is not None
        child.stdin.write(json.dumps([str(path) for path in share]))
        child.stdin.close()
        child.stdin = None
        children.append((child, share))
    found: dict[str, dict[str, Any]] = {}
    for child, share in children:
        out, _ = child.communicate(timeout=300)
        found |= dict(zip((path.name for path in share), map(json.loads, out.splitlines()), strict=True))
    return found


def test_real_files_come_out_the_same(real: dict[str, dict[str, Any]]) -> None:
    assert {name: row["differs"] for name, row in real.items() if row["differs"]} == {}


def test_most_real_files_are_planned(real: dict[str, dict[str, Any]]) -> None:
    """And those that are not have a reason from this list."""
    known = (
        "AVI",
        "do not fit",
        "NAL units of type 14",
        "views",
        "more than one H.264",
        "times go back",
        "begin with a frame",
    )
    whys = {name: row["why_all"] for name, row in real.items() if row["why_all"]}
    assert [f"{name}: {why}" for name, why in whys.items() if not any(words in why for words in known)] == []
    decoded = [row["sent"] for row in real.values() if row.get("sent") is not None]
    assert len(whys) < len(decoded) / 6
    assert sorted(decoded)[len(decoded) // 2] < 0.75


if __name__ == "__main__":
    for name in json.load(sys.stdin):
        print(json.dumps(compare(name)), flush=True)
