"""What the user named on the command line, as a list of files: files, folders, globs and lists of paths.

Nothing is opened here except lists. A named file is taken whatever its suffix; in folders only `SUFFIXES` count.
"""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from .errors import UsageError

SUFFIXES = frozenset(
    ".3g2 .3gp .asf .avi .divx .dv .f4v .flv .gif .h264 .h265 .hevc .ivf .m1v .m2t .m2ts .m2v .m4v .mkv .mov .mp4 .mpe "
    ".mpeg .mpg .mts .mxf .nut .obu .ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .y4m".split()
)
LISTS = frozenset({".txt", ".csv", ".parquet"})


def expand(inputs: Sequence[str]) -> list[Path]:
    """All files that the inputs name, absolute, each once, in the order given and sorted within a folder or glob.

    Raises:
        UsageError: an input names nothing, or a folder holds no video.
    """
    found: list[Path] = []
    for text in inputs:
        found += _one(text)
    return list(dict.fromkeys(found))


def _one(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        files = _walk(path)
        if not files:
            raise UsageError(
                f"no videos in folder {text}: looked, also in its subfolders, for {', '.join(sorted(SUFFIXES)[:6])} and "
                f"{len(SUFFIXES) - 6} more suffixes.\nName files directly to take them whatever their suffix."
            )
        return files
    if path.suffix.lower() in LISTS and path.is_file():
        return _from_list(path)
    if path.exists() or path.is_symlink():
        return [_absolute(path)]
    matches = sorted(glob.glob(text, recursive=True))
    if matches:
        return [
            file
            for match in matches
            for file in (_walk(Path(match)) if os.path.isdir(match) else [_absolute(Path(match))])
        ]
    raise UsageError(
        f"no such file or folder: {text}\nExpected a video, a folder of videos, a glob, or a .txt/.csv/.parquet list of paths."
    )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # not resolve(): a link keeps the name the user knows it by


def _walk(folder: Path) -> list[Path]:
    files = []
    for parent, folders, names in os.walk(folder):
        folders.sort()
        folders[:] = [name for name in folders if not name.startswith(".")]
        files += [
            _absolute(Path(parent, name))
            for name in sorted(names)
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
        ]
    return files


def _from_list(path: Path) -> list[Path]:
    """Paths from a text file (one a line, `#` comments) or a table's `path` or `video` column, relative to the list."""
    if path.suffix.lower() == ".txt":
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
        names = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    else:
        names = [str(name) for name in path_column(read_table(path), path)]
    if not names:
        raise UsageError(f"list {path} names no videos; expected one path a line, or a column `path`.")
    out = []
    for name in names:
        candidate = Path(path.parent, name.strip()) if not os.path.isabs(name) else Path(name.strip())
        if not candidate.exists():
            raise UsageError(f"list {path} names {name.strip()}, which is not there (looked at {candidate}).")
        out.append(_absolute(candidate))
    return out


def read_table(path: Path):  # type: ignore[no-untyped-def]  # pyarrow has no types
    """A CSV or Parquet file as an Arrow table."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        return pyarrow.parquet.read_table(path) if path.suffix.lower() == ".parquet" else pyarrow.csv.read_csv(path)
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {path}. Expected a .csv or .parquet table.") from error
    except pa.ArrowException as error:
        raise UsageError(f"{path} cannot be read as a table: {error}") from error


def path_column(table, path: Path) -> list[str]:  # type: ignore[no-untyped-def]
    """The column that names videos: `path`, or `video`."""
    for name in ("path", "video"):
        if name in table.column_names:
            return [str(value) for value in table.column(name).to_pylist()]
    raise UsageError(f"{path} has columns {', '.join(table.column_names)}; expected one named `path` (or `video`).")
