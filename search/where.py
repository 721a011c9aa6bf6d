"""`--where` and `--sort`: which segments of an encoder pass an expression, and what another one is of each.

    scan = Scan(store, "clip", where="motion_px > 40 AND duration_s < 600")
    scan.ids()                      # (S,) int64, sorted: what the index and the moments are held to

Everything is read file by file without embeddings (`columns.py`), and DuckDB decides (`expression.py`). What is null or not
a number passes no comparison.

Cost: 50 ms for DuckDB, then 3 to 5 us a segment (100 000 in 100 files of 1000: 0.3 to 0.5 s); 8 bytes for each that passes.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..extract.store import Store
from .columns import Columns
from .expression import Expression, connect, one_line, parse

Ids = npt.NDArray[np.int64]
_SHOWN = ("segment_id", "video_id", "start_s", "end_s")
_NUMBERS = frozenset(
    "DOUBLE FLOAT DECIMAL TINYINT SMALLINT INTEGER BIGINT HUGEINT UTINYINT USMALLINT UINTEGER UBIGINT UHUGEINT".split()
)
_BATCH, _ROW = "nightreel's segments", "nightreel's row"  # no names that a column would have


@dataclass(frozen=True)
class Passing:
    """The S segments of one file that pass: their ids, videos, spans and (where something is sorted by) finite values."""

    segment_id: Ids
    video_id: npt.NDArray[np.object_]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    value: npt.NDArray[np.float64] | None

    def __len__(self) -> int:
        return len(self.segment_id)


class Scan:
    """Checked expressions over the segments of one encoder; each `passing` reads the archive anew.

    Args:
        where: which segments pass; None for all.    sort: a number of each; those without one do not pass.

    Raises:
        UsageError: an expression is not one, names a column that there is not, or is of the wrong type.
    """

    def __init__(self, store: Store, slug: str, where: str | None = None, sort: str | None = None) -> None:
        self._connection = connect()
        self._columns = Columns(store, slug)
        self.where = None if where is None else parse(self._connection, where, "--where")
        self.sort = None if sort is None else parse(self._connection, sort, "--sort")
        self._named = self._columns.named_by(e for e in (self.where, self.sort) if e)
        self._ranges: dict[str, tuple[float, float]] = {}
        self.seen = self.passed = 0  # segments, in the last scan
        self._check_types()

    def ids(self, video_id: str | None = None) -> Ids:
        """(S,) ids of the segments that pass, sorted; of one video only, if it is named."""
        parts = [batch.segment_id for batch in self.passing(video_id)]
        return np.sort(np.concatenate([np.zeros(0, np.int64), *parts]))

    def passing(self, video_id: str | None = None) -> Iterator[Passing]:
        """The segments that pass, in the archive's order; of one video only, if it is named."""
        self.seen, self.passed, self._ranges = 0, 0, {}
        passes = f"({self.where.sql})" if self.where else "true"
        value = f"CAST(({self.sort.sql}) AS DOUBLE)" if self.sort else "0.0"
        for rows in self._columns.read(self._named, video_id):
            self._note(rows)
            at, values = self._run(rows.append_column(_ROW, pa.array(np.arange(len(rows)))), passes, value)
            self.passed += len(at)
            if len(at):
                spans = {name: rows.column(name).to_numpy(zero_copy_only=False)[at] for name in _SHOWN}
                yield Passing(**spans, value=values if self.sort else None)

    def why_nothing(self) -> str:
        """After a scan from which nothing came: what the columns were like, for whoever wrote the expression."""
        asked = " ".join(f"{e.option} {e.text!r}" for e in (self.where, self.sort) if e)
        ranges = [
            f"{name} is unknown everywhere" if math.isnan(low) else f"{name} is {low:g} to {high:g}"
            for name, (low, high) in self._ranges.items()
        ]
        told = f" There, {', '.join(ranges)}." if ranges and self.seen else ""
        return f"none of {self.seen} segments passes {asked}.{told}"

    def _check_types(self) -> None:
        """Of no segments, so that what is wrong is said before anything is read."""
        nothing = self._columns.empty(self._named).append_column(_ROW, pa.array([], pa.int64()))
        for expression, wanted in ((self.where, "BOOLEAN"), (self.sort, "DOUBLE")):
            if expression is None:
                continue
            self._connection.register(_BATCH, nothing)
            got = self._bound(expression)
            self._connection.unregister(_BATCH)
            if wanted == "BOOLEAN" and got != wanted:
                raise expression.wrong(
                    f"expected what is true or false of a segment, for example 'luma > 40'; got {got}."
                )
            if wanted == "DOUBLE" and got.split("(")[0] not in _NUMBERS:
                raise expression.wrong(f"expected a number of each segment, for example motion_px; got {got}.")

    def _bound(self, expression: Expression) -> str:
        """The type of an expression, by DuckDB's name."""
        import duckdb

        try:
            described = self._connection.execute(f'DESCRIBE SELECT ({expression.sql}) AS it FROM "{_BATCH}"').fetchall()
            return str(described[0][1])
        except duckdb.Error as error:
            raise expression.wrong(f"{one_line(error)}") from error

    def _run(self, rows: pa.Table, passes: str, value: str) -> tuple[Ids, npt.NDArray[np.float64]]:
        """Rows that pass and have a value, in order, and the values."""
        import duckdb

        self._connection.register(_BATCH, rows)
        try:
            sql = f'SELECT "{_ROW}" AS at, {value} AS value FROM "{_BATCH}" WHERE {passes}'
            found = self._connection.execute(sql).fetchnumpy()
            at, values = np.asarray(found["at"], np.int64), np.ma.filled(found["value"], math.nan).astype(np.float64)
            order = np.argsort(at)  # DuckDB need not keep it
            order = order[np.isfinite(values[order])]
            return at[order], values[order]
        except (duckdb.Error, MemoryError) as error:
            expression = self.where or self.sort
            assert expression is not None
            raise expression.wrong(f"it fails on this archive's values: {one_line(error)}") from error
        finally:
            self._connection.unregister(_BATCH)

    def _note(self, rows: pa.Table) -> None:
        """Keep the range of every number that is named, for `why_nothing`."""
        self.seen += len(rows)
        columns = {name: rows.column(name) for name in self._named.alone}
        for table, group in self._named.of_table.items():
            columns |= {f"{table}.{column.name}": pc.struct_field(rows.column(table), column.name) for column in group}
        for name, column in columns.items():
            if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
                now = [math.nan if v is None else float(v) for v in pc.min_max(column).as_py().values()]
                before = self._ranges.get(name, (math.nan, math.nan))
                self._ranges[name] = (float(np.fmin(now[0], before[0])), float(np.fmax(now[1], before[1])))


def encoder_that_has(store: Store, encoders: list[str], where: str | None, sort: str | None) -> str | None:
    """Of several encoders the only one whose own segments have most of the columns that expressions name."""
    connection = connect()
    asked = [
        parse(connection, text, option) for text, option in ((where, "--where"), (sort, "--sort")) if text is not None
    ]
    names = {parts[0].lower() for expression in asked for parts in expression.names}
    counts = {slug: len(names & {name.lower() for name in Columns(store, slug).own}) for slug in encoders}
    best = [slug for slug, count in counts.items() if count == max(counts.values())]
    return best[0] if len(best) == 1 else None
