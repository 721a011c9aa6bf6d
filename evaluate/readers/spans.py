"""Annotated spans that are not spans: what becomes of ends before starts and of times beyond the video.

Charades-STA and ActivityNet Captions both have them. The field's loaders differ: 2D-TAN's cuts at the video's end and
drops what is then empty, others keep all of it. Here they are cut and dropped as there, and every one is counted in the
notes, so that nobody compares 3716 queries with a paper's 3720 unseen.
"""

from pathlib import Path
from typing import Any

from ..records import Span
from .files import Notes, bad, number_of

EMPTY = "spans left out: the end is not after the start"
OUTSIDE = "spans left out: outside the video"
CUT = "spans cut at the video's end"
BEFORE = "spans cut at 0 s: the start is before the video's"


def span_of(
    path: Path, where: str, start: Any, end: Any, duration_s: float | None, notes: Notes, per_s: float = 1.0
) -> Span | None:
    """The half-open span in seconds, cut to the video, or None where nothing is left; both are noted.

    Args:
        start, end: as the file has them, numbers or their text.    per_s: how many of their units (frames) a second has.

    Raises:
        UsageError: not finite numbers.
    """
    start_s, end_s = number_of(path, where, start, "start") / per_s, number_of(path, where, end, "end") / per_s
    if end_s <= start_s:
        notes.add(EMPTY, where)
        return None
    if end_s <= 0 or (duration_s is not None and start_s >= duration_s):
        notes.add(OUTSIDE, where)
        return None
    if start_s < 0:
        notes.add(BEFORE, where)
        start_s = 0.0
    if duration_s is not None and end_s > duration_s:
        notes.add(CUT, where)
        end_s = duration_s
    return start_s, end_s


def pair_of(path: Path, where: str, value: Any) -> tuple[Any, Any]:
    """The two ends of a JSON list `[start, end]`."""
    if not isinstance(value, list) or len(value) != 2:
        bad(path, where, value, "a span [start, end]")
    return value[0], value[1]


def duration_of(path: Path, where: str, value: Any) -> float:
    """A video's length in seconds, above 0."""
    duration_s = number_of(path, where, value, "the video's duration in seconds")
    if duration_s <= 0:
        bad(path, where, value, "a duration above 0 seconds")
    return duration_s
