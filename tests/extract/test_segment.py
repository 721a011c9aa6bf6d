"""Segments: ids, the declared schema, and the way to Parquet and back."""

import dataclasses
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.segment import ROW_BITS, Segments, segment_ids, segment_schema, unit_norm_f16
from nightreel.extract.writer import write_parquet


def some(count: int = 5, dim: int = 8, seed: int = 0) -> Segments:
    random = np.random.default_rng(seed)
    start = np.sort(random.uniform(0, 100, count))
    return Segments(
        segment_ids("film é", count),
        np.full(count, "film é", object),
        start,
        start + random.uniform(0.1, 1, count),
        start,
        unit_norm_f16(random.normal(size=(count, dim)) if count else np.zeros((0, dim))),
        {"luma": random.uniform(size=count).astype(np.float32)},
    )


def same(a: Segments, b: Segments) -> bool:
    """Bit for bit."""
    names = ("segment_id", "start_s", "end_s", "time_s", "embedding")
    return (
        all(getattr(a, n).tobytes() == getattr(b, n).tobytes() for n in names)
        and all(getattr(a, n).dtype == getattr(b, n).dtype for n in names)
        and a.video_id.tolist() == b.video_id.tolist()
        and {k: v.tobytes() for k, v in a.quality.items()} == {k: v.tobytes() for k, v in b.quality.items()}
    )


@given(st.lists(st.text(min_size=1), min_size=2, max_size=30, unique=True), st.integers(1, 50))
def test_ids_are_positive_ascending_and_of_one_video_only(names: list[str], count: int) -> None:
    all_ids = [segment_ids(name, count) for name in names]
    for ids in all_ids:
        assert ids.dtype == np.int64
        assert np.all(ids >= 0)
        assert np.all(np.diff(ids) == 1)
        assert len(set((ids >> ROW_BITS).tolist())) == 1
    assert len(np.unique(np.concatenate(all_ids))) == len(names) * count


def test_ids_stay_within_the_video_up_to_the_last_and_no_further() -> None:
    ids = segment_ids("v", 1 << ROW_BITS)
    assert ids[0] >> ROW_BITS == ids[-1] >> ROW_BITS
    with pytest.raises(ValueError, match="2097153 segments"):
        segment_ids("v", (1 << ROW_BITS) + 1)


@pytest.mark.parametrize(("count", "dim"), [(0, 4), (1, 1), (5, 8), (300, 33)])
def test_arrow_and_parquet_give_back_the_same_bits(tmp_path: Path, count: int, dim: int) -> None:
    segments = some(count, dim)
    assert same(segments, Segments.from_table(segments.to_table()))
    write_parquet([segments.to_table()], tmp_path / "s.parquet")
    table = pq.read_table(tmp_path / "s.parquet")
    assert table.schema == segment_schema(dim, ["luma"])
    assert same(segments, Segments.from_table(table))


def test_a_slice_of_a_table_is_read_from_its_own_rows() -> None:
    segments = some(10)
    assert same(segments[3:7], Segments.from_table(segments.to_table().slice(3, 4)))
    assert same(segments, Segments.from_table(pa.concat_tables([segments[:4].to_table(), segments[4:].to_table()])))


def test_without_embeddings_the_spans_remain() -> None:
    segments = some(3)
    spans = Segments.from_table(segments.to_table().drop_columns(["embedding"]))
    assert spans.embedding.shape == (3, 0)
    assert next(iter(spans)).embedding is None
    assert next(iter(segments)).embedding is not None


def test_indexing_gives_segments_and_iteration_gives_each() -> None:
    segments = some(4)
    chosen = segments[segments.start_s > segments.start_s[1]]
    assert [s.segment_id for s in chosen] == segments.segment_id[2:].tolist()
    assert chosen.quality["luma"].tolist() == segments.quality["luma"][2:].tolist()
    assert repr(segments) == "Segments(4 x 8)"


@pytest.mark.parametrize("column", ["start_s", "embedding", "video_id"])
def test_columns_of_other_lengths_are_refused(column: str) -> None:
    segments = some(4)
    parts = {name: getattr(segments, name) for name in segments.__dataclass_fields__}
    with pytest.raises(ValueError, match=f"{column} has 3 rows, segment_id has 4"):
        Segments(**{**parts, column: parts[column][:3]})


@pytest.mark.parametrize("end", [0.0, -1.0, float("nan")])
def test_a_span_that_does_not_last_is_refused(end: float) -> None:
    zero = np.zeros(1)
    with pytest.raises(ValueError, match="start_s < end_s"):
        Segments(np.zeros(1, np.int64), np.array(["v"], object), zero, np.array([end]), zero, np.zeros((1, 2)))


@settings(max_examples=50)
@given(st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(1e-4, 1e4))
def test_stored_vectors_have_unit_norm_and_the_inner_products_of_the_exact_ones(
    dim: int, seed: int, size: float
) -> None:
    exact = np.random.default_rng(seed).normal(size=(6, dim)) * size
    unit = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    stored = unit_norm_f16(exact).astype(np.float64)
    assert np.allclose(np.linalg.norm(stored, axis=1), 1, atol=1e-3)
    assert np.allclose(stored @ stored.T, unit @ unit.T, atol=1e-3)


@pytest.mark.parametrize("bad", [0.0, float("nan"), float("inf")])
def test_a_vector_without_direction_is_named(bad: float) -> None:
    with pytest.raises(ValueError, match="embedding 1 has norm"):
        unit_norm_f16(np.array([[1.0, 0.0], [bad, 0.0]]))


def test_duckdb_and_polars_read_the_file_as_it_is(tmp_path: Path) -> None:
    segments, path = some(5, 8), tmp_path / "s.parquet"
    write_parquet([segments.to_table()], path)
    wide = segments.embedding.astype(np.float32)

    rows = duckdb.sql(f"select segment_id, video_id, start_s, embedding from '{path}' order by segment_id").fetchall()
    assert [row[0] for row in rows] == segments.segment_id.tolist()
    assert {row[1] for row in rows} == {"film é"}
    assert [row[2] for row in rows] == segments.start_s.tolist()
    assert np.array_equal(np.array([row[3] for row in rows], np.float32), wide)

    frame = polars.read_parquet(path)
    assert frame["segment_id"].to_list() == segments.segment_id.tolist()
    assert np.array_equal(np.array(frame["embedding"].to_list(), np.float32), wide)
    assert frame["luma"].to_numpy().tobytes() == segments.quality["luma"].tobytes()


@pytest.mark.parametrize("counts", [(), (3,), (2, 1, 4)])
def test_the_segments_of_each_video(counts: tuple[int, ...]) -> None:
    every = some(sum(counts))
    names = np.repeat(np.array([f"v{n}" for n in range(len(counts))], object), counts)
    every = dataclasses.replace(every, video_id=names.astype(object))
    parts = list(every.by_video())
    assert [(str(part.video_id[0]), len(part)) for part in parts] == [(f"v{n}", c) for n, c in enumerate(counts)]
    assert [i for part in parts for i in part.segment_id.tolist()] == every.segment_id.tolist()
