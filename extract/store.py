"""The archive on disk (format version 1): what is visible, and how it is read. Writing is in `writer.py`.

    archive.json   commits/   videos/   features/<encoder slug>/   index/<name>/

Everything is read through the commits (`commits.py`); nothing here knows models or FAISS. Opening costs one read
per commit; reading streams, so memory is bounded by one Parquet file (about 30 s of extraction).
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from .commits import VIDEOS, Commit, DataFile, State, read_commit, visible
from .errors import Damaged, NotAnArchive, UsageError, WrongVersion
from .files import write_json
from .fingerprint import FILE_NAME, Fingerprint, read_fingerprint
from .segment import ROW_BITS, Segments, segment_schema, video_number
from .videos import LATER_COLUMNS, VIDEO_SCHEMA, VideoRow, table_to_rows, video_id_of

FORMAT = "nightreel"
VERSION = 1
SPANS = ("segment_id", "video_id", "start_s", "end_s", "time_s")  # all but the embedding


class Store:
    """An archive folder, opened for reading: the state as of the last `refresh`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.state = State()
        self._seen: set[str] = set()
        self._commits: list[Commit] = []
        self._videos: list[VideoRow] | None = None  # of this state, once somebody asked
        self.refresh()

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Open an archive that exists.

        Raises:
            UsageError: no such folder.  NotAnArchive, WrongVersion: it is not one this version reads.
        """
        root = Path(folder)
        if not root.is_dir():
            raise UsageError(
                f"no archive at {root}: expected a folder that `nightreel extract` made, got "
                f"{'a file' if root.exists() else 'nothing there'}.\n"
                f"Make one with: nightreel extract VIDEOS --archive {root}"
            )
        _check_header(root)
        return cls(root)

    @classmethod
    def create(cls, folder: str | Path, *, created_by: str) -> "Store":
        """Open an archive, making it first where there is none or an empty folder.

        Raises:
            NotAnArchive: the folder holds other things; it is left alone.
        """
        root = Path(folder)
        if not (root / "archive.json").exists():
            # Looked at twice: another run may be making the same archive at this moment.
            others = root.is_dir() and any(not path.name.startswith(".tmp-") for path in root.iterdir())
            if root.is_file() or (others and not (root / "archive.json").exists()):
                raise NotAnArchive(
                    f"{root} is not an archive: expected archive.json in it, got "
                    f"{'a file' if root.is_file() else 'a folder with other things'}.\n"
                    "Choose a new or empty folder for --archive; nothing was changed."
                )
            header = {"format": FORMAT, "version": VERSION, "created_by": created_by, "created": utc_now()}
            write_json(root / "archive.json", header, exclusive=True)
        return cls.open(root)

    def refresh(self) -> None:
        """See what other processes have committed since; where that is nothing, `state` stays the same object."""
        names = {path.name for path in (self.root / "commits").glob("*.json")}
        new = sorted(name for name in names - self._seen if not name.startswith("."))
        if new:
            self._commits += [read_commit(self.root / "commits" / name) for name in new]
            self._seen.update(new)
            self.state = visible(self._commits)
            self._videos = None

    @property
    def commits(self) -> list[Commit]:
        """All commits, oldest first."""
        return sorted(self._commits, key=lambda commit: commit.id)

    @property
    def commit_ids(self) -> list[str]:
        """The ids of all commits, oldest first."""
        return [commit.id for commit in self.commits]

    def named_files(self) -> set[str]:
        """Paths, relative to the archive, of all files any commit names, also those whose rows were replaced."""
        return {file.path for commit in self._commits for file in commit.files}

    # --- videos -----------------------------------------------------------------------------------------

    def videos(self) -> list[VideoRow]:
        """All visible videos, oldest commit first; read once per state, since every search asks for them."""
        if self._videos is None:
            counts = self.state.rows.get(VIDEOS, {})
            rows = ((file, row) for file in self.state.files(VIDEOS) for row in table_to_rows(self.read(file)))
            self._videos = [row for file, row in rows if counts.get(row.video_id) is file]
        return list(self._videos)

    def find_video(self, path_or_id: str) -> VideoRow:
        """The video with this id, path, or (where only one matches) file name or beginning of an id, or this content.

        Raises:
            UsageError: none or several match; the message lists the nearest.
        """
        rows = self.videos()
        paths = (path_or_id, os.path.abspath(path_or_id), os.path.realpath(path_or_id))  # stored: absolute, links kept
        for found in (  # the first way of naming that names anything counts
            [r for r in rows if r.video_id == path_or_id or r.path in paths],
            [r for r in rows if path_or_id in (Path(r.path).name, Path(r.path).stem)],
            [r for r in rows if len(path_or_id) >= 6 and r.video_id.startswith(path_or_id)],
        ):
            if len(found) == 1:
                return found[0]
            if found:
                listed = "\n  ".join(f"{r.video_id}  {r.path}" for r in found[:8])
                raise UsageError(f"{path_or_id!r} names {len(found)} videos; give one's id or whole path:\n  {listed}")
        content = video_id_of(Path(path_or_id)) if os.path.isfile(path_or_id) else None  # a copy of a known video
        copies = [r for r in rows if r.video_id == content]
        if copies:
            return copies[0]
        names = "\n  ".join(f"{r.video_id}  {Path(r.path).name}" for r in rows[:8])
        more = f"\n  ... and {len(rows) - 8} more" if len(rows) > 8 else ""
        raise UsageError(
            f"no video {path_or_id!r} in this archive; expected a path, a file name or an id of one of:\n  {names}{more}"
        )

    # --- features ---------------------------------------------------------------------------------------

    def encoders(self) -> dict[str, Fingerprint]:
        """Slug -> fingerprint of every encoder with a features folder."""
        folders = sorted(p.parent for p in (self.root / "features").glob(f"*/{FILE_NAME}"))
        return {folder.name: read_fingerprint(folder) for folder in folders}

    def video_ids(self, slug: str) -> list[str]:
        """Ids of the videos with visible segments of an encoder."""
        return list(self.state.rows.get(slug, {}))

    def segments(self, slug: str, *, embeddings: bool = True) -> Iterator[Segments]:
        """All visible segments of an encoder, one batch per Parquet file, each video's in time order."""
        columns = None if embeddings else list(SPANS)
        state = self.state  # of one moment: a refresh between two files must not lose or double a video
        for file in state.files(slug):
            batch = self._read_segments(file, columns)
            keep = {v for v in file.videos if state.rows[slug].get(v) is file}
            if len(keep) < len(file.videos):
                batch = batch[np.isin(batch.video_id.astype(str), list(keep))]
            if len(batch):
                yield batch

    def segment_count(self, slug: str) -> int:
        """How many segments of an encoder are visible; opens only files with rows that no longer count."""
        count = 0
        for file in self.state.files(slug):
            keep = {v for v in file.videos if self.state.rows[slug].get(v) is file}
            if len(keep) == len(file.videos):
                count += file.rows
            else:
                names = self.read(file, ["video_id"]).column("video_id").to_pylist()
                count += sum(name in keep for name in names)
        return count

    def segments_of(self, slug: str, video_id: str) -> Segments:
        """One video's segments in time order; empty if the encoder has none of it."""
        file = self.state.rows.get(slug, {}).get(video_id)
        if file is None:
            return Segments.from_table(segment_schema(self._dim(slug)).empty_table())
        batch = self._read_segments(file, video=file.videos.index(video_id))
        return batch[batch.video_id == video_id]

    def segments_by_id(self, slug: str, ids: npt.NDArray[np.int64]) -> Segments:
        """The segments with these ids, in the order asked.

        Raises:
            KeyError: an id is not visible in this archive.
        """
        ids = np.asarray(ids, np.int64)
        if not len(ids):
            return self.segments_of(slug, "")
        high_of = {video_number(v): v for v in self.video_ids(slug)}
        try:
            wanted = {high_of[int(high)] for high in np.unique(ids >> ROW_BITS)}
        except KeyError as error:
            raise KeyError(f"segment ids of a video that is not in the archive: {error.args[0]}") from error
        parts = [self.segments_of(slug, v) for v in sorted(wanted)]
        table = pa.concat_tables([part.to_table() for part in parts])
        found = Segments.from_table(table)
        order = np.argsort(found.segment_id)
        at = np.searchsorted(found.segment_id, ids, sorter=order)
        rows = order[np.minimum(at, len(found) - 1)]
        if not np.array_equal(found.segment_id[rows], ids):
            raise KeyError("some of the segment ids are not in the archive")
        return found[rows]

    def _dim(self, slug: str) -> int:
        return int(read_fingerprint(self.root / "features" / slug)["dim"])

    def _read_segments(
        self, file: DataFile, columns: Sequence[str] | None = None, video: int | None = None
    ) -> Segments:
        try:
            return Segments.from_table(self.read(file, columns, video))
        except ValueError as error:  # the columns are as declared, the values are not
            raise Damaged(f"{file.path}: {error}. Restore it from a backup, or extract again.") from error

    def declared(self, table: str) -> pa.Schema:
        """The columns that every file of a table has (besides the user's, or the encoder's quality columns)."""
        return VIDEO_SCHEMA if table == VIDEOS else segment_schema(self._dim(table))

    def read(self, file: DataFile, columns: Sequence[str] | None = None, video: int | None = None) -> pa.Table:
        """A committed file, checked; with `video`, only the row group of that one of its videos."""
        with self.opened(file, columns) as opened:
            wanted = list(columns) if columns else None
            if video is not None and opened.num_row_groups == len(file.videos):
                return opened.read_row_group(video, columns=wanted)
            return opened.read(columns=wanted)

    @contextmanager
    def opened(self, file: DataFile, columns: Sequence[str] | None = None) -> Iterator[pq.ParquetFile]:
        """A committed file, open; its footer is checked now, its pages while they are read.

        Raises:
            Damaged: it is missing, cannot be read, or is not what was committed.
        """
        try:
            with pq.ParquetFile(self.root / file.path, page_checksum_verification=True) as opened:
                rows = opened.metadata.num_rows
                wrong = wrong_columns(opened.schema_arrow, self.declared(file.table), only=columns)
                if rows == file.rows and not wrong:
                    yield opened
                    return
        except (OSError, pa.ArrowException) as error:
            raise Damaged(
                f"{file.path} cannot be read ({str(error).splitlines()[0]}), but a commit names it with {file.rows} rows.\n"
                "If `nightreel compact` has just run, repeat. If not, run `nightreel verify` to see all damage; restore the "
                "file from a backup, or extract again."
            ) from error
        raise Damaged(
            f"{file.path} has {rows} rows, its commit says {file.rows}; columns that are not as the format "
            f"declares them: {', '.join(wrong) or 'none'}.\n"
            "It is not the file that was committed. Restore it from a backup, or extract again."
        )


