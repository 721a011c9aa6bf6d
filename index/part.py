"""A part: an immutable index over the segments of some videos, one FAISS file per level and one table of the videos in it.

    <id>.videos.parquet      video_id, version of its rows, hubness, and per level its first row and its number of rows
    <id>.<level>.faiss       vectors in that order; FAISS's ids are row numbers
    <id>.spans.npy           start and end of each segment (16 bytes), so that a video is scored without reading Parquet
    <id>.norms.npy           of the sums that rows were made of, level after level (4 bytes each)

Nothing in a part ever changes. What has become of a video since, the archive's commits say: a video is alive in a part if the
rows that count now are of the version that the part was made from. So a removal or a replacement holds in every search that
begins after its commit, and no tombstone can get lost or outlive its reason; dead rows are hidden by a bitmap, one bit a row.

Segment ids need not be stored: they are the video's number and the row within the video (`extract/segment.py`).

Opening maps the FAISS files; inverted lists are read when they are searched. Costs 1 ms a file and 60 bytes of memory a video.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..extract.segment import ROW_BITS, video_number
from .levels import BY_NAME, SEGMENT

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

HNSW_EF = 2  # candidates a graph keeps per list that is to be searched


@dataclass(frozen=True)
class Table:
    """The V videos of a part.

    Attributes:
        video_id, version: V strings; see `version_of` in `extract/commits.py`.    hubness: (V,) see `hubs.py`.
        first: level name -> (V + 1,) video v has the rows first[v] to first[v + 1].
        left_out: level name -> rows that are no direction (zero, not a number) and never found.
    """

    video_id: list[str]
    version: list[str]
    hubness: Floats
    first: Mapping[str, Ids]
    left_out: Mapping[str, Ids]

    def alive(self, versions: Mapping[str, str]) -> Mask:
        """(V,) which videos' rows are those that count now; `versions` is video id -> version."""
        return np.array([versions.get(v) == w for v, w in zip(self.video_id, self.version, strict=True)], bool)

    def living(self, versions: Mapping[str, str]) -> list[str]:
        """The videos whose rows count."""
        return [name for name, alive in zip(self.video_id, self.alive(versions), strict=True) if alive]

    def rows(self) -> int:
        """Segments, dead ones too."""
        return int(self.first[SEGMENT.name][-1])

    def dead(self, versions: Mapping[str, str]) -> int:
        """Segments that no longer count."""
        return int(np.diff(self.first[SEGMENT.name])[~self.alive(versions)].sum())

    def counts(self, versions: Mapping[str, str]) -> dict[str, int]:
        """Level -> rows that may be found."""
        alive, out = self.alive(versions), {}
        for name, first in self.first.items():
            owner = np.searchsorted(first, self.left_out[name], "right") - 1
            out[name] = int(np.diff(first)[alive].sum()) - int(alive[owner].sum())
        return out

    def to_arrow(self) -> pa.Table:
        """As it is stored: of each level the number of rows, and which of them are left out."""
        columns: dict[str, Any] = {
            "video_id": pa.array(self.video_id, pa.string()),
            "version": pa.array(self.version, pa.string()),
            "hubness": pa.array(self.hubness, pa.float32()),
        }
        for name, first in self.first.items():
            columns[f"rows {name}"] = pa.array(np.diff(first), pa.int64())
            owner = np.searchsorted(first, self.left_out[name], "right") - 1
            bad: list[list[int]] = [[] for _ in self.video_id]
            for video, row in zip(owner.tolist(), self.left_out[name].tolist(), strict=True):
                bad[video].append(row - int(first[video]))
            columns[f"left out {name}"] = pa.array(bad, pa.list_(pa.int64()))
        return pa.table(columns)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> "Table":
        """Raises KeyError, ValueError: it is not such a table."""
        names = [n.removeprefix("rows ") for n in table.column_names if n.startswith("rows ")]
        if SEGMENT.name not in names or set(names) - set(BY_NAME):
            raise ValueError(f"its levels are {names}; expected {SEGMENT.name} and some of {list(BY_NAME)}")
        first, left_out = {}, {}
        for name in names:
            rows = table.column(f"rows {name}").to_numpy()
            first[name] = np.concatenate([np.zeros(1, np.int64), np.cumsum(rows)])
            bad = table.column(f"left out {name}").combine_chunks()
            owner = np.repeat(np.arange(len(bad)), bad.value_lengths().to_numpy())
            left_out[name] = first[name][owner] + bad.flatten().to_numpy().astype(np.int64)
        return cls(
            table.column("video_id").to_pylist(),
            table.column("version").to_pylist(),
            table.column("hubness").to_numpy().astype(np.float32),
            first,
            left_out,
        )


