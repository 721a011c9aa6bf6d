"""Builds that die, or run while others build or search: the index in force is always a whole one."""

import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from nightreel.extract.store import Store
from nightreel.index.build import build_index
from nightreel.index.manifest import read_header
from nightreel.index.open import open_index

BUILD = """
import sys
from pathlib import Path
from nightreel.extract.store import Store
from nightreel.index.build import build_index
store = Store.open(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(3):
    build_index(store, "toy")
"""
# Says how far a build is, at every rename of a file to its name, and waits there to be killed at the one that was asked for.
STOP = """
import os, sys, time
from pathlib import Path
from nightreel.extract.store import Store
from nightreel.index.build import build_index
replace, count = os.replace, 0
def stop(source, target):
    global count
    count += 1
    if count == int(sys.argv[2]):
        print("here", flush=True)
        time.sleep(600)
    replace(source, target)
os.replace = stop
build_index(Store.open(Path(sys.argv[1])), "toy")
print("done", flush=True)
"""


def test_a_failed_build_leaves_the_old_index_in_force(colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_index(colours.store, "toy")
    colours.add("new.mp4", ["white"] * 2)

    import faiss

    def full(*args: object) -> None:
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(faiss, "write_index", full)
    with pytest.raises(RuntimeError, match="No space"):
        build_index(colours.store, "toy")
    assert open_index(colours.store, "toy").size == 15
    assert not list(colours.root.rglob(".tmp-*"))


@pytest.mark.parametrize("rename", [1, 5, 7, 8])
def test_a_killed_build_leaves_the_old_index_in_force(colours: Any, rename: int) -> None:
    build_index(colours.store, "toy")
    before = (colours.root / "index" / "toy" / "index.json").read_bytes()
    colours.add("new.mp4", ["white"] * 2)
    command = [sys.executable, "-c", STOP, str(colours.root), str(rename)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGKILL)
    assert (colours.root / "index" / "toy" / "index.json").read_bytes() == before
    index = open_index(colours.store, "toy")
    assert (index.size, index.missing) == (15, 1)
    assert build_index(colours.store, "toy")["added"] == 2
    assert open_index(colours.store, "toy").size == 17


def test_builds_at_once_leave_an_index_that_opens(colours: Any) -> None:
    command = [sys.executable, "-c", BUILD, str(colours.root)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    for process in running:  # all begin at once
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    ends = [process.communicate("\n") for process in running]
    assert [process.returncode for process in running] == [0, 0], ends
    assert open_index(colours.store, "toy").size == 15


def test_searching_goes_on_while_an_index_is_replaced(colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_index(colours.store, "toy")
    before = read_header(colours.store, "toy")
    colours.add("new.mp4", ["white"] * 2)
    build_index(colours.store, "toy")  # deletes what the header just read names
    looks = [before]

    def read(store: Store, name: str) -> Any:
        return looks.pop() if looks else read_header(store, name)

    monkeypatch.setattr("nightreel.index.open.read_header", read)
    assert open_index(colours.store, "toy").size == 17
    assert looks == []


def test_an_open_index_outlives_its_files(colours: Any) -> None:
    build_index(colours.store, "toy")
    index = open_index(colours.store, "toy")
    for path in (colours.root / "index" / "toy").iterdir():
        path.unlink()
    assert len(index.search(np.ones(4, np.float32), 5)[0]) == 5
    assert len(index.videos(np.ones(4, np.float32), 3)) == 3
