"""A built index, opened: checked against its archive, then searched, over all its parts and levels.

Approximate hits are scored anew with the float16 vectors in Parquet, so every score that comes out of `search` is an exact
inner product. Videos that the archive has and the index has not are counted (`missing`): a stale index says so.

Costs 10 ms to open and 60 bytes of memory a video; vectors are mapped and read when they are needed.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..extract.errors import Damaged, IndexMissing
from ..extract.fingerprint import MODEL_KEYS, require_same
from ..extract.heads.apply import not_mapped
from ..extract.segment import ROW_BITS
from ..extract.store import Store
from ..extract.vectors import Vectors
from .hubs import penalties, usual
from .levels import BY_NAME, SEGMENT, Level, windows
from .manifest import INDEX_FILE, UNREADABLE, Header, files_of, folder_of, how_to_build, read_header, require_file
from .null import Null, read_null
from .part import Mask, Part, faiss_version, open_part
from .reading import versions

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

DIRECT = 512  # where no more rows than this are allowed, they are all scored exactly and FAISS is not asked
PER_VIDEO = 8  # hits per video wanted, when videos are looked for
MOST_HITS = 20_000


@dataclass(frozen=True)
class Video:
    """What is needed to score one video: `vectors` (T, D) float16, spans (T,) seconds, `at` and `weight` as `level_scores` has
    them."""

    video_id: str
    number: int  # the upper bits of its segment ids
    vectors: npt.NDArray[np.float16]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    at: list[tuple[Ids, Ids, Floats]]
    weight: Floats | None = None

    @property
    def ids(self) -> Ids:
        """(T,) of its segments."""
        return (np.int64(self.number) << ROW_BITS) + np.arange(len(self.start_s), dtype=np.int64)


@dataclass
class VectorIndex:
    """An open index. `header` is its `index.json`; `null` what a query finds by chance."""

    header: Header
    parts: list[Part]
    null: Null
    vectors: Vectors
    missing: int  # videos of the archive that are not in it
    _hubs: dict[str, float] = field(default_factory=dict)
    _places: dict[str, tuple[Part, int]] = field(default_factory=dict)
    _masks: dict[tuple[str, str], Mask | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for part in self.parts:
            self._places |= {name: (part, place) for name, place in part.places().items()}
        alive = [part.table.hubness[part.alive] for part in self.parts]
        middle, deviation = usual(np.concatenate([np.zeros(0, np.float32), *alive]))
        for part in self.parts:
            lowered = np.where(part.alive, penalties(part.table.hubness, middle, deviation), 0.0)
            part.hubs = lowered > 0
            self._hubs |= {part.table.video_id[i]: float(lowered[i]) for i in np.flatnonzero(lowered)}

    @property
    def levels(self) -> tuple[Level, ...]:
        """Its granularities, the finest first."""
        return tuple(BY_NAME[name] for name in self.header["levels"])

    @property
    def size(self) -> int:
        """How many segments may be found."""
        return sum(part.count() for part in self.parts)

    @property
    def stale(self) -> bool:
        """Whether the archive has videos that are not in it. (What was removed is never found.)"""
        return self.missing > 0

    def penalty(self, video_id: str) -> float:
        """What a hub's score is lowered by (`hubs.py`); 0 for most videos."""
        return self._hubs.get(video_id, 0.0)

    def search(self, query: Floats, k: int, allowed: Ids | None = None) -> tuple[Floats, Ids]:
        """The k nearest segments of a query (D,): exact scores and segment ids, best first, k at most `size`.

        Args:
            allowed: ids of the segments that may be found; None for all.
        """
        scores, ids = self.search_many(np.asarray(query)[None], k, allowed)
        found = ids[0] >= 0
        return scores[0][found], ids[0][found]

    def search_many(self, queries: Floats, k: int, allowed: Ids | None = None) -> tuple[Floats, Ids]:
        """(Q, k) exact scores and segment ids of queries (Q, D), best first; -inf and -1 where there are fewer."""
        queries = np.ascontiguousarray(queries, np.float32)
        found = [self._search_part(part, queries, k, allowed) for part in self.parts]
        padding = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
        scores = np.concatenate([*(scores for scores, _ in found), padding[0]], axis=1)
        ids = np.concatenate([*(ids for _, ids in found), padding[1]], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, best, 1), np.take_along_axis(ids, best, 1)

    def video(self, video_id: str) -> Video | None:
        """One video's stored vectors (those of no direction as 0), spans and windows; None if it is not in the index."""
        if video_id not in self._places:
            return None
        part, place = self._places[video_id]
        low, high = (int(edge) for edge in part.table.first[SEGMENT.name][place : place + 2])
        spans = part.spans[low:high]
        at = []
        for level in self.levels:
            rows = slice(*(int(edge) for edge in part.table.first[level.name][place : place + 2]))
            at.append((*windows(spans[:, 0], spans[:, 1], level), part.norms[level.name][rows]))
        vectors, bad = self.vectors.of(video_id), part.table.left_out[SEGMENT.name]
        if np.any((bad >= low) & (bad < high)):
            vectors = vectors.copy()
            vectors[bad[(bad >= low) & (bad < high)] - low] = 0
        weight = _finite(at[0][2]) if self.header.get("weighted") else None
        return Video(video_id, int(part.numbers[place]), vectors, spans[:, 0], spans[:, 1], at, weight)

    def videos(self, query: Floats, count: int, allowed: Ids | None = None) -> list[str]:
        """Ids of at least `count` videos, if there are so many, that may fit a query best, of every level the best in turn.

        Which of them fits how well, their own vectors say (`score.py`). With `allowed`, only single segments are asked: a
        window may hold others too.
        """
        levels = self.levels if allowed is None else (SEGMENT,)
        lists = [self._videos_at(level, query, count, allowed) for level in levels]
        found: dict[str, None] = {}
        for place in range(max(map(len, lists), default=0)):
            for names in lists:
                if place < len(names):
                    found[names[place]] = None
        # Hubs would be among the nearest of every query and leave no room; they have theirs, least of a hub first.
        hubs = sorted(self._hubs, key=self.penalty)[:count] if allowed is None else []
        return [*found, *hubs]

    def _videos_at(self, level: Level, query: Floats, count: int, allowed: Ids | None) -> list[str]:
        """Video ids in the order of their best rows at a level, at most `count`.

        One long video may own all of the best rows; the level of whole videos finds the others. It is not asked with
        `allowed`: then more rows of more lists are fetched until there are enough videos, or all that have a row that is
        allowed.
        """
        k = count if level.name == "video" else count * PER_VIDEO
        most, wider = sum(part.count(level.name) for part in self.parts), 1
        masks = [
            self._candidates(part, level) if allowed is None else self._mask(part, level, allowed)
            for part in self.parts
        ]
        there = count
        if allowed is not None:
            owners = [
                part.owner(level.name, np.flatnonzero(mask))
                for part, mask in zip(self.parts, masks, strict=True)
                if mask is not None
            ]
            there = sum(len(np.unique(of_part)) for of_part in owners)
        while True:
            hits = []
            for part, mask in zip(self.parts, masks, strict=True):
                if mask is not None and not mask.any():
                    continue
                scores, rows = part.search(level.name, query[None], k, mask, wider=wider)
                rows, scores = rows[0][rows[0] >= 0], scores[0][rows[0] >= 0]
                owners_of = part.owner(level.name, rows)
                hits += [(-s, part.table.video_id[o]) for s, o in zip(scores.tolist(), owners_of.tolist(), strict=True)]
            found = dict.fromkeys(name for _, name in sorted(hits))
            if allowed is None or len(found) >= min(count, there) or wider > most:
                return list(found)[:count]
            k, wider = max(k, min(8 * k, MOST_HITS)), 8 * wider

    def _candidates(self, part: Part, level: Level) -> Mask | None:
        """(N,) which rows of a level say what to look into: those that may be found, without the hubs'; None for all."""
        key = (str(part.entry["id"]), level.name)
        if key not in self._masks:
            mask = part.living(level.name)
            if part.hubs.any():
                others = np.repeat(~part.hubs, np.diff(part.table.first[level.name]))
                mask = others if mask is None else mask & others
            self._masks[key] = mask
        return self._masks[key]

    def _mask(self, part: Part, level: Level, allowed: Ids | None) -> Mask | None:
        living = part.living(level.name)
        if allowed is None:
            return living
        mask = np.zeros(int(part.table.first[level.name][-1]), bool)
        mask[part.rows_of(allowed)] = True
        return mask if living is None else mask & living

    def _search_part(self, part: Part, queries: Floats, k: int, allowed: Ids | None) -> tuple[Floats, Ids]:
        """(Q, K) exact scores and ids of one part, in no order; -inf and -1 where there are fewer."""
        mask = self._mask(part, SEGMENT, allowed)
        settings = part.entry["levels"][SEGMENT.name]
        if mask is not None and settings["kind"] != "Flat" and int(mask.sum()) <= DIRECT:
            rows = np.broadcast_to(np.flatnonzero(mask), (len(queries), int(mask.sum())))
            scores = exact_scores(self.vectors, part, queries, rows)
        else:
            scores, rows = part.search(SEGMENT.name, queries, k * int(settings["factor"]), mask)
            if not settings["exact"]:
                scores = exact_scores(self.vectors, part, queries, rows)
        there = rows >= 0
        return np.where(there, scores, -np.inf), np.where(there, part.ids_of(np.maximum(rows, 0)), -1)


