"""How exact and how fast an index is: every part tuned and measured when it is made, the whole when it is put in force.

Recall of the whole is the mean of its parts', by vectors: the ten best of all are among the ten best of their parts. Latency
is of single queries over all parts, re-scoring included, with everything in memory.
"""

import time
from typing import Any

import numpy as np

from ..extract.store import Store
from ..extract.vectors import Vectors
from .levels import SEGMENT, Floats
from .manifest import Entry, Header, folder_of
from .open import exact_scores, open_header
from .part import Part, open_part
from .reading import versions
from .tune import Best, K, Trial, recall_by_owner, recall_by_score, tune

QUERIES = 16


def tune_part(store: Store, slug: str, entry: Entry, truth: dict[str, Best], wanted: float) -> None:
    """Choose the settings of every level of a new part and write them, and what they give, into its entry."""
    part = open_part(folder_of(store, slug), entry, versions(store, slug))
    vectors = Vectors(store, slug)
    for name, best in truth.items():
        tuned = tune(_trial(part, name, best, vectors), wanted)
        entry["levels"][name] |= {
            "probes": tuned.probes,
            "factor": tuned.factor,
            "recall_at_10": tuned.recall,
            "latency_ms": tuned.latency_ms,
        }


def _trial(part: Part, level: str, truth: Best, vectors: Vectors) -> Trial:
    """Single segments are found by exact score; of windows, whose vectors are stored nowhere, it matters whose they are."""
    import faiss

    lists = faiss.try_extract_index_ivf(part.indexes[level])
    exact = bool(part.entry["levels"][level]["exact"])
    by_score = level == SEGMENT.name
    owners = np.where(truth.rows >= 0, part.owner(level, truth.rows), -1)

    living = part.living(level)
    mask = np.ones(int(part.table.first[level][-1]), bool) if living is None else living.copy()
    mask[np.concatenate(truth.hidden)] = False

    def found(queries: Floats, probes: int, factor: int) -> tuple[Floats, Any]:
        scores, rows = part.search(level, queries, K * factor, mask, probes)
        if by_score and not exact:
            scores = exact_scores(vectors, part, queries, rows)
        return np.where(rows >= 0, scores, -np.inf), rows

    def recall(probes: int, factor: int) -> float:
        scores, rows = found(truth.queries, probes, factor)
        if by_score:
            return recall_by_score(scores, truth)
        return recall_by_owner(np.where(rows >= 0, part.owner(level, rows), -1), owners)

    return Trial(
        0 if lists is None else int(lists.nlist),
        exact,
        len(truth.queries),
        recall,
        lambda i, probes, factor: found(truth.queries[i : i + 1], probes, factor),
    )


def measure(store: Store, header: Header, probes: Floats) -> dict[str, float | None]:
    """`recall_at_10` and `latency_ms_p50` of a whole index, None where there is nothing in it."""
    parts = [(entry["levels"][SEGMENT.name], entry) for entry in header["parts"]]
    total = sum(level["vectors"] for level, _ in parts)
    if not total or not header["vectors"]:
        return {"recall_at_10": None, "latency_ms_p50": None}
    recall = sum(level["recall_at_10"] * level["vectors"] for level, _ in parts) / total
    index, times = open_header(store, header), []
    queries = probes[:QUERIES]
    for query in queries:
        index.search(query, K)  # once for the page cache
    for query in queries:
        began = time.perf_counter()
        index.search(query, K)
        times.append((time.perf_counter() - began) * 1e3)
    return {"recall_at_10": round(recall, 4), "latency_ms_p50": round(float(np.median(times)), 3) if times else None}
