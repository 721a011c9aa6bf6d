"""What the cheaper decoding tiers and `--skip-still` cost in quality, on the 17 real clips. One JSON object on stdout.

    python benchmarks/extract_tiers.py [--encoder conse] [--data ../shared/data] [--fps 1] [--repeat 1] [--quick]

Protocol: one archive for each of exact, reference, keyframe, each with and without `--skip-still`; seconds are the whole
`extract()` without loading the model, the fastest of `--repeat` rounds in turn. Times are compared on the grid k / fps of
each clip: the embedding that stands for a time is that of the segment which covers it. Cosine to the exact embedding at
the same time, over all grid times of all clips (`mean`, `min`), and the share below 0.9. R@1, R@5: `clips_retrieval.py`,
captions against clips. `change` is the difference to exact.

What the numbers do not tell: 17 clips are few (one caption more or less is 0.06) and short. Their key frames are 1 to 20 s
apart, and four have only one, so that `keyframe` gives one picture for all of such a clip.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _material import about, register, say
from clips_retrieval import nightreel, retrieval
from nightreel.extract.batches import ON_CPU
from nightreel.extract.encoders.registry import load_encoder, slug
from nightreel.extract.engine import Plan
from nightreel.extract.run import Settings, extract
from nightreel.extract.segment import Segments
from nightreel.extract.store import Store

PLANS = {
    f"{tier}{'+skip_still' if skip else ''}": {"tier": tier, "skip_still": skip}
    for skip in (False, True)
    for tier in ("exact", "reference", "keyframe")
}


def at_times(found: Segments, times_s: np.ndarray) -> np.ndarray:
    """(T, D) float32: the embedding of the segment that covers each time (the first one, before it begins)."""
    rows = np.searchsorted(found.start_s, times_s + 1e-3, side="right") - 1
    return found.embedding[np.maximum(rows, 0)].astype(np.float32)


def cosines(exact: Store, other: Store, name: str, fps: float) -> np.ndarray:
    """Of all grid times of all videos, to the exact embedding of the same time."""
    parts = []
    for video in exact.videos():
        ours, theirs = exact.segments_of(name, video.video_id), other.segments_of(name, video.video_id)
        grid_s = np.arange(0, float(ours.end_s[-1]) - 1e-3, 1 / fps)
        parts.append(np.sum(at_times(ours, grid_s) * at_times(theirs, grid_s), axis=1))
    return np.concatenate(parts)


def make(archive: Path, clips: list[str], encoder: str, plan: Plan) -> dict[str, Any]:
    """Extract once; what it took."""
    began = time.perf_counter()
    report = extract(clips, archive, [encoder], Settings(plan=plan))
    seconds = time.perf_counter() - began
    if report.failures:
        raise SystemExit(f"clips failed: {report.failures}")
    (told,) = (json.loads(path.read_text()) for path in (archive / "runs").glob("*.json"))
    keys = ("packets", "packets_decoded", "frames_decoded", "decoded_all_because", "still_reused", "still_checked")
    kept = {key: told.get(key) for key in (*keys, "still_worst_cosine_distance")}
    return {"seconds": seconds, "video_s": round(report.video_s, 1), "segments": sum(report.segments.values()), **kept}


def quality(folder: Path, plan: str, name: str, fps: float, captions: list[dict[str, str]]) -> dict[str, Any]:
    """Cosines to exact and retrieval of one archive."""
    values = cosines(Store.open(folder / "exact"), Store.open(folder / plan), name, fps)
    nightreel("index", str(folder / plan))
    found = retrieval(str(folder / plan), captions)
    near = {"mean": round(float(values.mean()), 4), "min": round(float(values.min()), 4)}
    below = round(float(np.mean(values < 0.9)), 4)
    return {"times": len(values), "cosine": {**near, "below_0.9": below}, "R@1": found["R@1"], "R@5": found["R@5"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="conse")
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--fps", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="the five smallest clips, to see that it runs")
    asked = parser.parse_args()
    folder = asked.data / "clips"
    if not folder.is_dir():
        raise SystemExit(f"no clips at {folder}; give the measuring data with --data")
    captions = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    if asked.quick:
        captions = sorted(captions, key=lambda row: (folder / row["video"]).stat().st_size)[:5]
    clips = [str(folder / row["video"]) for row in captions]
    loaded, name = load_encoder(asked.encoder, "auto"), slug(asked.encoder)
    register(asked.encoder, loaded)
    loaded.encode_frames(np.zeros((ON_CPU, *loaded.geometry.shape), np.uint8))  # warm
    out: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for turn in range(asked.repeat):
            for plan, how in PLANS.items():
                say(f"{plan}, round {turn + 1} of {asked.repeat}")
                made = make(Path(scratch) / str(turn) / plan, clips, asked.encoder, Plan(fps=asked.fps, **how))
                made["seconds"] = round(min(made["seconds"], out.get(plan, made)["seconds"]), 3)
                out[plan] = made
        for plan in PLANS:
            say(f"{plan}: quality")
            out[plan] |= quality(Path(scratch) / "0", plan, name, asked.fps, captions)
    for row in out.values():
        exact = out["exact"]
        row["change"] = {key: round(row[key] - exact[key], 4) for key in ("R@1", "R@5")}
        row["change"]["seconds_ratio"] = round(row["seconds"] / exact["seconds"], 4)
    settings = {"encoder": asked.encoder, "fps": asked.fps, "repeat": asked.repeat, "clips": len(clips)}
    libraries = ("torch", "torchvision")
    print(json.dumps({"benchmark": "extract_tiers", **about(*libraries), "settings": settings, "plans": out}, indent=1))


if __name__ == "__main__":
    main()
