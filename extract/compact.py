"""Taking things out of an archive: `remove_videos` hides videos at once, `compact` gives the space of hidden rows back.

A data file with rows that no longer count, because their videos were removed or extracted again, is written anew with the
others; a commit of its own names the new file, and only then the old one goes. So a kill at any instant loses nothing, and
leaves at most a file that a later `compact` deletes. Nothing here knows indexes.

Why a rewritten file's commit has an id just behind that of the commit it repeats, and not of now: what counts is decided in
the order of ids (`commits.py`). Right behind, the new file takes the old one's place, and whatever came later still comes
later: also an extraction or removal of another process that was not seen yet when the rows were read. With an id of now, such
a removal would be undone. One commit per file, since one for several would have to stand behind the newest of their commits.

Rows that do not count never count again, whatever else is committed, so files without any that do can be deleted safely.
Several processes may compact at once: their files cannot have the same name, and of two copies of a file one counts.

Costs reading and writing each file that is rewritten, in memory one at a time (about 30 s of extraction).
"""

import os
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.compute as pc

from .commits import VIDEOS, Commit, DataFile, State, version_of, write_commit
from .errors import Damaged, UsageError
from .files import sha256_of
from .fingerprint import FILE_NAME
from .store import Store, utc_now
from .verify import orphans
from .videos import VideoRow
from .writer import Writer, write_data

GRACE_S = (
    3600.0  # searches that began before go on reading replaced files; a running `extract` has files without a commit
)


@dataclass
class Compaction:
    """What `compact` did; `bytes_freed` is what was deleted less what was written, so it may be below 0 while files wait."""

    files_rewritten: int = 0
    files_deleted: int = 0  # data files without a row that counts
    orphans_deleted: int = 0  # files that no commit names, left by runs that were killed
    bytes_freed: int = 0
    bytes_waiting: int = 0  # of data files without a row that counts, which are kept for `GRACE_S`


def remove_videos(store: Store, names: Sequence[str]) -> list[VideoRow]:
    """Hide videos, named as for `Store.find_video`, with all their segments, in one commit; gives each one's row once.

    Raises:
        UsageError: a name is unknown or ambiguous; nothing was removed.
    """
    try:
        rows = {row.video_id: row for row in map(store.find_video, names)}
    except UsageError as error:
        raise UsageError(f"{error}\nNothing was removed.") from error
    writer = Writer(store)
    for video_id in rows:
        writer.remove(video_id)
    writer.commit()
    return list(rows.values())


def compact(store: Store, *, now: bool = False) -> Compaction:
    """Rewrite data files with rows that no longer count, delete those without others, and sweep up after killed runs.

    Args:
        now: delete replaced files at once, not `GRACE_S` after they were replaced. A search that is under way may then fail,
            and succeeds when repeated. Files that no commit names are kept for `GRACE_S` all the same.

    Raises:
        Damaged: a file to be rewritten is not what was committed; it is left alone, and so are those after it.
        OSError: the disk is full or broken; nothing that counts was lost.
    """
    store.refresh()
    done = Compaction()
    _sweep(store, done)
    _delete_dead(store, done, now)  # first, since on a full disk there may be no room for a copy
    named_by = {file.path: commit.id for commit in store.commits for file in commit.files}
    for file, keep in partly_dead(store.state):
        try:
            _rewrite(store, file, keep, named_by[file.path], done)
        except (Damaged, FileNotFoundError):
            store.refresh()
            if file in store.state.files(file.table):
                raise
            continue  # another `compact` was faster
        if now:  # before the next is written, so that one file's room is enough
            done.files_deleted += _delete(store.root / file.path, done)
    store.refresh()
    _delete_dead(store, done, now)
    _delete_dropped(store, done, now)
    return done


def partly_dead(state: State) -> list[tuple[DataFile, list[str]]]:
    """The files with rows that count beside others that do not, each with the ids of the videos whose rows count."""
    found = []
    for table, rows in state.rows.items():
        for file in state.files(table):
            keep = [video_id for video_id in file.videos if rows.get(video_id) is file]
            if len(keep) < len(file.videos):
                found.append((file, keep))
    return found


def overtaken(commits: Iterable[Commit]) -> dict[str, set[str]]:
    """Path of each file none of whose rows count -> ids of the commits that made it so: its own, and those that took rows."""
    holders: dict[str, dict[str, str]] = defaultdict(dict)  # table -> video id -> path
    by: dict[str, set[str]] = defaultdict(set)
    for commit in sorted(commits, key=lambda c: c.id):
        for name in commit.dropped:
            for path in holders.pop(name, {}).values():
                by[path].add(commit.id)
        for video_id in commit.removed:
            for table in holders.values():
                if video_id in table:
                    by[table.pop(video_id)].add(commit.id)
        for file in commit.files:
            by[file.path].add(commit.id)
            for video_id in file.videos:
                if before := holders[file.table].get(video_id):
                    by[before].add(commit.id)
                holders[file.table][video_id] = file.path
    live = {path for table in holders.values() for path in table.values()}
    return {path: ids for path, ids in by.items() if path not in live}


