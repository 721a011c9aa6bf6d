"""How well videos are ranked for sentences: recall at K, median and mean rank, in both directions.

    retrieval_metrics(similarity)          text to video
    both_directions(similarity, own)       and video to text, several captions a video
    ranks(similarity, positives)           what these summarise, for bootstrap intervals
    dual_softmax(similarity)               an inference trick, reported only under its own name
    auroc(positive, negative)

Ties are ranked pessimistically: the rank of a query is 1 + the wrong columns that score at least as much as its best placed
right one. So scores that say nothing look terrible: a constant matrix puts every query last. Knows nothing of files or
archives. Costs: works through blocks of rows, so a 10 000 x 10 000 float32 matrix (400 MB) needs 140 MB beside it, most
of that one byte per pair for what is right; 0.8 s text to video, 3.4 s both. `dual_softmax`: two copies, 2.8 s.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..extract.errors import UsageError

Ranks: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Positives: TypeAlias = npt.NDArray[np.generic] | Sequence[int] | Sequence[Sequence[int]] | None

RECALLS = (1, 5, 10, 50)
BLOCK = 4_000_000  # scores looked at in one step


def retrieval_metrics(similarity: npt.ArrayLike, positives: Positives = None) -> dict[str, float]:
    """Recall and ranks of (Q, V) scores, a row per query, a column per video, higher is nearer.

    Args:
        similarity: (Q, V) real numbers; infinities are fine, NaN is not.
        positives: which columns are right: None for the diagonal (Q == V); (Q,) int, the one column of each row; (Q, V) bool;
            or a sequence of Q sequences of columns. Of several the best placed counts, and the others do not push it down.

    Returns:
        `R@1`, `R@5`, `R@10`, `R@50` in percent, 0 to 100, and `MdR`, `MnR`, median and mean rank from 1; not rounded.

    Raises:
        UsageError: NaN (where), positives that do not fit, a row without one.
    """
    return summary(ranks(similarity, positives))


def summary(of: npt.ArrayLike) -> dict[str, float]:
    """`R@1 R@5 R@10 R@50` in percent, `MdR`, `MnR` of ranks (Q,) from 1."""
    rank = np.asarray(of)
    recalls = {f"R@{top}": 100 * float((rank <= top).mean()) for top in RECALLS}
    return {**recalls, "MdR": float(np.median(rank)), "MnR": float(rank.mean())}


def both_directions(similarity: npt.ArrayLike, positives: Positives = None) -> dict[str, dict[str, float]]:
    """{"text_to_video": ..., "video_to_text": ...}, each as `retrieval_metrics`, where a video may have several captions.

    `video_to_text` ranks all captions for each video, and its best placed own caption counts. Videos without a caption have
    no right answer there: they are left out, and `left_out` among its figures counts them. (CLIP4Clip's code, for MSVD, lets
    each video's captions stand as one: the same R@1, a higher R@5 and R@10 than here.)

    Raises:
        UsageError: as `retrieval_metrics`.
    """
    scores = _scores(similarity)
    to_video = retrieval_metrics(scores, positives)
    back, left_out = video_to_text_ranks(scores, positives)
    return {"text_to_video": to_video, "video_to_text": {**summary(back), "left_out": float(left_out)}}


def video_to_text_ranks(similarity: npt.ArrayLike, positives: Positives = None) -> tuple[Ranks, int]:
    """Ranks of the videos that have a caption, in column order, and how many have none."""
    scores = _scores(similarity)
    right = as_mask(positives, scores.shape).T
    captioned = np.flatnonzero(right.any(axis=1))
    out = np.empty(len(captioned), np.int64)
    for rows in _blocks(len(captioned), scores.shape[0]):
        columns = captioned[rows]
        out[rows] = _rank(scores[:, columns].T, right[columns])
    return out, scores.shape[1] - len(captioned)


def ranks(similarity: npt.ArrayLike, positives: Positives = None) -> Ranks:
    """(Q,) rank of each row's best placed right column, from 1: 1 + the wrong columns that score at least as much.

    Raises:
        UsageError: as `retrieval_metrics`.
    """
    scores = _scores(similarity)
    right = as_mask(positives, scores.shape)
    empty = np.flatnonzero(~right.any(axis=1))
    if len(empty):
        raise UsageError(
            f"{len(empty)} of {len(right)} queries have no right column, first row {empty[0]}; leave such rows out, "
            "their rank means nothing"
        )
    out = np.empty(len(scores), np.int64)
    for rows in _blocks(*scores.shape):
        out[rows] = _rank(scores[rows], right[rows])
    return out


def _rank(scores: npt.NDArray[np.floating], right: Mask) -> Ranks:
    best = np.where(right, scores, -np.inf).max(axis=1, keepdims=True)
    rank: Ranks = 1 + ((scores >= best) & ~right).sum(axis=1)
    return rank


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(columns, 1))
    return (slice(begin, min(begin + step, rows)) for begin in range(0, rows, step))


def _scores(similarity: npt.ArrayLike) -> npt.NDArray[np.floating]:
    scores = np.asarray(similarity)
    if scores.ndim != 2 or not scores.size or scores.dtype.kind not in "fiu":
        raise UsageError(
            f"got a similarity of shape {scores.shape} and type {scores.dtype}; expected numbers (queries, videos), "
            "at least one of each"
        )
    for rows in _blocks(*scores.shape):
        if scores.dtype.kind == "f" and np.isnan(scores[rows]).any():
            row, column = np.argwhere(np.isnan(scores[rows]))[0]
            raise UsageError(
                f"similarity[{rows.start + row}, {column}] is NaN; it can be ranked nowhere. Look for zero or broken "
                "vectors, or put -inf where a pair was not scored"
            )
    return scores


def as_mask(positives: Positives, shape: tuple[int, ...]) -> Mask:
    """(Q, V) bool of the right columns, from any of the forms that `retrieval_metrics` takes.

    Raises:
        UsageError: it does not fit the shape.
    """
    queries, videos = shape
    if positives is None:
        if queries != videos:
            raise UsageError(
                f"a similarity of {queries} queries and {videos} videos is not square, so the diagonal is not what is "
                "right; say which column each row belongs to (positives)"
            )
        return np.eye(queries, dtype=bool)
    count = 0 if isinstance(positives, np.ndarray) and not positives.ndim else len(positives)
    if count != queries:
        raise UsageError(f"positives for {count} queries, but similarity has {queries} rows; one for each")
    if isinstance(positives, np.ndarray) and positives.dtype == bool:
        if positives.shape != shape:
            raise UsageError(
                f"positives of type bool have shape {positives.shape}, similarity {shape}; expected the same"
            )
        return positives.astype(bool, copy=False)
    mask = np.zeros((queries, videos), bool)
    for row, columns in enumerate(positives):
        own = np.atleast_1d(np.asarray(columns))
        fits = own.dtype.kind in "iu" and own.ndim == 1
        if own.size and not (fits and own.min() >= 0 and own.max() < videos and len(set(own.tolist())) == own.size):
            raise UsageError(
                f"positives[{row}] = {str(columns)[:80]}; expected whole numbers of columns, from 0 to {videos - 1}, each "
                f"once, or a bool array {shape} (a matrix of 0 and 1 is none; save it with .astype(bool))"
            )
        mask[row, own.astype(np.int64)] = True
    return mask


def dual_softmax(similarity: npt.ArrayLike, temperature: float = 100.0) -> npt.NDArray[np.floating]:
    """(Q, V) the logarithm of scores times their softmax over the *queries* of each video (CAMoE, Cheng 2021).

    The logarithm ranks as the product does, and does not become 0 where scores run far (logits, say): there the product is 0
    for most pairs, right ones too, and ties rank last. -inf is the logarithm of a score of 0.

    A trick of leaderboards, not of search: it looks at all other queries of the test set, and gains because each video is the
    answer to about one of them. A user asks one sentence at a time. So figures from it stand under the name `dual_softmax`,
    beside the raw ones, never instead. For video to text, give it the transpose.

    Args:
        similarity: (Q, V). Where some are negative the least is subtracted first (we differ there): a product with negative
            scores would rank backwards.
        temperature: what scores are multiplied by before the softmax; 100 is CLIP's logit scale, for cosines.

    Raises:
        UsageError: NaN, infinities, or a temperature that is not positive.
    """
    scores = _scores(similarity)
    if not temperature > 0:
        raise UsageError(f"{temperature = }; expected more than 0")
    if not np.isfinite([scores.min(), scores.max()]).all():
        raise UsageError("similarity holds infinities; dual softmax needs every pair scored")
    prior = np.array(scores, np.result_type(scores.dtype, np.float32))
    prior -= prior.max(axis=0)
    prior *= temperature
    prior -= np.log(np.exp(prior).sum(axis=0))
    shifted = scores - min(scores.min(), 0)
    with np.errstate(divide="ignore"):
        prior += np.log(shifted, out=shifted) if np.issubdtype(shifted.dtype, np.floating) else np.log(shifted)
    return prior


def auroc(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """The chance, 0 to 1, that a positive scores above a negative; ties count half (Mann and Whitney 1947).

    Raises:
        UsageError: an empty side, or NaN.
    """
    above, below = np.ravel(np.asarray(positive, np.float64)), np.ravel(np.asarray(negative, np.float64))
    if not len(above) or not len(below):
        raise UsageError(f"AUROC of {len(above)} positive and {len(below)} negative scores; expected some of each")
    both = np.concatenate([above, below])
    if np.isnan(both).any():
        raise UsageError(f"AUROC: {int(np.isnan(both).sum())} of {len(both)} scores are NaN")
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2
    of_positive = rank[inverse[: len(above)]].sum()
    return float((of_positive - len(above) * (len(above) + 1) / 2) / (len(above) * len(below)))
