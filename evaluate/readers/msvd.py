"""MSVD, the Microsoft Research Video Description Corpus (Chen and Dolan 2011): 1970 short clips, about 40 captions each.

    VideoID,Start,End,WorkerID,Source,AnnotationTime,Language,Description        video_corpus.csv
    mv89psg6zh4,33,46,588702,unverified,55,English,A bird in a sink keeps getting under the running water.

    -4wsuPCjDBc_5_15 a squirrel is eating a peanut in it's shell                AllVideoDescriptions.txt

Traps. A clip's name is `VideoID_Start_End`. The csv speaks some 35 languages; only English counts, as in the field. The
txt begins with comment lines (`#`). Splits (1200/100/670) are lists of names in files of their own (`train_list.txt`),
which `Dataset.of_videos` takes. Several clips are cut from one upload. `raw-captions.pkl`, which CLIP4Clip distributes, is
a pickle: it is refused, for reading one runs what is in it.
"""

from collections import Counter
from pathlib import Path

from ..records import Dataset, Query
from .files import Notes, bad, name_of, number_of, read_lines, read_rows
from .gather import finished, told

FOREIGN = "captions left out: not in English"
NO_TIMES = "captions left out: Start or End is blank, so their clip has no name"


def msvd(path: Path) -> Dataset:
    """The csv or, for any other suffix, the lines; queries without spans, with the ids `VIDEO#0`, `VIDEO#1`...

    Raises:
        UsageError: the file is neither of the two.
    """
    notes, queries, entries = Notes(), list[Query](), 0
    count: Counter[str] = Counter()
    for where, video, text in _table(path, notes) if path.suffix.lower() == ".csv" else _lines(path):
        entries += 1
        if video is None:
            continue
        queries += told(f"{video}#{count[video]}", text, video, where, notes)
        count[video] += 1
    return finished("msvd", path, queries, entries, notes)


def _table(path: Path, notes: Notes) -> list[tuple[str, str | None, str]]:
    out: list[tuple[str, str | None, str]] = []
    for where, row in read_rows(path, ["VideoID", "Start", "End", "Language", "Description"]):
        if row["Language"].strip() != "English":
            notes.add(FOREIGN, where)
            out.append((where, None, ""))
            continue
        if not row["Start"].strip() or not row["End"].strip():
            notes.add(NO_TIMES, where)
            out.append((where, None, ""))
            continue
        start, end = (number_of(path, where, row[column], column) for column in ("Start", "End"))
        out.append((where, f"{name_of(path, where, row['VideoID'])}_{start:.0f}_{end:.0f}", row["Description"]))
    return out


def _lines(path: Path) -> list[tuple[str, str | None, str]]:
    out: list[tuple[str, str | None, str]] = []
    for number, line in read_lines(path):
        if line.startswith("#"):
            continue
        video, _, text = line.strip().partition(" ")
        if not text or video[0] in '{["<':
            bad(path, f"line {number}", line, "`VIDEO CAPTION`, for example `-4wsuPCjDBc_5_15 a squirrel eats`")
        out.append((f"line {number}", name_of(path, f"line {number}", video), text))
    return out
