"""From labels and an archive to what can be fitted: which videos are meant, their vectors, their parts, numbers for classes.

    work, bad = make_work(store, read.examples, ["videomae"], seed=0, shares={"train": 0.8, "test": 0.2}, ...)

Videos are matched as `evaluate` matches them, and then go by the name of their file, so that moving the archive's folder
moves no video between the parts. It does not know classifiers. Costs: see `probe_features.py` and `probe_parts.py`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...evaluate.records import Dataset, Labelled, bare_name
from ...evaluate.runners.videos import match_videos, require
from ...evaluate.splits import source_of
from ...extract.errors import UsageError
from ...extract.store import Store
from ...index.choose import choose_motion_encoder, require_encoder
from ...search.archive import slug_of
from ..captions.tables import BadRow
from .features import pooled
from .labels import Example, each_once
from .linear import Whole
from .methods import Stream
from .parts import Parts, make_parts


@dataclass(frozen=True)
class Work:
    """What the methods are fitted on. Attributes:
    examples, video_ids: N, of the archive's videos.    streams: (N, D) each.
    classes: those of train, then those that only test has; `trained` are the first.    labels: (N,) numbers of these.
    """

    examples: list[Example]
    video_ids: list[str]
    streams: list[Stream]
    parts: Parts
    classes: list[str]
    trained: int
    labels: Whole

    @property
    def sources(self) -> list[str]:
        """(N,)"""
        return [source_of(example.record) for example in self.examples]


def make_work(
    store: Store,
    examples: Sequence[Example],
    encoders: Sequence[str],
    *,
    seed: int,
    shares: Mapping[str, float],
    threshold: float | None,
    allow_missing: bool,
) -> tuple[Work, list[BadRow]]:
    """The work, and the examples that fell out: not in the archive, said under two names, or without
    footage in their span.

    Args:
        encoders: specs or slugs, at most two; none takes the archive's for footage.
        seed, shares, threshold: as of `make_parts`.    allow_missing: go on where videos are not in the archive.

    Raises:
        Leak, Refused, UsageError: as `probe`.
    """
    slugs = _slugs(store, encoders)
    found, ids, bad = _matched(store, slugs, examples, allow_missing=allow_missing)
    pools = [pooled(store, slug, [(ids[i], one.span) for i, one in enumerate(found)]) for slug in slugs]
    missing = np.logical_or.reduce([empty for _, empty in pools])
    bad += [
        BadRow(named(found[i]), f"the archive has no footage there ({' or '.join(slugs)})")
        for i in np.flatnonzero(missing)
    ]
    kept = np.flatnonzero(~missing)
    if not len(kept):
        raise UsageError(f"no labelled video has footage in {store.root}; the first: {bad[0]}")
    found, ids = [found[i] for i in kept], [ids[i] for i in kept]
    records = [example.record for example in found]
    parts = make_parts(store, slugs[0], records, seed=seed, shares=shares, threshold=threshold)
    trained = sorted({records[i].label for i in parts.train})
    if len(trained) < 2:
        raise UsageError(
            f"the {len(parts.train)} trained examples are all {trained[0]!r}; expected two classes or more.\n"
            "Label videos of another class too; where there are few, another --seed parts them otherwise."
        )
    classes = [*trained, *sorted({record.label for record in records} - set(trained))]
    number = {name: i for i, name in enumerate(classes)}
    labels = np.array([number[record.label] for record in records], np.int64)
    streams = [Stream(slug, vectors[kept]) for slug, (vectors, _) in zip(slugs, pools, strict=True)]
    return Work(found, ids, streams, parts, classes, len(trained), labels), bad


def _slugs(store: Store, asked: Sequence[str]) -> list[str]:
    slugs = [require_encoder(store, slug_of(store, one)) for one in asked] or [choose_motion_encoder(store)]
    if len(slugs) > 2 or len(set(slugs)) < len(slugs):
        raise UsageError(f"--encoder: got {', '.join(slugs)}; expected one, or two different ones to fuse.")
    return slugs


def _matched(
    store: Store, slugs: Sequence[str], examples: Sequence[Example], *, allow_missing: bool
) -> tuple[list[Example], list[str], list[BadRow]]:
    """The examples whose video is there, under the name that the archive has for it; their ids; those that fell out."""
    dataset = Dataset("the labels", labelled=tuple(example.record for example in examples))
    missing: dict[str, str] = {}
    for slug in slugs:
        found = match_videos(dataset.videos, store, slug)
        missing |= found.missing
        dataset = require(found, dataset, store.root, allow_missing=allow_missing)
    # Names of files, as `make-splits` writes them: moving the archive's folder must not move videos between the parts.
    count = Counter(bare_name(row.path) for row in store.videos())
    there = set(dataset.videos)
    rows: list[tuple[str, Example | BadRow]] = []
    id_of: dict[str, str] = {}
    for one in (example for example in examples if example.record.video in there):
        row = found.rows[one.record.video]
        name = bare_name(row.path) if count[bare_name(row.path)] == 1 else row.path
        id_of[name] = row.video_id
        rows.append((named(one), Example(_renamed(one.record, name), one.span)))
    once = each_once(rows)
    bad = [*(BadRow(name, why) for name, why in missing.items()), *once.bad]
    return list(once.examples), [id_of[one.record.video] for one in once.examples], bad


def _renamed(record: Labelled, name: str) -> Labelled:
    """The record by another name of its video; the source stays what the first name told, if it told any."""
    told = source_of(record)
    return replace(record, video=name, source=record.source or (told if told != record.video else None))


def named(example: Example) -> str:
    """The video, and the span where one is labelled."""
    span = "" if example.span is None else f" [{example.span[0]:g}, {example.span[1]:g}) s"
    return f"{example.record.video}{span}"
