"""Probe queries: sentences that hardly any footage shows, chosen without looking at the archive, that say what a query finds
by chance.

Each names two things from ImageNet's 1000 classes (torchvision carries them) that do not belong together: "a tench and a
space bar". Single things would be the better known queries and the worse probes, for an archive does show some of them: with
those, three in four sentences whose video was taken out of QVHighlights got a confidence below 0.49 (should be 0.75), with
pairs below 0.62.

Where an encoder has no text, or its weights are not on this machine, single stored segments stand in: less like a sentence,
but also something that most of the archive has nothing to do with.

Costs one encoding of `SENTENCES` sentences per index, not per build: a second with a small text tower, a minute and a half of
two cores with PE-Core-B's (20 GFLOP a sentence), seconds on a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extract.encoders.base import ClipEncoder, Encoder
from ..extract.errors import FingerprintMismatch, UsageError, WeightsUnavailable
from ..extract.store import Store

Floats = npt.NDArray[np.float32]

SENTENCES = 400
BATCH = 64
FOOTAGE = 256


@dataclass(frozen=True)
class Probes:
    """`vectors` (P, D) float32, unit norm; `kind` is `sentences` or `footage`; `why` says why not sentences."""

    vectors: Floats
    kind: str
    why: str = ""

    @property
    def sentences(self) -> Floats:
        """(P, D) those that are no stored vectors."""
        return self.vectors if self.kind == "sentences" else self.vectors[:0]


def sentences() -> list[str]:
    """The bank, always the same `SENTENCES`."""
    from torchvision.models import ResNet50_Weights

    things = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    rng = np.random.default_rng(0)
    pairs = zip(rng.permutation(len(things))[:SENTENCES], rng.permutation(len(things))[:SENTENCES], strict=True)
    return [f"a {things[one]} and a {things[other]}" for one, other in pairs]


def make_probes(store: Store, slug: str, load: Callable[[], Encoder] | None) -> Probes:
    """Sentences in the space of an archive's features, or, where that cannot be, footage.

    Args:
        load: the encoder of the features, checked; called only if they have text.
    """
    if not store.encoders()[slug].get("has_text"):
        return footage(store, slug, "the encoder has no text")
    if load is None:
        return footage(store, slug, "the encoder was not at hand")
    try:
        encoder = load()
    except (WeightsUnavailable, UsageError, FingerprintMismatch) as error:
        return footage(store, slug, str(error).splitlines()[0])
    if isinstance(encoder, ClipEncoder):
        return footage(store, slug, "the encoder has no text")
    bank = sentences()
    parts = [encoder.encode_text(bank[low : low + BATCH]) for low in range(0, len(bank), BATCH)]
    vectors = np.concatenate(parts).astype(np.float32)
    return Probes(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), "sentences")


def footage(store: Store, slug: str, why: str) -> Probes:
    """Up to `FOOTAGE` stored segments, one of each of so many videos, the same ones every time."""
    rng = np.random.default_rng(0)
    names = sorted(store.video_ids(slug))
    rows = []
    for i in rng.permutation(len(names))[:FOOTAGE]:
        of = store.segments_of(slug, names[i]).embedding
        rows.append(of[rng.integers(len(of))].astype(np.float32))
    dim = int(store.encoders()[slug]["dim"])
    picked = np.stack(rows) if rows else np.zeros((0, dim), np.float32)
    norms = np.linalg.norm(picked, axis=1, keepdims=True)
    good = np.isfinite(norms[:, 0]) & (norms[:, 0] > 0)
    return Probes(picked[good] / norms[good], "footage", why)


def write_probes(path: Path, probes: Probes) -> None:
    """The vectors as .npy; the rest stands in the manifest."""
    with open(path, "wb") as handle:
        np.save(handle, probes.vectors, allow_pickle=False)


def read_probes(folder: Path, named: dict[str, Any]) -> Probes:
    """As the manifest names them; raises ValueError, OSError."""
    with open(folder / named["file"], "rb") as handle:
        vectors = np.lib.format.read_array(handle, allow_pickle=False)
    if vectors.ndim != 2 or len(vectors) != named["count"]:
        raise ValueError(f"{named['file']} has shape {vectors.shape}, expected {named['count']} rows")
    return Probes(np.asarray(vectors, np.float32), str(named["kind"]), str(named["why"]))
