"""`nightreel evaluate splits` and `make-splits` end to end, on an archive with an excerpt and a copy in it."""

import json
from pathlib import Path

import numpy as np
import pytest
from archives import MadeArchive, MakeArchive
from command import nightreel
from nightreel.evaluate.runners.splits import make_lists, named
from nightreel.evaluate.splits import source_of
from nightreel.extract.errors import UsageError

DIM = 64
OTHERS = [f"other{number}" for number in range(8)]


def film(seed: int, seconds: int = 12) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(seconds, DIM))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> MadeArchive:
    """Eight films that have nothing in common, a tape, an excerpt of it encoded anew, and two clips of one upload."""
    archive = MadeArchive(tmp_path_factory.mktemp("films") / "films.reel", "toy", dim=DIM)
    for number, name in enumerate(OTHERS):
        archive.add(f"{name}.mp4", film(number))
    tape = film(50, 30)
    archive.add("tape.mp4", tape)
    archive.add("excerpt.mp4", tape[10:20] + 0.01)
    archive.add("NUsG9BgSes0_60.0_210.0.mp4", film(60))
    archive.add("v_NUsG9BgSes0.mp4", film(61))
    return archive


def lists(folder: Path, **names: list[str]) -> list[str]:
    """The options for lists of these names."""
    words = []
    for split, of in names.items():
        path = folder / f"{split}.txt"
        path.write_text("".join(f"{name}\n" for name in of))
        words += ["--split", f"{split}={path}"]
    return words


# --- checking ---------------------------------------------------------------------------------------------


def test_footage_that_leaks_is_an_error_that_names_it(films: MadeArchive, tmp_path: Path) -> None:
    words = lists(tmp_path, train=[*OTHERS[:5], "tape"], test=[*OTHERS[5:], "excerpt.mp4"])
    got = nightreel("evaluate", "splits", "--archive", films.root, *words)
    assert (got.code, got.out) == (4, "")
    assert "the splits train, test leak" in got.err
    assert "the same footage: /films/tape.mp4 [10, 20) s and /films/excerpt.mp4 [0, 10) s" in got.err
    assert "nightreel evaluate make-splits" in got.err
    told = nightreel("evaluate", "splits", "--archive", films.root, *words, "--json")
    assert told.code == 4
    assert told.json["leaks"]["videos"] == told.json["leaks"]["sources"] == {}
    assert [pair["b"]["path"] for pair in told.json["leaks"]["footage"]] == ["/films/excerpt.mp4"]
    assert "raise what counts as the same: --threshold" in told.err
    # The vectors of the excerpt are the tape's plus 0.01: their cosine is 0.99995 and more.
    assert nightreel("evaluate", "splits", "--archive", films.root, *words, "--threshold", "1").code == 0
    assert (
        "--threshold 2: expected"
        in nightreel("evaluate", "splits", "--archive", films.root, *words, "--threshold", "2").err
    )


def test_splits_that_do_not_leak_say_what_was_compared(films: MadeArchive, tmp_path: Path) -> None:
    words = lists(tmp_path, train=OTHERS[:5], test=[*OTHERS[5:], "tape", "excerpt", "/films/tape.mp4"])
    got = nightreel("evaluate", "splits", "--archive", films.root, *words, "--json")
    assert (got.code, got.err) == (0, "")
    assert got.json["compared"] == "toy"
    assert got.json["leaks"] is None
    assert got.json["splits"]["test"]["videos"] == 5  # the tape once
    assert (
        "no two share a video or a source, nor footage (toy)"
        in nightreel("evaluate", "splits", "--archive", films.root, *words).out
    )


def test_without_an_archive_only_names_are_compared_and_that_is_said(tmp_path: Path) -> None:
    words = lists(tmp_path, train=["tape", "a/x.mp4"], test=["excerpt", "b/x.mp4"])
    got = nightreel("evaluate", "splits", *words)
    assert got.code == 0
    assert "train           2 videos of     2 sources" in got.out
    assert "(tape, ...)" in got.out
    assert "nor footage" not in got.out
    assert "Only names, and the sources that they tell, were compared" in got.err
    by_name = nightreel("evaluate", "splits", *lists(tmp_path, train=["a/x.mp4"], test=["x"]))
    assert by_name.code == 4
    assert "1 in train and test: x" in by_name.err
    by_source = nightreel("evaluate", "splits", *lists(tmp_path, a=["NUsG9BgSes0_0_10.mp4"], b=["v_NUsG9BgSes0"]))
    assert by_source.code == 4
    assert "1 from sources in a and b: NUsG9BgSes0" in by_source.err


