"""What one encoder gets of one video and gives back: samples in, in the order of the video; rows out, in any order.

An encoder that breaks on a frame keeps what came before it. Memory: the rows of one video (2 D bytes and a few each); of
clips also the pictures of those that are not complete.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .clips import Clip, ClipMaker, ClipPlan, Picture, clip_spans
from .errors import VideoError
from .sample import spans
from .segment import ROW_BITS, Labels, Segments, segment_ids

Vector = npt.NDArray[np.float16]
REPEATED = "repeated"  # the column that says how many of a clip's frames repeat the last because the video was over


class Row(NamedTuple):
    """What an encoder says of one frame or clip: vector (D,) float16, unit norm; columns (C,) float32; likeliest labels."""

    vector: Vector
    columns: npt.NDArray[np.float32]
    labels: Labels | None = None


@dataclass(frozen=True, slots=True)
class Kind:
    """What the rows of an encoder are.

    Attributes:
        columns: names of `Row.columns`.    plan: of its clips; None where it takes single frames.
    """

    columns: tuple[str, ...] = ()
    plan: ClipPlan | None = None

    @property
    def segment_columns(self) -> tuple[str, ...]:
        """The quality columns of its segments."""
        return (*self.columns, *([REPEATED] if self.plan else []))


class Rows:
    """N rows that grow, and which of them are there: arrays, so that hours of video cost 2 D bytes a sample."""

    def __init__(self) -> None:
        self._vectors = np.empty((0, 0), np.float16)  # (capacity, D) once D is known
        self._columns = np.empty((0, 0), np.float32)  # (capacity, C)
        self._labels: dict[int, Labels] = {}
        self._have = np.zeros(0, np.bool_)

    def put(self, index: int, row: Row) -> None:
        """Row `index` is `row`."""
        if index >= len(self._have):
            more = max(8, index + 1 + index // 8)
            self._vectors.resize((more, len(row.vector)), refcheck=False)  # in place: no second copy for a while
            self._columns.resize((more, len(row.columns)), refcheck=False)
            self._have.resize(more, refcheck=False)
        self._vectors[index], self._columns[index], self._have[index] = row.vector, row.columns, True
        if row.labels is not None:
            self._labels[index] = row.labels

    def has(self, indices: Sequence[int]) -> npt.NDArray[np.bool_]:
        """Per index, whether its row is there."""
        at = np.asarray(indices, np.int64)
        known = at < len(self._have)
        return known & self._have[np.where(known, at, 0)] if len(self._have) else known

    def vectors(self, indices: Sequence[int]) -> Vector:
        """(len(indices), D); a view where they are 0, 1, 2..."""
        return self._vectors[_rows(indices)]

    def columns(self, indices: Sequence[int]) -> npt.NDArray[np.float32]:
        """(len(indices), C)."""
        return self._columns[_rows(indices)]

    def labels(self, indices: Sequence[int]) -> npt.NDArray[np.object_] | None:
        """(len(indices),) of `Labels`; None if there are none."""
        if not self._labels:
            return None
        out = np.empty(len(indices), object)
        for i, index in enumerate(indices):
            out[i] = self._labels.get(index, ())
        return out


def _rows(indices: Sequence[int]) -> slice | npt.NDArray[np.int64]:
    count = len(indices)
    in_order = count == 0 or (indices[0] == 0 and indices[-1] == count - 1)  # they never go down
    return slice(count) if in_order else np.asarray(indices)


@dataclass
class Take:
    """Single frames of one video for one encoder.

    Attributes:
        times_s: of the samples.    row_of: per sample, the index of its row (a still frame shares one).
        rows: as they come.    waiting: how many are on their way.    fault: what broke the encoder.
        checks: (row of its own, row that would have been reused) of still frames encoded all the same.
        reused: samples that share the row of an earlier one.
    """

    kind: Kind = Kind()
    times_s: list[float] = field(default_factory=list)
    row_of: list[int] = field(default_factory=list)
    rows: Rows = field(default_factory=Rows)
    expected: int = 0
    waiting: int = 0
    fault: VideoError | None = None
    checks: list[tuple[int, int]] = field(default_factory=list)
    reused: int = 0

    def expect(self, time_s: float) -> int:
        """A sample whose picture goes to the encoder; returns the index under which its row is to be `deliver`ed.

        Raises:
            ValueError: the time is not after the one before, or there are more samples than ids.
        """
        self._append(time_s)
        self.row_of.append(self.expected)
        return self._one_more()

    def repeat(self, time_s: float) -> None:
        """A sample that looks as the one before, whose row it shares.

        Raises:
            ValueError: as for `expect`.    IndexError: there is none before.
        """
        shared = self.row_of[-1]
        self._append(time_s)
        self.row_of.append(shared)
        self.reused += 1

    def deliver(self, index: int, row: Row | VideoError) -> None:
        """A row, or why there is none."""
        self.waiting -= 1
        if isinstance(row, VideoError):
            self.fault = self.fault or row
        else:
            self.rows.put(index, row)

    def segments(self, video_id: str, end_s: float) -> Segments | None:
        """(S, D): all samples up to the first without a row; None if there is none."""
        return self._segments(video_id, np.array(spans(self.times_s, end_s)), self.times_s, self.row_of)

    def check_errors(self) -> list[float]:
        """Cosine distances between what was reused and what encoding gives, one per check."""
        pairs = [pair for pair in self.checks if self.rows.has(pair).all()]
        pictures = [self.rows.vectors(pair).astype(np.float32) for pair in pairs]
        return [1 - float(np.dot(own, reused)) for own, reused in pictures]

    def _segments(
        self, video_id: str, bounds: npt.NDArray[np.float64], shown_s: Sequence[float], row_of: Sequence[int]
    ) -> Segments | None:
        missing = np.flatnonzero(~self.rows.has(row_of))
        count = int(missing[0]) if len(missing) else len(row_of)
        if not count:
            return None
        row_of, bounds = row_of[:count], bounds[:count]
        columns = self.rows.columns(row_of)
        return Segments(
            segment_ids(video_id, count),
            np.full(count, video_id, object),
            bounds[:, 0],
            bounds[:, 1],
            np.maximum(0.0, np.array(shown_s[:count])),
            self.rows.vectors(row_of),
            {name: columns[:, i] for i, name in enumerate(self.kind.columns)},
            self.rows.labels(row_of),
        )

    def _append(self, time_s: float) -> None:
        last_s = max(0.0, self.times_s[-1]) if self.times_s else -math.inf
        if not last_s < time_s < math.inf:
            raise ValueError(f"a sample at {time_s} s after one at {last_s} s")
        if len(self.times_s) == 1 << ROW_BITS:
            raise ValueError(f"more than {1 << ROW_BITS} samples")
        self.times_s.append(time_s)

    def _one_more(self) -> int:
        self.expected += 1
        self.waiting += 1
        return self.expected - 1


@dataclass
class ClipTake(Take):
    """Clips of one video for one encoder; `times_s` are of the frames, and every clip has a row of its own."""

    starts_s: list[float] = field(default_factory=list)
    shown_s: list[float] = field(default_factory=list)
    repeated: list[int] = field(default_factory=list)
    _maker: ClipMaker | None = None

    def push(self, time_s: float, picture: Picture, source_px: tuple[int, int]) -> Iterator[tuple[int, Clip]]:
        """A sampled frame, copied; (index under which its row is to be `deliver`ed, clip) of clips now complete.

        Raises:
            ValueError: the time is not after the one before, or there are more samples than ids.
        """
        self._append(time_s)
        if self._maker is None:
            assert self.kind.plan is not None
            self._maker = ClipMaker(self.kind.plan, source_px)
        yield from self._expected(self._maker.push(time_s, picture.copy()))

    def finish(self, last_s: float, end_s: float | None) -> Iterator[tuple[int, Clip]]:
        """No frame comes any more: the clips that are left; for the arguments see `ClipMaker.finish`."""
        if self._maker is not None:
            yield from self._expected(self._maker.finish(last_s, end_s))
            self._maker = None  # and its pictures

    def segments(self, video_id: str, end_s: float) -> Segments | None:
        """(S, D): all clips up to the first without a row; None if there is none."""
        if self.kind.plan is None or not self.starts_s:
            return None
        bounds = clip_spans(self.starts_s, self.kind.plan.span_s, end_s)
        found = self._segments(video_id, bounds, self.shown_s, range(len(self.starts_s)))
        if found is not None:
            found.quality[REPEATED] = np.asarray(self.repeated[: len(found)], np.float32)
        return found

    def _expected(self, clips: Iterator[Clip]) -> Iterator[tuple[int, Clip]]:
        for clip in clips:
            self.starts_s.append(clip.start_s)
            self.shown_s.append(clip.shown_s)
            self.repeated.append(clip.repeated)
            yield self._one_more(), clip


def take_of(kind: Kind) -> Take:
    """A take of this kind, empty."""
    return ClipTake(kind) if kind.plan else Take(kind)
