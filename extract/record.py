"""What a run did: counted while it goes, printed at its end, kept in the archive as `runs/<id>.json`.

The file is written when the run begins (`state: running`), with every commit, and at the end, so that also of a run
that was killed the owner reads in the morning how far it got.
"""

import os
import platform
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .attempt import Attempt
from .files import time_ordered_id, write_json
from .segment import Segments
from .store import utc_now
from .videos import VideoRow


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
    workers: int = 1
    run_file: Path | None = None

    @property
    def utilisation(self) -> dict[str, float]:
        """Share of the run's time that decoders (on average), encoder and writer were at work, 0..1."""
        wall_s = max(self.wall_s, 1e-9)
        busy = {name.removesuffix("_s"): round(seconds / wall_s, 3) for name, seconds in self.stages.items()}
        return {**busy, "decode": round(busy["decode"] / self.workers, 3)}

    def count(self, row: VideoRow, segments: dict[str, Segments]) -> None:
        """Add one video's outcome."""
        setattr(self, row.status, getattr(self, row.status) + 1)
        self.video_s += row.duration_s or 0.0
        for name, batch in segments.items():
            self.segments[name] = self.segments.get(name, 0) + len(batch)
        if row.status != "done":
            self.failures.append({"path": row.path, "error_kind": row.error_kind or "", "error": row.error or ""})

    def as_json(self) -> dict[str, Any]:
        """With the keys of the contract, seconds rounded to milliseconds."""
        value = {key: found for key, found in vars(self).items() if key not in ("workers", "run_file")}
        value["video_s"], value["wall_s"] = round(self.video_s, 3), round(self.wall_s, 3)
        value["stages"] = {name: round(seconds, 3) for name, seconds in self.stages.items()}
        return value


@dataclass
class Detail:
    """What the run file says beyond the report: how the decoding went, and why."""

    skipped_because: Counter[str] = field(default_factory=Counter)
    decoders: Counter[str] = field(default_factory=Counter)
    decoded_all_because: Counter[str] = field(default_factory=Counter)
    second_opinions: int = 0
    packets: int = 0
    packets_decoded: int = 0
    frames_decoded: int = 0
    still_reused: int = 0
    still_checked: int = 0
    still_worst_cosine_distance: float = 0.0

    def count(self, attempts: list[Attempt]) -> None:
        """Add what all attempts at one video took."""
        self.second_opinions += len(attempts) - 1
        for attempt in attempts:
            self.decoders[attempt.job.backend] += 1
            self.packets += attempt.effort.packets
            self.packets_decoded += attempt.effort.sent
            self.frames_decoded += attempt.effort.frames
            if attempt.why_all:
                self.decoded_all_because[re.sub(r"\b\d+\b", "#", attempt.why_all)[:100]] += (
                    1  # few kinds, not one per file
                )
            for take in attempt.takes.values():
                errors = take.check_errors()
                self.still_reused += take.reused
                self.still_checked += len(errors)
                self.still_worst_cosine_distance = max([self.still_worst_cosine_distance, *errors])


@dataclass
class Ledger:
    """Report and detail of one run, and who is told after every video.

    Args:
        of: how many inputs there are.    on_progress: told after every one.
    """

    of: int
    on_progress: Callable[[Progress], None]
    report: Report
    detail: Detail = field(default_factory=Detail)
    number: int = 0

    def skipped(self, path: Path, before: VideoRow, why: str, note: str) -> None:
        """A video that needs no work."""
        self.report.skipped += 1
        self.detail.skipped_because[why] += 1
        self._tell("skipped", path, before.duration_s or 0.0, note)

    def unreachable(self, path: Path) -> None:
        """A file that was extracted once and cannot be read now (a disk that is away): its features stay."""
        error = "the file cannot be read now; what was extracted from it before is kept"
        self.report.failed += 1
        self.report.failures.append({"path": str(path), "error_kind": "unreadable", "error": error})
        self._tell("failed", path, 0.0, f"unreadable: {error}")

    def finished(self, row: VideoRow, segments: dict[str, Segments], attempts: list[Attempt]) -> None:
        """A video that went through the engine."""
        self.report.count(row, segments)
        self.detail.count(attempts)
        note = f"{row.error_kind}: {row.error}" if row.error else ""
        self._tell(row.status, Path(row.path), row.duration_s or 0.0, note)

    def _tell(self, outcome: str, path: Path, video_s: float, note: str) -> None:
        self.number += 1
        self.on_progress(Progress(outcome, path, self.number, self.of, video_s, note))


class RunFile:
    """`runs/<id>.json` of one run.

    Args:
        root: of the archive.    about: what does not change: settings, encoders, workers.
    """

    def __init__(self, root: Path, about: dict[str, Any]) -> None:
        self.path = root / "runs" / f"{time_ordered_id()}.json"
        machine = {"cpus": os.cpu_count(), "system": platform.system(), "machine": platform.machine()}
        self._about = {"id": self.path.stem, "began": utc_now(), "machine": machine, **about}

    def write(self, state: str, ledger: Ledger, batches: dict[str, int]) -> None:
        """The file as of now. `state`: running, finished, stopped (Ctrl-C) or failed."""
        report = ledger.report
        value = {
            **self._about,
            "state": state,
            "written": utc_now(),
            "report": report.as_json(),
            "realtime_factor": round(report.video_s / max(report.wall_s, 1e-9), 2),
            "utilisation": report.utilisation,
            "failures_by_kind": dict(Counter(failure["error_kind"] for failure in report.failures)),
            "batch": batches,
            **vars(ledger.detail),
        }
        self.path.parent.mkdir(exist_ok=True)
        write_json(self.path, value)
