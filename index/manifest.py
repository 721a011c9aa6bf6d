"""`index/<name>/index.json`: what an index consists of, written last and replaced whole. Anything it does not name does not
exist.

    parts     each with its table of videos and one FAISS file per level (`part.py`), with kind, tuning and checksum
    null      mean and covariance, sample and probe scores (`null.py`)
    probes    the probe queries' vectors (`probes.py`)

Small files are compared with their checksum when they are opened, large ones by their size (a checksum of 40 GB takes 40 s);
`nightreel verify` compares all.
"""

import contextlib
import json
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..extract.errors import Damaged, UsageError
from ..extract.files import sha256_of, write_json
from ..extract.fingerprint import MODEL_KEYS, differences
from ..extract.store import Store
from .kinds import check_recall, parse_memory
from .levels import BY_NAME, SEGMENT
from .null import Null, read_null
from .part import Table, open_part
from .probes import Probes, read_probes

INDEX_FILE = "index.json"
FORMAT_VERSION = 2
HASHED_BYTES = 1 << 26  # files up to 64 MB are hashed at each opening: 60 ms

Header = dict[str, Any]
Entry = dict[str, Any]  # of a part, in a header
LEFTOVER_S = 86_400.0  # no build takes so long between a file and the manifest that names it
# What JSON, NumPy, Arrow and FAISS raise at a file that is not what it should be; an archive may come from a stranger.
UNREADABLE = (
    RuntimeError,
    ValueError,
    TypeError,
    OSError,
    LookupError,
    AttributeError,
    EOFError,
    OverflowError,
    zipfile.BadZipFile,
    pa.ArrowException,
)


@dataclass(frozen=True)
class Old:
    """The index that is there before a build: its header ({} if there is none that can be used), its parts, and what it knows
    of chance."""

    header: Header
    parts: Sequence[tuple[Entry, Table]] = ()
    null: Null | None = None
    probes: Probes | None = None

    @property
    def memory(self) -> str | None:
        """What it was allowed to take."""
        return self.header.get("memory")

    @property
    def recall(self) -> float | None:
        """What it was asked to find."""
        return self.header.get("recall_asked")

    @property
    def levels(self) -> list[str]:
        """Names of its levels."""
        return list(self.header.get("levels", ()))


def folder_of(store: Store, name: str) -> Path:
    """Where an index lies."""
    return store.root / "index" / name


def read_header(store: Store, name: str) -> Header:
    """An index's `index.json`.

    Raises:
        Damaged: it is missing, not as the format says, or names files outside its folder.
    """
    path = folder_of(store, name) / INDEX_FILE
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
        _require_header(header, name)
    except (*UNREADABLE, UsageError) as error:
        raise Damaged(f"{path} cannot be read ({error}). Build the index again: {how_to_build(store, name)}") from error
    return dict(header)


def stamp(store: Store, name: str) -> tuple[int, int, int] | None:
    """What changes when an index does; None where there is none."""
    try:
        found = (folder_of(store, name) / INDEX_FILE).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def read_old(store: Store, name: str) -> Old:
    """The index that a build goes on from; an empty one where there is none, or it is damaged or of other features."""
    folder = folder_of(store, name)
    try:
        header = read_header(store, name)
        if differences(store.encoders()[name], {**header["fingerprint"], "dim": header["dim"]}, MODEL_KEYS):
            return Old({})
        for named in files_of(header):
            require_file(folder, named)
        parts = [(entry, open_part(folder, entry, {}).table) for entry in header["parts"]]
        null = read_null(folder / header["null"]["file"], int(header["dim"]))
        return Old(header, parts, null, read_probes(folder, header["probes"]))
    except (Damaged, *UNREADABLE):
        return Old({})


def damage(store: Store) -> list[str]:
    """What is wrong with the files of the archive's indexes, all bytes compared; for `nightreel verify`."""
    problems = []
    for path in sorted((store.root / "index").glob(f"*/{INDEX_FILE}")):
        name = path.parent.name
        try:
            for named in files_of(read_header(store, name)):
                require_file(path.parent, named, hashed=True)
        except Damaged as error:
            problems.append(str(error).splitlines()[0])
        except (OSError, ValueError) as error:
            problems.append(f"index/{name}: {error}. Build it again: {how_to_build(store, name)}")
    return problems


