"""What the user named, as a list of files."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nightreel.extract.decode.faults import check_regular_file
from nightreel.extract.errors import UsageError, VideoError
from nightreel.extract.inputs import SUFFIXES, expand

NAMES = ("b.mp4", "a.MKV", "notes.txt", "sub/c.webm", "sub/deep/d.mov", ".hidden/e.mp4", ".f.mp4", "sub/nothing.jpg")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "videos"
    for name in NAMES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    monkeypatch.chdir(root)
    return root


def names(root: Path, *inputs: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in expand(inputs)]


def test_a_folder_is_walked_sorted_without_hidden_and_other_files(folder: Path) -> None:
    expected = ["a.MKV", "b.mp4", "sub/c.webm", "sub/deep/d.mov"]
    assert names(folder, str(folder)) == expected
    assert names(folder, ".") == expected
    assert all(path.is_absolute() for path in expand(["."]))


def test_a_named_file_is_taken_whatever_its_suffix(folder: Path) -> None:
    assert names(folder, "sub/nothing.jpg", ".f.mp4") == ["sub/nothing.jpg", ".f.mp4"]


def test_a_glob_is_sorted_and_takes_folders_whole(folder: Path) -> None:
    assert names(folder, "*.m*") == ["b.mp4"]
    assert names(folder, "**/*.mov") == ["sub/deep/d.mov"]
    assert names(folder, "su*") == ["sub/c.webm", "sub/deep/d.mov"]


def test_a_name_with_brackets_is_itself_before_it_is_a_glob(folder: Path) -> None:
    (folder / "x[1].mp4").write_bytes(b"")
    assert names(folder, "x[1].mp4") == ["x[1].mp4"]


def test_each_file_once_in_the_order_named(folder: Path) -> None:
    assert names(folder, "sub/c.webm", "./sub/../sub/c.webm", "b.mp4", ".") == [
        "sub/c.webm",
        "b.mp4",
        "a.MKV",
        "sub/deep/d.mov",
    ]


def test_lists_are_relative_to_themselves(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "list.txt").write_text(f"# tonight\n\n b.mp4 \r\n{folder / 'a.MKV'}\nsub/c.webm\nb.mp4\n")
    (folder / "list.csv").write_text("title,path\nNight,sub/c.webm\nDay,b.mp4\n")
    pq.write_table(pa.table({"video": ["a.MKV", "b.mp4"]}), folder / "list.PARQUET")
    monkeypatch.chdir(tmp_path)
    assert names(folder, "videos/list.txt") == ["b.mp4", "a.MKV", "sub/c.webm"]
    assert names(folder, "videos/list.csv") == ["sub/c.webm", "b.mp4"]
    assert names(folder, "videos/list.PARQUET") == ["a.MKV", "b.mp4"]


def test_lists_from_other_systems_and_with_odd_names(folder: Path) -> None:
    odd = ["line\u2028separator.mp4", "é 🎬.mp4", os.fsdecode(b"caf\xe9.mp4")]
    for name in odd:
        (folder / name).write_bytes(b"")
    lines = "\r\n".join(["b.mp4", *odd])
    (folder / "windows.txt").write_bytes(b"\xef\xbb\xbf" + os.fsencode(lines))
    assert [path.name for path in expand(["windows.txt"])] == ["b.mp4", *odd]


def test_names_in_a_csv_are_text_even_if_they_look_like_numbers(folder: Path) -> None:
    (folder / "0012").write_bytes(b"")
    (folder / "list.csv").write_text("path\n0012\n")
    assert names(folder, "list.csv") == ["0012"]


def test_a_newline_in_a_name_is_part_of_it(folder: Path) -> None:
    (folder / "two\nlines.mp4").write_bytes(b"")
    pq.write_table(pa.table({"path": ["two\nlines.mp4"]}), folder / "list.parquet")
    assert names(folder, "two\nlines.mp4") == names(folder, "list.parquet") == ["two\nlines.mp4"]
    assert "two\nlines.mp4" in names(folder, ".")


def test_pipes_and_folders_named_like_videos(folder: Path) -> None:
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    (folder / "folder.mp4" / "in.mp4").write_bytes(b"")
    (folder / "dangling.mp4").symlink_to("nowhere")
    assert names(folder, "pipe.mp4", "folder.mp4", "dangling.mp4") == ["pipe.mp4", "folder.mp4/in.mp4", "dangling.mp4"]
    assert {"pipe.mp4", "folder.mp4/in.mp4", "dangling.mp4"} < set(names(folder, "."))
    assert "folder.mp4" not in names(folder, ".")


def test_a_link_keeps_its_name(folder: Path) -> None:
    (folder / "link.mp4").symlink_to("b.mp4")
    assert names(folder, "link.mp4") == ["link.mp4"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("missing.mp4", "no such file or folder"),
        ("*.nothing", "no such file or folder"),
        ("n" * 5000, "no such file or folder"),
        ("nul\0.mp4", "no such file or folder"),
        ("", "input is empty"),
        ("empty", "no videos in folder"),
        ("emp*", "only folders without videos"),
        ("gone.txt", "no such file or folder"),
        ("bad.txt", "none of the 1 files that list"),
        ("comments.txt", "names no videos"),
        ("headers.csv", "names no videos"),
        ("columns.csv", "expected one named `path`"),
        ("holes.csv", "row 2 has no path"),
        ("ragged.csv", "cannot be read as a table"),
        ("text.parquet", "cannot be read as a table"),
    ],
)
def test_what_names_nothing_is_a_usage_error(folder: Path, text: str, said: str) -> None:
    (folder / "empty").mkdir()
    (folder / "bad.txt").write_text("missing.mp4\n")
    (folder / "comments.txt").write_text("# nothing\n\n")
    (folder / "headers.csv").write_text("path,title\n")
    (folder / "columns.csv").write_text("file,title\nb.mp4,x\n")
    (folder / "holes.csv").write_text("path,title\nb.mp4,x\n,y\n")
    (folder / "ragged.csv").write_text("path,title\nb.mp4\nb.mp4,x,y\n")
    (folder / "text.parquet").write_text("path\nb.mp4\n")
    with pytest.raises(UsageError, match=said) as caught:
        expand(["b.mp4", text])
    assert caught.value.exit_code == 2


def test_the_suffixes_are_lower_case_with_a_dot() -> None:
    assert all(s.startswith(".") and s == s.lower() for s in SUFFIXES)
    assert {".mp4", ".mkv", ".webm", ".avi", ".mov", ".mxf"} <= SUFFIXES


def test_linked_folders_are_followed_once_and_loops_end(tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    (tmp_path / "nas" / "a.mp4").write_bytes(b"x")
    top = tmp_path / "videos"
    (top / "sub").mkdir(parents=True)
    (top / "sub" / "up").symlink_to(top)
    (top / "one").symlink_to(tmp_path / "nas")
    (top / "two").symlink_to(tmp_path / "nas")
    assert expand([str(top)]) == [top / "one" / "a.mp4"]


def test_a_folder_that_cannot_be_listed_fails_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests may run as root, who may list everything; so the system's answer is made up."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.mp4").write_bytes(b"x")
    (tmp_path / "shut").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert expand([str(tmp_path)]) == [tmp_path / "open" / "a.mp4", tmp_path / "shut"]
    with pytest.raises(VideoError, match="no permission"):
        check_regular_file(tmp_path / "shut")
