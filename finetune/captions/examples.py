"""Pairs of an archive: for each caption the stored frames of its span, and what the caption is in the encoder's features.

    examples = build_examples(store, slug, pairs, lambda texts: embed_captions(features, texts), max_frames=32)
    frames, mask, clips = collate(examples, rows)                 collate.py
    parts = split_examples(examples, store, slug)                 parts.py

Frames stay where they lie on disk, mapped as float16 (`extract/vectors.py`), until a batch is made of them. A span's frames
are the segments whose middle lies in it, at least the nearest one. Clip features of a second encoder are joined by time.

It does not know which pairs train and which validate, nor what a head does with frames.

Costs one read of the spans' features, to find vectors without a direction, and one text call per 256 different captions;
memory 60 bytes a segment's times of the videos that have pairs, and 4 D bytes a caption.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...evaluate.runners.videos import Matched, match_videos
from ...extract.errors import UsageError
from ...extract.store import Store
from ...extract.vectors import Vectors
from .footage import Footage, Progress, Rows, Seconds, Stored, frames_of, read_footage, silent
from .pairs import Pair
from .tables import BadRow

Floats = npt.NDArray[np.float32]
EmbedText = Callable[[Sequence[str]], Floats]

TEXTS = 256  # captions embedded at once


@dataclass(frozen=True)
class Examples:
    """N pairs of V videos with U different captions.

    Attributes:
        videos: V.    stored: their frames.    clips: their clips, or None.
        video: (N,) which of the videos.    low, high: (N,) its frames are rows [low, high) of the video, at least one.
        span: (N, 2) seconds, as the pair has it; the video's whole time where it has none.
        texts: (U, D) float32 unit vectors of the captions.    caption: (N,) which of them.
        weight: (N,) float32, above 0; below 1 of weak captions.
        pairs: N, as the file has them.    max_frames: of a pair, in a batch.
        bad: pairs that could not be used, with line and reason.    loosely: names of videos that were not to the letter.
    """

    videos: tuple[Footage, ...]
    stored: Stored
    clips: Stored | None
    video: Rows
    low: Rows
    high: Rows
    span: Seconds
    texts: Floats
    caption: Rows
    weight: Floats
    pairs: tuple[Pair, ...]
    max_frames: int
    bad: tuple[BadRow, ...] = ()
    loosely: int = 0

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def sources(self) -> list[str]:
        """N: of each pair's video."""
        return [self.videos[video].source for video in self.video.tolist()]

    def text(self, rows: Sequence[int] | Rows | slice = slice(None)) -> Floats:
        """(B, D) float32 unit vectors of these pairs' captions; of all of them without an argument."""
        return self.texts[self.caption[rows]]

    def subset(self, rows: Sequence[int] | Rows) -> "Examples":
        """These pairs, numbered from 0; videos and captions that only others have stay, so nothing is copied."""
        at = np.asarray(rows, np.int64)
        columns = {name: getattr(self, name)[at] for name in ("video", "low", "high", "span", "caption", "weight")}
        return replace(self, **columns, pairs=tuple(self.pairs[row] for row in at.tolist()), bad=(), loosely=0)

    def moved(self, span: Seconds) -> "Examples":
        """The same pairs with other spans (N, 2) in seconds, as `sampling.overlapping` draws them anew for each epoch.

        A span without a frame that can be used leaves the pair where it was.
        """
        found = [frames_of(self.videos[v], *of) for v, of in zip(self.video.tolist(), span.tolist(), strict=True)]
        old = zip(self.low.tolist(), self.high.tolist(), strict=True)
        edges = [was if isinstance(new, str) else new for new, was in zip(found, old, strict=True)]
        low, high = np.array(edges, np.int64).reshape(-1, 2).T.copy()
        stayed = np.array([isinstance(new, str) for new in found], bool)[:, None]
        return replace(self, low=low, high=high, span=np.where(stayed, self.span, span))

    def items(self) -> tuple[Rows, Rows]:
        """(M,) the first pair of each different piece of footage, in the pairs' order, and (N,) which of the M each has.

        Several captions of one video or span are one thing to find, not several.
        """
        keys = np.stack([self.video, self.low, self.high], axis=1)
        _, first, item = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(first)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return first[order].astype(np.int64), place[item.reshape(-1)]


