"""`nightreel index`: bring an index up to date with its archive, by a new part for what is new.

    covered   a part has the rows of this video that count now: nothing to do
    new       videos that no part has; they become a new part, together with small parts that are not much larger
    dead      rows of videos that were removed or replaced since: hidden, until `compact` or until they are half of a part

The old manifest stays in force until the new one has its name, so a build that is killed leaves nothing but files that nobody
names. Two builds at once both finish; the manifest that is written last counts.

A new part costs two passes over its videos, k-means (`train.py`), and N * lists * D * 2 operations to sort N vectors into
lists. Memory: the part itself, 48 vectors per list to learn from, one Parquet file. Parts are cut at `PART_ROWS` segments.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..extract.encoders.base import Encoder
from ..extract.errors import Damaged
from ..extract.fingerprint import MODEL_KEYS
from ..extract.heads.stored import head_of
from ..extract.segment import WEIGHT, video_number
from ..extract.store import Store, utc_now
from .chance import Chance, measure_chance
from .kinds import DEFAULT_MEMORY, DEFAULT_RECALL, FLAT_BELOW, Kind, check_recall, choose_kind, kinds, parse_memory
from .levels import SEGMENT, Level, levels_for, windows
from .manifest import FORMAT_VERSION, Entry, Header, Old, files_of, folder_of, publish, read_old
from .measure import measure, tune_part
from .part import Table, faiss_version
from .reading import Footage, read_videos, versions
from .write import Plan, write_part

PART_ROWS = 8_000_000  # of RaBitQ at D = 512: 1.1 GB while it is filled (all levels), and 1.6 GB of sample
DEAD_SHARE = 0.5
MERGED = 2.0  # a small part of up to so many times as many rows as are new is merged with them

Progress = Callable[[str, int, int], None]  # what, done, of


@dataclass(frozen=True, slots=True)
class Settings:
    """What was asked for; None: as the index has it, else the defaults.

    Attributes:
        memory: `4GB`; what the index may take.    recall: share of the ten best that are to be found, 0 to 1.
        device: for training.    rebuild: keep no part of the old index.
    """

    memory: str | None = None
    recall: float | None = None
    device: str = "auto"
    rebuild: bool = False


def no_progress(what: str, done: int, of: int) -> None:
    """For those who do not watch."""


def build_index(
    store: Store,
    slug: str,
    settings: Settings = Settings(),
    load: Callable[[], Encoder] | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Bring `index/<slug>/` up to date with the visible segments of an encoder.

    Args:
        load: the encoder, for probe sentences; without it footage stands in (`probes.py`).

    Returns:
        The keys of `nightreel index --json`: name, kind, vectors, bytes, recall_at_10, latency_ms_p50, added and removed
        (vectors since the last build), left_out (vectors without a direction), memory, recall_asked.

    Raises:
        Damaged: two segments share an id, or features cannot be read.    UsageError: settings out of range.
    """
    store.refresh()
    old, fingerprint, now = read_old(store, slug), store.encoders()[slug], versions(store, slug)
    _require_unique(now)
    dim, levels = int(fingerprint["dim"]), levels_for(fingerprint.get("sampling"))
    wish = _wish(settings, old, levels)
    sizes: dict[str, tuple[int, ...]] = {}

    def sized(names: set[str]) -> dict[str, tuple[int, ...]]:
        for footage in read_videos(store, slug, names - set(sizes), embeddings=False):
            sizes[footage.video_id] = _rows(footage, levels)
        return sizes

    kept, todo = _divide(old.parts, now, wish.anew, sized)
    new = sum(map(sum, sized(todo).values()))
    kind = choose_kind(sum(sum(table.counts(now).values()) for _, table in kept) + new, dim, wish.room)
    if _too_large(kept, kind, dim, wish.room - kind.bytes * new):
        return build_index(store, slug, replace(settings, rebuild=True), load, progress)
    chance = measure_chance(store, slug, old, levels, load)
    parts = [(dict(entry), table) for entry, table in kept]
    parts += _new_parts(store, slug, sizes, levels, kind, chance, (wish.recall, settings.device), progress)
    for entry, table in parts:
        entry["hidden"] = table.dead(now)
    header = _header(store, slug, wish, levels, parts, now) | chance.files
    header["bytes"] = sum(named["bytes"] for named in files_of(header))
    header |= measure(store, header, chance.probes.vectors)
    publish(store, header, old)
    shown = ("name", "kind", "vectors", "bytes", "recall_at_10", "latency_ms_p50", "left_out", "memory", "recall_asked")
    known = {(v, w) for _, table in old.parts for v, w in zip(table.video_id, table.version, strict=True)}
    added = sum(sizes[name][0] for name in todo if (name, now[name]) not in known)
    removed = sum(table.dead(now) - entry["hidden"] for entry, table in old.parts)
    why = chance.probes.why if fingerprint.get("has_text") else ""
    return {**{key: header[key] for key in shown}, "added": added, "removed": removed, "no_sentences": why}


