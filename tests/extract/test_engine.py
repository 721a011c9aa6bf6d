"""The engine as a whole: what comes out does not depend on how the work is cut up, and memory stays bounded."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel.extract.batches import AHEAD, Batches, Fit
from nightreel.extract.encoders.base import Embeddings, Encoder, Frames
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.engine import SLOTS, Plan
from nightreel.extract.errors import VideoError
from nightreel.extract.geometry import Geometry
from nightreel.extract.run import Settings, extract
from nightreel.extract.store import Store
from nightreel.extract.take import Take
from nightreel.extract.verify import verify
from nightreel.extract.workers.process import Limits

MakeFilm = Callable[..., Path]
COLOURS = ("red", "green", "blue", "yellow", "white", "black")


class Rows(ToyEncoder):
    """A second small encoder: the mean of each third of a picture that keeps its aspect ratio."""

    spec = "rows"
    dim = 9
    geometry = Geometry((24, 36), "longest", "bicubic", 128)

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "spec": self.spec, "dim": self.dim}

    def encode_frames(self, frames: Frames) -> Embeddings:
        assert frames.shape[1:] == self.geometry.shape
        sums = frames.reshape(len(frames), 3, -1, 3).sum(axis=2, dtype=np.uint64).reshape(len(frames), 9) + 1
        return (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)


UseEncoders = Callable[[Mapping[str, Encoder]], None]


@pytest.fixture
def use_encoders(monkeypatch: pytest.MonkeyPatch) -> UseEncoders:
    """use_encoders({"toy": encoder}): what `extract(..., ["toy"])` gets."""

    def use(encoders: Mapping[str, Encoder]) -> None:
        monkeypatch.setattr("nightreel.extract.run.slug", lambda spec: spec)
        monkeypatch.setattr("nightreel.extract.run.resolve", lambda spec: spec)
        monkeypatch.setattr("nightreel.extract.run.load_encoder", lambda spec, device: encoders[spec])

    return use


@pytest.fixture
def videos(tmp_path: Path, make_film: MakeFilm) -> Path:
    """Seven films of 0.3 to 5.2 s, each of its own colours."""
    for i in range(6):
        scenes = [(COLOURS[i], 0.3 + 0.7 * i), (COLOURS[(i + 1) % 6], 1.4)]
        make_film(tmp_path / "videos" / f"{i}.mp4", scenes, (64 + 2 * i, 48))
    make_film(tmp_path / "videos" / "short.mkv", [("red", 0.3)])
    return tmp_path / "videos"


def run(inputs: Sequence[Path], archive: Path, encoders: Sequence[str] = ("toy",), **settings: Any) -> Store:
    report = extract([str(path) for path in inputs], archive, encoders, Settings(**settings))
    assert report.failures == []
    store = Store.open(archive)
    assert verify(store).problems == []
    return store


def assert_same(one: Store, other: Store, slug: str = "toy") -> None:
    assert sorted(one.video_ids(slug)) == sorted(other.video_ids(slug)) != []
    for video_id in one.video_ids(slug):
        a, b = one.segments_of(slug, video_id), other.segments_of(slug, video_id)
        for column in ("segment_id", "start_s", "end_s", "time_s", "embedding"):
            np.testing.assert_array_equal(getattr(a, column), getattr(b, column))
    # What it took may differ: decoders with several threads are some frames ahead.
    rows, others = ({row.video_id: replace(row, frames_decoded=0) for row in s.videos()} for s in (one, other))
    assert rows == others


def test_results_do_not_depend_on_batches_workers_or_order(videos: Path, tmp_path: Path) -> None:
    paths = sorted(videos.iterdir())
    plain = run(paths, tmp_path / "plain.reel", plan=Plan(fps=3.0), workers=1)
    ways = [(1, 2, paths), (2, 4, paths[::-1]), (7, 2, [*paths[3:], *paths[:3]]), (32, 4, paths)]
    for batch, workers, order in ways:
        other = run(order, tmp_path / f"{batch}.reel", plan=Plan(fps=3.0, batch=batch), workers=workers)
        assert_same(plain, other)


def test_two_encoders_in_one_pass_equal_each_alone(videos: Path, tmp_path: Path, use_encoders: UseEncoders) -> None:
    use_encoders({"toy": ToyEncoder(), "rows": Rows()})
    paths = sorted(videos.iterdir())
    both = run(paths, tmp_path / "both.reel", ["toy", "rows"], plan=Plan(batch=5), workers=2)
    for slug in ("toy", "rows"):
        assert_same(both, run(paths, tmp_path / f"{slug}.reel", [slug], plan=Plan(batch=3)), slug)
    swapped = run(paths, tmp_path / "swapped.reel", ["rows", "toy"], plan=Plan(batch=4))
    assert_same(both, swapped, "toy")
    assert_same(both, swapped, "rows")


class Recorder(ToyEncoder):
    """Remembers the sizes of its batches; waits for `go` before the first."""

    def __init__(self, most: int = 1 << 30, go: threading.Event | None = None) -> None:
        self.sizes: list[int] = []
        self.most = most
        self.go = go

    def encode_frames(self, frames: Frames) -> Embeddings:
        if self.go is not None:
            assert self.go.wait(60)
        self.sizes.append(len(frames))
        if len(frames) > self.most:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().encode_frames(frames)


def clips(folder: Path, make_film: MakeFilm, count: int) -> Path:
    """`count` clips of about a second; all different."""
    for i in range(count):
        make_film(folder / f"{i:03}.mp4", [(COLOURS[i % 6], 0.6), (COLOURS[i // 6 % 6], 0.4)], (32 + 2 * (i // 36), 32))
    return folder


def test_short_clips_fill_batches_together(
    tmp_path: Path, make_film: MakeFilm, use_encoders: UseEncoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightreel.extract.batches.PATIENCE_S", 1e9)  # however slow this machine is
    encoder = Recorder()
    use_encoders({"toy": encoder})
    folder = clips(tmp_path / "videos", make_film, 24)
    store = run([folder], tmp_path / "a.reel", plan=Plan(batch=8), workers=2)
    frames = store.segment_count("toy")
    assert frames >= 24
    assert encoder.sizes == [8] * (frames // 8) + ([frames % 8] if frames % 8 else [])


def test_what_fits_into_memory_is_remembered(
    tmp_path: Path, make_film: MakeFilm, use_encoders: UseEncoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightreel.extract.batches.PATIENCE_S", 1e9)
    encoder = Recorder(most=3)
    use_encoders({"toy": encoder})
    folder = clips(tmp_path / "videos", make_film, 20)
    run([folder], tmp_path / "a.reel", plan=Plan(batch=16), workers=2)
    assert encoder.sizes[:4] == [16, 8, 4, 2]
    assert set(encoder.sizes[4:]) <= {1, 2}
    (file,) = (tmp_path / "a.reel" / "runs").glob("*.json")
    assert '"toy": 2' in file.read_text()


def test_a_single_frame_that_does_not_fit_is_said(
    tmp_path: Path, make_film: MakeFilm, use_encoders: UseEncoders
) -> None:
    use_encoders({"toy": Recorder(most=0)})
    folder = clips(tmp_path / "videos", make_film, 2)
    report = extract([str(folder)], tmp_path / "a.reel", ["toy"])
    assert {failure["error_kind"] for failure in report.failures} == {"out_of_memory"}
    assert report.failed == 2


class NotBlue(ToyEncoder):
    def encode_frames(self, frames: Frames) -> Embeddings:
        if np.any(frames[..., 2].mean(axis=(1, 2)) > frames[..., :2].mean(axis=(1, 2)).max(axis=-1) + 100):
            raise RuntimeError("CUDA error: device-side assert")
        return super().encode_frames(frames)


def test_an_encoder_error_costs_only_the_videos_that_raise_it(
    tmp_path: Path, make_film: MakeFilm, use_encoders: UseEncoders
) -> None:
    use_encoders({"toy": NotBlue()})
    for i, colour in enumerate(("red", "green", "blue", "white", "yellow")):
        make_film(tmp_path / "videos" / f"{colour}.mp4", [(colour, 1.0 + i / 10)])
    report = extract([str(tmp_path / "videos")], tmp_path / "a.reel", ["toy"], Settings(Plan(batch=32)))
    assert (report.done, report.failed) == (4, 1)
    assert Path(report.failures[0]["path"]).name == "blue.mp4"


def test_an_encoder_that_returns_too_little_is_an_encoder_error() -> None:
    class Short(ToyEncoder):
        def encode_frames(self, frames: Frames) -> Embeddings:
            return super().encode_frames(frames)[1:]

    with pytest.raises(VideoError, match=r"2 frames gave \(1, 4\)"):
        Fit(Short(), 8).encode([*np.zeros((2, 4, 4, 3), np.uint8)])


def test_faults_are_told_video_by_video() -> None:
    """Owners come in runs; only the one whose frames raise gets none."""
    frames = np.zeros((6, 4, 4, 3), np.uint8)
    frames[2:4, ..., 2] = 255
    a, b, c = object(), object(), object()
    answers = Fit(NotBlue(), 8).answers([*frames], [a, a, b, b, c, c])
    assert [isinstance(answer, VideoError) for answer in answers] == [False, False, True, True, False, False]


def test_batches_hand_vectors_to_their_owners() -> None:
    takes = [Take(), Take()]
    with Batches({"toy": ToyEncoder()}, 3) as batches:
        for i in range(5):
            index = takes[i % 2].expect(float(i))
            batches.add("toy", takes[i % 2], index, np.full((4, 4, 3), 50 * i, np.uint8))
        assert not batches.idle
        batches.flush()
        while any(take.waiting for take in takes):
            batches.deliver(1.0)
        assert batches.idle
    expected = ToyEncoder().encode_frames(np.stack([np.full((4, 4, 3), 50 * i, np.uint8) for i in range(5)]))
    for start, take in enumerate(takes):
        segments = take.segments("v", 9.0)
        assert segments is not None
        np.testing.assert_array_equal(segments.embedding, expected[start::2].astype(np.float16))


def test_copies_under_way_at_once_are_extracted_once(tmp_path: Path, make_film: MakeFilm) -> None:
    film = make_film(tmp_path / "videos" / "0.mp4", [("red", 3.0)])
    for i in range(1, 6):
        shutil.copy(film, film.with_name(f"{i}.mp4"))
    report = extract([str(film.parent)], tmp_path / "a.reel", ["toy"], Settings(workers=4))
    assert (report.done, report.skipped, report.segments) == (1, 5, {"toy": 3})
    assert len(Store.open(tmp_path / "a.reel").videos()) == 1


def test_decoders_wait_for_a_slow_encoder(
    tmp_path: Path, make_film: MakeFilm, use_encoders: UseEncoders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the encoder is at its first batch, decoders do no more than fill what is between them and it."""
    from nightreel.extract.workers.process import Worker

    go, taken, before, waiting = threading.Event(), [0], [0], [0]
    real_check, real_free = Worker.check, Worker.free
    encoder = Recorder(go=go)

    def free(worker: Worker, slot: int) -> None:
        taken[0] += not encoder.sizes
        real_free(worker, slot)

    def check(worker: Worker) -> None:
        real_check(worker)
        waits = worker.job is not None and worker._arena.state == 2
        waiting[0] = waiting[0] + 1 if waits and taken == before else 0
        before[0] = taken[0]
        if waiting[0] > 10 and taken[0] >= 4 * AHEAD:  # nothing was taken for a while: it is full
            go.set()

    monkeypatch.setattr(Worker, "free", free)
    monkeypatch.setattr(Worker, "check", check)
    use_encoders({"toy": encoder})
    for i in range(2):
        make_film(tmp_path / "videos" / f"{i}.mp4", [("red", 40.0 + i)])
    store = run([tmp_path / "videos"], tmp_path / "a.reel", plan=Plan(fps=10.0, batch=4), workers=2)
    assert store.segment_count("toy") == 810
    most = 4 * (AHEAD + 1) + 2 * SLOTS  # in batches, and one turn's worth of every worker
    assert 4 * AHEAD <= taken[0] <= most


