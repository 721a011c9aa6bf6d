"""Every kind of encoder over real clips in one decode pass, and what `--like` then finds.

    python benchmarks/all_encoders.py [CLIPS] [--hop 8] [--keep ARCHIVE] [--spec SPEC ...]

CLIPS is a folder of videos. VideoMAE, TimeSformer and C3D are saved as checkpoints first and loaded by path, as a user would;
weights are untrained but fixed, since trained ones cannot be had offline. `--hop` thins the clips so that a CPU can do it.

Per encoder: how many segments; and for every clip, whether the nearest other footage, as `search --like` ranks it, is of the
same video (share, and what chance gives). Untrained networks see colour and texture, so this says that stored vectors are
searchable and hang together, not that motion is understood. Also printed: that packets were read once, however many encoders.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nightreel.extract.clips import ClipWish
from nightreel.extract.engine import Plan
from nightreel.extract.run import Settings, available_cores, extract
from nightreel.extract.store import Store
from nightreel.index.build import build_index
from nightreel.search.archive import Archive

BESIDE = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "clips"
NAMED = [
    "conse",
    "torchvision:r2plus1d_18@random",
    "torchvision:r3d_18@random",
    "torchvision:mc3_18@random",
    "torchvision:s3d@random",
    "torchvision:swin3d_t@random",
    "torchvision:mvit_v2_s@random",
    "raft:raft_small@random",
    "twostream:resnet18@random",
    "c3d@random",
]


def saved(folder: Path) -> list[str]:
    """Specs of a VideoMAE and a TimeSformer checkpoint, untrained, of the usual size."""
    import transformers
    from nightreel.extract.encoders.timesformer import untrained

    progress: Any = transformers.utils.logging
    progress.disable_progress_bar()
    torch.manual_seed(0)
    models = {
        "videomae": transformers.VideoMAEForVideoClassification(transformers.VideoMAEConfig(num_labels=400)),
        "timesformer": untrained(transformers.TimesformerForVideoClassification(transformers.TimesformerConfig())),
    }
    for name, model in models.items():
        model.save_pretrained(folder / name)
        transformers.VideoMAEImageProcessor().save_pretrained(folder / name)
    return [f"{name}:{folder / name}" for name in models]


def same_video(archive: Path, slug: str) -> dict[str, Any]:
    """Of every segment, searched by `--like`: how often the best other footage is of the same video."""
    opened = Archive(archive, slug)
    segments = [segment for batch in opened.store.segments(slug, embeddings=False) for segment in batch]
    videos = [segment.video_id for segment in segments]
    several = [segment for segment in segments if videos.count(segment.video_id) > 1]
    chosen = several[:: max(1, len(several) // 40)]
    right = []
    for segment in chosen:
        hits = opened.search(like=f"{segment.video_id}@{segment.start_s}-{segment.end_s}", top=1)
        right.append(hits[0].video_id == segment.video_id)
    counts = np.array([videos.count(segment.video_id) - 1 for segment in chosen])
    return {
        "asked": len(chosen),
        "same_video_first": round(float(np.mean(right)), 3),
        "chance": round(float(np.mean(counts / (len(segments) - 1))), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="?", default=BESIDE)
    parser.add_argument("--hop", type=float, default=8.0)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--spec", nargs="*", default=NAMED)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        archive = args.keep or Path(folder, "a.reel")
        specs = [*args.spec, *saved(Path(folder))]
        began = time.perf_counter()
        report = extract([str(args.clips)], archive, specs, Settings(plan=Plan(clips=ClipWish(hop_s=args.hop))))
        seconds = time.perf_counter() - began
        store = Store.open(archive)
        assert report.run_file is not None
        told = json.loads(report.run_file.read_text())
        rows = {}
        for slug, fingerprint in store.encoders().items():
            built = build_index(store, slug)
            row = {"segments": built["vectors"], "dim": fingerprint["dim"], "like": same_video(archive, slug)}
            rows[fingerprint["spec"].replace(folder, "")] = row
    machine = {
        "machine": platform.machine(),
        "cores": available_cores(),
        "torch": torch.__version__,
        "load": os.getloadavg(),
    }
    run = {key: told[key] for key in ("packets", "packets_decoded", "frames_decoded", "decoders", "utilisation")}
    result = {
        "videos": report.videos,
        "done": report.done,
        "video_s": round(report.video_s, 1),
        "seconds": round(seconds, 1),
    }
    print(json.dumps({**machine, "hop_s": args.hop, **result, "run": run, "encoders": rows}, indent=2))


if __name__ == "__main__":
    main()
