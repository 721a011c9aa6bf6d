"""Indexes side by side on the same vectors and machine: ours, exact search, and autofaiss. Prints one JSON object.

    python benchmarks/index.py [--sizes 10000 100000 1000000] [--memory 4GB] [--keep FOLDER] [--skip-peer]

The peer needs packages that nothing else needs, without their pins, which ask for an older FAISS: `make peers`.

Protocol. Vectors: `_vectors.py` (D = 512, clustered, 48 intrinsic dimensions, at most 500 to a video), in an archive for ours
and the same rows as .npy for the peer. Each engine builds in a process of its own, with the same memory allowed: time, bytes
on disk, peak memory. `QUERIES` fresh queries, near the vectors and not of them; the truth is brute force. Recall by score, so
ties are hits. Latency: one query at a time in a warm process, re-scoring included; `batch_qps` is all of them in one call.

Ours also: adding 1 % and building again against a build of everything (`add_ratio`), the time of `remove` with the first
search after it, and searches that are filtered to a share of the rows. Limit: a query has to read `probes / lists` of the
codes at least, at the speed at which this machine reads memory.

The peer optimises for a time per query (10 ms by default), we for recall; so it is asked twice: as it comes, and with its
search parameters raised until it reaches our recall, which is the fair comparison.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from _material import about, say
from _vectors import Made

QUERIES = 200
K = (1, 10, 100)
VIDEOS = 100  # at least, so that one is 1 %
SHARES = (0.5, 0.1, 0.01, 0.001)
SLUG = "made"


def make_archive(root: Path, videos: int, frames: int, first: int = 0) -> None:
    """An archive with so many made videos, or more of them in one that is there."""
    from nightreel.extract.segment import Segments, segment_ids
    from nightreel.extract.store import Store
    from nightreel.extract.videos import VideoRow
    from nightreel.extract.writer import Writer, claim_encoder

    store, made = Store.create(root, created_by="benchmark"), Made(frames=frames)
    plan = {"fps": 1.0, "decode": "exact"}
    claim_encoder(store, SLUG, {"spec": SLUG, "dim": made.dim, "sampling": plan, "has_text": False, "licence": "none"})
    writer = Writer(store)
    for number in range(first, first + videos):
        vectors, name = made.video(number), f"{number:020x}"
        start_s = np.arange(len(vectors), dtype=np.float64)
        names = np.full(len(vectors), name, object)
        segments = Segments(segment_ids(name, len(vectors)), names, start_s, start_s + 1, start_s, vectors)
        writer.add(VideoRow(name, f"/made/{number}.mp4", "done", duration_s=float(len(vectors))), {SLUG: segments})
        if writer.pending == 50:
            writer.commit()
    writer.commit()


def truth(videos: int, frames: int, queries: np.ndarray) -> np.ndarray:
    """(Q, 100) the best scores, by brute force over the stored float16."""
    made, best = Made(frames=frames), np.full((len(queries), max(K)), -np.inf, np.float32)
    for number in range(videos):
        scores = queries @ made.video(number).astype(np.float32).T
        best = -np.sort(-np.concatenate([best, scores], axis=1), axis=1)[:, : max(K)]
    return best


def figures(search: Any, exact: Any, queries: np.ndarray, best: np.ndarray) -> dict[str, Any]:
    """Recall, latency of single queries at k = 10, and queries a second in one call.

    Args:
        search: (queries, k) -> what it found, timed.    exact: (queries, that) -> (Q, k) exact scores of it, not timed.
    """
    out: dict[str, Any] = {}
    for k in K:
        scores = -np.sort(-exact(queries, search(queries, k)), axis=1)
        out[f"recall_at_{k}"] = round(float((scores >= best[:, k - 1 : k] - 1e-4).mean()), 4)
    times = []
    for query in np.concatenate([queries, queries]):  # the first round warms up
        began = time.perf_counter()
        search(query[None], 10)
        times.append((time.perf_counter() - began) * 1e3)
    times = times[len(queries) :]
    out |= {
        "latency_ms_p50": round(float(np.median(times)), 2),
        "latency_ms_p99": round(float(np.quantile(times, 0.99)), 2),
    }
    began = time.perf_counter()
    search(queries, 10)
    out["batch_qps"] = round(len(queries) / (time.perf_counter() - began), 1)
    return out


# --- ours -----------------------------------------------------------------------------------------------------


def build_ours(root: Path, memory: str) -> dict[str, Any]:
    from nightreel.extract.store import Store
    from nightreel.index.build import Settings, build_index

    store, began = Store.open(root), time.perf_counter()
    built = build_index(store, SLUG, Settings(memory=memory, rebuild=True))
    return {**built, "build_s": round(time.perf_counter() - began, 1)}


def measure_ours(
    root: Path, videos: int, frames: int, queries: np.ndarray, best: np.ndarray, built: dict[str, Any]
) -> dict[str, Any]:
    from nightreel.extract.compact import remove_videos
    from nightreel.extract.store import Store
    from nightreel.index.build import build_index
    from nightreel.index.open import open_index

    store = Store.open(root)
    began = time.perf_counter()
    index = open_index(store, SLUG)
    opened_ms = (time.perf_counter() - began) * 1e3
    out = {"open_ms": round(opened_ms, 1), **figures(index.search_many, lambda q, found: found[0], queries, best)}
    largest = max(index.parts, key=lambda part: part.table.rows())
    out["tuned"] = {name: largest.settings(name) for name in index.header["levels"]}
    for level in out["tuned"].values():
        level.pop("file"), level.pop("sha256")
    out["filtered_ms_p50"] = filtered(index, queries)
    out["shortlist_ms_p50"] = median_ms(lambda q: index.videos(q, 30), queries[:50])
    say(f"adding 1 % to {videos} videos")
    more = max(1, videos // 100)
    make_archive(root, more, frames, first=videos)
    began = time.perf_counter()
    added = build_index(store, SLUG)
    out["add_s"], out["added"] = round(time.perf_counter() - began, 2), added["added"]
    out["add_ratio"] = round(out["add_s"] / built["build_s"], 4)
    times = []
    for number in range(5):
        began = time.perf_counter()
        remove_videos(store, [f"{number:020x}"])
        times.append((time.perf_counter() - began) * 1e3)
        began = time.perf_counter()
        index = open_index(store, SLUG)
        index.search(queries[number], 10)
        out["reopen_ms"] = round((time.perf_counter() - began) * 1e3, 1)
    out["remove_ms_p50"] = round(float(np.median(times)), 1)
    return out


def filtered(index: Any, queries: np.ndarray) -> dict[str, float]:
    """Median milliseconds of single queries, 10 results, when a share of the rows, at random, is allowed."""
    rng = np.random.default_rng(0)
    ids = np.concatenate([part.ids_of(np.arange(part.table.rows())) for part in index.parts])
    out = {}
    for share in SHARES:
        allowed = np.sort(rng.choice(ids, int(share * len(ids)), replace=False))
        out[str(share)] = median_ms(lambda q, allowed=allowed: index.search(q, 10, allowed), queries[:50])
    return out


def median_ms(search: Any, queries: np.ndarray) -> float:
    times = []
    for query in queries:
        began = time.perf_counter()
        search(query)
        times.append((time.perf_counter() - began) * 1e3)
    return round(float(np.median(times)), 2)


# --- the peer -------------------------------------------------------------------------------------------------


def build_peer(folder: Path, memory: str) -> dict[str, Any]:
    import faiss
    from autofaiss import build_index

    began = time.perf_counter()
    index, infos = build_index(
        str(folder / "npy"),
        save_on_disk=False,  # it cannot write what it measured, as JSON knows no numpy 2 numbers
        max_index_memory_usage=memory.replace("GB", "G").replace("MB", "M"),
        current_memory_available="16G",
        metric_type="ip",
        verbose=40,
    )
    seconds = round(time.perf_counter() - began, 1)
    faiss.write_index(index, str(folder / "peer.faiss"))
    (folder / "peer.json").write_text(json.dumps(infos, default=str))
    return {"build_s": seconds, "bytes": (folder / "peer.faiss").stat().st_size, "infos": infos}


def measure_peer(folder: Path, queries: np.ndarray, best: np.ndarray, wanted: float) -> dict[str, Any]:
    """As it comes, and with its parameters raised until it has the recall that ours has."""
    import faiss

    index = faiss.read_index(str(folder / "peer.faiss"))
    key = json.loads((folder / "peer.json").read_text()).get("index_key")
    vectors = np.concatenate([np.load(path, mmap_mode="r") for path in sorted((folder / "npy").glob("*.npy"))])

    def exact(q: np.ndarray, result: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Its own scores are of compressed vectors; what counts is which it found."""
        rows = result[1]
        found = vectors[np.maximum(rows, 0)].astype(np.float32)
        return np.where(rows >= 0, np.einsum("qd,qkd->qk", q, found), -np.inf)

    out = {"as_it_comes": {"index_key": key, **figures(index.search, exact, queries, best)}}
    raised = None
    space = faiss.ParameterSpace()
    for effort in (16, 32, 64, 128, 256, 512, 1024, 2048):
        names = ("efSearch",) if "HNSW" in str(key) and "IVF" not in str(key) else ("nprobe", "quantizer_efSearch")
        for name in names:
            try:
                space.set_index_parameter(index, name, effort if name != "quantizer_efSearch" else 2 * effort)
            except RuntimeError:
                continue
        raised = {"effort": effort, **figures(index.search, exact, queries, best)}
        if raised["recall_at_10"] >= wanted:
            break
    return {**out, "at_our_recall": raised}


