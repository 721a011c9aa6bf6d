"""Decoders that hang, crash, grow and lie, files that are harmed or change, disks that are full: every input has an
outcome, the others are as if nothing had been, and the archive is clean.

The decoders that misbehave are in `odd_decoders.py`, which the decoding processes import.
"""

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import decode_films as films
import numpy as np
import pytest
from nightreel.extract.engine import Plan
from nightreel.extract.errors import NightreelError
from nightreel.extract.record import Report
from nightreel.extract.run import Settings, extract
from nightreel.extract.store import Store
from nightreel.extract.verify import verify
from nightreel.extract.videos import VideoRow
from nightreel.extract.workers.process import Limits

MakeFilm = Callable[..., Path]
ODD = "odd_decoders:odd"
GOOD = ("good-1", "good-2", "good-3", "good-4")
PATIENCE_S = 60.0  # far longer than anything here takes; only so that a test that fails does not hang
LIMITS = Limits(stall_s=8.0, floor_s=12.0, multiple=0.0, memory_bytes=300 << 20)


def copy_of(film: Path, to: Path) -> Path:
    """The same film with another content, so that it is no copy: a box that readers pass over holds the name."""
    name = os.fsencode(to.name)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_bytes(film.read_bytes() + (8 + len(name)).to_bytes(4, "big") + b"free" + name)
    return to


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5 s at 10 frames a second, every frame of its own colour."""
    made: Path = films.solid_film(tmp_path_factory.mktemp("film") / "film.mp4", range(0, 5000, 100))
    return made


@pytest.fixture(autouse=True, scope="module")
def _seam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Decoding processes find `odd_decoders`, and write down what they open."""
    log = tmp_path_factory.mktemp("log") / "opened"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("ODD_LOG", str(log))
        yield log


@pytest.fixture
def opened(_seam: Path) -> Callable[[], list[str]]:
    """opened() -> names of the films that were opened since it was last called."""
    _seam.write_text("")

    def read() -> list[str]:
        names = _seam.read_text().splitlines()
        _seam.write_text("")
        return sorted(names)

    return read


def run(videos: Path, archive: Path, *backends: str, **settings: Any) -> Report:
    plan = Plan(backends=backends or (ODD,))
    return extract([str(videos)], archive, ["toy"], Settings(plan=plan, **{"limits": LIMITS, **settings}))


def rows_of(archive: Path) -> dict[str, VideoRow]:
    return {Path(row.path).stem: row for row in Store.open(archive).videos()}


def vectors_of(archive: Path, name: str) -> np.ndarray:
    return Store.open(archive).segments_of("toy", rows_of(archive)[name].video_id).embedding


def decoders(pid: int) -> list[int]:
    """The decoding processes that a process has started and that live."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if int(parent) == pid and state != "Z" and b"workers.child" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:  # it has just ended
            continue
    return found


def until(what: Callable[[], object], why: str) -> None:
    """Wait for `what()`."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, why
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# --- decoders that misbehave -----------------------------------------------------------------------------

NONSENSE = "talked nonsense"
ENDED_ITSELF = "ended by itself"
# deed -> error kind, what the text names, samples kept (None: at least three)
DEEDS: dict[str, tuple[str, str, int | None]] = {
    "hangs": ("timeout", "no sign of life for 8 s", 3),
    "hangs_in_c": ("timeout", "no sign of life for 8 s", 3),
    "says_it_waits": ("timeout", "no sign of life for 8 s", 3),
    "segfaults": ("crashed", "SIGSEGV", 3),
    "aborts": ("crashed", "SIGABRT", 3),
    "scribbles": ("crashed", "SIGABRT", 3),
    "exits": ("crashed", "exit code 7", 3),
    "leaves_a_child": ("crashed", "exit code 5", 3),
    "closes_its_end": ("crashed", "closed its line", 3),
    "is_killed": ("out_of_memory", "killed from outside", 3),
    "leaks": ("out_of_memory", "no memory", 3),
    "grows": ("out_of_memory", "more than 300 MB", 3),
    "stands_still": ("timeout", "not finished after 12 s of work", 3),
    "never_ends": ("timeout", "not finished after 12 s of work", None),
    "restarts_for_ever": ("crashed", "Restart: once more", 3),
    "finds_fault": ("unreadable", "the data ends here", 3),
    "opens_and_dies": ("crashed", "exit code 9", 0),
    "opens_and_raises": ("crashed", "ZeroDivisionError: division by zero", 0),
    "TypeError": ("crashed", "TypeError: unsupported operand", 3),
    "EOFError": ("crashed", "EOFError: end of something else", 3),
    "KeyboardInterrupt": ("crashed", "ended by itself|SIGINT", 3),
    "SystemExit": ("crashed", "exit code 3", 3),
    "Unprintable": ("crashed", ENDED_ITSELF, 3),
    "Surrogate": ("crashed", r"name \\udcff", 3),
    "Long": ("crashed", "RuntimeError: long", 3),
    "says_no_json": ("crashed", NONSENSE, 3),
    "says_half": ("timeout", "no sign of life for 8 s", 3),
    "says_nothing_long": ("crashed", f"{NONSENSE}.*more than 65536 bytes", 3),
    "says_slot_minus": ("crashed", f"{NONSENSE}.*slot -1", 3),
    "says_past": ("crashed", f"{NONSENSE}.*a sample at 1.5 s after", 3),
    "says_bad_end": ("crashed", NONSENSE, 3),
    "never_reads": ("crashed", f"{NONSENSE}.*does not listen", 3),
}