@dataclass(frozen=True)
class _Wish:
    """What an index is to be: `room` is `memory` in bytes; `anew`: nothing of the old one fits that."""

    memory: str
    room: float
    recall: float
    anew: bool


def _wish(settings: Settings, old: Old, levels: Sequence[Level]) -> _Wish:
    recall = check_recall(settings.recall if settings.recall is not None else old.recall or DEFAULT_RECALL)
    memory = settings.memory if settings.memory is not None else old.memory or DEFAULT_MEMORY
    room = parse_memory(memory)
    same = old.memory is not None and parse_memory(old.memory) == room and old.recall == recall
    same = same and old.levels == [level.name for level in levels]
    return _Wish(memory, room, recall, settings.rebuild or not same)


def _new_parts(
    store: Store,
    slug: str,
    sizes: Mapping[str, tuple[int, ...]],
    levels: Sequence[Level],
    kind: Kind,
    chance: Chance,
    tuning: tuple[float, str],
    progress: Progress,
) -> list[tuple[Entry, Table]]:
    """Write parts for these videos; `tuning` is the recall wanted and the device to train on."""
    out = []
    done, total = 0, 2 * sum(size[0] for size in sizes.values())
    dim, probes = int(store.encoders()[slug]["dim"]), chance.probes
    spread = chance.null.spread(probes.vectors)

    def step(rows: int) -> None:
        nonlocal done
        done += rows
        progress(slug, done, total)

    for names in _groups(sizes):
        counts = {level.name: sum(sizes[name][i] for name in names) for i, level in enumerate(levels)}
        plan = Plan(levels, sorted(names), counts, kind, probes.vectors, spread, probes.sentences, dim, tuning[1])
        read = partial(read_videos, store, slug, names)
        entry, table, truth = write_part(folder_of(store, slug), plan, read, step)
        tune_part(store, slug, entry, truth, tuning[0])
        out.append((entry, table))
    return out


def _header(
    store: Store,
    slug: str,
    wish: _Wish,
    levels: Sequence[Level],
    parts: Sequence[tuple[Entry, Table]],
    now: Mapping[str, str],
) -> Header:
    """What `index.json` says, but for what is measured on the whole."""
    fingerprint = store.encoders()[slug]
    return {
        "version": FORMAT_VERSION,
        "name": slug,
        "encoder": slug,
        "head": (head_of(fingerprint) or {}).get("name"),
        "weighted": WEIGHT in (fingerprint.get("columns") or ()),
        "metric": "inner product",
        "kind": _shown([entry for entry, _ in parts]),
        "fingerprint": {key: fingerprint.get(key) for key in ("spec", *MODEL_KEYS)},
        "dim": int(fingerprint["dim"]),
        "levels": [level.name for level in levels],
        "memory": wish.memory,
        "recall_asked": wish.recall,
        "parts": [entry for entry, _ in parts],
        "vectors": sum(table.counts(now)[SEGMENT.name] for _, table in parts),
        "left_out": sum(len(table.left_out[SEGMENT.name]) for _, table in parts),
        "videos": len(now),
        "commit": store.state.last_commit,
        "faiss": faiss_version(),
        "created": utc_now(),
    }


