"""Archives without any video: rows and vectors go straight to the `Writer`. Loaded by `conftest.py`."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.engine import Plan
from nightreel.extract.run import fingerprint_of
from nightreel.extract.segment import Labels, Segments, segment_ids, unit_norm_f16
from nightreel.extract.store import Store
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer, claim_encoder


def id_of(name: str) -> str:
    """The id that a video of this name gets here; real ones come from the content."""
    return hashlib.blake2b(name.encode(), digest_size=10).hexdigest()


def toy_fingerprint(**changes: Any) -> dict[str, Any]:
    return {**fingerprint_of(ToyEncoder(), Plan()), **changes}


def segments_for(
    video_id: str,
    vectors: np.ndarray,
    step_s: float = 1.0,
    *,
    length_s: float | None = None,
    quality: Mapping[str, Sequence[float]] | None = None,
    labels: Sequence[Labels] | None = None,
) -> Segments:
    """One segment of `length_s` (by default `step_s`) every `step_s` per row of `vectors` (T, D); none beyond the last step.

    Args:
        quality: name -> T numbers.    labels: T times (class, probability) pairs.
    """
    start_s = np.arange(len(vectors)) * step_s
    end_s = np.minimum(start_s + (length_s or step_s), len(vectors) * step_s)
    names = np.full(len(vectors), video_id, object)
    said = np.empty(len(vectors), object)
    for row, pairs in enumerate(labels or ()):
        said[row] = pairs
    return Segments(
        segment_ids(video_id, len(vectors)),
        names,
        start_s,
        end_s,
        start_s,
        unit_norm_f16(vectors),
        {name: np.asarray(values, np.float32) for name, values in (quality or {}).items()},
        None if labels is None else said,
    )


CLIPS = {"frames_per_clip": 16, "stride_s": 0.5, "hop_s": 8.0, "decode": "exact"}  # the sampling of a clip encoder


class MadeArchive:
    """An archive and short ways to fill it; `slug` names the encoder that `add` writes for."""

    def __init__(self, root: Path, slug: str = "toy", **fingerprint: Any) -> None:
        self.root, self.slug = root, slug
        self.store = Store.create(root, created_by="tests")
        claim_encoder(self.store, slug, toy_fingerprint(**fingerprint))

    def add(
        self,
        name: str,
        content: Sequence[str] | np.ndarray,
        step_s: float = 1.0,
        *,
        length_s: float | None = None,
        quality: Mapping[str, Sequence[float]] | None = None,
        labels: Sequence[Labels] | None = None,
        **row: Any,
    ) -> str:
        """Commit one video of colour words or of vectors (T, D), see `segments_for`; gives its id."""
        vectors = content if isinstance(content, np.ndarray) else ToyEncoder().encode_text(content)
        video_id = row.pop("video_id", id_of(name))
        facts = {"path": f"/films/{name}", "status": "done", "duration_s": len(vectors) * step_s, **row}
        writer = Writer(self.store)
        segments = segments_for(video_id, vectors, step_s, length_s=length_s, quality=quality, labels=labels)
        writer.add(VideoRow(video_id, **facts), {self.slug: segments})
        writer.commit()
        return video_id

    def remove(self, video_id: str) -> None:
        """Commit the removal of a video."""
        from nightreel.extract.commits import Commit, next_commit_id, write_commit

        write_commit(self.root / "commits", Commit(next_commit_id(self.store.state), "now", (), (video_id,)))
        self.store.refresh()

    def data_file(self, table: str | None = None) -> Path:
        """The newest visible Parquet file of a table."""
        return self.root / self.store.state.files(table or self.slug)[-1].path


MakeArchive = Callable[..., MadeArchive]


@pytest.fixture
def make_archive(tmp_path: Path) -> MakeArchive:
    """make_archive(slug="toy", name="a.reel", **changes to the fingerprint)"""

    def make(slug: str = "toy", name: str = "a.reel", **fingerprint: Any) -> MadeArchive:
        return MadeArchive(tmp_path / name, slug, **fingerprint)

    return make


@pytest.fixture
def colours(make_archive: MakeArchive) -> MadeArchive:
    """Three videos: `red.mp4` (4 s), `mixed.mp4` (blue, red, blue; 6 s) and `green.mp4` (5 s)."""
    archive = make_archive()
    archive.add("red.mp4", ["red"] * 4)
    archive.add("mixed.mp4", ["blue", "blue", "red", "red", "blue", "blue"])
    archive.add("green.mp4", ["green"] * 5)
    return archive
