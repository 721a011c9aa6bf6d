"""`nightreel evaluate classification`: what a clip encoder's classifier said of each video, against the right classes.

    evaluate_store(store, dataset)         from the `labels` that `extract --labels N` stored, averaged over a video's clips
    evaluate_scores(scores, labels)        from any scores

Only the N likeliest classes of a clip are stored; the others count as probability 0, tied, so a right class among them is
wrong here. That is exact for top-1 of single clips, and errs against us in averages; top-5 is left out when N is below 5.
Class names are compared without case, and `_` is a space, as folders of Kinetics have it.

It does not know which classes the classifier has, only which it named; one that it never named cannot be right.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...extract.errors import Refused, UsageError
from ...extract.fingerprint import Fingerprint
from ...extract.segment import Labels
from ...extract.store import Store
from ...index.choose import encoders_with_features, require_encoder
from ...search.archive import slug_of
from ..bootstrap import LEVEL, intervals
from ..classification import Values, average_views, classification_metrics, label_ranks, per_class
from ..records import Dataset
from ..splits import source_of
from .videos import left_out, match_videos, require


def labelling_encoder(store: Store, asked: str | None = None) -> tuple[str, Fingerprint]:
    """The encoder asked for, or the archive's only one, with stored labels: its slug and fingerprint.

    Raises:
        Refused: none has any.    UsageError: no such encoder, or several have.
    """
    slug = require_encoder(store, slug_of(store, asked)) if asked else None
    every = {name: made for name, made in encoders_with_features(store).items() if slug in (None, name)}
    having = {name: made for name, made in every.items() if made.get("labels")}
    if not having:
        raise Refused(
            f"{store.root} has no stored labels of {', '.join(every)}.\nExtract the videos with a classifier into a new "
            f"archive: nightreel extract VIDEOS --archive NEW --encoder videomae --labels 5"
        )
    if len(having) > 1:
        raise UsageError(f"several encoders of {store.root} have labels; choose one by --encoder: {', '.join(having)}")
    return next(iter(having.items()))


def evaluate_store(
    store: Store, dataset: Dataset, *, encoder: str | None = None, allow_missing: bool = False
) -> dict[str, Any]:
    """As `evaluate_scores`, and what was measured on.

    Raises:
        Refused: videos are missing, or there are no stored labels, or none that the benchmark has.
        UsageError: names are ambiguous, or several encoders have labels.
    """
    slug, fingerprint = labelling_encoder(store, encoder)
    found = match_videos(dataset.videos, store, slug)
    kept = require(found, dataset, store.root, allow_missing=allow_missing)
    order = [found.rows[record.video].video_id for record in kept.labelled]
    rows, owners = _stored(store, slug, set(order))
    right = [plain(record.label) for record in kept.labelled]
    known = [plain(name) for name in dataset.classes] or sorted(set(right))
    said = {plain(name) for labels in rows for name, _ in labels}
    _check_known(known, said, slug)
    classes = [*known, *sorted(said - set(known))]
    names, means = average_views(_table(rows, classes), owners)
    at = {str(name): row for row, name in enumerate(names)}
    number = {name: i for i, name in enumerate(classes)}
    figures = evaluate_scores(
        means[[at[video_id] for video_id in order]],
        [number[name] for name in right],
        names=classes,
        groups=[source_of(record) for record in kept.labelled],
    )
    stored = int(fingerprint["labels"])
    if stored < 5:
        for part in (figures["metrics"], figures["intervals"]):
            part.pop("top-5", None)
    counts = {"clips": len(rows), "labels_per_clip": stored}
    return {"encoder": fingerprint["spec"], **figures, **counts, **left_out(found, dataset, kept)}


def _stored(store: Store, slug: str, wanted: set[str]) -> tuple[list[Labels], list[str]]:
    """The labels of every clip of these videos, and whose clip it is."""
    rows: list[Labels] = []
    owners: list[str] = []
    for batch in store.segments(slug):
        if batch.labels is not None:
            mine = [i for i, name in enumerate(batch.video_id) if name in wanted]
            rows += [batch.labels[i] for i in mine]
            owners += [str(batch.video_id[i]) for i in mine]
    return rows, owners


def _table(rows: Sequence[Labels], classes: Sequence[str]) -> Values:
    """(R, C) probabilities."""
    number = {name: i for i, name in enumerate(classes)}
    table = np.zeros((len(rows), len(classes)))
    for row, labels in enumerate(rows):
        for name, probability in labels:
            table[row, number[plain(name)]] += probability
    return table


def _check_known(classes: Sequence[str], said: set[str], slug: str) -> None:
    if not said & set(classes):
        raise Refused(
            f"the classifier of {slug} named none of the benchmark's {len(classes)} classes ({', '.join(classes[:3])}, ...), "
            f"only {', '.join(sorted(said)[:3]) or 'none'}, ...: it knows other classes, or other names for them.\n"
            "Where the list has numbers, name the file of class names with --classes."
        )


def plain(name: str) -> str:
    """A class's name as it is compared: `Air_Drumming` -> `air drumming`."""
    return " ".join(name.replace("_", " ").casefold().split())


def evaluate_scores(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    owner: npt.ArrayLike | None = None,
    names: Sequence[str] = (),
    groups: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Accuracy of scores (N, C) against labels (N,).

    Args:
        owner: (N,) which video each row is a view of; rows of one video are averaged, and must have one label.
        names: (C,) of the classes.    groups: (N,) what is drawn together for intervals.

    Returns:
        {"videos", "metrics": {"top-1", "top-5", "mean-class"}, "intervals": {"level", "top-1", "top-5"}, "classes":
        [{"label", "videos", "top-1"}]}.

    Raises:
        UsageError: as `classification_metrics`, or the views of a video have different labels.
    """
    table, right = np.asarray(scores), np.asarray(labels)
    if owner is not None:
        owners = np.asarray(owner)
        who, table = average_views(table, owners)
        if right.shape != owners.shape:
            raise UsageError(f"owner {owners.shape} and labels {right.shape}; expected one of each per row of scores")
        place = np.searchsorted(who, owners)
        of_video = np.zeros(len(who), right.dtype)
        of_video[place] = right
        wrong = np.flatnonzero(of_video[place] != right)
        if len(wrong):
            raise UsageError(f"rows of the video {owners[wrong[0]]!s} have different labels; a video is of one class")
        right = of_video
    metrics, rank = classification_metrics(table, right), label_ranks(table, right)
    columns = {f"top-{k}": 100.0 * (rank <= k) for k in (1, 5) if f"top-{k}" in metrics}
    classes = [
        {"label": names[row.label] if names else row.label, "videos": row.videos, "top-1": row.top1}
        for row in per_class(table, right)
    ]
    bounds = intervals(columns, groups, level=LEVEL)
    return {"videos": len(right), "metrics": metrics, "intervals": {"level": LEVEL, **bounds}, "classes": classes}
