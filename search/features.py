"""The features of one encoder in an archive, with what belongs to them: their model and their index, each loaded once and
only when it is needed."""

from functools import cached_property
from typing import Any

from ..extract.commits import State
from ..extract.encoders.base import Encoder
from ..extract.errors import UsageError
from ..extract.heads.encoder import load_stored_encoder
from ..extract.segment import Segments
from ..extract.store import Store
from ..index.build import Progress, Settings, build_index, no_progress
from ..index.manifest import stamp
from ..index.open import VectorIndex, open_index
from .query import parse_span
from .trust import Sample, draw, sizes_for


class Features:
    """Args: slug: of the encoder.    device: where queries are embedded."""

    def __init__(self, store: Store, slug: str, device: str = "auto") -> None:
        self.store, self.slug, self.device = store, slug, device
        self._index: VectorIndex | None = None
        self._seen: tuple[State, object] | None = None
        self._sample: tuple[State, Sample] | None = None

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """What made the features, as stored."""
        return self.store.encoders()[self.slug]

    @property
    def spec(self) -> str:
        """The encoder's spec, as stored; the model need not be here."""
        return str(self.fingerprint["spec"])

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that made the features, checked against their fingerprint.

        Raises:
            FingerprintMismatch: the weights found now are not those of the archive.
        """
        return load_stored_encoder(self.store, self.slug, self.device)

    @property
    def index(self) -> VectorIndex:
        """The index, opened anew when the archive or the index has changed; raises `IndexMissing` if there is none."""
        seen = (self.store.state, stamp(self.store, self.slug))
        if self._index is None or self._seen is None or self._seen[0] is not seen[0] or self._seen[1] != seen[1]:
            self._index, self._seen = open_index(self.store, self.slug), seen
        return self._index

    def build_index(self, settings: Settings = Settings(), progress: Progress = no_progress) -> dict[str, Any]:  # noqa: B008
        """Bring the index up to date; see `nightreel.index.build.build_index` for the keys."""
        self._index = None
        return build_index(self.store, self.slug, settings, lambda: self.encoder, progress)

    @property
    def sample(self) -> Sample:
        """Footage that a video is compared with (`trust.py`); drawn anew when the archive has changed."""
        if self._sample is None or self._sample[0] is not self.store.state:
            sizes = sizes_for(self.fingerprint.get("sampling"))
            self._sample = self.store.state, draw(self.store, self.slug, sizes)
        return self._sample[1]

    def footage(self, like: str) -> Segments:
        """The stored segments that share footage with `VIDEO@START-END`.

        Raises:
            UsageError: another form, no such video, or nothing there.
        """
        video, start_s, end_s = parse_span(like)
        segments = self.store.segments_of(self.slug, self.store.find_video(video).video_id)
        inside = segments[(segments.start_s < end_s) & (segments.end_s > start_s)]
        if not len(inside):
            last = f"{segments.end_s[-1]:.1f}" if len(segments) else "0"
            raise UsageError(f"--like {like!r}: {video} has no footage there; it ends at {last} s.")
        return inside
