"""The command line as a person or a script meets it: exit codes, one JSON object, clear errors, examples that run."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import nightreel
from nightreel.extract.encoders.toy import ToyEncoder

MakeFilm = Callable[..., Path]


def test_as_a_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nightreel.cli", "info", str(tmp_path / "nothing")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("nightreel: no archive at")
    assert "Traceback" not in done.stderr


@pytest.fixture
def videos(tmp_path: Path, make_film: MakeFilm) -> Path:
    make_film(tmp_path / "videos" / "red.mp4", [("red", 4.0), ("green", 3.0)])
    make_film(tmp_path / "videos" / "blue.mp4", [("white", 3.0), ("blue", 4.0)])
    return tmp_path / "videos"


@pytest.fixture
def archive(videos: Path, tmp_path: Path) -> Path:
    assert nightreel("extract", videos, "--archive", tmp_path / "a.reel", "--encoder", "toy").code == 0
    assert nightreel("index", tmp_path / "a.reel").code == 0
    return tmp_path / "a.reel"


def test_the_whole_way(videos: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.reel"
    report = nightreel("extract", videos, "--archive", archive, "--encoder", "toy", "--json").json
    assert set(report) == {
        *("videos", "done", "partial", "failed", "skipped", "segments", "video_s", "wall_s", "stages", "failures")
    }
    assert (report["done"], report["segments"]) == (2, {"toy": 14})
    assert set(report["stages"]) == {"decode_s", "encode_s", "write_s"}
    built = nightreel("index", archive, "--json").json
    assert set(built) == {"name", "kind", "vectors", "bytes", "recall_at_10", "latency_ms_p50", "added", "removed"}
    assert (built["vectors"], built["recall_at_10"], built["added"]) == (14, 1.0, 14)
    found = nightreel("search", archive, "blue", "--top", "3", "--json").json
    assert set(found) == {"query", "encoder", "results", "took_ms"}
    best = found["results"][0]
    assert set(best) == {"rank", "video_id", "path", "start_s", "end_s", "score", "confidence"}
    assert (best["rank"], Path(best["path"]).name, best["start_s"], best["end_s"]) == (1, "blue.mp4", 3.0, 7.0)
    moment = nightreel("ground", archive, "green", "--video", "red.mp4", "--json").json
    assert set(moment) == {"query", "video_id", "path", "moments", "no_match"}
    assert (moment["moments"][0]["start_s"], moment["moments"][0]["end_s"]) == (4.0, 7.0)
    assert nightreel("info", archive, "--json").json["status"] == {"done": 2}
    assert nightreel("failures", archive, "--json").json == {"failures": []}
    assert nightreel("verify", archive, "--json").json["clean"] is True
    assert nightreel("encoders", "--json").json["aliases"]["clip"] == "openclip:PE-Core-B-16@meta"


def test_people_get_tables_and_stdout_is_only_data(archive: Path, videos: Path, tmp_path: Path) -> None:
    extracted = nightreel("extract", videos, "--archive", tmp_path / "b.reel", "--encoder", "toy")
    assert "2 videos: 2 done" in extracted.out
    assert "Next: nightreel index" in extracted.err
    found = nightreel("search", archive, "red", "--by", "video")
    assert found.out.splitlines()[1].split()[0] == "1"
    assert "red.mp4" in found.out.splitlines()[1]
    assert "2 videos (2 done)" in nightreel("info", archive).out
    assert "clean: 2 files" in nightreel("verify", archive).out
    assert "openclip:PE-Core-B-16@meta" in nightreel("encoders").out


def test_search_by_picture_by_example_and_without(archive: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (80, 60), (20, 20, 220)).save(tmp_path / "sky.png")
    by_picture = nightreel("search", archive, "--image", tmp_path / "sky.png", "--json").json["results"][0]
    assert (Path(by_picture["path"]).name, by_picture["start_s"]) == ("blue.mp4", 3.0)
    by_example = nightreel("search", archive, "--like", "red.mp4@5-6", "--json").json["results"][0]
    assert (Path(by_example["path"]).name, by_example["start_s"]) == ("red.mp4", 4.0)
    only = nightreel("search", archive, "blue", "--video", "red.mp4", "--json").json["results"]
    assert {Path(hit["path"]).name for hit in only} == {"red.mp4"}
    without = nightreel("search", archive, "red", "green", "--not", "red", "--json").json["results"][0]
    assert (without["start_s"], without["end_s"]) == (4.0, 7.0)


def test_search_by_what_is_known_of_footage(archive: Path) -> None:
    found = nightreel("search", archive, "--where", "luma > 200 AND duration_s >= 7", "--json")
    assert set(found.json) == {"query", "encoder", "results", "took_ms"}
    assert (found.json["query"], found.json["encoder"], found.err) == (
        "where luma > 200 AND duration_s >= 7",
        "toy",
        "",
    )
    spans = [(Path(hit["path"]).name, hit["start_s"], hit["end_s"]) for hit in found.json["results"]]
    assert spans == [("blue.mp4", 0, 1), ("blue.mp4", 1, 2), ("blue.mp4", 2, 3)]  # white
    assert {hit["confidence"] for hit in found.json["results"]} == {None}
    darkest = nightreel("search", archive, "--sort", "-luma", "--top", "4", "--json").json["results"]
    assert {(Path(hit["path"]).name, hit["start_s"] >= 3) for hit in darkest} == {("blue.mp4", True)}
    assert [hit["score"] for hit in darkest] == sorted((hit["score"] for hit in darkest), reverse=True)
    held = nightreel("search", archive, "blue", "--where", "path LIKE '%red.mp4' AND end_s <= 6", "--json").json[
        "results"
    ]
    assert {Path(hit["path"]).name for hit in held} == {"red.mp4"}
    assert max(hit["end_s"] for hit in held) <= 6
    nothing = nightreel("search", archive, "blue", "--where", "luma > 250")
    assert (nothing.code, nothing.out) == (0, "nothing found\n")
    assert "luma is" in nothing.err


@pytest.fixture
def clips(make_archive: Callable[..., Any]) -> Path:
    """Features of a clip encoder whose weights are nowhere, beside those of `toy`; copy.mp4 is a.mp4 encoded anew."""
    archives = sys.modules["archives"]
    made = make_archive(has_text=True)
    draw = np.random.default_rng(0)
    films = {f"{name}.mp4": draw.normal(size=(3, 64)) for name in "abcdefgh"}
    films["copy.mp4"] = films["a.mp4"] + 0.05 * draw.normal(size=(3, 64))
    for name in films:
        made.add(name, ["red"] * 24)
    fingerprint = archives.toy_fingerprint(spec="videomae:no/where", dim=64, has_text=False, sampling=archives.CLIPS)
    archives.claim_encoder(made.store, "videomae-x", fingerprint)
    made.slug = "videomae-x"
    for name, vectors in films.items():
        made.add(name, vectors, 8.0)
    return made.root


def test_what_clip_features_are_for(clips: Path) -> None:
    built = nightreel("index", clips, "--json").json
    assert set(built) == {"indexes"}
    assert [index["name"] for index in built["indexes"]] == ["toy", "videomae-x"]
    assert nightreel("index", clips, "--encoder", "videomae-x", "--json").json["vectors"] == 27
    assert [line.split(":")[0] for line in nightreel("index", clips).out.splitlines()] == [
        "index toy",
        "index videomae-x",
    ]
    found = nightreel("search", clips, "--like", "a.mp4@8-16", "--top", "1", "--json")
    assert (found.code, found.json["query"], found.json["encoder"]) == (0, "like a.mp4@8-16", "videomae:no/where")
    (hit,) = found.json["results"]
    assert (Path(hit["path"]).name, hit["start_s"], hit["end_s"]) == ("copy.mp4", 8, 16)
    (pair,) = nightreel("info", clips, "--duplicates", "--json").json["duplicates"]
    assert {key: set(pair[key]) for key in ("a", "b")} == {
        key: {"video_id", "path", "start_s", "end_s"} for key in "ab"
    }
    assert (Path(pair["a"]["path"]).name, Path(pair["b"]["path"]).name) == ("a.mp4", "copy.mp4")
    assert (pair["a"]["start_s"], pair["a"]["end_s"], pair["segments"]) == (0, 24, 3)
    told = nightreel("info", clips, "--duplicates").out
    assert "1 pair of the same footage (videomae-x, similarity of" in told
    assert "0:00.0 - 0:24.0" in told
    assert "/films/copy.mp4" in told


def test_footage_of_one_colour_is_never_a_duplicate(archive: Path) -> None:
    assert nightreel("info", archive, "--duplicates", "--json").json == {"duplicates": []}
    assert "no footage of one video stands in another" in nightreel("info", archive, "--duplicates").out


def test_results_are_cut_out(archive: Path, tmp_path: Path) -> None:
    done = nightreel("search", archive, "green", "--top", "1", "--export", tmp_path / "cuts", "--json")
    assert len(done.json["results"]) == 1
    assert "001_red_4.0-7.0.mp4" in done.err
    assert (tmp_path / "cuts" / "001_red_4.0-7.0.mp4").stat().st_size > 0


def test_some_videos_failed_is_exit_3_and_they_are_listed(videos: Path, tmp_path: Path) -> None:
    (videos / "bad\nname.mp4").write_bytes(b"no video")
    done = nightreel("extract", videos, "--archive", tmp_path / "a.reel", "--encoder", "toy", "--json")
    assert (done.code, done.json["failed"], done.json["done"]) == (3, 1, 2)
    assert done.json["failures"][0]["error_kind"] == "unreadable"
    row = nightreel("failures", tmp_path / "a.reel", "--json").json["failures"][0]
    assert (row["status"], row["attempts"], row["path"].endswith("bad\nname.mp4")) == ("failed", 1, True)
    assert nightreel("extract", videos, "--archive", tmp_path / "a.reel", "--encoder", "toy").code == 0


# words, exit code, and what the message must name: what was got, and the remedy
BAD = [
    (["extract", "{tmp}/nothing", "--archive", "{tmp}/n.reel", "--encoder", "toy"], 2, ["nothing", "Expected a video"]),
    (["extract", "{tmp}/empty", "--archive", "{tmp}/n.reel", "--encoder", "toy"], 2, ["no videos in folder", "suffix"]),
    (["extract", "{videos}", "--archive", "{tmp}/n.reel", "--encoder", "toi"], 2, ["toi", "Did you mean 'toy'"]),
    (["extract", "{videos}", "--archive", "{tmp}/n.reel", "--encoder", "openclip:ViT-B-99@openai"], 2, ["ViT-B-99"]),
    (["extract", "{videos}", "--archive", "{videos}", "--encoder", "toy"], 4, ["is not an archive", "new or empty folder"]),
    (["extract", "{videos}", "--archive", "{archive}", "--encoder", "toy", "--fps", "2"], 4, ["sampling", "new --archive"]),
    (["extract", "{videos}", "--archive", "{archive}", "--encoder", "toy", "--fps", "0"], 2, ["--fps 0", "for example 1"]),
    (["extract", "{videos}", "--archive", "{archive}", "--decode", "some"], 2, ["--decode some", "exact, reference, keyframe"]),
    (["extract", "{videos}", "--archive", "{archive}", "--shard", "3/2"], 2, ["--shard 3/2", "2/4"]),
    (["extract", "{videos}", "--archive", "{archive}", "--batch", "-1"], 2, ["--batch -1", "auto"]),
    (["extract", "{videos}", "--archive", "{archive}", "--workers", "0"], 2, ["--workers 0", "auto or a whole number"]),
    (["extract", "{videos}", "--archive", "{archive}", "--workers", "-2"], 2, ["--workers -2", "at least 1"]),
    (["extract", "{videos}", "--archive", "{archive}", "--workers", "many"], 2, ["--workers many", "auto"]),
    (["extract", "{videos}", "--archive", "{archive}", "--workers", "1.5"], 2, ["--workers 1.5", "at least 1"]),
    (["extract", "{videos}", "--archive", "{archive}", "--workers", "²"], 2, ["--workers ²", "at least 1"]),
    (["extract", "{videos}", "--archive", "{archive}", "--deadline", "0"], 2, ["--deadline 0", "for example 10"]),
    (["extract", "{videos}", "--archive", "{archive}", "--deadline", "-1"], 2, ["--deadline -1", "above 0"]),
    (["extract", "{videos}", "--archive", "{archive}", "--deadline", "nan"], 2, ["--deadline nan", "above 0"]),
    (["extract", "{videos}", "--archive", "{archive}", "--deadline", "inf"], 2, ["--deadline inf", "for example 10"]),
    (["extract", "{videos}", "--archive", "{archive}", "--deadline", "soon"], 2, ["--deadline", "valid number"]),
    (["extract", "{videos}", "--archive", "{archive}", "--decode-all=maybe"], 2, ["--decode-all"]),
    (["extract", "{videos}", "--archive", "{archive}", "--skip-still", "2"], 2, ["2", "no such file"]),
    (["extract", "{videos}", "--archive", "{archive}", "--encoder", "toy", "--skip-still"], 4, ["sampling", "skip_still"]),
    (["extract", "{videos}"], 2, ["--archive"]),
    (["search", "{tmp}/nothing", "red"], 2, ["no archive at", "nightreel extract"]),
    (["search", "{empty}", "red"], 4, ["is not an archive", "nightreel extract"]),
    (["search", "{future}", "red"], 4, ["version 99", "Upgrade"]),
    (["search", "{unindexed}", "red"], 4, ["has no index of toy", "nightreel index"]),
    (["search", "{archive}", "  "], 2, ["sentence is empty"]),
    (["search", "{archive}"], 2, ["nothing to search for", "--image"]),
    (["search", "{archive}", "red", "--by", "hour"], 2, ["by"]),
    (["search", "{archive}", "red", "--video", "nope.mp4"], 2, ["no video 'nope.mp4'", "red.mp4"]),
    (["search", "{archive}", "red", "--image", "{tmp}/nothing.png"], 2, ["no such picture"]),
    (["search", "{archive}", "--like", "red.mp4"], 2, ["--like", "tape.mp4@12-20"]),
    (["search", "{archive}", "red", "--where", "lumma > 3"], 2, ["no column 'lumma'", "Did you mean 'luma'", "duration_s"]),
    (["search", "{archive}", "--where", "luma"], 2, ["--where 'luma'", "true or false", "FLOAT"]),
    (["search", "{archive}", "--where", "luma > "], 2, ["not an SQL expression", "syntax error"]),
    (["search", "{archive}", "--where", ""], 2, ["--where", "expected an SQL expression"]),
    (["search", "{archive}", "--where", "true; drop table videos"], 2, ["one expression"]),
    (["search", "{archive}", "--where", "read_text('/etc/passwd') = 'x'"], 2, ["'read_text' is not allowed"]),
    (["search", "{archive}", "--sort", "path"], 2, ["--sort 'path'", "expected a number"]),
    (["search", "{archive}", "red", "--top", "0"], 2, ["--top", "greater than or equal to 1"]),
    (["search", "{archive}", "red", "--skip", "-1"], 2, ["--skip", "greater than or equal to 0"]),
    (["search", "{archive}", "red", "--skip", "some"], 2, ["--skip", "valid integer"]),
    (["search", "{archive}", "red", "--diverse", "1.5"], 2, ["--diverse", "less than or equal to 1"]),
    (["search", "{archive}", "red", "--diverse", "-0.1"], 2, ["--diverse", "greater than or equal to 0"]),
    (["search", "{archive}", "red", "--diverse", "nan"], 2, ["--diverse", "less than or equal to 1"]),
    (["search", "{archive}", "red^0", "green"], 2, ["'red^0'", "above 0 and at most 100", "--not"]),
    (["search", "{archive}", "red^101", "green"], 2, ["'red^101'", "such as ^0.5"]),
    (["search", "{archive}", "red", "--not", "red^1"], 2, ["cancel out", "drop a --not"]),
    (["info", "{archive}", "--threshold", "0.5"], 2, ["--duplicates"]),
    (["info", "{archive}", "--duplicates", "--threshold", "2"], 2, ["--threshold 2", "up to 1"]),
    (["info", "{archive}", "--duplicates", "--encoder", "conse"], 2, ["no features of encoder 'conse'"]),
    (["search", "{archive}", "red", "--encoder", "conse"], 2, ["no features of encoder 'conse'", "toy"]),
    (["ground", "{archive}", "red", "--video", "nope"], 2, ["no video 'nope'"]),
    (["index", "{archive}", "--memory", "lots"], 2, ["--memory 'lots'", "above nothing", "4GB or 500MB"]),
    (["index", "{archive}", "--memory", "0"], 2, ["--memory '0'", "for example 4GB"]),
    (["index", "{archive}", "--memory", "-1GB"], 2, ["--memory '-1GB'", "above nothing"]),
    (["index", "{archive}", "--memory", "4 parsecs"], 2, ["--memory '4 parsecs'", "500MB"]),
    (["index", "{archive}", "--recall", "0"], 2, ["--recall 0", "above 0 and at most 1", "0.95"]),
    (["index", "{archive}", "--recall", "1.1"], 2, ["--recall 1.1", "at most 1"]),
    (["index", "{archive}", "--recall", "nan"], 2, ["--recall nan", "for example 0.95"]),
    (["index", "{archive}", "--recall", "high"], 2, ["--recall", "valid number"]),
    (["index", "{archive}", "--encoder", "conse"], 2, ["no features of encoder 'conse'", "toy"]),
    (["index", "{tmp}/nothing"], 2, ["no archive at", "nightreel extract"]),
    (["index", "{unextracted}"], 2, ["no features yet", "nightreel failures"]),
    (["info", "{tmp}/nothing"], 2, ["no archive at"]),
    (["fly"], 2, ["fly"]),
]  # fmt: skip


@pytest.fixture
def places(archive: Path, videos: Path, tmp_path: Path) -> dict[str, Path]:
    import shutil

    (tmp_path / "empty").mkdir()
    shutil.copytree(archive, tmp_path / "unindexed.reel", ignore=shutil.ignore_patterns("index"))
    (tmp_path / "future.reel").mkdir()
    (tmp_path / "future.reel" / "archive.json").write_text('{"format": "nightreel", "version": 99}')
    (tmp_path / "bad.mp4").write_bytes(b"x")
    nightreel("extract", tmp_path / "bad.mp4", "--archive", tmp_path / "unextracted.reel", "--encoder", "toy")
    return {
        "tmp": tmp_path,
        "videos": videos,
        "archive": archive,
        "empty": tmp_path / "empty",
        "unindexed": tmp_path / "unindexed.reel",
        "future": tmp_path / "future.reel",
        "unextracted": tmp_path / "unextracted.reel",
    }


def test_bad_usage_gives_one_clear_message_and_the_right_exit_code(places: dict[str, Path]) -> None:
    def check(words: Sequence[str], code: int, named: Sequence[str]) -> str:
        done = nightreel(*(word.format(**places) for word in words))
        flat = " ".join(done.err.split())
        problems = [text for text in named if text not in flat]
        if (done.code, done.out, problems) != (code, "", []):
            return f"{' '.join(words)}: exit {done.code}, expected {code}; not named: {problems}\n{done.err}{done.out}"
        return ""

    assert [text for text in (check(*case) for case in BAD) if text] == []


def test_how_to_decode_can_be_chosen(videos: Path, tmp_path: Path) -> None:
    def extract(name: str, *words: str) -> tuple[dict, dict]:  # type: ignore[type-arg]
        done = nightreel("extract", videos, "--archive", tmp_path / name, "--encoder", "toy", "--json", *words)
        assert done.code == 0, done.err
        (file,) = (tmp_path / name / "runs").glob("*.json")
        return done.json, json.loads(file.read_text())

    plain, about = extract("plain.reel", "--workers", "auto")
    assert (about["plan"]["decode_all"], about["plan"]["skip_still"], about["limits"]["multiple"]) == (
        False,
        False,
        10.0,
    )
    assert about["frames_decoded"] < 140
    for words in (["--decode-all", "--workers", "1"], ["--workers", "3", "--deadline", "0.5"], ["--skip-still"]):
        other, file = extract(f"{words[0]}.reel", *words)
        assert (other["done"], other["segments"]) == (plain["done"], plain["segments"])
        match words[0]:
            case "--decode-all":
                assert (file["plan"]["decode_all"], file["frames_decoded"], file["workers"]) == (True, 140, 1)
            case "--workers":
                assert (file["workers"], file["limits"]["multiple"]) == (3, 0.5)
            case _:
                assert file["plan"]["skip_still"]
                assert file["still_reused"] > 0


def test_a_hub_model_without_network_says_what_to_do(videos: Path, tmp_path: Path) -> None:
    done = nightreel("extract", videos, "--archive", tmp_path / "n.reel")  # the default, `clip`
    assert done.code == 1
    assert "--encoder conse" in done.err
    assert "openclip:PE-Core-B-16@" in done.err
    assert not (tmp_path / "n.reel").exists()


def test_a_query_with_other_weights_is_refused(archive: Path) -> None:
    path = archive / "features" / "toy" / "encoder.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "preprocessing": {"mean_colour": False}}))
    for words in (["search", archive, "red"], ["ground", archive, "red", "--video", "red.mp4"]):
        done = nightreel(*words)
        assert done.code == 4
        assert "preprocessing: archive has" in done.err


def test_a_stale_index_is_said(archive: Path, videos: Path, make_film: MakeFilm) -> None:
    make_film(videos / "new.mp4", [("yellow", 3.0)])
    nightreel("extract", videos, "--archive", archive, "--encoder", "toy")
    found = nightreel("search", archive, "yellow", "--json")
    assert found.err.startswith("1 of 3 videos are newer than the index and are not found. Run: nightreel index")
    assert "STALE: 1 video is not in it, run `nightreel index`" in nightreel("info", archive).out
    told = nightreel("info", archive, "--json").json["indexes"]["toy"]
    assert (told["stale"], told["missing_videos"]) == (True, 1)
    assert nightreel("index", archive, "--json").json["added"] == 3
    again = nightreel("search", archive, "yellow", "--json")
    assert again.err == ""
    assert Path(again.json["results"][0]["path"]).name == "new.mp4"


@pytest.fixture
def tones(make_archive: Callable[..., Any]) -> Path:
    """Six films of 4 s, from red to green, and two copies of the reddest; indexed."""
    made = make_archive()
    for name, share in [("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 0.8), ("e", 0.6), ("f", 0.4), ("g", 0.2), ("h", 0.0)]:
        red, green = ToyEncoder().encode_text(["red", "green"])
        made.add(f"{name}.mp4", np.tile(share * red + (1 - share) * green, (4, 1)))
    assert nightreel("index", made.root).code == 0
    return made.root


def found_in(archive: Path, *words: object) -> list[str]:
    results = nightreel("search", archive, *words, "--by", "video", "--json").json["results"]
    return [Path(hit["path"]).stem for hit in results]


def test_what_an_index_was_asked_for_is_kept_and_told(tones: Path) -> None:
    built = nightreel("index", tones, "--memory", "500MB", "--recall", "0.9", "--json").json
    assert set(built) == {"name", "kind", "vectors", "bytes", "recall_at_10", "latency_ms_p50", "added", "removed"}
    assert (built["name"], built["kind"], built["vectors"]) == ("toy", "Flat", 32)
    assert built["latency_ms_p50"] > 0
    assert nightreel("index", tones, "--json").json["added"] == 0  # and the settings stay
    told = nightreel("info", tones, "--json").json["indexes"]["toy"]
    assert (told["memory"], told["recall_asked"], told["recall_at_10"], told["kind"]) == ("500MB", 0.9, 1.0, "Flat")
    assert (told["parts"], told["hidden"], told["stale"], told["missing_videos"]) == (1, 0, False, 0)
    assert set(told["levels"]) == {"segment", "4s", "16s", "video"}
    line = nightreel("info", tones).out.splitlines()[-1]
    assert line.startswith("index toy: Flat, 32 vectors in 1 part, 0.0 MB of 500MB, recall@10 1.0 of 0.9 asked, ")
    assert "STALE" not in line


def test_segments_without_a_direction_are_counted(
    make_archive: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As other programs may have written them; ours refuses to."""
    monkeypatch.setattr(sys.modules["archives"], "unit_norm_f16", lambda rows: rows.astype(np.float16))
    made, vectors = make_archive(), ToyEncoder().encode_text(["red", "red", "blue"])
    vectors[1] = 0
    made.add("a.mp4", vectors)
    assert nightreel("index", made.root, "--json").json["left_out"] == 1
    assert "1 left out: they have no direction" in nightreel("index", made.root).out
    assert nightreel("info", made.root, "--json").json["indexes"]["toy"]["left_out"] == 1