def _finite(norms: Floats) -> Floats:
    """Weights of segments from the norms of their level, a segment by its weight each; 0 for one without direction."""
    return np.where(np.isfinite(norms), norms, np.float32(0))


def exact_scores(vectors: Vectors, part: Part, queries: Floats, rows: Ids) -> Floats:
    """(Q, K) inner products of queries (Q, D) with segment rows (Q, K) of a part, from the stored float16; -inf for row -1."""
    wanted = np.unique(rows[rows >= 0])
    out = np.full(rows.shape, -np.inf, np.float32)
    if not len(wanted):
        return out
    owner = part.owner(SEGMENT.name, wanted)
    edges = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1], True])
    picked = np.empty((len(wanted), queries.shape[1]), np.float32)
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        video = int(owner[low])
        local = wanted[low:high] - part.table.first[SEGMENT.name][video]
        picked[low:high] = vectors.rows(part.table.video_id[video], local)
    at = np.minimum(np.searchsorted(wanted, rows), len(wanted) - 1)
    for query, places, of_query, there in zip(queries, at, out, rows >= 0, strict=True):
        of_query[there] = picked[places[there]] @ query
    return out


def index_headers(store: Store) -> dict[str, Header]:
    """Name -> `index.json` of every index of an archive."""
    out = {}
    for path in sorted((store.root / "index").glob(f"*/{INDEX_FILE}")):
        out[path.parent.name] = read_header(store, path.parent.name)
    return out


