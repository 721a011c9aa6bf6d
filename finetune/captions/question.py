"""What held-out captions are asked: which video, or which piece of footage?

Who searches for videos wants the first; whole videos are ranked then, as `search --by video` does. Where most videos have many
captions of spans, the second is what they are about, and few videos would make the first too easy. So: pieces, where there are
`MANY` different ones to a video or more. The two can differ: on QVHighlights an adapter that finds videos better finds moments
neither better nor worse.
"""

from dataclasses import replace

import numpy as np

from .examples import Examples

MANY = 3.0


def asks_for_videos(examples: Examples) -> bool:
    """Whether captions are asked which video they are of."""
    pieces, _ = examples.items()
    return len(pieces) < MANY * len(np.unique(examples.video))


def of_videos(examples: Examples) -> Examples:
    """The same captions, each of the whole of its video."""
    videos = [examples.videos[number] for number in examples.video.tolist()]
    high = np.array([len(video.start_s) for video in videos], np.int64)
    span = np.array([(0.0, float(video.end_s.max())) for video in videos])
    return replace(examples, low=np.zeros_like(high), high=high, span=span)
