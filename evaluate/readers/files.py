"""Annotation files as lines, table rows or JSON, with errors that name the place; the ground under every reader.

UTF-8 with or without a byte order mark, lines that end in LF or CRLF. Content is data: nothing is ever unpickled or
evaluated. A file is read whole: the largest lists (Kinetics-700, 650 000 rows) are 40 MB.
"""

import csv
import io
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ...extract.errors import UsageError
from ...extract.inputs import SUFFIXES
from ..records import Note, bare_name

Row = dict[str, str]
Entry = dict[str, Any]

PICKLES = frozenset({".pkl", ".pickle", ".p"})


class Notes:
    """What a reader leaves out or corrects, counted by its words while it reads."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, what: str, where: str) -> None:
        """Count one more of `what`."""
        self._counts[what] += 1
        self._first.setdefault(what, where)

    def taken(self) -> tuple[Note, ...]:
        """All of them, in the order in which they first came."""
        return tuple(Note(what, self._counts[what], where) for what, where in self._first.items())


def bad(path: Path, where: str, got: object, expected: str, remedy: str = "") -> NoReturn:
    """Raise the error that names the place: `FILE, line 17: got X; expected Y.` and a remedy on a line of its own."""
    told = repr(got) if not isinstance(got, str) or "\n" in got or not got else got
    told = told if len(told) <= 120 else told[:117] + "..."
    raise UsageError(
        f"{path}{', ' if where else ''}{where}: got {told}; expected {expected}." + (f"\n{remedy}" if remedy else "")
    )


def read_text(path: Path) -> str:
    """The file's text.

    Raises:
        UsageError: no such file, packed, a pickle, or not UTF-8.
    """
    if path.suffix.lower() in PICKLES:
        bad(path, "", "a pickle", "a text file", _PICKLE_REMEDY)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); expected a text file.") from error
    if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        bad(path, "", "a pickle", "a text file", _PICKLE_REMEDY)
    if content[:2] in (b"PK", b"\x1f\x8b") or content[:3] == b"BZh":
        bad(path, "", "a packed file", "a text file", "Unpack it and name the annotation file inside.")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        bad(path, "", "UTF-16 text", "UTF-8 text", f"Convert it: iconv -f UTF-16 -t UTF-8 {path.name}")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        bad(path, f"line {line}", f"the byte 0x{content[error.start]:02x}", "UTF-8 text", "Save the file as UTF-8.")


_PICKLE_REMEDY = (
    "A pickle runs the code inside it when it is read, so Nightreel reads none. Export it as text: one line per caption,\n"
    "`VIDEO CAPTION`, is read as MSVD's AllVideoDescriptions.txt is (`--dataset msvd`)."
)


def read_lines(path: Path) -> list[tuple[int, str]]:
    """(line number from 1, text without its end) of every line that is not blank."""
    # Not splitlines(): it also breaks at U+2028 and the like, which captions contain.
    lines = read_text(path).split("\n")
    return [(number, line.rstrip("\r")) for number, line in enumerate(lines, 1) if line.strip()]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """(`line N`, row) of a comma-separated table with a header that has at least these columns.

    Raises:
        UsageError: a column is missing, a row has more or fewer cells than the header, or quotes do not close.
    """
    # A quoted cell may hold line ends. Quotes that never close swallow the rest of the file, `_END` with it.
    text = io.StringIO(read_text(path) + "\n", newline="")
    reader = csv.reader(itertools.chain(text, [_END]))
    try:
        header = [name.strip() for name in next(reader)]
        missing = [name for name in columns if name not in header]
        if missing:
            bad(path, "line 1", ",".join(header), f"a header with the column {missing[0]} (of {', '.join(columns)})")
        line = reader.line_num
        for row in reader:
            where, line = f"line {line + 1}", reader.line_num
            if row == [_END] or not row:
                continue
            if _END in row[-1]:
                bad(path, where, "a double quote that never closes", "double quotes in pairs")
            if len(row) != len(header):
                remedy = "A text with a comma in it must stand in double quotes."
                bad(path, where, f"{len(row)} cells", f"{len(header)}, as in the header", remedy)
            yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        bad(path, f"line {reader.line_num}", str(error), "a comma-separated table", "Check the double quotes.")


_END = "\0the end"


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        UsageError: not JSON; the place is named.
    """
    return _parsed(path, read_text(path), 1)