def open_index(store: Store, name: str) -> VectorIndex:
    """Open and check an index.

    Raises:
        IndexMissing: there is none of this name.  FingerprintMismatch: it was built from another encoder's features.
        Damaged: its files are not the ones that were written.
    """
    folder = folder_of(store, name)
    if not (folder / INDEX_FILE).is_file():
        raise IndexMissing(
            f"archive {store.root} has no index of {name}; expected {folder / INDEX_FILE}.\n"
            f"Build it with: {how_to_build(store, name)}"
        )
    header = read_header(store, name)
    if not all((folder / named["file"]).is_file() for named in files_of(header)):
        header = read_header(store, name)  # replaced between the two looks; the new header names what is there now
    require_same(
        store.encoders().get(header["encoder"], {}),
        {**header["fingerprint"], "dim": header["dim"]},
        MODEL_KEYS,
        other="the index",
        remedy=f"The index was built from other features. Build it again with: {how_to_build(store, name)}",
    )
    try:
        for named in files_of(header):
            require_file(folder, named)
        return open_header(store, header)
    except UNREADABLE as error:
        written, here = header.get("faiss"), faiss_version()
        by = f"; it was written by FAISS {written}, this is {here}" if written != here else ""
        raise Damaged(
            f"index {folder} cannot be read ({error}{by}). Build it again: {how_to_build(store, name)}"
        ) from error


def open_header(store: Store, header: Header) -> VectorIndex:
    """An index by its header, which need not be in force yet; raises what `open_part` raises."""
    folder, now = folder_of(store, header["name"]), versions(store, header["encoder"])
    parts = [open_part(folder, entry, now) for entry in header["parts"]]
    null = read_null(Path(folder / header["null"]["file"]), int(header["dim"]))
    covered = {name for part in parts for name in part.places()}
    missing = (set(now) - covered) | not_mapped(store, header["encoder"])
    return VectorIndex(header, parts, null, Vectors(store, header["encoder"]), len(missing))
