"""How fast `extract` is, against what bounds it and against what people write by hand. One JSON object on stdout.

    python benchmarks/extract.py [--part decode|encode|peer|gpu|all] [--only 720p-*] [--repeat 3] [--cores N] [--quick]

Protocol: films of `_material.py`, all in this process, each round every variant once in turn, so that all meet the same
page cache and the same noise; the fastest of `--repeat` rounds counts. Ours is `extract()` from call to return: a fresh
archive, identification, starting processes, commits; only loading the model is left out, everywhere.

decode  One film at a time, one decoding process with as many threads as cores, an encoder that does nothing. The limit is
        libavcodec alone, as many threads, decoding every frame and dropping it. `startup_s` (a film of one second) is part
        of each of our times. `all@1`: `decode_all=True`, what a film costs that no plan is made for. A plan given up half
        way costs more, by what was decoded until then; no film here does that.
encode  Four films, decoding processes by default. Bounds: the same run with an encoder that does nothing (`decode`), and
        the same pictures encoded out of memory on a thread of its own (`encode`). Without a GPU both want the same cores:
        then the sum, not the larger one, is what perfect overlap could reach, if each of them keeps all cores busy.
peer    Same films, frames and weights; the loop of the transformers and decord documentation: `get_batch` of the frames,
        open_clip's own PIL preprocessing, model, one film after the other. With `--peer PYTHON`, a Python with video2numpy
        (`python -m venv v && v/bin/pip install video2numpy`; its numpy<2 does not go with ours), also its `FrameReader`
        with one process per core, in front of the same model: that is the loop of clip-video-encode, which itself pins
        torch<2 and pyarrow<8 and so has no place beside Python 3.11.
gpu     CUDA only, `{}` elsewhere. The model alone on a batch that stays on the GPU, `encode_frames` on pictures in memory,
        and the run on `fed` (144p, every frame: decoding is cheap) and `1080p` (one frame a second, 2 s key frames).

What the numbers do not tell: disks (all is in the page cache), camera footage (see `_material.py`), several GPUs.
`reference < exact` hardly shows where exact leaves nearly all non-reference frames out already: see packets_decoded.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from typing import Any

import av
import numpy as np
from _material import FPS, SECONDS, Cache, Film, NullEncoder, Timed, about, add_options, cache_of, register, run, say
from nightreel.extract.batches import automatic_size
from nightreel.extract.decode.open import open_video
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.engine import Plan
from nightreel.extract.geometry import Geometry
from nightreel.extract.run import Settings, available_cores
from nightreel.extract.sample import Grid

FILMS = tuple(f"{size}-{kind}" for size in ("1080p", "720p") for kind in ("keyint250", "gop2", "gop1", "allref"))
FILMS += tuple(f"720p-{kind}" for kind in ("open", "hevc", "hevcclosed", "vp9", "static"))
FILMS += ("360p-keyint250", "360p-gop2")
PLANS = {f"exact@{fps}": Plan(fps=fps) for fps in (1, 2, 4)}
PLANS |= {f"{tier}@1": Plan(tier=tier) for tier in ("reference", "keyframe")} | {"all@1": Plan(decode_all=True)}
AT_MOST = {  # of the limit
    "keyint250": {"exact@1": 0.70, "keyframe@1": 0.12},
    "gop2": {"exact@1": 0.50},
    "gop1": {"exact@1": 0.20},
    "allref": {"exact@1": 1.10},
}
FALLBACK, OVERLAP, PEER, OF_MODEL = 1.10, 1.10, 1.0, 0.9
MIXED = {"720p-keyint250": 60, "720p-gop2": 60, "360p-keyint250": 80, "360p-gop2": 100}  # seconds; for encode and peer
COUNTS = ("packets", "packets_decoded", "frames_decoded", "decoded_all_because")

GPU = "cuda"

Rows = dict[str, Any]


def target(value: float, limit: float, at_least: bool = False) -> Rows:
    met = value >= limit if at_least else value <= limit
    return {"is": round(value, 4), "target": f"{'>=' if at_least else '<='} {limit:g}", "met": bool(met)}


def fastest(variants: dict[str, Callable[[], Any]], repeat: int) -> tuple[dict[str, float], dict[str, Any]]:
    """By name, the fewest seconds of `repeat` rounds, and what the last call returned."""
    best: dict[str, float] = {}
    last: dict[str, Any] = {}
    for _ in range(repeat):
        for name, call in variants.items():
            began = time.perf_counter()
            last[name] = call()
            seconds = time.perf_counter() - began
            if isinstance(last[name], Timed):
                seconds = last[name].seconds  # without removing the archive
            best[name] = round(min(seconds, best.get(name, seconds)), 4)
    return best, last


def decode_and_drop(film: Film, threads: int) -> None:
    """The limit: every frame decoded, nothing done with it."""
    with av.open(str(film.path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "AUTO", threads
        count = sum(1 for _ in container.decode(stream))
    if count != film.frames:
        raise SystemExit(f"{film.path}: libavcodec gives {count} frames; expected {film.frames}")


def decode_part(asked: argparse.Namespace, films: Cache) -> Rows:
    null, threads = register("null", NullEncoder(Geometry((asked.px, asked.px)))), available_cores()
    settings = {key: Settings(plan=how, device="cpu", workers=1) for key, how in PLANS.items()}
    second = replace(films, base_s=1).film("360p-gop1", 1)
    startup, _ = fastest({"s": partial(run, [second.path], null, settings["exact@1"])}, max(3, asked.repeat))
    out: Rows = {"threads": threads, "startup_s": startup["s"], "films": {}}
    for name in (name for name in FILMS if fnmatch(name, asked.only)):
        film = films.film(name, asked.scale * SECONDS[name.split("-")[0]])
        say(f"decode: {name}, {film.seconds:g} s")
        ours = {key: partial(run, [film.path], null, how) for key, how in settings.items()}
        took, gave = fastest({"limit": partial(decode_and_drop, film, threads)} | ours, asked.repeat)
        ratio = {key: round(took[key] / took["limit"], 4) for key in ours}
        limits = {**AT_MOST.get(name.split("-")[1], {}), "all@1": FALLBACK}
        if name.endswith("keyint250"):
            limits["reference@1"] = ratio["exact@1"]
        out["films"][name] = {
            "video_s": film.seconds,
            "mbit_s": round(film.path.stat().st_size * 8e-6 / film.seconds, 2),
            "seconds": took,
            "to_limit": ratio,
            "targets": {key: target(ratio[key], limit) for key, limit in limits.items()},
            "runs": {key: {field: gave[key].told.get(field) for field in COUNTS} for key in ours},
        }
    return out


def resident(films: Sequence[Film], geometry: Geometry) -> np.ndarray:
    """(N, H, W, 3): the pictures that a run at 1 fps encodes."""
    found = []
    for film in films:
        with open_video(film.path, decode_all=True) as reader:
            found += [frame.picture(geometry) for frame, _ in reader.samples([Grid(1.0)])]
    return np.stack(found)


def encode_all(encoder: Any, pictures: np.ndarray, batch: int) -> None:
    for at in range(0, len(pictures), batch):
        encoder.encode_frames(pictures[at : at + batch])


def encode_part(asked: argparse.Namespace, films: Cache) -> Rows:
    out: Rows = {}
    some = [films.film(name, asked.scale * seconds) for name, seconds in MIXED.items()]
    settings, batch, paths = Settings(plan=Plan()), automatic_size("auto"), [film.path for film in some]
    for spec in asked.encoder:
        say(f"encode: {spec}")
        encoder = load_encoder(spec, "auto")
        name, null = register("loaded", encoder), register("null", NullEncoder(encoder.geometry, encoder.dim))
        pictures = resident(some, encoder.geometry)
        variants = {"run": partial(run, paths, name, settings), "decode": partial(run, paths, null, settings)}
        with ThreadPoolExecutor(1) as thread:  # as the run does
            alone = partial(lambda *what: thread.submit(encode_all, *what).result(), encoder, pictures, batch)
            alone()  # warm
            took, gave = fastest(variants | {"encode": alone}, asked.repeat)
        out[spec] = {
            "frames": len(pictures),
            "video_s": sum(film.seconds for film in some),
            "seconds": took,
            "to_larger": target(took["run"] / max(took["decode"], took["encode"]), OVERLAP),
            "to_sum": round(took["run"] / (took["decode"] + took["encode"]), 4),
            "shared_cores": not cuda(),
            "utilisation": gave["run"].told.get("utilisation"),
        }
    return out


def open_clip_model(spec: str, device: str, precision: str = "fp32") -> tuple[Any, Any]:
    """The model and PIL preprocessing of `openclip:NAME@random`, made by open_clip alone, with the same weights."""
    import open_clip
    import torch

    torch.manual_seed(0)
    name = spec.removeprefix("openclip:").removesuffix("@random")
    made = open_clip.create_model_and_transforms(name, precision=precision, device=device, pretrained_text=False)
    return made[0].eval(), made[2]


def textbook(films: Sequence[Film], frames: dict[str, list[int]], model: Any, preprocess: Any) -> dict[str, np.ndarray]:
    """decord, PIL, model: one film at a time, its frames as one batch."""
    import torch
    from decord import VideoReader
    from PIL import Image

    out = {}
    for film in films:
        pixels = VideoReader(str(film.path)).get_batch(frames[film.path.name]).asnumpy()
        batch = torch.stack([preprocess(Image.fromarray(p)) for p in pixels])
        with torch.inference_mode():
            out[film.path.name] = torch.nn.functional.normalize(model.encode_image(batch), dim=-1).numpy()
    return out


VIDEO2NUMPY = """
import sys
from video2numpy.frame_reader import FrameReader
out, sys.stdout = sys.stdout.buffer, sys.stderr
reader = FrameReader(sys.argv[4:], take_every_nth=int(sys.argv[2]), resize_size=int(sys.argv[3]), workers=int(sys.argv[1]))
reader.start_reading()
for frames, info in reader:
    out.write(frames.tobytes())