def build_examples(
    store: Store,
    slug: str,
    pairs: Sequence[Pair],
    embed_text: EmbedText,
    *,
    max_frames: int = 32,
    clips: str | None = None,
    progress: Progress = silent,
) -> Examples:
    """The pairs whose video the archive has with features of `slug`; the others are in `bad`.

    Args:
        embed_text: Q sentences -> (Q, D) float32 unit vectors, as `evaluate.runners.videos.embed_captions` makes them.
        clips: slug of an encoder of clips, whose features join the frames.

    Raises:
        UsageError: no pair can be used, two videos of the archive are called like one that is named, or `max_frames` below 1.
        Damaged: features cannot be read.
    """
    if max_frames < 1:
        raise UsageError(f"--max-frames {max_frames}: expected 1 or more.")
    found = match_videos(list(dict.fromkeys(pair.video for pair in pairs)), store, slug)
    said = {
        found.rows[pair.video].video_id: pair.source
        for pair in reversed(pairs)
        if pair.video in found.rows and pair.source
    }
    wanted = {row.video_id: row.path for row in found.rows.values()}
    videos = read_footage(store, slug, wanted, said, clips, progress)
    kept, bad = _placed(pairs, found, videos)
    if not kept:
        few = "\n  ".join(map(str, bad[:5])) or "no pairs were given"
        raise UsageError(
            f"none of {len(pairs)} pairs can be used with {store.root}:\n  {few}\nIs it the right archive?"
        )
    texts, caption = _captions([pair.caption for pair, *_ in kept], embed_text, progress)
    video, low, high = np.array([place for _, *place in kept], np.int64).T.copy()
    return Examples(
        tuple(videos),
        Vectors(store, slug),
        None if clips is None else Vectors(store, clips),
        video,
        low,
        high,
        span=np.array([_seconds(pair, videos[of]) for pair, of, *_ in kept]),
        texts=texts,
        caption=caption,
        weight=np.array([pair.weight for pair, *_ in kept], np.float32),
        pairs=tuple(pair for pair, *_ in kept),
        max_frames=max_frames,
        bad=tuple(bad),
        loosely=found.loosely,
    )


def _placed(
    pairs: Sequence[Pair], found: Matched, videos: Sequence[Footage]
) -> tuple[list[tuple[Pair, int, int, int]], list[BadRow]]:
    """(pair, which video, low, high) of those that have frames, and the others."""
    number = {video.video_id: at for at, video in enumerate(videos)}
    kept: list[tuple[Pair, int, int, int]] = []
    bad: list[BadRow] = []
    for pair in pairs:
        row = found.rows.get(pair.video)
        at = None if row is None else number.get(row.video_id)
        rows: tuple[int, int] | str = found.missing.get(pair.video, "the archive has no frames of it")
        if at is not None:
            rows = frames_of(videos[at], pair.start_s, pair.end_s)
        if at is None or isinstance(rows, str):
            bad.append(BadRow(pair.line, f"{pair.video}: {rows}"))
        else:
            kept.append((pair, at, *rows))
    return kept, bad


def _seconds(pair: Pair, video: Footage) -> tuple[float, float]:
    last_s = float(video.end_s.max())
    return (0.0 if pair.start_s is None else pair.start_s, last_s if pair.end_s is None else pair.end_s)


def _captions(captions: Sequence[str], embed_text: EmbedText, progress: Progress) -> tuple[Floats, Rows]:
    """(U, D) vectors of the different captions, and (N,) which of them each is."""
    place: dict[str, int] = {}
    which = np.array([place.setdefault(caption, len(place)) for caption in captions], np.int64)
    texts, parts = list(place), []
    for low in range(0, len(texts), TEXTS):
        parts.append(embed_text(texts[low : low + TEXTS]))
        progress("captions", min(low + TEXTS, len(texts)), len(texts))
    return np.concatenate(parts).astype(np.float32, copy=False), which
