"""Which video of an archive a benchmark's name means."""

from pathlib import Path

import pytest
from archives import MadeArchive, MakeArchive
from nightreel.evaluate.records import Dataset, Query
from nightreel.evaluate.runners.videos import match_videos, require
from nightreel.extract.errors import Refused, UsageError


def dataset(*pairs: tuple[str, str]) -> Dataset:
    """Of (video, sentence)."""
    return Dataset("msrvtt", tuple(Query(f"q{i}", text, video) for i, (video, text) in enumerate(pairs)))


def test_names_are_file_names_without_folder_and_suffix(make_archive: MakeArchive) -> None:
    archive = make_archive()
    for name in ("a.mp4", "A.mp4", "clip_660.0_810.0.webm", "v_xyz.mkv", "film.mov.mp4"):
        archive.add(name, ["red"])
    wanted = ["a", "A", "clip_660.0_810.0", "xyz", "film", "absent"]
    found = match_videos(wanted, archive.store, "toy")
    assert {name: Path(row.path).name for name, row in found.rows.items()} == {
        "a": "a.mp4",
        "A": "A.mp4",
        "clip_660.0_810.0": "clip_660.0_810.0.webm",
        "xyz": "v_xyz.mkv",
        "film": "film.mov.mp4",
    }
    assert found.missing == {"absent": "no such file"}
    assert found.loosely == 2


def test_a_name_that_equals_goes_before_one_that_nearly_does(make_archive: MakeArchive) -> None:
    archive = make_archive()
    exact = archive.add("x.mp4", ["red"])
    archive.add("v_x.mp4", ["blue"])
    assert match_videos(["x"], archive.store, "toy").rows["x"].video_id == exact


def test_activitynets_v_may_be_there_or_not_on_either_side(make_archive: MakeArchive) -> None:
    archive = make_archive()
    with_v, without = archive.add("v_QOlSCBRmfWY.mp4", ["red"]), archive.add("sJFgo9H6zNo.mp4", ["blue"])
    found = match_videos(["QOlSCBRmfWY", "v_sJFgo9H6zNo"], archive.store, "toy")
    assert [row.video_id for row in found.rows.values()] == [with_v, without]
    assert found.loosely == 2
    assert match_videos(["v_QOlSCBRmfWY", "sJFgo9H6zNo"], archive.store, "toy").loosely == 0


def test_a_path_or_an_id_names_a_video_too(
    make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive = make_archive()
    one = archive.add("1", ["red"], path=str(tmp_path / "one" / "x.mp4"))
    two = archive.add("2", ["red"], path="/two/x.mp4")
    monkeypatch.chdir(tmp_path)
    found = match_videos(["one/x.mp4", "/two/x.mp4", two], archive.store, "toy")
    assert [row.video_id for row in found.rows.values()] == [one, two, two]
    assert found.loosely == 0


def test_two_videos_of_one_name_are_an_error_only_if_they_are_asked_for(make_archive: MakeArchive) -> None:
    archive = make_archive()
    archive.add("x.mp4", ["red"], path="/one/x.mp4")
    archive.add("y.mp4", ["red"], path="/two/x.mkv")
    archive.add("z.mp4", ["red"])
    assert set(match_videos(["z"], archive.store, "toy").rows) == {"z"}
    with pytest.raises(UsageError, match=r"2 videos of .* are called 'x':\n  /one/x.mp4\n  /two/x.mkv"):
        match_videos(["z", "x"], archive.store, "toy")


def test_missing_videos_are_refused_or_counted_never_silent(colours: MadeArchive) -> None:
    whole = dataset(("red", "red"), ("nowhere", "blue"), ("red", "crimson"))
    found = match_videos(whole.videos, colours.store, "toy")
    with pytest.raises(
        Refused, match=r"1 of the 2 videos of msrvtt are not in .*\n  nowhere: no such file\n.*--allow-miss"
    ):
        require(found, whole, colours.root, allow_missing=False)
    kept = require(found, whole, colours.root, allow_missing=True)
    assert [query.query_id for query in kept.queries] == ["q0", "q2"]
    none = dataset(("nowhere", "red"))
    with pytest.raises(Refused, match="None is there"):
        require(match_videos(none.videos, colours.store, "toy"), none, colours.root, allow_missing=True)


def test_a_video_without_features_is_missing_and_says_why(colours: MadeArchive) -> None:
    from nightreel.extract.videos import VideoRow
    from nightreel.extract.writer import Writer

    writer = Writer(colours.store)
    writer.add(VideoRow("f" * 20, "/films/broken.mp4", "failed", error_kind="unreadable", error="no"), {})
    writer.commit()
    found = match_videos(["broken"], colours.store, "toy")
    assert found.missing == {"broken": "no features of toy; its extraction ended failed"}
