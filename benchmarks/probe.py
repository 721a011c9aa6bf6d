"""Probes: how fast they are fitted against the limit, what they say of films whose classes are known, and how their settings
do.

    python benchmarks/probe.py [--only fit|films|settings]...          about 9 minutes on one core; prints one JSON object

Protocol.

fit        10 000 x 768 features of 400 classes (normal, class means apart), `l2` 1e-2 from nothing: steps of L-BFGS, seconds,
and
           floating point operations a second (4 N D C for each time the loss is asked for) as a share of what this machine
           does in matrix products of the same shapes and precision alone, which is the limit. k-NN: the same features as bank
           and queries, against 2 N N D. `select`: 2500 x 768, 100 classes, all that `probe` does for one encoder, choosing
           included.
films      16 classes, 4 colours x 4 ways to move, 480 short films of 64 x 64 pixels: a textured disc on a noisy, coloured
ground that
           drifts. Encoders: `toy` (mean colour) and `flow` (what `raft` makes of flow, here of flow by Lucas and Kanade from
           scikit-image, so that no weights are needed). Every film is drawn anew, and copies are not looked for: a film is
           one segment here, and these features call films of one class the same footage.
settings   Real features: QVHighlights' videos (mean of 2 s vectors, D = 384), classes by words in their first query (food,
vehicle,
           talk, ...; videos with two of these are left out), `SPLITS` splits by source. For each way to scale features and
           each rule to choose `l2`: top-1 on test, mean and standard error over splits, and the paired difference to what is
           built in. Needs ../shared/data.
"""

import argparse
import json
import re
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _material import about, say
from _qvh import DATA, films
from nightreel.evaluate.records import Labelled
from nightreel.evaluate.splits import split_by_source
from nightreel.extract.encoders.flow import descriptor
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.segment import Segments, segment_ids, unit_norm_f16
from nightreel.extract.store import Store
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer, claim_encoder
from nightreel.finetune.probing.labels import Example, LabelFile
from nightreel.finetune.probing.linear import Linear, Scaling, cross_entropy, fit_linear, scaling_of
from nightreel.finetune.probing.methods import Stream, all_methods
from nightreel.finetune.probing.neighbours import Neighbours
from nightreel.finetune.probing.parts import Parts
from nightreel.finetune.probing.probe import Settings, probe

N, D, C = 10_000, 768, 400
SELECT = [2500, 768, 100]
SPLITS = 30
GRID = (10.0, 3.16, 1.0, 0.316, 0.1)

# --- how fast -------------------------------------------------------------------------------------------------


def made(n: int, d: int, c: int, apart: float = 0.25) -> tuple[np.ndarray, np.ndarray]:
    """(n, d) unit vectors of c classes, (n,) labels."""
    rng = np.random.default_rng(0)
    means = rng.normal(size=(c, d)).astype(np.float32)
    labels = rng.integers(0, c, n)
    x = apart * means[labels] + rng.standard_normal((n, d), np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), labels


def seconds_of(run: Callable[[], Any], least: int = 3) -> float:
    """The least time of `least` runs."""
    times = []
    for _ in range(least):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def fit() -> dict[str, Any]:
    x, y = made(N, D, C)
    a, w = torch.from_numpy(x).double(), torch.randn(C, D, dtype=torch.float64)
    g = torch.randn(N, C, dtype=torch.float64)
    limit_s = seconds_of(lambda: (a @ w.T, g.T @ a))  # forward, gradient
    asked = 0
    plain = torch.nn.functional.cross_entropy

    def counted(*args: Any, **how: Any) -> Any:
        nonlocal asked
        asked += 1
        return plain(*args, **how)

    torch.nn.functional.cross_entropy = counted
    try:
        began = time.perf_counter()
        found = fit_linear(x, y, C, 1e-2)
        took_s = time.perf_counter() - began
    finally:
        torch.nn.functional.cross_entropy = plain
    say(f"fit {took_s:.1f} s, {asked} evaluations")
    f = torch.from_numpy(x)
    near_s, near_limit_s = seconds_of(lambda: Neighbours(x, y, C).probabilities(x), 1), seconds_of(lambda: f @ f.T)
    u, v = made(SELECT[0], SELECT[1], SELECT[2])
    train = np.arange(SELECT[0] // 5, SELECT[0])
    parts = Parts(
        train, np.arange(SELECT[0] // 5), ((train[len(train) // 5 :], train[: len(train) // 5]),), False, None
    )
    began = time.perf_counter()
    methods = all_methods([Stream("made", u)], v, SELECT[2], parts)
    select_s = time.perf_counter() - began
    flops = 4 * N * D * C
    return {
        "shape": [N, D, C],
        "threads": torch.get_num_threads(),
        "steps": found.steps,
        "evaluations": asked,
        "seconds": round(took_s, 2),
        "gflops": round(flops * asked / took_s / 1e9, 1),
        "limit_gflops": round(flops / limit_s / 1e9, 1),
        "share_of_limit": round(asked * limit_s / took_s, 3),
        "knn": {"seconds": round(near_s, 2), "share_of_limit": round(near_limit_s / near_s, 3)},
        "select": {
            "shape": SELECT,
            "folds": 1,
            "seconds": round(select_s, 1),
            "methods": [m.name for m in methods],
            "l2": methods[0].l2,
        },
    }


# --- films whose classes are known ------------------------------------------------------------------------------

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 220), "yellow": (220, 220, 40)}
WAYS = {"right": (1, 0), "left": (-1, 0), "down": (0, 1), "up": (0, -1)}
SIDE, FRAMES, FPS, COPIES = 64, 9, 8.0, 30


