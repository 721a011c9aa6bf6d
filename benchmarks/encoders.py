"""Clip encoders against their libraries' own paths, against time running backwards, and against the clock.

    python benchmarks/encoders.py [CLIPS] [--part parity|order|speed] [--only NAME ...] [--videos N]

CLIPS is a folder of videos. Weights are untrained but fixed (trained ones cannot be had offline), saved to a checkpoint and
loaded as a user would. Untrained networks see less of a difference in pixels than trained ones do; so the pixels that reach
the network are compared too, in grey values.

    parity  the first clip of each video. Ours: the pictures that a decoding process hands over, through the encoder. Theirs:
            the same decoded frames at full size through the library's preprocessing and model. Cosine, and the mean
            difference of the network's input.
    order   the same clips, as they are, reversed and shuffled (seed 0): cosine to the first. An encoder of single frames
            whose mean is taken cannot tell them apart (`clip`, mean of frames); one of clips must.
    speed   seconds per clip on this machine, and operations per second against the plain matrix product's.

Prints one JSON object: machine, settings, rows.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nightreel.extract.clips import ClipMaker, ClipPlan
from nightreel.extract.decode.open import open_video
from nightreel.extract.encoders.base import ClipEncoder, Clips
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.geometry import Geometry
from nightreel.extract.run import available_cores

Pixels = Callable[[Sequence[np.ndarray]], torch.Tensor]  # T frames (H, W, 3) uint8 -> the library's input of one clip
Network = Callable[[torch.Tensor], torch.Tensor]  # that input -> (1, D)
BESIDE = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "clips"


@dataclass(frozen=True)
class Case:
    """An encoder with its library's own path; `pixels` and `network` are None where there is none."""

    spec: str
    reference: str
    pixels: Pixels | None = None
    network: Network | None = None


def videomae(folder: Path) -> Case:
    import transformers

    torch.manual_seed(0)
    model = transformers.VideoMAEForVideoClassification(transformers.VideoMAEConfig(num_labels=400)).eval()
    _save(model, folder)
    network = lambda x: model.fc_norm(model.videomae(x).last_hidden_state.mean(1))  # noqa: E731
    return Case(f"videomae:{folder}", "VideoMAEImageProcessor + VideoMAEModel", _processor(folder), network)


def timesformer(folder: Path) -> Case:
    import transformers
    from nightreel.extract.encoders.timesformer import untrained

    torch.manual_seed(0)
    model = transformers.TimesformerForVideoClassification(transformers.TimesformerConfig(num_labels=400)).eval()
    _save(untrained(model), folder)
    network = lambda x: model.timesformer(x).last_hidden_state[:, 0]  # noqa: E731
    return Case(f"timesformer:{folder}", "VideoMAEImageProcessor + TimesformerModel", _processor(folder), network)


def _save(model: Any, folder: Path) -> None:
    import transformers

    progress: Any = transformers.utils.logging
    progress.disable_progress_bar()
    model.save_pretrained(folder)
    transformers.VideoMAEImageProcessor().save_pretrained(folder)


def _processor(folder: Path) -> Pixels:
    import transformers

    processor = transformers.VideoMAEImageProcessor.from_pretrained(folder)
    return lambda frames: processor(list(frames), return_tensors="pt")["pixel_values"]


def torchvision(name: str, folder: Path) -> Case:
    from torchvision.models import get_model, get_model_weights

    torch.manual_seed(0)
    model = get_model(name).eval()
    torch.save(model.state_dict(), folder / "weights.pth")
    preset = get_model_weights(name).DEFAULT.transforms()
    part = {"s3d": "classifier", "swin3d_t": "head", "mvit_v2_s": "head"}.get(name, "fc")
    setattr(model, part, torch.nn.Identity())
    pixels = lambda frames: preset(torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2))[None]  # noqa: E731
    return Case(f"torchvision:{name}@{folder / 'weights.pth'}", "VideoClassification preset + model", pixels, model)


def alone(spec: str, folder: Path) -> Case:
    """An encoder for which no library has the whole path; RAFT's own is held to torchvision's in its tests."""
    return Case(spec, "none")


CASES: dict[str, Callable[[Path], Case]] = {
    "videomae": videomae,
    "timesformer": timesformer,
    **{
        name: partial(torchvision, name) for name in ("r2plus1d_18", "r3d_18", "mc3_18", "s3d", "swin3d_t", "mvit_v2_s")
    },
    "c3d": partial(alone, "c3d@random"),
    "raft": partial(alone, "raft:raft_small@random"),
    "twostream": partial(alone, "twostream:resnet18@random"),
}
LISTED = {
    "videomae": "videomae:",
    "timesformer": "timesformer:",
    "c3d": "c3d:",
    "raft": "raft:raft_small",
    "twostream": "twostream:",
}  # how the registry's spec begins


