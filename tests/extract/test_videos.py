"""The videos table: round trips with odd paths and the user's columns, and ids that come from content."""

import os
from pathlib import Path

import duckdb
import polars
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.extract import videos
from nightreel.extract.videos import (
    VIDEO_SCHEMA,
    VideoRow,
    decode_path,
    encode_path,
    id_of_unreadable,
    rows_to_table,
    table_to_rows,
    video_id_of,
)
from nightreel.extract.writer import write_parquet

FULL = VideoRow(
    "ab12",
    "/films/é 🎬.mp4",
    "partial",
    size_bytes=2**40,
    mtime=1.5e9,
    duration_s=12.25,
    width_px=1920,
    height_px=1080,
    rotation_deg=90,
    fps=29.97,
    variable_fps=True,
    codec="h264",
    frames_expected=300,
    frames_decoded=290,
    stage="decode",
    error_kind="unreadable",
    error="two\nlines",
    attempts=2,
    metadata={"title": "Night", "year": 1984},
)
NOT_UTF8 = os.fsdecode(b"/films/caf\xe9 \\x41.mp4")


@given(st.binary(max_size=40))
def test_every_file_name_survives_as_utf8(raw: bytes) -> None:
    path = os.fsdecode(raw)
    encoded = encode_path(path)
    encoded.encode("utf-8")
    assert decode_path(encoded) == path


@given(st.text(st.sampled_from("nonutf8:\\x41e9é\udce9/"), max_size=20))
def test_names_that_look_encoded_survive_too(path: str) -> None:
    path = os.fsdecode(os.fsencode(path))
    assert decode_path(encode_path(path)) == path
    assert decode_path(encode_path("nonutf8:" + path)) == "nonutf8:" + path


def test_usual_names_are_left_alone() -> None:
    for path in ("/films/é 🎬.mp4", "C:\\films\\x41.mp4", "new\nline"):
        assert encode_path(path) == path


def test_rows_come_back_as_they_were() -> None:
    rows = [FULL, VideoRow("cd", NOT_UTF8, "failed"), VideoRow("ef", "/x", "done", metadata={"tags": ["a", "b"]})]
    table = rows_to_table(rows)
    assert table_to_rows(table) == rows
    assert table.schema.names == [*VIDEO_SCHEMA.names, "title", "year", "tags"]


def test_parquet_keeps_the_declared_schema(tmp_path: Path) -> None:
    write_parquet([rows_to_table([FULL, VideoRow("cd", NOT_UTF8, "failed")])], tmp_path / "v.parquet")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.schema.names[: len(VIDEO_SCHEMA)] == VIDEO_SCHEMA.names
    assert all(table.schema.field(f.name) == f for f in VIDEO_SCHEMA)
    assert table_to_rows(table) == [FULL, VideoRow("cd", NOT_UTF8, "failed")]


def test_values_of_two_types_in_one_column_become_text_instead_of_losing_the_night() -> None:
    rows = [
        VideoRow("a", "/a", "done", metadata={"rating": 5}),
        VideoRow("b", "/b", "done", metadata={"rating": "good"}),
    ]
    assert [row.metadata for row in table_to_rows(rows_to_table(rows))] == [{"rating": "5"}, {"rating": "good"}]


def test_duckdb_and_polars_read_commits_with_different_columns(tmp_path: Path) -> None:
    write_parquet([rows_to_table([FULL])], tmp_path / "1.parquet")
    write_parquet([rows_to_table([VideoRow("cd", NOT_UTF8, "failed")])], tmp_path / "2.parquet")
    query = f"select video_id, title, year from read_parquet('{tmp_path}/*.parquet', union_by_name=true) order by 1"
    assert duckdb.sql(query).fetchall() == [("ab12", "Night", 1984), ("cd", None, None)]
    frame = polars.concat([polars.read_parquet(tmp_path / f"{n}.parquet") for n in (1, 2)], how="diagonal")
    assert frame.sort("video_id")["title"].to_list() == ["Night", None]
    assert frame.sort("video_id")["path"].to_list() == [FULL.path, encode_path(NOT_UTF8)]


def test_an_id_comes_from_content_not_from_the_name(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two"), ("d", b"")):
        (tmp_path / name).write_bytes(content)
    a, b, c, d = (video_id_of(tmp_path / name) for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3
    assert len(a) == 20
    int(a, 16)


def test_a_large_file_is_known_by_size_ends_and_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "_WHOLE_BYTES", 1000)
    monkeypatch.setattr(videos, "_SAMPLE_BYTES", 10)
    content = bytearray(2000)

    def id_with(at: int | None) -> str:
        changed = bytearray(content)
        if at is not None:
            changed[at] = 1
        (tmp_path / "x").write_bytes(changed)
        return video_id_of(tmp_path / "x")

    plain = id_with(None)
    assert id_with(0) != plain
    assert id_with(1999) != plain
    assert id_with(1990 * 7 // 15 + 3) != plain
    assert id_with(20) == plain  # between two samples: the docstring says that this is not seen
    (tmp_path / "x").write_bytes(bytes(2001))
    assert video_id_of(tmp_path / "x") != plain


def test_what_is_no_regular_file_has_no_id_of_content(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for name in ("pipe.mp4", "folder.mp4", "missing.mp4"):
        with pytest.raises(OSError, match=name):
            video_id_of(tmp_path / name)
    assert id_of_unreadable(tmp_path / "a") != id_of_unreadable(tmp_path / "b")
    assert id_of_unreadable(Path(NOT_UTF8)) == id_of_unreadable(Path(NOT_UTF8))
