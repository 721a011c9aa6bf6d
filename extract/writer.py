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
from .segment import Segments
from .store import Store, utc_now
from .videos import VideoRow, rows_to_table

PIECE_ROWS = 512


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

    def remove(self, video_id: str) -> None:
        """Hide a video: its row and all its segments, committed or still pending."""
        self._rows.pop(video_id, None)
        for batches in self._segments.values():
            batches.pop(video_id, None)
        self._removed.append(video_id)

    def commit(self) -> bool:
        """Make everything added so far visible, or, if this raises or dies, nothing of it. Whether there was any."""
        if not self._rows and not self._removed:
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
        folder = Path("videos") if table_name == VIDEOS else Path("features") / table_name
        relative = folder / f"{time_ordered_id()}.parquet"
        path = self.store.root / relative
        write_atomic(path, lambda temporary: write_parquet(groups, temporary))
        rows = sum(group.num_rows for group in groups)
        size = path.stat().st_size
        return DataFile(relative.as_posix(), table_name, rows, size, sha256_of(path), tuple(video_ids))


def write_parquet(groups: Sequence[pa.Table], path: Path) -> None:
    """One row group per table: of segments, one per video, so that one video can be read without the others.

    With zstd (embeddings shrink by about 8 %), dictionaries for strings only, and a checksum on every page. Rows go in in
    pieces: for a whole group at once pyarrow takes 20 bytes per number (3 hours at D = 512: 70 MB; in pieces 20 MB).
    """
    schema = groups[0].schema
    strings = [f.name for f in schema if pa.types.is_string(f.type)]
    options = {"compression": "zstd", "use_dictionary": strings, "write_page_checksum": True}
    with pq.ParquetWriter(path, schema, **options) as writer:
        for group in groups:
            pieces = pa.Table.from_batches(group.to_batches(max_chunksize=PIECE_ROWS), schema)
            writer.write_table(pieces, row_group_size=max(1, group.num_rows))
