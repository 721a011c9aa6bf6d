"""Moment retrieval on the 752 QVHighlights queries of `../shared/data/qvh`, alone and hidden in tapes of up to an hour, and on
real clips joined: prints one JSON object.

    python benchmarks/ground_qvh.py [DATA] [--check] [--minutes 15 30 60] [--quick]

Features are sentence embeddings of machine captions, one per 2 s; a curve is their inner product with the query's embedding.
Metrics are the benchmark's own (`nightreel.evaluate`); figures are [value, low, high] in percent, 95 % bootstrap over source
videos (two videos cut from one upload are no two witnesses).

    shipped     the defaults, from scores alone and with features. They were chosen with this data in view.
    held_out    two folds without a common source; the best of `GRID` on one, by the mean of mAP, R1@0.5 and R1@0.7, reported on
                the other, both ways pooled; with how often each setting was chosen. What tuning on this data is worth is the
                difference to `shipped`.
    tapes       each query's video at a random place among others (`_qvh.joined`), all queries; `held_out` as above with
                `LONG_GRID`, the numbers that only matter there, chosen on tapes of 15 minutes of the other fold.
    clips       the 17 clips of `clips`, 8 at a time joined as features (`conse`, 1 a second, 30 s each at most), 60 films.
                17 captions are few: the interval is over clips.
    cost_ms     median of find_moments and the inner products, from float32 features of D = 512, by number of segments

`--check` scores the data's sample predictions instead, and fails unless the evaluator's own figures come out.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from _material import about, say
from _qvh import DATA, Case, Films, films, halves, joined, load
from nightreel.evaluate import qvhighlights_metrics
from nightreel.evaluate.bootstrap import interval
from nightreel.evaluate.grounding import per_query
from nightreel.search.curve import make_curve
from nightreel.search.ground import TUNING, Tuning, find_moments, rank

FIGURES = ("mAP", "R1@0.5", "R1@0.7", "mIoU")
TUNE_MINUTES = 15.0
FILMS, CLIPS_PER_FILM, LONGEST_S = 60, 8, 30.0
GRID = [
    replace(TUNING, bar=bar, best_s=best, sharpening=replace(TUNING.sharpening, feedback=feedback, shot_share=share))
    for bar, best, feedback, share in product((0.5, 0.6, 0.75), (3.0, 10.0, 30.0), (0.15, 0.3, 0.6), (0.3, 0.5, 0.7))
]
LONG_GRID = [
    replace(TUNING, background_per_doubling=slope, margin_s=margin)
    for slope, margin in product((0.25, 0.3, 0.35, 0.4), (50.0, 75.0, 110.0))
]


def found(case: Case, tuning: Tuning = TUNING, with_features: bool = True) -> np.ndarray:
    """(P, 2) the first ten moments."""
    curve = make_curve(case.scores, case.start_s, case.end_s, tuning.sigma_s)
    moments = rank(curve, case.features if with_features else None, 10, tuning)
    return np.array([(m.start_s, m.end_s) for m in moments])


def table(cases: Sequence[Case], predicted: Sequence[np.ndarray]) -> np.ndarray:
    """(Q, 4) of `FIGURES`, percent."""
    each = per_query(predicted, [case.truth for case in cases])
    return 100 * np.stack([each.ap, each.hit5, each.hit7, each.iou], axis=1)


def shown(values: np.ndarray, sources: Sequence[str]) -> dict[str, list[float]]:
    """Figure -> value, low, high."""
    of = interval(values, list(sources))
    return {name: [round(float(x[i]), 2) for x in of] for i, name in enumerate(FIGURES)}


def chosen(every: np.ndarray, rows: list[int]) -> int:
    """Which setting of (S, Q, 4) is best on some queries."""
    return int(every[:, rows, :3].mean((1, 2)).argmax())


def told(tuning: Tuning) -> dict[str, Any]:
    """What a setting has that the defaults have not."""

    def flat(t: Tuning) -> dict[str, Any]:
        return {**vars(t), **vars(t.sharpening), "sharpening": None}

    return {name: value for name, value in flat(tuning).items() if flat(TUNING)[name] != value}


def held_out(every: np.ndarray, tested: np.ndarray, grid: list[Tuning], cases: Sequence[Case]) -> dict[str, Any]:
    """Chosen on `every` (S, Q, 4) of one fold, reported from `tested` (S, Q, 4) of the other."""
    folds = halves(list(cases))
    out, picks = np.empty(tested.shape[1:]), []
    for tune, report in (folds, folds[::-1]):
        best = chosen(every, tune)
        out[report] = tested[best][report]
        picks.append(told(grid[best]))
    return {**shown(out, [case.source for case in cases]), "chosen": picks}


def alone(cases: list[Case], quick: bool) -> dict[str, Any]:
    """Videos as they are."""
    sources = [case.source for case in cases]
    out: dict[str, Any] = {}
    for name, with_features in (("scores", False), ("features", True)):
        values = table(cases, [found(case, TUNING, with_features) for case in cases])
        out[f"shipped_{name}"] = shown(values, sources)
    grid = GRID[:: 8 if quick else 1]
    every = []
    for number, tuning in enumerate(grid):
        say(f"150 s: setting {number + 1} of {len(grid)}")
        every.append(table(cases, [found(case, tuning) for case in cases]))
    out["held_out"] = {**held_out(np.stack(every), np.stack(every), grid, cases), "settings": len(grid)}
    return out


def on_tapes(of: Films, cases: list[Case], minutes: float, grid: list[Tuning]) -> dict[str, Any]:
    """Per-query figures of each setting, (S, Q, 4), and of scores alone; a tape exists only while it is looked at."""
    predicted: list[list[np.ndarray]] = [[] for _ in grid]
    plain = []
    for number, case in enumerate(cases):
        if number % 100 == 0:
            say(f"{minutes:g} minutes: query {number} of {len(cases)}")
        (tape,) = joined(of, [case], minutes, seed=case.qid)
        plain.append((tape, found(tape, TUNING, with_features=False)))
        for into, tuning in zip(predicted, grid, strict=True):
            into.append(found(tape, tuning))
        plain[-1] = (replace(tape, features=tape.features[:1]), plain[-1][1])
    tapes = [tape for tape, _ in plain]
    return {
        "every": np.stack([table(tapes, each) for each in predicted]),
        "scores": table(tapes, [spans for _, spans in plain]),
    }


def tapes(of: Films, cases: list[Case], minutes: Sequence[float], quick: bool) -> dict[str, Any]:
    """Each length, shipped and held out."""
    grid = [TUNING] if quick else [TUNING, *(t for t in LONG_GRID if t != TUNING)]
    sources = [case.source for case in cases]
    tuned = on_tapes(of, cases, TUNE_MINUTES, grid)
    out = {}
    for length in minutes:
        each = tuned if length == TUNE_MINUTES else on_tapes(of, cases, length, grid)
        row = {"shipped_scores": shown(each["scores"], sources), "shipped_features": shown(each["every"][0], sources)}
        if not quick:
            row["held_out"] = held_out(tuned["every"], each["every"], grid, cases)
        out[f"{length:g} min"] = row
    return out


def clips(folder: Path) -> dict[str, Any]:
    """Real clips joined, with the encoder that needs no download."""
    from nightreel import Archive
    from nightreel.extract.run import Settings, extract

    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        say("extracting 17 clips")
        extract([str(folder)], Path(scratch) / "a", ["conse"], Settings())
        archive = Archive(Path(scratch) / "a")
        material = []
        for line in lines:
            segments = archive.store.segments_of("conse", archive.store.find_video(line["video"]).video_id)
            inside = segments.start_s < LONGEST_S
            material.append(
                (line["video"], segments.embedding[inside].astype(np.float32), archive.embed(line["caption"]))
            )
    rng, cases = np.random.default_rng(0), []
    for film in range(FILMS):
        picked = [material[i] for i in rng.permutation(len(material))[:CLIPS_PER_FILM]]
        ends = np.cumsum([0, *(len(rows) for _, rows, _ in picked)]).astype(float)
        rows = np.concatenate([rows for _, rows, _ in picked])
        for place, (name, _, query) in enumerate(picked):
            truth = np.array([[ends[place], ends[place + 1]]])
            cases.append(Case(len(cases), name, f"film {film}", rows, query, truth, 1.0))
    named = (("scores", False), ("features", True))
    sources = [case.source for case in cases]
    return {name: shown(table(cases, [found(c, TUNING, how) for c in cases]), sources) for name, how in named}


def cost(counts: Sequence[int] = (75, 150, 3600, 10_800), dim: int = 512) -> dict[str, Any]:
    """Milliseconds, scores alone and with features."""
    rng, out = np.random.default_rng(0), {}
    for count in counts:
        rows = np.repeat(rng.normal(size=(count // 8 + 1, dim)), 8, 0)[:count] + rng.normal(size=(count, dim))
        features = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        query, start_s = features[count // 2], np.arange(count) * 1.0
        times: dict[str, list[float]] = {"scores": [], "features": []}
        for _ in range(21):
            for name, more in (("scores", {}), ("features", {"features": features, "query": query})):
                began = time.perf_counter()
                find_moments(features @ query, start_s, start_s + 1, **more)
                times[name].append(1e3 * (time.perf_counter() - began))
        out[str(count)] = {name: round(float(np.median(each)), 2) for name, each in times.items()}
    return out


def check(data: Path) -> dict[str, Any]:
    """Score the sample predictions; the evaluator's own figures must come out."""

    def lines(name: str) -> list[Any]:
        return [json.loads(line) for line in (data / name).read_text().splitlines()]

    ours = qvhighlights_metrics(lines("sample_predictions.jsonl"), lines("queries.jsonl"))
    theirs = json.loads((data / "sample_metrics.json").read_text())

    def differing(a: Any, b: Any, at: str = "") -> list[str]:
        if isinstance(b, dict):
            return [line for key in b for line in differing(a[key], b[key], f"{at}/{key}")]
        return [f"{at}: {a} against {b}"] if abs(a - b) > 0.01 else []

    wrong = differing(ours, theirs)
    if wrong:
        raise SystemExit("our metric is not the benchmark's:\n" + "\n".join(wrong))
    return {"ours": ours["brief"], "theirs": theirs["brief"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DATA, help="folder with clips.npz and queries.jsonl")
    parser.add_argument("--check", action="store_true", help="check the metric on the sample predictions")
    parser.add_argument("--minutes", type=float, nargs="*", default=[15.0, 30.0, 60.0], help="lengths of tapes")
    parser.add_argument("--quick", action="store_true", help="few settings, a quarter of the queries on tapes")
    args = parser.parse_args()
    if args.check:
        print(json.dumps(check(args.data)))
        return
    of = films(args.data)
    cases = load(args.data, of)
    out: dict[str, Any] = {**about(), "queries": len(cases), "cost_ms": cost(), "150 s": alone(cases, args.quick)}
    out["tapes"] = tapes(of, cases[:: 4 if args.quick else 1], args.minutes, args.quick)
    folder = args.data.parent / "clips"
    if folder.is_dir():
        out["clips"] = clips(folder)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
