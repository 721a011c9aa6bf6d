"""A part's table: through Arrow and back, whose rows are whose, and which of them count."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.extract.segment import segment_ids
from nightreel.index.part import Part, Table


def table_of(rows: list[int], bad: list[int] | None = None) -> Table:
    """Videos v0, v1, ... of these numbers of segments; two windows of the whole of each."""
    first = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
    windows = np.arange(len(rows) + 1, dtype=np.int64) * 2
    names = [f"v{i}" for i in range(len(rows))]
    return Table(
        names,
        [f"file{i}" for i in range(len(rows))],
        np.linspace(0, 1, len(rows)).astype(np.float32),
        {"segment": first, "16s": windows},
        {"segment": np.array(bad or [], np.int64), "16s": np.zeros(0, np.int64)},
    )


NOW = {"v0": "file0", "v1": "another", "v3": "file3", "v9": "file9"}  # v1 was replaced, v2 removed, v9 is new


def part_of(table: Table, now: dict[str, str]) -> Part:
    return Part({}, table, {}, np.zeros((table.rows(), 2)), {}, table.alive(now))


@given(st.lists(st.integers(1, 9), max_size=8), st.data())
def test_a_table_through_arrow_and_back(rows: list[int], data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, max(0, sum(rows) - 1)), max_size=sum(rows))) if rows else set()
    table = table_of(rows, sorted(bad))
    again = Table.from_arrow(table.to_arrow())
    assert (again.video_id, again.version) == (table.video_id, table.version)
    assert np.array_equal(again.hubness, table.hubness)
    assert list(again.first) == ["segment", "16s"]
    for name in again.first:
        assert np.array_equal(again.first[name], table.first[name])
        assert np.array_equal(again.left_out[name], table.left_out[name])


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.drop_columns(["version"]),
        lambda t: t.drop_columns(["rows segment"]),
        lambda t: t.drop_columns(["left out 16s"]),
        lambda t: t.append_column("rows ../x", pa.array([1, 1])),
        lambda t: pa.table({"x": [1]}),
    ],
)
def test_another_table_is_refused(change: Callable[[pa.Table], pa.Table]) -> None:
    with pytest.raises((KeyError, ValueError)):
        Table.from_arrow(change(table_of([2, 3]).to_arrow()))


def test_what_counts_is_what_the_archive_says() -> None:
    table = table_of([2, 3, 4, 5], bad=[1, 4])  # row 1 is of v0, row 4 of v1
    assert table.alive(NOW).tolist() == [True, False, False, True]
    assert table.living(NOW) == ["v0", "v3"]
    assert (table.rows(), table.dead(NOW), table.dead({})) == (14, 7, 14)
    assert table.counts(NOW) == {"segment": 2 + 5 - 1, "16s": 4}
    assert table.counts({}) == {"segment": 0, "16s": 0}
    part = part_of(table, NOW)
    living = part.living("segment")
    assert living is not None
    assert np.flatnonzero(living).tolist() == [0, 9, 10, 11, 12, 13]
    assert part.count() == table.counts(NOW)["segment"]
    assert part.count("16s") == 4
    assert part.places() == {"v0": 0, "v3": 3}


def test_where_all_counts_there_is_no_mask() -> None:
    now = {f"v{i}": f"file{i}" for i in range(3)}
    assert part_of(table_of([1, 2, 3]), now).living("segment") is None
    one_bad = part_of(table_of([1, 2, 3], bad=[0]), now)
    assert one_bad.living("segment").tolist() == [False] + [True] * 5  # type: ignore[union-attr]
    assert one_bad.living("16s") is None


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_rows_ids_and_owners_are_inverse(rows: list[int]) -> None:
    part = part_of(table_of(rows), {})
    every = np.arange(sum(rows))
    ids = np.concatenate([segment_ids(f"v{i}", count) for i, count in enumerate(rows)])
    assert np.array_equal(part.ids_of(every), ids)
    assert np.array_equal(part.owner("segment", every), np.repeat(np.arange(len(rows)), rows))
    assert np.array_equal(part.owner("16s", np.arange(2 * len(rows))), np.repeat(np.arange(len(rows)), 2))
    shuffled = np.random.default_rng(0).permutation(every)
    assert np.array_equal(part.rows_of(ids[shuffled]), shuffled)


def test_ids_of_others_have_no_row_here() -> None:
    part = part_of(table_of([2, 3]), {})
    others = np.concatenate([segment_ids("w", 3), segment_ids("v0", 5)[2:], segment_ids("v1", 2)])
    assert part.rows_of(others).tolist() == [2, 3]
    assert part.rows_of(np.array([0, -1, 2**63 - 1])).tolist() == []
    empty = part_of(table_of([]), {})
    assert empty.rows_of(others).tolist() == []
    assert empty.ids_of(np.zeros(0, np.int64)).tolist() == []


def small_part() -> tuple[Part, np.ndarray]:
    import faiss

    vectors = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    flat = faiss.IndexFlatIP(8)
    flat.add(vectors)
    lists = faiss.index_factory(8, "IVF16,SQfp16", faiss.METRIC_INNER_PRODUCT)
    lists.cp.min_points_per_centroid = 1
    lists.train(vectors)
    lists.add(vectors)
    table = Table(["v"], ["f"], np.zeros(1, np.float32), {"segment": np.array([0, 64])}, {"segment": np.zeros(0, int)})
    entry = {"levels": {"segment": {"probes": 1}, "4s": {"probes": 1}}}
    return Part(entry, table, {"segment": flat, "4s": lists}, np.zeros((64, 2)), {}, np.array([True])), vectors


def test_masks_hold_bit_for_bit_and_few_rows_read_more_lists() -> None:
    part, vectors = small_part()
    queries = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    for row in range(64):
        mask = np.zeros(64, bool)
        mask[row] = True
        for level in (
            "segment",
            "4s",
        ):  # one in 64 is allowed: with the tuned single list of 16 most would find nothing
            scores, rows = part.search(level, queries, 3, mask)
            assert rows[:, 0].tolist() == [row] * 5
            assert (rows[:, 1:] == -1).all()
            assert np.allclose(scores[:, 0], queries @ vectors[row], atol=2e-2)
    one = part.search("4s", queries, 64)[1]
    assert (one >= 0).sum() < (part.search("4s", queries, 64, probes=16)[1] >= 0).sum() == 5 * 64
    assert part.search("segment", queries, 1000)[1].shape == (5, 64)
    assert (part.search("segment", queries, 3, np.zeros(64, bool))[1] == -1).all()
