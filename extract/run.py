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
from .known import Identity, Known, identify, size_and_time
from .metadata import Metadata, lookup
from .store import Store
from .video import Extracted, Plan, extract_video
from .videos import VideoRow
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
    same = known.unchanged(path)
    file = Identity(same.video_id, True, same.size_bytes, same.mtime) if same else identify(path)
    index, shards = settings.shard
    if int(file.video_id[:12], 16) % shards != index - 1:
        return None
    report.videos += 1
    before, old = known.by_id.get(file.video_id), known.by_path.get(str(path))
    if not file.readable and old and old.status != "failed":
        return _unreachable(path, old, report)
    if old and old.video_id != file.video_id:  # the path has other content now
        writer.remove(old.video_id)
        known.forget(old)
    if before and not known.needs_work(before, settings.retry_failed):
        report.skipped += 1
        note = _note_skipped(path, file, before, settings, known, writer)
        return Progress("skipped", path, 0, 0, before.duration_s or 0.0, note)
    extracted = extract_video(path, file.video_id, encoders, settings.plan)
    row = _with_file_facts(extracted.row, path, file, before, settings.metadata)
    if before and before.status != "failed" and row.status == "failed":
        # This try was worse than the last, whose features stay; the report says so, the row remembers.
        writer.add(replace(before, attempts=row.attempts), {})
    else:
        writer.add(row, extracted.segments)
        known.note(row)
    extracted.row = row
    report.count(extracted)
    return Progress(
        row.status, path, 0, 0, row.duration_s or 0.0, f"{row.error_kind}: {row.error}" if row.error else ""
    )


def _unreachable(path: Path, old: VideoRow, report: Report) -> Progress:
    """A file that was extracted once and cannot be read now (a disk that is away): its features stay."""
    error = "the file cannot be read now; what was extracted from it before is kept"
    report.failed += 1
    report.failures.append({"path": str(path), "error_kind": "unreadable", "error": error})
    return Progress("failed", path, 0, 0, 0.0, f"unreadable: {error}")


def _note_skipped(
    path: Path, file: Identity, before: VideoRow, settings: Settings, known: Known, writer: Writer
) -> str:
    """Record a moved file's new path or new metadata; say so, or that the file is a copy."""
    moved = before.path != str(path) and not known.is_still_there(before)
    metadata = lookup(settings.metadata, path)
    if before.path != str(path) and not moved:
        return f"the same content as {before.path}"
    touched = before.mtime != file.mtime  # or every later run would hash it again
    if moved or touched or (metadata and metadata != dict(before.metadata)):
        row = replace(before, path=str(path), size_bytes=file.size_bytes, mtime=file.mtime)
        row = replace(row, metadata=metadata or before.metadata)
        writer.add(row, {})
        known.note(row)
    return f"moved from {before.path}" if moved else "already extracted"


def _with_file_facts(
    row: VideoRow, path: Path, file: Identity, before: VideoRow | None, metadata: Metadata
) -> VideoRow:
    """The row with path, size, time of change, attempts and the user's columns.

    A file that changed while it was read is `partial`, and has no time of change, so that the next run reads it again.
    """
    size_bytes, mtime = file.size_bytes, file.mtime
    if (size_bytes, mtime) != size_and_time(path) and row.status == "done":
        mtime = None
        error = "the file changed while it was being read; it is read again by the next run"
        row = replace(row, status="partial", stage="decode", error_kind="unreadable", error=error)
    return replace(
        row,
        path=str(path),
        size_bytes=size_bytes,
        mtime=mtime,
        attempts=before.attempts + 1 if before else row.attempts,
        metadata=lookup(metadata, path) or (before.metadata if before else {}),
    )


def _commit(writer: Writer, report: Report) -> None:
    began = time.perf_counter()
    writer.commit()
    report.stages["write_s"] += time.perf_counter() - began
