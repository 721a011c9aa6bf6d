"""From stored features to a FAISS index: exact inner product over all segments, with explicit int64 ids.

An index folder holds `index.json`, written last, and the files it names; a build that dies leaves the old index in
force. Exact search reads every vector: S * D * 4 bytes of memory and per query (18 million frames of D = 512 are
37 GB, too many for this kind of index; below about 100 000 it is the fastest there is).
"""

import contextlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extract.errors import Damaged
from ..extract.files import sha256_of, time_ordered_id, write_atomic, write_json
from ..extract.fingerprint import MODEL_KEYS
from ..extract.store import Store, utc_now
from .open import FORMAT_VERSION, INDEX_FILE, read_header
from .stats import Accumulator

LEFTOVER_S = 3600.0  # no build of this kind takes so long between a file and its header
PROBES = 64  # stored vectors used as queries to measure recall and latency


def build_index(store: Store, slug: str) -> dict[str, Any]:
    """Index all visible segments of an encoder under `index/<slug>/`, replacing the index there.

    Returns:
        The keys of `nightreel index --json`: name, kind, vectors, bytes, recall_at_10 (against exact search over the
        stored float16 vectors), latency_ms_p50 (one query at a time), added and removed vectors since the last build.

    Raises:
        Damaged: two segments share an id.
    """
    import faiss

    store.refresh()
    fingerprint = store.encoders()[slug]
    dim = int(fingerprint["dim"])
    index = faiss.IndexIDMap2(faiss.IndexFlatIP(dim))
    null = Accumulator(dim)
    ids: list[npt.NDArray[np.int64]] = []
    probes: list[npt.NDArray[np.float32]] = [np.zeros((0, dim), np.float32)]
    for batch in store.segments(slug):
        vectors = batch.embedding.astype(np.float32)
        index.add_with_ids(vectors, batch.segment_id)
        null.add(vectors)
        ids.append(batch.segment_id)
        probes.append(vectors[:: max(1, len(batch) // 8)])
    all_ids = np.concatenate(ids) if ids else np.zeros(0, np.int64)
    _require_unique(all_ids)
    folder = store.root / "index" / slug
    old_ids, replaced = _old_index(store, slug)
    build_id = time_ordered_id()
    stats = null.stats(len(store.video_ids(slug)))
    files = {"vectors": f"{build_id}.faiss", "null": f"{build_id}.npz"}
    write_atomic(folder / files["vectors"], lambda path: faiss.write_index(index, str(path)))
    write_atomic(folder / files["null"], lambda path: _write_npz(path, mean=stats.mean, covariance=stats.covariance))
    recall, latency_ms = measure(index, np.concatenate(probes), store, slug)
    header = {
        "version": FORMAT_VERSION,
        "name": slug,
        "encoder": slug,
        "kind": "Flat",
        "metric": "inner product",
        "fingerprint": {key: fingerprint.get(key) for key in ("spec", *MODEL_KEYS)},
        "dim": dim,
        "vectors": int(index.ntotal),
        "videos": stats.videos,
        "bytes": sum((folder / name).stat().st_size for name in files.values()),
        "recall_at_10": recall,
        "latency_ms_p50": latency_ms,
        "files": files,
        "sha256": {name: sha256_of(folder / file) for name, file in files.items()},
        "commit": store.state.last_commit,
        "created": utc_now(),
    }
    write_json(folder / INDEX_FILE, header)
    _sweep(folder, replaced - {INDEX_FILE, *files.values()})
    shown = ("name", "kind", "vectors", "bytes", "recall_at_10", "latency_ms_p50")
    changes = {
        "added": len(np.setdiff1d(all_ids, old_ids)),
        "removed": len(np.setdiff1d(old_ids, all_ids)),
    }
    return {**{key: header[key] for key in shown}, **changes}


def measure(index: Any, probes: npt.NDArray[np.float32], store: Store, slug: str) -> tuple[float | None, float | None]:
    """Recall@10 of the index against brute force over Parquet, and the median time of a query in milliseconds.

    Queries are `PROBES` of the stored vectors (P, D) in `probes`. Ties are tolerated: a hit counts if it scores no less
    than the tenth best.
    """
    queries = probes[:: max(1, len(probes) // PROBES)][:PROBES]
    if not len(queries):
        return None, None
    k = min(10, int(index.ntotal))
    best = np.full((len(queries), 0), 0.0, np.float32)
    for batch in store.segments(slug):
        scores = queries @ batch.embedding.astype(np.float32).T
        best = np.sort(np.concatenate([best, scores], axis=1), axis=1)[:, -k:]
    times_ms, found = [], []
    for query, exact in zip(queries, best, strict=True):
        began = time.perf_counter()
        scores, _ = index.search(query[None], k)
        times_ms.append((time.perf_counter() - began) * 1e3)
        found.append(float(np.mean(scores[0] >= exact[0] - 1e-5)))
    return round(float(np.mean(found)), 4), round(float(np.median(times_ms)), 3)


def _require_unique(ids: npt.NDArray[np.int64]) -> None:
    unique, counts = np.unique(ids, return_counts=True)
    if np.any(counts > 1):
        raise Damaged(
            f"segment id {int(unique[np.argmax(counts)])} stands {int(counts.max())} times among {len(ids)} segments; "
            "expected each once. Run `nightreel verify` to see which videos share it."
        )


def _old_index(store: Store, name: str) -> tuple[npt.NDArray[np.int64], set[str]]:
    """The ids and the file names of the index that is being replaced, or none."""
    import faiss

    folder = store.root / "index" / name
    try:
        header = read_header(store, name)
        old: Any = faiss.read_index(str(folder / header["files"]["vectors"]))
        return np.asarray(faiss.vector_to_array(old.id_map), np.int64), set(header["files"].values())
    except (Damaged, AttributeError, RuntimeError):  # none, or not one of ours: it is replaced anyway
        return np.zeros(0, np.int64), set()


def _write_npz(path: Path, **arrays: npt.NDArray[np.float32]) -> None:
    with open(path, "wb") as handle:
        np.savez(handle, allow_pickle=False, **arrays)


def _sweep(folder: Path, replaced: set[str]) -> None:
    """Remove the files of the index that was replaced, and what builds that died left an hour ago or earlier.

    Not simply everything else: another build may be writing its files right now.
    """
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.name in replaced or (path.name != INDEX_FILE and time.time() - path.stat().st_mtime > LEFTOVER_S):
                path.unlink()
