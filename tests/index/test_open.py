"""Opening: an index that is not what was built is refused, in words that help, and the remedy works."""

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nightreel.extract.errors import Damaged, FingerprintMismatch, IndexMissing
from nightreel.extract.files import sha256_of
from nightreel.extract.store import Store
from nightreel.index.build import build_index
from nightreel.index.info import summary
from nightreel.index.manifest import damage
from nightreel.index.open import index_headers, open_index

Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, 15 segments, indexed: what every test gets a copy of."""
    archive = sys.modules["archives"].MadeArchive(tmp_path_factory.mktemp("built") / "a.reel")
    archive.add("red.mp4", ["red"] * 4)
    archive.add("mixed.mp4", ["blue", "blue", "red", "red", "blue", "blue"])
    archive.add("green.mp4", ["green"] * 5)
    build_index(archive.store, "toy")
    return Path(archive.root)


@pytest.fixture
def built(template: Path, tmp_path: Path) -> Any:
    """Three videos, 15 segments, indexed."""
    return sys.modules["archives"].MadeArchive(shutil.copytree(template, tmp_path / "a.reel"))


def index_file(archive: Any) -> Path:
    return Path(archive.root / "index" / archive.slug / "index.json")


def edit(archive: Any, change: Change) -> None:
    """Let `change` edit the index's header in place."""
    header = json.loads(index_file(archive).read_text())
    change(header)
    index_file(archive).write_text(json.dumps(header))


def swap(archive: Any, key: str, write: Callable[[Path], object]) -> Path:
    """Replace a file of the index by what `write` makes, with the checksum and size to go with it, as a stranger would."""
    header = json.loads(index_file(archive).read_text())
    part = header["parts"][0]
    named = {**header, **part, "segment": part["levels"]["segment"]}[key]
    path = index_file(archive).parent / named["file"]
    path.unlink()
    write(path)
    named |= {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
    index_file(archive).write_text(json.dumps(header))
    return path


def assert_refused_and_mended(archive: Any, match: str | None = None) -> None:
    with pytest.raises((Damaged, FingerprintMismatch), match=match) as caught:
        open_index(archive.store, "toy")
    assert "nightreel index" in str(caught.value)
    assert caught.value.exit_code == 4
    assert build_index(archive.store, "toy")["vectors"] == 15  # the remedy works
    assert open_index(archive.store, "toy").size == 15


def test_a_missing_index_says_how_to_build_it(colours: Any) -> None:
    with pytest.raises(IndexMissing, match="nightreel index") as caught:
        open_index(colours.store, "toy")
    assert caught.value.exit_code == 4
    assert index_headers(colours.store) == {}


@pytest.mark.parametrize(
    "suffix", ["segment.faiss", "video.faiss", ".parquet", "spans.npy", "norms.npy", ".npz", "probes.npy"]
)
@pytest.mark.parametrize("how", ["missing", "cut", "flipped"])
def test_a_damaged_file_is_named(built: Any, suffix: str, how: str) -> None:
    (path,) = index_file(built).parent.glob(f"*{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if how == "cut" else whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    if how == "missing":
        path.unlink()
    (told,) = damage(built.store)
    assert path.name in told
    assert_refused_and_mended(built, path.name)
    assert damage(built.store) == []


def test_an_index_of_other_features_is_refused(built: Any) -> None:
    path = built.root / "features" / "toy" / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "weights_sha256": "ff"}))
    with pytest.raises(FingerprintMismatch, match=r'archive has "ff", the index has null') as caught:
        open_index(Store.open(built.root), "toy")
    assert "nightreel index" in str(caught.value)
    assert build_index(built.store, "toy")["added"] == 15  # nothing of the old one is kept
    assert open_index(built.store, "toy").size == 15


def deep(header: dict[str, Any], *path: Any) -> Any:
    for key in path:
        header = header[key]
    return header


def put(*path: Any) -> Change:
    """An edit: `put("parts", 0, "dim", 5)` sets the last but one to the last."""
    return lambda header: deep(header, *path[:-2]).__setitem__(path[-2], path[-1])


def drop(*path: Any) -> Change:
    return lambda header: deep(header, *path[:-1]).pop(path[-1])


