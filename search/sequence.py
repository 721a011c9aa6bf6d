"""Moments in order: one candidate of each step, none before the end of the one before, with the best sum of scores.

    in_order([candidates of A, candidates of B])      "A then B": the best pairs of a moment of A and a later one of B

The best that ends with a candidate is its own score and the best of the step before that ends by its start: dynamic
programming, exact. More answers come by splitting (Lawler 1972): what is left after an answer is what has other footage in
the first place, what has the same there and other in the second, and so on; the best of each part is the same dynamic
programme with fewer candidates.

Source: dynamic programming for queries of several events, DANTE. There a step is a frame and gaps cost; here it is a span,
and a gap costs nothing but may be limited: benchmarks/ground_then.py measures why.

It knows neither videos nor sentences. Costs N * N per step, in arrays: 0.5 ms for the best of three times 100
candidates, 1 ms for five answers, 15 ms for 20.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .moment import Moment

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Picked:
    """One candidate of each step, none before the end of the one before.

    Attributes:
        picks: (M,) which.    score: the sum of theirs.
    """

    picks: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class _Steps:
    """`spans[m]` (N_m, 2), `values[m]` (N_m,), and `follows[m]` (N_m, N_m+1): who may come after whom."""

    spans: list[Floats]
    values: list[Floats]
    follows: list[Mask]


def in_order(
    candidates: Sequence[Sequence[Moment]],
    top: int = 1,
    within_s: float | None = None,
    cores: Sequence[Floats] | None = None,
) -> list[Picked]:
    """The best sequences, best first; any two have, in at least one place, moments that share no footage.

    Exact: no sequence is better than the first; none that so differs from the first is better than the second, and so on.
    Deterministic: of equal ones the one with the earlier candidates.

    Args:
        candidates: of each of M >= 1 steps, moments in any order, whose scores compare with those of other steps.
        top: how many at most.
        within_s: how many seconds may lie between the end of a moment and the start of the next, at most.
        cores: (N_m, 2) of each step, the part of each candidate from which, and to which, `within_s` counts; else all of it.

    Returns:
        None where no candidates are in order.

    Raises:
        ValueError: no steps, `top` < 1 or a negative `within_s`.
    """
    if top < 1 or not candidates or (within_s is not None and not within_s >= 0):
        raise ValueError(
            "expected candidates of at least one step, top >= 1 and within_s >= 0 seconds, "
            f"got {len(candidates) = }, {top = }, {within_s = }"
        )
    if not all(candidates):
        return []
    steps = _steps(candidates, np.inf if within_s is None else within_s, cores)
    parts: list[tuple[float, tuple[int, ...], list[Mask]]] = []  # a heap: the best of each part, and what is in it
    _push(parts, steps, [np.ones(len(values), bool) for values in steps.values])
    found: list[Picked] = []
    shared: list[list[Mask]] = []  # of each answer and place, which candidates share footage with it
    while parts and len(found) < top:
        loss, picks, allowed = heapq.heappop(parts)
        # A part that another answer did not split may still hold what is like that answer.
        like = next((known for known in shared if all(known[m][pick] for m, pick in enumerate(picks))), None)
        if like is None:
            found.append(Picked(picks, -loss))
            like = [_share(spans, spans[pick]) for spans, pick in zip(steps.spans, picks, strict=True)]
            shared.append(like)
        for place in range(len(picks)):
            same = [mask & alike for mask, alike in zip(allowed[:place], like[:place], strict=True)]
            _push(parts, steps, [*same, allowed[place] & ~like[place], *allowed[place + 1 :]])
    return found


def _steps(candidates: Sequence[Sequence[Moment]], within_s: float, cores: Sequence[Floats] | None) -> _Steps:
    spans = [np.array([(m.start_s, m.end_s) for m in moments]) for moments in candidates]
    values = [np.array([m.score for m in moments]) for moments in candidates]
    follows = [_gaps(*pair) >= 0 for pair in pairwise(spans)]
    near = [_gaps(*pair) <= within_s for pair in pairwise(spans if cores is None else cores)]
    return _Steps(spans, values, [later & close for later, close in zip(follows, near, strict=True)])


def _gaps(earlier: Floats, later: Floats) -> Floats:
    """(N, M) seconds from the end of each earlier span to the start of each later one."""
    gaps: Floats = later[None, :, 0] - earlier[:, 1, None]
    return gaps


def _push(parts: list[tuple[float, tuple[int, ...], list[Mask]]], steps: _Steps, allowed: list[Mask]) -> None:
    """Put a part on the heap with the best sequence of its allowed candidates, unless it has none."""
    total = np.where(allowed[0], steps.values[0], -np.inf)
    before: list[npt.NDArray[np.int64]] = []
    for values, follows, mask in zip(steps.values[1:], steps.follows, allowed[1:], strict=True):
        reached = np.where(follows, total[:, None], -np.inf)
        before.append(reached.argmax(0))
        total = np.where(mask, reached.max(0) + values, -np.inf)
    picks = [int(total.argmax())]
    if total[picks[0]] == -np.inf:
        return
    for back in reversed(before):
        picks.append(int(back[picks[-1]]))
    heapq.heappush(parts, (-float(total.max()), tuple(reversed(picks)), allowed))


def _share(spans: Floats, span: Floats) -> Mask:
    """(N,) which spans share footage with one."""
    out: Mask = (spans[:, 0] < span[1]) & (span[0] < spans[:, 1])
    return out
