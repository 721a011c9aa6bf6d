"""What `probe` reports: figures of every method on test, what guessing gets, who is taken for whom, and what makes it shaky.

    report(methods, chosen, work)         the result without what the files say
    confusion(chosen, work)               (C, C) counts

All figures are in percent, of rows of test; intervals draw sources, whole. Nothing here changes what was chosen.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...evaluate.bootstrap import LEVEL, paired
from ...evaluate.classification import label_ranks
from ...evaluate.runners.classification import evaluate_scores
from .linear import Probabilities, Whole
from .methods import Method, best
from .work import Work

FEW_SOURCES, FEW_EXAMPLES, FEW_TEST = 5, 10, 30  # of a class in train; of sources in test
SMALL_TEST = 0.1  # of all examples
MOST = 10  # confusions that are listed


def report(methods: Sequence[Method], chosen: Method, work: Work) -> dict[str, Any]:
    """The keys of the result that the README lists, but for the labels' bad rows and what was written."""
    figures = [_figures(method, work) for method in methods]
    of_chosen = figures[[method is chosen for method in methods].index(True)]
    return {
        "encoders": [stream.slug for stream in work.streams],
        **_counts(work),
        "baselines": _baselines(work),
        "methods": [_told(method, of) for method, of in zip(methods, figures, strict=True)],
        "chosen": chosen.name,
        **{key: of_chosen[key] for key in ("metrics", "intervals", "classes")},
        "gain": _gain(methods, work),
        "confused": _confused(chosen, work),
        "notes": _warnings(work),
    }


def confusion(chosen: Method, work: Work) -> Whole:
    """(C, C) how many rows of test of each class (rows) were taken for which (columns)."""
    out = np.zeros((len(work.classes),) * 2, np.int64)
    np.add.at(out, (work.labels[work.parts.test], chosen.test.argmax(axis=1)), 1)
    return out


def _figures(method: Method, work: Work) -> dict[str, Any]:
    """Metrics on test; a class that train does not have can only be wrong."""
    test = work.parts.test
    groups = [work.sources[i] for i in test]
    return evaluate_scores(_padded(method.test, work), work.labels[test], names=work.classes, groups=groups)


def _padded(said: Probabilities, work: Work) -> Probabilities:
    return np.pad(said, ((0, 0), (0, len(work.classes) - work.trained)))


def _told(method: Method, figures: dict[str, Any]) -> dict[str, Any]:
    held = {"top-1": method.top1, "cross_entropy": method.loss}
    shares = [term.share for term in method.terms]
    return {
        "method": method.name,
        "log10_l2": None if method.l2 is None else math.log10(method.l2),
        "shares": shares,
        "held_out": held,
        "test": figures["metrics"],
        "intervals": figures["intervals"],
    }


def _counts(work: Work) -> dict[str, Any]:
    parts = work.parts

    def of(rows: Whole) -> dict[str, int]:
        videos = {work.video_ids[i] for i in rows}
        return {"examples": len(rows), "videos": len(videos), "sources": len({work.sources[i] for i in rows})}

    how = {"given": parts.given, "folds": len(parts.folds), "copies": parts.footage}
    every = np.arange(len(work.examples))
    return {
        "labelled": {**of(every), "classes": len(work.classes)},
        "parts": {"train": of(parts.train), "test": of(parts.test), **how},
    }


def _baselines(work: Work) -> dict[str, Any]:
    """What guessing gets: any class, or always the most frequent of train; percent of test."""
    often = int(np.bincount(work.labels[work.parts.train]).argmax())
    hits = work.labels[work.parts.test] == often
    return {"chance": 100 / work.trained, "majority": {"label": work.classes[often], "top-1": 100 * float(hits.mean())}}


def _gain(methods: Sequence[Method], work: Work) -> dict[str, Any] | None:
    """Of two encoders: the better way of fusing on held-out rows against the better single one, and what that is on test."""
    fused = [method for method in methods if len(method.terms) > 1 or len(method.terms[0].streams) > 1]
    if not fused:
        return None
    over = best([method for method in methods if method not in fused])
    way, test = best(fused), work.parts.test
    hits = [100.0 * (label_ranks(_padded(m.test, work), work.labels[test]) <= 1) for m in (way, over)]
    found = paired(hits[0], hits[1], [work.sources[i] for i in test], level=LEVEL)
    return {"method": way.name, "over": over.name, "top-1": found.value, "interval": [found.low, found.high]}


def _confused(chosen: Method, work: Work) -> list[dict[str, Any]]:
    """The pairs of classes that are mistaken most often."""
    counts = confusion(chosen, work)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:MOST]
    pairs = [divmod(int(i), len(counts)) for i in order]
    return [
        {"label": work.classes[a], "taken_for": work.classes[b], "examples": int(counts[a, b])}
        for a, b in pairs
        if counts[a, b]
    ]


def _warnings(work: Work) -> list[str]:
    """What makes the figures shaky."""
    notes, names = [], work.classes
    train = [(int(work.labels[i]), work.sources[i]) for i in work.parts.train]
    examples = Counter(label for label, _ in train)
    sources = Counter(label for label, _ in set(train))
    few = [k for k in range(work.trained) if sources[k] < FEW_SOURCES or examples[k] < FEW_EXAMPLES]
    if few:
        least = min(few, key=lambda k: (sources[k], examples[k]))
        notes.append(
            f"{len(few)} of {work.trained} classes have fewer than {FEW_SOURCES} sources or {FEW_EXAMPLES} examples in train "
            f"(least: {names[least]!r}, {sources[least]} sources, {examples[least]} examples): label more."
        )
    if len(names) > work.trained:
        notes.append(
            f"train has no example of {', '.join(map(repr, names[work.trained :][:5]))}: always wrong in test."
        )
    share = len(work.parts.test) / len(work.examples)
    if work.parts.footage and not work.parts.given and share < SMALL_TEST:
        notes.append(
            f"test has only {100 * share:.0f} % of the examples: {work.parts.footage} pairs of spans show the same footage, "
            "and what shares footage goes as one. Another --seed or a larger --test-share may part them better."
        )
    tested = len({work.sources[i] for i in work.parts.test})
    if tested < FEW_TEST:
        notes.append(f"test has only {tested} sources: its figures are rough, and their intervals too narrow.")
    if all(example.span for example in work.examples):
        notes.append("All labels are of spans; whole videos, as --write and --apply see them, may look different.")
    if work.parts.footage is None:
        notes.append("Footage was not compared between the parts: copies under other names may stand in both.")
    return notes
