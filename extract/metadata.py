"""The user's own columns (`--metadata table.csv`): joined to videos by path, kept in the videos table.

read_metadata(path)       the table
lookup(metadata, path)    what it says of a video
merged(before, told)      a video's columns after that: those that the table names are replaced, others stay
"""

import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import UsageError
from .inputs import path_column, read_table
from .videos import VIDEO_SCHEMA

Metadata = dict[str, dict[str, Any]]
BY_LABEL, BY_PROBE = "label", "probe:"  # what `probe --write` puts into COLUMN_by, and how that begins


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
    rows = [{k: _cell(v) for k, v in record.items() if k != key} for record in table.to_pylist()]
    bare = Counter(Path(name).name for name in names)
    found: Metadata = {}
    for name, where, row in zip(names, absolute, rows, strict=True):
        found[where] = row
        if bare[Path(name).name] == 1 and not os.path.lexists(where):  # else it means that file and no namesake
            found[Path(name).name] = row
    return found


def lookup(metadata: Metadata, path: Path) -> dict[str, Any]:
    """The user's columns for one video, None for an empty cell; empty where the table does not name it."""
    return metadata.get(str(path)) or metadata.get(path.name) or {}


def merged(before: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """A video's columns once a table has told of it: those it names are replaced (an empty cell empties its column), and
    others stay, for example what `probe --write` wrote.

    But where a table names a column that a probe wrote, the owner says so now, so what says that it was the probe, and how sure
    it was, goes, unless the table has that too.
    """
    stale = set()
    for name in told:
        by = str(before.get(f"{name}_by", ""))
        if by == BY_LABEL or by.startswith(BY_PROBE):
            stale |= {f"{name}_by", f"{name}_probability"}
    kept = {name: value for name, value in before.items() if name not in stale}
    return {name: value for name, value in {**kept, **told}.items() if value is not None}


def _cell(value: Any) -> Any:
    """None for what is no value: empty text (so CSV gives empty cells) and NaN, which would count as new in every run."""
    return None if value == "" or (isinstance(value, float) and math.isnan(value)) else value