def read_jsonl(path: Path) -> Iterator[tuple[str, Entry]]:
    """(`line N`, object) of a file with one JSON object per line."""
    for number, line in read_lines(path):
        entry = _parsed(path, line, number)
        if not isinstance(entry, dict):
            remedy = f"A JSON list becomes such a file by: jq -c '.[]' {path.name}" if isinstance(entry, list) else ""
            bad(path, f"line {number}", line, "one JSON object per line", remedy)
        yield f"line {number}", entry


def _parsed(path: Path, text: str, line: int) -> Any:
    def no_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        at = f"line {line + error.lineno - 1}, column {error.colno}"
        bad(path, at, text[error.pos : error.pos + 20] or "the end of the file", f"JSON ({error.msg})")
    except (ValueError, RecursionError) as error:
        bad(path, "" if line == 1 else f"line {line}", str(error), "JSON")


def entry_of(path: Path, where: str, value: Any) -> Entry:
    """The value, which must be a JSON object."""
    if not isinstance(value, dict):
        bad(path, where, value, 'a JSON object {"...": ...}')
    return value


def list_of(path: Path, where: str, entry: Mapping[str, Any], key: str) -> list[Any]:
    """The list under a key."""
    value = entry.get(key)
    if not isinstance(value, list):
        bad(path, where, value, f"a list under {key!r}; keys here: {', '.join(map(str, list(entry)[:8]))}")
    return value


def text_of(path: Path, where: str, entry: Mapping[str, Any], key: str) -> str:
    """The text under a key, stripped; a whole number counts as its digits (ids are written both ways). May be blank."""
    value = entry.get(key)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        bad(path, where, value, f"a text under {key!r}; keys here: {', '.join(map(str, list(entry)[:8]))}")
    return value.strip()


def id_of(path: Path, where: str, entry: Mapping[str, Any], key: str) -> str:
    """The text under a key, which must not be blank."""
    value = text_of(path, where, entry, key)
    if not value:
        bad(path, where, value, f"an id under {key!r}")
    return value


def number_of(path: Path, where: str, value: Any, what: str) -> float:
    """A finite number, given as one or as text (a table's cell)."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        bad(path, where, value, f"a number ({what})")
    return number


def name_of(path: Path, where: str, value: str) -> str:
    """The bare name of a video, which must not be blank."""
    name = bare_name(value)
    if not name:
        bad(path, where, value, "the name of a video")
    return name


def read_names(path: Path) -> list[str]:
    """Videos as they are written, each once, in order: how splits are published as lists.

    One per line, with or without a folder and a class number behind (`train_list.txt` of MSVD and DiDeMo, lists of UCF101),
    or the column `video`, `video_id` or `path` of a csv (`MSRVTT_train.9k.csv`, pairs to train with).

    Raises:
        UsageError: no such column, a name is blank, there is none, or it is an annotation file of another kind.
    """
    if path.suffix.lower() == ".csv":
        rows = list(read_rows(path, []))
        column = next((name for name in NAME_COLUMNS if rows and name in rows[0][1]), None)
        if column is None:
            got = ",".join(rows[0][1]) if rows else "no row"
            bad(path, "", got, f"a header with the column {' or '.join(NAME_COLUMNS)}, and rows")
        told = [(where, row[column]) for where, row in rows]
    else:
        told = [(f"line {number}", line) for number, line in read_lines(path)]
    names: dict[str, None] = {}
    for where, text in told:
        if _NO_NAME.search(text):
            bad(path, where, text, "the name of a video", "Name a list with one video per line, or a csv of videos.")
        numbered = _NUMBERED.fullmatch(text.strip())
        name = numbered["path"] if numbered and Path(numbered["path"]).suffix.lower() in SUFFIXES else text.strip()
        name_of(path, where, name)
        names[name] = None
    if not names:
        bad(path, "", "an empty file", "one video per line")
    return list(names)


NAME_COLUMNS = ("video", "video_id", "path")
_NUMBERED = re.compile(r"(?P<path>.*\S)[\s,]+\d{1,9}")
_NO_NAME = re.compile(r"^\s*[\[{]\s*($|[\[{\"])|^\S+ [\d.]+ [\d.]+\s*##")  # JSON, Charades-STA
