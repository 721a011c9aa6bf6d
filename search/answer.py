"""A question to an archive and its answer: moments found by likeness, or segments that pass an expression.

    by likeness      sentence, picture, example: `search.py`; with `sort` the most alike, in the order of a number
    without          the segments that pass `where`, in the archive's order or by `sort`: no model, no index

The score of a hit is what it is ranked by: an inner product, the number of `sort` (of a moment the largest among its
segments), or 0 where there is no ranking. What has no such number (null) is left out.

Listing reads every segment's named columns once and keeps only the best `top`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from heapq import nsmallest
from pathlib import Path

import numpy as np

from ..extract.errors import UsageError
from ..extract.heads.apply import not_mapped
from ..extract.videos import VideoRow
from ..index.choose import sees_clips
from .curve import middles
from .features import Features
from .query import Query, as_texts, weighed
from .search import ALL, Held, Hit, search
from .where import Scan


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, in the user's words; see `Archive.search` for each."""

    text: str | Sequence[str] | None = None
    image: str | Path | None = None
    like: str | None = None
    without: Sequence[str] = ()
    where: str | None = None
    sort: str | None = None
    top: int = 10
    by: str = "moment"
    video: str | None = None
    skip: int = 0
    diversity: float = 0.0

    @property
    def needs_encoder(self) -> bool:
        """Whether there is something in it that is not in the archive yet."""
        return bool(as_texts(self.text) or self.without or self.image is not None)

    @property
    def by_likeness(self) -> bool:
        """Whether something is looked for that footage can be like; else segments are listed."""
        return self.needs_encoder or self.like is not None or (self.where is None and self.sort is None)

    def __str__(self) -> str:
        words = list(as_texts(self.text))
        words += [f"image {self.image}"] * (self.image is not None and not words)
        words += [f"like {self.like}"] * (self.like is not None and not words)
        words += [] if words else [f"{k} {v}" for k, v in (("where", self.where), ("sort", self.sort)) if v is not None]
        return " + ".join(words)


@dataclass(frozen=True, slots=True)
class Answer:
    """`encoder`: spec of the one whose features were searched.    notes: what the person who asked should be told."""

    hits: list[Hit]
    encoder: str
    notes: tuple[str, ...] = ()


def answer(features: Features, question: Question) -> Answer:
    """The best hits for a question in one encoder's features.

    Raises:
        UsageError, IndexMissing, FingerprintMismatch: as their names say.
    """
    if question.by not in ("moment", "video") or question.top < 1 or question.skip < 0:
        raise UsageError(
            "expected by 'moment' or 'video', top of at least 1 and skip of at least 0, got "
            f"{question.by = }, {question.top = } and {question.skip = }."
        )
    if not 0 <= question.diversity <= 1:
        raise UsageError(f"--diverse {question.diversity:g}: expected 0 (the best) to 1 (the most different).")
    row = features.store.find_video(question.video) if question.video is not None else None
    return _alike(features, question, row) if question.by_likeness else _listed(features, question, row)


def embedded(features: Features, question: Question, like: np.ndarray | None) -> np.ndarray:
    """The question's vector (D,) float32, unit norm; loads the model only if words or a picture are in it."""
    if question.needs_encoder and sees_clips(features.fingerprint):  # said before weights are looked for
        raise UsageError(
            f"encoder {features.spec} sees clips, not sentences and not single pictures.\n"
            "Search its features with footage of the archive (--like VIDEO@START-END), or choose one with text by --encoder."
        )
    weight = weighed(question.like)[1] if question.like is not None else 1.0
    query = Query(as_texts(question.text), question.image, like, tuple(question.without), weight)
    return query.embed(lambda: features.encoder)


