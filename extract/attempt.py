"""One try at decoding one video: what came of it so far, per encoder, and at the end a row and its segments.

Samples arrive in the order of the video; vectors arrive later, batch by batch, in any order. An encoder that breaks on
a frame keeps what came before it; the others go on. Memory: the vectors of one video (2 D bytes each), no picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from .decode.base import Effort, VideoFacts
from .errors import VideoError
from .sample import Clock, spans
from .segment import ROW_BITS, Segments, segment_ids
from .videos import VideoRow
from .workers.messages import Ended, Job

Vector = npt.NDArray[np.float16]
# Faults of the decoder or the machine: another decoder may do better, and if it does, nothing is wrong with the video.
OF_THE_DECODER = frozenset({"timeout", "crashed", "out_of_memory"})


class Vectors:
    """(N, D) float16 that grows, and which rows are there: one array, so that hours of video cost 2 D bytes a sample."""

    def __init__(self) -> None:
        self._rows = np.empty((0, 0), np.float16)  # (capacity, D) once D is known
        self._have = np.zeros(0, np.bool_)

    def put(self, index: int, vector: Vector) -> None:
        """Row `index` is `vector` (D,)."""
        if index >= len(self._have):
            more = max(8, index + 1 + index // 8)
            self._rows.resize((more, len(vector)), refcheck=False)  # in place: no second copy for a while
            self._have.resize(more, refcheck=False)
        self._rows[index], self._have[index] = vector, True

    def has(self, indices: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Per index, whether its row is there."""
        at = np.asarray(indices, np.int64)
        known = at < len(self._have)
        return known & self._have[np.where(known, at, 0)] if len(self._have) else known

    def __getitem__(self, indices: Sequence[int]) -> Vector:
        """(len(indices), D); a view where they are 0, 1, 2..."""
        count = len(indices)
        in_order = count == 0 or (indices[0] == 0 and indices[-1] == count - 1)  # they never go down
        return self._rows[:count] if in_order else self._rows[np.asarray(indices)]


@dataclass
class Take:
    """What one encoder gets of one video.

    Attributes:
        times_s: of the samples.    vector_of: per sample, the index of its vector (a still frame shares one).
        vectors: as they come.    waiting: how many are on their way.    fault: what broke the encoder.
        checks: (vector of its own, vector that would have been reused) of still frames encoded all the same.
        reused: samples that share the vector of an earlier one.
    """

    times_s: list[float] = field(default_factory=list)
    vector_of: list[int] = field(default_factory=list)
    vectors: Vectors = field(default_factory=Vectors)
    expected: int = 0
    waiting: int = 0
    fault: VideoError | None = None
    checks: list[tuple[int, int]] = field(default_factory=list)
    reused: int = 0

    def expect(self, time_s: float) -> int:
        """A sample whose picture goes to the encoder; returns the index under which its vector is to be `deliver`ed.

        Raises:
            ValueError: the time is not after the one before, or there are more samples than ids.
        """
        self._append(time_s)
        self.vector_of.append(self.expected)
        self.expected += 1
        self.waiting += 1
        return self.expected - 1

    def repeat(self, time_s: float) -> None:
        """A sample that looks as the one before, whose vector it shares.

        Raises:
            ValueError: as for `expect`.    IndexError: there is none before.
        """
        shared = self.vector_of[-1]
        self._append(time_s)
        self.vector_of.append(shared)
        self.reused += 1

    def _append(self, time_s: float) -> None:
        last_s = max(0.0, self.times_s[-1]) if self.times_s else -math.inf
        if not last_s < time_s < math.inf:
            raise ValueError(f"a sample at {time_s} s after one at {last_s} s")
        if len(self.times_s) == 1 << ROW_BITS:
            raise ValueError(f"more than {1 << ROW_BITS} samples")
        self.times_s.append(time_s)

    def deliver(self, index: int, vector: Vector | VideoError) -> None:
        """A vector, or why there is none."""
        self.waiting -= 1
        if isinstance(vector, VideoError):
            self.fault = self.fault or vector
        else:
            self.vectors.put(index, vector)

    def segments(self, video_id: str, end_s: float) -> Segments | None:
        """(S, D): all samples up to the first without a vector; None if there is none."""
        missing = np.flatnonzero(~self.vectors.has(self.vector_of))
        count = int(missing[0]) if len(missing) else len(self.vector_of)
        if not count:
            return None
        bounds = np.array(spans(self.times_s, end_s))[:count]
        times_s = np.maximum(0.0, np.array(self.times_s[:count]))
        owner = np.full(count, video_id, object)
        vectors = self.vectors[self.vector_of[:count]]
        return Segments(segment_ids(video_id, count), owner, bounds[:, 0], bounds[:, 1], times_s, vectors)

    def check_errors(self) -> list[float]:
        """Cosine distances between what was reused and what encoding gives, one per check."""
        pairs = [pair for pair in self.checks if self.vectors.has(pair).all()]
        pictures = [self.vectors[pair].astype(np.float32) for pair in pairs]
        return [1 - float(np.dot(own, reused)) for own, reused in pictures]


class Attempt:
    """One job with what it yields.

    Args:
        job: what to decode and how.    slugs: the encoders, in the order of the lanes.
    """

    def __init__(self, job: Job, slugs: Sequence[str]) -> None:
        self.job = job
        self.takes = {slug: Take() for slug in slugs}
        self.facts: VideoFacts | None = None
        self.clock, self.effort = Clock(), Effort()
        self.fault: VideoError | None = None
        self.ended = False
        self.why_all: str | None = None

    def restart(self, why: str) -> None:
        """Forget all samples: the decoder starts again with everything. Vectors on their way go nowhere."""
        self.takes = {slug: Take() for slug in self.takes}
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
        """Decoded to its end, and every vector is here."""
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
