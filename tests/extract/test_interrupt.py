"""Ctrl-C in two steps, as a person or a scheduler presses it: the signal goes to every process of the group."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nightreel.extract.engine import Plan
from nightreel.extract.interrupt import SIGNALS, in_two_steps
from nightreel.extract.record import Progress
from nightreel.extract.run import Settings, extract
from nightreel.extract.store import Store
from nightreel.extract.verify import verify

MakeFilm = Callable[..., Path]
PATIENCE_S = 60.0  # only so that a test that fails does not hang

# --- the handler -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_asks_the_second_stops(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    asked = []
    with pytest.raises(KeyboardInterrupt), in_two_steps(lambda: asked.append(1)):  # noqa: PT012
        os.kill(os.getpid(), number)
        assert asked == [1]
        os.kill(os.getpid(), number)
        time.sleep(PATIENCE_S)
    assert asked == [1]
    assert signal.getsignal(number) == before


def test_a_signal_of_either_kind_is_the_second() -> None:
    with pytest.raises(KeyboardInterrupt), in_two_steps(lambda: None):  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_S)


def test_what_is_ignored_stays_ignored() -> None:
    """As under `nohup`, or in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with in_two_steps(lambda: pytest.fail("it was to be ignored")):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_have_no_handlers(tmp_path: Path, make_film: MakeFilm) -> None:
    make_film(tmp_path / "videos" / "a.mp4", [("red", 1.0)])
    reports: list[Any] = []
    words = ([str(tmp_path / "videos")], tmp_path / "a.reel", ["toy"])
    thread = threading.Thread(target=lambda: reports.append(extract(*words)))
    thread.start()
    thread.join(PATIENCE_S)
    assert [report.done for report in reports] == [1]


# --- in one process ---------------------------------------------------------------------------------------------------


@pytest.fixture
def videos(tmp_path: Path, make_film: MakeFilm) -> Path:
    """Five films of 5 s; the first two wait in the middle until they may go on, see `odd_decoders.py`."""
    for i, name in enumerate(("odd-waits+1", "odd-waits+2", "third", "fourth", "fifth")):
        make_film(tmp_path / "videos" / f"{i}" / f"{name}.mp4", [("red", 3.0), ("blue", 2.0 + i / 10)])
    return tmp_path / "videos"


def names(archive: Path) -> set[str]:
    return {Path(row.path).stem for row in Store.open(archive).videos()}


def run_file(archive: Path) -> dict[str, Any]:
    (file,) = (archive / "runs").glob("*.json")
    value: dict[str, Any] = json.loads(file.read_text())
    return value


def test_a_signal_between_two_videos(tmp_path: Path, make_film: MakeFilm) -> None:
    for i in range(6):
        make_film(tmp_path / "videos" / f"{i}.mp4", [("red", 1.0 + i / 10)])
    told = []

    def after(progress: Progress) -> None:
        if progress.number == 1:
            os.kill(os.getpid(), signal.SIGINT)

    settings = Settings(Plan(batch=1), workers=1, on_stop=lambda: told.append(1))
    with pytest.raises(KeyboardInterrupt):
        extract([str(tmp_path / "videos")], tmp_path / "a.reel", ["toy"], settings, after)
    assert told == [1]
    assert 1 <= len(names(tmp_path / "a.reel")) < 6  # some more may have been under way
    assert run_file(tmp_path / "a.reel")["state"] == "stopped"
    report = extract([str(tmp_path / "videos")], tmp_path / "a.reel", ["toy"])
    assert report.done + report.skipped == 6
    assert verify(Store.open(tmp_path / "a.reel")).problems == []


# --- as a command -------------------------------------------------------------------------------------------------------

# The command line has no way to name a decoder, so the plan that it makes is given one.
CLI = """
from functools import partial
from nightreel.cli import main
from nightreel.extract import options
from nightreel.extract.engine import Plan
options.Plan = partial(Plan, backends=("odd_decoders:odd",))
main()
"""


class Command:
    """`nightreel extract` in a process group of its own, with the first two videos under way."""

    def __init__(self, videos: Path, archive: Path) -> None:
        self.go = archive.parent / "go"
        here = str(Path(__file__).parent)
        log = str(archive.parent / "log")
        words = ["extract", str(videos), "--archive", str(archive), "--encoder", "toy", "--workers", "2"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLI, *words],
            env={**os.environ, "PYTHONPATH": here, "ODD_GO": str(self.go), "ODD_LOG": log},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        until(lambda: len([*videos.rglob("*.begun")]) == 2)
        self.decoders = decoders(self.process.pid)
        assert len(self.decoders) == 2

    def signal(self, number: int) -> None:
        """To all processes of the group: the run and its decoders."""
        os.killpg(self.process.pid, number)

    def wait_until_it_says(self, text: str) -> str:
        assert self.process.stderr is not None
        said = ""
        while text not in said:
            line = self.process.stderr.readline()
            assert line, f"it ended, and said only {said!r}"
            said += line
        return said

    def wait(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, out, err


@pytest.fixture
def command(videos: Path, tmp_path: Path) -> Iterator[Command]:
    started = Command(videos, tmp_path / "a.reel")
    yield started
    if started.process.poll() is None:
        started.process.kill()
        started.process.communicate()


def until(what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def decoders(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in listed.stdout.split()]


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="finds processes as Linux does")


@needs_linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_after_the_first_what_was_begun_is_finished(command: Command, tmp_path: Path, number: signal.Signals) -> None:
    command.signal(number)
    said = command.wait_until_it_says("Press Ctrl-C again to stop at once.")
    assert "the videos under way are finished first" in said
    assert not any(is_gone(pid) for pid in command.decoders)  # the signal was for the run to heed
    command.go.touch()
    code, out, err = command.wait()
    assert (code, out) == (1, "")
    assert err == "Stopped. What was finished is kept; the same command goes on from there.\n"
    archive = tmp_path / "a.reel"
    assert names(archive) == {"odd-waits+1", "odd-waits+2"}
    assert {row.status for row in Store.open(archive).videos()} == {"done"}
    found = run_file(archive)
    assert (found["state"], found["report"]["done"], found["report"]["failures"]) == ("stopped", 2, [])
    assert verify(Store.open(archive)).problems == []
    assert all(is_gone(pid) for pid in command.decoders)


@needs_linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_after_the_second_all_ends_at_once(command: Command, tmp_path: Path, number: signal.Signals) -> None:
    command.signal(number)
    command.wait_until_it_says("Press Ctrl-C again")
    command.signal(number)
    code, out, err = command.wait()  # though the decoders still wait
    assert (code, out) == (1, "")
    assert err.startswith("Stopped.")
    until(lambda: all(is_gone(pid) for pid in command.decoders))
    archive = tmp_path / "a.reel"
    assert names(archive) == set()
    assert run_file(archive)["state"] == "stopped"
    assert verify(Store.open(archive)).problems == []
    assert extract([str(tmp_path / "videos")], archive, ["toy"]).done == 5  # with a decoder that does not wait