"""


def video2numpy(python: str, films: Sequence[Film], model: Any, batch: int) -> int:
    """clip-video-encode's loop: frames of `FrameReader` (a process per core), normalised, through the model."""
    import torch

    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (model.visual.image_mean, model.visual.image_std))
    words = [str(available_cores()), str(FPS), "224", *(str(film.path) for film in films)]
    child = subprocess.Popen([python, "-c", VIDEO2NUMPY, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    count = 0
    while data := child.stdout.read(batch * 224 * 224 * 3):
        pixels = torch.from_numpy(np.frombuffer(bytearray(data), np.uint8).reshape(-1, 224, 224, 3))
        with torch.inference_mode():
            model.encode_image((pixels.permute(0, 3, 1, 2) / 255 - mean) / std)
        count += len(pixels)
    if child.wait():
        raise SystemExit(f"{python} could not run video2numpy")
    return count


def peer_part(asked: argparse.Namespace, films: Cache) -> Rows:
    out: Rows = {}
    some = [films.film(name, asked.scale * seconds) for name, seconds in MIXED.items()]
    settings, paths = Settings(plan=Plan(), device="cpu"), [film.path for film in some]
    for spec in (spec for spec in asked.encoder if spec.startswith("openclip:")):
        say(f"peer: {spec}")
        name = register("loaded", load_encoder(spec, "cpu"))
        model, preprocess = open_clip_model(spec, "cpu")
        kept = run(paths, name, settings, keep=True).segments
        frames = {file: [round(t * FPS) for t in found.time_s] for file, found in kept.items()}
        variants = {"ours": partial(run, paths, name, settings)}
        variants["textbook"] = partial(textbook, some, frames, model, preprocess)
        if asked.peer:
            variants["video2numpy"] = partial(video2numpy, asked.peer, some, model, automatic_size("cpu"))
        took, gave = fastest(variants, asked.repeat)
        theirs = gave["textbook"]
        cosines = [np.sum(kept[file].embedding.astype(np.float32) * theirs[file], axis=1) for file in kept]
        out[spec] = {
            "frames": sum(map(len, frames.values())),
            "seconds": took,
            "to_peer": {key: target(took["ours"] / took[key], PEER) for key in took if key != "ours"},
            "video2numpy_frames": gave.get("video2numpy"),
            "cosine_to_textbook": round(float(np.concatenate(cosines).mean()), 5),
        }
    return out


def cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def model_alone(spec: str, encoder: Any, batch: int) -> float:
    """Frames/s of the network, in the encoder's precision, on one batch that stays on the GPU."""
    import torch

    precision = {"float16": "fp16", "bfloat16": "bf16"}.get(encoder.fingerprint()["precision"], "fp32")
    model, _ = open_clip_model(spec, GPU, precision)
    dtype = next(model.visual.parameters()).dtype
    pixels = torch.zeros((batch, 3, *encoder.geometry.size_px), device=GPU, dtype=dtype)

    def some_batches() -> None:
        with torch.inference_mode():
            for _ in range(20):
                model.encode_image(pixels)
        torch.cuda.synchronize()

    return 20 * batch / fastest({"s": some_batches}, 5)[0]["s"]


def gpu_part(asked: argparse.Namespace, films: Cache) -> Rows:
    if not cuda():
        return {}
    import torch

    count, batch = 2 * available_cores(), automatic_size("auto")
    inputs = {"fed": (films.copies("144p-gop2", 100 * asked.scale, count), Plan(fps=FPS))}
    inputs["1080p"] = (films.copies("1080p-gop2", 100 * asked.scale, count), Plan())
    out: Rows = {"gpu": torch.cuda.get_device_name()}
    for spec in ("openclip:ViT-B-32@random", "openclip:PE-Core-B-16@random"):
        encoder = load_encoder(spec, GPU)
        name, null = register("loaded", encoder), register("null", NullEncoder(encoder.geometry, encoder.dim))
        pictures = np.random.default_rng(0).integers(0, 255, (8 * batch, *encoder.geometry.shape), np.uint8)
        memory, _ = fastest({"s": partial(encode_all, encoder, pictures, batch)}, 3)
        alone = model_alone(spec, encoder, batch)
        row: Rows = {"model_frames_s": round(alone), "encode_frames_s": round(len(pictures) / memory["s"])}
        for kind, (some, how) in inputs.items():
            say(f"gpu: {spec}, {kind}")
            paths, settings = [film.path for film in some], Settings(plan=how)
            variants = {key: partial(run, paths, key, settings) for key in (name, null)}
            took, gave = fastest(variants, min(2, asked.repeat))
            frames_s = sum(gave[name].told["report"]["segments"].values()) / took[name]
            row[kind] = {
                "seconds": took,
                "frames_s": round(frames_s),
                "to_model": target(frames_s / alone, OF_MODEL, at_least=True),
                "video_hours_per_gpu_hour": round(sum(film.seconds for film in some) / took[name], 1),
                "utilisation": gave[name].told.get("utilisation"),
            }
        out[spec] = row
    return out


PARTS = {"decode": decode_part, "encode": encode_part, "peer": peer_part, "gpu": gpu_part}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--part", choices=[*PARTS, "all"], default="all")
    parser.add_argument("--only", default="*", metavar="NAME", help="films of the decode part, * and ? allowed")
    parser.add_argument("--encoder", action="append", help="of encode and peer [ViT-B-32@random and conse]")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--seconds-scale", dest="scale", type=float, default=1.0, help="times the films' lengths")
    parser.add_argument("--px", type=int, default=32, help="edge of the pictures that the decode part makes")
    parser.add_argument("--cores", type=int, help="use only so many")
    parser.add_argument("--peer", metavar="PYTHON", help="a Python that has video2numpy")
    asked = parser.parse_args()
    asked.encoder = asked.encoder or ["openclip:ViT-B-32@random", "conse"]
    if asked.quick:
        asked.repeat, asked.scale = 1, asked.scale / 10
    if asked.cores:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked.cores])
    parts = list(PARTS) if asked.part == "all" else [asked.part]
    films = cache_of(asked)
    out = {"benchmark": "extract", **about("torch", "open_clip_torch", "decord2"), "settings": vars(asked)}
    out |= {part: PARTS[part](asked, films) for part in parts}
    print(json.dumps(out, indent=1, default=str))


if __name__ == "__main__":
    main()
