"""The direction benchmark on stored features: films, `nightreel extract`, `nightreel finetune --train head`.

The towers are trained on pictures that stand still and never saw anything move; so the frames' features know places, and
which of two frames comes first only a head can find out.

It does not know how hits are counted (`_direction_measures.py`).
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _direction_films import ALL, PHRASES, Combination, held_out, write_films
from _direction_measures import Hits, measured
from _tiny_clip import DIM, PICTURES_ONLY, make_towers, save_towers, train
from torch import Tensor

PER = {"train": 32, "val": 2, "test": 8}  # films of each combination
OPTIONS = {"transformer": ("--lr", "1e-3", "--epochs", "40")}  # at 1e-2 it does not train; the others need more
USUAL = ("--lr", "1e-2", "--epochs", "60")
SHARED = ("--train", "head", "--batch", "64", "--max-frames", "8", "--skip-copies", "--device", "cpu")


def stored(folder: Path, heads: Sequence[str], seed: int) -> dict[str, Any]:
    """Seconds of each stage, what `finetune` said per head, hits per head, and what the tested films show."""
    from nightreel.extract.heads.networks import make_head
    from nightreel.extract.heads.tuned import Adapter, Tuned

    took, clock = {}, time.perf_counter()

    def lap(stage: str) -> None:
        nonlocal clock
        took[stage], clock = round(time.perf_counter() - clock, 1), time.perf_counter()

    towers = make_towers(seed)
    train(towers, Tuned(make_head("mean", DIM), Adapter(DIM)), (), PICTURES_ONLY, seed)
    spec = save_towers(towers.eval(), folder / "towers")
    lap("towers_s")
    of = films_of(folder, seed)
    lap("films_s")
    archive = folder / "direction.reel"
    extracted = command("extract", folder / "films", "--archive", archive, "--encoder", spec, "--device", "cpu")
    if extracted["done"] != len(of):
        raise SystemExit(f"{extracted['done']} of {len(of)} films were extracted: {extracted['failures'][:3]}")
    lap("extract_s")
    told, hits = {}, {}
    for kind in heads:
        options = (*SHARED, *OPTIONS.get(kind, USUAL), "--seed", seed)
        told[kind] = command("finetune", archive, "--pairs", folder / "captions.jsonl", "--head", kind, *options)
        if told[kind]["kept"]:
            hits[kind] = hits_of(archive, kind, of, seed)
        lap(f"finetune_{kind}_s")
    return {"took": took, "finetune": told, "hits": hits, "of": tested(of)}


def films_of(folder: Path, seed: int) -> list[tuple[str, Combination]]:
    """Writes films and their captions; per film its part and what it shows. A film's number is its place here."""
    held = dict(zip(ALL, held_out(seed), strict=True))
    of = [(part, c) for part, count in PER.items() for c in ALL if held[c] == (part == "test") for _ in range(count)]
    rng = np.random.default_rng((seed, 1))
    paths = write_films(folder / "films", [c for _, c in of], rng)
    rows = [
        {"video": path.name, "caption": c.caption(int(rng.integers(len(PHRASES)))), "split": part}
        for path, (part, c) in zip(paths, of, strict=True)
        if part != "test"
    ]
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return of


def tested(of: Sequence[tuple[str, Combination]]) -> list[Combination]:
    """What the films of the part `test` show."""
    return [c for part, c in of if part == "test"]


def command(*words: object) -> dict[str, Any]:
    """What a command prints with --json; its messages go to stderr."""
    asked = [sys.executable, "-m", "nightreel.cli", *map(str, words), "--json"]
    return dict(json.loads(subprocess.run(asked, check=True, stdout=subprocess.PIPE).stdout))


def hits_of(archive: Path, name: str, of: Sequence[tuple[str, Combination]], seed: int) -> dict[str, Hits]:
    """Of a stored head, on the features of the films of the part `test`."""
    from nightreel.extract.heads.stored import load_stored
    from nightreel.extract.store import Store
    from nightreel.search.features import Features
    from nightreel.search.query import embed_texts

    store = Store.open(archive)
    tuned, made = load_stored(store, name)
    ids = {Path(row.path).stem: row.video_id for row in store.videos()}
    at = [number for number, (part, _) in enumerate(of) if part == "test"]
    frames = np.stack([store.segments_of(made.base, ids[f"{number:04}"]).embedding for number in at]).astype(np.float32)
    raw = embed_texts(Features(store, made.base, "cpu").encoder, [c.caption() for c in ALL])

    def video(seen: Tensor) -> Tensor:
        return tuned.video(seen, torch.ones(seen.shape[:2], dtype=torch.bool))

    text = tuned.text(torch.from_numpy(np.asarray(raw, np.float32)))
    return measured(video, torch.from_numpy(frames), text, tested(of), seed)
