"""What a file is, and what the archive already holds of it, so that a second run does only what is new."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .store import Store
from .videos import VideoRow, id_of_unreadable, video_id_of


@dataclass(frozen=True, slots=True)
class Identity:
    """Which content a path has now; size and time of change are from before the content was read."""

    video_id: str
    readable: bool
    size_bytes: int | None
    mtime: float | None


def identify(path: Path) -> Identity:
    """A file's identity; where its content cannot be read, one made of its path."""
    size_bytes, mtime = size_and_time(path)
    try:
        return Identity(video_id_of(path), True, size_bytes, mtime)
    except OSError:
        return Identity(id_of_unreadable(path), False, size_bytes, mtime)


def size_and_time(path: Path) -> tuple[int | None, float | None]:
    """(bytes, seconds since 1970) of a file, or Nones where even that cannot be read."""
    try:
        facts = path.stat()
    except OSError:
        return None, None
    return facts.st_size, facts.st_mtime


class Known:
    """What the archive already holds, by path and by content, so that a second run does only what is new."""

    def __init__(self, store: Store, slugs: Sequence[str]) -> None:
        rows = store.videos()
        self.by_path = {row.path: row for row in rows}
        self.by_id = {row.video_id: row for row in rows}
        self.complete = set.intersection(*({*store.video_ids(s)} for s in slugs)) if slugs else set()

    def unchanged(self, path: Path) -> VideoRow | None:
        """The row of this path, if size and modification time say that the file is still the same."""
        row = self.by_path.get(str(path))
        return row if row and (row.size_bytes, row.mtime) == size_and_time(path) else None

    def needs_work(self, row: VideoRow, retry_failed: bool) -> bool:
        """Whether a known video must be extracted (again)."""
        if row.status == "failed":
            return retry_failed
        return (retry_failed and row.status == "partial") or row.video_id not in self.complete

    def note(self, row: VideoRow) -> None:
        """Remember a video of this run, so that its copies are seen as such."""
        before = self.by_id.get(row.video_id)
        if before and before.path != row.path:
            self.by_path.pop(before.path, None)  # it moved: what is there now replaces nothing
        self.by_path[row.path] = row
        self.by_id[row.video_id] = row
        self.complete.add(row.video_id)

    def forget(self, row: VideoRow) -> None:
        """A video that is being removed, because its file has other content now."""
        self.by_id.pop(row.video_id, None)
        self.complete.discard(row.video_id)

    def is_still_there(self, row: VideoRow) -> bool:
        """Whether the file at the row's path still has the row's content."""
        path = Path(row.path)
        found = self.unchanged(path)  # by size and time, or the content would be read for every copy
        return (found.video_id if found else identify(path).video_id) == row.video_id
