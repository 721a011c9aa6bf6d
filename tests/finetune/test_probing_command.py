"""`nightreel probe` as it is typed: one JSON object, a picture, exit codes."""

from pathlib import Path

import numpy as np
import pytest
from archives import MadeArchive, MakeArchive
from command import nightreel

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def labelled(make_archive: MakeArchive, tmp_path: Path) -> tuple[MadeArchive, Path]:
    """40 films, red or blue with noise, and their labels, one row of which is bad."""
    archive, rng = make_archive(dim=6), np.random.default_rng(0)
    lines = ["video,label"]
    for i in range(40):
        archive.add(f"film{i}.mp4", np.eye(6)[i % 2] + 0.3 * rng.normal(size=(4, 6)))
        lines.append(f"film{i}.mp4,{'red' if i % 2 else 'blue'}")
    table = tmp_path / "labels.csv"
    table.write_text("\n".join([*lines, "film7.mp4,", ""]), encoding="utf-8")
    return archive, table


def test_train_measure_write_search(labelled: tuple[MadeArchive, Path], tmp_path: Path) -> None:
    archive, table = labelled
    picture = tmp_path / "c.png"
    done = nightreel(
        "probe", archive.root, "--labels", table, "--plot", picture, "--write", "colour", "--name", "shade", "--json"
    )
    assert done.code == 0, done.err
    got = done.json
    assert got["task"] == "probe"
    assert got["on"] == str(archive.root)
    assert got["metrics"]["top-1"] > 80
    assert got["bad_rows"] == ["labels.csv, line 42: no label"]
    assert got["wrote"] == {"column": "colour", "given": 40, "predicted": 0, "changed": 40}
    assert Path(got["saved"]).is_dir()
    assert picture.stat().st_size > 1000
    assert "left out: labels.csv, line 42: no label" in done.err
    found = nightreel("search", archive.root, "--where", "colour = 'red'", "--by", "video", "--top", 40, "--json")
    assert found.code == 0, found.err
    assert {Path(one["path"]).name for one in found.json["results"]} == {f"film{i}.mp4" for i in range(1, 40, 2)}


def test_apply_to_later_videos(labelled: tuple[MadeArchive, Path]) -> None:
    archive, table = labelled
    assert nightreel("probe", archive.root, "--labels", table, "--write", "colour").code == 0
    archive.add("later.mp4", np.eye(6)[[1] * 3])
    done = nightreel("probe", archive.root, "--apply", "probe", "--write", "colour", "--json")
    assert done.code == 0, done.err
    later = next(one for one in done.json["predictions"] if one["path"] == "/films/later.mp4")
    assert later["label"] == "red"
    assert 0.5 < later["probability"] <= 1
    assert done.json["wrote"] == {"column": "colour", "given": 40, "predicted": 1, "changed": 1}
    told = nightreel("probe", archive.root, "--apply", "probe")
    assert told.out.splitlines()[-1].startswith("41 videos: ")


def test_the_table_that_people_see(labelled: tuple[MadeArchive, Path]) -> None:
    archive, table = labelled
    done = nightreel("probe", archive.root, "--labels", table)
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("40 examples of 2 classes in toy; parted by source")
    assert [line[2:].split()[0] for line in lines if line.startswith(("> ", "  ")) and ":" in line] == [
        "linear:toy",
        "k-NN:toy",
    ]
    assert sum(line.startswith("> ") for line in lines) == 1
    assert any(line.strip().startswith("chance") and line.endswith("50.0") for line in lines)
    assert "fewer than" in done.err or "rough" in done.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "got neither; expected --labels FILE"),
        (["--labels", "x.csv", "--apply", "probe"], 2, "got both"),
        (["--apply", "probe", "--encoder", "toy"], 2, "go with --labels"),
        (["--labels", "x.csv", "--skip-copies", "--threshold", "0.9"], 2, "leave one out"),
        (["--apply", "nobody"], 2, "no probe 'nobody'"),
        (["--labels", "nowhere.csv"], 2, "nowhere.csv"),
        (["--labels", "nowhere.csv", "--dataset", "msrvtt"], 2, "msrvtt"),
    ],
)
def test_wrong_usage(colours: MadeArchive, words: list[str], code: int, said: str) -> None:
    done = nightreel("probe", colours.root, *words)
    assert done.code == code
    assert said in done.err
    assert not done.out


def test_labelled_videos_that_are_missing_are_refused(labelled: tuple[MadeArchive, Path]) -> None:
    archive, table = labelled
    table.write_text(table.read_text(encoding="utf-8") + "nowhere.mp4,red\n", encoding="utf-8")
    done = nightreel("probe", archive.root, "--labels", table)
    assert (done.code, "nowhere.mp4: no such file" in done.err) == (4, True)
    assert nightreel("probe", archive.root, "--labels", table, "--allow-missing").code == 0