SEGMENT = ("parts", 0, "levels", "segment")
OUTSIDE = ["../../../secret", "/etc/passwd", "..", "..\\x", ".hidden", "", 3, None, ["x"]]
HOSTILE: list[Change] = [
    *(put(*SEGMENT, "file", name) for name in OUTSIDE),
    *(put("parts", 0, key, "file", "../x") for key in ("videos", "spans", "norms")),
    *(put(key, "file", "../x") for key in ("null", "probes")),
    *(put("name", name) for name in ("../other", "other", None, ["toy"])),
    *(put("encoder", name) for name in ("../other", "other", None, ["toy"])),
    *(put("version", number) for number in (1, 3, "2", None)),
    *(put("fingerprint", value) for value in (None, [], {}, "x")),
    *(put("dim", value) for value in (5, None, "4", -1)),
    *(put("parts", value) for value in ({}, None, "x", [1], [None], [{}])),
    *(put("levels", value) for value in ([], ["segment"], ["video"], ["x"], "segment", None, [["segment"]])),
    *(put("memory", value) for value in (None, "lots", 4, [])),
    *(put("recall_asked", value) for value in (None, "x", 7, [])),
    *(put(*SEGMENT, "probes", value) for value in (0, -1, "1", None, 1.5)),
    *(put(*SEGMENT, "factor", value) for value in (0, -1, None)),
    *(put(*SEGMENT, "exact", value) for value in (None, "yes")),
    *(put(*SEGMENT, "recall_at_10", value) for value in (None, "x")),
    *(put(*SEGMENT, key, None) for key in ("bytes", "sha256", "kind", "vectors")),
    *(put(*SEGMENT, key, "x") for key in ("bytes", "sha256")),
    *(drop(*SEGMENT, key) for key in ("file", "bytes", "sha256", "probes", "factor", "exact", "kind", "vectors")),
    *(drop("parts", 0, key) for key in ("videos", "spans", "norms", "levels", "dim", "hidden")),
    *(drop("parts", 0, "levels", key) for key in ("segment", "video")),
    put("parts", 0, "levels", "24s", {}),
    put("parts", 0, "dim", 5),
    put("parts", 0, "videos", "count", 2),
    *(drop("null", key) for key in ("videos", "file", "sha256")),
    *(drop("probes", key) for key in ("kind", "why", "count", "file")),
    *(put(key, None) for key in ("null", "probes")),
    *(
        drop(key)
        for key in ("version", "name", "encoder", "head", "fingerprint", "dim", "levels", "parts", "null", "probes")
    ),
    *(drop(key) for key in ("memory", "recall_asked", "vectors")),
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_a_hostile_header_is_refused_and_never_followed(built: Any, number: int) -> None:
    edit(built, HOSTILE[number])
    assert_refused_and_mended(built)


def test_the_files_of_another_folder_are_not_opened(built: Any) -> None:
    shutil.copytree(index_file(built).parent, built.root / "other")  # outside, and it would open
    edit(built, put("name", "../other"))
    assert_refused_and_mended(built, r"it is of '\.\./other'")


def test_more_lists_than_there_are_is_all_of_them(built: Any) -> None:
    edit(built, put(*SEGMENT, "probes", 10**12))
    edit(built, put(*SEGMENT, "factor", 10**12))
    assert len(open_index(built.store, "toy").search(np.ones(4, np.float32), 100)[0]) == 15


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "null", '"version"', "[" * 100_000, "\ud800"])
def test_half_a_header_is_damage(built: Any, text: str) -> None:
    index_file(built).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(Damaged, match=r"index\.json cannot be read"):
        summary(built.store)
    assert len(damage(built.store)) == 1
    assert_refused_and_mended(built, r"index\.json cannot be read")


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("key", ["null", "probes", "spans", "norms"])
def test_no_pickle_is_ever_loaded(built: Any, key: str, tmp_path: Path) -> None:
    bomb = np.array([Bomb(tmp_path / "exploded")], object)

    def write(path: Path) -> None:
        with open(path, "wb") as handle:
            if key == "null":
                np.savez(handle, mean=bomb, covariance=bomb, windows=bomb, bounds=bomb, counts=bomb, within=bomb)
            else:
                np.save(handle, bomb)

    swap(built, key, write)
    if key == "probes":  # searching does not read them; building does, see below
        open_index(built.store, "toy")
        assert build_index(built.store, "toy")["vectors"] == 15
    else:
        assert_refused_and_mended(built, "cannot be read")
    assert not (tmp_path / "exploded").exists()
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded")))  # the bomb is a real one
    assert (tmp_path / "exploded").exists()


def savez(path: Path) -> None:
    with open(path, "wb") as handle:
        np.savez(handle, x=np.zeros(3))


def save(*shape: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with open(path, "wb") as handle:
            np.save(handle, np.zeros(shape))

    return write


def other_faiss(dim: int, count: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        import faiss

        index = faiss.IndexFlatIP(dim)
        index.add(np.zeros((count, dim), np.float32))
        faiss.write_index(index, str(path))

    return write


SWAPS: list[tuple[str, Callable[[Path], object]]] = [
    *((key, lambda path: path.write_bytes(b"")) for key in ("segment", "videos", "spans", "norms", "null")),
    *((key, lambda path: path.write_bytes(b"nonsense" * 9)) for key in ("segment", "videos", "spans", "norms", "null")),
    *((key, savez) for key in ("segment", "videos", "spans", "norms", "null")),
    *((key, save(3)) for key in ("segment", "spans", "norms", "null")),
    ("null", lambda path: path.write_bytes(b"PK\x03\x04" + b"x" * 50)),
    ("spans", save(15, 3)),
    ("segment", other_faiss(4, 14)),
    ("segment", other_faiss(5, 15)),
    ("videos", lambda path: pq.write_table(pa.table({"video_id": ["x"]}), path)),
]


@pytest.mark.parametrize("number", range(len(SWAPS)))
def test_a_file_of_another_kind_with_the_right_checksum_is_damage(built: Any, number: int) -> None:
    swap(built, *SWAPS[number])
    assert_refused_and_mended(built, "cannot be read")


def test_an_index_of_the_version_before_is_built_again(built: Any) -> None:
    folder = index_file(built).parent
    for path in folder.iterdir():
        path.unlink()
    old = {"version": 1, "name": "toy", "encoder": "toy", "kind": "Flat", "dim": 4, "vectors": 15, "videos": 3}
    files = {"vectors": "0a.faiss", "null": "0a.npz"}
    index_file(built).write_text(json.dumps({**old, "fingerprint": {}, "commit": "x", "files": files, "sha256": {}}))
    assert_refused_and_mended(built, "format version 1, expected 2")


def test_an_archive_may_be_moved(built: Any, tmp_path: Path) -> None:
    shutil.move(built.root, tmp_path / "elsewhere.reel")
    assert open_index(Store.open(tmp_path / "elsewhere.reel"), "toy").size == 15
