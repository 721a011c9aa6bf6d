"""The index: exact against brute force, explicit ids, and refusals of everything that is not what was built."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.extract.errors import Damaged, FingerprintMismatch, IndexMissing, UsageError
from nightreel.extract.store import Store
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer
from nightreel.index.build import build_index
from nightreel.index.choose import choose_encoder
from nightreel.index.info import failures, summary
from nightreel.index.open import open_index
from nightreel.index.stats import Accumulator, NullStats

MakeArchive = Callable[..., Any]


@pytest.fixture
def random_archive(make_archive: MakeArchive) -> Any:
    """Five videos of 40 random vectors in 16 dimensions, and one of 12 equal ones."""
    archive, random = make_archive("rand", dim=16, spec="toy"), np.random.default_rng(0)
    for n in range(5):
        archive.add(f"{n}.mp4", random.normal(size=(40, 16)))
    archive.add("still.mp4", np.repeat(random.normal(size=(1, 16)), 12, axis=0))
    return archive


def stored(archive: Any) -> tuple[np.ndarray, np.ndarray]:
    batches = list(archive.store.segments(archive.slug))
    vectors = np.concatenate([b.embedding for b in batches]).astype(np.float32)
    return np.concatenate([b.segment_id for b in batches]), vectors


def header(archive: Any, **changes: Any) -> Path:
    path = archive.root / "index" / archive.slug / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def test_the_result_is_that_of_brute_force(random_archive: Any) -> None:
    report = build_index(random_archive.store, "rand")
    assert (report["vectors"], report["recall_at_10"], report["kind"]) == (212, 1.0, "Flat")
    ids, vectors = stored(random_archive)
    index = open_index(random_archive.store, "rand")
    for seed in range(20):
        query = np.random.default_rng(seed).normal(size=16).astype(np.float32)
        scores, found = index.search(query, 25)
        exact = vectors @ query
        assert np.allclose(scores, np.sort(exact)[::-1][:25], atol=1e-4)
        score_of = dict(zip(ids.tolist(), exact, strict=True))
        assert np.allclose([score_of[int(i)] for i in found], scores, atol=1e-4)  # ids, not row numbers
        assert len(set(found.tolist())) == 25


def test_more_neighbours_than_there_are(random_archive: Any) -> None:
    build_index(random_archive.store, "rand")
    scores, ids = open_index(random_archive.store, "rand").search(np.ones(16, np.float32), 10_000)
    assert sorted(ids.tolist()) == sorted(stored(random_archive)[0].tolist())
    assert np.all(np.diff(scores) <= 0)


def test_an_index_of_nothing_finds_nothing(make_archive: MakeArchive) -> None:
    archive = make_archive()
    assert build_index(archive.store, "toy")["recall_at_10"] is None
    assert [len(part) for part in open_index(archive.store, "toy").search(np.ones(4, np.float32), 5)] == [0, 0]


def test_rebuilding_reports_what_came_and_went_and_leaves_no_old_files(colours: Any) -> None:
    counts = []

    def build() -> None:
        report = build_index(colours.store, "toy")
        counts.append((report["vectors"], report["added"], report["removed"]))

    build()
    build()
    colours.add("new.mp4", ["white"] * 2)
    colours.remove(colours.store.find_video("red.mp4").video_id)
    build()
    assert counts == [(15, 15, 0), (15, 0, 0), (13, 2, 4)]
    assert sorted(p.suffix for p in (colours.root / "index" / "toy").iterdir()) == [".faiss", ".json", ".npz"]


def test_an_index_knows_when_the_archive_has_changed(colours: Any) -> None:
    build_index(colours.store, "toy")
    index = open_index(colours.store, "toy")
    assert not index.is_stale(colours.store)
    colours.add("new.mp4", ["red"])
    assert index.is_stale(colours.store)
    assert summary(Store.open(colours.root))["indexes"]["toy"]["stale"]
    build_index(colours.store, "toy")
    assert not summary(Store.open(colours.root))["indexes"]["toy"]["stale"]


def test_a_missing_index_says_how_to_build_it(colours: Any) -> None:
    with pytest.raises(IndexMissing, match="nightreel index") as caught:
        open_index(colours.store, "toy")
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("suffix", [".faiss", ".npz"])
@pytest.mark.parametrize("damage", ["missing", "cut", "flipped"])
def test_a_damaged_file_is_named(colours: Any, suffix: str, damage: str) -> None:
    build_index(colours.store, "toy")
    (path,) = (colours.root / "index" / "toy").glob(f"*{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] if damage == "cut" else whole[:90] + bytes([whole[90] ^ 1]) + whole[91:])
    if damage == "missing":
        path.unlink()
    with pytest.raises(Damaged, match=path.name) as caught:
        open_index(colours.store, "toy")
    assert "nightreel index" in str(caught.value)
    assert build_index(colours.store, "toy")["vectors"] == 15  # the remedy works


def test_an_index_of_other_features_is_refused(colours: Any) -> None:
    build_index(colours.store, "toy")
    path = colours.root / "features" / "toy" / "encoder.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "weights_sha256": "ff"}))
    with pytest.raises(FingerprintMismatch, match=r'archive has "ff", the index has null') as caught:
        open_index(Store.open(colours.root), "toy")
    assert "nightreel index" in str(caught.value)


HOSTILE: list[dict[str, Any]] = [
    {"files": {"vectors": "../../../secret", "null": "x"}},
    {"files": {"vectors": "/etc/passwd", "null": "x"}},
    {"files": {"vectors": "..", "null": "x"}},
    {"files": {"vectors": "..\\x", "null": "x"}},
    {"files": {"vectors": 3, "null": "x"}},
    {"files": ["x"]},
    {"files": {}},
    {"sha256": {}},
    {"fingerprint": None},
    {"version": 2},
    {"dim": 5},
    {"vectors": 14},
]


@pytest.mark.parametrize("changes", HOSTILE)
def test_a_hostile_header_is_refused_and_never_followed(colours: Any, changes: dict[str, Any]) -> None:
    build_index(colours.store, "toy")
    path = header(colours, **changes)
    with pytest.raises((Damaged, FingerprintMismatch)) as caught:
        open_index(colours.store, "toy")
    assert str(path.parent) in str(caught.value) or "dim: archive has 4, the index has 5" in str(caught.value)
    assert build_index(colours.store, "toy")["vectors"] == 15


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "null"])
def test_half_a_header_is_damage(colours: Any, text: str) -> None:
    build_index(colours.store, "toy")
    header(colours).write_text(text)
    with pytest.raises(Damaged, match=r"index\.json cannot be read"):
        open_index(colours.store, "toy")


def test_no_pickle_is_ever_loaded(colours: Any, tmp_path: Path) -> None:
    from nightreel.extract.files import sha256_of

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "exploded",))

    build_index(colours.store, "toy")
    (path,) = (colours.root / "index" / "toy").glob("*.npz")
    path.unlink()
    with open(path, "wb") as handle:
        np.savez(handle, mean=np.array([Bomb()], object), covariance=np.eye(4))
    old = json.loads(header(colours).read_text())
    header(colours, sha256={**old["sha256"], "null": sha256_of(path)})
    with pytest.raises(Damaged, match="cannot be read"):
        open_index(colours.store, "toy")
    assert not (tmp_path / "exploded").exists()
    pickle.loads(pickle.dumps(Bomb()))  # the bomb is a real one
    assert (tmp_path / "exploded").exists()


def test_two_segments_with_one_id_are_refused(colours: Any) -> None:
    archives = sys.modules["archives"]
    red = colours.store.segments_of("toy", colours.store.find_video("red.mp4").video_id)
    twin = archives.segments_for("ff00", red.embedding)
    out = Writer(colours.store)
    out.add(VideoRow("ff00", "/x", "done"), {"toy": type(twin)(red.segment_id, *list(vars(twin).values())[1:])})
    out.commit()
    with pytest.raises(Damaged, match="stands 2 times among 19 segments") as caught:
        build_index(colours.store, "toy")
    assert "nightreel verify" in str(caught.value)
    assert not (colours.root / "index").exists()


def test_a_failed_build_leaves_the_old_index_in_force(colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    build_index(colours.store, "toy")
    colours.add("new.mp4", ["white"] * 2)

    import faiss

    def full(*args: object) -> None:
        raise RuntimeError("No space left on device")

    monkeypatch.setattr(faiss, "write_index", full)
    with pytest.raises(RuntimeError, match="No space"):
        build_index(colours.store, "toy")
    assert open_index(colours.store, "toy").size == 15
    assert not list(colours.root.rglob(".tmp-*"))


# --- the null distribution ------------------------------------------------------------------------------------


def test_mean_and_variance_are_those_of_the_whole_archive(random_archive: Any) -> None:
    build_index(random_archive.store, "rand")
    null, (_, vectors) = open_index(random_archive.store, "rand").null, stored(random_archive)
    wide = vectors.astype(np.float64)
    assert np.allclose(null.mean, wide.mean(0), atol=1e-6)
    assert np.allclose(null.covariance, np.cov(wide.T, bias=True), atol=1e-6)
    assert null.videos == 6
    query = np.random.default_rng(9).normal(size=16)
    scores = wide @ query
    assert query @ null.mean == pytest.approx(scores.mean(), abs=1e-5)
    assert query @ null.covariance @ query == pytest.approx(scores.var(), rel=1e-4)


def test_taking_vectors_in_by_parts_changes_nothing() -> None:
    vectors = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    whole, parts = Accumulator(6), Accumulator(6)
    whole.add(vectors)
    for part in np.array_split(vectors, 7):
        parts.add(part)
    assert np.allclose(whole.stats(1).covariance, parts.stats(1).covariance, atol=1e-7)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20), st.integers(1, 10_000))
def test_confidence_rises_with_the_score_and_falls_with_the_number_of_videos(scores: list[float], videos: int) -> None:
    null = NullStats(np.full(4, 0.1, np.float32), np.eye(4, dtype=np.float32) * 0.04, videos)
    larger = NullStats(null.mean, null.covariance, videos * 10)
    query = np.full(4, 0.5, np.float32)
    values = [null.confidence(query, score) for score in sorted(scores)]
    assert values == sorted(values)
    assert all(0 <= value <= 1 for value in values)
    assert all(larger.confidence(query, score) <= null.confidence(query, score) for score in scores)


def test_confidence_worked_out_by_hand() -> None:
    null = NullStats(np.zeros(2, np.float32), np.eye(2, dtype=np.float32) * 0.01, 1)
    query = np.array([1, 0], np.float32)
    assert null.confidence(query, 0.0) == pytest.approx(0.5)
    assert null.confidence(query, 0.1) == pytest.approx(0.8413, abs=1e-4)  # one standard deviation
    assert NullStats(null.mean, null.covariance, 2).confidence(query, 0.1) == pytest.approx(0.8413**2, abs=1e-4)


# --- choosing and telling -------------------------------------------------------------------------------------


def test_the_encoder_to_search_is_chosen_or_asked_for(colours: Any, make_archive: MakeArchive) -> None:
    assert choose_encoder(colours.store) == "toy"
    silent = make_archive("silent", has_text=False)
    silent.add("red.mp4", ["red"])
    colours.store.refresh()
    assert choose_encoder(colours.store) == "toy"  # the only one that knows text
    assert choose_encoder(colours.store, "silent") == "silent"
    make_archive("second", pooling="other").add("red.mp4", ["red"])
    colours.store.refresh()
    with pytest.raises(UsageError, match=r"choose one with --encoder: second, toy"):
        choose_encoder(colours.store)
    with pytest.raises(UsageError, match="no features of encoder 'clip'; it has: second, silent, toy"):
        choose_encoder(colours.store, "clip")


def test_an_archive_without_features_says_how_to_get_some(make_archive: MakeArchive) -> None:
    with pytest.raises(UsageError, match="nightreel failures") as caught:
        choose_encoder(make_archive().store)
    assert "nightreel extract" in str(caught.value)


def test_summary_counts_what_is_visible_and_failures_what_is_not_done(colours: Any) -> None:
    colours.add("red.mp4", ["red"] * 2)
    bad = Writer(colours.store)
    bad.add(VideoRow("00", "/films/bad.mp4", "failed", stage="open", error_kind="unreadable", error="no"), {})
    bad.commit()
    found = summary(colours.store)
    assert (found["videos"], found["status"], found["commits"]) == (4, {"done": 3, "failed": 1}, 5)
    assert found["encoders"]["toy"]["segments"] == 2 + 6 + 5
    assert found["encoders"]["toy"]["videos"] == 3
    assert found["video_s"] == 13.0
    assert [row["path"] for row in failures(colours.store)] == ["/films/bad.mp4"]


def test_builds_at_once_leave_an_index_that_opens(colours: Any) -> None:
    code = "import sys; from nightreel.cli import app; app(['index', sys.argv[1], '--json'])"
    command = [sys.executable, "-c", code, str(colours.root)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(*process.communicate(), process.returncode) for process in running]
    assert [code for _, _, code in ends] == [0, 0, 0], ends
    assert open_index(colours.store, "toy").size == 15