@pytest.fixture(scope="module")
def odd_run(tmp_path_factory: pytest.TempPathFactory, film: Path) -> tuple[Path, Report]:
    """One run over a film for every deed, and good ones among them, whose decoder does no harm."""
    root = tmp_path_factory.mktemp("odd")
    for name in (*(f"odd-{deed}" for deed in (*DEEDS, "cuts_memory", "says_more_after_the_end")), *GOOD):
        copy_of(film, root / "videos" / f"{name}.mp4")
    return root / "a.reel", run(root / "videos", root / "a.reel", workers=8)


@pytest.mark.parametrize("deed", DEEDS)
def test_an_odd_decoder_costs_what_comes_after(odd_run: tuple[Path, Report], deed: str) -> None:
    archive, _ = odd_run
    kind, text, kept = DEEDS[deed]
    row = rows_of(archive)[f"odd-{deed}"]
    assert (row.error_kind, row.error is not None) == (kind, True), row
    assert re.search(text, row.error), row.error
    assert row.stage == "decode"
    assert row.status == ("failed" if kept == 0 else "partial")
    assert row.decoder == (None if kept == 0 else ODD)
    assert len(row.error) < 5000
    vectors = vectors_of(archive, f"odd-{deed}") if kept != 0 else np.zeros((0, 4))
    assert len(vectors) == kept if kept is not None else len(vectors) >= 3
    if kept is None or kept:
        np.testing.assert_array_equal(vectors[:3], vectors_of(archive, "good-1")[:3])


def test_the_others_are_as_if_nothing_had_been(odd_run: tuple[Path, Report], tmp_path: Path) -> None:
    archive, report = odd_run
    videos = archive.parent / "videos"
    assert report.videos == len(DEEDS) + 2 + len(GOOD)
    assert verify(Store.open(archive)).problems == []
    plain = tmp_path / "plain.reel"
    extract([str(videos / f"{name}.mp4") for name in GOOD], plain, ["toy"], Settings(plan=Plan(decode_all=True)))
    for name in GOOD:
        row, expected = rows_of(archive)[name], rows_of(plain)[name]
        assert (row.status, row.duration_s, row.frames_decoded) == ("done", expected.duration_s, 50)
        np.testing.assert_array_equal(vectors_of(archive, name), vectors_of(plain, name))
    assert decoders(os.getpid()) == []


def test_memory_that_the_run_looks_at_cannot_be_taken_away(odd_run: tuple[Path, Report]) -> None:
    archive, _ = odd_run
    assert "PermissionError" in (rows_of(archive)["odd-cuts_memory"].error or "")


def test_what_comes_after_the_last_word_is_not_the_next_videos(odd_run: tuple[Path, Report]) -> None:
    archive, _ = odd_run
    row = rows_of(archive)["odd-says_more_after_the_end"]
    assert (row.status, row.frames_decoded) == ("done", 1)  # a lie, but only about itself


