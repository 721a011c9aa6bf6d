"""`--where` and `--sort`: which segments pass, worked out by hand; that what is found equals brute force; and that an
expression can do no harm."""

import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel import Archive
from nightreel.extract.errors import Damaged, UsageError
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer
from nightreel.index.build import build_index
from nightreel.index.open import open_index
from nightreel.search.answer import Question
from nightreel.search.columns import covering
from nightreel.search.expression import MOST_CHARACTERS, connect, parse
from nightreel.search.search import Held
from nightreel.search.where import Scan

NAN = float("nan")


@pytest.fixture
def films(make_archive: Any) -> Any:
    """`a.mp4` (4 s, Oslo), `b.mp4` (3 s) and `old.mp4` (2 s, without quality columns) of one toy segment a second."""
    archive = make_archive(labels=2)
    said = [(("archery", 0.9), ("golf", 0.1)), (("golf", 0.6),), (), (("archery", 0.2),)]
    facts = {"fps": 25.0, "codec": "h264", "metadata": {"place": "Oslo", "year": 1999, "Luma": 7}}
    archive.add(
        "a.mp4", ["red"] * 4, quality={"luma": [10, 50, NAN, 200], "variance": [0, 9, 9, 9]}, labels=said, **facts
    )
    quality = {"luma": [60, 0, 90], "variance": [9, 9, 0]}
    archive.add("b.mp4", ["red", "blue", "red"], quality=quality, fps=50.0, metadata={"place": "Rome"})
    archive.add("old.mp4", ["red", "blue"])
    return archive


def passing(archive: Any, where: str, slug: str = "toy") -> list[tuple[str, float]]:
    """(file name, start_s) of what passes, in the archive's order."""
    name_of = {row.video_id: Path(row.path).name for row in archive.store.videos()}
    batches = Scan(archive.store, slug, where).passing()
    return [
        (name_of[str(v)], float(s)) for batch in batches for v, s in zip(batch.video_id, batch.start_s, strict=True)
    ]


A0, A1, A2, A3, B0, B1, B2, O0, O1 = (
    [("a.mp4", float(s)) for s in range(4)]
    + [("b.mp4", float(s)) for s in range(3)]
    + [("old.mp4", float(s)) for s in range(2)]
)
WORKED: list[tuple[str, list[tuple[str, float]]]] = [
    ("luma > 40", [A1, A3, B0, B2]),
    ("LUMA between 40 and 90", [A1, B0, B2]),
    ("luma > 40 AND fps >= 50", [B0, B2]),
    ("place = 'Oslo' and start_s >= 2", [A2, A3]),
    ("place like 'R%' or year < 2000 and variance = 0", [A0, B0, B1, B2]),
    ("videos.luma = 7", [A0, A1, A2, A3]),  # the user's own column; alone the name is the segment's
    ("segments.luma = 10", [A0]),
    ("duration_s = 3 and end_s = 3", [B2]),
    ("status = 'done' and time_s = 1", [A1, B1, O1]),
    ("parse_filename(path) = 'b.mp4'", [B0, B1, B2]),
    ("labels[1].label = 'archery' and labels[1].probability > 0.5", [A0]),
    ("len(list_filter(labels, lambda l: l.label = 'archery' and l.probability < luma)) > 0", [A0, A3]),
    ("list_contains(list_transform(labels, lambda l: l.label), 'golf')", [A0, A1]),
    ("true", [A0, A1, A2, A3, B0, B1, B2, O0, O1]),
    ("luma > 40 -- and more\n", [A1, A3, B0, B2]),
    # Not a number and unknown pass no comparison, whichever way round, nor does what they are divided by.
    ("luma < 40", [A0, B1]),
    ("luma > 1e9 or luma <= 1e9", [A0, A1, A3, B0, B1, B2]),
    ("not (luma > 40)", [A0, B1]),
    ("luma is null", [A2, O0, O1]),
    ("variance / luma > 0", [A1, A3, B0]),
    ("1 / variance > 0", [A1, A2, A3, B0, B1]),
    ("variance / (luma - luma) > -1e30", []),
    ("year != 2000", [A0, A1, A2, A3]),
]


