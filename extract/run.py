"""The batch job: inputs in, an archive filled, a report out.

Each video is identified, skipped if the archive has it, extracted, and committed with others every
`COMMIT_EVERY_S`. Runs on one process; a second run on the same archive at the same time is safe.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .encoders.base import Encoder
from .encoders.registry import load_encoder, resolve, slug
from .errors import UsageError
from .inputs import expand
from .metadata import Metadata, lookup
from .segment import Segments
from .store import Store
from .video import Extracted, Plan, extract_video
from .videos import VideoRow, id_of_unreadable, video_id_of
from .writer import Writer, claim_encoder

COMMIT_EVERY_S = 30.0
DEFAULT_ENCODERS = ("clip",)


@dataclass(frozen=True, slots=True)
class Progress:
    """Told to the caller after every video: what it was, and how far the run is."""

    outcome: str  # done | partial | failed | skipped
    path: Path
    number: int
    of: int
    video_s: float  # of video, this one
    note: str = ""


@dataclass
class Report:
    """What a run did; `as_json` is what `nightreel extract --json` prints."""

    videos: int = 0
    done: int = 0
    partial: int = 0
    failed: int = 0
    skipped: int = 0
    segments: dict[str, int] = field(default_factory=dict)
    video_s: float = 0.0
    wall_s: float = 0.0
    stages: dict[str, float] = field(default_factory=lambda: {"decode_s": 0.0, "encode_s": 0.0, "write_s": 0.0})
    failures: list[dict[str, str]] = field(default_factory=list)

    def count(self, extracted: Extracted) -> None:
        """Add one video's outcome."""
        row = extracted.row
        setattr(self, row.status, getattr(self, row.status) + 1)
        self.video_s += row.duration_s or 0.0
        for name, seconds in extracted.stages_s.items():
            self.stages[name] += seconds
        for name, batch in extracted.segments.items():
            self.segments[name] = self.segments.get(name, 0) + len(batch)
        if row.status != "done":
            self.failures.append({"path": row.path, "error_kind": row.error_kind or "", "error": row.error or ""})

    def as_json(self) -> dict[str, Any]:
        """With the keys of the contract, seconds rounded to milliseconds."""
        value = dict(vars(self))
        value["video_s"], value["wall_s"] = round(self.video_s, 3), round(self.wall_s, 3)
        value["stages"] = {name: round(seconds, 3) for name, seconds in self.stages.items()}
        return value


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
        try:
            facts = path.stat()
        except OSError:
            return None
        if row and row.size_bytes == facts.st_size and row.mtime == facts.st_mtime:
            return row
        return None

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
        return (found.video_id if found else _identify(path)) == row.video_id


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is asked to do besides inputs and encoders; the command line shows these defaults."""

    plan: Plan = Plan()
    device: str = "auto"
    shard: tuple[int, int] = (1, 1)  # I of N, 1-based
    retry_failed: bool = False
    metadata: Metadata = field(default_factory=dict)
    commit_every_s: float = COMMIT_EVERY_S


def extract(
    inputs: Sequence[str],
    archive: str | Path,
    encoders: Sequence[str] = DEFAULT_ENCODERS,
    settings: Settings = Settings(),
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """Extract `inputs` into `archive` with every encoder, in one decode pass per video.

    Raises:
        UsageError: an input or encoder that does not exist.  Refused: the archive is not one, or holds rows of
        another fingerprint.  WeightsUnavailable: an encoder's weights are not here.
        A bad video raises nothing: it is in the report and in the videos table.
    """
    began = time.perf_counter()
    paths = expand(inputs)
    if not paths:
        raise UsageError("nothing to extract: expected at least one video, folder, glob or list; got none.")
    specs = {slug(spec): resolve(spec) for spec in encoders}
    loaded = {name: load_encoder(spec, settings.device) for name, spec in specs.items()}
    store = Store.create(archive, created_by=f"nightreel {version('nightreel')}")
    for name, encoder in loaded.items():
        claim_encoder(store, name, fingerprint_of(encoder, settings.plan))
    report = Report(segments=dict.fromkeys(loaded, 0))
    writer, known = Writer(store), Known(store, list(loaded))
    last_commit = time.perf_counter()
    try:
        for number, path in enumerate(paths, 1):
            progress = _one(path, loaded, settings, known, writer, report)
            if progress is None:
                continue  # of another shard
            if time.perf_counter() - last_commit > settings.commit_every_s:
                _commit(writer, report)
                last_commit = time.perf_counter()
            on_progress(replace(progress, number=number, of=len(paths)))
    finally:
        _commit(writer, report)  # Ctrl-C, too, keeps every video that was finished
    report.wall_s = time.perf_counter() - began
    return report


def fingerprint_of(encoder: Encoder, plan: Plan) -> dict[str, Any]:
    """The encoder's fingerprint with the decoder and the sampling plan: what `encoder.json` holds."""
    return {
        "spec": encoder.spec,
        **encoder.fingerprint(),
        "has_text": encoder.has_text,
        "stored_as": "L2-normalised in float32, then float16",
        "decoder": {"backend": plan.backend},
        "sampling": plan.sampling(),
    }