def id_behind(commit_id: str) -> str:
    """A commit id just behind another: before all that a process makes that has seen it, as those have a later first part.

    The steps are random, so that two processes hardly ever take the same at the same time; one process looks what is taken.
    """
    return f"{int(commit_id, 16) + 1 + random.randrange(1 << 12):024x}"


def rewritten_name(file: DataFile) -> str:
    """`toy/ab.parquet` -> `toy/ab.r001-<random>.parquet` -> `toy/ab.r002-<random>.parquet`: sorted by age, never the same."""
    old = PurePosixPath(file.path)
    match = re.search(r"\.r(\d+)-", old.name)
    number = int(match[1]) + 1 if match else 1
    return str(old.with_name(f"{version_of(file)}.r{number:03}-{os.urandom(4).hex()}.parquet"))


def _rewrite(store: Store, file: DataFile, keep: list[str], named_by: str, done: Compaction) -> None:
    groups = _groups(store, file, keep)
    if sha256_of(store.root / file.path) != file.sha256:  # or the damage would get a checksum of its own
        raise Damaged(
            f"{file.path} is not what was committed: expected SHA-256 {file.sha256[:12]}..., so it is not rewritten.\n"
            "Run `nightreel verify` to see all damage; restore the file from a backup, or extract again."
        )
    new = write_data(store.root, rewritten_name(file), file.table, groups, keep)
    commits = store.root / "commits"
    new_id = id_behind(named_by)
    while (commits / f"{new_id}.json").exists():  # of another file of this commit: the steps of `id_behind` are few
        new_id = id_behind(named_by)
    # If this raises, the new file stays, for the commit may have got its name all the same; else it is swept later.
    write_commit(commits, Commit(new_id, utc_now(), (new,)))
    done.files_rewritten += 1
    done.bytes_freed -= new.bytes


def _groups(store: Store, file: DataFile, keep: list[str]) -> list[pa.Table]:
    """The rows of these videos, as row groups: one in all of the videos table, one per video of segments."""
    if file.table == VIDEOS:
        return [_only(store.read(file), keep)]
    return [_only(store.read(file, video=file.videos.index(video_id)), [video_id]) for video_id in keep]


def _only(table: pa.Table, keep: list[str]) -> pa.Table:
    return table.filter(pc.is_in(table.column("video_id"), pa.array(keep)))


def _delete_dead(store: Store, done: Compaction, now: bool) -> None:
    done.bytes_waiting = 0
    for relative, commits in overtaken(store.commits).items():
        path = store.root / relative
        if now or _is_old(*(store.root / "commits" / f"{commit_id}.json" for commit_id in commits)):
            done.files_deleted += _delete(path, done)
        else:
            with suppress(FileNotFoundError):  # deleted long ago, or by another `compact` just now
                done.bytes_waiting += path.stat().st_size


def _delete_dropped(store: Store, done: Compaction, now: bool) -> None:
    """What is left of dropped tables: their fingerprints, which searches under way need as long as the files."""
    for commit in store.commits:
        said = store.root / "commits" / f"{commit.id}.json"
        for table in commit.dropped:
            folder = store.root / "features" / table
            if store.video_ids(table) or not (now or _is_old(said)):
                continue
            with suppress(FileNotFoundError):
                if (folder / FILE_NAME).stat().st_mtime <= said.stat().st_mtime:  # else of a new table of this name
                    _delete(folder / FILE_NAME, done)
            with suppress(OSError):  # something else lies in it, or it is gone
                folder.rmdir()


def _sweep(store: Store, done: Compaction) -> None:
    for relative in orphans(store):
        path = store.root / relative
        ours = path.name.startswith(".tmp-") or path.suffix == ".parquet"
        with suppress(FileNotFoundError):  # whoever wrote it has given it its name, or another `compact` was faster
            if ours and path.is_file() and _is_old(path):
                done.orphans_deleted += _delete(path, done)


def _is_old(*paths: Path) -> bool:
    """Whether all were written longer ago than `GRACE_S`: by the clock of files, as the id of a commit may be older than it."""
    return all(path.stat().st_mtime < time.time() - GRACE_S for path in paths)


def _delete(path: Path, done: Compaction) -> int:
    """How many files this deleted: 1, or 0 if it is gone, maybe because another `compact` was faster."""
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    done.bytes_freed += size
    return 1