MEMORY = """
import json, os, sys
from pathlib import Path
from nightreel.extract.engine import Plan
from nightreel.extract.run import Settings, extract
from nightreel.extract.workers.pool import Pool

def value(pid, key):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key + ":"))

def seen(progress):
    (worker,) = pools[0]._workers
    child = worker._child.pid
    who = {"main": "self", "child": worker._child.pid}
    print(json.dumps({key + name: value(pid, key) for key in ("VmHWM", "VmRSS") for name, pid in who.items()}), flush=True)

pools = []
real = Pool.__enter__
Pool.__enter__ = lambda pool: (pools.append(pool), real(pool))[1]
extract(sys.argv[2:], sys.argv[1], ["toy"], Settings(Plan(fps=1.0, batch=8), workers=1, commit_every_s=1e9), seen)
"""


def memory_kb(archive: Path, *inputs: Path) -> list[dict[str, int]]:
    """Peak and resident memory of a run and its decoding process after every video, in KiB."""
    import json

    words = [sys.executable, "-c", MEMORY, str(archive), *map(str, inputs)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_film_takes_no_more_memory_than_a_short_one(tmp_path: Path, make_film: MakeFilm) -> None:
    short = make_film(tmp_path / "short.mp4", [(colour, 5.0) for colour in COLOURS[:4]])
    long = make_film(tmp_path / "long.mp4", [(colour, 5.0) for colour in COLOURS[:4]] * 20)
    (little,), (much,) = memory_kb(tmp_path / "s.reel", short), memory_kb(tmp_path / "l.reel", long)
    for who in ("main", "child"):
        assert much[f"VmHWM{who}"] < 1.15 * little[f"VmHWM{who}"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_many_clips_leak_nothing(tmp_path: Path, make_film: MakeFilm) -> None:
    folder = clips(tmp_path / "videos", make_film, 120)
    after = memory_kb(tmp_path / "a.reel", folder)
    assert len(after) == 120
    for who in ("main", "child"):
        assert after[-1][f"VmRSS{who}"] < after[39][f"VmRSS{who}"] + 10_000


def test_a_decoding_process_that_has_grown_is_replaced(
    tmp_path: Path, make_film: MakeFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what one video's decoder left behind would be counted against another video."""
    from nightreel.extract.workers.process import Worker

    spawned = [0]
    real = Worker._spawn

    def spawn(worker: Worker) -> None:
        spawned[0] += 1
        real(worker)

    monkeypatch.setattr(Worker, "_spawn", spawn)
    folder = clips(tmp_path / "videos", make_film, 3)
    run([folder], tmp_path / "a.reel", workers=1, limits=Limits(memory_bytes=1 << 30))
    assert spawned[0] == 1
    size = "nightreel.extract.workers.process._resident_bytes"
    monkeypatch.setattr(size, lambda child: 600 << 20)
    run([folder], tmp_path / "b.reel", workers=1, limits=Limits(memory_bytes=1 << 30))
    assert spawned[0] == 1 + 3


def test_descriptors_are_given_back(tmp_path: Path, make_film: MakeFilm) -> None:
    folder = clips(tmp_path / "videos", make_film, 4)
    run([folder], tmp_path / "0.reel", workers=2)
    before = len(os.listdir("/dev/fd"))
    for i in range(1, 4):
        run([folder], tmp_path / f"{i}.reel", workers=2)
    assert len(os.listdir("/dev/fd")) <= before
