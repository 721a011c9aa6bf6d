"""Charades-STA (Gao 2017): one span of one sentence per line, in home videos of half a minute.

    3MSZA 24.3 30.4##person turn a light on.

Source: `charades_sta_train.txt` (12 408 lines) and `charades_sta_test.txt` (3720) of the TALL project. The lengths are in
Charades' own tables, `Charades_v1_train.csv` and `Charades_v1_test.csv` (columns `id` and `length`).

Traps. Some spans end before they start or lie beyond the video (`spans.py`): without the table of lengths only the first
kind is seen. A few texts repeat within a video with different spans; each stays a query of its own, as in the field.
"""

from collections import Counter
from pathlib import Path

from ..records import Dataset, Query
from .files import Notes, bad, name_of, read_lines, read_rows
from .gather import finished, told
from .spans import duration_of, span_of

SHAPE = "`VIDEO START END##SENTENCE`, for example `3MSZA 24.3 30.4##person turn a light on.`"


def charades(path: Path, *, durations: Path | None = None) -> Dataset:
    """Queries with one span each; ids `3MSZA#0`, `3MSZA#1`... in the file's order.

    Args:
        durations: a Charades table with the columns `id` and `length` (seconds); spans are then cut to the video.

    Raises:
        UsageError: a line of another shape, or a video that the table of lengths does not name.
    """
    length_s = {} if durations is None else read_durations(durations)
    notes, queries, count = Notes(), list[Query](), Counter[str]()
    lines = read_lines(path)
    for number, line in lines:
        where = f"line {number}"
        head, marks, text = line.partition("##")
        if not marks or len(head.split()) != 3:
            bad(path, where, line, SHAPE)
        name, start, end = head.split()
        video = name_of(path, where, name)
        query_id = f"{video}#{count[video]}"
        count[video] += 1
        duration_s = length_s.get(video)
        if durations is not None and duration_s is None:
            bad(path, where, video, f"a video that {durations.name} names", "Give the table of the same split.")
        span = span_of(path, where, start, end, duration_s, notes)
        if span is None:
            continue
        queries += told(query_id, text, video, where, notes, spans=(span,), duration_s=duration_s)
    return finished("charades", path, queries, len(lines), notes)


def read_durations(path: Path) -> dict[str, float]:
    """Video -> seconds, from a table with the columns `id` and `length`."""
    return {
        name_of(path, where, row["id"]): duration_of(path, where, row["length"])
        for where, row in read_rows(path, ["id", "length"])
    }
