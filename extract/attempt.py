"""One try at decoding one video: what came of it so far, per encoder, and at the end a row and its segments.

What single encoders get and give is in `take.py`; one that breaks keeps what came before, and the others go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from .decode.base import Effort, VideoFacts
from .errors import VideoError
from .sample import Clock
from .segment import Segments
from .take import Kind, take_of
from .videos import VideoRow
from .workers.messages import Ended, Job

# Faults of the decoder or the machine: another decoder may do better, and if it does, nothing is wrong with the video.
OF_THE_DECODER = frozenset({"timeout", "crashed", "out_of_memory"})


class Attempt:
    """One job with what it yields.

    Args:
        job: what to decode and how.    kinds: by encoder slug, in the order of the lanes.
    """

    def __init__(self, job: Job, kinds: Mapping[str, Kind]) -> None:
        self.job = job
        self.takes = {slug: take_of(kind) for slug, kind in kinds.items()}
        self.facts: VideoFacts | None = None
        self.clock, self.effort = Clock(), Effort()
        self.fault: VideoError | None = None
        self.ended = False
        self.why_all: str | None = None

    def restart(self, why: str) -> None:
        """Forget all samples: the decoder starts again with everything. Rows on their way go nowhere."""
        self.takes = {slug: take_of(take.kind) for slug, take in self.takes.items()}
        self.why_all = why

    def end(self, ended: Ended) -> None:
        """The decoder's last word. One that was killed tells no times: those of the samples are what is known."""
        self.ended, self.fault = True, ended.fault
        self.clock, self.effort = ended.clock, ended.effort
        self.why_all = self.why_all or ended.effort.why_all
        if not self.clock.frames:
            for time_s in self.times_s:
                self.clock.tick(time_s)
        if self.fault is None and not self.times_s:
            self.fault = VideoError("zero_frames", "the video stream holds no frames that can be decoded")

    @property
    def finished(self) -> bool:
        """Decoded to its end, and every row is here."""
        return self.ended and all(take.waiting == 0 for take in self.takes.values())

    @property
    def times_s(self) -> list[float]:
        """Of all samples of any lane, sorted."""
        return sorted({t for take in self.takes.values() for t in take.times_s})

    def result(self, video_id: str, fault: VideoError | None) -> tuple[VideoRow, dict[str, Segments]]:
        """The row (without what only the file system knows) and the segments by encoder slug."""
        end_s = self.clock.end_s(self.facts.fps if self.facts else None)
        if fault is None and self.facts and self.facts.duration_s:
            end_s = max(end_s, self.facts.duration_s)  # the last frame is shown until the stream's end
        found = {slug: take.segments(video_id, end_s) for slug, take in self.takes.items()}
        segments = {slug: batch for slug, batch in found.items() if batch is not None}
        fault = fault or next((take.fault for take in self.takes.values() if take.fault), None)
        row = VideoRow(
            video_id=video_id,
            path=self.job.path,
            status="done" if fault is None else ("partial" if segments else "failed"),
            frames_decoded=self.effort.frames,
            variable_fps=self.clock.variable_fps,
            decoder=self._decoder(),
            stage=fault.stage if fault else None,
            error_kind=fault.kind if fault else None,
            error=str(fault) if fault else None,
        )
        if self.clock.frames:
            row = replace(row, duration_s=end_s)
        return (_with_facts(row, self.facts) if self.facts else row), segments

    def _decoder(self) -> str | None:
        if self.facts is None:
            return None
        if self.job.backend != "pyav":
            return self.job.backend
        return f"{self.job.backend}, all: {self.why_all}" if self.why_all else self.job.backend


def _with_facts(row: VideoRow, facts: VideoFacts) -> VideoRow:
    return replace(
        row,
        duration_s=facts.duration_s if row.duration_s is None else row.duration_s,
        width_px=facts.width_px,
        height_px=facts.height_px,
        rotation_deg=facts.rotation_deg,
        fps=facts.fps,
        codec=facts.codec,
        frames_expected=facts.frames_expected,
    )


def wants_second_opinion(attempt: Attempt) -> bool:
    """Whether another decoder may do better: not where a file could not even be opened in an orderly way, for the
    header is read by the same library."""
    fault = attempt.fault
    if fault is None or fault.kind in ("no_video", "encrypted"):
        return False
    return fault.kind in OF_THE_DECODER or fault.stage != "open"


def settle(attempts: Sequence[Attempt]) -> tuple[Attempt, VideoError | None]:
    """The attempt whose samples are kept, and what is wrong with the video all the same.

    The second attempt counts if it got further than the first. If the first was stopped by its decoder (it hung,
    crashed, grew) and the second had no fault, the video is fine; if the data were at fault, they still are.
    """
    first, *others = attempts
    if not others:
        return first, first.fault
    (second,) = others
    fine = first.fault is not None and first.fault.kind in OF_THE_DECODER and second.fault is None
    if fine and len(second.times_s) >= len(first.times_s):
        return second, None
    kept = second if len(second.times_s) > len(first.times_s) else first
    return kept, first.fault
