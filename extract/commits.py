"""Commits: what became visible in an archive, one small JSON file each. Pure rules and their file format.

A Parquet file counts only once a commit names it. The visible state is a fold over the commits in the order of
their ids: first the drops and removals of a commit, then its files; of two files that hold the same video for the same
table, the later one counts. So two writers that extracted one video at once leave one set of rows, not two.

Reading costs one small file per commit; a run commits every 30 s, so a night is about a thousand.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .errors import Damaged
from .files import time_ordered_id, write_json

VIDEOS = "videos"  # the table of videos; every other table is an encoder's slug
_ID = re.compile("[0-9a-f]{24}")  # see `time_ordered_id`


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file: `table` is `videos` or an encoder slug; `videos` lists the ids it has rows of."""

    path: str  # relative to the archive, with forward slashes
    table: str
    rows: int
    bytes: int
    sha256: str
    videos: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """What one write made visible and what it removed."""

    id: str
    created: str  # ISO 8601, UTC
    files: tuple[DataFile, ...] = ()
    removed: tuple[str, ...] = ()  # video ids, of everything committed before
    dropped: tuple[str, ...] = ()  # tables, of which nothing that was committed before counts


@dataclass(frozen=True)
class State:
    """What the commits so far make visible: `rows[table][video_id]` is the file that counts."""

    rows: dict[str, dict[str, DataFile]] = field(default_factory=dict)
    last_commit: str = ""

    def files(self, table: str) -> list[DataFile]:
        """The files with visible rows of a table, each once, oldest first."""
        return list(dict.fromkeys(self.rows.get(table, {}).values()))


def visible(commits: Iterable[Commit]) -> State:
    """Fold commits, in id order, into what is visible (see the module's rule)."""
    rows: dict[str, dict[str, DataFile]] = {}
    last = ""
    for commit in sorted(commits, key=lambda c: c.id):
        last = commit.id
        for name in commit.dropped:
            rows.pop(name, None)
        for video_id in commit.removed:
            for table in rows.values():
                table.pop(video_id, None)
        for file in commit.files:
            table = rows.setdefault(file.table, {})
            for video_id in file.videos:
                table.pop(video_id, None)  # so that iteration stays in commit order
                table[video_id] = file
    return State(rows, last)


def version_of(file: DataFile) -> str:
    """Which rows a file holds: a file that `compact` rewrote has a new name, and the same rows as far as they count."""
    return Path(file.path).name.split(".")[0]


def write_commit(folder: Path, commit: Commit) -> None:
    """Write `folder/<id>.json`; with the rename of this one file everything it names becomes visible."""
    write_json(folder / f"{commit.id}.json", asdict(commit))


def next_commit_id(state: State) -> str:
    """An id that sorts after every commit seen, even if another machine's clock is ahead."""
    return time_ordered_id(after=state.last_commit)


def read_commit(path: Path) -> Commit:
    """One commit from its file.

    Raises:
        Damaged: the file is not a commit of format version 1.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        if raw["id"] != path.stem or not _ID.fullmatch(raw["id"]):
            raise ValueError(f"its id is {raw['id']!r}, which is not its name")
        files = tuple(DataFile(**{**f, "videos": tuple(f["videos"])}) for f in raw["files"])
        for file in files:
            _require_inside(file.path)
            _require_inside(file.table)
        dropped = tuple(raw.get("dropped", ()))  # older commits have none
        for table in dropped:
            _require_inside(table)
        return Commit(raw["id"], raw["created"], files, tuple(raw["removed"]), dropped)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Damaged(
            f"commit {path.name} cannot be read ({error}). Expected a JSON object with id, created, files and "
            "removed. Restore the file from a backup, or delete it: what it named is then extracted again."
        ) from error


def _require_inside(path: str) -> None:
    """An archive may come from a stranger: no commit may name a file outside of it."""
    parts = Path(path).parts
    if Path(path).is_absolute() or ".." in parts or not parts:
        raise ValueError(f"it names {path!r}, which is outside the archive")
