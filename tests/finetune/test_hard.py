"""Hard negatives against a plain search over all frames, and what must not be among them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from nightreel.finetune.captions import hard as hard_module
from nightreel.finetune.captions.collate import collate_windows
from nightreel.finetune.captions.examples import Examples, build_examples
from nightreel.finetune.captions.hard import neighbours
from nightreel.finetune.captions.pairs import Pair
from nightreel.index.build import build_index
from nightreel.index.open import open_index

DIM, FRAMES = 8, 7


def random_text(texts: Sequence[str]) -> np.ndarray:
    vectors = np.random.default_rng(1).normal(size=(len(texts), DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def films(make_archive: Any) -> tuple[Any, Examples]:
    """10 videos of 7 random frames, and pairs of the first 8: of all of each, and of 3 frames."""
    archive = make_archive(dim=DIM)
    rng = np.random.default_rng(0)
    for number in range(10):
        archive.add(f"{number}.mp4", rng.normal(size=(FRAMES, DIM)).astype(np.float32))
    build_index(archive.store, "toy")
    whole = [Pair(f"{n}", None, None, f"all of film number {n}") for n in range(8)]
    part = [Pair(f"{n}", 1, 4, f"some of film number {n}") for n in range(8)]
    return open_index(archive.store, "toy"), build_examples(archive.store, "toy", whole + part, random_text)


def by_hand(examples: Examples, pair: int, barred: set[int], k: int) -> list[tuple[int, int]]:
    """(video, frame) of the best frame of each other video, best first."""
    text, best = examples.text([pair])[0], []
    for video in set(examples.video.tolist()) - barred:
        scores = examples.stored.of(examples.videos[video].video_id).astype(np.float32) @ text
        best.append((-float(scores.max()), video, int(scores.argmax())))
    return [(video, frame) for _, video, frame in sorted(best)[:k]]


@pytest.mark.parametrize(("first", "rare"), [(1, 8), (hard_module.AT_FIRST, 8), (1, 1), (hard_module.AT_FIRST, 1)])
def test_they_are_the_nearest_of_other_videos(
    films: tuple[Any, Examples], monkeypatch: pytest.MonkeyPatch, first: int, rare: int
) -> None:
    monkeypatch.setattr(hard_module, "AT_FIRST", first)
    monkeypatch.setattr(hard_module, "RARE", rare)  # 1: what has no pairs is masked, not dropped
    index, examples = films
    hard = neighbours(index, examples, 3)
    assert hard.there.all()
    for pair in range(len(examples)):
        own = int(examples.video[pair])
        expected = by_hand(examples, pair, {own}, 3)
        assert hard.video[pair].tolist() == [video for video, _ in expected]
        length = int(examples.high[pair] - examples.low[pair])
        for (_, frame), low, high in zip(expected, hard.low[pair], hard.high[pair], strict=True):
            assert high - low == length
            assert low == min(max(frame - length // 2, 0), FRAMES - length)
            assert low <= frame < high
        assert np.all(np.diff(hard.score[pair]) <= 0)


def test_only_videos_with_pairs_here_are_looked_at(films: tuple[Any, Examples]) -> None:
    index, examples = films
    part = examples.subset([0, 1, 2, 8])
    hard = neighbours(index, part, 5)
    assert hard.there.sum(axis=1).tolist() == [2, 2, 2, 2]
    assert set(hard.video[hard.there].tolist()) == set(part.video.tolist())
    assert hard.score[0, 2] == -np.inf


def test_copies_and_videos_of_which_the_same_is_said_are_none(films: tuple[Any, Examples]) -> None:
    index, examples = films
    ids = [video.video_id for video in examples.videos]
    a, b, c = (int(examples.video[pair]) for pair in (0, 1, 2))
    copies = [{"a": {"video_id": ids[a]}, "b": {"video_id": ids[b]}}]
    hard = neighbours(index, examples, 20, copies=copies)
    assert hard.there[0].sum() == 6
    assert not {a, b} & set(hard.video[0][hard.there[0]].tolist())
    same = [
        Pair(p.video, p.start_s, p.end_s, "The dog runs." if n in (0, 2) else p.caption)
        for n, p in enumerate(examples.pairs)
    ]
    said = Examples(**{**examples.__dict__, "pairs": tuple(same)})
    hard = neighbours(index, said, 20)
    assert not {a, c} & set(hard.video[0][hard.there[0]].tolist())
    assert c in hard.video[8][hard.there[8]].tolist()  # another caption of the same video


def test_they_go_into_a_batch(films: tuple[Any, Examples]) -> None:
    index, examples = films
    hard = neighbours(index, examples.subset([0, 1, 2, 8]), 2)
    frames, mask, _ = collate_windows(examples, *hard.of([3, 0]))
    assert frames.shape == (4, FRAMES, DIM)
    assert mask.sum(1).tolist() == [3, 3, 7, 7]


def test_what_is_not_in_the_index_is_not_found(films: tuple[Any, Examples], make_archive: Any) -> None:
    _, examples = films
    other = make_archive(name="b.reel", dim=DIM)
    other.add("0.mp4", np.random.default_rng(0).normal(size=(FRAMES, DIM)).astype(np.float32))
    build_index(other.store, "toy")
    hard = neighbours(open_index(other.store, "toy"), examples, 2)
    assert hard.there.sum(1).max() <= 1
