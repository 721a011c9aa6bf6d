"""The columns that `--where` and `--sort` may name, and segments read with those that were named, file by file.

A name alone means, in this order: a column of the searched encoder's segments; of the videos table (the user's own ones
too); a column that another encoder has (`motion_px` of a flow encoder while `clip` is searched), taken from the segment of
that encoder that is shown at the searched segment's `time_s`: the last that starts no later, if it has not ended. Where two
of them have it, or to mean another than the first, put the table before it: `videos.fps`, `"raft-raft_small".motion_px`.

What is not a number is null here, so that it passes no comparison (to SQL it is larger than everything).

Memory is one file of each encoder without its embeddings, and the named columns of all videos. Cost: 100 000 segments in
100 files 0.3 s with a column of their own, 0.5 s with one of another encoder (of one core).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..extract.commits import DataFile
from ..extract.encoders.spec import nearest
from ..extract.errors import Damaged
from ..extract.fingerprint import Fingerprint
from ..extract.heads.stored import head_of
from ..extract.segment import LABELS, LABELS_TYPE, segment_schema
from ..extract.store import SPANS, Store
from ..extract.videos import VIDEO_SCHEMA, VideoRow, encode_path
from .expression import Expression

SEGMENTS, VIDEOS = "segments", "videos"
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Column:
    """One column that was named; `table` is `segments`, `videos` or another encoder's slug."""

    table: str
    name: str


@dataclass
class Named:
    """What expressions name: columns by themselves (under the name that stands for them), and by their table's name."""

    alone: dict[str, Column] = field(default_factory=dict)
    of_table: dict[str, list[Column]] = field(default_factory=dict)

    @property
    def columns(self) -> list[Column]:
        """All of them, each once."""
        return list(dict.fromkeys([*self.alone.values(), *(c for group in self.of_table.values() for c in group)]))


