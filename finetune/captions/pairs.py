"""Captions of videos, or of spans of them: the owner's own table, or a benchmark's annotation file.

    video,start_s,end_s,caption       .csv, .tsv, .jsonl (one object a line) or .parquet
    saturday.mp4,12,18.5,grandma waters the tomatoes
    saturday.mp4,,,a day in the garden
    saturday.mp4,0:01:15,0:01:20,the dog digs

Only `video` (or `path`, or `video_id`) and `caption` must be there. Times are seconds or h:mm:ss; without them the caption is
of the whole video, with one of them of all after, or before, it. Further columns: `split` (train, val, test), `source` (the
upload that the video was cut from, where its name does not tell), `weight` (how much the pair counts, 1 unless told). Any
other column is an error: `start` instead of `start_s` would train on whole videos, unseen.

A row that cannot be used is left out and listed with its line and the reason; where most are, the file is not what it was
taken for, and that is an error. It does not know which videos there are (`examples.py`).

Costs 30 us a row.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...evaluate.readers import READERS, read_dataset
from ...evaluate.readers.files import NAME_COLUMNS, bad
from ...evaluate.records import Query
from ...extract.errors import UsageError
from ...search.query import seconds
from .tables import BadRow, Row, columns_of, table_rows

COLUMNS = ("start_s", "end_s", "caption", "split", "source", "weight")
SHOWN = 5  # bad rows in a message
MOST_BAD = 0.5  # of the rows; with more, the file is of another kind


@dataclass(frozen=True, slots=True)
class Pair:
    """A caption and what it is of.

    Attributes:
        video: as the file names it: a path, a file's name with or without its suffix, or an id.
        start_s, end_s: half-open span in seconds; None for the video's own beginning or end.
        caption: not blank.
        split: `train`, `val`, `test` or what the file calls it; None where it does not say.
        source: the upload that the video was cut from, where the file says it.
        weight: of its loss, above 0; below 1 for weak captions, such as subtitles.
        line: where it stands: `FILE, line 7`.
    """

    video: str
    start_s: float | None
    end_s: float | None
    caption: str
    split: str | None = None
    source: str | None = None
    weight: float = 1.0
    line: str = ""

    @property
    def weak(self) -> bool:
        """Whether nobody wrote it as a caption; such pairs train, but do not validate."""
        return self.weight < 1


@dataclass(frozen=True)
class Pairs:
    """What was read.

    Attributes:
        pairs: in the files' order, each once.    bad: rows that were left out.
        repeated: rows left out because the same stands above.    notes: what a reader of benchmarks left out or corrected.
    """

    pairs: tuple[Pair, ...]
    bad: tuple[BadRow, ...] = ()
    repeated: int = 0
    notes: tuple[str, ...] = ()

    def __add__(self, other: "Pairs") -> "Pairs":
        """Both, each pair once; of two that are the same, the first counts."""
        both = _each_once((*self.pairs, *other.pairs))
        bad = (*self.bad, *other.bad, *both.bad)
        return Pairs(both.pairs, bad, self.repeated + other.repeated + both.repeated, (*self.notes, *other.notes))


def read_pairs(path: Path, dataset: str | None = None, **options: Path | None) -> Pairs:
    """The pairs of one file.

    Args:
        dataset: a benchmark of `evaluate` whose annotation file this is: `charades`, `msrvtt`, ... Where it is read for both
            grounding and retrieval, by its sentences with spans; each span of a sentence is a pair.
        options: the further files that its reader takes (`evaluate.readers.options_of`).

    Raises:
        UsageError: no such file or benchmark, a column that is missing or not known, no row, or most rows bad.
    """
    read = _of_table(path) if dataset is None else _of_dataset(path, dataset, options)
    rows = len(read.pairs) + len(read.bad) + read.repeated
    if not read.pairs or len(read.bad) > MOST_BAD * rows:
        few = "\n  ".join(map(str, read.bad[:SHOWN])) or "it has no rows"
        more = f"\n  ... and {len(read.bad) - SHOWN} more" if len(read.bad) > SHOWN else ""
        raise UsageError(
            f"{path}: {len(read.bad)} of {rows} rows cannot be used:\n  {few}{more}\n"
            "Expected a video and a caption in each, and a span or none: start_s and end_s in seconds or h:mm:ss."
        )
    return read


# --- benchmarks ---------------------------------------------------------------------------------------------


def _of_dataset(path: Path, name: str, options: Mapping[str, Path | None]) -> Pairs:
    task = "grounding" if name in READERS["grounding"] else "retrieval"
    if name not in READERS[task]:
        known = sorted({*READERS["grounding"], *READERS["retrieval"]})
        raise UsageError(f"no such dataset with captions: {name}; expected one of {', '.join(known)}.")
    data = read_dataset(task, name, path, **options)
    read = _each_once(pair for query in data.queries for pair in _spans(query, f"{path.name}, {query.query_id}"))
    return replace(read, notes=tuple(str(source) for source in data.sources if source.notes))


def _spans(query: Query, line: str) -> list[Pair]:
    return [
        Pair(query.video, start_s, end_s, query.text, query.split, query.source, line=line)
        for start_s, end_s in query.spans or ((None, None),)
    ]


# --- tables -------------------------------------------------------------------------------------------------


def _of_table(path: Path) -> Pairs:
    rows = list(table_rows(path))
    if not rows:
        bad(path, "", "no rows", f"the columns video and caption, and of {', '.join(COLUMNS)} what is known")
    video = _check_columns(path, rows)
    return _each_once(_pair(row, video, f"{path.name}, {where}") for where, row in rows)


def _check_columns(path: Path, rows: Sequence[tuple[str, Row | str]]) -> str:
    """The name of the column of videos."""
    first = columns_of(rows)
    if not first:
        return NAME_COLUMNS[0]  # no row is one: each says why
    expected = f"the columns video and caption, and any of {', '.join(c for c in COLUMNS if c != 'caption')}"
    videos = [name for name in NAME_COLUMNS if name in first]
    if len(videos) != 1 or "caption" not in first:
        bad(path, "", f"columns {', '.join(first)}", expected)
    unknown = [name for name in first if name not in (*COLUMNS, videos[0])]
    if unknown:
        remedy = "Rename what is one of these, and remove what is not: what a column means is not guessed."
        bad(path, first[unknown[0]], f"the column {unknown[0]!r}", expected, remedy)
    return videos[0]


def _pair(row: Row | str, video: str, line: str) -> Pair | BadRow:
    if isinstance(row, str):
        return BadRow(line, row)
    name, caption = _text(row.get(video)), _text(row.get("caption"))
    if not name or not caption:
        return BadRow(line, "no caption" if name else "no video")
    try:
        start_s, end_s = _seconds("start_s", row.get("start_s")), _seconds("end_s", row.get("end_s"))
        weight = _number("weight", row.get("weight"))
    except ValueError as error:
        return BadRow(line, str(error))
    if start_s is not None and end_s is not None and not start_s < end_s:
        return BadRow(line, f"start_s {start_s:g} and end_s {end_s:g}, expected the start before the end")
    if end_s == 0:
        return BadRow(line, "end_s 0, expected a span that is not empty")
    if weight is not None and not weight > 0:
        return BadRow(line, f"weight {weight:g}, expected a number above 0")
    split, source = _text(row.get("split")), _text(row.get("source"))
    caption = " ".join(caption.split())
    return Pair(name, start_s, end_s, caption, split, source, 1.0 if weight is None else weight, line)


def _text(value: object) -> str | None:
    """A cell as text without blanks around it; None where it says nothing. Numbers are names too."""
    if value is None or isinstance(value, list | dict) or (isinstance(value, float) and math.isnan(value)):
        return None
    text = str(value).encode("utf-8", "replace").decode()  # half a surrogate pair, as \ud800 in JSON, is no text
    return text.strip() or None


def _seconds(name: str, value: object) -> float | None:
    """A cell as seconds, 0 or more; None where it is empty. ValueError for anything else."""
    text = _text(value)
    if isinstance(value, str) and text is not None and ":" in text:
        try:
            return seconds(text)
        except ValueError as error:
            raise ValueError(f"{name} {text!r}, expected seconds or h:mm:ss") from error
    number = _number(name, value)
    if number is not None and number < 0:
        raise ValueError(f"{name} {number:g}, expected 0 or more seconds")
    return number


def _number(name: str, value: object) -> float | None:
    """A cell as a finite number; None where it is empty. ValueError for anything else, NaN too."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{name} {str(value)[:40]!r}, expected a number")
    return number


def _each_once(rows: Iterable[Pair | BadRow]) -> Pairs:
    """Without rows that say again what one above says."""
    kept: dict[tuple[object, ...], Pair] = {}
    wrong: list[BadRow] = []
    repeated = 0
    for one in rows:
        if isinstance(one, BadRow):
            wrong.append(one)
            continue
        before = kept.setdefault((one.video, one.start_s, one.end_s, one.caption), one)
        if before.split != one.split:
            wrong.append(BadRow(one.line, f"the same pair stands above in split {before.split!r}"))
        elif before is not one:
            repeated += 1
    return Pairs(tuple(kept.values()), tuple(wrong), repeated)
