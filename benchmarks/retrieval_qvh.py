"""Text-to-video on `../shared/data/qvh`: how well videos are ranked, what hub correction does, how far confidence can be
trusted.

    python benchmarks/retrieval_qvh.py [--data ../shared/data/qvh]

752 human sentences, 735 videos of mostly 150 s, features of machine captions every 2 s in the space of `conse`'s sentence
encoder, which also embeds the probe sentences. Everything goes through an archive and its index, as a user's search would.
R@K (in percent) and ranks are those of `nightreel.evaluate`, which counts ties against us.

    plain            best segment + mean of the video, the figure to beat
    nightreel        `index/score.py`, with and without hub correction (`index/hubs.py`)
    slates           the same after `SLATES` videos were added that show nothing: each is the mean of all features, or a hub:
                     the mean of the even sentences, scored on the odd ones; how often such a video is first
    own_or_random    AUROC of the score, and of confidence for a single video, at telling a query's own video from a random one
    there_or_not     the same of the best hit at telling whether the own video is in the archive or was removed

Weights and the hub cut were chosen with these figures in view; nothing is held out.
"""

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _material import about, say
from nightreel.evaluate.retrieval import auroc, retrieval_metrics
from nightreel.evaluate.runners.retrieval import similarity
from nightreel.extract.compact import remove_videos
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.segment import Segments, segment_ids, unit_norm_f16
from nightreel.extract.store import Store
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer, claim_encoder
from nightreel.index.build import build_index
from nightreel.index.open import VectorIndex, open_index

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "qvh"
SLUG = "conse"
SLATES = 20
STEP_S = 2.0


def identity(name: str) -> str:
    """A video id."""
    return hashlib.blake2b(name.encode(), digest_size=10).hexdigest()


def add(store: Store, films: dict[str, np.ndarray]) -> None:
    """Commit videos of (T, D) vectors."""
    writer = Writer(store)
    for name, vectors in films.items():
        video_id, start_s = identity(name), np.arange(len(vectors)) * STEP_S
        names = np.full(len(vectors), video_id, object)
        ids = segment_ids(video_id, len(vectors))
        segments = Segments(ids, names, start_s, start_s + STEP_S, start_s, unit_norm_f16(vectors))
        writer.add(VideoRow(video_id, f"/qvh/{name}.mp4", "done", duration_s=STEP_S * len(vectors)), {SLUG: segments})
    writer.commit()


def plain(films: dict[str, np.ndarray], queries: np.ndarray) -> np.ndarray:
    """(Q, V) best segment + inner product with the mean."""
    columns = []
    for vectors in films.values():
        mean = vectors.mean(0)
        columns.append((queries @ vectors.T).max(1) + queries @ (mean / np.linalg.norm(mean)))
    return np.stack(columns, axis=1)


def metrics(scores: np.ndarray, own: np.ndarray) -> dict[str, float]:
    """R@1, R@5, R@10, R@50 in percent, median and mean rank."""
    return {name: round(value, 2) for name, value in retrieval_metrics(scores, own).items()}


def area(positive: np.ndarray, negative: np.ndarray) -> float:
    """AUROC to four digits."""
    return round(auroc(positive, negative), 4)


def trust(index: VectorIndex, queries: np.ndarray, scores: np.ndarray, own: np.ndarray) -> dict[str, Any]:
    """Both AUROCs, of raw scores and of confidence; and the confidence of best hits when the own video is missing."""
    rows, videos = np.arange(len(own)), scores.shape[1]
    other = (own + np.random.default_rng(0).integers(1, videos, len(own))) % videos

    def each(of: Callable[[np.ndarray], np.ndarray], among: int) -> np.ndarray:
        return np.array([index.null.confidence(q, s[None], among)[0] for q, s in zip(queries, of(scores), strict=True)])

    without = scores.copy()
    without[rows, own] = -np.inf
    there, gone = each(lambda s: s.max(1), videos), each(lambda _: without.max(1), videos - 1)
    mine, random = each(lambda s: s[rows, own], 1), each(lambda s: s[rows, other], 1)
    deciles = (0.05, 0.25, 0.5, 0.75, 0.95)
    return {
        "own_or_random": {"raw": area(scores[rows, own], scores[rows, other]), "confidence": area(mine, random)},
        "there_or_not": {"raw": area(scores.max(1), without.max(1)), "confidence": area(there, gone)},
        "confidence_quantiles": deciles,
        "confidence_there": np.quantile(there, deciles).round(3).tolist(),
        "confidence_not_there": np.quantile(gone, deciles).round(3).tolist(),
        "confidence_random_video": np.quantile(random, deciles).round(3).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips.npz and queries.jsonl")
    args = parser.parse_args()
    clips = np.load(args.data / "clips.npz")
    offsets = clips["offsets"]
    names = [str(name) for name in clips["vids"]]
    films = {n: clips["features"][offsets[i] : offsets[i + 1]].astype(np.float32) for i, n in enumerate(names)}
    queries = np.load(args.data / "query_features.npy").astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    records = [json.loads(line) for line in (args.data / "queries.jsonl").read_text().splitlines()]
    own = np.array([names.index(record["vid"]) for record in records])
    encoder = load_encoder(SLUG)
    with tempfile.TemporaryDirectory() as temporary:
        store = Store.create(Path(temporary) / "qvh.reel", created_by="benchmark")
        sampling = {"fps": 1 / STEP_S, "decode": "exact"}
        claim_encoder(store, SLUG, {**encoder.fingerprint(), "has_text": True, "sampling": sampling})
        add(store, films)
        began = time.perf_counter()
        built = build_index(store, SLUG, load=lambda: encoder)
        build_s = time.perf_counter() - began
        index = open_index(store, SLUG)
        say("scoring")
        scores, lowered = similarity(index, list(map(identity, names)), queries)
        out: dict[str, Any] = {
            **about(),
            "index": {**built, "build_s": round(build_s, 1)},
            "plain": metrics(plain(films, queries), own),
            "nightreel_no_hub_correction": metrics(scores, own),
            "nightreel": {**metrics(scores - lowered, own), "hubs": int((lowered > 0).sum())},
            **trust(index, queries, scores - lowered, own),
        }
        odd = np.arange(len(own)) % 2 == 1
        kinds = {
            "mean_of_features": np.concatenate(list(films.values())).mean(0),
            "mean_of_sentences": queries[~odd].mean(0),
        }
        out["slates"] = {}
        for kind, mean in kinds.items():
            noise = np.random.default_rng(0).normal(size=(SLATES, 75, len(mean))) * 0.01 / np.sqrt(len(mean))
            slates = {f"{kind} {i}": (mean / np.linalg.norm(mean) + noise[i]).astype(np.float32) for i in range(SLATES)}
            add(store, slates)
            build_index(store, SLUG, load=lambda: encoder)
            say(f"scoring with {kind}")
            both, lowered = similarity(open_index(store, SLUG), [identity(n) for n in (*names, *slates)], queries[odd])
            out["slates"][kind] = {
                name: {**metrics(s, own[odd]), "slate_is_first": round(float((s.argmax(1) >= len(names)).mean()), 4)}
                for name, s in (("no_hub_correction", both), ("nightreel", both - lowered))
            }
            hubs = lowered > 0
            out["slates"][kind]["lowered"] = {
                "slates": int(hubs[len(names) :].sum()),
                "others": int(hubs[: len(names)].sum()),
            }
            remove_videos(store, [identity(name) for name in slates])
    print(json.dumps(out))


if __name__ == "__main__":
    main()
