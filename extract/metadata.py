"""The user's own columns (`--metadata table.csv`): joined to videos by path, kept in the videos table."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

from .errors import UsageError
from .inputs import path_column, read_table
from .videos import VIDEO_SCHEMA

Metadata = dict[str, dict[str, Any]]


def read_metadata(path: Path) -> Metadata:
    """Rows by every name a video may be found under: its absolute path (in the table absolute or relative to the
    table's folder), and the bare file name where no file is at that path and no other row has the name.

    Raises:
        UsageError: no `path` column, a column that the videos table already has, or one video named twice.
    """
    table = read_table(path)
    names = path_column(table, path)
    key = "path" if "path" in table.column_names else "video"
    clash = sorted((set(table.column_names) - {key}) & set(VIDEO_SCHEMA.names))
    if clash:
        raise UsageError(
            f"{path}: column {clash[0]!r} is one of the archive's own; rename it, for example my_{clash[0]}."
        )
    absolute = [os.path.abspath(path.parent / name) for name in names]  # ./a.mp4 and a.mp4 are one video
    twice = [(name, count) for name, count in Counter(absolute).items() if count > 1]
    if twice:
        raise UsageError(f"{path}: {twice[0][0]} has {twice[0][1]} rows; expected one row per video.")
    # An empty cell says nothing, and is not stored: so a row that comes back from the archive compares equal.
    rows = [{k: v for k, v in record.items() if k != key and v is not None} for record in table.to_pylist()]
    bare = Counter(Path(name).name for name in names)
    found: Metadata = {}
    for name, where, row in zip(names, absolute, rows, strict=True):
        found[where] = row
        if bare[Path(name).name] == 1 and not os.path.lexists(where):  # else it means that file and no namesake
            found[Path(name).name] = row
    return found


def lookup(metadata: Metadata, path: Path) -> dict[str, Any]:
    """The user's columns for one video; empty where the table does not name it."""
    return metadata.get(str(path)) or metadata.get(path.name) or {}
