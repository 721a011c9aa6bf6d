"""VideoCLIP's recipe for pairs of stored features: `finetune --recipe videoclip`.

    spans       each step a span anew around a moment of the caption's, 3 to 32 s long: temporally overlapping positives
    batches     of videos that look alike, so that what else is in the batch is hard to tell from the right one
    hard        for each caption, footage of other videos that the archive's index takes for what it says

Xu et al. 2021, "VideoCLIP" (arXiv 2109.14084), sections 3.2 and 3.3; `training/sampling.py` and `captions/hard.py` say how we
differ. The footage of `hard` is encoded without gradient: it moves captions, while batches move both sides.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..index.open import VectorIndex
from .captions.collate import collate_windows
from .captions.examples import Examples
from .captions.footage import Rows
from .captions.hard import neighbours
from .captions.parts import Copies
from .training.sampling import batches_by_neighbours, overlapping

HARD = 2  # per caption: with more the loss is about those that the index mistakes, not about the batch


class VideoClip:
    """Args: train: the pairs.    index: of their features; None for no `hard`.    copies: of footage, no negatives."""

    def __init__(self, train: Examples, index: VectorIndex | None = None, copies: Copies = ()) -> None:
        self._train = train
        self._hard = None if index is None else neighbours(index, train, HARD, copies=copies)
        self._means = means(train)

    def batches(self, batch: int, seed: int, epoch: int) -> list[Rows]:
        """All rows once, in batches of videos that look alike."""
        return batches_by_neighbours(self._train.video, self._means, batch, seed * 1_000_003 + epoch)

    def drawn(self, rows: Sequence[int], draw: np.random.Generator) -> Examples:
        """These pairs with spans drawn anew; those of whole videos stay so."""
        some = self._train.subset(list(rows))
        span = some.span.copy()
        cut = np.array([pair.start_s is not None for pair in some.pairs])
        if cut.any():
            span[cut] = overlapping(span[cut, 0], span[cut, 1], int(draw.integers(2**62)))
        return some.moved(span)

    def hard(self, rows: Sequence[int]) -> tuple[tuple[Tensor, Tensor, Tensor | None], Tensor] | None:
        """(frames, mask, clips) of B * K stretches, and (B, K) which of them are some; None without an index."""
        if self._hard is None:
            return None
        at = np.asarray(list(rows), np.int64)
        return collate_windows(self._train, *self._hard.of(at)), torch.from_numpy(self._hard.there[at])


def means(examples: Examples) -> npt.NDArray[np.float32]:
    """(V, D) of unit norm: the mean of the frames of each video that can be used."""
    out = []
    for video in examples.videos:
        vectors = np.asarray(examples.stored.of(video.video_id), np.float32)
        out.append((vectors if video.there is None else vectors[video.there]).mean(axis=0))
    made = np.stack(out)
    return np.asarray(made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9), np.float32)
