"""Hard negatives: footage of other videos that the archive's index takes for what a caption says.

    hard = neighbours(features.index, parts.train, k=4, copies=parts.copies)
    video = encode(*collate_windows(parts.train, *hard.of(rows)))                        (B * K, D)
    hard_video = video.reshape(B, K, D) * torch.from_numpy(hard.there[rows])[..., None]  zeros where there is none: info_nce

For each caption its nearest segments by the index, of each other video the best one, with as many frames around it as the
pair has. Left out, since they are no negatives: the pair's own video, videos that share footage with it, and videos of which
a caption says the same. Only videos that have pairs here are looked at: what is held out stays unseen, and so does the rest.

It does not know losses. What the index finds is what the untrained features find; hard negatives that training makes are
not mined again.

Costs of one core 0.75 ms a caption in 40 000 segments of 512 numbers (exact index), 0.4 ms in 100 000 (IVF), so none are
kept for another run.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...extract.segment import ROW_BITS, segment_ids, video_number
from ...index.open import VectorIndex
from ..training.loss import caption_ids
from .examples import Examples
from .footage import Rows
from .parts import alike

AT_FIRST = 16  # segments asked for per negative wanted; 8 times as many where they are not enough
MOST = 20_000  # of one caption: where so many are all of a video or two, there are fewer negatives
RARE = 8  # where one of so many segments at most is of a video with pairs, the others are masked
MOST_HITS = 4_000_000  # of the captions that are searched at once

Hit = tuple[float, int, int]  # score, video, row


@dataclass(frozen=True)
class Hard:
    """Attributes:
    video, low, high: (N, K) stretches, rows [low, high) of `examples.videos[video]`, the nearest first; 0, 0, 1 for none.
    score: (N, K) float32, of the segment in the middle of it; -inf for none.
    """

    video: Rows
    low: Rows
    high: Rows
    score: npt.NDArray[np.float32]

    @property
    def there(self) -> npt.NDArray[np.bool_]:
        """(N, K) which are some."""
        return np.isfinite(self.score)

    def of(self, rows: Sequence[int] | Rows) -> tuple[Rows, Rows, Rows]:
        """(B * K,) video, low, high of these pairs, a pair's K one after another."""
        at = np.asarray(rows, np.int64)
        return self.video[at].reshape(-1), self.low[at].reshape(-1), self.high[at].reshape(-1)


def neighbours(index: VectorIndex, examples: Examples, k: int = 4, *, copies: Sequence[Mapping[str, Any]] = ()) -> Hard:
    """The k nearest other videos' stretches of each of N pairs; fewer where there are not so many.

    Args:
        index: of the features that the examples are of; videos that are not in it are not found.
        copies: pairs of videos with the same footage, as `split_examples` found them.
    """
    group = dict(zip(examples.video.tolist(), alike(examples, copies).tolist(), strict=True))
    said = caption_ids([pair.caption for pair in examples.pairs])
    barred: dict[int, set[int]] = {}  # caption -> groups of the videos of which it is said
    for caption, video in zip(said, examples.video.tolist(), strict=True):
        barred.setdefault(caption, set()).add(group[video])
    found: list[list[Hit]] = [[] for _ in said]
    left, wanted = np.arange(len(examples)), AT_FIRST * k
    of_number = {video_number(examples.videos[video].video_id): video for video in group}
    every = np.concatenate([_ids(examples, video) for video in group])
    # With a mask FAISS compares one vector at a time, 6 times as slowly as without; what is of other videos is dropped below.
    allowed = every if len(every) * RARE < index.size else None
    most = min(index.size, MOST)
    while len(left):
        for pair, hits in _nearest(index, examples, left, min(wanted, most), allowed, of_number):
            found[pair] = _of_others(hits, group, barred[said[pair]], k)
        left = left[[len(found[pair]) < k for pair in left.tolist()]]
        if wanted >= most:
            break
        wanted *= 8
    return _windows(examples, found, k)


def _ids(examples: Examples, video: int) -> npt.NDArray[np.int64]:
    return segment_ids(examples.videos[video].video_id, len(examples.videos[video].start_s))


def _nearest(
    index: VectorIndex, examples: Examples, pairs: Rows, count: int, allowed: Rows | None, of_number: Mapping[int, int]
) -> Iterator[tuple[int, Iterator[Hit]]]:
    """(pair, the segments nearest to its caption, best first)."""
    captions = np.unique(examples.caption[pairs])
    size = max(1, MOST_HITS // count)
    for low in range(0, len(captions), size):
        block = captions[low : low + size]
        scores, ids = index.search_many(examples.texts[block], count, allowed)
        for pair in pairs[np.isin(examples.caption[pairs], block)].tolist():
            at = int(np.searchsorted(block, examples.caption[pair]))
            numbers, rows = ids[at] >> ROW_BITS, ids[at] & ((1 << ROW_BITS) - 1)  # of no hit: -1
            videos = [of_number.get(number) for number in numbers.tolist()]
            hits = zip(scores[at].tolist(), videos, rows.tolist(), strict=True)
            yield pair, ((score, video, row) for score, video, row in hits if video is not None)


def _of_others(hits: Iterable[Hit], group: Mapping[int, int], barred: Collection[int], k: int) -> list[Hit]:
    """The best of each video, at most k, without those of barred groups."""
    best: dict[int, Hit] = {}
    for hit in hits:
        if len(best) == k:
            break
        if group[hit[1]] not in barred:
            best.setdefault(hit[1], hit)
    return list(best.values())


def _windows(examples: Examples, found: Sequence[Sequence[Hit]], k: int) -> Hard:
    """As many frames around each found one as the pair has, or the whole video."""
    video, low, score = (np.zeros((len(found), k), kind) for kind in (np.int64, np.int64, np.float32))
    high = np.ones((len(found), k), np.int64)
    score[:] = -np.inf
    for pair, hits in enumerate(found):
        length = int(examples.high[pair] - examples.low[pair])
        for place, (of_hit, which, row) in enumerate(hits):
            count = len(examples.videos[which].start_s)
            first = max(0, min(row - length // 2, count - length))
            video[pair, place], score[pair, place] = which, of_hit
            low[pair, place], high[pair, place] = first, min(first + length, count)
    return Hard(video, low, high, score)
