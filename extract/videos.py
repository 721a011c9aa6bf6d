"""The videos table: one row per video with its outcome, its facts and, if it failed, why. Also: what identifies one.

A video is known by its content, so that a moved or renamed file is recognised and a copy is a duplicate.
"""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

VIDEO_SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),  # from content, see `video_id_of`
        pa.field("path", pa.string(), nullable=False),  # absolute, where it was last seen
        pa.field("size_bytes", pa.int64()),
        pa.field("mtime", pa.float64()),  # seconds since 1970
        pa.field("duration_s", pa.float64()),
        pa.field("width_px", pa.int32()),  # as displayed
        pa.field("height_px", pa.int32()),
        pa.field("rotation_deg", pa.int32()),
        pa.field("fps", pa.float64()),  # average
        pa.field("variable_fps", pa.bool_()),
        pa.field("codec", pa.string()),
        pa.field("frames_expected", pa.int64()),  # by the header
        pa.field("frames_decoded", pa.int64()),  # that came out of the decoder: only what samples depend on
        pa.field("decoder", pa.string()),  # pyav | pyav, all: WHY | decord; see `Attempt`
        pa.field("status", pa.string(), nullable=False),  # done | partial | failed
        pa.field("stage", pa.string()),  # open | decode | encode, where it failed
        pa.field("error_kind", pa.string()),  # one of errors.ERROR_KINDS
        pa.field("error", pa.string()),
        pa.field("attempts", pa.int32(), nullable=False),
    ]
)

LATER_COLUMNS = frozenset({"decoder"})  # archives made before these came are read all the same

_ENCODED = "nonutf8:"  # begins a path that `encode_path` had to change
_SAMPLE_BYTES = 1 << 20
_WHOLE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One row of the videos table (see `VIDEO_SCHEMA` for units); `metadata` holds the user's own columns."""

    video_id: str
    path: str
    status: str
    size_bytes: int | None = None
    mtime: float | None = None
    duration_s: float | None = None
    width_px: int | None = None
    height_px: int | None = None
    rotation_deg: int | None = None
    fps: float | None = None
    variable_fps: bool | None = None
    codec: str | None = None
    frames_expected: int | None = None
    frames_decoded: int = 0
    decoder: str | None = None
    stage: str | None = None
    error_kind: str | None = None
    error: str | None = None
    attempts: int = 1
    metadata: Mapping[str, Any] = field(default_factory=dict)


def rows_to_table(rows: Sequence[VideoRow]) -> pa.Table:
    """Rows as a table of `VIDEO_SCHEMA` plus the union of the user's columns (types as the user's file had them)."""
    plain = [{k: v for k, v in asdict(row).items() if k != "metadata"} for row in rows]
    for record in plain:  # Parquet strings are UTF-8; a file name need not be
        record["path"] = encode_path(record["path"])
    table = pa.Table.from_pylist(plain, schema=VIDEO_SCHEMA)
    names = dict.fromkeys(name for row in rows for name in row.metadata)
    for name in names:
        table = table.append_column(name, _column([row.metadata.get(name) for row in rows]))
    return table


def _column(values: list[Any]) -> pa.Array:
    """The user's values as one column; as text where two tables of theirs disagree on the type."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())


def table_to_rows(table: pa.Table) -> list[VideoRow]:
    """The inverse of `rows_to_table`."""
    own = {f.name for f in fields(VideoRow)} - {"metadata"}
    rows = []
    for record in table.to_pylist():
        metadata = {k: v for k, v in record.items() if k not in own and v is not None}
        record["path"] = decode_path(record["path"])
        rows.append(VideoRow(**{k: v for k, v in record.items() if k in own}, metadata=metadata))
    return rows


def encode_path(path: str) -> str:
    """A path as valid UTF-8: bytes that are not become `\\xNN`, and a backslash before them is doubled.

    Names that are UTF-8 already, nearly all, are left exactly as they are.
    """
    try:
        path.encode("utf-8")
        if not path.startswith(_ENCODED):
            return path
    except UnicodeEncodeError:
        pass
    raw = os.fsencode(path).replace(b"\\", b"\\\\")
    return _ENCODED + raw.decode("utf-8", "backslashreplace")


def decode_path(path: str) -> str:
    """The inverse of `encode_path`, so that the file can be opened again."""
    if not path.startswith(_ENCODED):
        return path
    text = path.removeprefix(_ENCODED)
    out = bytearray()
    i = 0
    while i < len(text):
        if text.startswith("\\x", i):
            out.append(int(text[i + 2 : i + 4], 16))
            i += 4
        elif text.startswith("\\\\", i):
            out += b"\\"
            i += 2
        else:
            out += text[i].encode("utf-8")
            i += 1
    return os.fsdecode(bytes(out))


def video_id_of(path: Path) -> str:
    """20 hex digits (80 bits) from a file's size and bytes: all of them up to 16 MiB, else 16 samples of 1 MiB.

    Reads at most 16 MiB, so 10 000 tape transfers take minutes, not days. What it does not see: a change of the
    same size in the middle of a large file; the run then notices the new modification time, finds the same id and
    treats the file as unchanged.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    facts = os.stat(path)
    if not stat.S_ISREG(facts.st_mode):
        raise OSError(f"{path} is not a regular file")
    digest = hashlib.blake2b(str(facts.st_size).encode(), digest_size=10)
    with open(path, "rb") as handle:
        if facts.st_size <= _WHOLE_BYTES:
            digest.update(handle.read())
        else:
            last = facts.st_size - _SAMPLE_BYTES
            for k in range(16):
                handle.seek(last * k // 15)
                digest.update(handle.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def id_of_unreadable(path: Path) -> str:
    """An id for a file whose content nobody can read: from its path, so that trying again replaces the row."""
    return hashlib.blake2b(b"path:" + os.fsencode(path), digest_size=10).hexdigest()
