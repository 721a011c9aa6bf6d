"""One vector for each labelled video, or span of one: the mean of its stored frames or clips.

    vectors, empty = pooled(store, "videomae", [(video_id, None), (video_id, (3.0, 9.0))])      (N, D)

As CLIP4Clip's meanP: unit vectors are averaged in float32, and the mean is made unit again. A span takes the segments that
share footage with it. It does not know labels or splits; order in time is lost, which heads (`extract/heads`) keep.

Costs: reads 2 D bytes a segment, mapped, not copied: 10 000 videos of 100 segments at D = 512 are 1 GB.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...extract.errors import UsageError
from ...extract.store import Store
from ...extract.vectors import Vectors
from .labels import Span
from .linear import Floats

Wanted = tuple[str, Span | None]  # video id, [start_s, end_s) or the whole video


def pooled(store: Store, slug: str, wanted: Sequence[Wanted]) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """(N, D) float32 of unit norm, and (N,) whether there is nothing: no segment there, or a mean without a direction.

    Raises:
        Damaged: a file of the archive cannot be read.
        UsageError: the archive has no such encoder.
    """
    if slug not in store.encoders():
        raise UsageError(f"{store.root} has no features {slug!r}; it has: {', '.join(store.encoders())}.")
    vectors, spans = Vectors(store, slug), _Spans(store, slug)
    dim = store.declared(slug).field("embedding").type.list_size
    out = np.zeros((len(wanted), dim), np.float32)
    for row, (video_id, span) in enumerate(wanted):
        found = vectors.of(video_id)
        inside = found if span is None else found[spans.rows(video_id, span)]
        if len(inside):
            out[row] = inside.mean(axis=0, dtype=np.float32)
    norms = np.linalg.norm(out, axis=1, keepdims=True)
    empty = norms[:, 0] < 1e-6
    return np.asarray(out / np.where(norms < 1e-6, 1, norms), np.float32), empty


class _Spans:
    """The times of one video after another's segments; read again only when the video changes."""

    def __init__(self, store: Store, slug: str) -> None:
        self._store, self._slug = store, slug
        self._video_id: str | None = None

    def rows(self, video_id: str, span: Span) -> npt.NDArray[np.bool_]:
        """(T,) which segments share footage with the span."""
        if video_id != self._video_id:
            segments = self._store.segments_of(self._slug, video_id)
            self._video_id, self._start_s, self._end_s = video_id, segments.start_s, segments.end_s
        return (self._start_s < span[1]) & (self._end_s > span[0])
