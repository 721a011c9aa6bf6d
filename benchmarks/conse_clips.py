"""How well `conse` (or any frame encoder) finds a clip by its caption; an exploration, in memory, no archive.

    python benchmarks/conse_clips.py [CLIPS] [--encoder conse]

CLIPS holds `captions.jsonl`, one {"video", "caption"} a line. Protocol: one frame a second from the first;
every caption is asked against all videos; a tie counts against us. Prints JSON: R@1 and R@5 for each way to
make one score of a video's frames, and frames/s of the encoder alone.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from nightreel.extract.encoders.registry import load_encoder

BATCH = 16
AGGREGATORS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    # (Q, D) queries, (T, D) frames -> (Q,)
    "max": lambda queries, frames: (queries @ frames.T).max(axis=1),
    "top3": lambda queries, frames: np.sort(queries @ frames.T, axis=1)[:, -3:].mean(axis=1),
    "mean": lambda queries, frames: (queries @ frames.T).mean(axis=1),
    "unit_mean": lambda queries, frames: queries @ (frames.mean(0) / np.linalg.norm(frames.mean(0))),
}


def sample(path: Path, every_s: float = 1.0) -> Iterator[np.ndarray]:
    """(H, W, 3) uint8 frames, the first and then one every `every_s` seconds of presentation time."""
    with av.open(path) as container:
        start_s, taken = None, 0
        for frame in container.decode(video=0):
            start_s = frame.time if start_s is None else start_s
            if frame.time - start_s >= taken * every_s:
                yield frame.to_ndarray(format="rgb24")
                taken = int((frame.time - start_s) / every_s) + 1


def recall(similarity: np.ndarray, k: int) -> float:
    """Share of rows whose diagonal is among the k largest; ties count against it."""
    right = np.diag(similarity)[:, None]
    return float(((similarity >= right).sum(axis=1) <= k).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = Path(__file__).resolve().parents[1] / ".." / "shared" / "data" / "clips"
    parser.add_argument("clips", type=Path, nargs="?", default=beside)
    parser.add_argument("--encoder", default="conse")
    args = parser.parse_args()

    items = [json.loads(line) for line in (args.clips / "captions.jsonl").read_text().splitlines()]
    encoder = load_encoder(args.encoder)
    began = time.perf_counter()
    encoder.encode_frames(np.zeros((1, 64, 64, 3), np.uint8))
    load_s = time.perf_counter() - began

    embedded, spent_s = [], 0.0
    for item in items:
        frames = np.stack(list(sample(args.clips / item["video"])))
        began = time.perf_counter()
        embedded.append(
            np.concatenate([encoder.encode_frames(frames[at : at + BATCH]) for at in range(0, len(frames), BATCH)])
        )
        spent_s += time.perf_counter() - began
    queries = encoder.encode_text([item["caption"] for item in items])

    results = {}
    for name, score in AGGREGATORS.items():
        similarity = np.stack([score(queries, frames) for frames in embedded], axis=1)  # (Q, V)
        results[name] = {"R@1": round(recall(similarity, 1), 3), "R@5": round(recall(similarity, 5), 3)}
    count = sum(map(len, embedded))
    print(
        json.dumps(
            {
                "encoder": encoder.spec,
                "videos": len(items),
                "frames": count,
                "text_to_video": results,
                "frames_per_s": round(count / spent_s, 1),
                "first_frame_s": round(load_s, 1),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
