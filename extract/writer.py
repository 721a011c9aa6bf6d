"""Writing to an archive: rows are collected, become Parquet files, and count once one commit names them.

Killed at any instant, a run loses only what it had not committed; what it leaves behind (`.tmp-*`, Parquet files
without a commit) is never read. Several writers may work on one archive at once: they share nothing but names
that cannot collide.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from .commits import VIDEOS, Commit, DataFile, next_commit_id, write_commit
from .files import sha256_of, time_ordered_id, write_atomic, write_json
from .fingerprint import FILE_NAME, ROW_KEYS, Fingerprint, read_fingerprint, require_same
from .segment import ROW_BITS, Segments
from .store import Store, utc_now
from .videos import VideoRow, rows_to_table

PIECE_ROWS = 512
PAGE_BYTES = 1 << 27  # of embeddings in one page: a day of one a second at D = 768
EMBEDDING = "embedding.list.element"  # what Parquet calls the column of their numbers


def claim_encoder(store: Store, slug: str, fingerprint: Fingerprint) -> Fingerprint:
    """Make `features/<slug>` this encoder's, or check that it is already; returns the fingerprint that is stored.

    Raises:
        FingerprintMismatch: the folder holds features of another fingerprint; nothing was changed.
        Damaged: the folder holds features whose fingerprint is lost.
    """
    folder = store.root / "features" / slug
    if store.video_ids(slug):
        read_fingerprint(folder)  # a lost one must not be written anew: nobody knows what made the rows
    if write_json(folder / FILE_NAME, fingerprint, exclusive=True):
        return fingerprint
    stored = read_fingerprint(folder)
    require_same(
        stored,
        fingerprint,
        ROW_KEYS,
        remedy="Rows of different fingerprints never mix. Use the settings the archive has, or a new --archive.",
    )
    return stored


class Writer:
    """Collects videos and their segments, and commits them together."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._rows: dict[str, VideoRow] = {}  # by video id: one that is added twice still has one row
        self._segments: dict[str, dict[str, Segments]] = {}  # slug -> video id
        self._removed: list[str] = []

    @property
    def pending(self) -> int:
        """Videos added since the last commit."""
        return len(self._rows)

    def add(self, row: VideoRow, segments: Mapping[str, Segments]) -> None:
        """One video's row and its segments by encoder slug; an encoder that is not named keeps the rows it has."""
        self._rows[row.video_id] = row
        for slug, batch in segments.items():
            if len(batch):
                self._segments.setdefault(slug, {})[row.video_id] = batch

    def add_segments(self, slug: str, batch: Segments) -> None:
        """One video's segments of one encoder; its row and what others have of it stay as they are."""
        self._segments.setdefault(slug, {})[str(batch.video_id[0])] = batch

    def remove(self, video_id: str) -> None:
        """Hide a video: its row and all its segments, committed or still pending."""
        self._rows.pop(video_id, None)
        for batches in self._segments.values():
            batches.pop(video_id, None)
        self._removed.append(video_id)

    def commit(self) -> bool:
        """Make everything added so far visible, or, if this raises or dies, nothing of it. Whether there was any."""
        if not self._rows and not self._removed and not any(self._segments.values()):
            return False
        files = []
        if self._rows:
            files.append(self._write(VIDEOS, [rows_to_table(list(self._rows.values()))], list(self._rows)))
        for slug, batches in self._segments.items():
            if batches:
                files.append(self._write(slug, [batch.to_table() for batch in batches.values()], list(batches)))
        self.store.refresh()
        commit = Commit(next_commit_id(self.store.state), utc_now(), tuple(files), tuple(self._removed))
        write_commit(self.store.root / "commits", commit)
        self._rows, self._segments, self._removed = {}, {}, []
        self.store.refresh()
        return True

    def _write(self, table_name: str, groups: list[pa.Table], video_ids: list[str]) -> DataFile:
        folder = "videos" if table_name == VIDEOS else f"features/{table_name}"
        return write_data(self.store.root, f"{folder}/{time_ordered_id()}.parquet", table_name, groups, video_ids)


def write_data(root: Path, relative: str, table: str, groups: Sequence[pa.Table], video_ids: Sequence[str]) -> DataFile:
    """Write the file `relative` to the archive's `root` and describe it as its commit must name it; it counts for nothing yet.

    Raises:
        OSError: the disk is full or broken; no file is left behind.
    """
    path = root / relative
    write_atomic(path, lambda temporary: write_parquet(groups, temporary))
    rows = sum(group.num_rows for group in groups)
    return DataFile(relative, table, rows, path.stat().st_size, sha256_of(path), tuple(video_ids))


def write_parquet(groups: Sequence[pa.Table], path: Path) -> None:
    """One row group per table: of segments, one per video, so that one video can be read without the others.

    Everything with zstd but the embeddings, which shrink by 8 % only: they lie as they are, in one page per row group, so that
    `vectors.py` maps them instead of decoding them. Dictionaries for strings only, and a checksum on every page.

    Memory: while a page is made it takes about 10 bytes per number (measured at D = 512, one a second: 3 hours 90 MB, a day
    470 MB). Rows go in in pieces, or pyarrow takes 15 bytes. Embeddings beyond `PAGE_BYTES` take several pages.
    """
    schema = groups[0].schema
    strings = [f.name for f in schema if pa.types.is_string(f.type)]
    columns = [path for f in schema for path in leaves(f)]
    options = {
        "compression": {name: "none" if name == EMBEDDING else "zstd" for name in columns},
        "use_dictionary": strings,
        "write_page_checksum": True,
        "data_page_size": PAGE_BYTES,
        "max_rows_per_page": 1 << ROW_BITS,
    }
    with pq.ParquetWriter(path, schema, **options) as writer:
        for group in groups:
            pieces = pa.Table.from_batches(group.to_batches(max_chunksize=PIECE_ROWS), schema)
            writer.write_table(pieces, row_group_size=max(1, group.num_rows))


def leaves(field: pa.Field, prefix: str = "") -> list[str]:
    """Parquet's names of the columns that a field is stored as; `labels` is two, the first `labels.list.element.label`."""
    name, kind = prefix + field.name, field.type
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return leaves(kind.value_field.with_name("element"), f"{name}.list.")
    if pa.types.is_struct(kind):
        return [path for inner in kind for path in leaves(inner, f"{name}.")]
    return [name]