class Columns:
    """What can be named when the segments of an encoder are searched; `own` are those of its own segments, with their types."""

    def __init__(self, store: Store, slug: str) -> None:
        self.store, self.slug = store, slug
        self._made: dict[str, pa.Array] = {}  # columns of the videos table that were asked for
        encoders = store.encoders()
        declared = segment_schema(int(encoders[slug]["dim"]))
        spans = {field.name: field.type for field in declared if field.name in SPANS}
        self.own = {**spans, **quality_types(encoders[slug])}
        self._others = {
            name: types
            for name, fingerprint in encoders.items()
            # a head's columns are its encoder's
            if name != slug
            and head_of(fingerprint) is None
            and store.video_ids(name)
            and (types := quality_types(fingerprint))
        }

    @cached_property
    def _rows(self) -> list[VideoRow]:
        return self.store.videos()

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {row.video_id: at for at, row in enumerate(self._rows)}

    @cached_property
    def _tables(self) -> dict[str, Collection[str]]:
        """Table -> its columns, in the order in which a name alone is looked for."""
        users = dict.fromkeys(name for row in self._rows for name in row.metadata)
        return {SEGMENTS: self.own, VIDEOS: [*VIDEO_SCHEMA.names, *users], **self._others}

    def _video_column(self, name: str) -> pa.Array:
        """(V,) a column of the videos table, as `rows_to_table` has it; a user's column of mixed types is text."""
        if name == "path":
            return pa.array([encode_path(row.path) for row in self._rows], pa.string())
        if name in VIDEO_SCHEMA.names:
            return pa.array([getattr(row, name) for row in self._rows], VIDEO_SCHEMA.field(name).type)
        values = [row.metadata.get(name) for row in self._rows]
        try:
            return pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.array([None if value is None else str(value) for value in values], pa.string())

    def _video_columns(self, names: Sequence[str]) -> pa.Table:
        for name in names:
            if name not in self._made:
                self._made[name] = self._video_column(name)
        return pa.table({name: self._made[name] for name in names})

    def named_by(self, expressions: Iterable[Expression]) -> Named:
        """The columns that expressions name.

        Raises:
            UsageError: one that there is not, or that two other encoders have.
        """
        named = Named()
        for expression in expressions:
            for parts in expression.names:
                self._find(expression, parts, named)
        return named

    def type_of(self, column: Column) -> pa.DataType:
        """Its Arrow type."""
        if column.table == VIDEOS:
            return self._video_columns([column.name]).field(0).type
        return {**self._others, SEGMENTS: self.own}[column.table][column.name]

    def _find(self, expression: Expression, parts: tuple[str, ...], named: Named) -> None:
        own = _spelled(parts[0], self.own)
        if own:  # asked first, so that the videos table need not be read for it
            named.alone[own] = Column(SEGMENTS, own)
            return
        tables = self._tables
        having = [Column(table, name) for table, names in tables.items() if (name := _spelled(parts[0], names))]
        if having and (len(having) == 1 or having[0].table == VIDEOS):
            named.alone[having[0].name] = having[0]
            return
        if having:
            choices = ", ".join(f'"{column.table}".{column.name}' for column in having)
            raise expression.wrong(f"several encoders have a column {parts[0]!r}; write one of {choices}.")
        table = _spelled(parts[0], tables)
        if table and len(parts) > 1:
            name = _spelled(parts[1], tables[table])
            if name:
                group = named.of_table.setdefault(table, [])
                group += [column for column in [Column(table, name)] if column not in group]
                return
            parts, tables = parts[1:], {table: tables[table]}
        raise expression.wrong(_unknown(parts[0], tables))

    # --- reading ------------------------------------------------------------------------------------------

    def read(self, named: Named, video_id: str | None = None) -> Iterator[pa.Table]:
        """The visible segments, one table per Parquet file, in the archive's order: the columns of `SPANS` and those that
        were named, under their names. No embeddings.

        Args:
            video_id: of this video only.
        """
        own = [column.name for column in named.columns if column.table == SEGMENTS]
        for file in self.store.state.files(self.slug):
            if video_id is None or self.store.state.rows[self.slug].get(video_id) is file:
                types = {name: self.own[name] for name in dict.fromkeys([*SPANS, *own])}
                rows = _read(self.store, file, types, video_id)
                if rows.num_rows:
                    yield self._with_named(rows, named)

    def empty(self, named: Named) -> pa.Table:
        """As `read`, of no segments."""
        spans = [column for column in (Column(SEGMENTS, name) for name in SPANS) if column.name not in named.alone]
        types = {column.name: self.type_of(column) for column in [*spans, *named.alone.values()]}
        for table, group in named.of_table.items():
            types[table] = pa.struct([(column.name, self.type_of(column)) for column in group])
        return pa.schema(list(types.items())).empty_table()

    def _with_named(self, rows: pa.Table, named: Named) -> pa.Table:
        values: dict[Column, pa.ChunkedArray] = {}
        for table in dict.fromkeys(column.table for column in named.columns):
            names = [column.name for column in named.columns if column.table == table]
            found = self._beside(rows, table, names)
            values |= {Column(table, name): _without_nan(found.column(name)) for name in names}
        spans = {name: rows.column(name) for name in SPANS}
        alone = {name: values[column] for name, column in named.alone.items()}
        structs = {
            table: pa.StructArray.from_arrays(
                [values[column].combine_chunks() for column in group], [column.name for column in group]
            )
            for table, group in named.of_table.items()
        }
        return pa.table({**spans, **alone, **structs})

    def _beside(self, rows: pa.Table, table: str, names: Sequence[str]) -> pa.Table:
        """These columns of another table, one row per row of `rows`; null where it has none."""
        if table == SEGMENTS:
            return rows
        ids = rows.column("video_id").to_numpy(zero_copy_only=False)
        if table == VIDEOS:
            return _take(self._video_columns(names), np.array([self._row_of.get(v, -1) for v in ids], np.int64))
        other = self._beside_of(table, list(dict.fromkeys(ids)), names)
        return _take(other.select(list(names)), covering(ids, rows.column("time_s").to_numpy(), other))

    def _beside_of(self, slug: str, video_ids: Sequence[str], names: Sequence[str]) -> pa.Table:
        """The segments that another encoder has of these videos, with `video_id`, `start_s`, `end_s` and columns `names`."""
        file_of, all_types = self.store.state.rows.get(slug, {}), {**self.own, **self._others[slug]}
        files = dict.fromkeys(file for v in video_ids if (file := file_of.get(v)) is not None)
        types = {name: all_types[name] for name in ("video_id", "start_s", "end_s", *names)}
        nothing = pa.schema(list(types.items())).empty_table()
        return pa.concat_tables([nothing, *(_read(self.store, file, types) for file in files)])


