"""The archive on disk: what is read, what is refused, and that a failed or doubled write changes nothing."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from nightreel.extract import files
from nightreel.extract.errors import Damaged, NotAnArchive, UsageError, WrongVersion
from nightreel.extract.store import Store
from nightreel.extract.verify import verify
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer


def all_ids(store: Store) -> list[int]:
    return sorted(int(i) for batch in store.segments("toy") for i in batch.segment_id)


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


# --- opening -------------------------------------------------------------------------------------------------


def header(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "archive.json").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("make", "kind", "exit_code", "said"),
    [
        (lambda f: f, UsageError, 2, ["no archive at", "got nothing there", "nightreel extract"]),
        (lambda f: (f.write_text(""), f)[1], UsageError, 2, ["got a file", "nightreel extract"]),
        (lambda f: (f.mkdir(), f)[1], NotAnArchive, 4, ["expected archive.json", "found none", "nightreel extract"]),
        (lambda f: header(f, "{"), NotAnArchive, 4, ["expected JSON", "got", "Restore"]),
        (lambda f: header(f, "[]"), NotAnArchive, 4, ["expected JSON", "got", "Restore"]),
        (lambda f: header(f, '{"format":"x","version":1}'), NotAnArchive, 4, ["'x'", "expected 'nightreel'", "Name"]),
        (lambda f: header(f, '{"format":"nightreel","version":10}'), WrongVersion, 4, ["10", "version 1", "Upgrade"]),
        (lambda f: header(f, '{"format":"nightreel","version":0}'), WrongVersion, 4, ["0", "version 1", "Extract"]),
    ],
)
def test_what_is_no_archive_of_this_version_is_refused(
    tmp_path: Path, make: Any, kind: type[Exception], exit_code: int, said: list[str]
) -> None:
    folder = make(tmp_path / "a.reel")
    with pytest.raises(kind) as caught:
        Store.open(folder)
    assert type(caught.value) is kind
    assert kind.exit_code == exit_code  # type: ignore[attr-defined]
    for part in said:
        assert part in str(caught.value)


def test_a_folder_with_other_things_is_not_made_into_an_archive(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(NotAnArchive, match="nothing was changed"):
        Store.create(tmp_path, created_by="tests")
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]


def test_two_runs_may_make_one_archive_at_once(tmp_path: Path) -> None:
    (tmp_path / ".tmp-1-ab-archive.json").write_text("")  # the other run is at this very moment writing the header
    Store.create(tmp_path, created_by="one")
    assert json.loads((tmp_path / "archive.json").read_text())["created_by"] == "one"
    Store.create(tmp_path, created_by="two")
    assert json.loads((tmp_path / "archive.json").read_text())["created_by"] == "one"


def test_the_first_writer_wins_also_where_there_are_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*names: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    assert files.write_json(tmp_path / "x.json", 1, exclusive=True)
    assert not files.write_json(tmp_path / "x.json", 2, exclusive=True)
    assert tree(tmp_path) == {"x.json": b"1\n"}


# --- reading -------------------------------------------------------------------------------------------------


def test_three_ways_of_reading_agree(colours: Any) -> None:
    store = Store.open(colours.root)
    batches = list(store.segments("toy"))
    assert [len(b) for b in batches] == [4, 6, 5]
    for batch in batches:
        alone = store.segments_of("toy", str(batch.video_id[0]))
        by_id = store.segments_by_id("toy", batch.segment_id)
        for other in (alone, by_id):
            assert other.to_table().equals(batch.to_table())
    spans = [b.start_s.tolist() for b in store.segments("toy", embeddings=False)]
    assert spans == [b.start_s.tolist() for b in batches]
    assert store.segment_count("toy") == 15


def test_segments_by_id_keep_the_order_asked_and_repeat(colours: Any) -> None:
    ids = np.random.default_rng(0).choice(np.array(all_ids(colours.store)), 40)
    found = colours.store.segments_by_id("toy", ids)
    assert found.segment_id.tolist() == ids.tolist()
    assert len(colours.store.segments_by_id("toy", ids[:0])) == 0


@pytest.mark.parametrize("unknown", [0, -1, 2**62])
def test_an_unknown_segment_id_is_a_key_error(colours: Any, unknown: int) -> None:
    known = all_ids(colours.store)
    for wrong in (unknown, known[3] + 100):
        with pytest.raises(KeyError, match="not in the archive"):
            colours.store.segments_by_id("toy", np.array([known[0], wrong]))


def test_a_video_without_features_has_no_segments(colours: Any) -> None:
    assert colours.store.segments_of("toy", "nobody").embedding.shape == (0, 4)


def test_removed_and_replaced_rows_are_not_read(colours: Any, make_archive: Any) -> None:
    red = colours.store.find_video("red").video_id
    colours.add("red.mp4", ["yellow"] * 2)
    assert colours.store.segment_count("toy") == 13 == len(all_ids(colours.store))
    assert len(colours.store.segments_of("toy", red)) == 2
    colours.remove(red)
    fresh = Store.open(colours.root)
    assert red not in {row.video_id for row in fresh.videos()}
    assert fresh.segment_count("toy") == 11 == len(all_ids(fresh))
    colours.add("red.mp4", ["red"])
    assert colours.store.segment_count("toy") == 12


def test_some_rows_of_a_file_replaced(make_archive: Any) -> None:
    archive = make_archive()
    both = Writer(archive.store)
    for name in ("a", "b"):
        segments = archive.store.segments_of("toy", archive.add(name, ["red", "blue"]))
        both.add(VideoRow(str(segments.video_id[0]), f"/films/{name}", "done"), {"toy": segments})
    both.commit()
    archive.add("a", ["green"])
    assert archive.store.segment_count("toy") == 3 == len(all_ids(archive.store))
    assert len(archive.store.segments_of("toy", archive.store.find_video("/films/a").video_id)) == 1


def test_orphans_and_temporary_files_are_never_read(colours: Any) -> None:
    before = all_ids(colours.store)
    for table in ("toy", "videos"):
        path = colours.data_file(table)
        path.with_name("f" * 24 + ".parquet").write_bytes(path.read_bytes())
        path.with_name(f".tmp-1-ab-{path.name}").write_bytes(b"half")
    commit = next((colours.root / "commits").iterdir())
    commit.with_name(f".tmp-1-ab-{commit.name}").write_bytes(b"half")
    store = Store.open(colours.root)
    assert all_ids(store) == before
    assert len(store.videos()) == 3
    findings = verify(store)
    assert findings.clean
    assert len(findings.orphans) == 5


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other rows", "other columns", "text"])
@pytest.mark.parametrize("table", ["toy", "videos"])
def test_a_damaged_file_is_named_and_never_read_as_if_whole(colours: Any, damage: str, table: str) -> None:
    path = colours.data_file(table)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other rows":
        pq.write_table(pq.read_table(path).slice(0, 0), path)
    elif damage == "other columns":
        rows = pq.read_table(path).num_rows
        pq.write_table(pq.read_table(path).select([]).append_column("x", [list(range(rows))]), path)
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"hello" * 1000}[damage])
    store = Store.open(colours.root)
    with pytest.raises(Damaged, match=path.name) as caught:
        store.videos() if table == "videos" else list(store.segments("toy"))
    assert "backup" in str(caught.value)
    assert any(path.name in problem for problem in verify(store).problems)


def test_a_flipped_bit_is_noticed_or_harmless(colours: Any) -> None:
    """Pages carry checksums: whatever byte flips, the reader refuses or gives the rows that were written."""
    path, store = colours.data_file(), Store.open(colours.root)
    video_id = store.find_video("green").video_id
    whole, rows = path.read_bytes(), store.segments_of("toy", video_id).to_table()
    refused = 0
    for at in range(0, len(whole), 13):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            assert store.segments_of("toy", video_id).to_table().equals(rows), at
        except Damaged:
            refused += 1
    assert refused > 50
    assert not verify(store).clean


# --- finding a video -----------------------------------------------------------------------------------------


def test_a_video_is_found_by_id_path_name_stem_and_beginning_of_its_id(
    colours: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    here = colours.add("here.mp4", ["red"], path=str(tmp_path / "link" / "here.mp4"))
    store, red = colours.store, colours.store.find_video("red.mp4").video_id
    for name in (red, "/films/red.mp4", "red.mp4", "red", red[:6]):
        assert store.find_video(name).video_id == red
    assert store.find_video("link/here.mp4").video_id == here  # relative, through a link


def test_an_ambiguous_name_lists_the_videos(colours: Any) -> None:
    colours.add("other", ["red"], path="/elsewhere/red.mp4")
    with pytest.raises(UsageError, match="names 2 videos") as caught:
        colours.store.find_video("red.mp4")
    assert "/films/red.mp4" in str(caught.value)
    assert "/elsewhere/red.mp4" in str(caught.value)
    assert colours.store.find_video("/elsewhere/red.mp4").path == "/elsewhere/red.mp4"


@pytest.mark.parametrize("name", ["nobody.mp4", "", "re", "/films"])
def test_an_unknown_name_lists_what_there_is(colours: Any, name: str) -> None:
    with pytest.raises(UsageError, match="no video") as caught:
        colours.store.find_video(name)
    assert "green.mp4" in str(caught.value)
