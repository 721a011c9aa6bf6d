"""Writing to an archive: a failed or doubled write changes nothing, and writers do not get in each other's way."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from nightreel.extract.errors import Damaged
from nightreel.extract.segment import Segments
from nightreel.extract.store import Store
from nightreel.extract.verify import verify
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer


def all_ids(store: Store) -> list[int]:
    return sorted(int(i) for batch in store.segments("toy") for i in batch.segment_id)


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def pending(archive: Any, name: str, store: Store | None = None) -> Writer:
    """A writer with one video added and not committed."""
    source = Segments.from_table(next(iter(archive.store.segments("toy"))).to_table())
    out = Writer(store or archive.store)
    archives = sys.modules["archives"]
    segments = archives.segments_for(archives.id_of(name), source.embedding)
    out.add(VideoRow(archives.id_of(name), f"/films/{name}", "done"), {"toy": segments})
    return out


@pytest.mark.parametrize("what", ["parquet", "replace", "fsync"])
def test_a_full_disk_changes_nothing_and_a_later_commit_works(
    colours: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    calls = 0

    def full(*args: Any, **kwargs: Any) -> None:
        nonlocal calls
        calls += 1
        if calls >= 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*args, **kwargs)

    module, name = {"parquet": (pq.ParquetWriter, "write_table"), "replace": (os, "replace"), "fsync": (os, "fsync")}[
        what
    ]
    real = getattr(module, name)
    before, out = all_ids(colours.store), pending(colours, "new.mp4")
    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        with pytest.raises(OSError, match="No space left"):
            out.commit()
    assert not list(colours.root.rglob(".tmp-*"))
    assert all_ids(Store.open(colours.root)) == before
    assert out.pending == 1
    out.commit()
    assert out.pending == 0
    assert len(all_ids(Store.open(colours.root))) == len(before) + 4
    assert verify(Store.open(colours.root)).clean


def test_a_video_added_twice_to_one_commit_has_one_row(colours: Any) -> None:
    out = pending(colours, "new.mp4")
    row = VideoRow(sys.modules["archives"].id_of("new.mp4"), "/films/moved.mp4", "done")
    out.add(row, {})
    assert out.pending == 1
    out.commit()
    assert [r.path for r in colours.store.videos() if r.video_id == row.video_id] == ["/films/moved.mp4"]
    assert len(colours.store.segments_of("toy", row.video_id)) == 4
    assert verify(colours.store).clean


def test_nothing_added_nothing_committed(colours: Any) -> None:
    before = tree(colours.root)
    Writer(colours.store).commit()
    assert tree(colours.root) == before


def test_two_writers_take_turns_without_losing_or_doubling(colours: Any) -> None:
    one, two = Store.open(colours.root), Store.open(colours.root)
    a, b = pending(colours, "a", one), pending(colours, "same", one)
    c, d = pending(colours, "c", two), pending(colours, "same", two)
    for out in (c, a, d, b):
        out.commit()
    store = Store.open(colours.root)
    assert sorted(Path(r.path).name for r in store.videos()) == sorted(
        ["red.mp4", "mixed.mp4", "green.mp4", "a", "c", "same"]
    )
    assert len(all_ids(store)) == len(set(all_ids(store))) == 15 + 3 * 4
    assert store.commit_ids == sorted(store.commit_ids)
    assert verify(store).clean


def test_two_processes_commit_at_once_and_every_row_is_there_once(colours: Any) -> None:
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import archives; "
        "archive = archives.MadeArchive(Path(sys.argv[2])); "
        "[archive.add(f'{sys.argv[3]}{n}', ['red', 'blue']) for n in range(12)]; "
        "[archive.add(f'both{n}', ['red', 'blue']) for n in range(4)]"
    )
    tests = str(Path(__file__).parents[1])
    running = [subprocess.Popen([sys.executable, "-c", code, tests, str(colours.root), name]) for name in "pq"]
    assert [process.wait(60) for process in running] == [0, 0]
    store = Store.open(colours.root)
    assert len(store.videos()) == 3 + 2 * 12 + 4
    assert len(all_ids(store)) == len(set(all_ids(store))) == 15 + 28 * 2
    assert len(store.commit_ids) == 3 + 2 * 16
    assert verify(store).clean


def test_a_hostile_commit_is_refused_when_the_archive_is_opened(colours: Any) -> None:
    path = sorted((colours.root / "commits").iterdir())[-1]
    raw = json.loads(path.read_text())
    raw["files"][0]["path"] = "../../etc/passwd"
    path.write_text(json.dumps(raw))
    with pytest.raises(Damaged, match=r"outside the archive.*Restore") as caught:
        Store.open(colours.root)
    assert caught.value.exit_code == 4
