"""Which video of an archive a benchmark's name means, and what the benchmark's sentences are in its features.

    found = match_videos(dataset.videos, store, slug)
    kept = require(found, dataset, store.root, allow_missing=False)      the records whose video is there

A benchmark names videos, an archive knows files: a name is compared with the file's name without folder and suffix, to the
letter. Where no file is called so, one that differs only by a suffix more (`NAME.mov.mp4`, as DiDeMo's downloads are) or by
ActivityNet's `v_` before it stands in, if it is the only one; `loosely` counts these. A video's id, or its path as the
archive has it or from here, names it too, and goes first.

It does not know content: a wrong file of the right name is taken, and of two equal files, which an archive stores once, only
one name is found. Costs 70 ms for 10 000 names.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...extract.encoders.base import ClipEncoder
from ...extract.errors import Refused, UsageError
from ...extract.store import Store
from ...extract.videos import VideoRow
from ...search.features import Features
from ...search.query import embed_texts
from ..records import Dataset, bare_name

SHOWN = 5
TEXTS = 256  # sentences that the encoder gets at once


@dataclass(frozen=True)
class Matched:
    """Attributes:
    rows: name in the dataset -> video of the archive, with features.
    missing: names without one, and why.
    loosely: how many names did not equal a file's.
    """

    rows: dict[str, VideoRow]
    missing: dict[str, str]
    loosely: int = 0


def match_videos(names: Sequence[str], store: Store, slug: str) -> Matched:
    """The archive's videos of these names that have features of an encoder.

    Raises:
        UsageError: two videos of the archive are called like one that is asked for.
    """
    known = {key: [row] for row in store.videos() for key in (row.video_id, row.path)}
    by_stem: dict[str, list[VideoRow]] = {}
    loose: dict[str, list[VideoRow]] = {}
    for row in store.videos():
        stem = bare_name(row.path)
        by_stem.setdefault(stem, []).append(row)
        for other in _loosely(stem):
            loose.setdefault(other, []).append(row)
    extracted, used = set(store.video_ids(slug)), 0
    rows: dict[str, VideoRow] = {}
    missing: dict[str, str] = {}
    for name in names:
        bare = bare_name(name)
        exact = known.get(name) or known.get(os.path.abspath(name)) or by_stem.get(name) or by_stem.get(bare)
        found = exact or loose.get(bare, [])
        if len(found) > 1:
            paths = "\n  ".join(row.path for row in found[:SHOWN])
            raise UsageError(
                f"{len(found)} videos of {store.root} are called {name!r}:\n  {paths}\n"
                "It is not known which one is meant: where a list of yours says it, write the whole path; else remove the\n"
                "others: nightreel remove"
            )
        if not found:
            missing[name] = "no such file"
        elif found[0].video_id not in extracted:
            missing[name] = f"no features of {slug}; its extraction ended {found[0].status}"
        else:
            rows[name] = found[0]
            used += not exact
    return Matched(rows, missing, used)


def _loosely(stem: str) -> list[str]:
    """What else a file's stem may be called in a dataset."""
    bare, dot, suffix = stem.rpartition(".")
    other = [bare] if dot and bare and suffix.isalpha() else []
    return [*other, stem.removeprefix("v_") if stem.startswith("v_") else f"v_{stem}"]


def require(found: Matched, dataset: Dataset, archive: Path, *, allow_missing: bool) -> Dataset:
    """The records whose video is there.

    Raises:
        Refused: some are not, and that was not allowed; or none is.
    """
    if found.missing and (not allow_missing or not found.rows):
        few = "\n  ".join(f"{name}: {why}" for name, why in list(found.missing.items())[:SHOWN])
        more = f"\n  ... and {len(found.missing) - SHOWN} more" if len(found.missing) > SHOWN else ""
        remedy = "Extract them, or measure on those that are there with --allow-missing; the result then says how many."
        if not found.rows:
            remedy = "None is there: is it the right archive, and are the files called as the benchmark calls them?"
        raise Refused(
            f"{len(found.missing)} of the {len(dataset.videos)} videos of {dataset.name} are not in {archive}:\n"
            f"  {few}{more}\n{remedy}"
        )
    queries = tuple(query for query in dataset.queries if query.video in found.rows)
    labelled = tuple(record for record in dataset.labelled if record.video in found.rows)
    return replace(dataset, queries=queries, labelled=labelled)


def left_out(found: Matched, whole: Dataset, kept: Dataset) -> dict[str, int]:
    """What a result says of missing and loosely matched videos."""
    return {
        "videos": len(found.rows),
        "missing_videos": len(found.missing),
        "missing_records": len(whole.records) - len(kept.records),
        "matched_loosely": found.loosely,
    }


def embed_captions(features: Features, texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """(Q, D) unit vectors of sentences as `search` embeds them, but `^2` at the end of one is no weight here.

    Raises:
        UsageError: the encoder knows no text.
    """
    encoder = features.encoder
    if isinstance(encoder, ClipEncoder):
        raise UsageError(
            f"encoder {encoder.spec} sees clips, not sentences; choose one with text by --encoder, or extract with one."
        )
    parts = [embed_texts(encoder, texts[low : low + TEXTS]) for low in range(0, len(texts), TEXTS)]
    return np.concatenate(parts)