def test_a_second_opinion_makes_it_whole(tmp_path: Path, film: Path, opened: Callable[[], list[str]]) -> None:
    for deed in ("hangs_in_c", "segfaults", "says_no_json", "finds_fault"):
        copy_of(film, tmp_path / "videos" / f"odd-{deed}.mp4")
    copy_of(film, tmp_path / "videos" / "good.mp4")
    limits = replace(LIMITS, memory_bytes=2 << 30)  # decord wants more
    report = run(tmp_path / "videos", tmp_path / "a.reel", ODD, "decord", workers=4, limits=limits)
    rows = rows_of(tmp_path / "a.reel")
    for deed in ("hangs_in_c", "segfaults", "says_no_json"):
        row = rows[f"odd-{deed}"]
        assert (row.status, row.decoder, row.error, row.frames_decoded) == ("done", "decord", None, 50)
        np.testing.assert_allclose(
            vectors_of(tmp_path / "a.reel", f"odd-{deed}").astype(float),
            vectors_of(tmp_path / "a.reel", "good").astype(float),
            atol=0.01,  # decord's colours are not quite PyAV's
        )
    row = rows["odd-finds_fault"]  # of the data, not of the decoder: it stays, though more was read
    assert (row.status, row.error_kind, row.decoder) == ("partial", "unreadable", "decord")
    assert len(vectors_of(tmp_path / "a.reel", "odd-finds_fault")) == 5
    assert (report.done, report.partial) == (4, 1)
    assert opened() == [
        "good.mp4",
        "odd-finds_fault.mp4",
        "odd-hangs_in_c.mp4",
        "odd-says_no_json.mp4",
        "odd-segfaults.mp4",
    ]


def test_there_is_one_second_opinion_and_no_third(tmp_path: Path, film: Path, opened: Callable[[], list[str]]) -> None:
    for name in ("odd-aborts", "odd-opens_and_dies", "good"):
        copy_of(film, tmp_path / "videos" / f"{name}.mp4")
    run(tmp_path / "videos", tmp_path / "a.reel", ODD, ODD, ODD, workers=2)
    assert opened() == ["good.mp4", *["odd-aborts.mp4"] * 2, *["odd-opens_and_dies.mp4"] * 2]
    row = rows_of(tmp_path / "a.reel")["odd-aborts"]
    assert (row.status, row.stage, row.error_kind, len(vectors_of(tmp_path / "a.reel", "odd-aborts"))) == (
        "partial",
        "decode",
        "crashed",
        3,
    )


