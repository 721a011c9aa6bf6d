"""An archive that changes: what is new is added, what is gone is hidden at once, and what is covered is left alone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel.extract.segment import segment_ids
from nightreel.extract.store import Store
from nightreel.index.build import Settings, build_index, compact_indexes
from nightreel.index.open import open_index

Fixture = Callable[..., Any]
DIM, LARGE = 16, 100  # segments from which a part is large


@pytest.fixture
def archive(clustered: Fixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Six videos of 40 segments: a large part."""
    for module in ("kinds", "build", "write"):
        monkeypatch.setattr(f"nightreel.index.{module}.FLAT_BELOW", LARGE)
    return clustered(6, 40, DIM)


def build(archive: Any, **settings: Any) -> dict[str, Any]:
    return build_index(archive.store, archive.slug, Settings(device="cpu", **settings))


def folder(archive: Any) -> Path:
    return Path(archive.root / "index" / archive.slug)


def files(archive: Any) -> dict[str, tuple[int, int]]:
    """Name -> (inode, time of the last change) of the files of the index."""
    found = {path.name: path.stat() for path in folder(archive).iterdir()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def changes(report: dict[str, Any]) -> tuple[int, int, int]:
    return report["vectors"], report["added"], report["removed"]


def sizes(archive: Any) -> list[int]:
    """Segments of each part, dead ones too."""
    return [part.table.rows() for part in open_index(archive.store, archive.slug).parts]


def all_ids(archive: Any) -> set[int]:
    """What an index finds when every list is read."""
    index, found = open_index(archive.store, archive.slug), set()
    for part in index.parts:
        _, rows = part.search("segment", np.ones((1, DIM), np.float32), 10_000, part.living("segment"), 10_000)
        found |= set(part.ids_of(rows[0][rows[0] >= 0]).tolist())
    return found


def ids_in(archive: Any) -> set[int]:
    return {int(i) for batch in archive.store.segments(archive.slug, embeddings=False) for i in batch.segment_id}


def test_what_is_new_becomes_a_part_and_a_large_one_is_left_alone(archive: Any, more_footage: Fixture) -> None:
    assert changes(build(archive)) == (240, 240, 0)
    before = files(archive)
    more_footage(archive, ["new.mp4"], 30)
    assert changes(build(archive)) == (270, 30, 0)
    assert sizes(archive) == [240, 30]
    after = files(archive)
    kept = {file["file"] for part in open_index(archive.store, "rand").header["parts"][:1] for file in named(part)}
    assert len(kept) == 7
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert all_ids(archive) == ids_in(archive)


def named(part: dict[str, Any]) -> list[dict[str, Any]]:
    return [part["videos"], part["spans"], part["norms"], *part["levels"].values()]


def test_many_small_runs_do_not_leave_many_small_parts(archive: Any, more_footage: Fixture) -> None:
    build(archive)
    for night in range(8):
        more_footage(archive, [f"night {night}.mp4"], 10, seed=night)
        assert changes(build(archive)) == (250 + 10 * night, 10, 0)
        assert len(sizes(archive)) <= 4
        assert sum(sizes(archive)) == 250 + 10 * night
    assert all_ids(archive) == ids_in(archive)
    named_now = {file["file"] for part in open_index(archive.store, "rand").header["parts"] for file in named(part)}
    header = open_index(archive.store, "rand").header
    assert set(files(archive)) == {"index.json", *named_now, header["null"]["file"], header["probes"]["file"]}


def test_nothing_new_writes_no_part(archive: Any) -> None:
    first = build(archive)
    before = files(archive)
    again = build(archive)
    assert changes(again) == (240, 0, 0)
    assert (again["kind"], again["recall_at_10"], again["bytes"]) == (
        first["kind"],
        first["recall_at_10"],
        first["bytes"],
    )
    del before["index.json"]
    assert before.items() <= files(archive).items()
    assert len(files(archive)) == len(before) + 1


def test_what_is_removed_is_hidden_at_once_and_counted_by_the_next_build(archive: Any) -> None:
    build(archive)
    gone = archive.store.video_ids("rand")[2]
    archive.remove(gone)
    index = open_index(archive.store, "rand")
    assert (index.size, index.missing, index.stale) == (200, 0, False)
    assert index.video(gone) is None
    assert all_ids(archive) == ids_in(archive)
    assert not set(segment_ids(gone, 40).tolist()) & all_ids(archive)
    assert gone not in index.videos(np.ones(DIM, np.float32), 50)
    before = files(archive)
    assert changes(build(archive)) == (200, 0, 40)
    assert sizes(archive) == [240]  # hidden, not rewritten
    del before["index.json"]
    assert {name: stat for name, stat in files(archive).items() if name.endswith(".faiss")} == {
        name: stat for name, stat in before.items() if name.endswith(".faiss")
    }
    assert changes(build(archive)) == (200, 0, 0)  # told once


def test_what_is_replaced_is_found_as_it_is_now(archive: Any, stored: Fixture) -> None:
    build(archive)
    name = archive.store.video_ids("rand")[0]
    new = np.eye(25, DIM) + 5
    new[:, 3] = -30
    archive.add("other.mp4", new, video_id=name)
    index = open_index(
        archive.store, "rand"
    )  # not indexed yet: neither its old vectors, whose ids are the same, nor the new
    assert (index.size, index.missing, index.stale) == (200, 1, True)
    assert not set(segment_ids(name, 40).tolist()) & all_ids(archive)
    assert changes(build(archive)) == (225, 25, 40)
    assert not open_index(archive.store, "rand").stale
    assert all_ids(archive) == ids_in(archive)
    query = -np.eye(DIM, dtype=np.float32)[3]
    scores, found = open_index(archive.store, "rand").search(query, 25)
    _, vectors = stored(archive)
    assert set(found.tolist()) == set(segment_ids(name, 25).tolist())
    assert np.allclose(scores, np.sort(vectors @ query)[::-1][:25], atol=1e-3)


def test_a_part_of_which_half_is_dead_is_written_anew(archive: Any) -> None:
    build(archive)
    names = archive.store.video_ids("rand")
    for name in names[:3]:
        archive.remove(name)
    build(archive)
    assert sizes(archive) == [240]  # half of it
    archive.remove(names[3])
    assert changes(build(archive)) == (80, 0, 40)
    assert sizes(archive) == [80]
    for name in names[4:]:
        archive.remove(name)
    assert changes(build(archive)) == (0, 0, 80)
    assert sizes(archive) == []
    assert open_index(archive.store, "rand").search(np.ones(DIM, np.float32), 5)[1].tolist() == []


def test_other_settings_build_anew_and_are_kept(archive: Any) -> None:
    assert build(archive)["memory"] == "4GB"
    first = files(archive)
    report = build(archive, memory="5KB", recall=0.8)
    assert (report["kind"], report["memory"], report["recall_asked"], changes(report)) == (
        "IVF,RaBitQ",
        "5KB",
        0.8,
        (240, 0, 0),
    )
    second = files(archive)
    assert not {name for name in first if name.endswith(".faiss")} & set(second)
    report = build(archive)  # without saying so: as it is
    assert (report["kind"], report["memory"], report["recall_asked"]) == ("IVF,RaBitQ", "5KB", 0.8)
    assert {name for name in second if name != "index.json"} <= set(files(archive))
    build(archive, recall=0.9)
    assert not {name for name in second if name.endswith(".faiss")} & set(files(archive))
    third = files(archive)
    build(archive, rebuild=True)
    assert not {name for name in third if name.endswith(".faiss")} & set(files(archive))


def test_parts_that_no_longer_fit_are_built_anew(archive: Any, more_footage: Fixture) -> None:
    build(archive, memory="25KB")
    assert open_index(archive.store, "rand").header["kind"] == "IVF,fp16"
    more_footage(archive, [f"new {n}.mp4" for n in range(20)], 40)
    report = build(archive)
    assert (report["kind"], changes(report)) == ("IVF,RaBitQ", (1040, 800, 0))
    assert sizes(archive) == [1040]


def test_large_archives_become_several_parts(archive: Any, monkeypatch: pytest.MonkeyPatch, stored: Fixture) -> None:
    monkeypatch.setattr("nightreel.index.build.PART_ROWS", 100)
    assert build(archive)["vectors"] == 240
    assert sizes(archive) == [80, 80, 80]
    assert all_ids(archive) == ids_in(archive)
    ids, vectors = stored(archive)
    query = np.ones(DIM, np.float32)
    scores, found = open_index(archive.store, "rand").search(query, 7)  # parts below 100 are exact
    order = np.argsort(-(vectors @ query))[:7]
    assert found.tolist() == ids[order].tolist()
    assert np.allclose(scores, (vectors @ query)[order], atol=1e-3)
    allowed = ids[::9]
    assert set(open_index(archive.store, "rand").search(query, 100, allowed)[1].tolist()) == set(allowed.tolist())


def test_compacting_makes_one_part_without_what_is_dead(archive: Any, more_footage: Fixture) -> None:
    assert compact_indexes(archive.store) == []  # no index, nothing to do
    build(archive, recall=0.8)
    assert compact_indexes(archive.store) == []
    more_footage(archive, ["new.mp4"], 5)
    archive.remove(archive.store.video_ids("rand")[0])
    build(archive)
    assert sizes(archive) == [240, 5]
    (report,) = compact_indexes(archive.store)
    assert (changes(report), report["recall_asked"]) == ((205, 0, 0), 0.8)
    assert sizes(archive) == [205]
    assert all_ids(archive) == ids_in(archive)


def test_an_index_knows_how_many_videos_it_lacks(colours: Any) -> None:
    build(colours)
    assert not open_index(colours.store, "toy").stale
    colours.add("new.mp4", ["red"])
    colours.add("newer.mp4", ["red"])
    index = open_index(Store.open(colours.root), "toy")
    assert (index.missing, index.stale) == (2, True)
    build(colours)
    assert open_index(colours.store, "toy").missing == 0


def test_old_leftovers_are_swept_and_young_ones_are_not(colours: Any) -> None:
    build(colours)
    old, young = folder(colours) / "old.faiss", folder(colours) / "young.faiss"
    old.write_bytes(b"x")
    young.write_bytes(b"x")
    os.utime(old, (1, 1))
    build(colours)
    assert (old.exists(), young.exists()) == (False, True)