def film(colour: str, way: str, rng: np.random.Generator) -> np.ndarray:
    """(FRAMES, SIDE, SIDE, 3) uint8: a textured disc that goes one way over a ground that drifts another."""
    ground = 60 + rng.integers(0, 50, 3) + rng.normal(0, 40, (2 * SIDE, 2 * SIDE, 1))
    disc = np.array(COLOURS[colour]) + rng.normal(0, 50, (SIDE, SIDE, 1))
    at, speed, radius = rng.uniform(24, 40, 2), rng.uniform(1.0, 2.5), rng.uniform(12, 18)
    drift, step = rng.uniform(-0.5, 0.5, 2), speed * np.array(WAYS[way])
    y, x = np.mgrid[:SIDE, :SIDE]
    out = []
    for t in range(FRAMES):
        cx, cy = at + (t - FRAMES / 2) * step
        gx, gy = np.rint(SIDE / 2 + drift * t).astype(int)
        picture = np.broadcast_to(ground[gy : gy + SIDE, gx : gx + SIDE], (SIDE, SIDE, 3)).copy()
        inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        texture = np.roll(disc, (round(cy), round(cx)), (0, 1))
        picture[inside] = texture[inside]
        out.append(picture + rng.normal(0, 6, picture.shape))
    return np.clip(np.stack(out), 0, 255).astype(np.uint8)


def flow_of(frames: np.ndarray) -> np.ndarray:
    """(288,) what the flow between frames says."""
    from skimage.registration import optical_flow_ilk

    grey = frames.mean(axis=-1) / 255
    fields = [optical_flow_ilk(a, b, radius=5)[::-1] for a, b in pairwise(grey)]  # x, y
    flow = torch.from_numpy(np.stack(fields)[None].astype(np.float32))
    gaps_s = torch.full((1, len(fields)), 1 / FPS, dtype=torch.float64)
    return descriptor(flow, gaps_s, torch.tensor([[SIDE, SIDE]]))[0].numpy()


def whole_video(video_id: str, vectors: np.ndarray) -> Segments:
    times = np.linspace(0, FRAMES / FPS, len(vectors) + 1)
    names = np.full(len(vectors), video_id, object)
    ids = segment_ids(video_id, len(vectors))
    return Segments(ids, names, times[:-1], times[1:], times[:-1], unit_norm_f16(vectors))


def of_films() -> dict[str, Any]:
    rng, toy = np.random.default_rng(0), ToyEncoder()
    with tempfile.TemporaryDirectory() as folder:
        store = Store.create(Path(folder) / "a.reel", created_by="benchmark")
        for slug, dim in (("toy", 4), ("flow", 288)):
            claim_encoder(store, slug, {"spec": slug, "dim": dim, "sampling": {"fps": FPS}, "has_text": False})
        writer, examples = Writer(store), []
        for colour in COLOURS:
            for way in WAYS:
                for number in range(COPIES):
                    name, frames = f"{colour}_{way}_{number}", film(colour, way, rng)
                    segments = {
                        "toy": whole_video(name, toy.encode_frames(frames)),
                        "flow": whole_video(name, flow_of(frames)[None]),
                    }
                    writer.add(VideoRow(name, f"/made/{name}.mp4", "done"), segments)
                    examples.append(Example(Labelled(name, f"{colour} {way}")))
        writer.commit()
        say("films made")
        began = time.perf_counter()
        result = probe(store, LabelFile(tuple(examples), ()), Settings(("toy", "flow"), threshold=None))
        result["seconds"] = round(time.perf_counter() - began, 1)
    keys = ("labelled", "parts", "baselines", "methods", "chosen", "gain", "confused", "seconds")
    return {key: result[key] for key in keys}


# --- settings on real features ----------------------------------------------------------------------------------

WORDS = {
    "food": "cook|eat|food|restaurant|kitchen|meal|chef|noodle|fish|bread|drink|coffee|tea|cake",
    "vehicle": "car|drive|driving|driver|bus|train|bike|motorcycle|plane|airplane|boat|road",
    "news": "news|reporter|anchor|interview|politician|president|protest|police|journalist",
    "water": "beach|ocean|sea|swim|pool|boat|lake|surf",
    "animal": "dog|cat|bird|animal|horse|puppy|elephant",
    "talk": "talk|talks|talking|speaks|speaking|vlog|explains|explaining",
    "shop": "shop|store|shopping|market|mall|buy",
    "looks": "makeup|hair|dress|clothes|shirt|skin|nail",
}