# --- all of it ------------------------------------------------------------------------------------------------


def in_process(action: str, folder: Path, memory: str) -> dict[str, Any]:
    """Build in a process of its own, for its peak memory."""
    command = [sys.executable, __file__, "--build", action, "--keep", str(folder), "--memory", memory]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    lines = done.stdout.decode().strip().splitlines()
    return json.loads(lines[-1]) if done.returncode == 0 and lines else {"failed": done.returncode}


def one_size(folder: Path, count: int, memory: str, peer: bool) -> dict[str, Any]:
    frames = min(500, count // VIDEOS)
    videos = count // frames
    made = Made(frames=frames)
    queries = made.queries(QUERIES)
    if not (folder / "ours.reel").exists():
        say(f"making {count} vectors")
        make_archive(folder / "ours.reel", videos, frames)
    best = truth(videos, frames, queries)
    built = in_process("ours", folder, memory)
    say(f"ours: {built}")
    out: dict[str, Any] = {"vectors": count, "memory": memory, "ours": {**built}}
    out["ours"] |= measure_ours(folder / "ours.reel", videos, frames, queries, best, built)
    if peer:
        (folder / "npy").mkdir(exist_ok=True)
        for low in range(0, videos, 1000):
            block = np.concatenate([made.video(n) for n in range(low, min(videos, low + 1000))])
            np.save(folder / "npy" / f"{low:08}.npy", block.astype(np.float32))
        built = in_process("peer", folder, memory)
        out["autofaiss"] = (
            built
            if "failed" in built
            else {**built, **measure_peer(folder, queries, best, out["ours"]["recall_at_10"])}
        )
        say(f"autofaiss: {out['autofaiss']}")
    return out


def faiss_version() -> str:
    import faiss

    return str(faiss.__version__)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--keep", type=Path, help="a folder for archives and indexes, not removed at the end")
    parser.add_argument("--skip-peer", action="store_true")
    parser.add_argument("--build", choices=("ours", "peer"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.build:
        built = (
            build_ours(args.keep / "ours.reel", args.memory)
            if args.build == "ours"
            else build_peer(args.keep, args.memory)
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({**built, "peak_bytes": peak}, default=str))
        return
    with tempfile.TemporaryDirectory() as temporary:
        base = args.keep or Path(temporary)
        peer = not args.skip_peer
        if peer:
            try:
                import autofaiss  # noqa: F401
            except ImportError:
                say("autofaiss is not here; see the top of this file")
                peer = False
        sizes = []
        for count in args.sizes:
            folder = base / str(count)
            folder.mkdir(parents=True, exist_ok=True)
            sizes.append(one_size(folder, count, args.memory, peer))
    print(json.dumps({"machine": {**about(), "faiss": faiss_version()}, "queries": QUERIES, "sizes": sizes}))


if __name__ == "__main__":
    main()