@pytest.mark.parametrize(("where", "expected"), WORKED, ids=[where for where, _ in WORKED])
def test_what_passes_worked_out_by_hand(films: Any, where: str, expected: list[tuple[str, float]]) -> None:
    assert passing(films, where) == expected
    ids = Scan(films.store, "toy", where).ids()
    assert ids.dtype == np.int64
    assert np.all(np.diff(ids) > 0)
    assert len(ids) == len(expected)


def test_only_rows_that_count_pass(films: Any) -> None:
    films.add("a.mp4", ["red"] * 2, quality={"luma": [99, 1]}, fps=10.0)  # extracted again
    films.remove(films.store.find_video("b.mp4").video_id)
    assert passing(films, "luma > 40") == [("a.mp4", 0.0)]
    assert passing(films, "luma > 40 and fps = 10") == [("a.mp4", 0.0)]


@pytest.fixture
def motion(films: Any) -> Any:
    """Also clips of 2 s of an encoder `flow`, of a.mp4 (motion 5, 50) and of b.mp4's first 2 s only (80)."""
    flow = sys.modules["archives"].MadeArchive.__new__(type(films))
    flow.root, flow.slug, flow.store = films.root, "flow", films.store
    archives = sys.modules["archives"]
    fingerprint = archives.toy_fingerprint(
        spec="raft:x", has_text=False, columns=["luma", "motion_px"], sampling=archives.CLIPS
    )
    archives.claim_encoder(films.store, "flow", fingerprint)
    flow.add("a.mp4", ["red"] * 2, 2.0, quality={"luma": [1, 1], "motion_px": [5, 50]}, fps=25.0)
    flow.add("b.mp4", ["red"], 2.0, quality={"luma": [1], "motion_px": [80]}, duration_s=3.0)
    return flow


def test_a_column_of_another_encoder_is_that_of_its_segment_at_the_time(motion: Any) -> None:
    assert passing(motion, "motion_px > 40") == [A2, A3, B0, B1]  # b.mp4 has no clip at 2 s
    assert passing(motion, "motion_px <= 40") == [A0, A1]
    assert passing(motion, "motion_px > 40 and luma > 100") == [A3]  # luma is the searched encoder's own
    assert passing(motion, "flow.luma = 1 and luma > 40") == [A1, A3, B0]
    assert passing(motion, "motion_px is null") == [B2, O0, O1]
    assert passing(motion, "motion_px > 40", "flow") == [A2, B0]


