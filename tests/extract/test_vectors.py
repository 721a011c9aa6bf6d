"""Embeddings at random: whatever lies raw in a file is what pyarrow reads from it, and what does not is read all the same."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract import vectors as module
from nightreel.extract import writer
from nightreel.extract.errors import Damaged
from nightreel.extract.store import Store
from nightreel.extract.vectors import Vectors, raw_places, values_of_page
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer, write_parquet

MakeArchive = Callable[..., Any]


def fill(archive: Any, frames: dict[str, int], seed: int = 0, dim: int = 4) -> dict[str, str]:
    """One commit, so one file, with a video of so many frames per name; name -> id."""
    archives, draw, out = sys.modules["archives"], np.random.default_rng(seed), Writer(archive.store)
    ids = {name: archives.id_of(name) for name in frames}
    for name, count in frames.items():
        found = archives.segments_for(
            ids[name],
            draw.normal(size=(count, dim)),
            quality={"luma": np.full(count, 30.0)},
            labels=[(("cat", 0.5),)] * count,
        )
        out.add(VideoRow(ids[name], f"/films/{name}", "done"), {archive.slug: found})
    out.commit()
    return ids


def is_raw(vectors: Vectors, video_id: str) -> bool:
    base: Any = vectors.of(video_id)
    while base is not None and not isinstance(base, np.memmap):
        base = getattr(base, "base", None)
    return base is not None


def same(archive: Any, video_id: str, found: np.ndarray) -> bool:
    expected = archive.store.segments_of(archive.slug, video_id).embedding
    return found.dtype == expected.dtype == np.float16 and np.array_equal(found, expected)


def rewrite(archive: Any, **options: Any) -> None:
    """The newest features file again, as another program or an older version would have written it."""
    path = archive.data_file()
    with pq.ParquetFile(path) as opened:
        groups = [opened.read_row_group(i) for i in range(opened.num_row_groups)]
    with pq.ParquetWriter(path, groups[0].schema, **options) as out:
        for group in groups:
            out.write_table(group)
    recommit(archive)


def recommit(archive: Any) -> None:
    """Let the commit say the bytes that the newest features file has now."""
    path, commit = archive.data_file(), max((archive.root / "commits").iterdir())
    raw = json.loads(commit.read_text())
    (file,) = (f for f in raw["files"] if f["table"] == archive.slug)
    file["bytes"] = path.stat().st_size
    commit.write_text(json.dumps(raw))
    archive.store = Store.open(archive.root)


def test_what_lies_raw_is_what_was_written(make_archive: MakeArchive) -> None:
    archive = make_archive(dim=48)
    ids = fill(archive, {"long": 3000, "one": 1, "some": 77}, dim=48)
    vectors = Vectors(archive.store, "toy")
    for video_id in ids.values():
        assert is_raw(vectors, video_id)
        assert same(archive, video_id, vectors.of(video_id))
    some = vectors.of(ids["some"])
    picked = vectors.rows(ids["some"], np.array([76, 0, 5, 5]))
    assert np.array_equal(picked, some[[76, 0, 5, 5]])
    picked[:] = 0  # a copy
    assert not some.flags.writeable
    with pytest.raises(IndexError):
        vectors.rows(ids["some"], np.array([77]))
    assert vectors.of("nobody").shape == vectors.rows("nobody", np.array([], np.int64)).shape == (0, 48)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=5), st.integers(1, 70))
def test_any_lengths_and_widths(tmp_path_factory: pytest.TempPathFactory, frames: list[int], dim: int) -> None:
    archive = sys.modules["archives"].MadeArchive(tmp_path_factory.mktemp("any") / "a.reel", dim=dim)
    ids = fill(archive, {f"{i}.mp4": count for i, count in enumerate(frames)}, dim=dim)
    vectors = Vectors(archive.store, "toy")
    assert all(is_raw(vectors, v) and same(archive, v, vectors.of(v)) for v in ids.values())


OTHERS: dict[str, dict[str, Any]] = {
    "version 0.1": {"compression": "zstd", "use_dictionary": ["video_id"], "write_page_checksum": True},
    "dictionaries": {"compression": "none", "use_dictionary": True},
    "several pages": {"compression": "none", "use_dictionary": False, "max_rows_per_page": 20},
    "small pages": {"compression": "none", "use_dictionary": False, "data_page_size": 100, "write_batch_size": 10},
    "split bytes": {
        "compression": "none",
        "use_dictionary": False,
        "use_byte_stream_split": ["embedding.list.element"],
    },
    "version 2": {"compression": "none", "use_dictionary": False, "data_page_version": "2.0"},
    "no facts": {"compression": "none", "use_dictionary": False, "write_statistics": False},
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_are_decoded(make_archive: MakeArchive, kind: str) -> None:
    archive = make_archive()
    ids = fill(archive, {"a": 90, "b": 30})
    before = {v: np.array(Vectors(archive.store, "toy").of(v)) for v in ids.values()}
    rewrite(archive, **OTHERS[kind])
    vectors = Vectors(archive.store, "toy")
    for video_id, expected in before.items():
        assert not is_raw(vectors, video_id)
        assert np.array_equal(vectors.of(video_id), expected)


def test_a_single_page_of_another_program_may_be_raw_too(make_archive: MakeArchive) -> None:
    archive = make_archive()
    ids = fill(archive, {"a": 90, "b": 30})
    rewrite(archive, compression="none", use_dictionary=False)  # no checksums: its page header lacks that field
    vectors = Vectors(archive.store, "toy")
    assert all(is_raw(vectors, v) and same(archive, v, vectors.of(v)) for v in ids.values())


def test_more_than_one_page_holds_is_split_and_decoded(
    make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "PAGE_BYTES", 4096)
    archive = make_archive()
    ids = fill(archive, {"long": 3000, "short": 100})
    vectors = Vectors(archive.store, "toy")
    assert [is_raw(vectors, ids[name]) for name in ("long", "short")] == [False, True]
    assert all(same(archive, v, vectors.of(v)) for v in ids.values())


def test_row_groups_that_are_not_one_per_video_in_order_are_decoded(make_archive: MakeArchive) -> None:
    archive = make_archive()
    ids = fill(archive, {"a": 90, "b": 30})
    path = archive.data_file()
    with pq.ParquetFile(path) as opened:
        groups = [opened.read_row_group(i) for i in range(2)]
    before = {v: np.array(archive.store.segments_of("toy", v).embedding) for v in ids.values()}
    write_parquet([pa.concat_tables(groups)], path)
    recommit(archive)
    vectors = Vectors(archive.store, "toy")
    assert not any(is_raw(vectors, v) for v in ids.values())
    assert all(np.array_equal(vectors.of(v), before[v]) for v in ids.values())
    write_parquet(groups[::-1], path)
    recommit(archive)
    assert not any(is_raw(Vectors(archive.store, "toy"), v) for v in ids.values())


def test_the_state_at_each_call_counts(colours: Any) -> None:
    vectors, red = Vectors(colours.store, "toy"), colours.store.find_video("red.mp4").video_id
    old = vectors.of(red)
    assert len(old) == 4
    first = colours.data_file()
    colours.add("red.mp4", ["blue"] * 2)
    assert same(colours, red, vectors.of(red))
    colours.remove(red)
    assert len(vectors.of(red)) == 0
    first.unlink()
    assert len(np.array(old)) == 4  # whoever holds it still has it


def test_few_files_are_open_at_once(make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_MAPS", 3)
    archive = make_archive()
    ids = [archive.add(f"{i}.mp4", ["red"] * (i + 1)) for i in range(8)]
    vectors = Vectors(archive.store, "toy")
    for video_id in [*ids, *ids[::-1], *ids[:2], *ids[:2]]:
        assert same(archive, video_id, vectors.of(video_id))
        assert len(vectors._maps) <= 3


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other rows", "text"])
@pytest.mark.parametrize("known", [False, True])
def test_a_damaged_file_is_named(colours: Any, damage: str, known: bool) -> None:
    video_id, path, vectors = colours.store.find_video("green.mp4").video_id, colours.data_file(), None
    if known:
        vectors = Vectors(colours.store, "toy")
        vectors.of(video_id)
        vectors._maps.clear()  # as if others had been asked for since
    whole, rows = path.read_bytes(), pq.read_table(path)
    path.unlink()  # a file that is mapped must not be cut
    if damage == "other rows":
        pq.write_table(rows.slice(0, 2), path)
    elif damage != "missing":
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 3], "text": b"hello" * 9}[damage])
    with pytest.raises(Damaged, match=path.name) as caught:
        (vectors or Vectors(colours.store, "toy")).of(video_id)
    assert "backup" in str(caught.value)


def test_headers_of_pages() -> None:
    head = bytes.fromhex("150015a0e73e15a0e73e15d9c7e786061c1580a01f15001506")
    assert values_of_page(head) == 256_000
    assert values_of_page(head[:10] + b"\x2c\x15\x80\xa0\x1f") == 256_000  # without a checksum
    assert values_of_page(b"\x15\x04" + head[2:]) is None  # a dictionary
    for cut in range(19):
        assert values_of_page(head[:cut]) is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=32))
def test_nonsense_is_no_page(head: bytes) -> None:
    values_of_page(head)


def test_memory_of_a_long_video(tmp_path: Path) -> None:
    """What `write_parquet` says of itself: about 10 bytes per number, or a night of long videos would not fit."""
    import subprocess

    code = (
        "import resource, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import archives, numpy as np\n"
        "from nightreel.extract.writer import write_parquet\n"
        "table = archives.segments_for('ab', np.ones((10800, 512), np.float32)).to_table()\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "write_parquet([table.slice(0, 9)], Path(sys.argv[2])); before = peak()\n"
        "write_parquet([table], Path(sys.argv[2])); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parents[1]), str(tmp_path / "x.parquet")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) < 130


def test_places_of_a_file_without_embeddings(tmp_path: Path) -> None:
    pq.write_table(pa.table({"video_id": ["a"]}), tmp_path / "x.parquet")
    data = np.fromfile(tmp_path / "x.parquet", np.uint8)
    assert raw_places(pq.read_metadata(tmp_path / "x.parquet"), ("a",), 4, data) == {}


def test_an_archive_read_anew_gives_the_same(colours: Any) -> None:
    fresh = Store.open(colours.root)
    for video_id in fresh.video_ids("toy"):
        assert same(colours, video_id, Vectors(fresh, "toy").of(video_id))
