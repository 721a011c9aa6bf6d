"""Files that are whole or absent: written to a temporary name, fsynced, renamed last.

Costs two fsyncs per file (about 1 ms on an SSD, 20 ms on a disk), which is why an archive commits in batches.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def time_ordered_id(after: str = "") -> str:
    """A file name that sorts by time and never collides: 16 hex digits of nanoseconds, 8 of randomness.

    `after` is an id that the new one must sort behind, whatever the clock of this machine says.
    """
    now_ns = time.time_ns()
    if after:
        now_ns = max(now_ns, int(after[:16], 16) + 1)
    return f"{now_ns:016x}{os.urandom(4).hex()}"


def fsync_dir(folder: Path) -> None:
    """Make renames in `folder` survive a power cut (a no-op where folders cannot be opened, as on Windows)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, write: Callable[[Path], None], *, exclusive: bool = False) -> bool:
    """Let `write` fill a temporary neighbour of `path`, then rename it into place.

    Args:
        exclusive: leave a `path` that exists as it is; the first writer wins, even between processes.

    Returns:
        False if `exclusive` and somebody else was first, else True. After an error nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{os.urandom(4).hex()}-{path.name}")
    try:
        write(temporary)
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        if exclusive:
            if not _name_if_free(temporary, path):
                return False
        else:
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync_dir(path.parent)
    return True


def _name_if_free(temporary: Path, path: Path) -> bool:
    """Give `temporary` the name `path`, unless that is taken."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links, as exFAT and some shares: take the name first, then fill it
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        os.replace(temporary, path)
    return True


def write_json(path: Path, value: Any, *, exclusive: bool = False) -> bool:
    """`value` as indented JSON, atomically; see `write_atomic`."""
    text = json_text(value, indent=2) + "\n"
    return write_atomic(path, lambda temporary: _write_text(temporary, text), exclusive=exclusive)


def json_text(value: Any, indent: int | None = None) -> str:
    """JSON as people read it; with escapes only where a file name is not UTF-8."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=indent)
    return text


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes (about 1 GB/s)."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
