"""The classifiers that `probe` compares: linear and k-NN on each encoder; two encoders fused late; one chosen on what was
held out.

    methods = all_methods(streams, labels, classes, parts)
    best(methods)                                           the one that did best on the held-out rows of train

    linear:videomae     k-NN:videomae                       one encoder
    average:A+B         mean of both linear probes' probabilities (Simonyan and Zisserman 2014, arXiv 1406.2199, section 5)
    weighted:A+B        w * A + (1 - w) * B, w chosen by top-1 on the held-out rows
    joined:A+B          one linear probe on both vectors, one behind the other

How we differ from the two-stream paper: its second way of fusing is an SVM on stacked scores, ours a regression on stacked
features.

`l2` is chosen by the cross-entropy of held-out rows, along `GRID` from strong to weak, each fit beginning at the last; the
path ends when it got worse twice running, or has less than 0.01 nats. Of those within 0.01 nats of the best the strongest is
taken: where classes are told apart without error, ever weaker ones only make the probabilities boast.
Methods are ranked by held-out top-1; of equals the first counts, in the order above. The folds' fits only choose: what is
measured and saved is fitted on all of train. It does not know videos, files or names of classes, and never sees test labels.

Costs: for one encoder, folds x about 9 fits (`probe_linear.py`); fusing two adds one encoder as wide as both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...evaluate.classification import label_ranks
from .linear import Floats, Linear, Probabilities, Scaling, Whole, cross_entropy, fit_linear, scaling_of
from .neighbours import Neighbours
from .parts import Parts

GRID = tuple(10.0 ** (half / 2) for half in range(4, -13, -1))  # 1e2, 3e1, ... 1e-6
PATIENCE, ENOUGH = 2, 0.01  # steps of the path; nats that are worth a weaker `l2`
WEIGHTS = np.arange(5, 100, 5) / 100


@dataclass(frozen=True)
class Stream:
    """One encoder's vectors: its slug, (N, D) float32 of unit norm."""

    slug: str
    vectors: Floats


@dataclass(frozen=True)
class Term:
    """One part of a method: which streams it sees, one behind the other; its share; what says the probabilities."""

    streams: tuple[int, ...]
    share: float
    model: Linear | Neighbours


@dataclass(frozen=True)
class Method:
    """A classifier, and what it says of rows that it was not fitted on.

    Attributes:
        name: see the module.    terms: of `predict`, fitted on all of train; their shares add up to 1.
        held, test: (rows, C) probabilities; `held` by the folds' own fits.
        top1, loss: on the held-out rows, percent and nats.    l2: where it is chosen.
    """

    name: str
    terms: tuple[Term, ...]
    held: Probabilities
    test: Probabilities
    top1: float
    loss: float
    l2: float | None = None


def predict(terms: Sequence[Term], streams: Sequence[Floats]) -> Probabilities:
    """(N, C) probabilities from the (N, D) vectors of every stream, in the order they were trained in."""
    parts = [
        term.share * term.model.probabilities(np.concatenate([streams[i] for i in term.streams], axis=1))
        for term in terms
    ]
    return np.asarray(sum(parts), np.float64)


def all_methods(streams: Sequence[Stream], labels: Whole, classes: int, parts: Parts) -> list[Method]:
    """Every method of the module for one or two encoders, the simpler before the others.

    Args:
        labels: (N,) of 0 to `classes` - 1.    classes: those that occur in train; rows of test may be of none of them.
    """
    trial = _Trial([stream.vectors for stream in streams], labels, classes, parts)
    out = [trial.linear(f"linear:{stream.slug}", (i,)) for i, stream in enumerate(streams)]
    singles = list(out)
    out += [trial.neighbours(f"k-NN:{stream.slug}", i) for i, stream in enumerate(streams)]
    if len(streams) == 2:
        both = "+".join(stream.slug for stream in streams)
        out.append(trial.mixed(f"average:{both}", singles, 0.5))
        out.append(trial.mixed(f"weighted:{both}", singles, None))
        out.append(trial.linear(f"joined:{both}", (0, 1)))
    return out


def best(methods: Sequence[Method]) -> Method:
    """The method with the best held-out top-1; of equals the first, which is the simplest."""
    return max(methods, key=lambda method: method.top1)


