"""Kinds of index: arithmetic against FAISS's own bytes, and the most exact that fits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nightreel.extract.errors import UsageError
from nightreel.index.kinds import FLAT_BELOW, check_recall, choose_kind, kinds, list_count, overhead, parse_memory
from nightreel.index.train import sample_size, trained

DIM = 256
NAMES = ["Flat", "IVF,fp16", "IVF,RaBitQ4", "IVF,RaBitQ", "PCA128,IVF,RaBitQ", "PCA64,IVF,RaBitQ"]


def serialised(index: object) -> int:
    import faiss

    return len(faiss.serialize_index(index))


@pytest.mark.parametrize("place", range(len(NAMES)))
def test_bytes_a_vector_are_those_that_faiss_writes(place: int) -> None:
    kind = kinds(DIM)[place]
    vectors = np.random.default_rng(0).normal(size=(1200, DIM)).astype(np.float32)
    index = trained(kind, 16, vectors[:400], "cpu")  # 16 lists
    empty = serialised(index)
    index.add(vectors[:200])
    few = serialised(index)
    index.add(vectors[200:])
    assert serialised(index) - few == 1000 * kind.bytes
    assert few - empty == pytest.approx(200 * kind.bytes, abs=16 * 16)  # and what an inverted list needs
    if kind.lists:
        more = trained(kind, 256, vectors[:400], "cpu")  # 64 lists
        added = serialised(more) - empty
        kept = DIM if "|" not in kind.code else int(kind.code[3:].split("|")[0])
        assert added == pytest.approx(48 * 4 * kept, rel=0.1)
        assert overhead(kind, 256, DIM) - overhead(kind, 16, DIM) == 48 * 4 * DIM >= added * 0.9


def test_the_table_for_512_dimensions() -> None:
    assert [kind.bytes for kind in kinds(512)] == [2048, 1032, 284, 80, 48, 32]
    assert [kind.name for kind in kinds(DIM)] == NAMES
    assert [kind.name for kind in kinds(64)] == NAMES[:4]  # too few to leave any out
    assert [kind.exact for kind in kinds(512)] == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("memory", "name"),
    [
        ("4GB", "IVF,fp16"),
        ("1.05GB", "IVF,fp16"),  # 1032 MB and 8.4 MB of centroids
        ("1.03GB", "IVF,RaBitQ4"),
        ("293MB", "IVF,RaBitQ4"),
        ("292MB", "IVF,RaBitQ"),
        ("88MB", "PCA256,IVF,RaBitQ"),
        ("50MB", "PCA128,IVF,RaBitQ"),
        ("1MB", "PCA128,IVF,RaBitQ"),  # none fits: the smallest
    ],
)
def test_the_most_exact_kind_of_a_million_that_fits(memory: str, name: str) -> None:
    assert choose_kind(1_000_000, 512, parse_memory(memory)).name == name


def test_the_archive_that_the_default_memory_is_for() -> None:
    assert choose_kind(18_000_000, 512, parse_memory("4GB")).name == "IVF,RaBitQ"  # 1.5 GB; RaBitQ4 would be 5.1
    assert choose_kind(18_000_000, 512, parse_memory("6GB")).name == "IVF,RaBitQ4"
    assert choose_kind(18_000_000, 512, parse_memory("20GB")).name == "IVF,fp16"


def test_few_vectors_are_kept_exactly_whatever_the_memory() -> None:
    assert choose_kind(FLAT_BELOW - 1, 512, 1.0).name == "Flat"
    assert choose_kind(0, 512, 1.0).name == "Flat"
    assert choose_kind(FLAT_BELOW, 512, 1e12).lists


@given(st.integers(FLAT_BELOW, 10**9), st.integers(8, 2048), st.floats(1, 1e13), st.floats(1, 1e13))
def test_more_memory_is_never_less_exact(count: int, dim: int, one: float, other: float) -> None:
    little, much = sorted([one, other])
    ladder = kinds(dim)
    small, large = choose_kind(count, dim, little), choose_kind(count, dim, much)
    assert ladder.index(small) >= ladder.index(large)
    for kind, memory in ((small, little), (large, much)):
        fits = kind.bytes * count + overhead(kind, count, dim) <= memory
        assert fits or kind == ladder[-1]


@pytest.mark.parametrize("dim", [64, 100, 512, 768])
@pytest.mark.parametrize("count", [1000, 1_000_000, 18_000_000])
def test_faiss_knows_every_factory(dim: int, count: int) -> None:
    import faiss

    for kind in kinds(dim):
        index = faiss.index_factory(dim, kind.factory(count), faiss.METRIC_INNER_PRODUCT)
        assert index.d == dim
        lists = faiss.try_extract_index_ivf(index)
        assert (lists is not None) == kind.lists
        if lists is not None:
            graph = isinstance(faiss.downcast_index(lists.quantizer), faiss.IndexHNSW)
            assert (lists.nlist, graph) == (list_count(count), count == 18_000_000)


def test_lists_and_samples() -> None:
    assert [list_count(n) for n in (0, 100, 100_000, 1_000_000, 18_000_000)] == [16, 32, 1024, 4096, 16384]
    flat, lists = kinds(512)[:2]
    assert (sample_size(10**6, flat), sample_size(10**6, lists), sample_size(500, lists)) == (0, 48 * 4096, 500)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4e9), ("500 MB", 5e8), ("2GiB", 2**31), ("1.5g", 1.5e9), (" 7 kb ", 7e3), ("1TiB", 2**40), ("12", 12)],
)
def test_memory_as_people_write_it(text: str, size: float) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["", "GB", "0GB", "-1GB", "4 potatoes", "4GB!", "1e9", "nan", "4,5GB", "4G B", "inf"])
def test_memory_that_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size above nothing, for example 4GB"):
        parse_memory(text)


def test_recall_is_a_share() -> None:
    assert (check_recall(1), check_recall(0.95)) == (1, 0.95)
    for wrong in (0, -0.1, 1.01, 95, float("nan")):
        with pytest.raises(UsageError, match="a share above 0 and at most 1"):
            check_recall(wrong)
