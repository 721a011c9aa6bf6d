"""Moment retrieval on the 752 QVHighlights queries of `../shared/data/qvh`: prints one JSON object.

    python benchmarks/ground_qvh.py [DATA] [--shift] [--check]

Features are sentence embeddings of machine captions, one per 2 s; a curve is their inner product with the
query's embedding. Metrics follow QVHighlights' own evaluator (jayleicn/moment_detr, standalone_eval): R1
against the best overlapping true window, mAP over IoU .5:.05:.95 of the first 10 predictions, interpolated as
in ActivityNet. `--check` scores the data's sample predictions instead and fails unless the evaluator's
figures come out.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from nightreel.search.ground import find_moments
from nightreel.search.moment import temporal_iou

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "qvh"
THRESHOLDS = np.linspace(0.5, 0.95, 10)


def average_precision(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(10,) AP of predictions (P, 2), best first, against windows (G, 2): one per IoU threshold."""
    overlap = temporal_iou(predicted, truth)
    out = np.zeros(len(THRESHOLDS))
    for row, threshold in enumerate(THRESHOLDS):
        free, hit = np.ones(len(truth), bool), np.zeros(len(predicted))
        for i, ious in enumerate(overlap):
            best = int(np.argmax(np.where(free, ious, -1.0)))
            if free[best] and ious[best] >= threshold:
                free[best], hit[i] = False, 1.0
        found = np.cumsum(hit)
        precision = found / np.arange(1, len(hit) + 1)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        out[row] = float((precision * hit).sum()) / len(truth)
    return out


def metrics(predicted: list[np.ndarray], truth: list[np.ndarray]) -> dict[str, float]:
    """The figures of the benchmark, in percent."""
    first = np.array([temporal_iou(p[:1], t).max() for p, t in zip(predicted, truth, strict=True)])
    ap = np.array([average_precision(p[:10], t) for p, t in zip(predicted, truth, strict=True)])
    percent = {"R1@0.5": (first >= 0.5).mean(), "R1@0.7": (first >= 0.7).mean(), "mIoU": first.mean()}
    percent |= {"mAP": ap.mean(), "mAP@0.5": ap[:, 0].mean(), "mAP@0.75": ap[:, 5].mean()}
    return {name: round(100 * float(value), 2) for name, value in percent.items()}


def load(data: Path) -> list[dict[str, Any]]:
    """One dict per query: scores, start_s, end_s, features, query, truth."""
    clips = np.load(data / "clips.npz")
    lines = (data / "queries.jsonl").read_text().splitlines()
    vectors = np.load(data / "query_features.npy").astype(np.float64)
    row = {str(vid): i for i, vid in enumerate(clips["vids"])}
    offsets, clip_s, every = clips["offsets"], float(clips["clip_s"]), clips["features"].astype(np.float64)
    cases = []
    for line, vector in zip(lines, vectors, strict=True):
        record = json.loads(line)
        i = row[record["vid"]]
        features = every[offsets[i] : offsets[i + 1]]
        start = np.arange(len(features)) * clip_s
        cases.append(
            {
                "scores": features @ vector,
                "start_s": start,
                "end_s": start + clip_s,
                "features": features,
                "query": vector,
                "truth": np.array(record["relevant_windows"], float),
                "qid": record["qid"],
            }
        )
    return cases


def check(data: Path, cases: list[dict[str, Any]]) -> dict[str, Any]:
    """Score the sample predictions; the evaluator's own figures must come out."""
    lines = [json.loads(line) for line in (data / "sample_predictions.jsonl").read_text().splitlines()]
    by_id = {line["qid"]: np.array(line["pred_relevant_windows"], float)[:, :2] for line in lines}
    ours = metrics([by_id[case["qid"]] for case in cases], [case["truth"] for case in cases])
    brief = json.loads((data / "sample_metrics.json").read_text())["brief"]
    theirs = {name: brief[f"MR-full-{name}"] for name in ("R1@0.5", "R1@0.7", "mAP", "mAP@0.5", "mAP@0.75")}
    if any(abs(ours[name] - theirs[name]) > 0.011 for name in theirs):
        raise SystemExit(f"our metric is not the benchmark's: {ours = }, {theirs = }")
    return {"ours": ours, "theirs": theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, default=DATA, help="folder with clips.npz and queries.jsonl")
    parser.add_argument("--check", action="store_true", help="check the metric on the sample predictions")
    parser.add_argument("--shift", action="store_true", help="pass features and query, so that the query is shifted")
    args = parser.parse_args()
    cases = load(args.data)
    if args.check:
        print(json.dumps(check(args.data, cases)))
        return
    begun = time.perf_counter()
    predicted = []
    for case in cases:
        extra = {"features": case["features"], "query": case["query"]} if args.shift else {}
        moments = find_moments(case["scores"], case["start_s"], case["end_s"], **extra)
        predicted.append(np.array([(m.start_s, m.end_s) for m in moments]))
    took_ms = 1000 * (time.perf_counter() - begun) / len(cases)
    figures = metrics(predicted, [case["truth"] for case in cases])
    print(json.dumps({"queries": len(cases), **figures, "ms_per_query": round(took_ms, 2), "shift": args.shift}))


if __name__ == "__main__":
    main()
