"""The features that a head makes of an archive's: `features/head-NAME/`, the same spans and ids, another embedding.

    apply_head(store, name)     map every video whose base features are newer than what is there
    along(tuned, ...)           one video, in windows; each frame from that with the nearest middle

Index, search, ground and evaluate take these like any features. A video is mapped again when its base features are; until
then it counts as missing (`not_mapped`). Costs a read and a write of the features, and 2 T D (12 D + 2 C) operations per
layer and T frames of a transformer with context C, twice for overlap: at one frame a second and D = 512, four layers take
0.1 TFLOP an hour of video.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..commits import version_of
from ..errors import UsageError
from ..fingerprint import MODEL_KEYS, require_same
from ..segment import WEIGHT, Segments
from ..store import Store
from ..writer import Writer, claim_encoder
from .encoder import headed
from .join import clips_over
from .stored import Made, head_of, load_stored, read_made

if TYPE_CHECKING:
    from .tuned import Tuned

Floats = npt.NDArray[np.float32]
WINDOWS = 64  # that go through a head at once
Progress = Callable[[str, int, int], None]  # what, done, of


def slug_of_head(name: str) -> str:
    """The folder name of a head's features."""
    return f"head-{name}"


def not_mapped(store: Store, slug: str) -> set[str]:
    """Ids of videos whose base features are newer than what the head made of them, or have nothing made; empty for features
    that no head made, or whose base is not there any more. Newer clips that join the frames count too."""
    if slug not in store.state.rows and not (store.root / "features" / slug).is_dir():
        return set()
    head = head_of(store.encoders()[slug])
    return set() if head is None else _to_map(store, slug, str(head["base"]), head["clips"])


def _to_map(store: Store, slug: str, base: str, clips: str | None) -> set[str]:
    # Names of files are ordered by when they were made, and `compact` keeps their first part.
    done = {video: version_of(file) for video, file in store.state.rows.get(slug, {}).items()}
    tables = [store.state.rows.get(table, {}) for table in (base, clips) if table is not None]
    newer = {video for rows in tables for video, file in rows.items() if version_of(file) >= done.get(video, "")}
    return newer & set(tables[0])


def apply_head(store: Store, name: str, progress: Progress = lambda what, done, of: None) -> int:
    """Bring a head's features up to date; returns how many videos were mapped. What is there already stays.

    Raises:
        UsageError: there is no such head (any more), or the archive has no features that it takes.
        FingerprintMismatch: its base features are of another encoder than those it was trained on.
        Damaged: its files are broken.
    """
    made = read_made(store, name)
    store.refresh()
    _require_bases(store, made)
    slug = slug_of_head(name)
    claim_encoder(store, slug, headed(store.encoders()[made.base], made))
    todo = _to_map(store, slug, made.base, made.clips)
    if not todo:
        return 0
    tuned, _ = load_stored(store, name)
    writer, done = Writer(store), 0
    for batch in store.segments(made.base):
        for segments in batch.by_video():
            video = str(segments.video_id[0])
            if video in todo:
                writer.add_segments(slug, mapped(store, tuned, made, segments))
                done += 1
                progress(slug, done, len(todo))
        read_made(store, name)  # rows of a head that was removed meanwhile are of no use
        writer.commit()
    return done


def _require_bases(store: Store, made: Made) -> None:
    here = store.encoders()
    for slug, stored in ((made.base, made.base_print), (made.clips, made.clips_print)):
        if slug is None:
            continue
        if slug not in here:
            raise UsageError(
                f"head {made.name!r} takes features of {slug}, which the archive does not have; extract them first: "
                f"nightreel extract VIDEOS --archive {store.root} --encoder {stored['spec']}"
            )
        require_same(
            stored, here[slug], MODEL_KEYS, other="the archive's features", remedy="Train a head on these features."
        )


def mapped(store: Store, tuned: "Tuned", made: Made, segments: Segments) -> Segments:
    """One video's segments through a head, (T, D) float16 of unit norm, with their weights where it has some
    (`Tuned.weights`). One without a direction stays as it is."""
    vectors = segments.embedding.astype(np.float32)
    norms = np.linalg.norm(vectors, axis=1)
    bad = ~(np.isfinite(norms) & (norms > 1e-3))
    vectors[bad] = 0.0
    clips = None if made.clips is None else clip_features(store, made.clips, segments)
    out = along(tuned, vectors, made.context, clips).astype(np.float16)
    bad |= ~np.isfinite(out).all(axis=1) | (np.abs(out) < 1e-6).all(axis=1)
    out[bad] = segments.embedding[bad]
    weight = {WEIGHT: weights(tuned, vectors, clips)} if made.network.get("weighs") else {}
    return replace(segments, embedding=out, quality={**segments.quality, **weight})


def weights(tuned: "Tuned", vectors: Floats, clips: Floats | None = None) -> Floats:
    """(T,) what each of a video's frames (T, D) counts in a mean."""
    import torch

    joined = None if clips is None else torch.from_numpy(clips)[None]
    with torch.inference_mode():
        out: Floats = tuned.weights(torch.from_numpy(vectors)[None], joined)[0].numpy()
    return out


def clip_features(store: Store, slug: str, frames: Segments) -> Floats:
    """(T, C) for each frame of a video the features of the clip over it (`clips_over`), 0 where there is none."""
    clips = store.segments_of(slug, str(frames.video_id[0]))
    out = np.zeros((len(frames), clips.embedding.shape[1]), np.float32)
    over = clips_over(frames.time_s, clips.start_s, clips.end_s)
    out[over >= 0] = clips.embedding[over[over >= 0]]
    return np.where(np.isfinite(out), out, 0.0).astype(np.float32)


def along(tuned: "Tuned", vectors: Floats, context: int, clips: Floats | None = None) -> Floats:
    """(T, D) of unit norm: frames (T, D) of a video of any length as the head makes them, in windows of `context` frames."""
    import torch

    count = len(vectors)
    size = min(count, context, tuned.head.max_frames)
    starts = window_starts(count, size)
    rows = starts[:, None] + np.arange(size)
    outputs = []
    with torch.inference_mode():
        for low in range(0, len(rows), WINDOWS):
            at = rows[low : low + WINDOWS]
            joined = None if clips is None else torch.from_numpy(clips[at])
            frames = torch.from_numpy(vectors[at])
            there = (frames != 0).any(-1)
            there[:, 0] |= ~there.any(1)
            outputs.append(tuned.along(frames, there, joined).numpy())
    middles = starts + (size - 1) / 2
    best = np.searchsorted((middles[1:] + middles[:-1]) / 2, np.arange(count))
    out: Floats = np.concatenate(outputs)[best, np.arange(count) - starts[best]]
    return out


def window_starts(count: int, size: int) -> npt.NDArray[np.int64]:
    """The first frames of windows of `size` that go half a window forward each; the last one ends with the video."""
    last = max(0, count - size)
    return np.unique(np.r_[np.arange(0, last + 1, max(1, size // 2)), last])
