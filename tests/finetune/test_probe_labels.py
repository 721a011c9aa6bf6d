"""Labels come from tables and benchmarks' lists; a bad row is listed, never guessed."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from nightreel.extract.errors import UsageError
from nightreel.finetune.probing.labels import read_labels


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


ROWS = [
    {"video": "a.mp4", "label": "run", "split": "train", "start_s": 0, "end_s": 2.5},
    {"video": "b.mp4", "label": "jump, high", "split": "test", "start_s": None, "end_s": None},
]


def test_the_three_kinds_of_table_say_the_same(tmp_path: Path) -> None:
    csv = write(
        tmp_path / "a.csv", 'video,label,split,start_s,end_s\na.mp4,run,train,0,2.5\nb.mp4,"jump, high",test,,\n'
    )
    jsonl = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, ROWS)))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    read = [read_labels([name]).examples for name in (csv, jsonl, str(tmp_path / "a.parquet"))]
    assert read[0] == read[1] == read[2]
    first, second = read[0]
    assert (first.record.video, first.record.label, first.record.split, first.span) == (
        "a.mp4",
        "run",
        "train",
        (0, 2.5),
    )
    assert (second.record.label, second.span) == ("jump, high", None)


def test_bad_rows_are_listed_with_line_and_reason(tmp_path: Path) -> None:
    table = write(
        tmp_path / "t.csv",
        "video,label,start_s,end_s\n"
        "a.mp4,run,,\n"  # 2
        ",run,,\n"  # 3
        "b.mp4,,,\n"  # 4
        "c.mp4,run\n"  # 5
        "d.mp4,run,5,2\n"  # 6
        "e.mp4,run,soon,9\n"  # 7
        "f.mp4,run,1,\n"  # 8
        "a.mp4,jump,,\n"  # 9
        "a.mp4,run,,\n"  # 10
        "a.mp4,jump,0:01,0:02\n"  # 11, a span of it may be of another class
        "\n",
    )
    read = read_labels([table])
    assert [(one.record.video, one.span) for one in read.examples] == [("a.mp4", None), ("a.mp4", (1, 2))]
    told = {str(row).split(": ")[0]: str(row).split(": ", 1)[1] for row in read.bad}
    assert list(told) == [f"t.csv, line {n}" for n in (3, 4, 5, 6, 7, 8, 9, 10)]
    reasons = ["no video", "no label", "2 cells", "start_s < end_s", "seconds", "both", "'run'", "the same label"]
    for reason, why in zip(reasons, told.values(), strict=True):
        assert reason in why


def test_json_lines_that_are_no_objects_are_bad_rows(tmp_path: Path) -> None:
    table = write(
        tmp_path / "t.jsonl", '{"path": "a.mp4", "label": 7}\n[1]\n{"path": \n{"path": "b.mp4", "label": ["x"]}\n'
    )
    read = read_labels([table])
    assert [(one.record.video, one.record.label) for one in read.examples] == [("a.mp4", "7")]
    assert ["a JSON list" in read.bad[0].reason, "not JSON" in read.bad[1].reason, read.bad[2].reason] == [
        True,
        True,
        "no label",
    ]


def test_a_file_may_be_of_one_split(tmp_path: Path) -> None:
    train = write(tmp_path / "a.csv", "video,label,split\na,run,\nb,run,test\n")
    test = write(tmp_path / "b.csv", "video,label\nc,run\na,run\n")
    read = read_labels([f"train={train}", f"test={test}"])
    assert [(one.record.video, one.record.split) for one in read.examples] == [("a", "train"), ("c", "test")]
    assert [row.reason for row in read.bad] == [
        "its split is 'test', but the file was named as train=",
        "a stands above in split 'train'",
    ]


def test_a_file_with_an_equals_sign_in_its_name_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "train=a.csv", "video,label\nx,run\n")
    assert read_labels(["train=a.csv"]).examples[0].record.split is None


def test_benchmarks_lists(tmp_path: Path) -> None:
    train = write(tmp_path / "trainlist01.txt", "Run/v_Run_g01_c01.avi 1\n")
    test = write(tmp_path / "testlist01.txt", "Run/v_Run_g02_c01.avi\nJump/v_Jump_g02_c01.avi\n")
    read = read_labels([f"train={train}", f"test={test}"], "ucf")
    assert [(one.record.video, one.record.label, one.record.split) for one in read.examples] == [
        ("v_Run_g01_c01", "Run", "train"),
        ("v_Run_g02_c01", "Run", "test"),
        ("v_Jump_g02_c01", "Jump", "test"),
    ]


def test_notes_of_labels_that_differ_only_in_spelling_and_of_columns_that_say_nothing(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "video,label,begin\na,High_Jump,1\nb,high jump,2\nc,run,3\n")
    columns, spelling = read_labels([table]).notes
    assert "the columns begin" in columns
    assert spelling.startswith("'High_Jump' and 'high jump' are different classes here")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "video,class\na,run\n", "expected the columns `video` .* and `label`"),
        ("t.csv", "name,label\na,run\n", "expected the columns"),
        ("t.csv", "video,label\n", "no row can be used"),
        ("t.csv", "", "no row can be used"),
        ("t.csv", "video,label\n,\n", "line 2: no video"),
        ("t.csv", 'video,label\na,"run\n', "Check the double quotes"),
        ("t.txt", "a run\n", "ends in .txt"),
    ],
)
def test_files_that_are_no_labels(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_labels([write(tmp_path / name, text)])


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--labels: got none"):
        read_labels([])
    with pytest.raises(UsageError, match="--classes goes with --dataset"):
        read_labels([write(tmp_path / "t.csv", "video,label\na,run\n")], classes=tmp_path)
