"""`Archive`: what Python users and the command line call. The expensive parts (model, index) are loaded once.

from nightreel import Archive
for hit in Archive("videos.reel").search("a dog catches a frisbee", top=5):
    print(hit.path, hit.start_s, hit.end_s)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extract.encoders.base import Encoder
from ..extract.encoders.registry import load_encoder, slug
from ..extract.errors import Refused, UsageError
from ..extract.fingerprint import MODEL_KEYS, require_same
from ..extract.store import Store
from ..extract.videos import VideoRow
from ..index.build import build_index, choose_encoder
from ..index.open import VectorIndex, open_index
from ..index.stats import Accumulator, NullStats
from .query import Query, as_texts, parse_span
from .search import Hit, moments_in, search

NO_MATCH_BELOW = 0.5
LOOK_S = 5.0  # frames this far apart count as independent; a guess, until confidence is calibrated
NULL_SAMPLE = 20_000  # segments read for the null distribution where there is no index


@dataclass(frozen=True, slots=True)
class Grounding:
    """The moments of one video; `no_match` if even the best is what unrelated footage would score by chance."""

    video_id: str
    path: str
    moments: list[Hit]
    no_match: bool


class Archive:
    """An archive folder with the encoder of one of its features, ready to be searched.

    Args:
        folder: what `nightreel extract --archive` made.
        encoder: spec or slug; needed only if the archive has features of several encoders with text.
        device: where queries are embedded.
    """

    def __init__(self, folder: str | Path, encoder: str | None = None, device: str = "auto") -> None:
        self.store = Store.open(folder)
        self.slug = choose_encoder(self.store, self._slug_of(encoder) if encoder else None)
        self.device = device
        self._encoder: Encoder | None = None
        self._index: VectorIndex | None = None

    def _slug_of(self, encoder: str) -> str:
        return encoder if encoder in self.store.encoders() else slug(encoder)

    @property
    def encoder(self) -> Encoder:
        """The encoder that made the features, loaded at first use and checked against their fingerprint.

        Raises:
            FingerprintMismatch: the weights found now are not those of the archive.
        """
        if self._encoder is None:
            stored = self.store.encoders()[self.slug]
            encoder = load_encoder(str(stored["spec"]), self.device)
            require_same(
                stored,
                encoder.fingerprint(),
                MODEL_KEYS,
                remedy="A query made with other weights finds nothing. Bring the weights back, or extract again into a "
                "new archive.",
            )
            self._encoder = encoder
        return self._encoder

    @property
    def index(self) -> VectorIndex:
        """The index of the features; raises `IndexMissing` if `build_index` was never called."""
        if self._index is None:
            self._index = open_index(self.store, self.slug)
        return self._index

    def load(self) -> None:
        """Load index and encoder now rather than at the first search (seconds, once)."""
        _ = self.index, self.encoder

    def build_index(self) -> dict[str, Any]:
        """Build or rebuild the index; see `nightreel.index.build.build_index` for the keys."""
        self._index = None
        return build_index(self.store, self.slug)

    def search(
        self,
        text: str | Sequence[str] | None = None,
        *,
        image: str | Path | None = None,
        like: str | None = None,
        without: Sequence[str] = (),
        top: int = 10,
        by: str = "moment",
        video: str | None = None,
    ) -> list[Hit]:
        """The moments (or videos) that fit best.

        Args:
            text: one sentence or several; several are averaged.
            image: a picture to look like.    like: `VIDEO@START-END`, footage of this archive to look like.
            without: sentences to stay away from.
            top: how many hits at most.    by: `moment`, or `video` for each video's best moment only.
            video: search one video only, by path, file name or id.

        Raises:
            UsageError, IndexMissing, FingerprintMismatch: as their names say.
        """
        if by not in ("moment", "video") or top < 1:
            raise UsageError(f"expected by 'moment' or 'video' and top of at least 1, got {by = } and {top = }.")
        index = self.index
        vector = self.embed(text, image=image, like=like, without=without)
        row = self.store.find_video(video) if video is not None else None
        only, looks = ([row.video_id], looks_in(row)) if row else (None, None)
        found = search(self.store, self.slug, index, vector, top=top, by=by, only=only)
        path_of = {row.video_id: row.path for row in self.store.videos()}
        return [
            Hit(rank, v, path_of[v], m.start_s, m.end_s, score, index.null.confidence(vector, score, looks))
            for rank, (v, m, score) in enumerate(found, 1)
        ]

    def ground(self, video: str, text: str | Sequence[str], *, top: int = 5) -> Grounding:
        """Where in one video a sentence happens; reads only that video's stored features, so it needs no index.

        Raises:
            UsageError: no such video, or it has no features.
        """
        row = self.store.find_video(video)
        segments = self.store.segments_of(self.slug, row.video_id)
        if not len(segments):
            raise UsageError(
                f"{row.path} has no features of {self.slug}: its extraction ended {row.status}"
                f"{f' ({row.error_kind}: {row.error})' if row.error else ''}.\nTry it again with: "
                f"nightreel extract {row.path} --archive {self.store.root} --retry-failed"
            )
        vector = self.embed(text)
        null, looks = self._null(), looks_in(row)
        hits = [
            Hit(rank, row.video_id, row.path, m.start_s, m.end_s, m.score, null.confidence(vector, score, looks))
            for rank, (m, score) in enumerate(moments_in(segments, vector, top), 1)
        ]
        best = hits[0].confidence if hits else None
        return Grounding(row.video_id, row.path, hits, best is None or best < NO_MATCH_BELOW)

    def curve(self, video: str, text: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
        """(T,) times in seconds and (T,) inner products of one video's segments with a sentence, for plotting."""
        segments = self.store.segments_of(self.slug, self.store.find_video(video).video_id)
        return segments.time_s, segments.embedding.astype(np.float32) @ self.embed(text)

    def embed(
        self,
        text: str | Sequence[str] | None = None,
        *,
        image: str | Path | None = None,
        like: str | None = None,
        without: Sequence[str] = (),
    ) -> npt.NDArray[np.float32]:
        """The query's vector (D,) float32, unit norm."""
        query = Query(
            as_texts(text), Path(image) if image else None, self._footage(like) if like else None, tuple(without)
        )
        return query.embed(lambda: self.encoder)

    def _footage(self, like: str) -> npt.NDArray[np.float32]:
        video, start_s, end_s = parse_span(like)
        segments = self.store.segments_of(self.slug, self.store.find_video(video).video_id)
        inside = segments[(segments.start_s < end_s) & (segments.end_s > start_s)]
        if not len(inside):
            last = f"{segments.end_s[-1]:.1f}" if len(segments) else "0"
            raise UsageError(f"--like {like!r}: {video} has no footage there; it ends at {last} s.")
        return inside.embedding.astype(np.float32)

    def _null(self) -> NullStats:
        """The index's null distribution, or one from the first `NULL_SAMPLE` stored segments."""
        try:
            return self.index.null
        except Refused:  # grounding needs no index; what is wrong with it is told by `search`
            dim = int(self.store.encoders()[self.slug]["dim"])
            null = Accumulator(dim)
            for batch in self.store.segments(self.slug):
                null.add(batch.embedding.astype(np.float32))
                if null.count >= NULL_SAMPLE:
                    break
            return null.stats(len(self.store.video_ids(self.slug)))


def looks_in(video: VideoRow) -> float:
    """How many independent pieces a video holds: the longer, the better its best one by chance."""
    return max(1.0, (video.duration_s or 0.0) / LOOK_S)
