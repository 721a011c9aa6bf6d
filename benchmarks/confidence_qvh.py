"""How far `confidence` of `ground` can be trusted, on `../shared/data/qvh`: prints one JSON object.

    python benchmarks/confidence_qvh.py [--data ../shared/data/qvh] [--plot reliability.png] [--quick]

752 human sentences, 735 videos of mostly 150 s, features of machine captions every 2 s. Each sentence is asked of its own
video and of `OTHERS` random ones of other uploads, which count as wrong even where they happen to show it.

    own_or_random   AUROC of confidence, its 95 % interval by bootstrap over uploads, its range over draws of one random
                    video per sentence; `raw` is that of the best inner product
    folds           `LIFT`, the one number that is fitted, by one half of the uploads, for the other
    reliability     pairs by confidence, right and wrong ones weighing the same: what was predicted, what was so, how many;
                    `ece` is the mean gap between the two
    tapes           right: the sentence's video among others, in random order; wrong: others only
    missed          share of right pairs that are `no_match`; `false_alarms`: of wrong ones that are not
    few_videos      archives of so many videos, the sentence's own and a wrong one among them

The sample that videos are compared with never has footage of the sentence's own upload but that which is asked of. All seeds
are fixed.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from _material import about, say
from _qvh import CLIP_S, DATA, Case, Films, films, halves, load, source_of
from nightreel.evaluate.bootstrap import interval_of
from nightreel.evaluate.retrieval import auroc
from nightreel.search.trust import LIFT, SAMPLE, Sample, confidence, sizes_for, trust

OTHERS, BOOTSTRAPS, BINS = 20, 500, 10
SIZES = sizes_for({"fps": 1 / CLIP_S})
Pairs = np.ndarray  # (..., 3): z, stretches, best inner product


def sample_of(of: Films, names: list[str]) -> Sample:
    """As `trust.draw` draws it from an archive of these videos."""
    parts = [of[name][: SIZES.stretch] for name in names]
    ends = np.cumsum([len(part) for part in parts])
    spans = np.stack([ends - [len(part) for part in parts], ends], axis=1)
    return Sample(np.concatenate(parts), spans, tuple(names), SIZES)


def standing(sample: Sample, name: str, vectors: np.ndarray, query: np.ndarray) -> tuple[float, float, float]:
    """z of a video, how many stretches it holds, and its best inner product."""
    known = trust(sample, name, vectors, query)
    assert known is not None
    return known.z, known.stretches, float(known.scores.max())


def confidences(pairs: Pairs, lift: float = LIFT) -> np.ndarray:
    """(...) of pairs."""
    flat = [confidence(float(z), float(count), lift) for z, count, _ in pairs.reshape(-1, 3)]
    return np.array(flat).reshape(pairs.shape[:-1])


def reliability(right: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """Of confidences, right and wrong weighing the same: the table of bins, and the expected calibration error."""
    values = np.concatenate([right, wrong])
    weight = np.concatenate([np.full(len(right), 0.5 / len(right)), np.full(len(wrong), 0.5 / len(wrong))])
    true = np.concatenate([np.ones(len(right)), np.zeros(len(wrong))])
    bins, error = [], 0.0
    for low in range(BINS):
        here = np.minimum((values * BINS).astype(int), BINS - 1) == low
        if here.any():
            mass = float(weight[here].sum())
            told, seen = (float((weight * x)[here].sum()) / mass for x in (values, true))
            error += mass * abs(told - seen)
            counts = {"right": int(true[here].sum()), "wrong": int((1 - true[here]).sum())}
            bins.append({"predicted": round(told, 3), "observed": round(seen, 3), "share": round(mass, 3), **counts})
    return {"ece": round(error, 4), "bins": bins}


def summary(right: np.ndarray, wrong: np.ndarray) -> dict[str, Any]:
    """Of confidences."""
    return {
        "auroc": round(auroc(right, wrong), 4),
        "ece": reliability(right, wrong)["ece"],
        "missed": round(float((right < 0.5).mean()), 4),
        "false_alarms": round(float((wrong >= 0.5).mean()), 4),
    }


def single_videos(of: Films, cases: list[Case], others: int) -> tuple[Pairs, Pairs]:
    """(Q, 3) of the sentences with their own videos, (Q, others, 3) with random ones."""
    names, rng = sorted(of), np.random.default_rng(0)
    drawn = [names[i] for i in rng.permutation(len(names))]
    right, wrong = [], []
    for case in cases:
        foreign = [name for name in drawn if source_of(name) != case.source]
        sample = sample_of(of, foreign[:SAMPLE])
        chosen = rng.permutation(len(foreign))[:others]
        right.append(standing(sample, case.video, case.features, case.query))
        wrong.append([standing(sample, foreign[i], of[foreign[i]], case.query) for i in chosen])
    return np.array(right), np.array(wrong)


def tapes(of: Films, cases: list[Case], minutes: float) -> tuple[Pairs, Pairs]:
    """(Q, 3) of the sentences with a tape that has their video, and with one that has not."""
    names, rng = sorted(of), np.random.default_rng(1)
    right, wrong = [], []
    for case in cases:
        foreign = [names[i] for i in rng.permutation(len(names)) if source_of(names[i]) != case.source]
        sample, left = sample_of(of, foreign[:SAMPLE]), foreign[SAMPLE:]
        for first, out in (([case.video], right), ([], wrong)):
            chosen, length_s = list(first), sum(len(of[name]) * CLIP_S for name in first)
            for name in left:
                if length_s >= 60 * minutes:
                    break
                chosen.append(name)
                length_s += len(of[name]) * CLIP_S
            tape = np.concatenate([of[chosen[i]] for i in rng.permutation(len(chosen))])
            out.append(standing(sample, "tape", tape, case.query))
    return np.array(right), np.array(wrong)


def few(of: Films, cases: list[Case], videos: int) -> tuple[Pairs, Pairs]:
    """(Q, 3) each, of archives of so many videos."""
    names, rng = sorted(of), np.random.default_rng(2)
    right, wrong = [], []
    for case in cases:
        foreign = [names[i] for i in rng.permutation(len(names)) if source_of(names[i]) != case.source]
        sample = sample_of(of, [case.video, *foreign[: videos - 1]])
        right.append(standing(sample, case.video, case.features, case.query))
        wrong.append(standing(sample, foreign[0], of[foreign[0]], case.query))
    return np.array(right), np.array(wrong)


def fitted(right: Pairs, wrong: Pairs) -> float:
    """The lift of highest likelihood, right and wrong weighing the same."""

    def likelihood(lift: float) -> float:
        yes, no = confidences(right, lift), 1 - confidences(wrong, lift)
        return float(np.log(np.maximum(yes, 1e-12)).mean() + np.log(np.maximum(no, 1e-12)).mean())

    return max(np.arange(1.5, 4.0, 0.1).round(1).tolist(), key=likelihood)


def folds(cases: list[Case], right: Pairs, wrong: Pairs) -> list[dict[str, Any]]:
    """Each half with the other's lift."""
    halved = halves(cases)
    out = []
    for here, there in (halved, halved[::-1]):
        lift = fitted(right[there], wrong[there].reshape(-1, 3))
        found = summary(confidences(right[here], lift), confidences(wrong[here], lift).reshape(-1))
        out.append({"queries": len(here), "lift_of_the_other": lift, **found})
    return out


