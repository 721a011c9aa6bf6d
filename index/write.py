"""Write a part: one pass over its videos to sample, one to fill; nothing is held but a sample and the index that is being
filled."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from ..extract.files import time_ordered_id, write_atomic
from .hubs import hubness
from .kinds import FLAT_BELOW, Kind, kinds
from .levels import SEGMENT, Floats, Level, pooled, windows
from .manifest import Entry, describe
from .null import SELF
from .part import Table
from .reading import Footage
from .score import video_score
from .train import sample_size, trained
from .tune import QUERIES, Best, held_out, held_out_videos

BLOCK = 16_384  # vectors given to FAISS at once

Read = Callable[[], Iterable[Footage]]  # the videos of the part; called twice


@dataclass(frozen=True)
class Plan:
    """What a part is to be.

    Attributes:
        levels; videos: their ids; counts: level -> rows; kind: of its larger levels; dim.
        probes: (P, D) for hubs, with their `spread` (L, P).    sentences: (P, D) to tune with.    device: to train on.
    """

    levels: Sequence[Level]
    videos: Sequence[str]
    counts: dict[str, int]
    kind: Kind
    probes: Floats
    spread: Floats
    sentences: Floats
    dim: int
    device: str = "auto"

    def kind_of(self, level: Level) -> Kind:
        """Levels with few rows are kept exactly."""
        return kinds(self.dim)[0] if self.counts[level.name] < FLAT_BELOW else self.kind


class _Filling:
    """One level while it is filled."""

    def __init__(self, plan: Plan, level: Level, sample: Floats, queries: Floats) -> None:
        self.level, self.kind = level, plan.kind_of(level)
        self.best = Best(queries)
        self.index = trained(self.kind, plan.counts[level.name], sample, plan.device)
        self.rows: list[int] = []
        self.norms: list[Floats] = [np.zeros(0, np.float32)]
        self.left_out: list[npt.NDArray[np.int64]] = [np.zeros(0, np.int64)]
        self._waiting: list[Floats] = []
        self._hidden: list[npt.NDArray[np.bool_]] = []
        self._total = self._waits = 0

    def add(self, vectors: Floats, norms: Floats, hidden: bool) -> None:
        self._hidden.append(np.full(len(vectors), hidden))
        self.norms.append(norms)
        bad = np.flatnonzero(~vectors.any(axis=1))
        if len(bad):
            self.left_out.append(bad + self._total)
        self.rows.append(len(vectors))
        self._total += len(vectors)
        self._waiting.append(vectors)
        self._waits += len(vectors)
        if self._waits >= BLOCK:
            self.flush()

    def flush(self) -> None:
        if self._waits:
            block = np.ascontiguousarray(np.concatenate(self._waiting))
            self.index.add(block)
            self.best.add(block, np.concatenate(self._hidden))
            self._waiting, self._hidden, self._waits = [], [], 0


def write_part(
    folder: Path, plan: Plan, read: Read, step: Callable[[int], None]
) -> tuple[Entry, Table, dict[str, Best]]:
    """Write the files of a new part.

    Args:
        step: told how many segments were done since the last time, twice over all.

    Returns:
        Its entry for the manifest, untuned; its table; and the truth of each level's held-out queries.
    """
    rng = np.random.default_rng(0)
    held = held_out_videos(plan.videos, rng)
    samples = _samples(plan, held, read, rng, step)
    fillings = [_Filling(plan, level, *samples.pop(level.name)) for level in plan.levels]
    names, versions_, hubs = [], [], []
    spans = [np.zeros((0, 2))]
    for footage in read():
        best = []
        for filling in fillings:
            vectors, norms = pooled(
                footage.vectors, *windows(footage.start_s, footage.end_s, filling.level), footage.weight
            )
            rows = footage.vectors if filling.level is SEGMENT else vectors
            filling.add(rows, norms, footage.video_id in held)
            best.append((plan.probes @ vectors.T).max(1))
        spans.append(np.stack([footage.start_s, footage.end_s], axis=1))
        names.append(footage.video_id)
        versions_.append(footage.version)
        others = best[0] < SELF  # a probe of footage says nothing of the video that it was taken from
        whole = video_score(np.stack(best), footage.seconds, plan.spread, plan.levels)
        hubs.append(hubness(whole[others]))
        step(len(footage.vectors))
    part_id = time_ordered_id()
    entry: Entry = {"id": part_id, "dim": plan.dim, "levels": {}}
    first, left_out = {}, {}
    for filling in fillings:
        filling.flush()
        name, index = filling.level.name, filling.index
        path = folder / f"{part_id}.{name}.faiss"
        write_atomic(path, partial(_write_index, index))
        first[name] = np.concatenate([np.zeros(1, np.int64), np.cumsum(filling.rows, dtype=np.int64)])
        left_out[name] = np.concatenate(filling.left_out)
        kind = {"kind": filling.kind.name, "exact": filling.kind.exact, "vectors": int(index.ntotal)}
        entry["levels"][name] = describe(path, **kind, probes=1, factor=1)
        filling.index = None  # written; the memory is the next one's
    table = Table(names, versions_, np.array(hubs, np.float32), first, left_out)
    path = folder / f"{part_id}.videos.parquet"
    write_atomic(path, lambda temporary: pq.write_table(table.to_arrow(), temporary, compression="zstd"))
    entry["videos"] = describe(path, count=len(names))
    every = [of_video for filling in fillings for of_video in filling.norms]
    for key, array in (("spans", np.concatenate(spans)), ("norms", np.concatenate(every))):
        path = folder / f"{part_id}.{key}.npy"
        write_atomic(path, partial(_write_array, array))
        entry[key] = describe(path)
    return entry, table, {filling.level.name: filling.best for filling in fillings}


def _write_index(index: Any, path: Path) -> None:
    import faiss

    faiss.write_index(index, str(path))


def _write_array(array: npt.NDArray[Any], path: Path) -> None:
    with open(path, "wb") as handle:
        np.save(handle, array, allow_pickle=False)


def _samples(
    plan: Plan, held: set[str], read: Read, rng: np.random.Generator, step: Callable[[int], None]
) -> dict[str, tuple[Floats, Floats]]:
    """Level -> (N, D) to train on, the same share of every video, and (Q, D) held-out queries."""
    share = {}
    for level in plan.levels:
        count = plan.counts[level.name]
        share[level.name] = max(sample_size(count, plan.kind_of(level)), min(count, QUERIES)) / max(count, 1)
    nothing = np.zeros((0, plan.dim), np.float32)
    parts: dict[str, list[Floats]] = {level.name: [nothing] for level in plan.levels}
    queries: dict[str, list[Floats]] = {level.name: [nothing] for level in plan.levels}
    for footage in read():
        vectors = footage.vectors
        for level in plan.levels:
            first, after = windows(footage.start_s, footage.end_s, level)
            single = level is SEGMENT
            chosen = rng.random(len(first)) < share[level.name]
            if chosen.any():
                rows = vectors[chosen] if single else pooled(vectors, first[chosen], after[chosen], footage.weight)[0]
                parts[level.name].append(rows[rows.any(axis=1)])
            if footage.video_id in held:
                some = rng.permutation(len(first))[: QUERIES // len(held)]
                rows = vectors[some] if single else pooled(vectors, first[some], after[some], footage.weight)[0]
                queries[level.name].append(rows[rows.any(axis=1)])
        step(len(footage.vectors))
    out = {}
    for name in parts:
        sample = np.concatenate(parts[name])
        footage_of = np.concatenate(queries[name]) if held else sample
        out[name] = (sample, held_out(plan.sentences, footage_of, rng))
    return out
