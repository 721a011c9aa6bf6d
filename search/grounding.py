"""A sentence in one stored video: its moments, how far to trust them, and whether it is there at all.

Reads only that video's stored features, so it needs no index; where there is one, its null distribution is used.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..extract.errors import UsageError
from ..extract.videos import VideoRow
from .answer import looks_in
from .features import Features
from .search import Hit, moments_in

NO_MATCH_BELOW = 0.5


@dataclass(frozen=True, slots=True)
class Grounding:
    """The moments of one video; `no_match` if even the best is what unrelated footage would score by chance."""

    video_id: str
    path: str
    moments: list[Hit]
    no_match: bool


def ground_video(features: Features, row: VideoRow, query: npt.NDArray[np.float32], top: int) -> Grounding:
    """At most `top` moments of a video for a query's vector (D,), best first.

    Raises:
        UsageError: the video has no features.
    """
    segments = features.store.segments_of(features.slug, row.video_id)
    if not len(segments):
        raise UsageError(
            f"{row.path} has no features of {features.slug}: its extraction ended {row.status}"
            f"{f' ({row.error_kind}: {row.error})' if row.error else ''}.\nTry it again with: "
            f"nightreel extract {row.path} --archive {features.store.root} --retry-failed"
        )
    null, looks = features.null(), looks_in(row)
    rows = segments.embedding.astype(np.float32)
    found = moments_in(rows, segments.start_s, segments.end_s, query, top)
    hits = [
        Hit(rank, row.video_id, row.path, m.start_s, m.end_s, m.score, null.confidence(query, score, looks))
        for rank, (m, score) in enumerate(found, 1)
    ]
    best = hits[0].confidence if hits else None
    return Grounding(row.video_id, row.path, hits, best is None or best < NO_MATCH_BELOW)
