"""The batch job: inputs in, an archive filled, a report out.

Each input is identified, skipped if the archive has it, sent through the engine, and committed with others every
`COMMIT_EVERY_S`. A second run on the same archive at the same time is safe.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .batches import Batches, automatic_size
from .clips import ClipWish
from .encoders.base import ClipEncoder, Encoder
from .encoders.registry import load_encoder, resolve, slug
from .engine import Engine, Plan, Task, setup_of
from .errors import UsageError
from .inputs import expand
from .intake import Incoming, Intake
from .interrupt import in_two_steps
from .known import Known, size_and_time
from .metadata import Metadata, lookup, merged
from .record import Ledger, Progress, Report, RunFile
from .store import Store
from .take import Kind
from .videos import VideoRow
from .workers.pool import Pool
from .workers.process import Limits
from .writer import Writer, claim_encoder

COMMIT_EVERY_S = 30.0
DEFAULT_ENCODERS = ("clip", "videomae")
MAX_WORKERS = 16


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is asked to do besides inputs and encoders; the command line shows these defaults.

    Attributes:
        workers: decoding processes; None for one per core, up to `MAX_WORKERS`.
        shard: I of N, 1-based.
        on_stop: told when the first Ctrl-C asked the run to end.
    """

    plan: Plan = Plan()
    device: str = "auto"
    workers: int | None = None
    limits: Limits = Limits()
    shard: tuple[int, int] = (1, 1)
    retry_failed: bool = False
    metadata: Metadata = field(default_factory=dict)
    commit_every_s: float = COMMIT_EVERY_S
    on_stop: Callable[[], None] = lambda: None


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
        KeyboardInterrupt: Ctrl-C; after the first, the videos that were begun are finished and committed.
        A bad video raises nothing: it is in the report and in the videos table.
    """
    paths = expand(inputs)
    if not paths:
        raise UsageError("nothing to extract: expected at least one video, folder, glob or list; got none.")
    specs = {slug(spec): resolve(spec) for spec in encoders}
    loaded = {name: load_encoder(spec, settings.device) for name, spec in specs.items()}
    require_sense(loaded, settings.plan)
    kinds = {name: settings.plan.kind(encoder) for name, encoder in loaded.items()}
    store = Store.create(archive, created_by=f"nightreel {version('nightreel')}")
    columns = {}
    for name, encoder in loaded.items():
        stored = claim_encoder(store, name, fingerprint_of(encoder, settings.plan))
        columns[name] = stored.get("columns", [])  # what the archive declared when it was made
    return Run(store, paths, loaded, kinds, columns, settings, on_progress).go()


def require_sense(encoders: Mapping[str, Encoder], plan: Plan) -> None:
    """Refuse what no encoder of the run could do.

    Raises:
        UsageError: clips out of key frames only, clip options or labels without an encoder for them.
    """
    clips = [encoder for encoder in encoders.values() if isinstance(encoder, ClipEncoder)]
    if clips and plan.tier == "keyframe":
        raise UsageError(
            f"--decode keyframe: {clips[0].spec} looks at what happens between pictures, and key frames are seconds apart. "
            "Use --decode exact or reference, or leave the clip encoders to a run of their own."
        )
    if not clips and plan.clips != ClipWish():
        raise UsageError("--clip-length, --stride and --hop are for clip encoders; this run has none. Use --fps.")
    if plan.labels and not any(encoder.labels for encoder in clips):
        raise UsageError(
            f"--labels {plan.labels}: none of {', '.join(encoder.spec for encoder in encoders.values())} has a classifier; "
            "leave it out, or use weights with one, for example videomae."
        )


def fingerprint_of(encoder: Encoder, plan: Plan) -> dict[str, Any]:
    """The encoder's fingerprint with the decoder and the sampling plan: what `encoder.json` holds."""
    kind = plan.kind(encoder)
    labelled = isinstance(encoder, ClipEncoder) and plan.labels and encoder.labels
    return {
        "spec": encoder.spec,
        **encoder.fingerprint(),
        "has_text": False if isinstance(encoder, ClipEncoder) else encoder.has_text,
        "stored_as": "L2-normalised in float32, then float16",
        "columns": list(kind.segment_columns),
        **({"labels": plan.labels} if labelled else {}),
        "decoder": {"backend": plan.backends[0]},
        "sampling": plan.sampling(kind),
    }


