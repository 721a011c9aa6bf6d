"""`runs/<id>.json`: what the owner reads in the morning of what happened in the night."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nightreel.extract.engine import Plan
from nightreel.extract.errors import FingerprintMismatch
from nightreel.extract.record import Progress
from nightreel.extract.run import Settings, extract
from nightreel.extract.store import Store
from nightreel.extract.verify import verify

MakeFilm = Callable[..., Path]


@pytest.fixture
def videos(tmp_path: Path, make_film: MakeFilm, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two good films, one whose decoder crashes, one that is none, one that is empty."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("ODD_LOG", str(tmp_path / "log"))
    make_film(tmp_path / "videos" / "a.mp4", [("red", 4.0)])
    make_film(tmp_path / "videos" / "b.mp4", [("red", 5.0)])
    make_film(tmp_path / "videos" / "odd-aborts.mp4", [("green", 4.0)])
    (tmp_path / "videos" / "none.mp4").write_bytes(b"this is no video")
    (tmp_path / "videos" / "empty.mp4").touch()
    return tmp_path / "videos"


def run_files(archive: Path) -> list[dict[str, Any]]:
    """Of all runs, oldest first."""
    return [json.loads(path.read_text()) for path in sorted((archive / "runs").glob("*.json"))]


def run(videos: Path, archive: Path, *backends: str, **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The report as `--json` prints it, and the run file."""
    plan = Plan(backends=backends or ("odd_decoders:odd",))
    report = extract([str(videos)], archive, ["toy"], Settings(plan, workers=2, **settings))
    return report.as_json(), run_files(archive)[-1]


def test_a_run_with_failures(videos: Path, tmp_path: Path) -> None:
    report, file = run(videos, tmp_path / "a.reel")
    assert file["state"] == "finished"
    assert file["id"] == next((tmp_path / "a.reel" / "runs").iterdir()).stem
    assert file["report"] == json.loads(json.dumps(report))
    assert (report["done"], report["partial"], report["failed"]) == (2, 1, 2)
    assert file["failures_by_kind"] == {"unreadable": 2, "crashed": 1}
    assert (file["encoders"], file["workers"], file["plan"]["fps"]) == (["toy"], 2, 1.0)
    assert file["plan"]["backends"] == ["odd_decoders:odd"]
    assert file["limits"]["multiple"] == 10.0
    assert file["decoders"] == {"odd_decoders:odd": 5}
    assert (file["second_opinions"], file["skipped_because"]) == (0, {})
    assert file["batch"] == {"toy": 32}
    assert file["realtime_factor"] == pytest.approx(report["video_s"] / report["wall_s"], rel=0.05)
    assert file["frames_decoded"] == 40 + 50 + 25
    assert file["packets"] == file["packets_decoded"] == 40 + 50  # who was killed could not tell


def test_what_keeps_a_run_busy(videos: Path, tmp_path: Path) -> None:
    """Shares of the run's time; decoding processes take longer to start than these films to decode."""
    report, file = run(videos, tmp_path / "a.reel")
    assert set(file["utilisation"]) == {"decode", "encode", "write"}
    assert all(0 <= share <= 1.05 for share in file["utilisation"].values())
    assert 0 < report["stages"]["decode_s"] <= 2 * 1.05 * report["wall_s"]
    assert 0 <= report["stages"]["encode_s"] <= report["wall_s"]  # colours take no time that one could write down
    assert 0 < report["stages"]["write_s"] <= report["wall_s"]


def test_second_opinions_are_counted(videos: Path, tmp_path: Path) -> None:
    _, file = run(videos, tmp_path / "a.reel", "odd_decoders:odd", "pyav")
    assert file["second_opinions"] == 1  # for what does not open, there is none
    assert file["decoders"] == {"odd_decoders:odd": 5, "pyav": 1}
    assert file["failures_by_kind"] == {"unreadable": 2}
    assert Store.open(tmp_path / "a.reel").find_video("odd-aborts.mp4").decoder == "pyav"


def test_why_videos_were_skipped(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "a.reel", "pyav")
    shutil.copy(videos / "a.mp4", videos / "copy.mp4")
    (videos / "b.mp4").rename(videos / "moved.mp4")
    report, file = run(videos, tmp_path / "a.reel", "pyav")
    assert file["skipped_because"] == {"already extracted": 4, "a copy": 1, "moved": 1}
    assert report["skipped"] == 6
    assert len(run_files(tmp_path / "a.reel")) == 2


def test_why_everything_was_decoded(tmp_path: Path) -> None:
    """A codec whose packets nobody here can read: a plan is not possible, and that is said."""
    import decode_films as films

    (tmp_path / "videos").mkdir()
    films.solid_film(tmp_path / "videos" / "a.flv", range(0, 2000, 100), codec="flv")
    _, file = run(tmp_path / "videos", tmp_path / "a.reel", "pyav")
    (why,) = file["decoded_all_because"]
    assert file["decoded_all_because"] == {why: 1}
    assert "flv1" in why
    (row,) = Store.open(tmp_path / "a.reel").videos()
    assert row.decoder == f"pyav, all: {why}"


KILLED = """
import sys
from nightreel.extract.run import Settings, extract
def told(progress):
    print(progress.number, flush=True)
    if progress.number == 3:
        sys.stdin.read()
extract([sys.argv[1]], sys.argv[2], ["toy"], Settings(workers=1, commit_every_s=0.0), told)
"""


def test_a_run_that_was_killed_is_seen_to_have_been_running(videos: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, str(videos), str(tmp_path / "a.reel")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.kill()
    (file,) = run_files(tmp_path / "a.reel")
    assert file["state"] == "running"
    assert sum(file["report"][key] for key in ("done", "partial", "failed")) == 2  # as of the last commit
    assert len(Store.open(tmp_path / "a.reel").videos()) == 2
    assert verify(Store.open(tmp_path / "a.reel")).problems == []


def test_a_run_that_broke_says_so_and_keeps_what_was_finished(videos: Path, tmp_path: Path) -> None:
    def told(progress: Progress) -> None:
        if progress.number == 2:
            raise ValueError("a bug in the caller")

    with pytest.raises(ValueError, match="a bug in the caller"):
        extract([str(videos)], tmp_path / "a.reel", ["toy"], Settings(workers=1), told)
    (file,) = run_files(tmp_path / "a.reel")
    assert file["state"] == "failed"
    assert len(Store.open(tmp_path / "a.reel").videos()) == 2


def test_the_state_is_there_while_it_runs(videos: Path, tmp_path: Path) -> None:
    states = []

    def told(progress: Progress) -> None:
        (file,) = run_files(tmp_path / "a.reel")
        states.append((file["state"], file["report"]["done"] + file["report"]["partial"] + file["report"]["failed"]))

    extract([str(videos)], tmp_path / "a.reel", ["toy"], Settings(workers=1, commit_every_s=0.0), told)
    assert states == [("running", count) for count in range(5)]
    assert run_files(tmp_path / "a.reel")[0]["state"] == "finished"


def test_what_is_refused_leaves_no_run_file(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "a.reel", "pyav")
    with pytest.raises(FingerprintMismatch):
        extract([str(videos)], tmp_path / "a.reel", ["toy"], Settings(Plan(fps=2.0)))
    assert len(run_files(tmp_path / "a.reel")) == 1


def test_names_that_are_no_utf8_can_be_written_and_read(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    (videos / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"this is no video")
    _, file = run(videos, tmp_path / "a.reel", "pyav")
    assert os.fsencode(file["report"]["failures"][0]["path"]).endswith(b"caf\xe9.mp4")
