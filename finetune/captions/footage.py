"""The videos that pairs are of, without their frames: times, which frames can be used, and which clip lies over each.

    videos = read_footage(store, slug, {video_id: path}, sources, clips="videomae")
    low, high = frames_of(videos[0], 12.0, 18.5)            its frames whose middle lies in the span, at least the nearest one

It does not know captions.

Costs one read of the videos' features, to find vectors without a direction: 1 to 2 GB/s on one core.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ...evaluate.splits import source_of
from ...extract.heads.join import clips_over
from ...extract.segment import Segments
from ...extract.store import Store
from ...extract.vectors import Vectors

Halves = npt.NDArray[np.float16]
Rows = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]
Progress = Callable[[str, int, int], None]  # what, done, of


def silent(what: str, done: int, of: int) -> None:
    """A `Progress` that says nothing."""


class Stored(Protocol):
    """Where embeddings lie: `extract.vectors.Vectors`."""

    def of(self, video_id: str) -> Halves:
        """(T, D) float16 of a video, to read only."""
        ...


@dataclass(frozen=True)
class Footage:
    """One video that has pairs.

    Attributes:
        source: the upload that it was cut from.
        start_s, end_s: (T,) spans of its frames, in time order.
        there: (T,) which of them have a direction; None where all have.
        over: (T,) the clip over each frame, -1 for none; None without clip features.
    """

    video_id: str
    path: str
    source: str
    start_s: Seconds
    end_s: Seconds
    there: npt.NDArray[np.bool_] | None = None
    over: Rows | None = None


def frames_of(video: Footage, start_s: float | None, end_s: float | None) -> tuple[int, int] | str:
    """The frames [low, high) of a span, or why there are none.

    Those whose middle lies in `[start_s, end_s)`; where none does, the one whose middle is nearest to the span's. None is the
    video's own beginning or end.
    """
    last_s = float(video.end_s.max())
    begin_s, stop_s = 0.0 if start_s is None else start_s, last_s if end_s is None else end_s
    if begin_s >= last_s:
        return f"the span begins at {begin_s:g} s, after the last frame, which ends at {last_s:g} s"
    middle_s = (video.start_s + video.end_s) / 2
    low, high = (int(edge) for edge in np.searchsorted(middle_s, (begin_s, stop_s)))
    if start_s is None and end_s is None:
        low, high = 0, len(middle_s)
    if low == high:
        low = int(np.abs(middle_s - (begin_s + stop_s) / 2).argmin())
        high = low + 1
    if video.there is not None and not video.there[low:high].any():
        return "no frame of the span has a direction (all zero or not finite)"
    return low, high


def read_footage(
    store: Store,
    slug: str,
    wanted: Mapping[str, str],
    said: Mapping[str, str | None],
    clips: str | None = None,
    progress: Progress = silent,
) -> list[Footage]:
    """The wanted videos in the order of the files that they lie in, so that a batch maps each file once.

    Args:
        wanted: video id -> path.    said: video id -> source, where somebody says it.    clips: slug of the encoder of clips.

    Raises:
        Damaged: features cannot be read.
    """
    stored = Vectors(store, slug)
    joined = None if clips is None else _clips(store, clips, wanted)
    out: list[Footage] = []
    for video_id, times in _times(store, slug, wanted):
        path = wanted[video_id]
        over = None if joined is None else np.full(len(times), -1, np.int64)
        if joined is not None and video_id in joined:
            clip_times, usable = joined[video_id]
            over = clips_over(times.time_s, clip_times.start_s, clip_times.end_s)
            over[~usable[over]] = -1
        source, there = said.get(video_id) or source_of(path), directions(stored.of(video_id))
        out.append(Footage(video_id, path, source, times.start_s, times.end_s, None if there.all() else there, over))
        progress("frames", len(out), len(wanted))
    return out


def _clips(store: Store, slug: str, wanted: Mapping[str, str]) -> dict[str, tuple[Segments, npt.NDArray[np.bool_]]]:
    """Video id -> times of its clips, and which of them can be used."""
    stored = Vectors(store, slug)
    return {video_id: (times, directions(stored.of(video_id))) for video_id, times in _times(store, slug, wanted)}


def _times(store: Store, slug: str, wanted: Mapping[str, str]) -> list[tuple[str, Segments]]:
    """(video id, its segments without embeddings) of the wanted ones."""
    return [
        (str(segments.video_id[0]), segments)
        for batch in store.segments(slug, embeddings=False)
        for segments in batch.by_video()
        if str(segments.video_id[0]) in wanted
    ]


def directions(vectors: Halves) -> npt.NDArray[np.bool_]:
    """(T,) which vectors (T, D) are finite and not 0, as all are that `extract` writes."""
    # Read as integers, halves without their sign are in order: subnormal below 0x0400, infinite and NaN from 0x7c00 on.
    largest = (vectors.view(np.uint16) & 0x7FFF).max(axis=1, initial=0)
    return np.asarray((largest >= 0x0400) & (largest < 0x7C00))
