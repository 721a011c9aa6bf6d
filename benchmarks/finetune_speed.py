"""Pairs a second that train on stored features, against what the machine can do at most. Prints one JSON object.

    python benchmarks/finetune_speed.py [--pairs 4096] [--batch 256] [--frames 32] [--dim 512] [--heads mean transformer ...]
                                        [--threads N] [--device cpu|cuda] [--quick]

Protocol. An archive of made vectors (`_vectors.py`), a pair for each of its stretches, made captions. One epoch of the
product's own loop (`training/loop.py`, `stored_task.py`) after one for warm-up, without validation: frames drawn, read as
float16 from the page cache, head, InfoNCE with false negatives masked, backward, AdamW. `collate` is the reading alone.

Limits. `bytes`: T frames of 2 D bytes a pair, at the speed at which this machine copies memory. `flops`: products of matrices,
forward and backward (three times forward), by torch's own counter on one batch, at the speed of a large product of matrices in
float32 with as many threads. `of_limit` is the share of the slower of both limits that was reached.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _material import about, say
from _vectors import Made

VIDEO_FRAMES = 600


class Nothing:
    """A run that keeps nothing."""

    def log(self, row: Any) -> None: ...

    def save(self, state: Any) -> None: ...

    def load(self) -> None: ...


def make_examples(root: Path, asked: argparse.Namespace) -> Any:
    """Pairs of whole stretches of twice as many frames as are taken, captions at random."""
    from nightreel.extract.segment import Segments, segment_ids
    from nightreel.extract.store import Store
    from nightreel.extract.videos import VideoRow
    from nightreel.extract.writer import Writer, claim_encoder
    from nightreel.finetune.captions.examples import build_examples
    from nightreel.finetune.captions.pairs import Pair

    store, made = Store.create(root, created_by="benchmark"), Made(dim=asked.dim, frames=VIDEO_FRAMES)
    plan = {"fps": 1.0, "decode": "exact"}
    claim_encoder(store, "made", {"spec": "made", "dim": asked.dim, "sampling": plan, "has_text": True})
    writer, pairs = Writer(store), []
    span = 2 * asked.frames
    each = VIDEO_FRAMES // span
    for number in range(-(-asked.pairs // each)):
        vectors, name = made.video(number), f"{number:020x}"
        start_s = np.arange(len(vectors), dtype=np.float64)
        names = np.full(len(vectors), name, object)
        segments = Segments(segment_ids(name, len(vectors)), names, start_s, start_s + 1, start_s, vectors)
        writer.add(VideoRow(name, f"/made/{number}.mp4", "done", duration_s=float(len(vectors))), {"made": segments})
        pairs += [Pair(name, float(span * i), float(span * i + span), f"{number} {i}") for i in range(each)]
    writer.commit()
    draw = np.random.default_rng(0)

    def embed(texts: Any) -> np.ndarray:
        found = draw.standard_normal((len(texts), asked.dim)).astype(np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)

    return build_examples(store, "made", pairs[: asked.pairs], embed, max_frames=asked.frames)


def measured(examples: Any, kind: str, asked: argparse.Namespace, limits: dict[str, float]) -> dict[str, Any]:
    from nightreel.extract.heads.networks import make_head
    from nightreel.extract.heads.tuned import Adapter, Tuned
    from nightreel.finetune.stored_task import StoredTask
    from nightreel.finetune.training.loop import train
    from nightreel.finetune.training.plan import Plan

    torch.manual_seed(0)
    tuned = Tuned(make_head(kind, asked.dim, max_frames=asked.frames), Adapter(asked.dim))
    task = StoredTask(tuned, examples, examples.subset([0, 1]), device=asked.device)
    ends: list[float] = []
    plan = Plan(epochs=2, batch=asked.batch, last_epoch=2)
    train(task, plan, Nothing(), progress=lambda done, of, what: ends.append(time.perf_counter()))
    half = len(ends) // 2
    seconds = ends[-1] - ends[half - 1]
    flops = flops_of(task, asked)
    least_s = max(flops / limits["flops_per_s"], 2 * asked.dim * asked.frames / limits["bytes_per_s"])
    rate = len(examples) / seconds
    say(f"{kind}: {rate:.0f} pairs/s")
    return {
        "head": kind,
        "pairs_per_s": round(rate, 1),
        "flops_per_pair": round(flops),
        "bytes_per_pair": 2 * asked.dim * asked.frames,
        "limit_pairs_per_s": round(1 / least_s, 1),
        "of_limit": round(rate * least_s, 3),
    }


def flops_of(task: Any, asked: argparse.Namespace) -> float:
    """Of one pair, forward and backward, as torch counts them."""
    from nightreel.finetune.training.loop import backward
    from torch.utils.flop_counter import FlopCounterMode

    rows = np.arange(min(asked.batch, task.count))
    task.model.train()
    with FlopCounterMode(display=False) as counter:
        backward(task, rows, 0, 0, 1)
    return counter.get_total_flops() / len(rows)


def machine(asked: argparse.Namespace) -> dict[str, float]:
    """What it does at most: a large product of matrices, and a copy of 256 MB."""
    a = torch.randn(2048, 2048, device=asked.device)
    b, times = torch.randn(64 << 20, dtype=torch.float32), []
    target = torch.empty_like(b)
    for work, amount in ((lambda: a @ a, 2 * 2048**3), (lambda: target.copy_(b), 2 * 4 * (64 << 20))):
        best = 0.0
        for _ in range(5):
            began = time.perf_counter()
            work()
            if asked.device == "cuda":
                torch.cuda.synchronize()
            best = max(best, amount / (time.perf_counter() - began))
        times.append(best)
    return {"flops_per_s": times[0], "bytes_per_s": times[1]}


def collate_rate(examples: Any, asked: argparse.Namespace) -> dict[str, float]:
    from nightreel.finetune.captions.collate import collate

    rows, draw = np.arange(min(asked.batch, len(examples))), np.random.default_rng(0)
    collate(examples, rows, draw)
    began, rounds = time.perf_counter(), 20
    for _ in range(rounds):
        collate(examples, rows, draw)
    rate = rounds * len(rows) / (time.perf_counter() - began)
    return {"pairs_per_s": round(rate, 1), "bytes_per_s": round(rate * 2 * asked.dim * asked.frames)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, usual in (("pairs", 4096), ("batch", 256), ("frames", 32), ("dim", 512), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--heads", nargs="+", default=["mean", "lstm", "transformer", "wti"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="256 pairs, and two heads")
    asked = parser.parse_args()
    if asked.quick:
        asked.pairs, asked.batch, asked.frames, asked.dim, asked.heads = 256, 64, 8, 64, ["mean", "transformer"]
    torch.set_num_threads(asked.threads)
    limits = machine(asked)
    with tempfile.TemporaryDirectory() as folder:
        examples = make_examples(Path(folder) / "made.reel", asked)
        result = {
            "benchmark": "finetune_speed",
            **about(),
            "settings": {key: value for key, value in vars(asked).items() if key != "quick"},
            "limits": {key: round(value) for key, value in limits.items()},
            "collate": collate_rate(examples, asked),
            "results": [measured(examples, kind, asked, limits) for kind in asked.heads],
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