def test_a_csv_of_pairs_is_a_list_and_names_match_as_a_benchmarks_do(films: MadeArchive, tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("video,sentence\nother0,a dog\nv_NUsG9BgSes0.mp4,a cat\nother0,again\n")
    words = ["--split", f"train={tmp_path / 'pairs.csv'}", *lists(tmp_path, test=["NUsG9BgSes0"])]
    got = nightreel("evaluate", "splits", "--archive", films.root, *words)
    assert got.code == 4
    assert "1 in train and test: /films/v_NUsG9BgSes0.mp4" in got.err


def test_videos_that_are_not_there_are_refused_or_counted(films: MadeArchive, tmp_path: Path) -> None:
    words = ["--archive", films.root, *lists(tmp_path, train=["other0", "lost"], test=["other1"])]
    refused = nightreel("evaluate", "splits", *words)
    assert refused.code == 4
    assert "1 videos of the splits are not in" in refused.err
    assert "lost: no such file" in refused.err
    allowed = nightreel("evaluate", "splits", *words, "--allow-missing", "--json")
    assert allowed.code == 0
    assert allowed.json["missing_videos"] == 1
    assert "their footage was not compared" in allowed.err
    both = ["--archive", films.root, *lists(tmp_path, train=["lost"], test=["lost", "other1"]), "--allow-missing"]
    assert "1 in train and test: lost" in nightreel("evaluate", "splits", *both).err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "train=a.txt"], "--split: got 1; expected two or more"),
        (["--split", "a.txt"], "--split a.txt: expected NAME=VALUE"),
        (["--split", "a=x", "--split", "a=y"], "each name once"),
        (["--split", "a/b=x", "--split", "c=y"], "--split a/b=x: expected"),
        (["--split", "a=/none.txt", "--split", "b=/none.txt"], "/none.txt: cannot be read"),
        (["--split", "a=x", "--split", "b=y", "--encoder", "toy"], "go with --archive"),
    ],
)
def test_wrong_options(words: list[str], said: str) -> None:
    got = nightreel("evaluate", "splits", *words)
    assert got.code == 2
    assert said in got.err


# --- making -----------------------------------------------------------------------------------------------


def test_what_is_made_does_not_leak_and_is_the_same_again(films: MadeArchive, tmp_path: Path) -> None:
    words = ("evaluate", "make-splits", "--archive", films.root, "--part", "train=0.6", "--part", "test=0.4")
    for seed in range(3):
        out = tmp_path / str(seed)
        made = nightreel(*words, "--out", out, "--seed", seed, "--json")
        assert made.code == 0, made.err
        names = {split: (out / f"{split}.txt").read_text().splitlines() for split in ("train", "test")}
        assert sorted(names["train"] + names["test"]) == sorted(
            [*OTHERS, "tape", "excerpt", "NUsG9BgSes0_60.0_210.0", "v_NUsG9BgSes0"]
        )
        assert made.json["splits"]["train"]["videos"] == len(names["train"])
        assert made.json["copies"] == 1
        for both in ({"tape", "excerpt"}, {"NUsG9BgSes0_60.0_210.0", "v_NUsG9BgSes0"}):
            assert both <= set(names["train"]) or both <= set(names["test"])
        check = ("--split", f"train={out / 'train.txt'}", "--split", f"test={out / 'test.txt'}")
        assert nightreel("evaluate", "splits", "--archive", films.root, *check).code == 0
        assert nightreel(*words, "--out", out, "--seed", seed).code == 0  # the same lists once more
    other = nightreel(*words, "--out", tmp_path / "0", "--seed", 1)
    assert other.code == 2
    assert "is there already, with other videos" in other.err


def test_videos_of_one_name_stand_by_their_paths(make_archive: MakeArchive, tmp_path: Path) -> None:
    archive = make_archive(dim=DIM)
    for number in range(6):
        archive.add(f"{number}", film(number), path=f"/films/{number}/clip.mp4")
    archive.add("odd", film(7), path="/films/two\nlines.mp4")
    result = make_lists(archive.store, {"a": 0.5, "b": 0.5}, tmp_path / "lists")
    names = [n for part in "ab" for n in (tmp_path / "lists" / f"{part}.txt").read_text().splitlines()]
    odd = next(row.video_id for row in archive.store.videos() if "\n" in row.path)
    assert sorted(names) == sorted([odd, *(f"/films/{number}/clip.mp4" for number in range(6))])
    assert len(set(map(source_of, names))) == 7
    assert result["left_out"] == 0
    words = [w for part in "ab" for w in ("--split", f"{part}={tmp_path / 'lists' / part}.txt")]
    assert nightreel("evaluate", "splits", "--archive", archive.root, *words).code == 0


def test_a_part_that_stays_empty_is_an_error_and_nothing_is_written(films: MadeArchive, tmp_path: Path) -> None:
    words = ("--archive", films.root, "--out", tmp_path / "lists", "--part", "a=0.999", "--part", "b=0.001")
    got = nightreel("evaluate", "make-splits", *words)
    assert got.code == 2
    assert "b got none of 12 videos of 11 sources" in got.err
    assert not (tmp_path / "lists").exists()
    shares = ("--archive", films.root, "--out", tmp_path, "--part", "a=x", "--part", "b=0.5")
    assert "--part: could not convert" in nightreel("evaluate", "make-splits", *shares).err
    few = ("--archive", films.root, "--out", tmp_path, "--part", "a=0.2", "--part", "b=0.5")
    assert (
        "got a 0.2, b 0.5; expected numbers above 0 that add up to 1" in nightreel("evaluate", "make-splits", *few).err
    )


def test_json_is_plain(films: MadeArchive, tmp_path: Path) -> None:
    result = make_lists(films.store, {"a": 0.5, "b": 0.5}, tmp_path)
    assert json.loads(json.dumps(result)) == result


def test_names_and_values() -> None:
    assert named("--split", ["a=x=y", "b_2-c=z"], "") == {"a": "x=y", "b_2-c": "z"}
    with pytest.raises(UsageError, match="got 0; expected two or more"):
        named("--split", [], "train=a")
