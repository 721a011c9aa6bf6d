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
PATH_COLUMNS = ("path", "video")


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
    if not text:
        raise UsageError("an input is empty (an unset variable?); expected a file, a folder, a glob or a list.")
    path = Path(text)
    if os.path.isdir(path):  # not Path.is_dir(): that raises for a name that is too long
        files = _walk(path)
        if not files:
            raise UsageError(
                f"no videos in folder {text}: looked, also in its subfolders, for {', '.join(sorted(SUFFIXES)[:6])} and "
                f"{len(SUFFIXES) - 6} more suffixes.\nName files directly to take them whatever their suffix."
            )
        return files
    if path.suffix.lower() in LISTS and os.path.isfile(path):
        return _from_list(path)
    if os.path.lexists(path):
        return [_absolute(path)]
    files = [
        file
        for match in sorted(glob.glob(text, recursive=True))
        for file in (_walk(Path(match)) if os.path.isdir(match) else [_absolute(Path(match))])
    ]
    if files:
        return files
    raise UsageError(
        f"no such file or folder, or only folders without videos: {text}\n"
        "Expected a video, a folder of videos, a glob, or a .txt/.csv/.parquet list of paths."
    )


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # not resolve(): a link keeps the name the user knows it by


def _walk(folder: Path) -> list[Path]:
    """Videos below a folder, through links too, each folder once; a subfolder that cannot be listed stands for itself,
    so that it fails on record."""
    files: list[Path] = []
    seen: set[str] = set()
    unlisted: list[Path] = []
    for parent, folders, names in os.walk(
        folder, followlinks=True, onerror=lambda error: unlisted.append(Path(error.filename))
    ):
        real = os.path.realpath(parent)
        if real in seen:  # a link back up, or two links to one folder
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files += [
            _absolute(Path(parent, name))
            for name in sorted(names)
            if os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
        ]
    return files + [_absolute(path) for path in unlisted]


def _from_list(path: Path) -> list[Path]:
    """Paths from a text file (one a line, `#` comments) or a table's `path` or `video` column, relative to the list."""
    if path.suffix.lower() == ".txt":
        # utf-8-sig: Windows editors begin with a mark. Not splitlines(): it also breaks at U+2028 and the like.
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
        names = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    else:
        names = path_column(read_table(path), path)
    if not names:
        raise UsageError(f"list {path} names no videos; expected one path a line, or a column `path`.")
    candidates = [Path(path.parent, name.strip()) for name in names]  # an absolute name stays as it is
    if not any(os.path.exists(candidate) for candidate in candidates):
        raise UsageError(
            f"none of the {len(names)} files that list {path} names is there; the first is {candidates[0]}.\n"
            "Expected one path a line, absolute or relative to the list's folder."
        )
    return [_absolute(candidate) for candidate in candidates]  # one that is missing fails by itself, on record


def read_table(path: Path):  # type: ignore[no-untyped-def]  # pyarrow has no types
    """A CSV or Parquet file as an Arrow table."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    # Names are text even where they look like numbers or dates, as 0012 does.
    options = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(PATH_COLUMNS, pa.string()))
    try:
        if path.suffix.lower() == ".parquet":
            return pyarrow.parquet.read_table(path, partitioning=None)
        return pyarrow.csv.read_csv(path, convert_options=options)
    except FileNotFoundError as error:
        raise UsageError(f"no such file: {path}. Expected a .csv or .parquet table.") from error
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{path} cannot be read as a table: {error}") from error


def path_column(table, path: Path) -> list[str]:  # type: ignore[no-untyped-def]
    """The column that names videos: `path`, or `video`."""
    for name in PATH_COLUMNS:
        if name in table.column_names:
            values = table.column(name).to_pylist()
            if not all(values):
                empty = next(row for row, value in enumerate(values, 1) if not value)
                raise UsageError(f"{path}: row {empty} has no {name}; expected the name of a video in every row.")
            return [str(value) for value in values]
    raise UsageError(f"{path} has columns {', '.join(table.column_names)}; expected one named `path` (or `video`).")
