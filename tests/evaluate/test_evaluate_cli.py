"""`nightreel evaluate` end to end: on archives of the toy encoder and on files."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.main
from archives import MadeArchive, MakeArchive
from command import nightreel
from nightreel.commands.evaluating import evaluate
from nightreel.search.archive import Archive

CSV = "key,vid_key,video_id,sentence\n"


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> MadeArchive:
    """Six videos of one colour each, called by it, and one of three scenes; indexed, and only read."""
    archive = MadeArchive(tmp_path_factory.mktemp("films") / "films.reel")
    for colour in ("red", "green", "blue", "yellow", "white", "black"):
        archive.add(f"{colour}.mp4", [colour] * 6)
    archive.add("mixed.mp4", ["green"] * 20 + ["red"] * 10 + ["green"] * 20)
    Archive(archive.root).build_index()
    return archive


def pairs(path: Path, *of: tuple[str, str]) -> Path:
    """A csv as of MSR-VTT 1k-A of (video, sentence)."""
    rows = [f"ret{i},msr{i},{video},{text}\n" for i, (video, text) in enumerate(of)]
    path.write_text(CSV + "".join(rows))
    return path


def jsonl(path: Path, *records: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("name", ["retrieval", "grounding", "classification", "splits", "make-splits"])
def test_examples_name_options_that_exist(name: str) -> None:
    command = typer.main.get_command(evaluate).commands[name]  # type: ignore[attr-defined]
    assert command.help
    assert command.epilog.startswith(f"Example: nightreel evaluate {name}")
    known = {option for parameter in command.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z-]+", command.epilog)) <= known


# --- retrieval --------------------------------------------------------------------------------------------


def test_retrieval_on_an_archive(films: MadeArchive, tmp_path: Path) -> None:
    csv = pairs(tmp_path / "t.csv", ("red", "something red"), ("blue", "something blue"), ("green", "a black thing"))
    words = ("evaluate", "retrieval", "--archive", films.root, "--dataset", "msrvtt", "--annotations", csv)
    got = nightreel(*words, "--json")
    assert got.code == 0, got.err
    result = got.json
    # Only the benchmark's three videos are ranked. `black` is as near to red, green and blue: three equal ones, rank 3.
    assert result["text_to_video"] == {
        "R@1": 66.6667,
        "R@5": 100.0,
        "R@10": 100.0,
        "R@50": 100.0,
        "MdR": 1.0,
        "MnR": pytest.approx(5 / 3, abs=1e-3),
    }
    assert result["video_to_text"]["R@1"] == 100.0  # and still black fits green footage better than red or blue do
    assert (result["queries"], result["videos"], result["missing_videos"]) == (3, 3, 0)
    assert (result["dataset"], result["encoder"], result["on"]) == ("msrvtt", "toy", str(films.root))
    table = nightreel(*words, "--dual-softmax")
    assert "text to video           66.7       100.0" in table.out
    assert "  dual_softmax" in table.out
    assert "95 %" in table.out


def test_retrieval_says_what_is_missing(films: MadeArchive, tmp_path: Path) -> None:
    csv = pairs(tmp_path / "t.csv", ("red", "something red"), ("gone", "something blue"))
    words = ("evaluate", "retrieval", "--archive", films.root, "--dataset", "msrvtt", "--annotations", csv)
    refused = nightreel(*words)
    assert refused.code == 4
    assert "1 of the 2 videos of msrvtt are not in" in refused.err
    allowed = nightreel(*words, "--allow-missing", "--json")
    assert allowed.code == 0
    assert allowed.json["missing_videos"] == allowed.json["missing_records"] == 1
    assert "not comparable with published ones" in allowed.err


def test_retrieval_of_some_videos(films: MadeArchive, tmp_path: Path) -> None:
    csv = pairs(tmp_path / "t.csv", ("red", "something red"), ("gone", "something blue"))
    (tmp_path / "list.txt").write_text("red\n")
    words = ("evaluate", "retrieval", "--archive", films.root, "--dataset", "msrvtt", "--annotations", csv)
    assert nightreel(*words, "--videos", tmp_path / "list.txt", "--json").json["queries"] == 1


def test_retrieval_without_or_behind_its_index(colours: MadeArchive, tmp_path: Path) -> None:
    csv = pairs(tmp_path / "t.csv", ("late", "something red"))
    words = ("evaluate", "retrieval", "--dataset", "msrvtt", "--annotations", csv, "--archive", colours.root)
    without = nightreel(*words)
    assert without.code == 4
    assert "has no index of toy" in without.err
    Archive(colours.root).build_index()
    colours.add("late.mp4", ["red"])
    stale = nightreel(*words)
    assert stale.code == 4
    assert "not in the index" in stale.err


def test_retrieval_of_a_matrix(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.array([[0.9, 0.1], [0.8, 0.7], [0.2, 0.3]]))
    (tmp_path / "p.json").write_text("[0, 1, 1]")
    words = ("evaluate", "retrieval", "--similarity", tmp_path / "s.npy")
    got = nightreel(*words, "--positives", tmp_path / "p.json", "--json").json
    assert got["text_to_video"]["R@1"] == 66.6667
    assert got["video_to_text"]["R@1"] == 100.0
    assert got["dataset"] is None
    refused = nightreel(*words)
    assert refused.code == 2
    assert "not square" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "neither an archive nor files"),
        (["--archive", "a.reel"], "--dataset and --annotations not given"),
        (["--similarity", "s.npy", "--archive", "a.reel"], "got --similarity and --archive"),
        (["--similarity", "s.npy", "--split", "test"], "--split go with --archive only"),
        (["--archive", "a", "--dataset", "b", "--annotations", "c", "--positives", "p.npy"], "--positives goes with"),
        (["--archive", "a", "--dataset", "b", "--annotations", "c"], "no such dataset for retrieval: b"),
    ],
)
def test_wrong_options_of_retrieval(words: list[str], said: str) -> None:
    got = nightreel("evaluate", "retrieval", *words)
    assert got.code == 2
    assert said in got.err


# --- grounding --------------------------------------------------------------------------------------------


def test_grounding_on_an_archive_by_the_protocol_of_charades(films: MadeArchive, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("mixed 20.0 30.0##something red.\nmixed 0.0 5.0##something red.\n")
    words = (
        "evaluate",
        "grounding",
        "--archive",
        films.root,
        "--dataset",
        "charades",
        "--annotations",
        tmp_path / "c.txt",
    )
    got = nightreel(*words, "--save", tmp_path / "p.jsonl", "--json")
    assert got.code == 0, got.err
    assert got.json["metrics"]["R1@0.7"] == 50.0
    saved = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [one["vid"] for one in saved] == ["mixed", "mixed"]
    assert saved[0]["pred_relevant_windows"][0][:2] == [20.0, 30.0]
    files = ("--predictions", tmp_path / "p.jsonl", "--ground-truth", tmp_path / "c.txt", "--format", "charades")
    assert nightreel("evaluate", "grounding", *files, "--json").json["metrics"] == got.json["metrics"]
    assert "R1@0.7                  50.00   95 %: 50.0-50.0" in nightreel(*words).out


def test_grounding_on_an_archive_by_the_protocol_of_qvhighlights(films: MadeArchive, tmp_path: Path) -> None:
    truth = {
        "qid": 7,
        "query": "something red",
        "vid": "mixed",
        "duration": 50,
        "relevant_windows": [[20, 30]],
        "relevant_clip_ids": [10, 11, 12, 13, 14],
        "saliency_scores": [[4, 4, 4]] * 5,
    }
    path = jsonl(tmp_path / "q.jsonl", truth)
    words = (
        "--archive",
        films.root,
        "--dataset",
        "qvhighlights",
        "--annotations",
        path,
        "--save",
        tmp_path / "p.jsonl",
    )
    got = nightreel("evaluate", "grounding", *words, "--json").json
    assert got["metrics"]["brief"]["MR-full-R1@0.7"] == 100.0
    assert got["metrics"]["brief"]["HL-min-VeryGood-mAP"] == 100.0
    assert json.loads((tmp_path / "p.jsonl").read_text())["qid"] == 7
    table = nightreel("evaluate", "grounding", *words).out
    assert "MR-full-R1@0.7         100.00   95 %: 100.0-100.0" in table


def test_the_benchmarks_own_sample(shared_data: Path) -> None:
    folder = shared_data / "qvh"
    files = ("--predictions", folder / "sample_predictions.jsonl", "--ground-truth", folder / "queries.jsonl")
    got = nightreel("evaluate", "grounding", *files, "--format", "qvhighlights", "--json").json
    assert got["metrics"] == json.loads((folder / "sample_metrics.json").read_text())
    low, high = got["intervals"]["mAP"]
    assert low < got["metrics"]["brief"]["MR-full-mAP"] < high


def test_wrong_files_of_grounding(tmp_path: Path) -> None:
    truth = jsonl(tmp_path / "q.jsonl", {"qid": 7, "query": "x", "vid": "v", "duration": 50})
    some = jsonl(tmp_path / "p.jsonl", {"qid": 7, "pred_relevant_windows": []})
    words = ("evaluate", "grounding", "--predictions", some, "--ground-truth", truth)
    got = nightreel(*words, "--format", "qvhighlights")
    assert got.code == 2
    assert "have no span" in got.err
    assert "--format not given" in nightreel(*words).err


# --- classification ---------------------------------------------------------------------------------------


def test_classification_of_stored_labels(make_archive: MakeArchive, tmp_path: Path) -> None:
    archive = make_archive(labels=5)
    archive.add("v_Yoga_g01_c01.avi", ["red"] * 2, labels=[(("yoga", 0.4), ("golf", 0.6)), (("yoga", 1.0),)])
    archive.add("v_Golf_g01_c01.avi", ["red"], labels=[(("yoga", 0.7), ("golf", 0.3))])
    (tmp_path / "list.txt").write_text("Yoga/v_Yoga_g01_c01.avi\nGolf/v_Golf_g01_c01.avi\n")
    words = ("--archive", archive.root, "--dataset", "ucf", "--annotations", tmp_path / "list.txt")
    got = nightreel("evaluate", "classification", *words, "--json").json
    assert got["metrics"] == {"top-1": 50.0, "mean-class": 50.0}
    assert got["clips"] == 3
    table = nightreel("evaluate", "classification", *words).out
    assert "top-1                   50.00" in table
    assert "    0.00      1 videos  golf" in table


def test_classification_of_scores(tmp_path: Path) -> None:
    np.save(tmp_path / "s.npy", np.eye(6)[[0, 1, 2, 2]])
    np.save(tmp_path / "l.npy", np.array([0, 1, 2, 3]))
    np.save(tmp_path / "o.npy", np.array([0, 1, 2, 2]))
    words = ("evaluate", "classification", "--scores", tmp_path / "s.npy")
    got = nightreel(*words, "--labels", tmp_path / "l.npy", "--json").json
    assert got["metrics"] == {"top-1": 75.0, "top-5": 75.0, "mean-class": 75.0}
    assert "--labels not given" in nightreel(*words).err
    views = nightreel(*words, "--labels", tmp_path / "l.npy", "--owner", tmp_path / "o.npy")
    assert views.code == 2
    assert "rows of the video 2 have different labels" in views.err


def test_classification_without_labels_says_how_to_get_them(films: MadeArchive, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("Yoga/red.mp4\n")
    words = ("--archive", films.root, "--dataset", "ucf", "--annotations", tmp_path / "list.txt")
    got = nightreel("evaluate", "classification", *words)
    assert got.code == 4
    assert "--labels 5" in got.err