class Run:
    """One run over one archive: decoders, encoders, writer and ledger, and the order in which they stop."""

    def __init__(
        self,
        store: Store,
        paths: Sequence[Path],
        encoders: dict[str, Encoder],
        kinds: Mapping[str, Kind],
        columns: Mapping[str, Sequence[str]],
        settings: Settings,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._paths = paths
        self._encoders, self._kinds, self._columns = encoders, kinds, columns
        self._settings = settings
        cores = available_cores()
        self._workers = settings.workers or min(cores, MAX_WORKERS, len(paths))
        self._threads = max(1, cores // self._workers)
        self._writer, self._known = Writer(store), Known(store, list(encoders))
        self._ledger = Ledger(
            len(paths), on_progress, Report(segments=dict.fromkeys(encoders, 0), workers=self._workers)
        )
        self._intake = Intake(
            self._known,
            self._writer,
            self._ledger,
            shard=settings.shard,
            retry_failed=settings.retry_failed,
            metadata=settings.metadata,
        )
        self._file = RunFile(store.root, self._about())
        self._ledger.report.run_file = self._file.path
        self._began = self._committed = time.perf_counter()

    def go(self) -> Report:
        """Everything, to the end or to Ctrl-C."""
        plan, limits = self._settings.plan, self._settings.limits
        size = plan.batch or automatic_size(self._settings.device)
        setup = setup_of(self._encoders, self._kinds, plan, limits)
        frames = {slug: kind.plan.frames for slug, kind in self._kinds.items() if kind.plan}
        self._pool = Pool(self._workers, setup, limits)
        self._batches = Batches(self._encoders, size, frames, plan.labels)
        state = "failed"
        with self._batches, self._pool:  # decoders end at once, the encoder at the end of its batch
            engine = Engine(self._kinds, plan, setup, self._pool, self._batches, self._threads)
            try:
                self._note_state("running")
                self._drive(engine)
                state = "stopped" if engine.stopping else "finished"
            except KeyboardInterrupt:  # the second Ctrl-C: what is not committed is lost
                state = "stopped"
                raise
            except Exception:
                with suppress(Exception):  # what was finished is worth keeping, whatever went wrong
                    self._commit()
                raise
            finally:
                with suppress(OSError):  # a full disk must not hide why the run ended
                    self._note_state(state)
        if engine.stopping:
            raise KeyboardInterrupt
        return self._ledger.report

    def _drive(self, engine: Engine) -> None:
        def stop() -> None:
            engine.stopping = True

        told = False
        with in_two_steps(stop):
            for task in engine.run(self._intake.tasks(self._paths)):
                if engine.stopping and not told:  # not in the signal handler: it may have interrupted a print
                    told = True
                    self._settings.on_stop()
                if task is not None:
                    self._finish(task)
                if time.perf_counter() - self._committed > self._settings.commit_every_s:
                    self._commit()
            self._commit()

    def _finish(self, task: Task) -> None:
        """Give a finished video to the writer."""
        incoming: Incoming = task.note
        attempt, fault = task.settled()
        row, found = attempt.result(incoming.file.video_id, fault)
        segments = {slug: batch.with_columns(self._columns[slug]) for slug, batch in found.items()}
        row = _with_file_facts(row, incoming, self._settings.metadata)
        before = incoming.before
        if before and before.status != "failed" and row.status == "failed":
            # This try was worse than the last, whose features stay; the report says so, the row remembers.
            self._writer.add(replace(before, attempts=row.attempts), {})
        else:
            self._writer.add(row, segments)
            self._known.note(row)
        self._intake.under_way.discard(row.video_id)
        self._ledger.finished(row, segments, task.attempts)

    def _commit(self) -> None:
        began = time.perf_counter()
        wrote = self._writer.commit()
        self._committed = time.perf_counter()
        self._ledger.report.stages["write_s"] += self._committed - began
        if wrote:
            self._note_state("running")

    def _note_state(self, state: str) -> None:
        report = self._ledger.report
        report.wall_s = time.perf_counter() - self._began
        report.stages["decode_s"], report.stages["encode_s"] = self._pool.busy_s, self._batches.busy_s
        self._file.write(state, self._ledger, self._batches.sizes)

    def _about(self) -> dict[str, Any]:
        settings = self._settings
        return {
            "encoders": [encoder.spec for encoder in self._encoders.values()],
            "device": settings.device,
            "workers": self._workers,
            "threads": self._threads,
            "plan": asdict(settings.plan),
            "limits": asdict(settings.limits),
            "shard": list(settings.shard),
            "retry_failed": settings.retry_failed,
        }


def available_cores() -> int:
    """CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_file_facts(row: VideoRow, incoming: Incoming, metadata: Metadata) -> VideoRow:
    """The row with path, size, time of change, attempts and the user's columns.

    A file that changed while it was read is `partial`, and has no time of change, so that the next run reads it again.
    """
    path, before = incoming.path, incoming.before
    size_bytes, mtime = incoming.file.size_bytes, incoming.file.mtime
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
        metadata=merged(before.metadata if before else {}, lookup(metadata, path)),
    )
