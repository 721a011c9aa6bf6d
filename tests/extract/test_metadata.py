"""The user's own columns: which video they belong to, and what is refused."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nightreel.extract.errors import UsageError
from nightreel.extract.metadata import lookup, merged, read_metadata


def table(folder: Path, text: str, name: str = "table.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_by_absolute_and_by_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, f"path,title,year\nsub/a.mp4,Night,1984\n{tmp_path}/b.mp4,Day,1990\n")
    monkeypatch.chdir(tmp_path)
    for found in (read_metadata(path), read_metadata(Path("table.csv"))):
        assert lookup(found, tmp_path / "sub" / "a.mp4") == {"title": "Night", "year": 1984}
        assert lookup(found, tmp_path / "b.mp4") == {"title": "Day", "year": 1990}
        assert lookup(found, tmp_path / "c.mp4") == {}


def test_by_bare_name_wherever_the_video_is(tmp_path: Path) -> None:
    found = read_metadata(table(tmp_path, "video,title\na.mp4,Night\n/old/disk/b.mp4,Day\n"))
    assert lookup(found, Path("/new/disk/a.mp4")) == {"title": "Night"}
    assert lookup(found, Path("/new/disk/b.mp4")) == {"title": "Day"}


def test_a_bare_name_that_two_rows_share_names_neither(tmp_path: Path) -> None:
    found = read_metadata(table(tmp_path, "path,title\nx/a.mp4,One\ny/a.mp4,Two\n"))
    assert lookup(found, tmp_path / "x" / "a.mp4") == {"title": "One"}
    assert lookup(found, tmp_path / "y" / "a.mp4") == {"title": "Two"}
    assert lookup(found, tmp_path / "z" / "a.mp4") == {}


def test_a_row_of_a_file_that_is_there_says_nothing_of_its_namesakes(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    found = read_metadata(table(tmp_path, "path,title\na.mp4,Night\n"))
    assert lookup(found, tmp_path / "a.mp4") == {"title": "Night"}
    assert lookup(found, tmp_path / "other" / "a.mp4") == {}


def test_parquet_keeps_types_and_names_stay_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["a.mp4"], "tags": [["x", "y"]], "score": [1.5]}), tmp_path / "t.parquet")
    assert lookup(read_metadata(tmp_path / "t.parquet"), Path("a.mp4")) == {"tags": ["x", "y"], "score": 1.5}
    assert lookup(read_metadata(table(tmp_path, "path,n\n007,1\n")), tmp_path / "007") == {"n": 1}


def test_empty_cells_and_nan_are_there_as_none(tmp_path: Path) -> None:
    found = read_metadata(table(tmp_path, "path,title,year\na.mp4,,1984\nb.mp4,Day,\n"))
    assert lookup(found, Path("a.mp4")) == {"title": None, "year": 1984}
    assert lookup(found, Path("b.mp4")) == {"title": "Day", "year": None}
    pq.write_table(pa.table({"path": ["a.mp4"], "score": [float("nan")]}), tmp_path / "t.parquet")
    assert lookup(read_metadata(tmp_path / "t.parquet"), Path("a.mp4")) == {"score": None}


PROBED = {"action": "run", "action_probability": 0.8, "action_by": "probe:sport"}


@pytest.mark.parametrize(
    ("before", "told", "after"),
    [
        ({}, {}, {}),
        ({"a": 1}, {}, {"a": 1}),
        ({}, {"a": 1, "b": None}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 3}, {"a": 3, "b": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": 1}, {"a": 0, "b": "", "c": False}, {"a": 0, "b": "", "c": False}),
        (PROBED, {"tape": 3}, {**PROBED, "tape": 3}),
        (PROBED, {"action": "swim"}, {"action": "swim"}),  # the owner says so now, not the probe
        (PROBED, {"action": None}, {}),
        ({**PROBED, "action_by": "label"}, {"action": "run"}, {"action": "run"}),
        (PROBED, {**PROBED, "tape": 3}, {**PROBED, "tape": 3}),  # as it was exported
        ({"film": "x", "film_by": "Ann"}, {"film": "y"}, {"film": "y", "film_by": "Ann"}),
        ({"song": "x", "song_by": "labels united"}, {"song": "y"}, {"song": "y", "song_by": "labels united"}),
    ],
)
def test_a_table_replaces_the_columns_that_it_names(
    before: dict[str, Any], told: dict[str, Any], after: dict[str, Any]
) -> None:
    assert merged(before, told) == after
    assert merged(after, told) == after  # the same table again changes nothing


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title\nNight\n", "columns title; expected one named `path`"),
        ("path,duration_s\na.mp4,3\n", "rename it, for example my_duration_s"),
        ("path,video_id\na.mp4,3\n", "my_video_id"),
        ("path,t\na.mp4,1\nb.mp4,2\na.mp4,3\n", "a.mp4 has 2 rows; expected one row per video"),
        ("path,t\na.mp4,1\n./a.mp4,2\n", "a.mp4 has 2 rows; expected one row per video"),
        ("path,t\n,1\n", "row 1 has no path"),
        ("path,t\na.mp4,1,2\n", "cannot be read as a table"),
    ],
)
def test_tables_that_cannot_be_meant(tmp_path: Path, text: str, said: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(UsageError, match=said) as caught:
        read_metadata(path)
    assert str(path) in str(caught.value)


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such file.*Expected"):
        read_metadata(tmp_path / "none.csv")