def _one(
    path: Path, encoders: dict[str, Encoder], settings: Settings, known: Known, writer: Writer, report: Report
) -> Progress | None:
    """One input: skip it, or extract it and hand it to the writer. None if another shard has it."""
    row = known.unchanged(path)
    video_id = row.video_id if row else _identify(path)
    index, shards = settings.shard
    if int(video_id[:12], 16) % shards != index - 1:
        return None
    report.videos += 1
    same = row or known.by_id.get(video_id)
    if same and not known.needs_work(same, settings.retry_failed):
        report.skipped += 1
        return Progress(
            "skipped", path, 0, 0, same.duration_s or 0.0, _note_skipped(path, same, settings, known, writer)
        )
    extracted = extract_video(path, video_id, encoders, settings.plan)
    old = known.by_path.get(str(path))
    row = _with_file_facts(extracted.row, path, same, settings.metadata)
    segments: dict[str, Segments] = extracted.segments
    if same and same.status == "partial" and row.status == "failed":
        row = replace(same, attempts=row.attempts)  # this try was worse: what the last one kept stays
    replaced = old if old and old.video_id != video_id else None
    writer.add(row, segments, replaces=replaced.video_id if replaced else None)
    if replaced:
        known.forget(replaced)
    known.note(row)
    extracted.row = row
    report.count(extracted)
    return Progress(
        row.status, path, 0, 0, row.duration_s or 0.0, f"{row.error_kind}: {row.error}" if row.error else ""
    )


def _identify(path: Path) -> str:
    try:
        return video_id_of(path)
    except OSError:
        return id_of_unreadable(path)


def _note_skipped(path: Path, same: VideoRow, settings: Settings, known: Known, writer: Writer) -> str:
    """Record a moved file's new path or new metadata; say so, or that the file is a copy."""
    moved = same.path != str(path) and not known.is_still_there(same)
    metadata = lookup(settings.metadata, path)
    if same.path != str(path) and not moved:
        return f"the same content as {same.path}"
    touched = same.status != "failed" and same.mtime != path.stat().st_mtime  # or every later run hashes it again
    if moved or touched or (metadata and metadata != dict(same.metadata)):
        row = _with_file_facts(same, path, None, settings.metadata)
        writer.add(replace(row, metadata=metadata or same.metadata), {})
        known.note(row)
    return f"moved from {same.path}" if moved else "already extracted"


def _with_file_facts(row: VideoRow, path: Path, before: VideoRow | None, metadata: Metadata) -> VideoRow:
    """The row with path, size, time of change, attempts and the user's columns."""
    try:
        facts = path.stat()
        row = replace(row, size_bytes=facts.st_size, mtime=facts.st_mtime)
    except OSError:
        pass  # unreadable: the row says so already
    attempts = before.attempts + 1 if before else row.attempts
    return replace(row, path=str(path), attempts=attempts, metadata=lookup(metadata, path))


def _commit(writer: Writer, report: Report) -> None:
    began = time.perf_counter()
    writer.commit()
    report.stages["write_s"] += time.perf_counter() - began
