"""Removing and compacting: what counts stays as it is, whatever fails, and whoever else is at work."""

import contextlib
import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from command import nightreel
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract import compact as module
from nightreel.extract.commits import Commit, DataFile, version_of, visible, write_commit
from nightreel.extract.compact import compact, id_behind, overtaken, partly_dead, remove_videos, rewritten_name
from nightreel.extract.errors import Damaged, UsageError
from nightreel.extract.store import Store
from nightreel.extract.vectors import Vectors
from nightreel.extract.verify import verify
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer

MakeArchive = Callable[..., Any]


def add_all(archive: Any, videos: dict[str, list[str]]) -> dict[str, str]:
    """Name -> colour words, in one commit, so in one file per table; name -> id."""
    archives = sys.modules["archives"]
    encoder, out, ids = archives.ToyEncoder(), Writer(archive.store), {name: archives.id_of(name) for name in videos}
    for name, words in videos.items():
        segments = archives.segments_for(
            ids[name], encoder.encode_text(words), quality={"luma": np.full(len(words), 9.0)},
            labels=[((name, 0.5),)] * len(words),
        )  # fmt: skip
        out.add(VideoRow(ids[name], f"/films/{name}", "done", metadata={"tape": name[0]}), {"toy": segments})
    out.commit()
    return ids


@pytest.fixture
def three(make_archive: MakeArchive) -> Any:
    """`a` (2 s), `b` (3 s) and `c` (1 s) in one file; `d` in another."""
    archive = make_archive()
    archive.ids = add_all(archive, {"a": ["red"] * 2, "b": ["blue"] * 3, "c": ["green"]})
    archive.ids |= add_all(archive, {"d": ["red"]})
    return archive


def content(root: Path) -> dict[str, Any]:
    """Everything that counts, read anew: video id -> its row and its segments."""
    store = Store.open(root)
    rows: dict[str, Any] = {row.video_id: [row] for row in store.videos()}
    vectors = Vectors(store, "toy")
    for batch in store.segments("toy"):
        for video_id in dict.fromkeys(batch.video_id):
            part = batch[batch.video_id == video_id]
            rows.setdefault(video_id, []).append(part.to_table().to_pylist())
            assert np.array_equal(vectors.of(video_id), part.embedding)
    assert verify(store).problems == []
    return rows


