"""What the extraction benchmarks share: films made on the spot, an encoder that costs nothing, one timed run.

A film is a base of `BASE_S` seconds, rendered and encoded once, and looped by remuxing its packets with shifted times;
every base starts with a picture that stands alone and ends closed, so a seam is what a cut is. Content:

    busy    a mosaic of photographs at their own resolution, panned and zoomed, three cut-outs flying over it, light
            sensor noise, a cut every 10 s; encoded at the bit rate that streaming uses (0.8 / 2.5 / 5 Mbit/s)
    static  one mosaic standing still for 10 s, then the next; hardly any noise; constant quality

`scenecut=0` everywhere, so that the distance between key frames is what the name says. What it is not: camera footage.
Motion is smooth and global, which encoders like, and cuts fall on key frames. Making all takes 10 minutes and 1 GB.
"""

import json
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from nightreel.demo.films import photographs
from nightreel.extract.encoders.family import Family
from nightreel.extract.encoders.registry import FAMILIES
from nightreel.extract.geometry import Geometry
from nightreel.extract.run import Settings, available_cores, extract
from nightreel.extract.segment import Segments
from nightreel.extract.store import Store

FPS, BASE_S, SHOT_S, RATE_HZ = 25, 20, 10, 48_000
SIZES = {"1080p": (1920, 1080), "720p": (1280, 720), "360p": (640, 360), "144p": (256, 144)}
KBIT = {"1080p": 5000, "720p": 2500, "360p": 800, "144p": 150}
SECONDS = {"1080p": 80, "720p": 200, "360p": 600, "144p": 600}  # so that decoding takes one core 10 to 20 s
WITH_SOUND = (("1080p", "keyint250"), ("720p", "gop2"))
DECODED_TO_CHECK = 3000  # frames; of longer films only all time stamps are checked, and so many frames decoded

_X264 = "scenecut=0:bframes=3"
STRUCTURES: dict[str, tuple[str, str, dict[str, str]]] = {  # codec, file type, options
    "keyint250": ("libx264", "mp4", {"x264-params": f"{_X264}:keyint=250"}),
    "gop2": ("libx264", "mp4", {"x264-params": f"{_X264}:keyint=50:min-keyint=50"}),
    "gop1": ("libx264", "mp4", {"x264-params": f"{_X264}:keyint=25:min-keyint=25"}),
    "allref": ("libx264", "mp4", {"x264-params": "scenecut=0:bframes=0:keyint=250"}),
    "open": ("libx264", "mp4", {"x264-params": f"{_X264}:keyint=50:min-keyint=50:open-gop=1"}),
    "static": ("libx264", "mp4", {"x264-params": f"{_X264}:keyint=250:crf=23"}),
    "hevc": ("libx265", "mp4", {"x265-params": "log-level=error:scenecut=0:keyint=250"}),
    "hevcclosed": ("libx265", "mp4", {"x265-params": "log-level=error:scenecut=0:keyint=250:open-gop=0"}),
    "vp9": ("libvpx-vp9", "webm", {"auto-alt-ref": "1", "lag-in-frames": "25", "g": "250", "cpu-used": "5"}),
}


@dataclass(frozen=True, slots=True)
class Film:
    name: str
    path: Path
    frames: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Cache:
    """Where films are kept. `preset`: of x264 and x265. `base_s`: of the part that is looped."""

    folder: Path
    preset: str = "medium"
    base_s: int = BASE_S

    def film(self, name: str, seconds: float | None = None) -> Film:
        """The film of a name like `720p-gop2` (a size, a structure; `1080p-keyint250` and `720p-gop2` have sound)."""
        size, structure = name.split("-")
        loops = max(1, round((seconds or SECONDS[size]) / self.base_s))
        base = self.folder / f"{name}-{self.preset}-{self.base_s}s.{STRUCTURES[structure][1]}"
        path = base.with_name(f"{base.stem}-x{loops}{base.suffix}")
        frames = self.base_s * FPS
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            if not base.exists():
                say(f"making {base.name}")
                how = {"size": size, "structure": structure, "preset": self.preset, "frames": frames}
                _written(base, partial(encode, **how))
            _written(path, partial(loop, base=base, loops=loops, base_s=self.base_s), loops * frames)
        return Film(name, path, loops * frames, loops * self.base_s)

    def copies(self, name: str, seconds: float, count: int) -> list[Film]:
        """The same film `count` times, each of other bytes: an empty box of its own length at the end of the file."""
        film = self.film(name, seconds)
        out = [replace(film, path=film.path.with_name(f"{film.path.stem}-copy{k}.mp4")) for k in range(count)]
        for k, copy in enumerate(out):
            if not copy.path.exists():
                copy.path.write_bytes(film.path.read_bytes() + (8 + k).to_bytes(4, "big") + b"free" + bytes(k))
        return out

    def many_clips(self, count: int) -> list[Path]:
        """Clips of 2 s, 192 x 108, each of another part of a photograph."""
        folder, photos, paths = self.folder / "clips", list(photographs().values()), []
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(count):
            paths.append(folder / f"{k:04}.mp4")
            if not paths[-1].exists():
                top, left = np.random.default_rng(k).integers(0, (120, 140))
                views = (photos[k % len(photos)][top : top + 108, left + i : left + i + 192] for i in range(2 * FPS))
                shown = (av.VideoFrame.from_ndarray(np.ascontiguousarray(view), "rgb24") for view in views)
                how = ("libx264", (192, 108), 150, {"preset": "veryfast"})
                _written(paths[-1], partial(write, frames=shown, how=how))
        return paths


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _written(path: Path, make: Any, frames: int | None = None) -> None:
    """Make, check (if `frames` is known), then rename: what has its name is whole."""
    unfinished = path.with_name(f".making-{path.name}")
    make(unfinished)
    if frames is not None:
        check(unfinished, frames)
    unfinished.replace(path)


