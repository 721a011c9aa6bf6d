"""Which video, or which moment: by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
from nightreel.finetune.captions.examples import build_examples
from nightreel.finetune.captions.pairs import Pair
from nightreel.finetune.captions.question import asks_for_videos, of_videos


def embed(texts: Any) -> np.ndarray:
    return np.tile(np.eye(4, dtype=np.float32)[0], (len(texts), 1))


def test_many_spans_of_a_video_ask_for_moments(make_archive: Callable[..., Any]) -> None:
    archive = make_archive()
    archive.add("a.mp4", np.eye(4)[[0, 1, 2, 3, 0, 1]])
    archive.add("b.mp4", np.eye(4)[[3, 2, 1]])
    spans = [("a.mp4", 0.0, 2.0), ("a.mp4", 2.0, 4.0), ("a.mp4", 4.0, 6.0), ("b.mp4", 0.0, 1.0), ("b.mp4", 1.0, 3.0)]
    pairs = [Pair(video, start, end, f"{video} {start}") for video, start, end in spans]
    examples = build_examples(archive.store, "toy", pairs, embed)
    assert asks_for_videos(examples)  # 5 pieces of 2 videos
    assert not asks_for_videos(examples.subset([0, 1, 2]))  # 3 of one
    assert not asks_for_videos(
        build_examples(archive.store, "toy", [*pairs, Pair("b.mp4", 2.0, 3.0, "more")], embed)
    )  # 6 of 2
    whole = of_videos(examples)
    assert (whole.low.tolist(), whole.high.tolist()) == ([0] * 5, [6, 6, 6, 3, 3])
    assert whole.span.tolist() == [[0, 6]] * 3 + [[0, 3]] * 2
    assert len(whole.items()[0]) == 2
    assert whole.pairs == examples.pairs
