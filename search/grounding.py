"""A sentence in one stored video: its moments, how far to trust them, and whether it is there at all.

Reads that video's stored features and, once, a sample of others' to compare with (`trust.py`), so it needs no index.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..extract.errors import UsageError
from ..extract.heads.apply import not_mapped
from ..extract.segment import Segments
from ..extract.videos import VideoRow
from .curve import middles
from .features import Features
from .ground import find_moments
from .moment import Moment
from .search import Hit
from .trust import trust

NO_MATCH_BELOW = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCurve:
    """How well a sentence fits along a video: (T,) inner products of segments `[start_s, end_s)` with it."""

    text: str
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    scores: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MomentSequence:
    """Moments that follow one another, one for each sentence asked for.

    Attributes:
        rank: from 1.    score: 1 where each is its sentence's best moment, 0 where no better than most (`sequence.py`).
        confidence: that of its least certain moment; None where one is unknown.
        moments: in order; the `rank` of each is its place.
    """

    rank: int
    score: float
    confidence: float | None
    moments: list[Hit]


@dataclass(frozen=True, slots=True)
class Grounding:
    """The moments of one video, and whether it shows what is asked at all.

    A moment's confidence is the probability that the video shows what is asked, had right and wrong videos been equally likely
    before (`trust.py`); `no_match` is that the best is below 0.5. Where nothing is known of other footage, confidences are
    None and `no_match` is False, unless sentences were asked for in an order in which nothing comes.

    Attributes:
        video_id, path: which video.
        moments: best first; of several sentences in order, those of the best sequence, in that order.
        sequences: of several sentences in order, the answers, best first.
        notes: what the person who asked should be told.
        curves: one per sentence, for drawing (`plot.py`).
    """

    video_id: str
    path: str
    moments: list[Hit]
    no_match: bool
    sequences: list[MomentSequence] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    curves: tuple[ScoreCurve, ...] = field(default=(), compare=False, repr=False)


def ground_video(
    features: Features, row: VideoRow, query: npt.NDArray[np.float32], top: int, text: str = ""
) -> Grounding:
    """At most `top` moments of a video for the vector (D,) of a sentence, best first.

    Raises:
        UsageError: the video has no features.
    """
    segments = stored(features, row)
    vectors = segments.embedding.astype(np.float32)
    scores = vectors @ query
    found = find_moments(scores, segments.start_s, segments.end_s, features=vectors, query=query, top=top)
    hits = hits_of(features, row, query, found, segments, vectors)
    notes = ("No match: the best moment fits no better than what other videos of the archive show.",)
    no_match = is_no_match(hits[0].confidence)
    curve = ScoreCurve(text, segments.start_s, segments.end_s, scores)
    return Grounding(row.video_id, row.path, hits, no_match, notes=notes if no_match else (), curves=(curve,))


def is_no_match(confidence: float | None) -> bool:
    """Whether a moment is none; not where nothing is known."""
    return confidence is not None and confidence < NO_MATCH_BELOW


def stored(features: Features, row: VideoRow) -> Segments:
    """A video's stored segments.

    Raises:
        UsageError: it has none.
    """
    segments = features.store.segments_of(features.slug, row.video_id)
    if not len(segments) and row.video_id in not_mapped(features.store, features.slug):
        raise UsageError(
            f"{row.path} is newer than what the head {features.spec} has seen. Run: nightreel index {features.store.root}"
        )
    if not len(segments):
        raise UsageError(
            f"{row.path} has no features of {features.slug}: its extraction ended {row.status}"
            f"{f' ({row.error_kind}: {row.error})' if row.error else ''}.\nTry it again with: "
            f"nightreel extract {row.path} --archive {features.store.root} --retry-failed"
        )
    return segments


def hits_of(
    features: Features,
    row: VideoRow,
    query: npt.NDArray[np.float32],
    found: Sequence[Moment],
    segments: Segments,
    vectors: npt.NDArray[np.float32],
) -> list[Hit]:
    """Moments of one sentence, the best first, as hits with their confidence; None where nothing is known.

    Args:
        found: as of `find_moments`.    segments: the video's, and their `vectors` (T, D) in float32.
    """
    known = trust(features.sample, row.video_id, vectors, query)
    middle_s = middles(segments.start_s, segments.end_s)
    spans = [(int(np.searchsorted(middle_s, m.start_s)), int(np.searchsorted(middle_s, m.end_s))) for m in found]
    confidences = [None] * len(found) if known is None else known.of_moments(spans)
    return [
        Hit(rank, row.video_id, row.path, m.start_s, m.end_s, m.score, confidence)
        for rank, (m, confidence) in enumerate(zip(found, confidences, strict=True), 1)
    ]
