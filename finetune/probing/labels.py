"""Labels of videos, or of spans of them: a table of the owner's, or a benchmark's list of classes.

    video,label                       .csv, .jsonl (one object a line) or .parquet; `path` may stand for `video`
    saturday.mp4,animals
    video,label,split,source,start_s,end_s          the further columns: each may be missing, or empty

`split` is what part of the work a row is for (see `probe_parts.py`), `source` the upload that a video was cut from, where its
name does not tell (`evaluate/splits.py`), `start_s` and `end_s` the half-open span in seconds that is labelled. Labels are
kept to the letter. A row that cannot be used is left out and listed with its line and the reason; a file without any good row
is an error.

`train=FILE` says that all of a file is of one split, as benchmarks publish it. It does not know which videos there are.

Costs 10 us a row.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...evaluate.readers import read_dataset
from ...evaluate.readers.files import bad
from ...evaluate.records import Labelled
from ...evaluate.runners.classification import plain
from ...extract.errors import UsageError
from ...search.query import seconds
from ..captions.tables import BadRow, Row, columns_of, table_rows

Span = tuple[float, float]
COLUMNS = ("video", "path", "label", "split", "source", "start_s", "end_s")


@dataclass(frozen=True, slots=True)
class Example:
    """One video, or a span of it, and its class.

    Attributes:
        record: the video as the file names it, its label, split and source.
        span: [start_s, end_s); None for the whole video.
    """

    record: Labelled
    span: Span | None = None


@dataclass(frozen=True)
class LabelFile:
    """What was read. Attributes:
    examples: each once, in the files' order.    bad: rows that were left out.    notes: what whoever reads figures must know.
    """

    examples: tuple[Example, ...]
    bad: tuple[BadRow, ...]
    notes: tuple[str, ...] = ()


def read_labels(words: Sequence[str], dataset: str | None = None, classes: Path | None = None) -> LabelFile:
    """The labels of one file, or of several.

    Args:
        words: `FILE`, or `SPLIT=FILE`, whose rows are all of that split.
        dataset: `kinetics`, `ucf`, `ssv2` or `list`, where the files are a benchmark's.    classes: its file of class names.

    Raises:
        UsageError: no file, one of another kind or without a column that is needed, or no good row in all of them.
    """
    if not words:
        raise UsageError("--labels: got none; expected a .csv, .jsonl or .parquet with the columns video and label.")
    if classes is not None and dataset is None:
        raise UsageError("--classes goes with --dataset; the tables of your own have the names of classes in them.")
    rows: list[tuple[str, Example | BadRow]] = []
    notes: list[str] = []
    for word in words:
        split, path = _split_of(word)
        if dataset is None:
            found = _table(path, notes)
        else:
            data = read_dataset("classification", dataset, path, classes=classes)
            notes += [str(source) for source in data.sources if source.notes]
            found = [(path.name, Example(record)) for record in data.labelled]
        rows += [(where, _of_split(where, one, split)) for where, one in found]
    read = each_once(rows)
    if not read.examples:
        few = "\n  ".join(map(str, read.bad[:5])) or "the files have no rows"
        raise UsageError(
            f"--labels {' '.join(words)}: no row can be used:\n  {few}\nExpected rows with a video and a label."
        )
    return replace(read, notes=(*notes, *_alike(example.record.label for example in read.examples)))


def _split_of(word: str) -> tuple[str | None, Path]:
    """`train=a.csv` -> (train, a.csv); a file whose name has a `=` is a file."""
    split, equals, name = word.partition("=")
    return (split, Path(name)) if equals and split and name and not Path(word).exists() else (None, Path(word))


def _of_split(where: str, one: "Example | BadRow | str", split: str | None) -> Example | BadRow:
    if isinstance(one, str):
        return BadRow(where, one)
    if isinstance(one, BadRow) or split is None:
        return one
    if one.record.split not in (None, split):
        return BadRow(where, f"its split is {one.record.split!r}, but the file was named as {split}=")
    return replace(one, record=replace(one.record, split=split))


def each_once(rows: Iterable[tuple[str, Example | BadRow]]) -> LabelFile:
    """Without rows that say again, or otherwise, what one above says."""
    kept: dict[tuple[str, Span | None], Example] = {}
    wrong: list[BadRow] = []
    for where, one in rows:
        if isinstance(one, BadRow):
            wrong.append(one)
            continue
        before = kept.setdefault((one.record.video, one.span), one)
        if before.record.label != one.record.label:
            wrong.append(BadRow(where, f"{one.record.video} stands above as {before.record.label!r}"))
        elif before.record.split != one.record.split:
            wrong.append(BadRow(where, f"{one.record.video} stands above in split {before.record.split!r}"))
        elif before is not one:
            wrong.append(BadRow(where, f"{one.record.video} stands above with the same label"))
    return LabelFile(tuple(kept.values()), tuple(wrong))


def _alike(labels: Iterable[str]) -> list[str]:
    """A note for each set of labels that differ only in case, blanks or `_`: they are different classes here."""
    spellings: dict[str, dict[str, None]] = {}
    for label in labels:
        spellings.setdefault(plain(label), {})[label] = None
    several = [list(names) for names in spellings.values() if len(names) > 1]
    return [f"{' and '.join(map(repr, names))} are different classes here; are they meant to be?" for names in several]


# --- rows ---------------------------------------------------------------------------------------------------


def _table(path: Path, notes: list[str]) -> list[tuple[str, Example | str]]:
    """(`FILE, line N`, the example, or why it is none) of a table; adds a note of columns that say nothing here.

    Raises:
        UsageError: another kind of file, or a column is missing.
    """
    rows = list(table_rows(path))
    names = columns_of(rows)
    if names and ("label" not in names or not {"video", "path"} & names.keys()):
        remedy = "A benchmark's own list goes with --dataset: kinetics, ucf, ssv2 or list."
        bad(path, "", f"columns {', '.join(names)}", "the columns `video` (or `path`) and `label`", remedy)
    unused = [name for name in names if name not in COLUMNS]
    if unused:
        notes.append(f"{path.name}: not used: the columns {', '.join(unused)}; known are {', '.join(COLUMNS)}.")
    return [(f"{path.name}, {where}", _example(row)) for where, row in rows]


def _example(row: Row | str) -> Example | str:
    """The row, or why it is none."""
    if isinstance(row, str):
        return row
    video = _text(row.get("video")) or _text(row.get("path"))
    label = _text(row.get("label"))
    if not video or not label:
        return f"no {'label' if video else 'video'}"
    span = _span(row)
    if isinstance(span, str):
        return span
    return Example(Labelled(video, label, _text(row.get("split")), _text(row.get("source"))), span)


def _text(value: object) -> str | None:
    """A cell as text without blanks around it; None where it says nothing. Numbers are names too."""
    if value is None or isinstance(value, list | dict) or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).encode("utf-8", "replace").decode().strip() or None  # half a surrogate pair is no text


def _span(row: Row) -> Span | str | None:
    start, end = _text(row.get("start_s")), _text(row.get("end_s"))
    if start is None and end is None:
        return None
    try:
        span = seconds(start or ""), seconds(end or "")
    except ValueError:
        return f"start_s {start!r} and end_s {end!r}, expected both, in seconds or h:mm:ss"
    if not span[0] < span[1] < math.inf:
        return f"start_s {start} and end_s {end}, expected start_s < end_s"
    return span
