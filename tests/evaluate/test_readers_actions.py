"""Kinetics, UCF101, Something-Something and plain lists: videos and their classes."""

import json
from pathlib import Path
from typing import Any

import pytest
from nightreel.evaluate.readers import read_dataset
from nightreel.evaluate.records import Dataset, Labelled, Note, Source
from nightreel.extract.errors import UsageError


def write(folder: Path, file: str, content: Any) -> Path:
    path = folder / file
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(folder: Path, name: str, file: str, content: Any, classes: Path | None = None) -> Dataset:
    return read_dataset("classification", name, write(folder, file, content), classes=classes)


KINETICS = "label,youtube_id,time_start,time_end,split,is_cc\n"


def test_kinetics(tmp_path: Path) -> None:
    rows = '"air drumming",--nQbRBEz2s,104,114,validate,0\ntestifying,---QUuC4vJs,4.0,14.0,validate,1\n'
    dataset = read(tmp_path, "kinetics", "validate.csv", KINETICS + rows)
    assert dataset.labelled == (
        Labelled("--nQbRBEz2s_000104_000114", "air drumming", "validate", "--nQbRBEz2s"),
        Labelled("---QUuC4vJs_000004_000014", "testifying", "validate", "---QUuC4vJs"),
    )
    assert dataset.sources == (Source("validate.csv", 2),)
    assert dataset.classes == ()
    assert dataset.only("validate") == dataset
    names = write(tmp_path, "label_map_k400.txt", "air drumming\ntestifying\n")
    assert read(tmp_path, "kinetics", "a.csv", KINETICS + rows, names).classes == ("air drumming", "testifying")
    with pytest.raises(
        UsageError, match=r"a.csv, line 3: got testifying; expected one of the 1 classes, such as 'air dru"
    ):
        read(tmp_path, "kinetics", "a.csv", KINETICS + rows, write(tmp_path, "one.txt", "air drumming\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("youtube_id,time_start,time_end,split\nx,1,2,test\n", "expected a header with the column label"),
        (KINETICS + "a,x,10,10,train,0\n", "line 2: got 10 to 10; expected 0 <= time_start < time_end"),
        (KINETICS + "a,x,ten,20,train,0\n", "line 2: got ten; expected a number"),
        (KINETICS + ",x,10,20,train,0\n", "line 2: got label '' of 'x'; expected a class and a YouTube id"),
    ],
)
def test_kinetics_of_another_shape(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(tmp_path, "kinetics", "a.csv", content)


def test_a_video_counts_once(tmp_path: Path) -> None:
    rows = "a,x,10,20,train,0\na,x,10,20,train,0\nb,x,10,20,train,0\n"
    dataset = read(tmp_path, "kinetics", "train.csv", KINETICS + rows)
    assert dataset.labelled == (Labelled("x_000010_000020", "a", "train", "x"),)
    assert dataset.sources[0].entries == 3
    assert dataset.sources[0].notes == (
        Note("entries left out: the video stands above with the same class", 1, "line 3"),
        Note("entries left out: the video stands above with another class", 1, "line 4"),
    )


def test_ucf(tmp_path: Path) -> None:
    classes = write(tmp_path, "classInd.txt", "1 ApplyEyeMakeup\r\n2 HandstandPushups\r\n")
    train = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1\nHandstandPushups/v_HandStandPushups_g01_c01.avi 2\n"
    dataset = read(tmp_path, "ucf", "trainlist01.txt", train, classes)
    assert dataset.labelled == (
        Labelled("v_ApplyEyeMakeup_g08_c01", "ApplyEyeMakeup"),
        Labelled("v_HandStandPushups_g01_c01", "HandstandPushups"),
    )
    assert dataset.classes == ("ApplyEyeMakeup", "HandstandPushups")
    test = read(tmp_path, "ucf", "testlist01.txt", "ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi\n", classes)
    assert test.labelled == (Labelled("v_ApplyEyeMakeup_g01_c01", "ApplyEyeMakeup"),)
    for number in ("2", "0", "3", "x", "9" * 5000):
        with pytest.raises(
            UsageError, match=r"line 1: got .*; expected the number that .*classInd.txt gives the class"
        ):
            read(tmp_path, "ucf", "a.txt", f"ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi {number}\n", classes)
    with pytest.raises(UsageError, match="got Archery; expected one of the 2 classes"):
        read(tmp_path, "ucf", "a.txt", "Archery/v_Archery_g08_c01.avi\n", classes)
    for line in ("v_Archery_g08_c01.avi 3", "Archery/ 3", "Archery/a.avi 3 4", "/a.avi"):
        with pytest.raises(UsageError, match=r"line 1: got .*; expected `CLASS/FILE`"):
            read(tmp_path, "ucf", "a.txt", line)
    with pytest.raises(UsageError, match="line 2: got 3 B; expected `2 CLASS`"):
        read(tmp_path, "ucf", "trainlist01.txt", train, write(tmp_path, "c.txt", "1 A\n3 B\n"))


SSV2 = [
    {"id": "78687", "label": "holding potato next to pot", "template": "Holding [something] next to [something]"},
    {"id": "5", "label": "closing book", "template": "Closing [something]", "placeholders": ["book"]},
]


def test_ssv2(tmp_path: Path) -> None:
    classes = write(tmp_path, "labels.json", {"Holding something next to something": "1", "Closing something": "0"})
    dataset = read(tmp_path, "ssv2", "validation.json", SSV2, classes)
    assert dataset.labelled == (
        Labelled("78687", "Holding something next to something"),
        Labelled("5", "Closing something"),
    )
    assert dataset.classes == ("Closing something", "Holding something next to something")
    with pytest.raises(UsageError, match="entry 0: got None; expected a text under 'template'; keys here: id"):
        read(tmp_path, "ssv2", "test.json", [{"id": "1"}])
    for numbers in ({"Closing something": "1"}, {"a": 0, "b": 0}, {"a": 0.5}):
        with pytest.raises(UsageError, match=r"labels.json: got numbers .*; expected 0 to"):
            read(tmp_path, "ssv2", "validation.json", SSV2, write(tmp_path, "labels.json", numbers))


def test_lists(tmp_path: Path) -> None:
    content = "some/path/000.mp4 1\nair drumming/a b.mkv 0\nC:\\videos\\c.avi,1\n"
    dataset = read(tmp_path, "list", "val.csv", content)
    assert dataset.labelled == (Labelled("000", "1"), Labelled("a b", "0"), Labelled("c", "1"))
    names = write(tmp_path, "names.txt", "jump\nrun\n")
    named = read(tmp_path, "list", "val.csv", content, names)
    assert [record.label for record in named.labelled] == ["run", "jump", "run"]
    assert named.classes == ("jump", "run")
    with pytest.raises(UsageError, match=r"line 1: got class 2; expected 0 to 1, the lines of .*names.txt"):
        read(tmp_path, "list", "val.csv", "a.mp4 2\n", names)
    with pytest.raises(UsageError, match="the class jump twice"):
        read(tmp_path, "list", "val.csv", content, write(tmp_path, "names.txt", "jump\njump\n"))


@pytest.mark.parametrize("line", ["a.mp4", "a.mp4 run", "frames/a 163 1", "a.mp4 1 2", "a.mp4 -1", " 3", "a.mp4 1.0"])
def test_lists_of_another_shape(tmp_path: Path, line: str) -> None:
    with pytest.raises(UsageError, match=r"line 2: got .*; expected `PATH NUMBER`, one class per video"):
        read(tmp_path, "list", "val.txt", "a.mp4 1\n" + line)
