"""Nightreel's grounding beside fourteen other methods on the same curves: prints one JSON object.

    python benchmarks/ground_rivals.py [--minutes 2.5 15 30 60] [--methods NAME ...] [--quick]

Protocol. Data: `_qvh.py`, 752 queries, one score per 2 s. Rivals: `rivals/`, from their descriptions. Every rival chooses among
its `GRID` on one fold (the mean of mAP, R1@0.5 and R1@0.7 decides) and is scored on the other, both ways; folds share no source
video. Nightreel runs as it is shipped, once from scores alone and once with features and query. Its defaults were chosen on
this data, with the other videos of both folds in view, so its own figures are not held out; those of the rivals are, and each
has as many tries as its grid has settings.

    published   the authors' settings on all queries
    tuned       [figure, low, high] in percent, 95 % bootstrap over source videos
    less        the same of Nightreel's figure less this one, query by query: `scores` alone, `features` with features
    ms          median time per query, of the processor (other programs may run)

Tapes (`--minutes`, 2.5 is the videos as they are): each query's video among others, for `QUERIES` of the queries; rivals choose
anew for each length, Nightreel does not. Families: the same queries with other features (`rivals/_families.py`), for Nightreel
and the `BEST` best rivals, who choose anew as well. `--quick` is the videos as they are, a third of the queries and a fifth of
the long grids: half a minute of one core.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _material import about, say
from _qvh import DATA, Case, films, halves, joined, load
from nightreel.evaluate.bootstrap import interval, paired
from nightreel.evaluate.grounding import per_query
from nightreel.search.ground import find_moments
from rivals import METHODS
from rivals._families import FAMILIES, Question

MINUTES = (2.5, 15.0, 30.0, 60.0)
QUERIES = 200
BEST = 3
SMALL = 24  # settings; longer grids are thinned where time is short
FIGURES = ("mAP", "R1@0.5", "R1@0.7", "mIoU")
DECIDE = slice(0, 3)  # of FIGURES

Propose = Callable[[Question], np.ndarray]
Folds = tuple[list[int], list[int]]
Table = dict[str, Any]


def question(case: Case) -> Question:
    """What a method is given, and the truth."""
    return Question(
        case.source, case.scores.astype(np.float64), case.start_s, case.end_s, case.features, case.query, case.truth
    )


def ours(with_features: bool) -> Propose:
    """Nightreel as shipped."""

    def propose(asked: Question) -> np.ndarray:
        extra = {"features": asked.features, "query": asked.query} if with_features else {}
        moments = find_moments(asked.scores, asked.start_s, asked.end_s, **extra)
        return np.array([(m.start_s, m.end_s) for m in moments])

    return propose


def rival(name: str, setting: Table) -> Propose:
    """A method with one setting."""
    method = METHODS[name].propose
    return lambda asked: method(asked.scores, asked.start_s, asked.end_s, asked.features, asked.query, **setting)


def score(propose: Propose, questions: Sequence[Question]) -> tuple[np.ndarray, np.ndarray]:
    """(Q, 4) the `FIGURES` of each query, in percent, and (Q,) the milliseconds it took."""
    predicted, took = [], []
    for asked in questions:
        began = time.process_time()
        predicted.append(propose(asked)[:, :2])
        took.append(1e3 * (time.process_time() - began))
    each = per_query(predicted, [asked.truth for asked in questions])
    return 100 * np.stack([each.ap, each.hit5, each.hit7, each.iou], axis=1), np.array(took)


def spread(values: Any) -> dict[str, list[float]]:
    """An interval of four columns as JSON."""
    return {name: [round(float(part[i]), 2) for part in values] for i, name in enumerate(FIGURES)}


def tuned(
    name: str, grid: list[Table], questions: Sequence[Question], folds: Folds
) -> tuple[np.ndarray, np.ndarray, list[Table]]:
    """(Q, 4) figures and (Q,) milliseconds of each query with the setting that did best on the other fold; both settings."""
    tries = [score(rival(name, setting), questions) for setting in grid]
    figures, took, chosen = np.zeros((len(questions), len(FIGURES))), np.zeros(len(questions)), []
    for held, seen in (folds, folds[::-1]):
        best = int(np.argmax([values[seen, DECIDE].mean() for values, _ in tries]))
        figures[held], took[held] = tries[best][0][held], tries[best][1][held]
        chosen.append(grid[best])
    return figures, took, chosen


def compare(
    questions: Sequence[Question], folds: Folds, names: Sequence[str], thin: int, published: bool
) -> dict[str, Table]:
    """Nightreel and the rivals side by side."""
    groups = [asked.source for asked in questions]
    mine, out = {}, {}
    for name, with_features in (("scores", False), ("features", True)):
        mine[name], took = score(ours(with_features), questions)
        row = {"shipped": spread(interval(mine[name], groups)), "ms": round(float(np.median(took)), 2)}
        out[f"nightreel, {name}"] = row
        say(f"  nightreel, {name}: {line(row['shipped'])}")
    for name in names:
        grid = METHODS[name].GRID
        grid = grid[:: thin if len(grid) > SMALL else 1]
        figures, took, chosen = tuned(name, grid, questions, folds)
        less = {kind: spread(paired(values, figures, groups)) for kind, values in mine.items()}
        row = {"settings": len(grid), "tuned": spread(interval(figures, groups)), "less": less}
        row |= {"ms": round(float(np.median(took)), 2), "chosen": chosen}
        if published:
            values, _ = score(rival(name, METHODS[name].PUBLISHED), questions)
            row["published"] = dict(zip(FIGURES, values.mean(0).round(2).tolist(), strict=True))
        out[name] = row
        say(f"  {name}: {line(row['tuned'])}, {row['ms']} ms")
    return out


def line(figures: dict[str, list[float]]) -> str:
    return " / ".join(f"{name} {values[0]:.1f}" for name, values in figures.items())


def best(table: dict[str, Table]) -> list[str]:
    """The rivals with the best tuned figures."""
    rivals = [name for name in table if "tuned" in table[name]]
    decide = {name: sum(table[name]["tuned"][figure][0] for figure in FIGURES[DECIDE]) for name in rivals}
    return sorted(rivals, key=decide.__getitem__, reverse=True)[:BEST]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips.npz and queries.jsonl")
    parser.add_argument(
        "--minutes", type=float, nargs="+", default=MINUTES, help="lengths of video; 2.5 is as they are"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), help="rivals to run")
    parser.add_argument("--no-families", action="store_true", help="leave out the other kinds of features")
    parser.add_argument("--quick", action="store_true", help="as they are, fewer queries and settings")
    args = parser.parse_args()
    thin, minutes = (5, [2.5]) if args.quick else (1, args.minutes)
    every = films(args.data)
    cases = load(args.data, every)
    some = [cases[i] for i in np.sort(np.random.default_rng(0).permutation(len(cases))[:QUERIES])]
    out: Table = {"queries": len(cases), **about(), "quick": args.quick, "minutes": {}, "families": {}}
    for length in minutes:
        as_they_are = cases[::3] if args.quick else cases
        asked = as_they_are if length <= 2.5 else joined(every, some, length)
        say(f"{length:g} minutes, {len(asked)} queries")
        table = compare([question(case) for case in asked], halves(asked), args.methods, thin, published=True)
        out["minutes"][f"{length:g}"] = {"queries": len(asked), "methods": table}
    if not (args.quick or args.no_families) and "2.5" in out["minutes"]:
        for name, change in FAMILIES.items():
            say(f"family {name}")
            changed = change([question(case) for case in cases])
            rivals = best(out["minutes"]["2.5"]["methods"])
            out["families"][name] = compare(changed, halves(cases), rivals, thin, published=False)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