def _alike(features: Features, question: Question, row: VideoRow | None) -> Answer:
    index = features.index
    example = features.footage(question.like) if question.like is not None else None
    like = None if example is None else example.embedding.astype(np.float32)
    vector = embedded(features, question, like)
    scan = Scan(features.store, features.slug, question.where) if question.where is not None else None
    values = Scan(features.store, features.slug, sort=question.sort) if question.sort is not None else None
    held = ALL
    if scan is not None or example is not None:
        allowed = scan.ids(row.video_id if row else None) if scan else None
        held = Held(allowed, None if example is None else example.segment_id)
    only = [row.video_id] if row else None
    found = search(
        features.store,
        index,
        vector,
        top=question.skip + question.top,
        by=question.by,
        only=only,
        held=held,
        diversity=question.diversity,
    )
    path_of = {row.video_id: row.path for row in features.store.videos()}
    hits = [
        Hit(rank, f.video_id, path_of[f.video_id], f.moment.start_s, f.moment.end_s, f.score, f.confidence)
        for rank, f in enumerate(found, 1)
    ][question.skip :]
    if values is not None:  # within a page; sorted before it is cut, a hit would be on several pages
        hits = _by_largest(hits, values, question.skip)
    notes = [scan.why_nothing()] if scan is not None and not scan.passed else []
    notes += [values.why_nothing()] if values is not None and len(found) > question.skip and not hits else []
    if index.stale:
        wanted = set(features.store.video_ids(features.slug)) | not_mapped(features.store, features.slug)
        notes.append(
            f"{index.missing} of {len(wanted)} videos are newer than the index and are not found. "
            f"Run: nightreel index {features.store.root}"
        )
    return Answer(hits, features.spec, tuple(notes))


def _by_largest(hits: Sequence[Hit], scan: Scan, skip: int) -> list[Hit]:
    """Hits with the largest value among the segments whose share of the time is in them as their score, ranked by it from
    `skip` + 1 on, without those that have none."""
    values_of = {video_id: list(scan.passing(video_id)) for video_id in dict.fromkeys(hit.video_id for hit in hits)}
    scored = []
    for hit in hits:
        for batch in values_of[hit.video_id]:  # one, since a video's segments stand in one file
            middle_s = middles(batch.start_s, batch.end_s)
            inside = (middle_s >= hit.start_s) & (middle_s < hit.end_s)
            if batch.value is not None and inside.any():
                scored.append(replace(hit, score=float(batch.value[inside].max())))
    scored.sort(key=lambda hit: -hit.score)
    return [replace(hit, rank=rank) for rank, hit in enumerate(scored, skip + 1)]


def _listed(features: Features, question: Question, row: VideoRow | None) -> Answer:
    scan = Scan(features.store, features.slug, question.where, question.sort)
    found = nsmallest(question.skip + question.top, _candidates(scan, question, row))[question.skip :]
    path_of = {row.video_id: row.path for row in features.store.videos()} if found else {}
    hits = [
        Hit(rank, video_id, path_of[video_id], start_s, end_s, 0.0 - order, None)
        for rank, (order, _, video_id, start_s, end_s) in enumerate(found, question.skip + 1)
    ]
    notes = [] if hits or scan.passed else [scan.why_nothing()]
    if scan.passed > len(hits) and question.by == "moment":
        shown = f"{question.skip + 1} to {question.skip + len(hits)}" if hits else "none"
        notes = [f"{scan.passed} of {scan.seen} segments pass; {shown} are shown. More with --top, or --skip."]
    return Answer(hits, features.spec, tuple(notes))


def _candidates(scan: Scan, question: Question, row: VideoRow | None) -> Iterator[tuple[float, int, str, float, float]]:
    """(minus the value, place in the archive, video id, start_s, end_s) of what may be among the best `top` segments."""
    place = 0
    for batch in scan.passing(row.video_id if row else None):
        order = np.zeros(len(batch)) if batch.value is None else -batch.value
        best = np.argsort(order, kind="stable")
        if question.by == "video":  # all segments of a video stand in one file
            _, first = np.unique(batch.video_id[best].astype(str), return_index=True)
            best = best[np.sort(first)]
        for i in best[: question.skip + question.top]:
            at = place + int(i)
            yield float(order[i]), at, str(batch.video_id[i]), float(batch.start_s[i]), float(batch.end_s[i])
        place += len(batch)
