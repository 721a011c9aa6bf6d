"""DiDeMo (Hendricks 2017): moments of Flickr videos in chunks of five seconds, each marked by several people.

    [{"annotation_id": 1, "video": "12345@N00_6789_abc.mov", "description": "the dog jumps", "times": [[1, 1], [1, 2]],
      "num_segments": 6, ...}]

Source: `train_data.json`, `val_data.json`, `test_data.json` of LocalizingMoments; chunk (a, b) is [5 a, 5 (b + 1)) seconds.

Traps. Chunks count from 0 and both ends are included. The last chunk is shorter than 5 s where the video is, and the file
does not say how long videos are: cut spans with the length of the file at hand. Videos were annotated for their first 30
seconds only. DiDeMo's own metric ranks 21 chunk spans and takes the best three of four people; here the moment is the one
span that agrees best with all people (the highest mean IoU, then the earlier, then the shorter), for R@K over free spans.
CLIP4Clip takes the mean of the ends instead. Names end in a suffix, which downloads double or change.
"""

from pathlib import Path

from ..records import Dataset, Query
from .files import Notes, bad, entry_of, id_of, list_of, name_of, read_json, text_of
from .gather import finished, told
from .spans import EMPTY, pair_of

CHUNK_S = 5.0
CHUNKS = 720  # an hour; the benchmark itself has six
Chunks = tuple[int, int]  # first and last, both included
Marked = tuple[str, str, str, str, list[Chunks]]  # where, annotation_id, video, description, chunks per person


def didemo(path: Path) -> Dataset:
    """Queries with one span each; ids are the annotation ids.

    Raises:
        UsageError: the file is of another shape.
    """
    notes, queries = Notes(), list[Query]()
    entries = _entries(path)
    for where, query_id, video, text, marks in entries:
        right = [(first, last) for first, last in marks if first <= last]
        if not right:
            notes.add(EMPTY, where)
            continue
        first, last = agreed(right)
        span = (first * CHUNK_S, (last + 1) * CHUNK_S)
        queries += told(query_id, text, video, where, notes, spans=(span,))
    return finished("didemo", path, queries, len(entries), notes)


def didemo_paragraphs(path: Path) -> Dataset:
    """One query per video, without spans: all its descriptions in the file's order, joined; its id is the video.

    Raises:
        UsageError: the file is of another shape.
    """
    notes, entries = Notes(), _entries(path)
    first: dict[str, str] = {}
    texts: dict[str, list[str]] = {}
    for where, _, video, text, _ in entries:
        first.setdefault(video, where)
        texts.setdefault(video, []).extend([text] if text else [])
    queries = [
        query for video, said in texts.items() for query in told(video, " ".join(said), video, first[video], notes)
    ]
    return finished("didemo", path, queries, len(entries), notes)


def agreed(marks: list[Chunks]) -> Chunks:
    """Of the people's spans (first chunk, last chunk), the one with the highest mean IoU with all of them."""

    def order(one: Chunks) -> tuple[float, int, int]:
        return (-sum(_iou(one, other) for other in marks), one[0], one[1])

    return min(marks, key=order)


def _iou(one: Chunks, other: Chunks) -> float:
    shared = max(0, min(one[1], other[1]) + 1 - max(one[0], other[0]))
    return shared / (one[1] - one[0] + other[1] - other[0] + 2 - shared)


def _entries(path: Path) -> list[Marked]:
    content = read_json(path)
    if not isinstance(content, list):
        bad(path, "", content, "a JSON list of annotations")
    out: list[Marked] = []
    for number, value in enumerate(content):
        where = f"entry {number}"
        entry = entry_of(path, where, value)
        marks = [pair_of(path, where, mark) for mark in list_of(path, where, entry, "times")]
        for mark in marks:
            if not all(type(end) is int and 0 <= end < CHUNKS for end in mark):
                bad(path, where, list(mark), "chunk numbers [first, last] from 0 under 'times'")
        video = name_of(path, where, text_of(path, where, entry, "video"))
        query_id = id_of(path, where, entry, "annotation_id")
        out.append((where, query_id, video, text_of(path, where, entry, "description"), marks))
    return out
