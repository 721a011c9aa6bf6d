"""Rows of a table that a person wrote, one at a time, so that a bad row is listed and the others are used.

    for where, row in table_rows(Path("pairs.csv")):      row is a mapping, or the words that say why it is none

`.csv` and `.tsv` with a header, `.jsonl` with one object a line, `.parquet`. What the columns mean is not known here, only
which names there are (`columns_of`). Text is UTF-8, with a byte order mark or without.

Costs 4 us a row of csv, 6 of JSON lines.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...evaluate.readers.files import bad, read_lines, read_text
from ...extract.inputs import read_table

Row = Mapping[str, Any]

SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out.

    Attributes:
        line: `FILE, line 7`.    reason: why, in words.
    """

    line: str
    reason: str

    def __str__(self) -> str:
        return f"{self.line}: {self.reason}"


def table_rows(path: Path) -> Iterator[tuple[str, Row | str]]:
    """(`line N` or `row N`, the row, or what is wrong with it).

    Raises:
        UsageError: another kind of file, not there, not UTF-8, or quotes that do not close.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        bad(path, "", f"a file that ends in {path.suffix or 'nothing'}", f"one of {', '.join(SUFFIXES)}")
    if kind == ".jsonl":
        return ((f"line {number}", _object(line)) for number, line in read_lines(path))
    if kind == ".parquet":
        return ((f"row {number}", row) for number, row in enumerate(read_table(path).to_pylist(), 1))
    return _cells(path, "\t" if kind == ".tsv" else ",")


def columns_of(rows: Sequence[tuple[str, Row | str]]) -> dict[str, str]:
    """Name -> where it stands first, over all rows that are rows."""
    out: dict[str, str] = {}
    for where, row in rows:
        for name in row if isinstance(row, Mapping) else ():
            out.setdefault(str(name), where)
    return out


def _object(line: str) -> Row | str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({error})"
    return value if isinstance(value, dict) else f"a JSON {type(value).__name__}, expected an object"


def _cells(path: Path, delimiter: str) -> Iterator[tuple[str, Row | str]]:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if len(set(header)) < len(header):
            bad(path, "line 1", delimiter.join(header), "a header in which every column has a name of its own")
        line = reader.line_num
        for cells in reader:
            where, line = f"line {line + 1}", reader.line_num
            if len(cells) == len(header):
                yield where, dict(zip(header, cells, strict=True))
            elif cells:
                yield (
                    where,
                    f"{len(cells)} cells, the header has {len(header)}; a text with {delimiter!r} needs double quotes",
                )
    except csv.Error as error:
        bad(path, f"line {reader.line_num}", str(error), "a table in text", "Check the double quotes.")