@dataclass
class Part:
    """An open part; `search` finds rows, `table` says whose they are.

    Attributes:
        entry: what the manifest says of it.    indexes: level name -> FAISS index. spans: (N, 2) start and end of each
        segment, seconds.    norms: level name -> (W,) of the sums that its rows are made of. alive: (V,) which of its videos
        count.
    """

    entry: Mapping[str, Any]
    table: Table
    indexes: Mapping[str, Any]
    spans: npt.NDArray[np.float64]
    norms: Mapping[str, Floats]
    alive: Mask
    _living: dict[str, Mask | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.numbers = np.array(
            [video_number(v) for v in self.table.video_id], np.int64
        )  # (V,) the upper bits of the segment ids
        self._order = np.argsort(self.numbers)
        self.hubs = np.zeros(len(self.numbers), bool)  # (V,) whoever has all parts says which; see `hubs.py`

    def living(self, level: str) -> Mask | None:
        """(N,) which rows of a level may be found; None for all."""
        if level not in self._living:
            first, bad = self.table.first[level], self.table.left_out[level]
            if self.alive.all() and not len(bad):
                self._living[level] = None
            else:
                rows = np.repeat(self.alive, np.diff(first))
                rows[bad] = False
                self._living[level] = rows
        return self._living[level]

    def count(self, level: str = SEGMENT.name) -> int:
        """How many rows of a level may be found."""
        living = self.living(level)
        return int(self.table.first[level][-1]) if living is None else int(living.sum())

    def rows_of(self, ids: Ids) -> Ids:
        """The rows of those of the segment `ids` that are in this part."""
        if not len(self.numbers):
            return np.zeros(0, np.int64)
        high = ids >> ROW_BITS
        edges = np.flatnonzero(np.r_[True, high[1:] != high[:-1]]) if len(ids) else np.zeros(0, np.int64)
        wanted = high[edges]  # one for every run of ids of one video, of which there are far fewer than ids
        at = self._order[np.minimum(np.searchsorted(self.numbers, wanted, sorter=self._order), len(self.numbers) - 1)]
        here = self.numbers[at] == wanted
        first = self.table.first[SEGMENT.name]
        lengths = np.diff(edges, append=len(ids))
        rows = np.repeat(first[at], lengths) + (ids & ((1 << ROW_BITS) - 1))
        return np.asarray(rows[np.repeat(here, lengths) & (rows < np.repeat(first[at + 1], lengths))])

    def owner(self, level: str, rows: Ids) -> Ids:
        """(K,) to which video, by its place in the table, rows belong."""
        return np.asarray(np.searchsorted(self.table.first[level], rows, "right") - 1)

    def places(self) -> dict[str, int]:
        """Video id -> its place in the table, of those that count."""
        return {self.table.video_id[i]: int(i) for i in np.flatnonzero(self.alive)}

    def ids_of(self, rows: Ids) -> Ids:
        """(K,) segment ids of rows of the level of segments."""
        owner = self.owner(SEGMENT.name, rows)
        return np.asarray((self.numbers[owner] << ROW_BITS) + rows - self.table.first[SEGMENT.name][owner])

    def settings(self, level: str) -> dict[str, Any]:
        """How a level is searched: `probes` (lists read), `factor` (candidates per result), as tuned."""
        return dict(self.entry["levels"][level])

    def search(
        self,
        level: str,
        queries: Floats,
        k: int,
        mask: Mask | None = None,
        probes: int | None = None,
        wider: int = 1,
    ) -> tuple[Floats, Ids]:
        """(Q, k) scores and rows of a level, best first, -1 where there are fewer: FAISS's own, not re-scored.

        Args:
            mask: (N,) rows that may be found; None for all.
            probes: inverted lists to read; by default as tuned, `wider` times, and more where the mask leaves few rows in each.
        """
        import faiss

        index = self.indexes[level]
        k = min(k, int(index.ntotal))
        if not k:
            return np.zeros((len(queries), 0), np.float32), np.zeros((len(queries), 0), np.int64)
        lists = faiss.try_extract_index_ivf(index)
        bits = None if mask is None else np.packbits(mask, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)  # kept alive by this name while FAISS looks
        if lists is None:
            parameters = faiss.SearchParameters(sel=selector)
        else:
            share = 1.0 if mask is None else max(float(mask.mean()), 1e-9)
            wanted = probes or int(np.ceil(wider * self.settings(level)["probes"] / share))
            parameters = _list_parameters(index, lists, selector, min(int(lists.nlist), wanted))
        scores, rows = index.search(np.ascontiguousarray(queries, np.float32), k, params=parameters)
        return scores, rows


def _list_parameters(index: Any, lists: Any, selector: Any, probes: int) -> Any:
    import faiss

    graph = isinstance(faiss.downcast_index(lists.quantizer), faiss.IndexHNSW)
    coarse = faiss.SearchParametersHNSW(efSearch=max(64, HNSW_EF * probes)) if graph else None
    kind = faiss.IVFRaBitQSearchParameters if isinstance(lists, faiss.IndexIVFRaBitQ) else faiss.SearchParametersIVF
    parameters = kind(sel=selector, nprobe=probes, quantizer_params=coarse)
    if kind is not faiss.SearchParametersIVF:
        parameters.qb, parameters.centered = lists.qb, False
    if isinstance(index, faiss.IndexPreTransform):
        parameters = faiss.SearchParametersPreTransform(index_params=parameters)
    return parameters


def open_part(folder: Path, entry: Mapping[str, Any], versions: Mapping[str, str]) -> Part:
    """Map a part's files.

    Args:
        entry: of the manifest.    versions: video id -> version of its rows that counts now.

    Raises:
        RuntimeError, ValueError, OSError, KeyError, pa.ArrowException: the files are not such a part.
    """
    import faiss

    table, indexes = read_table(folder, entry), {}
    for name, level in entry["levels"].items():
        flags = faiss.IO_FLAG_MMAP if level["kind"] != "Flat" else 0
        indexes[name] = faiss.read_index(str(folder / level["file"]), flags)
        lists = faiss.try_extract_index_ivf(indexes[name])
        if lists is not None:  # FAISS starts 32 threads per query to read ahead, which costs more than all the rest
            faiss.downcast_InvertedLists(lists.invlists).prefetch_nthread = 0
        expected = (int(table.first[name][-1]), int(entry["dim"]))
        if (indexes[name].ntotal, indexes[name].d) != expected:
            raise ValueError(f"{level['file']} is ({indexes[name].ntotal}, {indexes[name].d}), expected {expected}")
    # Not `np.load`, which opens a .npz too and leaves it open.
    spans = np.lib.format.open_memmap(folder / entry["spans"]["file"], mode="r")
    every = np.lib.format.open_memmap(folder / entry["norms"]["file"], mode="r")
    edges = np.cumsum([0, *(int(table.first[name][-1]) for name in entry["levels"])])
    if spans.shape != (table.rows(), 2) or every.shape != (edges[-1],):
        raise ValueError(
            f"{entry['spans']['file']} or {entry['norms']['file']} does not have a row per segment or window"
        )
    norms = {name: every[edges[i] : edges[i + 1]] for i, name in enumerate(entry["levels"])}
    return Part(entry, table, indexes, spans, norms, table.alive(versions))


def faiss_version() -> str:
    """Of the FAISS that is installed; files of a newer one may be unreadable."""
    import faiss

    return str(faiss.__version__)


def read_table(folder: Path, entry: Mapping[str, Any]) -> Table:
    """The table of a part.

    Raises:
        ValueError, OSError, KeyError, pa.ArrowException: the file is not such a table.
    """
    table = Table.from_arrow(pq.read_table(folder / entry["videos"]["file"]))
    if len(table.video_id) != entry["videos"]["count"]:
        raise ValueError(f"{entry['videos']['file']} has {len(table.video_id)} videos")
    return table
