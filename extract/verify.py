"""`nightreel verify`: is everything that the commits name there, whole, and as the format says?

Reads every committed byte once (checksums), so it runs at the speed of the disk. Repairs nothing.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .commits import VIDEOS, DataFile
from .errors import NightreelError
from .files import sha256_of
from .fingerprint import FILE_NAME
from .segment import Segments
from .store import Store, wrong_columns


@dataclass
class Findings:
    """What `verify` found; clean if `problems` is empty."""

    files: int = 0
    rows: int = 0
    problems: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)  # files no commit names: harmless, left by a killed run

    @property
    def clean(self) -> bool:
        """No problems; orphans do not count."""
        return not self.problems


def verify(store: Store) -> Findings:
    """Check every committed file and the joins between them."""
    findings = Findings()
    files = {file.path: file for table in store.state.rows.values() for file in table.values()}
    for file in files.values():
        findings.files += 1
        findings.rows += file.rows
        findings.problems += _check_file(store, file)
    if findings.clean:
        _check_joins(store, findings)
    findings.orphans = orphans(store)
    return findings


def orphans(store: Store) -> list[str]:
    """Paths, relative to the archive, of data files that no commit names and of temporary files; also of runs under way."""
    folders = ("videos/*", "features/*/*", "commits/.tmp-*", "runs/.tmp-*", ".tmp-*")
    found = [path for pattern in folders for path in store.root.glob(pattern) if path.name != FILE_NAME]
    return sorted({path.relative_to(store.root).as_posix() for path in found} - store.named_files())


def _check_file(store: Store, file: DataFile) -> list[str]:
    path = store.root / file.path
    if not path.is_file():
        return [f"{file.path}: missing; its commit names it with {file.rows} rows"]
    try:
        return _check_content(path, store.declared(file.table), file)
    except NightreelError as error:  # no encoder.json that says what to expect
        return [f"{file.path}: {error}"]
    except OSError as error:
        return [f"{file.path}: cannot be read ({error})"]


def _check_content(path: Path, declared: pa.Schema, file: DataFile) -> list[str]:
    if path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
        return [f"{file.path}: not the bytes that were committed ({path.stat().st_size} bytes, expected {file.bytes})"]
    try:
        schema, rows = pq.read_schema(path), pq.read_metadata(path).num_rows
    except pa.ArrowException as error:
        return [f"{file.path}: not a Parquet file ({error})"]
    wrong = wrong_columns(schema, declared)
    problems = [f"{file.path}: columns {', '.join(wrong)} are not as the format declares them"] if wrong else []
    if rows != file.rows:
        problems.append(f"{file.path}: {rows} rows, expected {file.rows}")
    return problems


def _check_joins(store: Store, findings: Findings) -> None:
    """Ids unique, spans half-open and in order, embeddings of unit norm, every segment's video known."""
    try:
        listed = store.videos()
        rows = {row.video_id: row for row in listed}
        for name, count in Counter(row.video_id for row in listed).items():
            if count > 1:
                findings.problems.append(f"videos: {name} has {count} rows, expected one")
        slugs = [table for table in store.state.rows if table != VIDEOS]
        for slug in slugs:
            seen: set[int] = set()
            for batch in store.segments(slug):
                findings.problems += [f"{slug}: {text}" for text in _check_batch(batch, seen)]
                unknown = set(batch.video_id.tolist()) - set(rows)
                if unknown:
                    findings.problems.append(
                        f"{slug}: segments of {len(unknown)} videos that have no row: {sorted(unknown)[:3]}"
                    )
        with_segments = {video_id for slug in slugs for video_id in store.video_ids(slug)}
        for row in rows.values():
            if row.status == "done" and row.video_id not in with_segments:
                findings.problems.append(f"video {row.video_id} ({row.path}) is done but has no segments")
    except (NightreelError, ValueError) as error:
        findings.problems.append(str(error))


def _check_batch(batch: Segments, seen: set[int]) -> list[str]:
    problems = []
    ids = batch.segment_id.tolist()
    if len(set(ids)) < len(ids) or not seen.isdisjoint(ids):
        problems.append("segment ids stand twice")
    seen.update(ids)
    norms = np.linalg.norm(batch.embedding.astype(np.float32), axis=1)
    if not np.all(np.abs(norms - 1) < 5e-3):
        problems.append(f"{int(np.sum(~(np.abs(norms - 1) < 5e-3)))} embeddings are not of unit norm")
    same_video = batch.video_id[1:] == batch.video_id[:-1]
    if np.any(same_video & (batch.start_s[1:] < batch.start_s[:-1])):
        problems.append("segments of a video are not in time order")
    return problems
