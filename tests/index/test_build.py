"""Building: exact against brute force, whatever the kind, and what is no direction is never found."""

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from nightreel.extract.errors import Damaged
from nightreel.extract.segment import segment_ids, video_number
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer
from nightreel.index import build as building
from nightreel.index.build import Settings, build_index
from nightreel.index.levels import LEVELS, at_level
from nightreel.index.measure import tune_part
from nightreel.index.open import VectorIndex, open_index

Fixture = Callable[..., Any]

DIM, RECALL = 128, 0.9
KINDS = {  # of 3000 segments (with windows 4900 rows) of D = 128
    "IVF,fp16": "4GB",
    "IVF,RaBitQ4": "1.2MB",
    "IVF,RaBitQ": "400KB",
    "PCA64,IVF,RaBitQ": "1KB",
}
ON_CPU = Settings(device="cpu")


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One archive of 3000 vectors; `kind` indexes it as one kind after the other."""
    conftest, archives = sys.modules["index_helpers"], sys.modules["archives"]
    archive = archives.MadeArchive(
        tmp_path_factory.mktemp("kinds") / "a.reel", "rand", dim=DIM, spec="toy", has_text=False
    )
    rng = np.random.default_rng(0)
    conftest.fill(archive, {f"{n}.mp4": conftest.footage(rng, 120, DIM) for n in range(25)})
    return archive


@pytest.fixture(params=["Flat", *KINDS])
def of_kind(request: pytest.FixtureRequest, every_kind: Any) -> tuple[Any, VectorIndex, dict[str, Any]]:
    """An archive, its index and what the build reported, for every kind."""
    if request.param != "Flat":
        request.getfixturevalue("early_lists")
    report = build_index(every_kind.store, "rand", Settings(KINDS.get(request.param), RECALL, "cpu", rebuild=True))
    assert report["kind"] == request.param
    return every_kind, open_index(every_kind.store, "rand"), report


def test_every_kind_finds_what_brute_force_finds(of_kind: Any, stored: Fixture, queries: Fixture) -> None:
    archive, index, report = of_kind
    assert (report["vectors"], report["left_out"], report["recall_asked"]) == (3000, 0, RECALL)
    assert report["recall_at_10"] >= RECALL
    assert report["bytes"] == sum(
        file["bytes"] for part in index.header["parts"] for file in part["levels"].values()
    ) + sum(part[key]["bytes"] for part in index.header["parts"] for key in ("videos", "spans", "norms")) + sum(
        index.header[key]["bytes"] for key in ("null", "probes")
    )
    ids, vectors = stored(archive)
    row_of = {int(i): row for row, i in enumerate(ids)}
    asked = queries(vectors, 40)
    scores, found = index.search_many(asked, 10)
    truth = asked @ vectors.T
    tenth = np.sort(truth, axis=1)[:, -10]
    assert (scores >= tenth[:, None] - 1e-3).mean() >= RECALL - 0.05  # other queries than those it was tuned with
    for query, of_query, ids_of_query in zip(asked, scores, found, strict=True):
        rows = [row_of[int(i)] for i in ids_of_query]
        assert len(set(rows)) == 10
        assert np.allclose(of_query, vectors[rows] @ query, atol=1e-3)  # exact, and each of its own id
        assert (np.diff(of_query) <= 0).all()

    # Filters: 3, 30 and 1500 of 3000, and none.
    rng = np.random.default_rng(1)
    for count in (3, 30, 1500):
        allowed = rng.permutation(ids)[:count]
        rows = np.array([row_of[int(i)] for i in allowed])
        for query in asked[:8]:
            best = np.sort(vectors[rows] @ query)[::-1][:10]
            scores, found = index.search(query, 10, allowed)
            assert set(found.tolist()) <= set(allowed.tolist())
            assert len(scores) == len(best)
            assert np.mean(scores >= best[-1] - 1e-3) >= (0.5 if count == 1500 else 1.0)
            if count < 1500:
                assert np.allclose(scores, best, atol=1e-3)
    assert [len(part) for part in index.search(asked[0], 10, np.zeros(0, np.int64))] == [0, 0]
    assert [len(part) for part in index.search(asked[0], 10, segment_ids("of another archive", 5))] == [0, 0]

    # More than there are: no id twice, scores in order, and exact.
    scores, found = index.search(asked[0], 10_000)
    assert len(set(found.tolist())) == len(found) > 0
    assert np.allclose(scores, vectors[[row_of[int(i)] for i in found]] @ asked[0], atol=1e-3)
    if report["kind"] == "Flat":
        assert len(found) == 3000


def test_every_kind_finds_videos_and_gives_what_scores_them(of_kind: Any, queries: Fixture) -> None:
    archive, index, _ = of_kind
    names = archive.store.video_ids("rand")
    for name in names[:6]:
        video, segments = index.video(name), archive.store.segments_of("rand", name)
        assert video is not None
        assert np.array_equal(video.vectors, segments.embedding)
        assert np.array_equal(video.ids, segments.segment_id)
        assert np.array_equal(video.start_s, segments.start_s)
        assert np.array_equal(video.end_s, segments.end_s)
        wide = segments.embedding.astype(np.float32)
        for level, (first, after, norms) in zip(index.levels, video.at, strict=True):
            at = at_level(wide, segments.start_s, segments.end_s, level)
            of_sum = np.stack([wide[a:b].sum(0) for a, b in zip(first, after, strict=True)])
            assert np.allclose(of_sum / norms[:, None], at, atol=1e-3)
        query = at[0] / np.linalg.norm(at[0])
        found = index.videos(query, 5)
        assert name in found[:4]  # first at one level at least
        assert len(set(found)) == len(found) >= 5
        assert set(index.videos(query, 100)) <= set(names)
        others = np.concatenate([segment_ids(other, 120) for other in names[10:13]])
        assert set(index.videos(query, 3, others)) == set(names[10:13])
    assert [level.name for level in index.levels] == [level.name for level in LEVELS]
    assert index.video("of another archive") is None


@pytest.fixture
def small(clustered: Fixture) -> Any:
    return clustered(5, 40, 16)


def test_the_result_is_that_of_brute_force(small: Any, stored: Fixture) -> None:
    small.add("still.mp4", np.repeat(np.random.default_rng(0).normal(size=(1, 16)), 12, axis=0))
    report = build_index(small.store, "rand")
    assert (report["vectors"], report["recall_at_10"], report["kind"]) == (212, 1.0, "Flat")
    ids, vectors = stored(small)
    index = open_index(small.store, "rand")
    for seed in range(20):
        query = np.random.default_rng(seed).normal(size=16).astype(np.float32)
        scores, found = index.search(query, 25)
        exact = vectors @ query
        assert np.allclose(scores, np.sort(exact)[::-1][:25], atol=1e-4)
        score_of = dict(zip(ids.tolist(), exact, strict=True))
        assert np.allclose([score_of[int(i)] for i in found], scores, atol=1e-4)  # ids, not row numbers
        assert len(set(found.tolist())) == 25
    scores, found = index.search(query, 10_000)
    assert sorted(found.tolist()) == sorted(ids.tolist())


def test_an_index_of_nothing_finds_nothing(make_archive: Fixture) -> None:
    archive = make_archive()
    report = build_index(archive.store, "toy")
    assert (report["recall_at_10"], report["latency_ms_p50"], report["vectors"], report["kind"]) == (
        None,
        None,
        0,
        "Flat",
    )
    index = open_index(archive.store, "toy")
    assert [len(part) for part in index.search(np.ones(4, np.float32), 5)] == [0, 0]
    assert index.videos(np.ones(4, np.float32), 5) == []


def test_an_index_of_one_vector_finds_it(make_archive: Fixture) -> None:
    archive = make_archive()
    video = archive.add("red.mp4", ["red"])
    assert build_index(archive.store, "toy")["vectors"] == 1
    _, ids = open_index(archive.store, "toy").search(np.ones(4, np.float32) / 2, 5)
    assert ids.tolist() == segment_ids(video, 1).tolist()
    assert open_index(archive.store, "toy").videos(np.ones(4, np.float32), 5) == [video]


def add_segments(archive: Any, video_id: str, change: Callable[[Any], Any], frames: int = 40) -> None:
    """Commit a video whose segments were changed: `unit_norm_f16` would refuse what the tests want."""
    dim = archive.store.encoders()[archive.slug]["dim"]
    vectors = np.random.default_rng(9).normal(size=(frames, dim))
    out = Writer(archive.store)
    segments = change(sys.modules["archives"].segments_for(video_id, vectors))
    out.add(VideoRow(video_id, f"/films/{video_id}", "done"), {archive.slug: segments})
    out.commit()


def hostile(segments: Any) -> Any:
    embedding = segments.embedding.copy()
    embedding[3], embedding[7], embedding[11], embedding[12, 0] = 0, np.nan, np.inf, np.nan
    return replace(segments, embedding=embedding)


@pytest.mark.parametrize("early", [False, True])
def test_what_is_no_direction_is_counted_and_never_found(
    small: Any, early: bool, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if early:
        request.getfixturevalue("early_lists")
        for module in ("kinds", "build", "write"):
            monkeypatch.setattr(f"nightreel.index.{module}.FLAT_BELOW", 100)
    add_segments(small, "ff00", hostile)
    report = build_index(small.store, "rand", Settings("1KB" if early else None, 1.0, "cpu"))
    assert report["kind"] == ("IVF,RaBitQ" if early else "Flat")
    assert (report["vectors"], report["left_out"]) == (236, 4)
    index = open_index(small.store, "rand")
    assert index.size == 236
    bad = set(segment_ids("ff00", 40)[[3, 7, 11, 12]].tolist())
    for sign in (1, -1):  # even a query that is unlike all others
        scores, found = index.search(np.full(16, sign, np.float32), 500)
        assert np.isfinite(scores).all()
        assert not bad & set(found.tolist())
    only = index.search(np.ones(16, np.float32), 50, segment_ids("ff00", 40))[1]
    assert set(only.tolist()) == set(segment_ids("ff00", 40).tolist()) - bad
    assert np.isfinite(index.null.segments.mean).all()
    video = index.video("ff00")
    assert video is not None
    assert np.flatnonzero(~video.vectors.any(axis=1)).tolist() == [3, 7, 11, 12]
    assert np.isfinite(video.vectors).all()


def test_a_video_of_nothing_but_black_is_no_trouble(small: Any) -> None:
    add_segments(small, "ff00", lambda segments: replace(segments, embedding=segments.embedding * 0))
    report = build_index(small.store, "rand")
    assert (report["vectors"], report["left_out"]) == (200, 40)
    found = open_index(small.store, "rand").search(np.ones(16, np.float32), 500)[1]
    assert not set(found.tolist()) & set(segment_ids("ff00", 40).tolist())


@pytest.mark.parametrize("good", [0, 2])
def test_lists_are_made_of_hardly_any_direction(clustered: Fixture, early_lists: int, good: int) -> None:
    archive = clustered(1, 2, 16)
    for name in ("ff00", "ff01"):
        black = np.arange(300)[:, None] < good
        add_segments(archive, name, lambda of, black=black: replace(of, embedding=of.embedding * black), 300)
    report = build_index(archive.store, "rand", ON_CPU)
    assert (report["kind"], report["vectors"]) == ("IVF,fp16", 2 + 2 * good)
    assert len(open_index(archive.store, "rand").search(np.ones(16, np.float32), 9)[1]) == 2 + 2 * good


def test_segments_with_the_ids_of_another_video_are_refused(colours: Any) -> None:
    red = colours.store.find_video("red.mp4").video_id
    add_segments(colours, "ff00", lambda segments: replace(segments, segment_id=segment_ids(red, 4)), 4)
    with pytest.raises(Damaged, match="the segment ids of video ff00 are not the 4 that its name gives") as caught:
        build_index(colours.store, "toy")
    assert "nightreel verify" in str(caught.value)
    assert not (colours.root / "index" / "toy" / "index.json").exists()


def test_two_videos_whose_names_give_the_same_ids_are_refused(colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    red, green = (colours.store.find_video(name).video_id for name in ("red.mp4", "green.mp4"))
    monkeypatch.setattr(
        building, "video_number", lambda name: video_number("42 bits" if name in (red, green) else name)
    )
    with pytest.raises(Damaged, match="share their ids") as caught:
        build_index(colours.store, "toy")
    assert red in str(caught.value)
    assert green in str(caught.value)
    assert "nightreel remove" in str(caught.value)
    assert not (colours.root / "index").exists()


def test_held_out_videos_are_hidden_while_it_is_tuned_and_found_afterwards(
    clustered: Fixture, early_lists: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive, seen = clustered(20, 40, 16), {}

    def remember(store: Any, slug: str, entry: Any, truth: Any, wanted: float) -> None:
        seen.update(truth)
        tune_part(store, slug, entry, truth, wanted)

    monkeypatch.setattr(building, "tune_part", remember)
    build_index(archive.store, "rand", replace(ON_CPU, recall=1.0))
    index = open_index(archive.store, "rand")
    (part,) = index.parts
    hidden = {int(v) for v in part.owner("segment", np.concatenate(seen["segment"].hidden))}
    assert len(hidden) == 2
    assert not hidden & {int(v) for v in part.owner("segment", seen["segment"].rows.ravel())}
    for video in hidden:
        rows = archive.store.segments_of("rand", part.table.video_id[video])
        scores, ids = index.search(rows.embedding[0].astype(np.float32), 1)
        assert (ids[0], scores[0]) == (rows.segment_id[0], pytest.approx(1, abs=2e-3))


def test_progress_is_told_to_the_end(small: Any) -> None:
    told: list[tuple[str, int, int]] = []
    build_index(small.store, "rand", ON_CPU, progress=lambda *step: told.append(step))
    assert told[-1] == ("rand", 400, 400)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