def publish(store: Store, header: Header, old: Old) -> None:
    """Put a header in force, then remove what only the old one named, and what builds that died left a day ago or earlier.

    Not simply everything else: another build may be writing its files right now.
    """
    folder = folder_of(store, header["name"])
    write_json(folder / INDEX_FILE, header)
    named = {INDEX_FILE, *(file["file"] for file in files_of(header))}
    replaced = {file["file"] for file in files_of(old.header)} if old.header else set()
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            left = path.name in replaced or time.time() - path.stat().st_mtime > LEFTOVER_S
            if left and path.name not in named:
                path.unlink()


def files_of(header: Header) -> Iterator[dict[str, Any]]:
    """Every file that a header names: `file`, `bytes`, `sha256` and more."""
    for part in header["parts"]:
        yield part["videos"]
        yield part["spans"]
        yield part["norms"]
        yield from part["levels"].values()
    yield header["null"]
    yield header["probes"]


def describe(path: Path, **more: Any) -> dict[str, Any]:
    """How a header names a file."""
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path), **more}


def require_file(folder: Path, named: dict[str, Any], *, hashed: bool = False) -> None:
    """Raise ValueError unless the file is there and, as far as is looked, the one that was written."""
    path = folder / named["file"]
    if not path.is_file():
        raise ValueError(f"{path.name} is missing")
    size = path.stat().st_size
    if size != named["bytes"]:
        raise ValueError(f"{path.name} has {size} bytes, expected {named['bytes']}")
    if (hashed or size <= HASHED_BYTES) and sha256_of(path) != named["sha256"]:
        raise ValueError(f"{path.name} is not the file that was built")


def how_to_build(store: Store, name: str) -> str:
    """The command that builds this index; it names the encoder where there are several."""
    several = len(list((store.root / "features").glob("*"))) > 1
    return f"nightreel index {store.root}{f' --encoder {name}' if several else ''}"


def _require_header(header: Any, name: str) -> None:
    """Raise one of `UNREADABLE` or UsageError unless it has what is relied on; an archive may come from a stranger."""
    if "version" in header and header["version"] != FORMAT_VERSION:
        raise ValueError(f"format version {header['version']}, expected {FORMAT_VERSION}")
    missing = _KEYS - set(header)
    if missing:
        raise ValueError(f"missing {sorted(missing)}")
    if (header["name"], header["encoder"]) != (name, name):
        raise ValueError(f"it is of {header['name']!r} and encoder {header['encoder']!r}")
    if not isinstance(header["fingerprint"], dict) or not isinstance(header["parts"], list):
        raise ValueError("fingerprint is not an object or parts is not a list")
    levels = header["levels"]
    if not isinstance(levels, list) or SEGMENT.name not in levels or set(levels) - set(BY_NAME):
        raise ValueError(f"its levels are {levels}; expected {SEGMENT.name} and some of {list(BY_NAME)}")
    parse_memory(header["memory"])
    check_recall(header["recall_asked"])
    _require(header, dim=int, vectors=int)
    _require(header["null"], videos=int)
    _require(header["probes"], count=int, kind=str, why=str)
    for part in header["parts"]:
        if list(part["levels"]) != levels:
            raise ValueError(f"a part has the levels {list(part['levels'])}, expected {levels}")
        _require(part, dim=int, hidden=int)
        _require(part["videos"], count=int)
        for level in part["levels"].values():
            _require(level, kind=str, exact=bool, vectors=int, recall_at_10=(int, float), probes=int, factor=int)
            if min(level["probes"], level["factor"]) < 1:
                raise ValueError("probes and factor must be whole numbers above 0")
    for named in files_of(header):
        _require(named, file=str, bytes=int, sha256=str)
        file = named["file"]
        if "/" in file or "\\" in file or file.startswith("."):
            raise ValueError(f"it names {file!r}, which is outside its folder")


_KEYS = {"version", "name", "encoder", "head", "fingerprint", "dim", "levels", "memory", "recall_asked", "vectors"}
_KEYS |= {"videos", "parts", "null", "probes", "commit"}


def _require(values: Any, **kinds: type | tuple[type, ...]) -> None:
    for key, kind in kinds.items():
        if not isinstance(values[key], kind):
            raise ValueError(f"{key} is {values[key]!r}")