def wrong_columns(found: pa.Schema, declared: pa.Schema, only: Sequence[str] | None = None) -> list[str]:
    """Names of declared columns (of `only`, where given) that are missing or of another type."""
    names = [name for name in declared.names if only is None or name in only]
    missing = {name for name in names if name not in found.names}
    other = [n for n in names if n not in missing and found.field(n).type != declared.field(n).type]
    return sorted(missing - LATER_COLUMNS) + other


def utc_now() -> str:
    """Now, ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_header(root: Path) -> None:
    path = root / "archive.json"
    if not path.is_file():
        raise NotAnArchive(
            f"{root} is not an archive: expected archive.json in it, found none.\n"
            f"Name the folder that `nightreel extract ... --archive` wrote to, or make one with: "
            f"nightreel extract VIDEOS --archive NEW_FOLDER"
        )
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        found, version = header["format"], header["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotAnArchive(
            f"{path} cannot be read as an archive's header: expected JSON with format and version, got {error!r}.\n"
            "Restore it from a backup, or copy it from another archive that the same Nightreel made."
        ) from error
    if found != FORMAT:
        raise NotAnArchive(
            f"{root} is not an archive: archive.json says format {found!r}, expected {FORMAT!r}.\n"
            "Name the folder that `nightreel extract ... --archive` wrote to."
        )
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        raise WrongVersion(
            f"{root} is an archive of format version {version}; expected version {VERSION}.\n"
            + ("Upgrade Nightreel." if newer else "Extract the videos again into a new archive.")
        )