@cache
def _mosaic(width_px: int, height_px: int, seed: int) -> Any:
    """A PIL picture of photographs side by side in their own resolution."""
    from PIL import Image

    photos = [Image.fromarray(photo) for photo in photographs().values()]
    draw = np.random.default_rng(seed)
    canvas = Image.new("RGB", (width_px, height_px))
    for top in range(0, height_px, 300):  # 300: the lowest photograph
        left = 0
        for i in [*draw.permutation(len(photos))] * 3:
            canvas.paste(photos[i], (left, top))
            left += photos[i].width
    return canvas


def pictures(size_px: tuple[int, int], count: int, static: bool) -> Iterator[av.VideoFrame]:
    """`count` frames (yuv420p), a new shot every `SHOT_S`."""
    from PIL import Image

    width, height = size_px
    draw = np.random.default_rng(0)
    sigma, wide = (0.4, (width, height)) if static else (2.0, (width * 3 // 2, height * 3 // 2))
    noise = [np.rint(draw.normal(0, sigma, (height + 32, width + 32))).astype(np.int16) for _ in range(4)]
    cutouts = [photo[60 : 60 + height // 4, 60 : 60 + height // 4] for photo in list(photographs().values())[:3]]
    for i in range(count):
        shot, part = divmod(i / FPS, SHOT_S)
        part /= SHOT_S
        shown = _mosaic(*wide, int(shot))
        if not static:
            zoom = 1 - 0.25 * part
            left, top = 0.45 * part * width, 0.4 * (part if shot % 2 else 1 - part) * height
            box = (left, top, left + zoom * width, top + zoom * height)
            shown = shown.resize(size_px, Image.Resampling.BILINEAR, box=box)
        rgb = np.array(shown)
        for k, cutout in enumerate([] if static else cutouts):
            y = int((0.5 + 0.45 * np.sin(7 * part + 2 * k)) * (height - cutout.shape[0]))
            x = int((0.5 + 0.45 * np.cos((5 + 3 * k) * part + k)) * (width - cutout.shape[1]))
            rgb[y : y + cutout.shape[0], x : x + cutout.shape[1]] = cutout
        frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
        luma = np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)[:height, :width]
        y, x = draw.integers(0, 32, 2)
        luma[:] = np.clip(luma + noise[i % 4][y : y + height, x : x + width], 0, 255)
        yield frame


def encode(path: Path, size: str, structure: str, preset: str, frames: int) -> None:
    """One base."""
    codec, _, options = STRUCTURES[structure]
    chosen = {"row-mt": "1", "deadline": "good"} if codec == "libvpx-vp9" else {"preset": preset}
    kbit, sound = 0 if structure == "static" else KBIT[size], (size, structure) in WITH_SOUND
    how = (codec, SIZES[size], kbit, {**options, **chosen})
    write(path, pictures(SIZES[size], frames, structure == "static"), how, frames / FPS if sound else 0)


def write(
    path: Path, frames: Iterator[Any], how: tuple[str, tuple[int, int], int, dict[str, str]], sound_s: float = 0
) -> None:
    """Frames at `FPS` to a file; `how`: codec, size_px, kbit/s, options. With a tone in noise as AAC, where asked for."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(how[0], rate=FPS, options=how[3])
        stream.width, stream.height = how[1]
        stream.pix_fmt, stream.bit_rate = "yuv420p", 1000 * how[2]
        audio: Any = container.add_stream("aac", rate=RATE_HZ, layout="mono") if sound_s else None
        for i, frame in enumerate(frames):
            frame.pts, frame.time_base = i, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        for at in range(0, int(sound_s * RATE_HZ), 1024):
            wave = np.sin((at + np.arange(1024)) / 17) * 0.2 + np.random.default_rng(at).normal(0, 0.02, 1024)
            heard = av.AudioFrame.from_ndarray(wave.astype(np.float32)[None], "fltp", "mono")
            heard.sample_rate, heard.pts = RATE_HZ, at
            container.mux(audio.encode(heard))
        if audio:
            container.mux(audio.encode(None))


def loop(path: Path, base: Path, loops: int, base_s: int) -> None:
    """The same packets again and again, each time `base_s` later."""
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for k in range(loops):
            with av.open(str(base)) as source:
                streams = streams or [container.add_stream_from_template(s) for s in source.streams]
                for packet in source.demux():
                    ticks = round(base_s / packet.time_base)
                    if packet.dts is None or (packet.stream.type == "audio" and not 0 <= packet.pts <= ticks - 1024):
                        continue
                    packet.pts, packet.dts = packet.pts + k * ticks, packet.dts + k * ticks
                    packet.stream = streams[packet.stream.index]
                    container.mux(packet)


def check(path: Path, frames: int) -> None:
    """Refuse a film of another number of frames, or whose times do not rise by 1/25 s each."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.video[0])
        stamps = sorted(float(packet.pts * packet.time_base) for packet in packets if packet.pts is not None)
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        decoded = [f.time for f, _ in zip(container.decode(video=0), range(DECODED_TO_CHECK), strict=False)]
    whole = len(stamps) == frames and len(decoded) == min(frames, DECODED_TO_CHECK)
    if not whole or any(abs(b - a - 1 / FPS) > 2e-3 for times in (stamps, decoded) for a, b in pairwise(times)):
        raise SystemExit(f"{path}: {len(stamps)} packets, {len(decoded)} of them decoded; expected {frames} at {FPS}/s")


class NullEncoder:
    """Takes pictures of `geometry`, looks at none of them, returns unit vectors: what is left is everything else."""

    spec, has_text = "null", False

    def __init__(self, geometry: Geometry, dim: int = 4) -> None:
        self.geometry, self.dim = geometry, dim

    def fingerprint(self) -> dict[str, Any]:
        return {"weights_sha256": None, "dim": self.dim, "size_px": None, "preprocessing": {}, "pooling": "none"}

    def encode_frames(self, frames: np.ndarray) -> np.ndarray:
        return np.tile(np.eye(1, self.dim, dtype=np.float32), (len(frames), 1))


def register(name: str, encoder: Any) -> str:
    """Make `extract(encoders=[name])` use this loaded encoder, so that loading is not timed."""
    FAMILIES[name] = Family(name, "nothing", (), lambda spec, device: encoder, lambda s: s)
    return name


@dataclass
class Timed:
    """What a run took, its `runs/<id>.json`, and by file name its segments (where they were asked for)."""

    seconds: float
    told: dict[str, Any]
    segments: dict[str, Segments]


def run(paths: Sequence[Path], encoder: str, settings: Settings, keep: bool = False) -> Timed:
    """A fresh archive from `paths`, timed from call to return: identification, processes, commits and all."""
    with tempfile.TemporaryDirectory() as scratch:
        archive = Path(scratch) / "a"
        began = time.perf_counter()
        report = extract([str(path) for path in paths], archive, [encoder], settings)
        seconds = time.perf_counter() - began
        if report.failures:
            raise SystemExit(f"a benchmark's own film failed: {report.failures}")
        (told,) = (json.loads(path.read_text()) for path in (archive / "runs").glob("*.json"))
        if not keep:
            return Timed(seconds, told, {})
        store = Store.open(archive)
        (slug,) = store.encoders()
        return Timed(seconds, told, {Path(v.path).name: store.segments_of(slug, v.video_id) for v in store.videos()})


def cache_of(asked: Any) -> Cache:
    """The films' folder as asked; `--quick` takes shorter bases from a faster encoder."""
    return Cache(asked.material, "veryfast", 10) if asked.quick else Cache(asked.material)


def add_options(parser: Any) -> None:
    """Options that all three have."""
    folder = Path(tempfile.gettempdir()) / "nightreel-bench"
    parser.add_argument("--material", type=Path, default=folder, help="where films are kept")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, to see that it runs; no measurement")


def about(*libraries: str) -> dict[str, Any]:
    """Machine and library versions, as every benchmark prints them."""
    told = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    cpu = next((line.split(": ")[1] for line in told if line.startswith("model name")), platform.processor())
    machine = {"cores": available_cores(), "cpu": cpu, "system": platform.system(), "python": platform.python_version()}
    return {"machine": machine, "libraries": {name: version(name) for name in ("nightreel", "av", "numpy", *libraries)}}