def compact_indexes(store: Store, progress: Progress = no_progress) -> list[dict[str, Any]]:
    """Build anew, as one, every index that hides rows or has several parts of which not all are as large as they get."""
    out = []
    for slug in store.encoders():
        old, now = read_old(store, slug), versions(store, slug)
        tables = [table for _, table in old.parts]
        if any(table.dead(now) for table in tables) or sum(table.rows() < PART_ROWS / 2 for table in tables) > 1:
            out.append(build_index(store, slug, Settings(rebuild=True), progress=progress))
    return out


def _divide(
    parts: Sequence[tuple[Entry, Table]],
    now: Mapping[str, str],
    anew: bool,
    sizes: Callable[[set[str]], Mapping[str, tuple[int, ...]]],
) -> tuple[list[tuple[Entry, Table]], set[str]]:
    """The parts that stay, and the videos that a new part is for.

    Small parts that are not much larger than what is new are read again with it (as in a log-structured merge tree, O'Neil
    1996), so their sizes grow geometrically: a thousand nights leave ten parts, and a row is read ten times in its life, not
    a thousand.
    """
    stay = [] if anew else [part for part in parts if part[1].dead(now) <= DEAD_SHARE * part[1].rows()]
    todo = set(now) - {name for _, table in stay for name in table.living(now)}
    new = sum(size[0] for size in sizes(todo).values())
    for part in sorted(stay, key=lambda part: part[1].rows()) if todo else ():
        if part[1].rows() < FLAT_BELOW and part[1].rows() <= MERGED * new:
            stay = [other for other in stay if other is not part]
            todo |= set(part[1].living(now))
            new += part[1].rows()
    return stay, todo


def _rows(footage: Footage, levels: Sequence[Level]) -> tuple[int, ...]:
    """How many rows a video has at each level; the first are segments."""
    return tuple(len(windows(footage.start_s, footage.end_s, level)[0]) for level in levels)


def _groups(sizes: Mapping[str, tuple[int, ...]]) -> Iterator[set[str]]:
    """The videos of each new part."""
    group: set[str] = set()
    rows = 0
    for name, size in sizes.items():
        if group and rows + size[0] > PART_ROWS:
            yield group
            group, rows = set(), 0
        group.add(name)
        rows += size[0]
    if group:
        yield group


def _too_large(kept: Sequence[tuple[Entry, Table]], kind: Kind, dim: int, room: float) -> bool:
    """Whether old parts no longer fit the memory that new ones leave, and would take less as the kind that does."""
    named = [level for entry, _ in kept for level in entry["levels"].values()]
    bytes_of = {k.name: k.bytes for k in kinds(dim)}
    larger = any(bytes_of.get(level["kind"], 0) > kind.bytes and level["vectors"] >= FLAT_BELOW for level in named)
    return larger and sum(level["bytes"] for level in named) > room


def _shown(entries: Sequence[Entry]) -> str:
    """The kind of the largest part's segments; of an empty index, the exact one."""
    largest = max(entries, key=lambda entry: entry["levels"][SEGMENT.name]["vectors"], default=None)
    return str(largest["levels"][SEGMENT.name]["kind"]) if largest else "Flat"


def _require_unique(now: Mapping[str, str]) -> None:
    """Raise Damaged if two videos have the same segment ids, which only 42 bits of their names keep apart."""
    numbers = np.array([video_number(name) for name in now], np.int64)
    unique, counts = np.unique(numbers, return_counts=True)
    if np.any(counts > 1):
        shared = [name for name, number in zip(now, numbers, strict=True) if number == unique[np.argmax(counts)]]
        raise Damaged(
            f"the segments of videos {' and '.join(shared)} share their ids; expected each id once, since all joins go by it. "
            "Remove one of them with `nightreel remove`."
        )