def real() -> tuple[list[Labelled], np.ndarray]:
    """Records, and (N, D) means of unit vectors."""
    labels: dict[str, str] = {}
    for line in (DATA / "queries.jsonl").read_text(encoding="utf-8").splitlines():
        query = json.loads(line)
        hit = [name for name, words in WORDS.items() if re.search(rf"\b({words})(s|ing)?\b", query["query"].lower())]
        if len(hit) == 1:
            labels.setdefault(query["vid"], hit[0])
    every = films()
    names = sorted(labels)
    return [Labelled(name, labels[name]) for name in names], np.stack([every[name].mean(0) for name in names])


def each_by_itself(x: np.ndarray) -> Scaling:
    """Every dimension by its own spread."""
    return Scaling(x.mean(0), x.std(0) + 1e-6)


def as_it_is(x: np.ndarray) -> Scaling:
    return Scaling(np.zeros(x.shape[1], np.float32), np.full(x.shape[1], x.std(), np.float32))


def settings(splits: int) -> dict[str, Any]:
    records, mean = real()
    unit = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    names = sorted({record.label for record in records})
    y = np.array([names.index(record.label) for record in records])
    ways = {
        "unit, centred, one spread": (unit, scaling_of),
        "unit, centred, every dimension's spread": (unit, each_by_itself),
        "unit, not centred": (unit, as_it_is),
        "mean, centred, one spread": (mean, scaling_of),
    }
    got: dict[str, list[float]] = {}
    for seed in range(splits):
        train, test, folds = rows_of(records, seed)
        for name, (x, scaling) in ways.items():
            by_loss, by_top1 = chosen(x, y, len(names), scaling, train, folds)
            for rule, l2 in (("least loss", by_loss), ("most top-1", by_top1)):
                of = fit_linear(x[train], y[train], len(names), l2, scaling=scaling(x[train]))
                got.setdefault(f"{name}; {rule}", []).append(top1(of.probabilities(x[test]), y[test]))
        centre = unit - unit[train].mean(0)
        centre /= np.linalg.norm(centre, axis=1, keepdims=True)
        for name, x in (("k-NN", unit), ("k-NN, centred", centre)):
            said = Neighbours(x[train], y[train], len(names)).probabilities(x[test])
            got.setdefault(name, []).append(top1(said, y[test]))
        often = np.bincount(y[train]).argmax()
        got.setdefault("always the most frequent", []).append(100 * float((y[test] == often).mean()))
        say(f"split {seed + 1} of {splits}")
    first = np.array(next(iter(got.values())))
    told = {}
    for name, values in got.items():
        now = np.array(values)
        error, gap = now.std(ddof=1) / splits**0.5, now - first
        told[name] = {
            "top-1": round(now.mean(), 2),
            "error": round(error, 2),
            "to_first": [round(gap.mean(), 2), round(gap.std(ddof=1) / splits**0.5, 2)],
        }
    return {"videos": len(records), "classes": len(names), "splits": splits, "rows": told}


def rows_of(records: list[Labelled], seed: int) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    at = {record.video: row for row, record in enumerate(records)}
    parts = split_by_source(records, {"train": 0.8, "test": 0.2}, seed)
    folds = split_by_source(parts["train"], {str(i): 0.2 for i in range(5)}, seed + 1_000_003)
    train, test, *held = (
        np.array([at[r.video] for r in of]) for of in (parts["train"], parts["test"], *folds.values())
    )
    return train, test, held


def chosen(
    x: np.ndarray,
    y: np.ndarray,
    classes: int,
    scaling: Callable[[np.ndarray], Scaling],
    train: np.ndarray,
    folds: list[np.ndarray],
) -> tuple[float, float]:
    """`l2` by the least loss, and by the best top-1, of what each fold's fit says of its held-out rows."""
    said = {l2: np.zeros((len(x), classes)) for l2 in GRID}
    for held in folds:
        rows, last = np.setdiff1d(train, held), None
        for l2 in GRID:
            last: Linear | None = fit_linear(x[rows], y[rows], classes, l2, start=last, scaling=scaling(x[rows]))
            said[l2][held] = last.probabilities(x[held])
    loss = [cross_entropy(said[l2][train], y[train]) for l2 in GRID]
    hits = [top1(said[l2][train], y[train]) for l2 in GRID]
    return GRID[int(np.argmin(loss))], GRID[int(np.argmax(hits))]


def top1(said: np.ndarray, y: np.ndarray) -> float:
    return 100 * float((said.argmax(1) == y).mean())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", action="append", choices=["fit", "films", "settings"])
    parser.add_argument("--splits", type=int, default=SPLITS)
    options = parser.parse_args()
    wanted = options.only or ["fit", "films", "settings"]
    parts = {"fit": fit, "films": of_films, "settings": lambda: settings(options.splits)}
    print(json.dumps({**about("torch"), **{name: parts[name]() for name in wanted}}, indent=2))


if __name__ == "__main__":
    main()
