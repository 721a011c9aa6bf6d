"""The batch job end to end, with the toy encoder on films of solid colours: every number can be worked out."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nightreel.extract.encoders.base import Embeddings, Frames
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.engine import Plan
from nightreel.extract.errors import FingerprintMismatch, NotAnArchive, UsageError
from nightreel.extract.record import Progress
from nightreel.extract.run import Settings, extract
from nightreel.extract.store import Store
from nightreel.extract.verify import verify

MakeFilm = Callable[..., Path]


@pytest.fixture
def videos(tmp_path: Path, make_film: MakeFilm) -> Path:
    make_film(tmp_path / "videos" / "a.mp4", [("red", 2.0), ("blue", 3.0)])
    make_film(tmp_path / "videos" / "sub" / "b.mkv", [("green", 4.0)])
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"this is no video")
    (tmp_path / "videos" / "empty.mp4").write_bytes(b"")
    (tmp_path / "videos" / "notes.txt").write_text("not a video")
    return tmp_path / "videos"


def run(videos: Path, archive: Path, **settings: object) -> dict[str, object]:
    return extract([str(videos)], archive, ["toy"], Settings(**settings)).as_json()  # type: ignore[arg-type]


def test_every_input_has_an_outcome(videos: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    report = extract([str(videos)], tmp_path / "a.reel", ["toy"], Settings(), seen.append)
    assert (report.videos, report.done, report.failed, report.partial, report.skipped) == (4, 2, 2, 0, 0)
    assert report.segments == {"toy": 5 + 4}
    assert report.video_s == pytest.approx(9.0)
    assert {failure["error_kind"] for failure in report.failures} == {"unreadable"}
    assert [(p.number, p.of) for p in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    store = Store.open(tmp_path / "a.reel")
    rows = {Path(row.path).name: row for row in store.videos()}
    assert set(rows) == {"a.mp4", "b.mkv", "broken.mp4", "empty.mp4"}
    a = rows["a.mp4"]
    assert (a.status, a.frames_decoded, a.width_px, a.height_px, a.variable_fps) == ("done", 17, 64, 48, False)
    assert a.duration_s == pytest.approx(5.0)
    assert (rows["broken.mp4"].status, rows["broken.mp4"].stage) == ("failed", "open")
    segments = store.segments_of("toy", a.video_id)
    assert segments.start_s.tolist() == pytest.approx([0, 1, 2, 3, 4])
    assert segments.end_s.tolist() == pytest.approx([1, 2, 3, 4, 5])
    similarity = segments.embedding.astype(np.float32) @ ToyEncoder().encode_text(["red", "blue"]).T
    assert similarity.argmax(1).tolist() == [0, 0, 1, 1, 1]
    assert verify(store).problems == []


def test_a_second_run_does_nothing(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "a.reel")
    again = run(videos, tmp_path / "a.reel")
    assert (again["skipped"], again["done"], again["failed"], again["failures"]) == (4, 0, 0, [])
    assert len(Store.open(tmp_path / "a.reel").commit_ids) == 1


def test_only_what_is_new_or_changed_is_done(videos: Path, tmp_path: Path, make_film: MakeFilm) -> None:
    archive = tmp_path / "a.reel"
    run(videos, archive)
    make_film(videos / "new.mp4", [("yellow", 2.0)])
    make_film(videos / "a.mp4", [("white", 3.0)])  # the same name, another film
    os.utime(videos / "sub" / "b.mkv", (1, 1))  # touched only
    report = run(videos, archive)
    assert (report["done"], report["skipped"]) == (2, 3)
    store = Store.open(archive)
    assert sorted(Path(row.path).name for row in store.videos()) == [
        "a.mp4",
        "b.mkv",
        "broken.mp4",
        "empty.mp4",
        "new.mp4",
    ]
    assert sum(len(batch) for batch in store.segments("toy")) == 3 + 4 + 2
    assert verify(store).problems == []


def test_moved_files_are_recognised_and_copies_are_duplicates(videos: Path, tmp_path: Path) -> None:
    archive = tmp_path / "a.reel"
    run(videos, archive)
    (videos / "a.mp4").rename(videos / "renamed.mp4")
    shutil.copy(videos / "sub" / "b.mkv", videos / "copy.mkv")
    notes: list[str] = []
    report = extract([str(videos)], archive, ["toy"], Settings(), lambda p: notes.append(f"{p.path.name}: {p.note}"))
    assert (report.done, report.skipped) == (0, 5)
    assert any(note.startswith("renamed.mp4: moved from") for note in notes)
    assert any(note.startswith("copy.mkv: the same content as") for note in notes)
    store = Store.open(archive)
    names = sorted(Path(row.path).name for row in store.videos())
    assert names == ["b.mkv", "broken.mp4", "empty.mp4", "renamed.mp4"]
    assert Path(store.find_video(str(videos / "copy.mkv")).path).name == "b.mkv"  # a copy names its original


@pytest.mark.parametrize("kept_first", [True, False], ids=["old-name-sorts-last", "old-name-sorts-first"])
def test_a_new_film_under_an_old_name_loses_nothing(tmp_path: Path, make_film: MakeFilm, kept_first: bool) -> None:
    """Rename P to Q and put another film at P, as recorders do that rotate names."""
    videos, archive = tmp_path / "videos", tmp_path / "a.reel"
    p, q = ("b.mp4", "a.mp4") if kept_first else ("a.mp4", "b.mp4")
    make_film(videos / p, [("red", 2.0)])
    run(videos, archive)
    (videos / p).rename(videos / q)
    make_film(videos / p, [("blue", 3.0)])
    run(videos, archive)
    store = Store.open(archive)
    lengths = {Path(row.path).name: len(store.segments_of("toy", row.video_id)) for row in store.videos()}
    assert lengths == {q: 2, p: 3}


def test_a_worse_second_try_keeps_what_the_first_kept(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.reel"
    monkeypatch.setattr("nightreel.extract.run.load_encoder", lambda spec, device: FailsOnBlue())
    run(videos, archive, plan=Plan(batch=1))

    class Fails(ToyEncoder):
        def encode_frames(self, frames: Frames) -> Embeddings:
            raise RuntimeError("no device")

    monkeypatch.setattr("nightreel.extract.run.load_encoder", lambda spec, device: Fails())
    run(videos, archive, plan=Plan(batch=1), retry_failed=True)
    store = Store.open(archive)
    row = store.find_video("a.mp4")
    assert (row.status, row.attempts, len(store.segments_of("toy", row.video_id))) == ("partial", 2, 2)


def test_failed_videos_are_tried_again_only_when_asked(videos: Path, tmp_path: Path, make_film: MakeFilm) -> None:
    archive = tmp_path / "a.reel"
    run(videos, archive)
    assert run(videos, archive, retry_failed=True)["failed"] == 2
    rows = {Path(row.path).name: row for row in Store.open(archive).videos()}
    assert (rows["broken.mp4"].attempts, rows["a.mp4"].attempts) == (2, 1)
    make_film(videos / "broken.mp4", [("red", 1.0)])  # mended: new content, so no flag is needed
    assert run(videos, archive)["done"] == 1
    assert len([r for r in Store.open(archive).videos() if Path(r.path).name == "broken.mp4"]) == 1


def test_shards_share_the_work_without_overlap(tmp_path: Path, make_film: MakeFilm) -> None:
    for i in range(8):
        make_film(tmp_path / "videos" / f"{i}.mp4", [("red", 0.5 + i / 10)])
    parts = [run(tmp_path / "videos", tmp_path / "a.reel", shard=(i, 3)) for i in (1, 2, 3)]
    assert sum(part["done"] for part in parts) == 8  # type: ignore[misc]
    assert sum(part["videos"] for part in parts) == 8  # type: ignore[misc]
    assert len(Store.open(tmp_path / "a.reel").videos()) == 8


def test_metadata_is_joined_by_path_and_updated_without_extraction(videos: Path, tmp_path: Path) -> None:
    from nightreel.extract.metadata import read_metadata

    table = videos / "tapes.csv"
    table.write_text("path,place,year\na.mp4,Oslo,1987\nsub/b.mkv,Rome,1991\n")
    run(videos, tmp_path / "a.reel", metadata=read_metadata(table))
    table.write_text("path,place,year\na.mp4,Bergen,1987\nsub/b.mkv,Rome,1991\n")
    report = run(videos, tmp_path / "a.reel", metadata=read_metadata(table))
    assert (report["done"], report["skipped"]) == (0, 4)
    rows = {Path(row.path).name: dict(row.metadata) for row in Store.open(tmp_path / "a.reel").videos()}
    assert rows["a.mp4"] == {"place": "Bergen", "year": 1987}
    assert rows["b.mkv"] == {"place": "Rome", "year": 1991}
    assert verify(Store.open(tmp_path / "a.reel")).problems == []


def test_another_sampling_plan_is_refused(videos: Path, tmp_path: Path) -> None:
    run(videos, tmp_path / "a.reel")
    with pytest.raises(FingerprintMismatch, match=r'sampling: archive has \{"fps": 1.0.*this run has \{"fps": 2.0'):
        run(videos, tmp_path / "a.reel", plan=Plan(fps=2.0))
    assert len(Store.open(tmp_path / "a.reel").commit_ids) == 1


def test_a_folder_with_other_things_is_left_alone(videos: Path) -> None:
    before = sorted(videos.rglob("*"))
    with pytest.raises(NotAnArchive, match="new or empty folder"):
        run(videos, videos)
    assert sorted(videos.rglob("*")) == before
    with pytest.raises(UsageError, match="no such file or folder"):
        run(videos / "nothing", videos / "a.reel")
    assert not (videos / "a.reel").exists()


def test_results_do_not_depend_on_the_batch_size(videos: Path, tmp_path: Path) -> None:
    for batch in (1, 2, 32):
        run(videos, tmp_path / f"{batch}.reel", plan=Plan(batch=batch))
    one, *others = (Store.open(tmp_path / f"{batch}.reel") for batch in (1, 2, 32))
    for other in others:
        for video_id in one.video_ids("toy"):
            a, b = one.segments_of("toy", video_id), other.segments_of("toy", video_id)
            np.testing.assert_array_equal(a.embedding, b.embedding)
            np.testing.assert_array_equal(a.start_s, b.start_s)


class FailsOnBlue(ToyEncoder):
    """An encoder that breaks in the middle of a video."""

    def encode_frames(self, frames: Frames) -> Embeddings:
        if frames[..., 2].mean() > 150:
            raise RuntimeError("CUDA error: device-side assert")
        return super().encode_frames(frames)


def test_an_encoder_that_breaks_costs_one_video(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nightreel.extract.run.load_encoder", lambda spec, device: FailsOnBlue())
    report = run(videos, tmp_path / "a.reel", plan=Plan(batch=1))
    assert (report["done"], report["partial"], report["failed"]) == (1, 1, 2)
    rows = {Path(row.path).name: row for row in Store.open(tmp_path / "a.reel").videos()}
    assert (rows["a.mp4"].error_kind, rows["a.mp4"].stage) == ("encoder", "encode")
    assert len(Store.open(tmp_path / "a.reel").segments_of("toy", rows["a.mp4"].video_id)) == 2  # the red ones


class Breaks(ToyEncoder):
    """An encoder that takes no frame at all."""

    def encode_frames(self, frames: Frames) -> Embeddings:
        raise RuntimeError("no kernel image is available")


class Small(ToyEncoder):
    """An encoder on a device with memory for two frames."""

    def encode_frames(self, frames: Frames) -> Embeddings:
        if len(frames) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().encode_frames(frames)


def test_one_broken_encoder_does_not_cost_the_other(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightreel.extract.run.slug", lambda spec: spec)
    monkeypatch.setattr("nightreel.extract.run.resolve", lambda spec: spec)
    monkeypatch.setattr(
        "nightreel.extract.run.load_encoder", lambda spec, device: {"toy": ToyEncoder, "bad": Breaks}[spec]()
    )
    archive = tmp_path / "a.reel"
    assert extract([str(videos / "a.mp4")], archive, ["toy"]).done == 1
    assert extract([str(videos / "a.mp4")], archive, ["bad"]).failed == 1
    row = Store.open(archive).find_video("a.mp4")
    assert (row.status, row.attempts) == ("done", 2)  # what the first encoder made stays, and stays done
    assert len(Store.open(archive).segments_of("toy", row.video_id)) == 5
    report = extract([str(videos / "sub")], archive, ["toy", "bad"])
    assert (report.partial, report.segments) == (1, {"toy": 4, "bad": 0})
    assert verify(Store.open(archive)).problems == []


def test_batches_are_halved_until_they_fit(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(videos, tmp_path / "plain.reel")
    monkeypatch.setattr("nightreel.extract.run.load_encoder", lambda spec, device: Small())
    assert run(videos, tmp_path / "small.reel")["done"] == 2
    plain, small = Store.open(tmp_path / "plain.reel"), Store.open(tmp_path / "small.reel")
    for video_id in plain.video_ids("toy"):
        np.testing.assert_array_equal(
            plain.segments_of("toy", video_id).embedding, small.segments_of("toy", video_id).embedding
        )


def test_a_disk_that_is_away_costs_nothing(tmp_path: Path, make_film: MakeFilm) -> None:
    film = make_film(tmp_path / "nas" / "tape.mp4", [("red", 3.0)])
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").symlink_to(film)
    archive = tmp_path / "a.reel"
    run(tmp_path / "videos", archive)
    (tmp_path / "nas").rename(tmp_path / "away")
    report = run(tmp_path / "videos", archive)
    assert (report["failed"], report["failures"][0]["error_kind"]) == (1, "unreadable")  # type: ignore[index]
    row = Store.open(archive).find_video("a.mp4")
    assert (row.status, len(Store.open(archive).segments_of("toy", row.video_id))) == ("done", 3)
    (tmp_path / "away").rename(tmp_path / "nas")
    assert run(tmp_path / "videos", archive)["skipped"] == 1


def test_a_file_that_grows_while_it_is_read_is_read_again(
    tmp_path: Path, make_film: MakeFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = make_film(tmp_path / "videos" / "a.mkv", [("red", 3.0)])

    class Grows(ToyEncoder):
        def encode_frames(self, frames: Frames) -> Embeddings:
            with open(film, "ab") as handle:
                handle.write(b"more")
            return super().encode_frames(frames)

    monkeypatch.setattr("nightreel.extract.run.load_encoder", lambda spec, device: Grows())
    assert run(film.parent, tmp_path / "a.reel")["partial"] == 1
    assert "changed while" in (Store.open(tmp_path / "a.reel").find_video("a.mkv").error or "")
    monkeypatch.undo()
    assert run(film.parent, tmp_path / "a.reel")["done"] == 1
    assert run(film.parent, tmp_path / "a.reel")["skipped"] == 1
    assert [row.status for row in Store.open(tmp_path / "a.reel").videos()] == ["done"]


def test_a_copy_over_another_video_replaces_it(videos: Path, tmp_path: Path, make_film: MakeFilm) -> None:
    archive = tmp_path / "a.reel"
    make_film(videos / "other.mp4", [("white", 6.0)])
    run(videos, archive)
    shutil.copy(videos / "other.mp4", videos / "a.mp4")
    run(videos, archive)
    store = Store.open(archive)
    assert "a.mp4" not in {Path(row.path).name for row in store.videos()}  # it is a copy now; its old film is gone
    assert sum(len(batch) for batch in store.segments("toy")) == 4 + 6
    assert verify(store).problems == []


def test_whatever_a_library_raises_costs_one_video(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("ODD_LOG", str(tmp_path / "log"))
    (videos / "a.mp4").rename(videos / "odd-opens_and_raises.mp4")
    assert run(videos, tmp_path / "a.reel", plan=Plan(backends=("odd_decoders:odd",)))["done"] == 1
    row = Store.open(tmp_path / "a.reel").find_video("odd-opens_and_raises.mp4")
    assert (row.error_kind, row.error) == ("crashed", "ZeroDivisionError: division by zero")


def test_metadata_survives_a_run_without_it(videos: Path, tmp_path: Path, make_film: MakeFilm) -> None:
    from nightreel.extract.metadata import read_metadata

    table = videos / "tapes.csv"
    table.write_text("path,place,year\na.mp4,Oslo,\nsub/b.mkv,Rome,1991\n")
    for _ in range(3):
        run(videos, tmp_path / "a.reel", metadata=read_metadata(table))
    assert len(Store.open(tmp_path / "a.reel").commit_ids) == 1  # an empty cell is no change
    os.utime(videos / "a.mp4", (1, 1))
    run(videos, tmp_path / "a.reel", retry_failed=True)
    assert dict(Store.open(tmp_path / "a.reel").find_video("a.mp4").metadata) == {"place": "Oslo"}


def test_a_table_leaves_columns_that_it_does_not_name(videos: Path, tmp_path: Path) -> None:
    from nightreel.extract.metadata import read_metadata
    from nightreel.extract.writer import Writer

    root, table = tmp_path / "a.reel", videos / "tapes.csv"
    table.write_text("path,place,year\na.mp4,Oslo,1987\nsub/b.mkv,Rome,1991\n")
    run(videos, root, metadata=read_metadata(table))
    writer = Writer(Store.open(root))  # as `probe --write` does
    for row in writer.store.videos():
        writer.add(replace(row, metadata={**row.metadata, "action": "run"}), {})
    writer.commit()

    def found() -> dict[str, dict[str, object]]:
        return {Path(row.path).name: dict(row.metadata) for row in Store.open(root).videos()}

    commits = Store.open(root).commit_ids
    run(videos, root, metadata=read_metadata(table))
    assert Store.open(root).commit_ids == commits
    table.write_text("path,place,tape\na.mp4,,7\nsub/b.mkv,Rome,\n")
    for _ in range(2):
        run(videos, root, metadata=read_metadata(table))
        assert len(Store.open(root).commit_ids) == len(commits) + 1
    assert found()["a.mp4"] == {"year": 1987, "tape": 7, "action": "run"}
    assert found()["b.mkv"] == {"place": "Rome", "year": 1991, "action": "run"}
    assert found()["broken.mp4"] == {"action": "run"}
    run(videos, root, metadata=read_metadata(table), retry_failed=True)  # what is extracted again keeps them as well
    assert found()["broken.mp4"] == {"action": "run"}
    make_whole = videos / "broken.mp4"
    shutil.copy(videos / "a.mp4", make_whole)
    with open(make_whole, "ab") as handle:
        handle.write(b"other content")
    table.write_text("path,place\nbroken.mp4,Bari\n")
    run(videos, root, metadata=read_metadata(table))
    assert found()["broken.mp4"] == {"place": "Bari"}  # another video: what was said of the old one is not said of it


def test_the_documented_query_gives_the_rows_that_count(videos: Path, tmp_path: Path) -> None:
    import re

    import duckdb

    archive = tmp_path / "a.reel"
    run(videos, archive)
    (videos / "a.mp4").rename(videos / "moved.mp4")
    run(videos, archive)
    text = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
    query = re.search(r"```sql\n(.*?)```", text, re.S).group(1).replace("conse", "toy")  # type: ignore[union-attr]
    query = query.replace("'features", f"'{archive}/features").replace("'videos", f"'{archive}/videos")
    rows = duckdb.sql(query).fetchall()
    names = [Path(row[0]).name for row in rows]
    assert (len(rows), names.count("moved.mp4"), names.count("b.mkv")) == (9, 5, 4)


def test_an_error_of_the_caller_keeps_what_was_finished(videos: Path, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        raise ValueError("no such column")

    with pytest.raises(ValueError, match="no such column"):
        extract([str(videos)], tmp_path / "a.reel", ["toy"], Settings(), stop)
    assert len(Store.open(tmp_path / "a.reel").videos()) == 1
    assert run(videos, tmp_path / "a.reel")["skipped"] == 1


def test_a_second_ctrl_c_keeps_only_what_was_committed(videos: Path, tmp_path: Path) -> None:
    """`KeyboardInterrupt` is what the second signal raises, wherever the run is."""

    def stop(progress: Progress) -> None:
        if progress.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract([str(videos)], tmp_path / "a.reel", ["toy"], Settings(commit_every_s=0.0), stop)
    store = Store.open(tmp_path / "a.reel")
    assert (len(store.videos()), verify(store).problems) == (2, [])
    report = run(videos, tmp_path / "a.reel")
    assert (report["skipped"], report["done"] + report["failed"]) == (2, 2)  # type: ignore[operator]


@pytest.fixture(scope="module")
def awkward_archive(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """130 real files that break readers, in one run that decodes all of them."""
    archive = tmp_path_factory.mktemp("awkward") / "all.reel"
    assert run(shared_data / "awkward", archive, plan=Plan(decode_all=True))["videos"] == 130
    return archive


def test_awkward_files_come_out_as_expected(shared_data: Path, awkward_archive: Path) -> None:
    """No crash, each with the outcome that is right for it."""
    import json

    store = Store.open(awkward_archive)
    rows = {Path(row.path).name: row for row in store.videos()}
    wrong = []
    for line in (shared_data / "awkward" / "expected.jsonl").read_text().splitlines():
        expected = json.loads(line)
        row = rows[expected["file"]]
        outcome = {"done": "ok", "partial": "partial"}.get(row.status, row.error_kind)
        if (outcome, row.frames_decoded) != (expected["outcome"], expected["frames"]):
            wrong.append((expected["file"], outcome, row.frames_decoded, expected["outcome"], expected["frames"]))
        if expected["outcome"] in ("ok", "partial"):
            size = (row.width_px, row.height_px, row.rotation_deg)
            if size != (expected["display_width"], expected["display_height"], expected["rotation_deg"]):
                wrong.append((expected["file"], size))
    assert wrong == []
    assert len(rows) == 130
    assert verify(store).problems == []
    good = {row.video_id for row in rows.values() if row.status != "failed"}
    assert set(store.video_ids("toy")) == good  # and so all of them can be found


def test_decoding_only_what_is_needed_gives_the_same(shared_data: Path, awkward_archive: Path, tmp_path: Path) -> None:
    run(shared_data / "awkward", tmp_path / "a.reel")
    full, lean = Store.open(awkward_archive), Store.open(tmp_path / "a.reel")
    assert verify(lean).problems == []
    differing = ("frames_decoded", "decoder")  # how it was done, and how much was
    rows = [{row.video_id: replace(row, **dict.fromkeys(differing)) for row in s.videos()} for s in (full, lean)]
    assert rows[1] == rows[0]
    assert set(full.video_ids("toy")) == set(lean.video_ids("toy"))
    for video_id in full.video_ids("toy"):
        a, b = full.segments_of("toy", video_id), lean.segments_of("toy", video_id)
        for column in ("start_s", "end_s", "time_s", "embedding"):
            np.testing.assert_array_equal(getattr(a, column), getattr(b, column))
    decoded = [sum(row.frames_decoded for row in store.videos()) for store in (full, lean)]
    assert decoded[1] < decoded[0]
