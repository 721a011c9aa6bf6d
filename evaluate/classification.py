"""How often the right class comes first: top-1, top-5, per class, and averaged over the views of a video.

    classification_metrics(scores, labels)     top-1, top-5, mean-class, in percent
    per_class(scores, labels)                  the table behind mean-class
    average_views(scores, owner)               rows of several clips a video -> one row a video

Ties are ranked pessimistically, as in `retrieval.py`: a classifier that says nothing gets 0, not whichever class comes first.
Knows nothing of files or of class names. Costs: 50 000 x 400 scores in 0.12 s.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..extract.errors import UsageError

Values: TypeAlias = npt.NDArray[np.float64]
Whole: TypeAlias = npt.NDArray[np.int64]


class PerClass(NamedTuple):
    """One class: how many videos are of it, and the percentage of them for which it comes first."""

    label: int
    videos: int
    top1: float


def classification_metrics(scores: npt.ArrayLike, labels: npt.ArrayLike) -> dict[str, float]:
    """Accuracy of scores (N, C), any scale, higher is likelier, against labels (N,) int of 0 to C - 1.

    Returns:
        `top-1`, `top-5` (absent with fewer than 5 classes, where it would say nothing) and `mean-class`, the mean over the
        classes that occur of the top-1 of each, in percent, not rounded.

    Raises:
        UsageError: NaN, shapes or labels that do not fit.
    """
    rank, right, classes = _ranks(scores, labels)
    out = {"top-1": 100 * float((rank <= 1).mean())}
    if classes >= 5:
        out["top-5"] = 100 * float((rank <= 5).mean())
    return {**out, "mean-class": float(np.mean([row.top1 for row in _table(rank, right)]))}


def per_class(scores: npt.ArrayLike, labels: npt.ArrayLike) -> list[PerClass]:
    """Each class that occurs among the labels, in order.

    Raises:
        UsageError: as `classification_metrics`.
    """
    rank, right, _ = _ranks(scores, labels)
    return _table(rank, right)


def label_ranks(scores: npt.ArrayLike, labels: npt.ArrayLike) -> Whole:
    """(N,) rank of the right class from 1: 1 + the other classes that score at least as much.

    Raises:
        UsageError: as `classification_metrics`.
    """
    return _ranks(scores, labels)[0]


def average_views(scores: npt.ArrayLike, owner: npt.ArrayLike) -> tuple[npt.NDArray[np.generic], Values]:
    """Multi-view testing: the mean of the probabilities of all clips (and crops) of each video.

    Args:
        scores: (R, C) probabilities, one row per view. Not logits: their mean lets one sure clip outvote the others.
        owner: (R,) which video each row is of: numbers or names.

    Returns:
        The owners (N,), sorted, each once, and (N, C) mean probabilities.

    Raises:
        UsageError: shapes that do not fit, values outside [0, 1].
    """
    rows, owners = np.asarray(scores, np.float64), np.asarray(owner)
    if rows.ndim != 2 or owners.shape != rows.shape[:1] or not rows.size:
        raise UsageError(f"scores {rows.shape} and owner {owners.shape}; expected (R, C) and (R,), R and C at least 1")
    if not (rows.min() >= 0 and rows.max() <= 1 + 1e-3):
        raise UsageError(
            f"scores run from {rows.min():.3g} to {rows.max():.3g}; expected probabilities in [0, 1]: take the softmax "
            "of each row first"
        )
    names, inverse, counts = np.unique(owners, return_inverse=True, return_counts=True)
    total = np.zeros((len(names), rows.shape[1]))
    np.add.at(total, inverse, rows)
    return names, total / counts[:, None]


def _ranks(scores: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Whole, Whole, int]:
    """Ranks, checked labels, how many classes."""
    rows, right = np.asarray(scores), np.asarray(labels)
    if rows.ndim != 2 or not rows.size or right.shape != rows.shape[:1]:
        raise UsageError(f"scores {rows.shape} and labels {right.shape}; expected (N, C) and (N,), N and C at least 1")
    if rows.dtype.kind not in "fiu" or right.dtype.kind not in "iu":
        raise UsageError(f"scores of {rows.dtype} and labels of {right.dtype}; expected numbers, and whole numbers")
    if rows.dtype.kind == "f" and np.isnan(rows).any():
        raise UsageError(f"scores{np.argwhere(np.isnan(rows))[0].tolist()} is NaN; it can be ranked nowhere")
    if right.min() < 0 or right.max() >= rows.shape[1]:
        raise UsageError(
            f"labels run from {right.min()} to {right.max()}, but scores have {rows.shape[1]} classes; expected 0 to "
            f"{rows.shape[1] - 1}"
        )
    own = rows[np.arange(len(rows)), right][:, None]
    return (rows >= own).sum(axis=1), right.astype(np.int64), rows.shape[1]


def _table(rank: Whole, right: Whole) -> list[PerClass]:
    videos = np.bincount(right)
    first = np.bincount(right, weights=rank <= 1)
    return [PerClass(int(k), int(videos[k]), 100 * float(first[k] / videos[k])) for k in np.flatnonzero(videos)]