def test_as_of_worked_out_by_hand() -> None:
    """Clips of 8 s every 4 s, from 0: at 5 s the one from 4 s is the last to have begun; at 20 s none is shown."""
    import pyarrow as pa

    other = pa.table({"video_id": ["v", "v", "v", "w"], "start_s": [8.0, 0, 4, 0], "end_s": [16.0, 8, 12, 1]})
    videos = np.array(["v", "v", "v", "v", "v", "w", "x"], object)
    assert covering(videos, np.array([0, 5, 8, 15.9, 20, 1, 0]), other).tolist() == [1, 2, 0, 0, -1, -1, -1]
    assert covering(videos[:2], np.array([-1, np.nan]), other).tolist() == [-1, -1]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=9), st.lists(st.integers(0, 50), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_as_of_equals_looking_at_every_segment(starts: list[int], times: list[int]) -> None:
    import pyarrow as pa

    begin = np.unique(starts).astype(float)
    other = pa.table({"video_id": ["v"] * len(begin), "start_s": begin, "end_s": begin + 7})
    got = covering(np.array(["v"] * len(times), object), np.array(times, float), other)
    for time_s, row in zip(times, got, strict=True):
        begun = [i for i, s in enumerate(begin) if s <= time_s]
        last = begun[-1] if begun else -1
        assert row == (last if begun and time_s < begin[last] + 7 else -1)


# --- the index and the moments are held to it -----------------------------------------------------------------


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """4000 segments of 40 videos in 8 dimensions, with luma 0, 1, 2... over all of them in random order."""
    archives = sys.modules["archives"]
    archive = archives.MadeArchive(tmp_path_factory.mktemp("many") / "a.reel", "rand", dim=8, spec="toy")
    draw = np.random.default_rng(0)
    luma = draw.permutation(4000).reshape(40, 100)
    for files in range(4):
        writer = Writer(archive.store)
        for n in range(10 * files, 10 * files + 10):
            row = VideoRow(archives.id_of(f"{n}.mp4"), f"/films/{n}.mp4", "done", duration_s=100.0)
            quality = {"luma": luma[n].tolist()}
            writer.add(row, {"rand": archives.segments_for(row.video_id, draw.normal(size=(100, 8)), quality=quality)})
        writer.commit()
    build_index(archive.store, "rand")
    return archive


def stored(archive: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    batches = list(archive.store.segments(archive.slug))
    parts = [(b.segment_id, b.embedding.astype(np.float32), b.quality["luma"]) for b in batches]
    ids, vectors, luma = (np.concatenate(part) for part in zip(*parts, strict=True))
    return ids, vectors, luma


@given(st.integers(0, 10_000), st.sampled_from([1, 4, 40, 400, 2000, 3999, 4000]), st.sampled_from([1, 10, 5000]))
@settings(max_examples=40, deadline=None)
def test_the_index_finds_what_brute_force_finds_among_those_that_pass(many: Any, seed: int, count: int, k: int) -> None:
    """From 0.025 % of the segments to all of them."""
    ids, vectors, luma = stored(many)
    query = np.random.default_rng(seed).normal(size=8).astype(np.float32)
    low = seed % (4001 - count)
    allowed = Scan(many.store, "rand", f"luma >= {low} and luma < {low + count}").ids()
    rows = np.flatnonzero((luma >= low) & (luma < low + count))
    assert allowed.tolist() == np.sort(ids[rows]).tolist()
    scores, found = open_index(many.store, "rand").search(query, k, allowed)
    exact = np.sort(vectors[rows] @ query)[::-1][:k]
    assert np.allclose(scores, exact, atol=1e-5)
    assert set(found.tolist()) <= set(allowed.tolist())
    assert len(set(found.tolist())) == len(exact)


def test_what_the_index_has_not_is_not_found(many: Any) -> None:
    index = open_index(many.store, "rand")
    scores, ids = index.search(np.ones(8, np.float32), 5, np.array([1, 2, 3], np.int64))
    assert (len(scores), len(ids)) == (0, 0)
    assert [len(part) for part in index.search(np.ones(8, np.float32), 5, np.zeros(0, np.int64))] == [0, 0]


@pytest.mark.parametrize("share", [0.001, 0.02, 0.1])
def test_hits_consist_of_segments_that_pass_and_the_best_is_among_them(
    many: Any, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, vectors, luma = stored(many)
    row_of = {int(i): row for row, i in enumerate(ids)}
    query = np.eye(8, dtype=np.float32)[0]
    monkeypatch.setattr("nightreel.search.answer.embedded", lambda *args: query)
    most = int(4000 * share)
    hits = Archive(many.root, "rand").search("anything", where=f"luma < {most}", top=100)
    assert hits
    for hit in hits:
        segments = many.store.segments_of("rand", hit.video_id)
        inside = segments[(segments.start_s < hit.end_s) & (segments.end_s > hit.start_s)]
        rows = [row_of[int(i)] for i in inside.segment_id]
        assert np.all(luma[rows] < most)
        assert hit.score == pytest.approx(float(np.sort(vectors[rows] @ query)[-3:].mean()), abs=1e-5)
    best = ids[luma < most][np.argmax(vectors[luma < most] @ query)]
    video = many.store.segments_by_id("rand", np.array([best])).video_id[0]
    assert video in {hit.video_id for hit in hits}


def test_a_moment_ends_where_the_next_segment_does_not_pass(films: Any) -> None:
    """b.mp4 is red, blue, red; what is between does not pass, so there are two moments and none bridges it."""
    archive = Archive(films.root)
    archive.build_index()
    hits = archive.search("red", where="luma > 40", video="b.mp4")
    assert sorted((hit.start_s, hit.end_s) for hit in hits) == [(0.0, 1.0), (2.0, 3.0)]
    assert [hit.rank for hit in hits] == [1, 2]
    assert archive.search("red", where="luma = 0", video="b.mp4")[0].score == pytest.approx(0.2, abs=1e-3)
    (hit,) = archive.search("red", where="luma > 40", by="video", video="a.mp4")
    assert (hit.start_s, hit.end_s) in {(1.0, 2.0), (3.0, 4.0)}


def test_which_have_a_say() -> None:
    ids = np.array([5, 1, 9, 7], np.int64)
    assert Held().has(ids).all()
    assert Held(np.array([1, 7, 8])).has(ids).tolist() == [False, True, False, True]
    assert Held(np.array([1, 7, 9]), np.array([9])).has(ids).tolist() == [False, True, False, True]
    assert not Held(np.zeros(0, np.int64)).has(ids).any()


# --- lists and sorting ----------------------------------------------------------------------------------------


def asked(archive: Any, **options: Any) -> list[tuple[str, float, float, float]]:
    answer = Archive(archive.root, "toy").ask(Question(**options))
    assert [hit.rank for hit in answer.hits] == list(range(1, len(answer.hits) + 1))
    return [(Path(hit.path).name, hit.start_s, hit.end_s, hit.score) for hit in answer.hits]


def test_without_a_question_what_passes_is_listed_in_the_archives_order(films: Any) -> None:
    """No index is needed, and none is there."""
    assert asked(films, where="luma > 40") == [
        *(("a.mp4", 1, 2, 0), ("a.mp4", 3, 4, 0)),
        *(("b.mp4", 0, 1, 0), ("b.mp4", 2, 3, 0)),
    ]
    assert asked(films, where="luma > 40", top=1) == [("a.mp4", 1, 2, 0)]
    assert asked(films, where="luma > 40", by="video") == [("a.mp4", 1, 2, 0), ("b.mp4", 0, 1, 0)]
    assert asked(films, where="luma > 40", video="b") == [("b.mp4", 0, 1, 0), ("b.mp4", 2, 3, 0)]


def test_sorting_ranks_by_the_column_and_leaves_out_what_has_none(films: Any) -> None:
    ranked = [("a.mp4", 3, 4, 200), ("b.mp4", 2, 3, 90), ("b.mp4", 0, 1, 60), ("a.mp4", 1, 2, 50), ("a.mp4", 0, 1, 10)]
    assert asked(films, sort="luma", top=5) == ranked
    assert asked(films, sort="luma", where="fps > 30") == [("b.mp4", 2, 3, 90), ("b.mp4", 0, 1, 60), ("b.mp4", 1, 2, 0)]
    assert asked(films, sort="luma", by="video") == [("a.mp4", 3, 4, 200), ("b.mp4", 2, 3, 90)]
    assert asked(films, sort="-luma", top=1) == [("b.mp4", 1, 2, 0)]  # the darkest
    assert asked(films, sort="year", top=1) == [("a.mp4", 0, 1, 1999)]
    answer = Archive(films.root).ask(Question(sort="luma", top=2))
    assert [hit.confidence for hit in answer.hits] == [None, None]
    assert answer.notes == ("6 of 9 segments pass; 1 to 2 are shown. More with --top, or --skip.",)


def test_sorting_what_was_found_by_likeness(films: Any) -> None:
    archive = Archive(films.root)
    archive.build_index()
    hits = archive.search("red", sort="luma", by="video")
    assert (Path(hits[0].path).name, hits[0].score) == ("a.mp4", 200.0)  # its one moment is all of it
    assert "old.mp4" not in {Path(hit.path).name for hit in hits}  # nobody measured it
    assert all(hit.confidence is not None for hit in hits)


def test_when_nothing_passes_the_answer_says_what_there_is(films: Any, motion: Any) -> None:
    answer = Archive(films.root, "toy").ask(Question(where="luma > 500 and motion_px > 1"))
    assert answer.hits == []
    (note,) = answer.notes
    assert "none of 9 segments passes --where 'luma > 500 and motion_px > 1'" in note
    assert "luma is 0 to 200" in note
    assert "motion_px is 5 to 80" in note
    archive = Archive(films.root, "toy")
    archive.build_index()
    assert archive.search("red", where="luma > 500") == []
    assert "luma is 0 to 200" in archive.ask(Question("red", where="luma > 500")).notes[0]


def test_without_a_question_the_encoder_that_has_the_columns_is_listed(films: Any, motion: Any) -> None:
    assert Archive(films.root).ask(Question(sort="motion_px", top=1)).hits[0].score == 80
    assert Archive(films.root).ask(Question(sort="motion_px")).encoder == "raft:x"
    assert Archive(films.root).ask(Question(where="variance > 1")).encoder == "toy"
    assert Archive(films.root).ask(Question(where="luma > 0")).encoder == "toy"  # both have it: as for sentences


# --- wrong ones, and hostile ones -----------------------------------------------------------------------------

WRONG = [
    ("lumma > 3", ["no column 'lumma'", "Did you mean 'luma'?", "start_s", "duration_s", "place"]),
    ("videos.lumma > 3", ["no column 'lumma'", "Columns of videos"]),
    ("luma", ["expected what is true or false", "got FLOAT"]),
    ("3", ["expected what is true or false", "INTEGER"]),
    ("NULL", ["expected what is true or false"]),
    ("luma >", ["not an SQL expression", "syntax error"]),
    ("path > 3 and", ["syntax error"]),
    ("", ["expected an SQL expression"]),
    (" \n", ["expected an SQL expression"]),
    ("lowr(path) = 'x'", ["'lowr' is not allowed", "Did you mean 'lower'?"]),
    ("l -> luma", ["--where"]),
]


@pytest.mark.parametrize(("where", "named"), WRONG, ids=[repr(where) for where, _ in WRONG])
def test_what_is_wrong_is_said_with_the_remedy(films: Any, where: str, named: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        Scan(films.store, "toy", where)
    said = str(caught.value)
    assert [text for text in [*named, "--where"] if text not in said] == []
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(("where", "named"), [("place::INTEGER > 3", "Oslo"), ("luma = 'bright'", "bright")])
def test_what_fails_only_on_values_is_said_too(films: Any, where: str, named: str) -> None:
    with pytest.raises(UsageError, match=rf"--where .*fails on this archive's values.*{named}"):
        list(Scan(films.store, "toy", where).passing())


@pytest.mark.parametrize(
    "columns", [3, {"luma": 1}, [None, 7], ["segment_id", "embedding", "video_id"], ['x" or true --'], None]
)
def test_a_fingerprint_of_a_stranger_names_no_columns_of_ours(make_archive: Any, columns: Any) -> None:
    archive = make_archive(columns=columns)
    archive.add("a.mp4", ["red", "blue"])
    assert passing(archive, "segment_id > 0 and start_s >= 1") == [("a.mp4", 1.0)]
    with pytest.raises(UsageError, match="no column 'luma'"):
        Scan(archive.store, "toy", "luma > 3")


def test_a_column_of_another_type_than_declared_is_damage(make_archive: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    archive = make_archive()
    archive.add("a.mp4", ["red", "blue"], quality={"luma": [1, 2]})
    file = archive.data_file()
    table = pq.read_table(file)
    pq.write_table(table.set_column(table.column_names.index("luma"), "luma", pa.array(["1", "2"])), file)
    with pytest.raises(Damaged, match=r"column luma is string, expected float"):
        passing(archive, "luma > 0")


def test_sort_takes_numbers(films: Any) -> None:
    for sort, said in (("path", "expected a number"), ("luma > 3", "got BOOLEAN"), ("lumma", "Did you mean 'luma'")):
        with pytest.raises(UsageError, match=said) as caught:
            Scan(films.store, "toy", sort=sort)
        assert "--sort" in str(caught.value)


def test_a_column_that_two_other_encoders_have_wants_its_table_named(films: Any, motion: Any) -> None:
    archives = sys.modules["archives"]
    fingerprint = archives.toy_fingerprint(spec="raft:y", columns=["motion_px"], sampling=archives.CLIPS)
    archives.claim_encoder(films.store, "flow-2", fingerprint)
    motion.slug = "flow-2"
    motion.add("a.mp4", ["red"], 4.0, quality={"motion_px": [7]}, fps=25.0)
    with pytest.raises(UsageError, match=r'several encoders.*"flow".motion_px, "flow-2".motion_px'):
        Scan(films.store, "toy", "motion_px > 3")
    assert passing(motion, '"flow-2".motion_px = 7 and flow.motion_px = 50') == [A2, A3]


HOSTILE = [
    "read_csv('/etc/passwd') is not null",
    "read_text('/etc/passwd') = ''",
    "luma > (select count(*) from read_csv('/etc/passwd'))",
    "exists (from '/etc/passwd')",
    "luma in (select 1)",
    "luma = any([1, 2])",
    "1 = (select 1)",
    "true; drop table videos",
    "true; select 1",
    "1; copy (select 1) to '{tmp}/out.csv'",
    "COPY (SELECT 1) TO '{tmp}/out.csv'",
    "ATTACH '{tmp}/out.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA version",
    "SET threads = 4",
    "true) union all select * from (select true",
    "true from '/etc/passwd'",
    "true limit 1",
    "true as luma",
    "true, false",
    "* > 1",
    "columns(*) > 1",
    "#1 = 1",
    "? = 1",
    "$1 = 1",
    "row_number() over () = 1",
    "count(*) > 0",
    "unnest([true])",
    "len(range(100000000000)) > 0",
    "len(list_transform(range(1000000000), lambda x: x + 1)) > 0",
    "len(repeat('x', 100000000000)) > 0",
    "rpad('x', 1000000000, 'y') = 'x'",
    "printf('%1000000000d', 1) = ''",
    "null::INTEGER[100000][100000] is null",
    "sleep_ms(100000) is null",
    "pg_sleep(1000) is null",
    "getvariable('x') is null",
    "current_setting('memory_limit') = ''",
    "write_log('x') is null",
    "error('x')",
    "nextval('x') = 1",
    "main.lower(path) = 'x'",
    "regexp_matches(path, '((a{{1000}}){{1000}}){{1000}}')",
    "labels.x.y.z = 1",
    "films.x = 1",
    "list_filter(labels, lambda l: len(list_filter(labels, lambda k: k = l)) > 0) = labels",
    "len(list_transform([1, 2], lambda x: [x, luma])) > 0",
    "len([[x, luma] for x in [1, 2, 3]]) > 0",
    "\ud800 > 1",
    "luma > 1 /*",
    "'unfinished",
    "not " * 2000 + "true",
    "not " * 600 + "true",
    "[" * 600 + "]" * 600 + " is null",
    "luma > 1 or " * 5000 + "true",
    "x" * (MOST_CHARACTERS + 1),
]


@pytest.mark.parametrize("where", HOSTILE, ids=[repr(where)[:60] for where in HOSTILE])
def test_a_hostile_expression_is_refused_and_does_nothing(films: Any, where: str, tmp_path: Path) -> None:
    films_scope = films  # noqa: F841  a name that a replacement scan would find
    with pytest.raises(UsageError) as caught:
        list(
            Scan(
                films.store, "toy", where.replace("{tmp}", str(tmp_path)).replace("{{", "{").replace("}}", "}")
            ).passing()
        )
    assert "root:" not in str(caught.value)
    assert len(str(caught.value)) < 2500
    assert not list(tmp_path.glob("out.*"))
    assert passing(films, "luma > 40") == [A1, A3, B0, B2]


@pytest.mark.parametrize(
    "command",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '/tmp/nightreel-test.csv'",
        "ATTACH '/tmp/nightreel-test.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET threads = 4",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "SELECT * FROM table_of_this_test",
    ],
)
def test_the_connection_itself_refuses_what_the_check_might_miss(command: str) -> None:
    import pyarrow as pa

    table_of_this_test = pa.table({"x": [1]})
    assert table_of_this_test.num_rows
    with pytest.raises(duckdb.Error):
        connect().execute(command)


@given(st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_expression_or_a_usage_error(text: str) -> None:
    connection = connect_once()
    try:
        expression = parse(connection, text, "--where")
    except UsageError as error:
        assert "\n" not in str(error) or "--where" in str(error)
    else:
        again = parse(connection, expression.sql, "--where")  # what runs was itself checked
        assert again.names == expression.names


_connections: list[Any] = []


def connect_once() -> Any:
    if not _connections:
        _connections.append(connect())
    return _connections[0]


def test_an_expression_is_run_as_it_was_checked() -> None:
    expression = parse(connect(), "luma > 1 -- ) or true", "--where")
    assert expression.sql == "(luma > 1)"
    assert expression.names == (("luma",),)
    assert parse(connect(), "luma > videos.luma and x.y[1] = 2", "--where").names == (
        *(("luma",), ("videos", "luma"), ("x", "y")),
    )
