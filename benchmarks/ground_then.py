"""`ground "A" --then "B"` on tapes of 3 to 15 minutes in which the order decides: prints one JSON object.

    python benchmarks/ground_then.py [DATA] [--tapes 400] [--seed 0]

A tape joins whole videos of `../shared/data/qvh`, among them one for each of two (or three) queries of different uploads, in
the order asked. A step is right if its moment has IoU >= 0.5 with a true window of its query there; `placed` if the moment's
middle lies in the right video, whatever its bounds. A tape counts if all its steps do. Compared are `independent`, each
query's first moment by `find_moments`, and `in_order`, the best sequence of the same candidates.

    replayed    the last query's video stands before all others as well, and the first one's after all others, each copy with
                noise of its own (a tenth of a vector's length): what fits either query best may be out of order. 0 to 1 others
    replayed_3  the same with three queries
    plain       nothing comes twice; 1 to 3 other videos at random places
    alike       the other 2 to 3 videos are of the 25 that fit one of the queries best
    adjacent    A's video ends where a true window of A does, and B's begins, right after it, where one of B does; 1 to 3 others

`gap_cost`: in order with so many units of `standing` less for each minute between the moments. Of 400 tapes each, 0.02 finds 2
points more where B follows at once, as many where it is replayed, and 2 to 5 less elsewhere, since it draws a moment's bounds
towards the other moment; the right videos are found as often without. So gaps are free, and `--within` is for who knows better.

`reversed`: AUROC of the best sequence's score, plain tapes against the same with the queries' videos in the other order.
`three_hours`: milliseconds for three sentences in 10 800 segments (D = 384), and how many of them go into ordering.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _qvh import CLIP_S, DATA, Case, Films, films, load, source_of
from nightreel.search.moment import Moment, temporal_iou
from nightreel.search.sequence import in_order
from nightreel.search.then import find_in_order, standing

Tape = tuple[
    np.ndarray, list[np.ndarray], list[tuple[float, float]]
]  # features, per step its truth and its video's span
GAP_COSTS = (0.02, 0.05, 0.1)
NOISE = 0.1
ALIKE = 25


def tape_of(parts: Sequence[tuple[int | None, np.ndarray]], truth: Sequence[np.ndarray]) -> Tape:
    """Join parts; those with a number are where that step's truth, in seconds of the part, counts."""
    at, windows, spans = 0.0, [np.zeros((0, 2))] * len(truth), [(0.0, 0.0)] * len(truth)
    for step, features in parts:
        length_s = len(features) * CLIP_S
        if step is not None:
            windows[step], spans[step] = truth[step] + at, (at, at + length_s)
        at += length_s
    return np.concatenate([features for _, features in parts]), windows, spans


def among(rng: np.random.Generator, parts: list[Any], others: list[np.ndarray]) -> list[Any]:
    """Parts in their order with the others at random places."""
    out = list(parts)
    for features in others:
        out.insert(int(rng.integers(0, len(out) + 1)), (None, features))
    return out


def noisy(rng: np.random.Generator, features: np.ndarray) -> np.ndarray:
    noise = rng.normal(size=features.shape).astype(np.float32)
    moved = features + NOISE * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def replayed(rng: np.random.Generator, asked: Sequence[Case], others: Callable[[int], list[np.ndarray]]) -> Tape:
    inner = [(step, noisy(rng, case.features)) for step, case in enumerate(asked)]
    copies = (None, noisy(rng, asked[-1].features)), (None, noisy(rng, asked[0].features))
    return tape_of(
        among(rng, [copies[0], *inner, copies[1]], others(int(rng.integers(0, 2)))), [c.truth for c in asked]
    )


def plain(
    rng: np.random.Generator, asked: Sequence[Case], others: Callable[[int], list[np.ndarray]], turned: bool = False
) -> Tape:
    inner = [(step, case.features) for step, case in enumerate(asked)]
    parts = among(rng, inner[::-1] if turned else inner, others(int(rng.integers(1, 4))))
    return tape_of(parts, [case.truth for case in asked])


def alike(rng: np.random.Generator, asked: Sequence[Case], of: Films) -> Tape:
    """Fit is the mean of a video's five best segments."""
    names, sources = sorted(of), {case.source for case in asked}
    near = []
    for case in asked:
        fit = [-np.sort(of[name] @ case.query)[-5:].mean() for name in names]
        near += [names[i] for i in np.argsort(fit)[:ALIKE] if source_of(names[i]) not in sources]
    chosen = rng.choice(sorted(set(near)), int(rng.integers(2, 4)), replace=False)
    inner = [(step, case.features) for step, case in enumerate(asked)]
    return tape_of(among(rng, inner, [of[name] for name in chosen]), [case.truth for case in asked])


def adjacent(rng: np.random.Generator, asked: Sequence[Case], others: Callable[[int], list[np.ndarray]]) -> Tape:
    a, b = asked
    end_s, start_s = a.truth[rng.integers(len(a.truth)), 1], b.truth[rng.integers(len(b.truth)), 0]
    parts = [(0, a.features[: int(end_s / CLIP_S)]), (1, b.features[int(start_s / CLIP_S) :])]
    truth = [a.truth[a.truth[:, 1] <= end_s], b.truth[b.truth[:, 0] >= start_s] - start_s]
    more = others(int(rng.integers(1, 4)))
    before = int(rng.integers(0, len(more) + 1))
    return tape_of([*((None, f) for f in more[:before]), *parts, *((None, f) for f in more[before:])], truth)


