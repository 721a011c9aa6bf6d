"""A batch of videos: some frames of each pair's span, padded, ready for a head.

    frames, mask, clips = collate(examples, rows)        at equal steps, always the same ones (CLIP4Clip)
    frames, mask, clips = collate(examples, rows, rng)   one at random of each of T parts (TSN), to train with

Frames come as they are stored (float16, of unit norm) and leave as float32. Which of a pair's frames are taken follows
CLIP4Clip (Luo et al. 2021, `slice_framepos` 2: from the first to the last at equal steps) and TSN (Wang et al. 2016, section
3.1: one from each of T segments of equal length), on stored frames instead of decoded ones.

Costs of one core, for 512 pairs of 32 frames of 512 numbers, 7 ms where memory for the result is there (7 GB/s read and
written, where copying has 9), and 25 to 50 where the operating system must find these 34 MB; 1.2 ms for 64 pairs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .examples import Examples
from .footage import Footage, Rows, Stored

Batch = tuple[Tensor, Tensor, Tensor | None]


def collate(examples: Examples, rows: Sequence[int] | Rows, rng: np.random.Generator | None = None) -> Batch:
    """Frames (B, T, D) float32, mask (B, T) bool, and clips (B, T, C) float32 or None, of these pairs.

    T is what the longest of them needs, at most `examples.max_frames`. Where the mask is False, frames and clips are 0; so
    are clips where none lies over a frame.

    Args:
        rows: (B,) of the pairs.    rng: draws which frames; None takes them at equal steps.
    """
    at = np.asarray(rows, np.int64)
    return collate_windows(examples, examples.video[at], examples.low[at], examples.high[at], rng)


def collate_windows(
    examples: Examples, video: Rows, low: Rows, high: Rows, rng: np.random.Generator | None = None
) -> Batch:
    """As `collate`, of any stretches: rows [low, high) of `examples.videos[video]`, each (B,) with low < high.

    Raises:
        Damaged: a file of the archive cannot be read.
    """
    places, mask = frame_places(high - low, examples.max_frames, rng)
    places += low[:, None]
    counts = mask.sum(axis=1)
    of = [examples.videos[number] for number in video.tolist()]
    # Pairs of one file one after another: each file is mapped once a batch, however many there are.
    order = np.argsort(video, kind="stable").tolist()
    for row in order:
        there = of[row].there
        if there is not None:
            mask[row, : counts[row]] = there[places[row, : counts[row]]]
            if not mask[row].any() and there[low[row] : high[row]].any():
                places[row, 0], mask[row, 0] = low[row] + there[low[row] : high[row]].argmax(), True
    frames = _gathered(examples.stored, of, places, mask, order)
    clips = None
    if examples.clips is not None:
        over = np.full(places.shape, -1, np.int64)
        for row in order:
            joined = of[row].over
            if joined is not None:
                over[row, : counts[row]] = joined[places[row, : counts[row]]]
        clips = _gathered(examples.clips, of, over, mask & (over >= 0), order)
    return frames, torch.from_numpy(mask), clips


def frame_places(
    counts: Rows, max_frames: int, rng: np.random.Generator | None = None
) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Which frames of spans are taken, (B, T) from 0 in time order, and (B, T) which of these places are filled.

    All where there are at most T; else at equal steps from the first to the last, or with `rng` one at random of each of T
    parts. T is the most that is needed, up to `max_frames`; of one frame only, the middle is taken.

    Args:
        counts: (B,) frames of each span, at least 1.

    4 frames of 7: [0, 2, 4, 6]        with rng: one of 0, one of 1-2, one of 3-4, one of 5-6
    """
    size = int(min(max_frames, counts.max(initial=1)))
    step, count = np.arange(size), counts[:, None]
    if rng is not None:
        first, after = step * count // size, (step + 1) * count // size
        many = rng.integers(first, np.maximum(after, first + 1))
    else:
        many = step * (count - 1) // (size - 1) if size > 1 else (count - 1) // 2
    filled = step < count
    return np.where(count <= size, np.where(filled, step, 0), many), filled


def _gathered(
    stored: Stored, of: Sequence[Footage], places: Rows, mask: npt.NDArray[np.bool_], order: Sequence[int]
) -> Tensor:
    """(B, T, D) float32: rows of each video where the mask says so, else 0."""
    if not of:
        return torch.zeros(*places.shape, 0)
    size, dim = places.shape[1], stored.of(of[0].video_id).shape[1]
    out = torch.zeros(len(of), size, dim)
    whole: npt.NDArray[np.bool_] = np.all(mask, axis=1)
    # What is gathered is still in the cache when it is widened, which torch does 5 times as fast as numpy.
    halves = np.empty((size, dim), np.float16)
    widened = torch.from_numpy(halves)
    for row in order:
        vectors = stored.of(of[row].video_id)
        if whole[row]:
            vectors.take(places[row], axis=0, out=halves, mode="clip")
            out[row].copy_(widened)
        elif mask[row].any():
            out[row, torch.from_numpy(mask[row])] = torch.from_numpy(vectors[places[row, mask[row]]]).float()
    return out
