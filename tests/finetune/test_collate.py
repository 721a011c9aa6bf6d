"""Batches: which frames are taken, against the definitions, and padding, against a plain loop."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.finetune.captions.collate import collate, collate_windows, frame_places
from nightreel.finetune.captions.examples import Examples
from nightreel.finetune.captions.footage import Footage
from nightreel.finetune.captions.pairs import Pair

D, C = 5, 3


class Kept:
    """`Stored` in memory."""

    def __init__(self, vectors: dict[str, np.ndarray]) -> None:
        self.vectors = vectors

    def of(self, video_id: str) -> np.ndarray:
        return self.vectors[video_id]


def made(counts: list[int], spans: list[tuple[int, int, int]], max_frames: int, rng: np.random.Generator) -> Examples:
    """Videos of `counts` frames, some without a direction, and pairs (video, low, high)."""
    frames = {str(v): rng.normal(size=(count, D)).astype(np.float16) for v, count in enumerate(counts)}
    clips = {str(v): rng.normal(size=(3, C)).astype(np.float16) for v in range(len(counts))}
    videos = []
    for v, count in enumerate(counts):
        there = rng.random(count) < 0.7 if v % 2 else None
        if there is not None:
            frames[str(v)][~there] = np.nan
        start = np.arange(float(count))
        videos.append(Footage(str(v), f"{v}.mp4", str(v), start, start + 1, there, rng.integers(-1, 3, count)))
    video, low, high = np.array(spans, np.int64).reshape(-1, 3).T.copy()
    n = len(spans)
    return Examples(
        tuple(videos), Kept(frames), Kept(clips), video, low, high, np.zeros((n, 2)), np.eye(1, D, dtype=np.float32),
        np.zeros(n, np.int64), np.ones(n, np.float32), tuple(Pair(str(v), None, None, "x") for v in video), max_frames,
    )  # fmt: skip


def test_which_frames_are_taken_by_hand() -> None:
    places, filled = frame_places(np.array([7, 2, 4]), 4)
    assert places.tolist() == [[0, 2, 4, 6], [0, 1, 0, 0], [0, 1, 2, 3]]
    assert filled.tolist() == [[True] * 4, [True, True, False, False], [True] * 4]
    assert frame_places(np.array([7, 2, 1]), 1)[0].tolist() == [[3], [0], [0]]
    assert frame_places(np.array([2, 1]), 32)[1].tolist() == [[True, True], [True, False]]
    assert frame_places(np.array([], np.int64), 32)[0].shape == (0, 1)


counts = st.lists(st.integers(1, 100), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(counts, st.integers(1, 40))
def test_equal_steps_are_those_of_clip4clip(lengths: list[int], most: int) -> None:
    places, filled = frame_places(np.array(lengths), most)
    for count, row, there in zip(lengths, places, filled, strict=True):
        taken = row[there].tolist()
        if count <= most:
            assert taken == list(range(count))
        elif most > 1:
            assert taken == [
                step * (count - 1) // (most - 1) for step in range(most)
            ]  # numpy.linspace(0, count - 1, most)


@settings(max_examples=80, deadline=None)
@given(counts, st.integers(1, 40), st.integers(0, 2**32))
def test_random_frames_come_one_from_each_part(lengths: list[int], most: int, seed: int) -> None:
    places, filled = frame_places(np.array(lengths), most, np.random.default_rng(seed))
    assert places.shape == filled.shape == (len(lengths), min(most, max(lengths)))
    for count, row, there in zip(lengths, places, filled, strict=True):
        assert there.sum() == min(count, most)
        taken = row[there].tolist()
        if count <= most:
            assert taken == list(range(count))
        else:
            assert all(at * count // most <= frame < (at + 1) * count // most for at, frame in enumerate(taken))


def test_every_frame_has_the_same_chance() -> None:
    rng = np.random.default_rng(0)
    drawn = np.concatenate([frame_places(np.array([8]), 4, rng)[0][0] for _ in range(2000)])
    share = np.bincount(drawn, minlength=8) / len(drawn)
    assert np.all(np.abs(share - 1 / 8) < 0.02)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_batch_is_what_a_plain_loop_makes(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    most, seed = data.draw(st.integers(1, 6)), data.draw(st.integers(0, 1000))
    spans = []
    for _ in range(data.draw(st.integers(1, 6))):
        video = data.draw(st.integers(0, len(lengths) - 1))
        low = data.draw(st.integers(0, lengths[video] - 1))
        spans.append((video, low, data.draw(st.integers(low + 1, lengths[video]))))
    examples = made(lengths, spans, most, np.random.default_rng(seed))
    rows = data.draw(st.lists(st.integers(0, len(spans) - 1), min_size=1, max_size=8))
    frames, mask, clips = collate(examples, rows, np.random.default_rng(seed))
    places, _ = frame_places((examples.high - examples.low)[rows], most, np.random.default_rng(seed))
    assert clips is not None
    assert frames.dtype == clips.dtype == torch.float32
    assert frames.shape == (*places.shape, D)
    assert clips.shape == (*places.shape, C)
    for at, row in enumerate(rows):
        video, low, high = spans[row]
        footage = examples.videos[video]
        taken = [low + int(place) for place in places[at, : min(high - low, most)]]
        assert all(low <= frame < high for frame in taken)
        usable = [footage.there is None or bool(footage.there[frame]) for frame in taken]
        if not any(usable) and footage.there is not None and footage.there[low:high].any():
            taken[0], usable[0] = low + int(np.flatnonzero(footage.there[low:high])[0]), True
        for place in range(places.shape[1]):
            there = place < len(taken) and usable[place]
            assert bool(mask[at, place]) == there
            frame = examples.stored.of(str(video))[taken[place]] if there else np.zeros(D)
            assert np.array_equal(frames[at, place].numpy(), frame.astype(np.float32))
            over = footage.over[taken[place]] if there and footage.over is not None else -1
            clip = examples.clips.of(str(video))[over] if over >= 0 and examples.clips else np.zeros(C)
            assert np.array_equal(clips[at, place].numpy(), clip.astype(np.float32))


def test_the_same_generator_gives_the_same_batch_and_none_always_the_same() -> None:
    examples = made([60], [(0, 0, 60)], 8, np.random.default_rng(0))
    one, two, other = (collate(examples, [0], np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(collate(examples, [0])[0], collate(examples, [0])[0])


def test_windows_are_any_stretches() -> None:
    examples = made([9, 1], [(0, 0, 9)], 4, np.random.default_rng(0))
    at = np.array([0, 0]), np.array([2, 8]), np.array([4, 9])
    frames, mask, _ = collate_windows(examples, *at)
    assert mask.tolist() == [[True, True], [True, False]]
    assert np.array_equal(frames[0].numpy(), examples.stored.of("0")[2:4].astype(np.float32))


def test_no_pairs_are_an_empty_batch() -> None:
    examples = made([3], [(0, 0, 3)], 4, np.random.default_rng(0))
    frames, mask, _ = collate(examples, [])
    assert len(frames) == len(mask) == 0


def test_views_of_an_archive_stay_as_they_are(colours: Any) -> None:
    from nightreel.extract.vectors import Vectors

    red = colours.store.find_video("red.mp4").video_id
    stored = Vectors(colours.store, "toy")
    before = stored.of(red).copy()
    dim = before.shape[1]
    start = np.arange(4.0)
    examples = Examples(
        (Footage(red, "red.mp4", "red", start, start + 1),), stored, None, np.zeros(1, np.int64), np.zeros(1, np.int64),
        np.full(1, 4), np.zeros((1, 2)), np.eye(1, dim, dtype=np.float32), np.zeros(1, np.int64),
        np.ones(1, np.float32), (Pair("red", None, None, "x"),), 4,
    )  # fmt: skip
    frames, _, _ = collate(examples, [0])
    frames += 1
    assert np.array_equal(stored.of(red), before)
    with pytest.raises(ValueError, match="read-only"):
        stored.of(red)[0] = 0