def test_only_what_failed_is_tried_again_and_only_when_asked(
    tmp_path: Path, film: Path, opened: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, archive = tmp_path / "videos", tmp_path / "a.reel"
    for name in ("odd-aborts", "odd-opens_and_dies", "odd-says_no_json", "good"):
        copy_of(film, videos / f"{name}.mp4")
    run(videos, archive)
    opened()
    monkeypatch.setenv("ODD_TAME", "1")
    assert (run(videos, archive).skipped, opened()) == (4, [])
    report = run(videos, archive, retry_failed=True)
    assert (report.done, report.skipped) == (3, 1)
    assert opened() == ["odd-aborts.mp4", "odd-opens_and_dies.mp4", "odd-says_no_json.mp4"]
    assert {name: (row.status, row.attempts, row.error) for name, row in rows_of(archive).items()} == {
        "good": ("done", 1, None),
        **{f"odd-{deed}": ("done", 2, None) for deed in ("aborts", "opens_and_dies", "says_no_json")},
    }
    assert verify(Store.open(archive)).problems == []


# --- files that are harmed, odd, or change -----------------------------------------------------------------

MAKES: dict[str, dict[str, Any]] = {
    "h264.mp4": {},
    "h264.mkv": {},
    "h264.ts": {},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8"}},
}
HARMED = 50  # of each


def test_two_hundred_harmed_files_in_one_run(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name, how in MAKES.items():
        whole = films.solid_film(tmp_path / name, range(0, 480, 40), **how).read_bytes()
        chance = random.Random(name)
        for number in range(HARMED):
            (tmp_path / "videos" / f"{number}-{name}").write_bytes(films.harm(whole, chance))
    limits = Limits(stall_s=20.0, floor_s=40.0, memory_bytes=1 << 30)
    report = extract([str(tmp_path / "videos")], tmp_path / "a.reel", ["toy"], Settings(limits=limits, workers=2))
    store = Store.open(tmp_path / "a.reel")
    assert report.videos == HARMED * len(MAKES)
    assert report.done + report.partial + report.failed + report.skipped == report.videos  # skipped: cut alike
    assert len(store.videos()) == report.videos - report.skipped
    assert report.done > 20
    assert report.failed > 20
    assert {failure["error_kind"] for failure in report.failures} <= {
        *("unreadable", "no_video", "zero_frames", "unsupported_codec", "out_of_memory", "crashed")
    }
    assert verify(store).problems == []


def test_names_and_things_that_are_no_videos(tmp_path: Path, film: Path) -> None:
    videos, archive = tmp_path / "videos", tmp_path / "a.reel"
    names = ["two\nlines.mp4", "-dash.mp4", "é 🎬 %03d.mp4", "http:x.mp4", os.fsdecode(b"caf\xe9\xff.mp4")]
    for name in names:
        copy_of(film, videos / name)
    (videos / "empty.mp4").touch()
    os.mkfifo(videos / "pipe.mp4")
    (videos / "loop.mp4").symlink_to("loop.mp4")
    (videos / "nowhere.mp4").symlink_to("nothing")
    copy_of(film, videos / "folder.mp4" / "inside.mp4")
    shut = copy_of(film, videos / "shut.mp4")
    shut.chmod(0)
    report = extract([str(videos)], archive, ["toy"], Settings(workers=2))
    rows = {Path(row.path).name: row for row in Store.open(archive).videos()}
    readable = os.geteuid() == 0  # root may read everything
    done = [*names, "inside.mp4", *(["shut.mp4"] if readable else [])]
    failed = ["empty.mp4", "pipe.mp4", "loop.mp4", "nowhere.mp4", *([] if readable else ["shut.mp4"])]
    assert {name: row.status for name, row in rows.items()} == {
        **dict.fromkeys(done, "done"),
        **dict.fromkeys(failed, "failed"),
    }
    assert {(rows[name].stage, rows[name].error_kind) for name in failed} == {("open", "unreadable")}
    assert (report.done, report.failed, report.skipped) == (len(done), len(failed), 0)
    assert verify(Store.open(archive)).problems == []
    assert extract([str(videos)], archive, ["toy"]).skipped == len(done) + len(failed)


def test_files_that_change_while_they_are_read_are_read_again(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos, archive = tmp_path / "videos", tmp_path / "a.reel"
    deeds = ("odd-is_replaced", "odd-is_deleted", "odd-gets_longer")
    for name in (*deeds, "good"):
        copy_of(film, videos / f"{name}.mp4")
    report = run(videos, archive)
    assert (report.done, report.partial) == (1, 3)
    for name in deeds:
        row = rows_of(archive)[name]
        assert "changed while it was being read" in (row.error or ""), name
        np.testing.assert_array_equal(vectors_of(archive, name), vectors_of(archive, "good"))
    monkeypatch.setenv("ODD_TAME", "1")
    again = run(videos, archive)  # what is gone is not an input any more; its features stay
    assert (again.done, again.skipped, again.videos) == (2, 1, 3)
    assert {name: row.status for name, row in rows_of(archive).items()} == {
        **dict.fromkeys(("good", "odd-is_replaced", "odd-gets_longer"), "done"),
        "odd-is_deleted": "partial",
    }
    assert verify(Store.open(archive)).problems == []


# --- processes that are killed ------------------------------------------------------------------------------


def test_decoding_processes_killed_at_random_cost_only_their_videos(tmp_path: Path, film: Path) -> None:
    videos, archive = tmp_path / "videos", tmp_path / "a.reel"
    names = [f"{number:02}" for number in range(16)]
    for name in names:
        copy_of(film, videos / f"{name}.mp4")
    kills: list[int] = []
    chance = random.Random(3)

    def kill_some(stop: threading.Event) -> None:
        while not stop.wait(chance.uniform(0.02, 0.3)):
            for pid in decoders(os.getpid())[:1]:
                with suppress(ProcessLookupError):  # it has just ended
                    os.kill(pid, signal.SIGKILL)
                    kills.append(pid)

    while len(kills) < 3:  # a run is short; on a busy machine hardly anything may be killed in one
        shutil.rmtree(archive, ignore_errors=True)
        stop = threading.Event()
        killer = threading.Thread(target=kill_some, args=(stop,))
        killer.start()
        try:
            report = run(videos, archive, "pyav", "pyav", workers=2)
        finally:
            stop.set()
            killer.join()
    assert report.done + report.partial + report.failed == len(names)
    assert {failure["error_kind"] for failure in report.failures} <= {"out_of_memory"}
    assert verify(Store.open(archive)).problems == []
    run(videos, archive, "pyav", retry_failed=True)
    rows = rows_of(archive)
    assert {name: row.status for name, row in rows.items()} == dict.fromkeys(names, "done")
    for name in names:
        np.testing.assert_array_equal(vectors_of(archive, name), vectors_of(archive, names[0]))


RUN = """
import sys
from nightreel.extract.engine import Plan
from nightreel.extract.run import Settings, extract
extract([sys.argv[1]], sys.argv[2], ["toy"], Settings(Plan(backends=("odd_decoders:odd",)), workers=3))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, processes end when the line to the run closes")
def test_a_killed_run_leaves_no_process_behind(
    tmp_path: Path, film: Path, opened: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD_GO", str(tmp_path / "never"))
    for name in ("odd-hangs_in_c", "odd-spins", "odd-waits"):
        copy_of(film, tmp_path / "videos" / f"{name}.mp4")
    main = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path / "videos"), str(tmp_path / "a.reel")])
    try:
        until((tmp_path / "videos" / "odd-waits.begun").exists, "nothing was decoded")
        until(lambda: len(opened_names(os.environ["ODD_LOG"])) == 3, "not all were opened")
        left = decoders(main.pid)
        assert len(left) == 3
    finally:
        main.kill()
        main.wait()
    until(lambda: all(is_gone(pid) for pid in left), "a decoding process outlives the run")
    assert verify(Store.open(tmp_path / "a.reel")).problems == []


def opened_names(log: str) -> list[str]:
    return Path(log).read_text().splitlines()


# --- a disk that is full --------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [2, 3, 4, 5, 6, 7])
def test_a_full_disk_ends_the_run_and_keeps_what_was_committed(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], call: int
) -> None:
    """From some fsync on, after the first two videos were committed: Parquet files, commit, run file."""
    from nightreel import cli

    videos, archive = tmp_path / "videos", tmp_path / "a.reel"
    for number in range(2):
        copy_of(film, videos / f"{number}.mp4")
    assert extract([str(videos)], archive, ["toy"]).done == 2
    before = rows_of(archive)
    copy_of(film, videos / "2.mp4")
    real, calls = os.fsync, [0]

    def fsync(fd: int) -> None:
        calls[0] += 1
        if calls[0] >= call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    words = ["nightreel", "extract", str(videos), "--archive", str(archive), "--encoder", "toy", "--workers", "1"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr()
    assert (stop.value.code, said.out) == (1, "")
    assert said.err.startswith("nightreel: No space left on device")
    assert "free the disk" in said.err
    monkeypatch.setattr(os, "fsync", real)
    store = Store.open(archive)
    assert verify(store).problems == []
    assert {name: row for name, row in rows_of(archive).items() if name != "2"} == before
    cli_again = extract([str(videos)], archive, ["toy"])
    assert cli_again.done + cli_again.skipped == 3
    assert len(rows_of(archive)) == 3


def test_a_disk_with_a_limit(tmp_path: Path, film: Path) -> None:
    """The real thing as far as a user can have it without mounting: writes beyond a size fail in the system."""
    videos, archive = tmp_path / "videos", tmp_path / "a.reel"
    copy_of(film, videos / "0.mp4")
    assert extract([str(videos)], archive, ["toy"]).done == 1
    shutil.copy(videos / "0.mp4", videos / "copy.mp4")
    copy_of(film, videos / "1.mp4")
    code = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
    code += "from nightreel.cli import main; main()"
    words = ["extract", str(videos), "--archive", str(archive), "--encoder", "toy", "--workers", "1"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (1, "")
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert verify(Store.open(archive)).problems == []
    assert list(rows_of(archive)) == ["0"]
    assert extract([str(videos)], archive, ["toy"]).done == 1


def test_a_run_that_did_not_look_for_long_does_not_blame_the_decoder(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit on a slow disk, a machine that was suspended: the time passed for the decoder just as well."""
    real, ahead_s = time.monotonic, [0.0]

    def monotonic() -> float:
        return real() + ahead_s[0]

    def later(progress: object) -> None:
        ahead_s[0] += 1000.0

    clock = type("Clock", (), {"monotonic": staticmethod(monotonic)})
    monkeypatch.setattr("nightreel.extract.workers.process.time", clock)
    for number in range(4):
        copy_of(film, tmp_path / "videos" / f"{number}.mp4")
    plan = Plan(backends=(ODD,), batch=1)
    videos, archive = [str(tmp_path / "videos")], tmp_path / "a.reel"
    assert extract(videos, archive, ["toy"], Settings(plan, limits=LIMITS, workers=2), later).done == 4


def test_when_no_process_can_start_the_run_says_so_and_blames_no_video(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(NightreelError, match=r"cannot start \(exit code 1\)\. See why with: .*workers\.child"):
        run(film, tmp_path / "a.reel", "pyav")
    assert Store.open(tmp_path / "a.reel").videos() == []
