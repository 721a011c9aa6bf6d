"""What the tests of the index share: one thread, archives of made vectors, kinds of index that come into play early."""

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer

FLAT_BELOW = 400
sys.modules["index_helpers"] = sys.modules[__name__]  # for fixtures of a module: `fill`, `footage`


@pytest.fixture(scope="session", autouse=True)
def _one_faiss_thread() -> Iterator[None]:
    """Small searches on two threads wait for one another."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture
def early_lists(monkeypatch: pytest.MonkeyPatch) -> int:
    """Inverted lists from 400 vectors on, not from 100 000; gives that number."""
    for module in ("kinds", "build", "write"):
        monkeypatch.setattr(f"nightreel.index.{module}.FLAT_BELOW", FLAT_BELOW)
    return FLAT_BELOW


Clustered = Callable[..., Any]


@pytest.fixture
def clustered(make_archive: Callable[..., Any]) -> Clustered:
    """clustered(videos, frames, dim): an archive "rand" of videos that each wander about a direction of their own."""

    def make(videos: int = 25, frames: int = 120, dim: int = 64, seed: int = 0, name: str = "a.reel") -> Any:
        archive = make_archive("rand", name=name, dim=dim, spec="toy", has_text=False)
        rng = np.random.default_rng(seed)
        fill(archive, {f"{n}.mp4": footage(rng, frames, dim) for n in range(videos)})
        return archive

    return make


def footage(rng: np.random.Generator, frames: int, dim: int) -> np.ndarray:
    """(T, D) vectors about a direction, and that about one which all share; some dimensions say more, as in embeddings."""
    scale = 1 / (1 + np.arange(dim) / 16)
    return np.asarray(scale * (0.5 + 2.0 * rng.normal(size=dim) + 1.5 * rng.normal(size=(frames, dim))))


def fill(archive: Any, videos: Mapping[str, np.ndarray]) -> list[str]:
    """Commit videos of vectors (T, D), by name, one a second, all at once; gives their ids."""
    archives, writer, ids = sys.modules["archives"], Writer(archive.store), []
    for name, vectors in videos.items():
        ids.append(archives.id_of(name))
        row = VideoRow(ids[-1], f"/films/{name}", "done", duration_s=float(len(vectors)))
        writer.add(row, {archive.slug: archives.segments_for(ids[-1], vectors)})
    writer.commit()
    return ids


@pytest.fixture
def more_footage() -> Callable[..., list[str]]:
    """more_footage(archive, names, frames): commit videos of random vectors to an archive; gives their ids."""

    def add(archive: Any, names: list[str], frames: int = 120, seed: int = 1) -> list[str]:
        rng, dim = np.random.default_rng(seed), archive.store.encoders()[archive.slug]["dim"]
        return fill(archive, {name: footage(rng, frames, dim) for name in names})

    return add


Stored = Callable[[Any], tuple[np.ndarray, np.ndarray]]


@pytest.fixture
def stored() -> Stored:
    """stored(archive): ids (S,) and vectors (S, D) of all visible segments: what brute force works on."""

    def read(archive: Any) -> tuple[np.ndarray, np.ndarray]:
        batches = list(archive.store.segments(archive.slug))
        vectors = np.concatenate([b.embedding for b in batches]).astype(np.float32)
        return np.concatenate([b.segment_id for b in batches]), vectors

    return read


@pytest.fixture
def queries() -> Callable[[np.ndarray, int], np.ndarray]:
    """queries(vectors, count): points near stored vectors (S, D), unit norm, none of them stored."""

    def make(vectors: np.ndarray, count: int) -> np.ndarray:
        rng = np.random.default_rng(99)
        rows = vectors[rng.permutation(len(vectors))[:count]]
        noise = rng.normal(size=rows.shape)
        rows = rows + 0.5 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)

    return make