def quality_types(fingerprint: Fingerprint) -> dict[str, pa.DataType]:
    """The columns that an encoder's segments have besides the declared ones; none in archives made before they came."""
    said = fingerprint.get("columns")
    names = [name for name in said if isinstance(name, str)] if isinstance(said, list) else []
    types = {name: pa.float32() for name in names if name not in (*SPANS, "embedding", LABELS)}
    return {**types, LABELS: LABELS_TYPE} if fingerprint.get("labels") else types


def covering(video_ids: npt.NDArray[np.object_], times_s: npt.NDArray[np.float64], other: pa.Table) -> Rows:
    """(S,) the row of `other` (`video_id`, `start_s`, `end_s`) that is shown at each video's time, or -1.

    That is the last that starts no later than the time, if it has not ended by then (half-open, as all spans).
    """
    out = np.full(len(video_ids), -1, np.int64)
    if not other.num_rows:
        return out
    start, end = other.column("start_s").to_numpy(), other.column("end_s").to_numpy()
    rows_of = _rows_by_video(other.column("video_id").to_numpy(zero_copy_only=False))
    for video_id, rows in _rows_by_video(video_ids).items():
        theirs = rows_of.get(video_id)
        if theirs is not None:
            theirs = theirs[np.argsort(start[theirs], kind="stable")]
            at = np.searchsorted(start[theirs], times_s[rows], side="right") - 1
            found = theirs[np.maximum(at, 0)]
            out[rows] = np.where((at >= 0) & (times_s[rows] < end[found]), found, -1)
    return out


def _rows_by_video(video_ids: npt.NDArray[np.object_]) -> dict[str, Rows]:
    code_of = {v: code for code, v in enumerate(dict.fromkeys(video_ids))}
    codes = np.array([code_of[v] for v in video_ids], np.int64)
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.searchsorted(codes[order], np.arange(1, len(code_of))))
    return dict(zip(code_of, groups, strict=True))


def _read(store: Store, file: DataFile, types: Mapping[str, pa.DataType], video_id: str | None = None) -> pa.Table:
    """Columns of a committed file, only the rows that count; a column that it has not is null.

    Raises:
        Damaged: it is not the file that was committed, or a column is of another type than its encoder's features have.
    """
    # The store reads the columns that every file has, or all; these are some of those that encoders declare.
    table = store.read(file, list(types), None if video_id is None else file.videos.index(video_id))
    counts = store.state.rows[file.table]
    keep = {v for v in file.videos if counts.get(v) is file and video_id in (None, v)}
    if len(keep) < len(file.videos):
        table = table.filter(pc.is_in(table.column("video_id"), pa.array(list(keep), pa.string())))
    columns = {}
    for name, wanted in types.items():
        columns[name] = table.column(name) if name in table.column_names else pa.nulls(table.num_rows, wanted)
        if columns[name].type != wanted:
            raise Damaged(
                f"{file.path}: column {name} is {columns[name].type}, expected {wanted}.\n"
                "It is not the file that was committed. Restore it from a backup, or extract again."
            )
    return pa.table(columns)


def _take(table: pa.Table, rows: Rows) -> pa.Table:
    return table.take(pa.array(rows, mask=rows < 0))


def _without_nan(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if not pa.types.is_floating(column.type):
        return column
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)


def _spelled(name: str, known: Collection[str]) -> str | None:
    """The known name that is meant: as it is written, or else in other case, as in SQL."""
    return name if name in known else next((other for other in known if other.lower() == name.lower()), None)


def _unknown(name: str, tables: Mapping[str, Collection[str]]) -> str:
    known = list(dict.fromkeys(name for names in tables.values() for name in names))
    listed = "; ".join(f"{table}: {', '.join(names)}" for table, names in tables.items())
    return f"there is no column {name!r}.{nearest(name, reversed(known))} Columns of {listed}."