def draw_reliability(path: Path, curves: dict[str, dict[str, Any]]) -> None:
    """Observed over predicted, a line for each, with how many are in each bin below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(6, 7.5), height_ratios=(3, 1), sharex=True)
    above.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    width = 0.8 / BINS / len(curves)
    for i, (name, curve) in enumerate(curves.items()):
        told = [one["predicted"] for one in curve["bins"]]
        above.plot(
            told, [one["observed"] for one in curve["bins"]], marker="o", label=f"{name} (ECE {curve['ece']:.3f})"
        )
        places = [
            (int(one["predicted"] * BINS) + 0.5) / BINS + (i - (len(curves) - 1) / 2) * width for one in curve["bins"]
        ]
        below.bar(places, [one["share"] for one in curve["bins"]], width)
    above.set(
        ylabel="share that was the right video", xlim=(0, 1), ylim=(0, 1), title="confidence of ground, on QVHighlights"
    )
    above.legend(loc="upper left", frameon=False)
    below.set(xlabel="confidence", ylabel="share of pairs")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips.npz and queries.jsonl")
    parser.add_argument("--plot", type=Path, help="where to draw predicted against observed")
    parser.add_argument("--quick", action="store_true", help="a tenth of the queries, to see that it runs")
    args = parser.parse_args()
    of = films(args.data)
    cases = load(args.data, of)[:: 10 if args.quick else 1]
    began = time.perf_counter()
    right, wrong = single_videos(of, cases, OTHERS)
    ms = 1000 * (time.perf_counter() - began) / wrong[..., 0].size
    yes, no = confidences(right), confidences(wrong)
    draws = [auroc(yes, no[:, i]) for i in range(OTHERS)]
    spread = interval_of(
        lambda rows: auroc(yes[rows], no[rows].reshape(-1)),
        len(cases),
        [case.source for case in cases],
        samples=BOOTSTRAPS,
    )
    out: dict[str, Any] = {
        **about(),
        "queries": len(cases),
        "lift": LIFT,
        "ms_per_query": round(ms, 2),
        "own_or_random": {
            **summary(yes, no.reshape(-1)),
            "auroc_95": [round(bound, 4) for bound in (spread.low, spread.high)],
            "auroc_of_draws": [round(min(draws), 4), round(max(draws), 4)],
            "raw": round(auroc(right[:, 2], wrong[..., 2].reshape(-1)), 4),
        },
        "folds": folds(cases, right, wrong),
        "reliability": reliability(yes, no.reshape(-1)),
        "tapes": {},
        "few_videos": {},
    }
    curves = {"150 s": out["reliability"]}
    for minutes in (15, 30, 60):
        say(f"tapes of {minutes} minutes")
        pair = [confidences(pairs) for pairs in tapes(of, cases, minutes)]
        out["tapes"][f"{minutes} min"] = {**summary(*pair), "bins": reliability(*pair)["bins"]}
        curves[f"{minutes} min"] = reliability(*pair)
    for videos in (3, 5, 8, 17, 40):
        pair = [confidences(pairs) for pairs in few(of, cases, videos)]
        out["few_videos"][videos] = summary(*pair)
    if args.plot:
        draw_reliability(args.plot, curves)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
