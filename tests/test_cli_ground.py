"""`nightreel ground`: order, pictures, and that every answer is one object or a readable table."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import nightreel
from nightreel.demo.films import write_video
from nightreel.extract.errors import VideoError

COLOURS = {"black": (5, 5, 5), "red": (220, 20, 20), "green": (20, 200, 20)}
FILMS = {
    "film.mp4": [("black", 4), ("red", 3), ("black", 3), ("green", 4), ("black", 8), ("red", 5)],
    "blink.mp4": [("red", 1)],
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ground")
    for name, scenes in FILMS.items():
        frames = [
            np.full((48, 64, 3), COLOURS[colour], np.uint8) for colour, seconds in scenes for _ in range(10 * seconds)
        ]
        write_video(folder / name, iter(frames), 10)
    done = nightreel("extract", folder, "--archive", folder / "a.reel", "--encoder", "toy")
    assert done.code == 0, done.err
    return folder / "a.reel"


def ground(archive: Path, *words: object) -> Any:
    return nightreel("ground", archive, *words)


def test_then_as_json(archive: Path) -> None:
    words = ("red", "--then", "green", "--then", "red", "--video", "film.mp4", "--top", "2", "--json")
    found = ground(archive, *words).json
    assert list(found) == ["query", "video_id", "path", "moments", "no_match", "then", "sequences"]
    assert (found["query"], found["then"]) == ("red", ["green", "red"])
    best = found["sequences"][0]
    assert list(best) == ["rank", "score", "confidence", "moments"]
    assert best["rank"] == 1
    assert 0 < best["score"] <= 1
    facts = ("start_s", "end_s", "score", "confidence")
    assert all(tuple(moment) == ("query", *facts) for moment in best["moments"])
    told = [(m["query"], m["start_s"], m["end_s"]) for m in best["moments"]]
    assert told == [("red", 4.0, 7.0), ("green", 10.0, 14.0), ("red", 22.0, 27.0)]
    assert [moment["rank"] for moment in found["moments"]] == [1, 2, 3]
    for moment, same in zip(found["moments"], best["moments"], strict=True):
        assert {key: moment[key] for key in facts} == {key: same[key] for key in facts}
    known = [moment["confidence"] for moment in best["moments"]]
    assert best["confidence"] == (None if None in known else min(known))  # two videos may be too few to know


def test_without_then_nothing_is_added(archive: Path) -> None:
    found = ground(archive, "red", "--video", "film.mp4", "--json").json
    assert list(found) == ["query", "video_id", "path", "moments", "no_match"]
    assert list(found["moments"][0]) == ["rank", "start_s", "end_s", "score", "confidence"]


def test_then_as_a_table(archive: Path) -> None:
    lines = ground(archive, "red", "--then", "green", "--video", "film.mp4").out.splitlines()
    assert lines[0].startswith("rank   score  conf.  moment                 in /")
    assert lines[0].endswith("/film.mp4")
    assert re.fullmatch(r"   1  [ -]\d\.\d{3}  [ \d.-]{5}  0:04\.0 - 0:07\.0        red", lines[1])
    assert lines[2].startswith(" " * 14)
    assert lines[2].endswith("0:10.0 - 0:14.0        then green")


def test_what_cannot_be_in_order_is_said(archive: Path) -> None:
    done = ground(archive, "red", "--then", "green", "--video", "blink.mp4")
    assert (done.code, done.out.strip()) == (0, "nothing found")
    assert "the video's 1 segment cannot hold 2 moments in order" in done.err
    found = ground(archive, "red", "--then", "green", "--video", "blink.mp4", "--json").json
    assert (found["moments"], found["sequences"], found["no_match"]) == ([], [], True)


def test_a_picture_and_one_object(archive: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out.png"
    done = ground(archive, "red", "--then", "green", "--video", "film.mp4", "--plot", picture, "--json")
    assert done.json["then"] == ["green"]
    assert done.err == f"wrote {picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_a_video_that_is_gone(archive: Path, tmp_path: Path) -> None:
    film = archive.parent / "film.mp4"
    film.rename(tmp_path / "elsewhere.mp4")
    try:
        done = ground(archive, "red", "--video", "film.mp4", "--plot", tmp_path / "out.png")
    finally:
        (tmp_path / "elsewhere.mp4").rename(film)
    assert done.code == 0
    assert "0:22.0 - 0:27.0" in done.out or "0:04.0 - 0:07.0" in done.out
    assert "The picture has no frames of" in done.err
    assert (tmp_path / "out.png").exists()


def test_what_the_picture_shows(archive: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: dict[str, Any] = {}

    def draw(target: Path, title: str, lines: Any, frames: Any, duration_s: float, note: str) -> None:
        drawn.update(target=target, title=title, lines=lines, frames=frames, duration_s=duration_s, note=note)

    def no_frames(*_: Any) -> Any:
        raise VideoError("unreadable", "torn")

    monkeypatch.setattr("nightreel.search.picture.plot.draw", draw)
    monkeypatch.setattr("nightreel.search.picture.plot.thumbnails", no_frames)
    words = ("red", "--then", "green", "--video", "film.mp4", "--plot", tmp_path / "a.png", "--top", "3")
    assert "torn" in ground(archive, *words).err
    assert (drawn["title"], drawn["duration_s"], drawn["frames"]) == ("red, then green\nfilm.mp4", 27.0, [])
    red, green = drawn["lines"]
    assert (red.label, green.label) == ("red", "green")
    assert np.argmax(green.scores) in range(10, 14)
    assert [(span.start_s, span.end_s) for span in red.moments][:1] == [(4.0, 7.0)]
    assert [(span.start_s, span.end_s) for span in green.moments][:1] == [(10.0, 14.0)]
    assert len(set(red.moments)) == len(red.moments)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--within", "5"], "--within 5 limits the time between moments in order; got one sentence"),
        (["--then", "green", "--within", "-1"], "--within -1: expected seconds, at least 0"),
        (["--then", " "], "sentence is empty"),
        (["--plot", "a.gif"], "expected .png"),
    ],
)
def test_wrong_words(archive: Path, words: list[str], said: str) -> None:
    done = ground(archive, "red", "--video", "film.mp4", *words)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