def parquet(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.parquet"))


def age(root: Path, hours: float = 2) -> None:
    """As if everything had been written some hours earlier."""
    for path in root.rglob("*"):
        os.utime(path, (time.time() - 3600 * hours,) * 2)


# --- removing ------------------------------------------------------------------------------------------------


def test_removed_videos_are_hidden_at_once_in_one_commit(three: Any) -> None:
    before = len(three.store.commit_ids)
    rows = remove_videos(three.store, ["a", "/films/c", three.ids["a"]])
    assert [row.path for row in rows] == ["/films/a", "/films/c"]
    assert set(content(three.root)) == {three.ids["b"], three.ids["d"]}
    assert len(Store.open(three.root).commit_ids) == before + 1
    assert remove_videos(three.store, []) == []
    assert len(Store.open(three.root).commit_ids) == before + 1


@pytest.mark.parametrize("names", [["nobody"], ["a", "nobody"], ["nobody", "b"]])
def test_one_unknown_name_and_nothing_is_removed(three: Any, names: list[str]) -> None:
    before = content(three.root)
    with pytest.raises(UsageError, match=r"(?s)no video 'nobody'.*expected.*Nothing was removed"):
        remove_videos(three.store, names)
    assert content(three.root) == before


# --- compacting ----------------------------------------------------------------------------------------------


def test_nothing_to_do_changes_nothing(three: Any) -> None:
    before = {path: path.read_bytes() for path in three.root.rglob("*") if path.is_file()}
    age(three.root)
    assert compact(three.store, now=True) == module.Compaction()
    assert {path: path.read_bytes() for path in three.root.rglob("*") if path.is_file()} == before


def test_a_worked_example(three: Any) -> None:
    first = {file.table: file for file in three.store.state.files("toy") + three.store.state.files("videos")}
    old = {t: next(f for f in three.store.state.files(t) if three.ids["a"] in f.videos) for t in ("toy", "videos")}
    remove_videos(three.store, ["a"])
    before = content(three.root)
    done = compact(three.store)
    assert (done.files_rewritten, done.files_deleted, done.orphans_deleted) == (2, 0, 0)
    assert done.bytes_waiting == sum(file.bytes for file in old.values())
    assert content(three.root) == before
    store = Store.open(three.root)
    for table in ("toy", "videos"):
        new = store.state.rows[table][three.ids["b"]]
        assert new.videos == (three.ids["b"], three.ids["c"])
        assert version_of(new) == version_of(old[table])
        assert new.path.startswith(old[table].path.removesuffix(".parquet") + ".r001-")
        assert new.path > old[table].path  # the query in docs/formats.md takes the last name
        assert store.state.rows[table][three.ids["d"]].path == first[table].path
    assert done.bytes_freed == -sum(store.state.rows[t][three.ids["b"]].bytes for t in old)
    assert pq.ParquetFile(three.root / store.state.rows["toy"][three.ids["b"]].path).num_row_groups == 2

    again = compact(three.store)
    assert (again.files_rewritten, again.files_deleted, again.bytes_waiting) == (0, 0, done.bytes_waiting)
    age(three.root)
    later = compact(three.store)
    assert (later.files_deleted, later.bytes_freed, later.bytes_waiting) == (2, done.bytes_waiting, 0)
    assert content(three.root) == before
    assert len(parquet(three.root)) == 4


def test_two_files_of_one_commit_never_share_the_commit_that_rewrites_them(
    three: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove_videos(three.store, ["a"])
    before, steps = content(three.root), iter([7, 7, 7, 8])
    monkeypatch.setattr(module.random, "randrange", lambda _: next(steps))
    assert compact(three.store, now=True).files_rewritten == 2
    assert content(three.root) == before
    assert next(steps, None) is None


def test_the_grace_counts_from_when_rows_were_replaced_not_from_when_they_were_written(three: Any) -> None:
    age(three.root)
    remove_videos(three.store, ["d"])
    assert compact(three.store).files_deleted == 0
    assert compact(three.store, now=True).files_deleted == 2


def test_now_is_now(three: Any) -> None:
    remove_videos(three.store, ["a", "d"])
    before, raw = content(three.root), sum(path.stat().st_size for path in three.root.rglob("*.parquet"))
    done = compact(three.store, now=True)
    assert (done.files_rewritten, done.files_deleted, done.bytes_waiting) == (2, 4, 0)
    assert content(three.root) == before
    assert len(parquet(three.root)) == 2
    assert done.bytes_freed == raw - sum(path.stat().st_size for path in three.root.rglob("*.parquet"))
    for path in parquet(three.root):
        assert three.ids["a"] not in pq.read_table(three.root / path).column("video_id").to_pylist()


def test_rewritten_files_are_rewritten_again(three: Any) -> None:
    for name, number in (("a", "r001"), ("b", "r002")):
        remove_videos(three.store, [name])
        compact(three.store, now=True)
        assert any(f".{number}-" in path for path in parquet(three.root))
    assert set(content(three.root)) == {three.ids["c"], three.ids["d"]}
    assert len(parquet(three.root)) == 4


def test_whoever_opened_before_goes_on_reading(three: Any) -> None:
    reader = Store.open(three.root)
    half_read, vectors = reader.segments("toy"), Vectors(reader, "toy")
    first = next(half_read)
    remove_videos(three.store, ["a"])
    compact(three.store)
    reader.refresh()
    assert len(first) + sum(map(len, half_read)) == 7  # as of when it began
    assert len(vectors.of(three.ids["b"])) == 3
    assert len(vectors.of(three.ids["a"])) == 0


def test_a_reader_that_is_overtaken_is_told_to_repeat(three: Any) -> None:
    reader = Store.open(three.root)
    remove_videos(three.store, ["a"])
    compact(three.store, now=True)
    with pytest.raises(Damaged, match="compact` has just run, repeat"):
        reader.segments_of("toy", three.ids["b"])
    reader.refresh()
    assert len(reader.segments_of("toy", three.ids["b"])) == 3


@pytest.mark.parametrize("what", ["remove", "replace"])
def test_what_lands_meanwhile_stays_in_force(three: Any, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Between reading and writing, another process removes `b` or extracts it anew: the copy of its old rows must not win."""
    remove_videos(three.store, ["a"])
    other, real = Store.open(three.root), module.write_data

    def meanwhile(*args: Any) -> DataFile:
        if what == "remove" and three.ids["b"] in other.state.rows["toy"]:
            remove_videos(other, ["b"])
        elif what == "replace" and len(other.segments_of("toy", three.ids["b"])) == 3:
            mine, three.store = three.store, other
            add_all(three, {"b": ["yellow"]})
            three.store = mine
        return real(*args)

    monkeypatch.setattr(module, "write_data", meanwhile)
    assert compact(three.store, now=True).files_rewritten == 2
    found = content(three.root)
    if what == "remove":
        assert three.ids["b"] not in found
    else:
        assert len(found[three.ids["b"]][1]) == 1
    monkeypatch.undo()
    assert compact(three.store, now=True).files_rewritten == 2  # what it could not know, the next one does
    assert content(three.root) == found


def test_a_clock_that_is_behind_does_not_help_the_copy(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is years behind takes ids just behind the last it saw; the copy's is nearer still."""
    for _ in range(200):
        last = three.store.commit_ids[-1]
        with monkeypatch.context() as patch:
            patch.setattr(time, "time_ns", lambda: 1)
            assert last < id_behind(last) < module.Commit(f"{int(last[:16], 16) + 1:016x}00000000", "").id


def test_other_tables_and_columns_come_along(three: Any) -> None:
    remove_videos(three.store, ["a"])
    compact(three.store, now=True)
    store = Store.open(three.root)
    found = store.segments_of("toy", three.ids["b"])
    assert found.quality["luma"].tolist() == [9.0] * 3
    assert found.labels is not None
    assert found.labels[0] == (("b", 0.5),)
    assert {row.path: row.metadata for row in store.videos()}["/films/b"] == {"tape": "b"}


# --- sweeping ------------------------------------------------------------------------------------------------


def test_orphans_go_after_an_hour_and_nothing_else_does(three: Any) -> None:
    before = content(three.root)
    path = three.data_file()
    (three.root / "runs").mkdir(exist_ok=True)
    litter = [path.with_name("f" * 24 + ".parquet"), three.data_file("videos").with_name("e" * 24 + ".parquet")]
    litter += [three.root / folder / ".tmp-1-ab-x" for folder in (".", "commits", "videos", "features/toy", "runs")]
    kept = [path.with_name("notes.txt"), three.root / "notes.txt"]
    for file in [*litter, *kept]:
        file.write_bytes(b"12345")
    assert compact(three.store, now=True).orphans_deleted == 0  # a run may be about to commit them
    age(three.root)
    done = compact(three.store)
    assert (done.orphans_deleted, done.bytes_freed, done.files_deleted) == (len(litter), 5 * len(litter), 0)
    assert not any(file.exists() for file in litter)
    assert all(file.exists() for file in kept)
    assert content(three.root) == before


# --- faults --------------------------------------------------------------------------------------------------

FAULTS = {
    "reading": (Store, "read"),
    "writing": (module, "write_data"),
    "commit": (module, "write_commit"),
    "deleting": (Path, "unlink"),
    "checksum": (module, "sha256_of"),
    "rename": (os, "replace"),
    "fsync": (os, "fsync"),
}


@pytest.mark.parametrize("where", FAULTS)
@pytest.mark.parametrize("call", range(1, 6))
@pytest.mark.parametrize("kind", ["full", "killed"])
def test_a_fault_at_any_point_loses_nothing(
    three: Any, monkeypatch: pytest.MonkeyPatch, where: str, call: int, kind: str
) -> None:
    remove_videos(three.store, ["a", "d"])
    before, calls = content(three.root), 0
    fault: BaseException = OSError(errno.ENOSPC, "No space left") if kind == "full" else KeyboardInterrupt()
    place, name = FAULTS[where]
    real = getattr(place, name)

    def faulty(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            raise fault
        return real(*args, **kwargs)

    with monkeypatch.context() as patch, contextlib.suppress(OSError, KeyboardInterrupt):
        patch.setattr(place, name, faulty)
        compact(three.store, now=True)
    assert content(three.root) == before
    for _ in range(2):
        age(three.root)
        compact(Store.open(three.root))
        assert content(three.root) == before
    assert len(parquet(three.root)) == 2
    assert verify(Store.open(three.root)).orphans == []


def test_an_error_after_the_commit_got_its_name_loses_nothing(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    remove_videos(three.store, ["a"])
    before = content(three.root)

    def late(folder: Path, commit: Commit) -> None:
        write_commit(folder, commit)
        raise OSError(errno.EIO, "Input/output error")  # fsync of the folder

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_commit", late)
        with pytest.raises(OSError, match="Input/output"):
            compact(three.store, now=True)
    assert content(three.root) == before


@pytest.mark.parametrize("damage", ["flip", "missing", "footer"])
def test_a_damaged_file_is_not_copied(three: Any, damage: str) -> None:
    file = next(f for f in three.store.state.files("toy") if three.ids["a"] in f.videos)
    remove_videos(three.store, ["a"])
    path = three.root / file.path
    whole = path.read_bytes()
    at = len(whole) // 2 if damage == "flip" else -20
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    if damage == "missing":
        path.unlink()
    with pytest.raises(Damaged, match="verify"):
        compact(three.store, now=True)
    assert path.exists() == (damage != "missing")
    assert sum("features" in name for name in parquet(three.root)) == 1 + path.exists()


def test_a_slower_compact_finds_the_file_gone_and_goes_on(three: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    remove_videos(three.store, ["a"])
    before, real, once = content(three.root), module.partly_dead, [True]

    def slow(state: Any) -> Any:
        found = real(state)
        if once:
            once.clear()
            compact(Store.open(three.root), now=True)
        return found

    monkeypatch.setattr(module, "partly_dead", slow)
    assert compact(three.store, now=True).files_rewritten == 0
    assert content(three.root) == before
    assert len(parquet(three.root)) == 4


def test_several_processes_compact_while_others_write(three: Any) -> None:
    code = (
        "import sys; from nightreel.extract.store import Store; from nightreel.extract.compact import compact\n"
        "[compact(Store.open(sys.argv[1]), now=True) for _ in range(12)]"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(three.root)]) for _ in range(3)]
    expected = dict(three.ids)
    while any(process.poll() is None for process in running):
        expected |= add_all(three, {name: ["red", "blue"] for name in ("a", "b", "e")})
        while three.ids["a"] in Store.open(three.root).state.rows["toy"]:
            with contextlib.suppress(Damaged):  # overtaken by --now: repeat
                remove_videos(Store.open(three.root), ["a"])
    del expected["a"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert set(content(three.root)) == set(expected.values())
    compact(Store.open(three.root), now=True)
    assert set(content(three.root)) == set(expected.values())
    rows = sum(pq.read_metadata(three.root / p).num_rows for p in parquet(three.root) if "toy" in p)
    assert rows == Store.open(three.root).segment_count("toy")


# --- against a model -----------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.tuples(st.just("add"), st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 3)), min_size=1, max_size=3)),
    st.tuples(st.just("remove"), st.sampled_from("abcd")),
    st.tuples(st.just("compact"), st.booleans()),
    st.tuples(st.just("age"), st.none()),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=3, max_size=12))
def test_whatever_is_done_what_counts_is_what_a_dict_would_hold(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, Any]]
) -> None:
    archives = sys.modules["archives"]
    archive = archives.MadeArchive(tmp_path_factory.mktemp("model") / "a.reel")
    model: dict[str, int] = {}
    for what, argument in steps:
        if what == "add":
            add_all(archive, {name: ["red"] * count for name, count in argument})
            model |= dict(argument)
        elif what == "remove" and argument in model:
            remove_videos(archive.store, [argument])
            del model[argument]
        elif what == "compact":
            compact(archive.store, now=argument)
        elif what == "age":
            age(archive.root)
        found = {video: len(parts[1]) for video, parts in content(archive.root).items()}
        assert found == {archives.id_of(name): count for name, count in model.items()}
    compact(archive.store, now=True)
    assert not partly_dead(archive.store.state)
    assert len(parquet(archive.root)) == len({f for t in archive.store.state.rows.values() for f in t.values()})


# --- pure rules ----------------------------------------------------------------------------------------------


def made(number: int, *files: tuple[str, str], removed: str = "") -> Commit:
    """Commit `number`; files as (path, videos), each video one letter."""
    return Commit(
        f"{number:024x}", "", tuple(DataFile(p, "toy", len(v), 1, "", tuple(v)) for p, v in files), tuple(removed)
    )


def test_which_commits_took_the_rows_of_a_file() -> None:
    commits = [
        made(1, ("one", "ab"), ("two", "c")),
        made(2, ("three", "a")),
        made(3, removed="bc"),
        made(4, ("four", "c")),
        made(5, removed="z"),
    ]
    expected = {"one": {made(n).id for n in (1, 2, 3)}, "two": {made(n).id for n in (1, 3)}}
    assert overtaken(commits) == overtaken(commits[::-1]) == expected
    live = {file.path for file in visible(commits).files("toy")}
    assert live == {"three", "four"}
    assert partly_dead(visible(commits[:2])) == [(commits[0].files[0], ["b"])]


def test_names_of_rewritten_files_sort_by_age_and_keep_their_version() -> None:
    file = DataFile("features/toy/00ab.parquet", "toy", 1, 1, "", ("a",))
    names = [file.path]
    for number in range(1, 12):
        file = DataFile(rewritten_name(file), "toy", 1, 1, "", ("a",))
        names.append(file.path)
        assert file.path.startswith(f"features/toy/00ab.r{number:03}-")
        assert version_of(file) == "00ab"
    assert names == sorted(names)
    assert rewritten_name(file) != rewritten_name(file)


# --- as a command --------------------------------------------------------------------------------------------


def test_the_commands(make_film: Callable[..., Path], tmp_path: Path) -> None:
    films, archive = tmp_path / "films", tmp_path / "a.reel"
    make_film(films / "red.mp4", [("red", 3.0)])
    make_film(films / "blue.mp4", [("blue", 4.0)])
    extract = ("extract", films, "--archive", archive, "--encoder", "toy", "--json")
    assert nightreel(*extract)[0] == 0
    code, out, err = nightreel("remove", archive, "red.mp4", "nobody")
    assert (code, out) == (2, "")
    assert "no video 'nobody'" in err
    assert "Nothing was removed" in err
    removed = json.loads(nightreel("remove", archive, "red.mp4", "red", "--json")[1])
    assert set(removed) == {"removed", "took_ms"}
    (row,) = removed["removed"]
    assert (set(row), Path(row["path"]).name) == ({"video_id", "path"}, "red.mp4")
    code, out, err = nightreel("compact", archive)
    assert (code, out.startswith("2 files rewritten, 0 deleted, 0 left by killed runs")) == (0, True)
    assert "In an hour: nightreel compact" in err
    done = json.loads(nightreel("compact", archive, "--now", "--json")[1])
    assert done.pop("indexes") == []  # there is none yet
    assert set(done) == {"files_rewritten", "files_deleted", "orphans_deleted", "bytes_freed", "bytes_waiting"}
    assert (done["files_rewritten"], done["files_deleted"], done["bytes_waiting"]) == (0, 2, 0)
    assert done["bytes_freed"] > 0
    assert nightreel("verify", archive)[0] == 0
    again = json.loads(nightreel(*extract)[1])  # still among the inputs, so it comes back
    assert (again["done"], again["skipped"]) == (1, 1)
    code, out, err = nightreel("remove", archive, "blue.mp4")
    assert (code, out.split()[0], out.strip().endswith("blue.mp4")) == (0, "removed", True)
    assert "nightreel compact" in err
    assert "brings them back" in err
