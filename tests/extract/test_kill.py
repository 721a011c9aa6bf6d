"""kill -9 at random instants: a run loses only what it had not committed, and no row ever stands twice."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from nightreel.extract.store import Store
from nightreel.extract.verify import verify

FILMS, KILLS = 12, 10
# Commits after every video, so that most kills fall into or between commits. Says when a video is done.
CODE = """
import sys
from nightreel.extract.engine import Plan
from nightreel.extract.run import Settings, extract
settings = Settings(Plan(batch=1), workers=2, commit_every_s=0.0)
extract([sys.argv[1]], sys.argv[2], ["toy"], settings, lambda progress: print(progress.number, flush=True))
"""


def start(videos: Path, archive: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CODE, str(videos), str(archive)], stdout=subprocess.PIPE)


def stop(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGKILL)
    code = process.wait()
    assert process.stdout is not None
    process.stdout.close()
    return code


def test_killed_ten_times_then_finished(tmp_path: Path, make_film: Callable[..., Path]) -> None:
    videos, archive = tmp_path / "videos", tmp_path / "a.reel"
    for i in range(FILMS):
        make_film(videos / f"{i:02}.mp4", [("red", 1.0 + i / 10), ("blue", 2.0)])
    draw = random.Random(7)
    committed, killed = 0, 0
    for _ in range(KILLS):
        process = start(videos, archive)
        assert process.stdout is not None
        # What was committed is skipped, and told first; when a second new one is told, the first is committed.
        for _ in range(committed + draw.randrange(3)):
            process.stdout.readline()
        time.sleep(draw.uniform(0.0, 0.03))
        killed += stop(process) == -signal.SIGKILL
        if (archive / "archive.json").exists():
            store = Store.open(archive)
            assert verify(store).problems == []
            assert len(store.videos()) >= committed, "a committed video was lost"
            committed = len(store.videos())
    assert killed >= KILLS // 2, "the kills came too late to test anything"
    assert committed > 0, "the kills came too early to test anything"
    last = start(videos, archive)
    assert last.stdout is not None
    last.stdout.read()
    last.stdout.close()
    assert last.wait() == 0
    store = Store.open(archive)
    assert verify(store).problems == []
    names = Counter(Path(row.path).name for row in store.videos())
    assert names == {f"{i:02}.mp4": 1 for i in range(FILMS)}
    ids = [i for batch in store.segments("toy") for i in batch.segment_id.tolist()]
    assert len(ids) == len(set(ids))
    per_video = Counter(v for batch in store.segments("toy") for v in batch.video_id)
    assert sorted(per_video.values()) == [3, *[4] * 10, 5]  # 3.0 s, 3.1 to 4.0 s, 4.1 s at one a second


def test_two_runs_at_once_leave_each_video_once(tmp_path: Path, make_film: Callable[..., Path]) -> None:
    videos, archive = tmp_path / "videos", tmp_path / "a.reel"
    for i in range(6):
        make_film(videos / f"{i}.mp4", [("green", 1.0 + i / 10)])
    runs = [start(videos, archive), start(videos, archive)]
    for process in runs:
        assert process.stdout is not None
        process.stdout.read()
        process.stdout.close()
        assert process.wait() == 0
    store = Store.open(archive)
    assert verify(store).problems == []
    assert len(store.videos()) == 6
    ids = [i for batch in store.segments("toy") for i in batch.segment_id.tolist()]
    assert len(ids) == len(set(ids)) == 6 + 5  # one second each, and a tenth more than one: two samples