def tapes(kind: str, count: int, seed: int, of: Films, cases: Sequence[Case]) -> list[tuple[list[Case], Tape]]:
    rng, names, out = np.random.default_rng(seed), sorted(of), []
    while len(out) < count:
        asked = [cases[i] for i in rng.choice(len(cases), 3 if kind == "replayed_3" else 2, replace=False)]
        sources = {case.source for case in asked}
        if len(sources) < len(asked):
            continue

        def others(most: int, rng: np.random.Generator = rng, sources: set[str] = sources) -> list[np.ndarray]:
            allowed = [name for name in names if source_of(name) not in sources]
            return [of[name] for name in rng.choice(allowed, most, replace=False)]

        if kind.startswith("replayed"):
            made = replayed(rng, asked, others)
        elif kind == "alike":
            made = alike(rng, asked, of)
        elif kind == "adjacent":
            made = adjacent(rng, asked, others)
        else:
            made = plain(rng, asked, others, turned=kind == "reversed")
        out.append((asked, made))
    return out


def costing(candidates: Sequence[Sequence[Moment]], per_minute: float) -> list[Moment]:
    """The best pair if a minute between its moments costs so much."""
    values = [np.array(standing(moments, len(moments))) for moments in candidates]
    spans = [np.array([(m.start_s, m.end_s) for m in moments]) for moments in candidates]
    gaps = spans[1][None, :, 0] - spans[0][:, 1, None]
    total = np.where(gaps >= 0, values[0][:, None] + values[1][None] - per_minute * gaps / 60, -np.inf)
    i, j = np.unravel_index(total.argmax(), total.shape)
    return [candidates[0][i], candidates[1][j]]


def right(moments: Sequence[Moment], tape: Tape) -> tuple[bool, bool]:
    """Whether all steps have the IoU, and whether all lie in the right video."""
    _, truth, spans = tape
    bounds = [temporal_iou([[m.start_s, m.end_s]], t).max() >= 0.5 for m, t in zip(moments, truth, strict=True)]
    middles = [(m.start_s + m.end_s) / 2 for m in moments]
    return all(bounds), all(low <= middle < high for middle, (low, high) in zip(middles, spans, strict=True))


def answers(asked: Sequence[Case], tape: Tape) -> tuple[dict[str, list[Moment]], float]:
    """What each way finds in a tape, and the score of the best sequence."""
    features = tape[0]
    start_s = np.arange(len(features)) * CLIP_S
    queries = np.stack([case.query for case in asked])
    candidates, (best,), _ = find_in_order(features, start_s, start_s + CLIP_S, queries, 1)
    found = {
        "independent": [moments[0] for moments in candidates],
        "in_order": [moments[i] for moments, i in zip(candidates, best.picks, strict=True)],
    }
    if len(asked) == 2:
        found |= {f"gap_cost_{cost:g}": costing(candidates, cost) for cost in GAP_COSTS}
    return found, best.score


def measure(
    kind: str, args: argparse.Namespace, of: Films, cases: Sequence[Case]
) -> tuple[dict[str, Any], list[float]]:
    """Percent of tapes, the difference's 95 % bootstrap interval over tapes, and the sequences' scores."""
    made = tapes(kind, args.tapes, args.seed, of, cases)
    told = [answers(asked, tape) for asked, tape in made]
    marks = {
        way: np.array([right(found[way], tape) for (found, _), (_, tape) in zip(told, made, strict=True)])
        for way in told[0][0]
    }
    minutes = [len(tape[0]) * CLIP_S / 60 for _, tape in made]
    out: dict[str, Any] = {"minutes": [round(f(minutes), 1) for f in (min, max)]}
    for way, mark in marks.items():
        out[way] = {name: round(100 * float(mark[:, i].mean()), 1) for i, name in enumerate(("IoU>=0.5", "placed"))}
    gain = (marks["in_order"] * 1.0 - marks["independent"])[:, 0]
    draws = np.random.default_rng(0).integers(0, len(gain), (2000, len(gain)))
    out["gain_IoU>=0.5_95%"] = [round(100 * float(q), 1) for q in np.quantile(gain[draws].mean(1), (0.025, 0.975))]
    return out, [score for _, score in told]


def auroc(high: Sequence[float], low: Sequence[float]) -> float:
    a, b = np.array(high)[:, None], np.array(low)[None]
    return round(float((a > b).mean() + 0.5 * (a == b).mean()), 3)


def three_hours(of: Films, cases: Sequence[Case]) -> dict[str, float]:
    """Milliseconds for three sentences, the median of five triples."""
    features = np.concatenate([of[name] for name in sorted(of)])[:10_800]
    start_s, whole, ordering = np.arange(len(features)) * 1.0, [], []
    for first in range(0, 15, 3):
        queries = np.stack([case.query for case in cases[first : first + 3]])
        begun = time.perf_counter()
        candidates, *_ = find_in_order(features, start_s, start_s + 1, queries, 5)
        between = time.perf_counter()
        in_order(candidates, 5)
        whole.append(1e3 * (between - begun))
        ordering.append(1e3 * (time.perf_counter() - between))
    return {"all_ms": round(float(np.median(whole)), 1), "ordering_ms": round(float(np.median(ordering)), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DATA, help="folder with clips.npz and queries.jsonl")
    parser.add_argument("--tapes", type=int, default=400, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    of = films(args.data)
    cases = load(args.data, of)
    out: dict[str, Any] = {"tapes": args.tapes, "seed": args.seed}
    scores: dict[str, list[float]] = {}
    for kind in ("replayed", "replayed_3", "plain", "alike", "adjacent", "reversed"):
        figures, scores[kind] = measure(kind, args, of, cases)
        out |= {} if kind == "reversed" else {kind: figures}
    out["reversed"] = {"auroc_of_score": auroc(scores["plain"], scores["reversed"])}
    print(json.dumps({**out, "three_hours": three_hours(of, cases)}))


if __name__ == "__main__":
    main()
