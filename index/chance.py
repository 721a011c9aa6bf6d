"""Probe queries and the null distribution of an index: carried over from build to build, measured anew when the archive has
changed.

The sample is `SAMPLE` videos, of each at most `ROWS` segments in a row. Costs a read of those, one product with the probes
(5 GFLOP at D = 512) and, once per index, the encoding of the probe sentences.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..extract.encoders.base import Encoder
from ..extract.files import time_ordered_id, write_atomic
from ..extract.store import Store
from .levels import Level
from .manifest import Old, describe, folder_of
from .null import Null, measure_null, write_null
from .probes import Probes, make_probes, write_probes
from .reading import Footage, footage_of

SAMPLE = 256
ROWS = 256
GROWN = 0.1  # by this share more or fewer videos, it is measured anew


@dataclass(frozen=True)
class Chance:
    """`files`: how the header names them: `null` and `probes`."""

    null: Null
    probes: Probes
    files: dict[str, dict[str, Any]]


def measure_chance(
    store: Store, slug: str, old: Old, levels: Sequence[Level], load: Callable[[], Encoder] | None
) -> Chance:
    """The probes and null of an index, from the one before where they still hold."""
    folder, videos = folder_of(store, slug), len(store.video_ids(slug))
    fresh = bool(old.header) and abs(videos - old.header["null"]["videos"]) <= GROWN * old.header["null"]["videos"]
    probes = old.probes
    could_speak = load is not None and bool(store.encoders()[slug].get("has_text"))
    if probes is None or (probes.kind != "sentences" and (could_speak or not fresh)):
        made = make_probes(store, slug, load)
        if probes is None or made.kind == "sentences" or not fresh:
            probes, fresh = made, False
    assert probes is not None
    if fresh and old.null is not None and old.levels == [level.name for level in levels]:
        return Chance(old.null, probes, {key: old.header[key] for key in ("null", "probes")})
    null = measure_null(sample(store, slug), probes.vectors, levels, videos)
    name = time_ordered_id()
    null_path, probes_path = folder / f"{name}.null.npz", folder / f"{name}.probes.npy"
    write_atomic(null_path, lambda path: write_null(path, null))
    write_atomic(probes_path, lambda path: write_probes(path, probes))
    files = {
        "null": describe(null_path, videos=videos, measured=null.measured),
        "probes": describe(probes_path, kind=probes.kind, count=len(probes.vectors), why=probes.why),
    }
    return Chance(null, probes, files)


def sample(store: Store, slug: str) -> list[Footage]:
    """Stretches of up to `SAMPLE` videos, the same ones of the same archive."""
    rng = np.random.default_rng(0)
    names = sorted(store.video_ids(slug))
    out = []
    for i in rng.permutation(len(names))[:SAMPLE]:
        footage = footage_of(store.segments_of(slug, names[i]))
        low = int(rng.integers(max(1, len(footage.vectors) - ROWS + 1)))
        part = slice(low, low + ROWS)
        columns = {name: getattr(footage, name)[part] for name in ("vectors", "start_s", "end_s", "bad")}
        weight = None if footage.weight is None else footage.weight[part]
        out.append(replace(footage, **columns, weight=weight))
    return out
