"""Probes of an archive: `probes/<name>/probe.json` says what one is, `probe.safetensors` holds its numbers. No pickles.

    save_probe(store, "probe", classes, slugs, method, measured)
    made = read_probe(store, "probe");  made.terms, made.classes        ready for `probe_methods.predict`

A probe of the same name is replaced: what it wrote into the videos table stays until it is written anew. `probe.json` comes
last and knows the checksum of the numbers, so a crash between the two is noticed. A probe fits only the features it was
trained on; that is checked when it is read.

    probe.json         {"version", "name", "created", "classes": [...], "encoders": [{"slug", "print"}], "method",
                        "terms": [{"kind": "linear" | "k-NN", "streams", "share", ...}], "measured": {...}, "sha256"}
    probe.safetensors  of term i: "i.weight" (C, D), "i.bias" (C), "i.mean" (D), "i.spread" (D), float32;
                       or "i.bank" (M, D) float32, "i.labels" (M) int64
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...extract.errors import Damaged, UsageError
from ...extract.files import sha256_of, write_atomic, write_json
from ...extract.fingerprint import MODEL_KEYS, require_same
from ...extract.heads.stored import print_of
from ...extract.store import Store, utc_now
from .linear import Linear, Scaling
from .methods import Method, Term
from .neighbours import Neighbours

VERSION = 1
JSON, WEIGHTS = "probe.json", "probe.safetensors"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Made:
    """A probe that can predict. Attributes:
    name: of its folder.    classes: (C,) names.    slugs: of the encoders whose vectors it takes, in order.
    terms: see `probe_methods.predict`.    facts: all of `probe.json`.
    """

    name: str
    classes: list[str]
    slugs: list[str]
    terms: tuple[Term, ...]
    facts: dict[str, Any]


def folder_of(store: Store, name: str) -> Path:
    """Where a probe lies.

    Raises:
        UsageError: not a name.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"probe {name!r}: expected a name of letters, digits, '_', '.' and '-' that begins with a letter or digit."
        )
    return store.root / "probes" / name


def names(store: Store) -> list[str]:
    """The probes of an archive, sorted."""
    return sorted(path.parent.name for path in (store.root / "probes").glob(f"*/{JSON}"))


def save_probe(
    store: Store, name: str, classes: Sequence[str], slugs: Sequence[str], method: Method, measured: Mapping[str, Any]
) -> Path:
    """Write a probe; gives its folder.

    Args:
        slugs: of the encoders, in the order of the streams.    measured: how well it did, for people to read.

    Raises:
        UsageError: not a name.    OSError: the disk is full or broken.
    """
    from safetensors.numpy import save_file

    folder, prints = folder_of(store, name), store.encoders()
    arrays: dict[str, Any] = {}
    terms: list[dict[str, Any]] = []
    for i, term in enumerate(method.terms):
        facts, tensors = _plain(term)
        terms.append(facts)
        arrays |= {f"{i}.{key}": np.ascontiguousarray(value) for key, value in tensors.items()}
    write_atomic(folder / WEIGHTS, lambda temporary: save_file(arrays, temporary))
    about = {
        "version": VERSION,
        "name": name,
        "created": utc_now(),
        "classes": list(classes),
        "encoders": [{"slug": slug, "print": print_of(prints[slug])} for slug in slugs],
        "method": method.name,
        "terms": terms,
        "measured": dict(measured),
        "sha256": sha256_of(folder / WEIGHTS),
    }
    write_json(folder / JSON, about)
    return folder


def read_probe(store: Store, name: str) -> Made:
    """A probe of the archive.

    Raises:
        UsageError: there is none of this name.    Damaged: its files are not those that were written.
        FingerprintMismatch: the archive's features are not those it was trained on.
    """
    folder = folder_of(store, name)
    if not (folder / JSON).is_file():
        has = ", ".join(names(store)) or "none yet; train one with `nightreel probe --labels`"
        raise UsageError(f"archive {store.root} has no probe {name!r}; it has: {has}.")
    try:
        facts = json.loads((folder / JSON).read_text(encoding="utf-8"))
        if facts["version"] != VERSION or facts["sha256"] != sha256_of(folder / WEIGHTS):
            raise ValueError("not the files that were written together")
        made = _made(facts, folder / WEIGHTS)
        prints = {one["slug"]: dict(one["print"]) for one in facts["encoders"]}
    except Exception as error:  # a broken or hostile file makes safetensors raise anything
        raise Damaged(
            f"{folder} cannot be read ({error}). Restore it from a backup, or train the probe anew."
        ) from error
    stored = store.encoders()
    for slug, trained_on in prints.items():
        if slug not in stored:
            raise UsageError(
                f"probe {name!r} needs features of {slug}; the archive has: {', '.join(stored) or 'none'}."
            )
        remedy = f"Train the probe anew: nightreel probe {store.root} --labels FILE --name {name}"
        require_same(stored[slug], trained_on, MODEL_KEYS, remedy=remedy, other=f"probe {name}")
    return made


def _plain(term: Term) -> tuple[dict[str, Any], dict[str, Any]]:
    """A term as JSON and as arrays."""
    facts: dict[str, Any] = {"streams": list(term.streams), "share": term.share}
    model = term.model
    if isinstance(model, Linear):
        scaling = {"mean": model.scaling.mean, "spread": model.scaling.spread}
        return {"kind": "linear", **facts}, {"weight": model.weight, "bias": model.bias, **scaling}
    settings = {"classes": model.classes, "k": model.k, "temperature": model.temperature}
    return {"kind": "k-NN", **facts, **settings}, {"bank": model.bank, "labels": model.labels}


def _made(facts: Mapping[str, Any], weights: Path) -> Made:
    from safetensors.numpy import load_file

    arrays = load_file(weights)
    terms: list[Term] = []
    for i, one in enumerate(facts["terms"]):

        def array(key: str, i: int = i) -> Any:
            return arrays[f"{i}.{key}"]

        model: Linear | Neighbours
        if one["kind"] == "linear":
            model = Linear(Scaling(array("mean"), array("spread")), array("weight"), array("bias"))
        else:
            model = Neighbours(
                array("bank"), array("labels"), int(one["classes"]), int(one["k"]), float(one["temperature"])
            )
        terms.append(Term(tuple(one["streams"]), float(one["share"]), model))
    slugs = [str(one["slug"]) for one in facts["encoders"]]
    dims = [int(one["print"]["dim"]) for one in facts["encoders"]]
    for term in terms:
        wide = sum(dims[stream] for stream in term.streams)
        held = term.model.weight if isinstance(term.model, Linear) else term.model.bank
        if held.ndim != 2 or held.shape[1] != wide:
            raise ValueError(f"numbers of shape {held.shape} for features of D = {wide}")
    return Made(str(facts["name"]), [str(name) for name in facts["classes"]], slugs, tuple(terms), dict(facts))
