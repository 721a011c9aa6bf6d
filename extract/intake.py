"""What comes into a run: each input is identified, and becomes a task unless the archive has it already.

Identifying reads up to 16 MiB of a file; a thread does it a few files ahead, for disks are slow.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from .engine import Task
from .known import Identity, Known, identify
from .metadata import Metadata, lookup, merged
from .record import Ledger
from .videos import VideoRow
from .writer import Writer

_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Incoming:
    """A video that needs work: where it is, what it is, and the row the archive has of it, if any."""

    path: Path
    file: Identity
    before: VideoRow | None


class Intake:
    """Sorts inputs into work and no work.

    Args:
        shard: I of N, 1-based; videos of other shards are passed over in silence.
        retry_failed: also videos that failed or are partial are work.
    """

    def __init__(
        self,
        known: Known,
        writer: Writer,
        ledger: Ledger,
        *,
        shard: tuple[int, int],
        retry_failed: bool,
        metadata: Metadata,
    ) -> None:
        self._known = known
        self._writer = writer
        self._ledger = ledger
        self._shard = shard
        self._retry_failed = retry_failed
        self._metadata = metadata
        self.under_way: set[str] = set()  # video ids; whoever finishes one takes it out

    def tasks(self, paths: Sequence[Path]) -> Iterator[Task | None]:
        """The videos that need work, as they are asked for; None while a copy of one that is under way must wait."""
        waiting: list[tuple[Path, Identity]] = []
        for path, file in _ahead(self._identify, paths):
            if file.video_id in self.under_way:
                waiting.append((path, file))
            elif (task := self._task(path, file)) is not None:
                yield task
        for path, file in waiting:
            while file.video_id in self.under_way:
                yield None
            if (task := self._task(path, file)) is not None:
                yield task

    def _identify(self, path: Path) -> Identity:
        same = self._known.unchanged(path)
        return Identity(same.video_id, True, same.size_bytes, same.mtime) if same else identify(path)

    def _task(self, path: Path, file: Identity) -> Task | None:
        """One input: None if it needs no work or is another shard's."""
        index, shards = self._shard
        if int(file.video_id[:12], 16) % shards != index - 1:
            return None
        self._ledger.report.videos += 1
        known = self._known
        before, old = known.by_id.get(file.video_id), known.by_path.get(str(path))
        if not file.readable and old and old.status != "failed":
            self._ledger.unreachable(path)
            return None
        if old and old.video_id != file.video_id:  # the path has other content now
            self._writer.remove(old.video_id)
            known.forget(old)
        if before and not known.needs_work(before, self._retry_failed):
            self._skip(path, file, before)
            return None
        self.under_way.add(file.video_id)
        return Task(str(path), Incoming(path, file, before))

    def _skip(self, path: Path, file: Identity, before: VideoRow) -> None:
        """Record a moved file's new path or new metadata; say so, or that the file is a copy."""
        moved = before.path != str(path) and not self._known.is_still_there(before)
        if before.path != str(path) and not moved:
            self._ledger.skipped(path, before, "a copy", f"the same content as {before.path}")
            return
        metadata = merged(before.metadata, lookup(self._metadata, path))
        touched = before.mtime != file.mtime  # or every later run would hash it again
        if moved or touched or metadata != dict(before.metadata):
            row = replace(before, path=str(path), size_bytes=file.size_bytes, mtime=file.mtime, metadata=metadata)
            self._writer.add(row, {})
            self._known.note(row)
        why, note = ("moved", f"moved from {before.path}") if moved else ("already extracted",) * 2
        self._ledger.skipped(path, before, why, note)


def _ahead(identify: Callable[[Path], Identity], paths: Sequence[Path]) -> Iterator[tuple[Path, Identity]]:
    """Each path with its identity, the next few already on their way."""
    todo = iter(paths)
    coming: list[tuple[Path, Future[Identity]]] = []
    with ThreadPoolExecutor(1, "identify") as thread:
        while True:
            coming += [(path, thread.submit(identify, path)) for path in islice(todo, _AHEAD - len(coming))]
            if not coming:
                return
            path, future = coming.pop(0)
            yield path, future.result()
