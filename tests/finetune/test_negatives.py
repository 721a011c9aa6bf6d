"""VideoCLIP's recipe: spans around a caption's moment, batches of videos alike, and what the index mistakes."""

from typing import Any

import numpy as np
import pytest
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.finetune.captions.examples import Examples, build_examples
from nightreel.finetune.captions.pairs import Pair
from nightreel.finetune.negatives import VideoClip, means
from nightreel.search.archive import Archive

WORDS = {f"{word}{number}": word for word in ("red", "blue") for number in range(6)}
NAMES = list(WORDS)


@pytest.fixture
def films(make_archive: Any) -> Any:
    """Six red videos of 40 s and six blue ones."""
    archive = make_archive()
    for name, word in WORDS.items():
        archive.add(f"{name}.mp4", [word] * 39 + ["green"])
    return archive


def examples(archive: Any, *, whole: bool = False) -> Examples:
    spans = (None, None) if whole else (10.0, 12.0)
    pairs = [Pair(f"{n}.mp4", *spans, f"{word} {n}", None, None, 1.0, "line 1") for n, word in WORDS.items()]
    return build_examples(archive.store, "toy", pairs, lambda texts: ToyEncoder().encode_text(texts), max_frames=8)


def test_spans_are_drawn_around_the_captions(films: Any) -> None:
    pairs = examples(films)
    recipe, draw = VideoClip(pairs), np.random.default_rng(0)
    drawn = [recipe.drawn([0, 3], draw).span for _ in range(30)]
    for span in drawn:
        assert (span[:, 0] < 12).all()
        assert (span[:, 1] > 10).all()
    assert np.ptp([span[0, 1] - span[0, 0] for span in drawn]) > 5
    assert recipe.drawn([0, 3], draw).video.tolist() == pairs.video[[0, 3]].tolist()


def test_whole_videos_stay_whole(films: Any) -> None:
    pairs = examples(films, whole=True)
    drawn = VideoClip(pairs).drawn([1, 2], np.random.default_rng(0))
    np.testing.assert_array_equal(drawn.span, pairs.span[[1, 2]])


def test_batches_hold_every_pair_once_and_videos_alike_together(films: Any) -> None:
    pairs = examples(films)
    recipe = VideoClip(pairs)
    np.testing.assert_allclose(np.linalg.norm(means(pairs), axis=1), 1, atol=1e-5)
    together = 0
    for epoch in range(20):
        batches = recipe.batches(3, 5, epoch)
        assert sorted(np.concatenate(batches).tolist()) == list(range(12))
        assert [b.tolist() for b in batches] == [b.tolist() for b in recipe.batches(3, 5, epoch)]
        together += sum(len({WORDS[NAMES[i]] for i in b.tolist()}) == 1 for b in batches)
    assert together >= 30  # of 80, of which the last of each epoch are leftovers; at random 15


def test_hard_footage_is_of_other_videos(films: Any) -> None:
    Archive(films.root).build_index()
    pairs = examples(films)
    recipe = VideoClip(pairs, Archive(films.root).index)
    found = recipe.hard([0, 6])
    assert found is not None
    (frames, mask, clips), there = found
    assert (frames.shape[0], clips) == (there.numel(), None)
    assert there.any(1).all()
    assert mask.any(1).all()
    red = ToyEncoder().encode_text(["red"])[0]
    own = frames[: there.shape[1]][there[0].numpy()].numpy()
    assert (own[:, 0] @ red > 0.9).all()  # what the index takes for "red rose", in other videos
    assert VideoClip(pairs).hard([0]) is None