class _Trial:
    """The folds of one set of examples, and what each kind of method makes of them."""

    def __init__(self, vectors: Sequence[Floats], labels: Whole, classes: int, parts: Parts) -> None:
        self.vectors, self.labels, self.classes, self.parts = vectors, labels, classes, parts
        # A class that a fold's own fit has no example of says nothing about its settings.
        self.known = np.concatenate([np.isin(labels[held], labels[fit]) for fit, held in parts.folds])
        self.known |= not self.known.any()

    def linear(self, name: str, streams: tuple[int, ...]) -> Method:
        """A regression on these streams, `l2` chosen."""
        x = np.concatenate([self.vectors[i] for i in streams], axis=1)
        l2, held, near = self._path(x, streams)
        train = self.parts.train
        made = fit_linear(
            x[train], self.labels[train], self.classes, l2, start=near, scaling=self._scaling(train, streams)
        )
        return self._method(name, (Term(streams, 1.0, made),), held, l2)

    def neighbours(self, name: str, stream: int) -> Method:
        """k-NN on one stream."""
        x = self.vectors[stream]

        def of(rows: Whole) -> Neighbours:
            return Neighbours(x[rows], self.labels[rows], self.classes)

        held = np.concatenate([of(fit).probabilities(x[held]) for fit, held in self.parts.folds])
        return self._method(name, (Term((stream,), 1.0, of(self.parts.train)),), held)

    def mixed(self, name: str, singles: Sequence[Method], share: float | None) -> Method:
        """Late fusion of two methods; a share of None is chosen."""
        first, second = (method.held for method in singles)
        if share is None:
            # By top-1: cross-entropy favours whichever stream is surer of itself, and all but drops the other.
            mixes = {float(w): w * first + (1 - w) * second for w in WEIGHTS}
            share = min(mixes, key=lambda w: (-self._top1(mixes[w]), self._loss(mixes[w])))
        shares = share, 1 - share
        terms = tuple(
            Term(term.streams, part, term.model)
            for method, part in zip(singles, shares, strict=True)
            for term in method.terms
        )
        return self._method(name, terms, share * first + (1 - share) * second)

    def _path(self, x: Floats, streams: tuple[int, ...]) -> tuple[float, Probabilities, Linear | None]:
        """The best `l2`, what the folds' fits with it say of their held-out rows, and one of these fits."""
        tried: list[tuple[float, float, Probabilities, Linear | None]] = []
        last: list[Linear | None] = [None] * len(self.parts.folds)
        for l2 in GRID:
            for i, (fit, _) in enumerate(self.parts.folds):
                scaling = self._scaling(fit, streams)
                last[i] = fit_linear(x[fit], self.labels[fit], self.classes, l2, start=last[i], scaling=scaling)
            pairs = zip(last, self.parts.folds, strict=True)
            held = np.concatenate([made.probabilities(x[rows]) for made, (_, rows) in pairs if made is not None])
            tried.append((self._loss(held), l2, held, last[0]))
            losses = [loss for loss, *_ in tried]
            # Not where a step gains little: on many classes the first ones, far too strong, do.
            if min(losses) < ENOUGH or len(losses) - 1 - losses.index(min(losses)) >= PATIENCE:
                break
        least = min(losses)
        return next((l2, held, made) for loss, l2, held, made in tried if loss <= least + ENOUGH)

    def _scaling(self, rows: Whole, streams: tuple[int, ...]) -> Scaling:
        """Each stream by its own spread, so that none is loud only because its vectors are."""
        each = [scaling_of(self.vectors[i][rows]) for i in streams]
        return Scaling(np.concatenate([one.mean for one in each]), np.concatenate([one.spread for one in each]))

    def _top1(self, held: Probabilities) -> float:
        return 100 * float((label_ranks(held, self.labels[self.parts.held]) <= 1).mean())

    def _loss(self, held: Probabilities) -> float:
        return cross_entropy(held[self.known], self.labels[self.parts.held][self.known])

    def _method(self, name: str, terms: tuple[Term, ...], held: Probabilities, l2: float | None = None) -> Method:
        test = predict(terms, [of[self.parts.test] for of in self.vectors])
        return Method(name, terms, held, test, self._top1(held), self._loss(held), l2)
