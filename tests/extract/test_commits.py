"""Commits: the fold that says what is visible, ids in order, and commits that nobody should trust."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.extract.commits import (
    Commit,
    DataFile,
    State,
    next_commit_id,
    read_commit,
    visible,
    write_commit,
)
from nightreel.extract.errors import Damaged
from nightreel.extract.files import time_ordered_id


def file(path: str, *videos: str, table: str = "toy") -> DataFile:
    return DataFile(path, table, len(videos), 10, "00", videos)


def paths(state: State, table: str = "toy") -> dict[str, str]:
    return {video: f.path for video, f in state.rows.get(table, {}).items()}


def test_nothing_committed_nothing_visible() -> None:
    assert visible([]) == State({}, "")


def test_the_later_file_of_a_video_counts() -> None:
    one, two = Commit("1", "", (file("f1", "a", "b"),)), Commit("2", "", (file("f2", "b", "c"),))
    state = visible([one, two])
    assert paths(state) == {"a": "f1", "b": "f2", "c": "f2"}
    assert [f.path for f in state.files("toy")] == ["f1", "f2"]
    assert state.last_commit == "2"


def test_a_file_whose_every_row_was_replaced_is_not_read() -> None:
    state = visible([Commit("1", "", (file("f1", "a"),)), Commit("2", "", (file("f2", "a"),))])
    assert [f.path for f in state.files("toy")] == ["f2"]


def test_removal_takes_a_video_out_of_every_table_and_it_may_come_back() -> None:
    first = Commit("1", "", (file("v1", "a", "b", table="videos"), file("f1", "a", "b")))
    gone = visible([first, Commit("2", "", (), ("a",))])
    assert paths(gone) == {"b": "f1"}
    assert paths(gone, "videos") == {"b": "v1"}
    back = visible([first, Commit("2", "", (), ("a",)), Commit("3", "", (file("f3", "a"),))])
    assert paths(back) == {"b": "f1", "a": "f3"}


def test_one_commit_removes_first_and_adds_then() -> None:
    state = visible([Commit("1", "", (file("f1", "a"),)), Commit("2", "", (file("f2", "a"),), ("a",))])
    assert paths(state) == {"a": "f2"}


def test_a_new_row_without_segments_keeps_the_segments() -> None:
    first = Commit("1", "", (file("v1", "a", table="videos"), file("f1", "a")))
    state = visible([first, Commit("2", "", (file("v2", "a", table="videos"),))])
    assert (paths(state), paths(state, "videos")) == ({"a": "f1"}, {"a": "v2"})


@given(st.permutations(range(5)))
def test_what_is_visible_does_not_depend_on_the_order_of_reading(order: list[int]) -> None:
    commits = [Commit(f"{n}", "", (file(f"f{n}", "a", f"b{n % 2}"),), (f"b{n % 3}",)) for n in range(5)]
    assert visible([commits[n] for n in order]) == visible(commits)


def test_an_id_sorts_behind_one_of_a_machine_whose_clock_is_ahead() -> None:
    ahead = f"{time.time_ns() + 10**15:016x}ffffffff"
    new = next_commit_id(State({}, ahead))
    assert new > ahead
    assert len(new) == 24
    assert next_commit_id(State({}, new)) > new


def test_ids_made_later_sort_later_and_never_repeat() -> None:
    first = time_ordered_id()
    time.sleep(0.001)
    assert time_ordered_id() > first
    assert len({time_ordered_id() for _ in range(1000)}) == 1000


def test_a_commit_comes_back_as_it_was_written(tmp_path: Path) -> None:
    commit = Commit(time_ordered_id(), "2026-01-01T00:00:00Z", (file("features/toy/é.parquet", "a", "b"),), ("c",))
    write_commit(tmp_path, commit)
    assert read_commit(tmp_path / f"{commit.id}.json") == commit
    assert [p.name for p in tmp_path.iterdir()] == [f"{commit.id}.json"]


def stored(folder: Path, **changes: Any) -> Path:
    name = time_ordered_id()
    entry = {"path": "videos/x.parquet", "table": "videos", "rows": 1, "bytes": 1, "sha256": "0", "videos": ["a"]}
    raw = {"id": name, "created": "", "files": [{**entry, **changes.pop("file", {})}], "removed": [], **changes}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(raw))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"file": {"path": "../../etc/passwd"}},
        {"file": {"path": "videos/../../x.parquet"}},
        {"file": {"path": "/etc/passwd"}},
        {"file": {"path": ""}},
        {"file": {"path": None}},
        {"file": {"table": "../../elsewhere"}},
        {"file": {"videos": 3}},
        {"file": {"surprise": 1}},
        {"files": 5},
        {"removed": None},
        {"id": "../../x"},
        {"id": 7},
        {"id": "f" * 24},
    ],
)
def test_a_commit_that_is_none_or_names_what_lies_outside_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    read_commit(stored(tmp_path))
    path = stored(tmp_path, **changes)
    with pytest.raises(Damaged, match=path.name) as caught:
        read_commit(path)
    assert "Restore" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b'{"id": "', b"\xff\xfe"])
def test_half_a_commit_is_damage_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / f"{time_ordered_id()}.json"
    path.write_bytes(content)
    with pytest.raises(Damaged, match=path.name):
        read_commit(path)


def test_a_commit_that_cannot_be_opened_is_damage(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="cannot be read"):
        read_commit(tmp_path / f"{time_ordered_id()}.json")
