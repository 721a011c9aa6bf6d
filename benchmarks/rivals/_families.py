"""The same queries with other kinds of features, so that a method fitted to one kind shows it.

    projected   64 random directions of the 384
    whitened    every direction of the clips' features made equally strong (PCA, fitted on all clips; truth is not used)
    frames      one sample a second between the clips', with noise that lasts a few seconds in features and scores: more like
                frames than like captions
    steep       exp(8 s) for every score s: another scale and shape, the same order

Each takes questions and returns as many.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Question:
    """One query in one video: scores (T,), segments (T,), features (T, D), query (D,), truth (G, 2) in seconds."""

    source: str
    scores: npt.NDArray[np.float64]
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    features: Vectors
    query: Vectors
    truth: npt.NDArray[np.float64]


def unit(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Rows of norm 1."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12), np.float32)


def mapped(questions: Sequence[Question], change: Callable[[Vectors], npt.NDArray[np.floating]]) -> list[Question]:
    """Features and queries through one map, of unit norm after it."""
    out = []
    for asked in questions:
        features, query = unit(change(asked.features)), unit(change(asked.query[None]))[0]
        out.append(replace(asked, features=features, query=query, scores=(features @ query).astype(np.float64)))
    return out


def projected(questions: Sequence[Question]) -> list[Question]:
    """Onto 64 random directions."""
    directions = np.random.default_rng(0).standard_normal((len(questions[0].query), 64)).astype(np.float32)
    return mapped(questions, lambda rows: rows @ directions)


def whitened(questions: Sequence[Question]) -> list[Question]:
    """Mean 0 and covariance 1 over all clips."""
    every = np.concatenate([asked.features for asked in questions]).astype(np.float64)
    mean = every.mean(0)
    strength, directions = np.linalg.eigh(np.cov(every.T))
    scale = directions / np.sqrt(np.maximum(strength, 1e-6 * strength.max()))
    return mapped(questions, lambda rows: (rows - mean) @ scale)


def lasting(rng: np.random.Generator, shape: tuple[int, ...], keep: float) -> npt.NDArray[np.float64]:
    """(T, ...) noise of deviation 1 in which each value is `keep` of the one before and the rest new."""
    from scipy.signal import lfilter

    fresh = rng.standard_normal(shape) * np.sqrt(1 - keep**2)
    fresh[0] /= np.sqrt(1 - keep**2)
    return np.asarray(lfilter([1.0], [1.0, -keep], fresh, axis=0))


def frames(questions: Sequence[Question], feature_noise: float = 0.5, score_noise: float = 0.3) -> list[Question]:
    """Every second; noise of `feature_noise` of a feature's norm and `score_noise` of a curve's deviation; it halves in 3 s."""
    rng, out = np.random.default_rng(0), []
    for asked in questions:
        start = np.arange(asked.start_s[0], asked.end_s[-1], 1.0)
        end = np.minimum(start + 1.0, asked.end_s[-1])
        place = np.interp((start + end) / 2, (asked.start_s + asked.end_s) / 2, np.arange(len(asked.scores)))
        low = place.astype(int)
        high, part = np.minimum(low + 1, len(asked.scores) - 1), (place - low)[:, None]
        between = (1 - part) * asked.features[low] + part * asked.features[high]
        noise = lasting(rng, between.shape, 0.8) * feature_noise / np.sqrt(between.shape[1])
        features = unit(between + noise)
        scores = (features @ asked.query).astype(np.float64)
        scores += score_noise * scores.std() * lasting(rng, scores.shape, 0.8)
        out.append(replace(asked, scores=scores, start_s=start, end_s=end, features=features))
    return out


def steep(questions: Sequence[Question]) -> list[Question]:
    """exp(8 s)."""
    return [replace(asked, scores=np.exp(8 * asked.scores)) for asked in questions]


FAMILIES: dict[str, Callable[[Sequence[Question]], list[Question]]] = {
    "projected": projected,
    "whitened": whitened,
    "frames": frames,
    "steep": steep,
}
