"""`verify`: clean archives are clean, and each kind of damage is told with the file it is in."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel.extract.segment import Segments
from nightreel.extract.store import Store
from nightreel.extract.verify import verify
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer


def problems(archive: Any) -> list[str]:
    return verify(Store.open(archive.root)).problems


def test_a_clean_archive_is_clean(colours: Any) -> None:
    findings = verify(Store.open(colours.root))
    assert findings.clean
    assert (findings.files, findings.rows, findings.orphans) == (6, 3 + 15, [])


def test_an_empty_archive_is_clean(make_archive: Callable[..., Any]) -> None:
    assert verify(make_archive().store).clean


def test_replaced_files_are_neither_problems_nor_orphans(colours: Any) -> None:
    old = colours.data_file()
    colours.add("green.mp4", ["green"])
    findings = verify(Store.open(colours.root))
    assert old.exists()
    assert (findings.problems, findings.orphans) == ([], [])


@pytest.mark.parametrize("table", ["toy", "videos"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "swapped"])
def test_each_damaged_file_is_listed(colours: Any, table: str, damage: str) -> None:
    first, last = (
        colours.root / f.path for f in (colours.store.state.files(table)[0], colours.store.state.files(table)[-1])
    )
    whole = last.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    changed = {"cut": whole[:-1], "flipped": flipped, "swapped": first.read_bytes(), "missing": b""}[damage]
    last.write_bytes(changed)
    if damage == "missing":
        last.unlink()
    found = problems(colours)
    assert len(found) == 1
    assert found[0].startswith(last.relative_to(colours.root).as_posix())


def test_a_file_that_the_disk_refuses_to_read_is_listed(colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> str:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("nightreel.extract.verify.sha256_of", broken)
    found = problems(colours)
    assert len(found) == 6
    assert all("Input/output error" in text for text in found)


@pytest.mark.parametrize("text", [None, "{}", "{"])
def test_features_without_their_fingerprint_are_a_problem(colours: Any, text: str | None) -> None:
    path = colours.root / "features" / "toy" / "encoder.json"
    path.unlink() if text is None else path.write_text(text)
    assert any("encoder.json cannot be read" in problem for problem in problems(colours))


def commit(archive: Any, row: VideoRow, segments: Segments | None) -> None:
    out = Writer(archive.store)
    out.add(row, {} if segments is None else {"toy": segments})
    out.commit()


def changed(archive: Any, **columns: Any) -> Segments:
    source = archive.store.segments_of("toy", archive.store.find_video("red.mp4").video_id)
    return dataclasses.replace(source, **columns)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"embedding": np.ones((4, 4), np.float16)}, "4 embeddings are not of unit norm"),
        ({"embedding": np.full((4, 4), np.nan, np.float16)}, "4 embeddings are not of unit norm"),
        ({"segment_id": np.zeros(4, np.int64)}, "segment ids stand twice"),
        ({"start_s": np.array([0.0, 2, 1, 3])}, "not in time order"),
        ({"embedding": np.full((4, 1), 1, np.float16)}, "columns embedding are not as the format declares them"),
    ],
)
def test_rows_that_break_the_format_are_told(colours: Any, columns: dict[str, Any], said: str) -> None:
    row = colours.store.find_video("red.mp4")
    segments = changed(colours, end_s=np.array([5.0, 5, 5, 5]), **columns)
    commit(colours, row, segments)
    assert any(said in text for text in problems(colours)), problems(colours)


def test_two_videos_with_the_same_segment_ids_are_told(colours: Any) -> None:
    other = np.full(4, "ff00", object)
    commit(colours, VideoRow("ff00", "/films/ff.mp4", "done"), changed(colours, video_id=other))
    assert any("segment ids stand twice" in text for text in problems(colours))


def test_segments_without_a_video_and_videos_without_segments_are_told(colours: Any) -> None:
    colours.add("stray.mp4", ["red", "red"], video_id="00cc")
    last = max((colours.root / "commits").iterdir())
    raw = json.loads(last.read_text())
    raw["files"] = [file for file in raw["files"] if file["table"] == "toy"]
    last.write_text(json.dumps(raw))
    colours.store = Store.open(colours.root)
    commit(colours, VideoRow("00aa", "/films/none.mp4", "done"), None)
    commit(colours, VideoRow("00bb", "/films/bad.mp4", "failed"), None)
    found = problems(colours)
    assert len(found) == 2
    assert "segments of 1 videos that have no row: ['00cc']" in found[0]
    assert "00aa (/films/none.mp4) is done but has no segments" in found[1]