def first_clip(path: Path, plan: ClipPlan, geometry: Geometry | None) -> Clips:
    """The first clip of a video, of pictures as a decoding process makes them, or (None) of whole frames."""
    with open_video(path) as reader:
        maker = ClipMaker(plan, (reader.facts.height_px, reader.facts.width_px))
        for frame, _ in reader.samples([plan.grid]):
            picture = frame.rgb() if geometry is None else frame.picture(geometry)
            for clip in maker.push(frame.time_s, picture):
                return Clips.of([clip])
        return Clips.of(list(maker.finish(reader.clock.last_s or 0.0, reader.facts.duration_s))[:1])


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def parity(encoder: Any, case: Case, videos: Sequence[Path]) -> dict[str, Any]:
    """Worst and mean cosine, and mean difference of pixels in grey values."""
    cosines, differences = [], []
    for video in videos:
        ours = first_clip(video, encoder.plan, encoder.geometry)
        frames = list(first_clip(video, encoder.plan, None).frames[0])
        assert case.pixels is not None
        assert case.network is not None
        with torch.inference_mode():
            pixels = case.pixels(frames)
            theirs = case.network(pixels)[0].numpy()
        cosines.append(cosine(encoder.encode_clips(ours).embedding[0], theirs))
        if hasattr(encoder, "pixels"):
            # Both as (T, 3, H, W); libraries differ in the order of T and C.
            own, other = encoder.pixels(ours.frames)[0], pixels[0]
            other = other if other.shape == own.shape else other.transpose(0, 1)
            std = torch.tensor(encoder.preprocessing.std).view(1, 3, 1, 1)
            differences.append(float(((own - other).abs() * std * 255).mean()))
    difference = round(float(np.mean(differences)), 3) if differences else None
    return {
        "reference": case.reference,
        "cosine_min": round(min(cosines), 6),
        "cosine_mean": round(float(np.mean(cosines)), 6),
        "pixels_mean_difference": difference,
    }


def order(encoder: Any, videos: Sequence[Path]) -> dict[str, float]:
    """Mean cosine of a clip to itself reversed and shuffled."""
    told: dict[str, list[float]] = {"reversed": [], "shuffled": []}
    for video in videos:
        clips = first_clip(video, encoder.plan, encoder.geometry)
        plain = _embedding(encoder, clips)
        length = clips.frames.shape[1]
        orders = {"reversed": np.arange(length)[::-1], "shuffled": np.random.default_rng(0).permutation(length)}
        for name, at in orders.items():
            changed = Clips(np.ascontiguousarray(clips.frames[:, at]), clips.times_s, clips.source_px)
            told[name].append(cosine(_embedding(encoder, changed), plain))
    return {name: round(float(np.mean(values)), 7) for name, values in told.items()}


def _embedding(encoder: Any, clips: Clips) -> np.ndarray:
    if isinstance(encoder, ClipEncoder):
        return encoder.encode_clips(clips).embedding[0]
    frames = np.asarray(encoder.encode_frames(clips.frames[0]))
    return frames.mean(axis=0)


class MeanOfFrames:
    """An encoder of single frames, given the frames of VideoMAE's clips; for the comparison in `order`."""

    def __init__(self, spec: str) -> None:
        self._encoder: Any = load_encoder(spec)
        self.geometry, self.encode_frames = self._encoder.geometry, self._encoder.encode_frames
        self.plan = ClipPlan(16, 0.5, 8.0)


def speed(encoder: Any, name: str, videos: Sequence[Path], repeats: int = 3) -> dict[str, Any]:
    """Seconds for one clip, best of `repeats`, and how many operations a second that is of what the machine can."""
    from encoder_cost import listed

    clips = first_clip(videos[0], encoder.plan, encoder.geometry)
    begin = LISTED.get(name, f"torchvision:{name}@")
    flops = next(model.flops or 0 for model in listed() if model.spec.startswith(begin))  # counted, see encoder_cost.py
    seconds = min(_timed(partial(encoder.encode_clips, clips)) for _ in range(repeats))
    matrix = torch.ones(2048, 2048)
    limit = 2 * 2048**3 / min(_timed(lambda: matrix @ matrix) for _ in range(5))
    return {
        "seconds_per_clip": round(seconds, 3),
        "video_s_per_s": round(encoder.plan.span_s / seconds, 2),
        "gflops": round(flops / 1e9, 1),
        "of_matrix_product": round(flops / seconds / limit, 3),
    }


def _timed(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?", default=BESIDE)
    parser.add_argument("--part", action="append", choices=["parity", "order", "speed"])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--videos", type=int, default=6)
    args = parser.parse_args()
    parts = args.part or ["parity", "order", "speed"]
    videos = [p for p in sorted(args.clips.iterdir()) if p.suffix in (".mp4", ".avi", ".mkv")][: args.videos]
    rows: dict[str, dict[str, Any]] = {}
    for name, make in CASES.items():
        if args.only and name not in args.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            case = make(Path(folder))
            encoder = load_encoder(case.spec)
            row = rows[name] = {}
            if "parity" in parts and case.network is not None:
                row["parity"] = parity(encoder, case, videos)
            if "order" in parts:
                row["order"] = order(encoder, videos)
            if "speed" in parts:
                row["speed"] = speed(encoder, name, videos)
    if "order" in parts and not args.only:
        rows["clip (mean of frames)"] = {"order": order(MeanOfFrames("openclip:ViT-B-32@random"), videos)}
    settings = {
        "videos": [video.name for video in videos],
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
    }
    machine = {
        "machine": platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "load": os.getloadavg(),
    }
    print(json.dumps({**machine, **settings, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
