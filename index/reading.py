"""The segments that an index is made of, video by video, checked: ids as they must be, embeddings that have a direction.

Reads one Parquet file at a time, so memory is bounded by the largest (about 30 s of extraction, or one long video).
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..extract.commits import version_of
from ..extract.errors import Damaged
from ..extract.segment import Segments, segment_ids
from ..extract.store import SPANS, Store


@dataclass(frozen=True, slots=True)
class Footage:
    """One video: `vectors` (T, D) float32, 0 where `bad` (T,); spans (T,) seconds; `weight` (T,) as `Segments.weight`."""

    video_id: str
    version: str
    vectors: npt.NDArray[np.float32]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    bad: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float32] | None = None

    @property
    def seconds(self) -> float:
        """From its first segment to the end of its last."""
        return float(self.end_s.max() - self.start_s[0])


def versions(store: Store, slug: str) -> dict[str, str]:
    """Video id -> version of its rows that counts now."""
    return {video: version_of(file) for video, file in store.state.rows.get(slug, {}).items()}


def read_videos(store: Store, slug: str, wanted: Set[str], *, embeddings: bool = True) -> Iterator[Footage]:
    """The visible segments of the wanted videos, in the archive's order; without embeddings `vectors` is (T, 0).

    Raises:
        Damaged: the ids of a video's segments are not those that its name gives, so two videos may share them.
    """
    rows = store.state.rows.get(slug, {})
    for file in store.state.files(slug):
        here = {v for v in file.videos if v in wanted and rows.get(v) is file}
        if not here:
            continue
        batch = Segments.from_table(store.read(file, None if embeddings else SPANS))
        for segments in batch.by_video():
            if str(segments.video_id[0]) in here:
                yield footage_of(segments, version_of(file))


def footage_of(segments: Segments, version: str = "") -> Footage:
    """One video's segments, checked."""
    name = str(segments.video_id[0])
    if not np.array_equal(segments.segment_id, segment_ids(name, len(segments))):
        raise Damaged(
            f"the segment ids of video {name} are not the {len(segments)} that its name gives, from "
            f"{int(segment_ids(name, 1)[0])} on. Some stand twice or are another's: see `nightreel verify`."
        )
    vectors = segments.embedding.astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    bad = ~(np.isfinite(norms) & (norms > 1e-3))
    if bad.any():
        vectors[bad] = 0.0
    return Footage(name, version, vectors, segments.start_s, segments.end_s, bad, segments.weight())