def test_results_come_in_pages(tones: Path) -> None:
    whole = nightreel("search", tones, "red", "--by", "video", "--json").json["results"]
    pages = [
        nightreel("search", tones, "red", "--by", "video", "--top", 3, "--skip", skip, "--json").json["results"]
        for skip in (0, 3, 6, 9)
    ]
    assert [len(page) for page in pages] == [3, 3, 2, 0]
    assert [hit for page in pages for hit in page] == whole
    assert [hit["rank"] for hit in whole] == list(range(1, 9))
    assert nightreel("search", tones, "red", "--skip", 3, "--by", "video").out.splitlines()[1].split()[0] == "4"
    listed = nightreel("search", tones, "--where", "true", "--top", 3, "--skip", 3)
    assert "32 of 32 segments pass; 4 to 6 are shown. More with --top, or --skip." in listed.err


def test_results_that_look_like_better_ones_fall_back(tones: Path) -> None:
    assert set(found_in(tones, "red", "--top", 3)) == {"a", "b", "c"}
    assert found_in(tones, "red", "--diverse", 0) == found_in(tones, "red")
    spread = found_in(tones, "red", "--diverse", 0.6)
    assert len(set(spread[:4]) & {"a", "b", "c"}) == 1
    assert spread[0] in {"a", "b", "c"}
    assert set(spread) == set("abcdefgh")


def test_a_part_of_the_question_may_weigh_more(tones: Path) -> None:
    assert found_in(tones, "red^9", "green")[0] in {"a", "b", "c", "d"}
    assert found_in(tones, "red", "green^9")[0] in {"g", "h"}
    assert found_in(tones, "red", "green")[0] in {"e", "f"}
    assert found_in(tones, "red^9") == found_in(tones, "red")  # of a single part it means nothing
    assert found_in(tones, "red", "green", "--not", "red^0.7")[0] == "h"
    assert nightreel("search", tones, "red^9", "--json").json["query"] == "red^9"


def test_damage_is_found(archive: Path) -> None:
    file = next((archive / "features" / "toy").glob("*.parquet"))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    file.write_bytes(raw)
    done = nightreel("verify", archive, "--json")
    assert done.code == 4
    assert file.name in done.json["problems"][0]
