"""What `nightreel finetune` gains on `../shared/data/qvh`, on videos of uploads it never saw: prints one JSON object.

    python benchmarks/finetune_qvh.py [--data ../shared/data/qvh] [--seeds 5] [--head HEAD] [--recipe videoclip [--hard]]
                                      [--quick]

Features of machine captions, one per 2 s; 752 human sentences. Two halves without a common upload (`_qvh.halves`) are an
archive each. `finetune --train adapter` runs as a user would run it on one half, its captions and their moments; the head it
keeps is applied to the other half's archive, which is indexed anew, and that half's sentences are asked there. Then the other
way round, so every sentence is asked once of a model that knows neither its video nor its upload. Where `finetune` finds no
gain by its own held-out captions it keeps nothing, and `after` is `before`.

    mean         cosine with the mean of the video's frames (CLIP4Clip meanP), as the head weighs them
    nightreel    `index/score.py` with hub correction, as search ranks videos; hubs and spread are those of the new index
    grounding    the benchmark's metrics in the sentence's own video (ground_qvh.py)
    own          `mean` on the half that was trained on: how much is learned by heart
    validation   what `finetune` itself says, from held-out captions of the half it trained on

Each row is before, after, and [difference, low, high]: a paired 95 % bootstrap over uploads of the mean over seeds. `times` is
[after / before, low, high]. Seeds change folds, batches and frames; the start of an adapter (`finetune/closed_form.py`) has no
seed, so where it is not beaten seeds agree.

Not held out: the constants of `closed_form.py` were chosen while the cross-validation inside both halves was in view, so these
figures are rather too good, by how much no interval here says.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _material import about, say
from _qvh import DATA, Case, films, halves, load
from ground_qvh import FIGURES, found, table
from nightreel.evaluate.bootstrap import interval_of, paired
from nightreel.evaluate.retrieval import ranks
from nightreel.evaluate.runners.retrieval import similarity
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.heads.apply import apply_head, slug_of_head
from nightreel.extract.heads.encoder import load_stored_encoder
from nightreel.extract.heads.stored import load_stored
from nightreel.extract.segment import Segments
from nightreel.extract.store import Store
from nightreel.extract.writer import claim_encoder
from nightreel.finetune.training.plan import Plan
from nightreel.finetune.tuning import finetune
from nightreel.finetune.wish import Wish
from nightreel.index.build import build_index
from nightreel.index.open import open_index
from retrieval_qvh import SLUG, STEP_S, add, identity

SCORERS = ("mean", "nightreel")
AT = (1, 5)


@dataclass(frozen=True)
class Half:
    """An archive of one half's videos, and its Q cases."""

    store: Store
    cases: list[Case]
    texts: list[str]

    @property
    def names(self) -> list[str]:
        """Its videos, sorted."""
        return sorted({case.video for case in self.cases})


@dataclass(frozen=True)
class Found:
    """Of Q sentences: ranks (Q,) of their video by each scorer, and (Q, 4) of `FIGURES`."""

    ranks: dict[str, np.ndarray]
    grounding: np.ndarray


def made(root: Path, name: str, cases: list[Case], texts: list[str]) -> Half:
    """The archive of some cases' videos, with the sentence encoder's features."""
    store = Store.create(root / f"{name}.reel", created_by="benchmark")
    sampling = {"fps": 1 / STEP_S, "decode": "exact"}
    claim_encoder(store, SLUG, {**load_encoder(SLUG).fingerprint(), "has_text": True, "sampling": sampling})
    add(store, {case.video: case.features for case in cases})
    return Half(store, cases, texts)


def pairs_file(half: Half, path: Path) -> Path:
    """A sentence and its video, one line for each of its moments joined: from the first one's begin to the last one's end."""
    lines = [
        {
            "video": case.video,
            "start_s": float(case.truth.min()),
            "end_s": float(case.truth.max()),
            "caption": text,
            "source": case.source,
        }
        for case, text in zip(half.cases, half.texts, strict=True)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def asked(half: Half, head: str | None) -> Found:
    """All sentences of a half, of its own features or of those a head made."""
    slug = SLUG if head is None else slug_of_head(head)
    build_index(half.store, slug, load=lambda: load_stored_encoder(half.store, slug))
    index, names = open_index(half.store, slug), half.names
    films = {name: half.store.segments_of(slug, identity(name)) for name in names}
    vectors = {name: np.asarray(of.embedding, np.float32) for name, of in films.items()}
    queries = in_text(half, head)
    own = np.array([names.index(case.video) for case in half.cases])
    scores, lowered = similarity(index, [identity(name) for name in names], queries)
    by = {"mean": queries @ means([films[name] for name in names]).T, "nightreel": scores - lowered}
    moved = [replace(c, features=vectors[c.video], query=q) for c, q in zip(half.cases, queries, strict=True)]
    grounding = table(moved, [found(case) for case in moved])
    return Found({name: ranks(by[name], own) for name in SCORERS}, grounding)


def in_text(half: Half, head: str | None) -> np.ndarray:
    """(Q, D) the sentences, as the head maps them."""
    import torch

    queries = np.stack([case.query for case in half.cases])
    if head is None:
        return queries
    tuned, _ = load_stored(half.store, head)
    with torch.inference_mode():
        mapped: np.ndarray = tuned.text(torch.from_numpy(queries)).numpy()
    return mapped


def means(films: Sequence[Segments]) -> np.ndarray:
    """(V, D) of unit norm: of frames by their weights, if a head gave them some."""
    each = np.stack([np.average(of.embedding.astype(np.float32), 0, of.weight()) for of in films])
    unit: np.ndarray = each / np.linalg.norm(each, axis=1, keepdims=True)
    return unit


def by_heart(half: Half, head: str) -> np.ndarray:
    """(Q,) ranks by `mean` on the half that was trained on."""
    apply_head(half.store, head)
    names, slug = half.names, slug_of_head(head)
    films = [half.store.segments_of(slug, identity(name)) for name in names]
    own = np.array([names.index(case.video) for case in half.cases])
    return np.asarray(ranks(in_text(half, head) @ means(films).T, own))


def moved_on(one: Half, other: Half, asking: Wish, before: Found, own: Found) -> tuple[Found, dict[str, Any]]:
    """Trained on one half: the other half's sentences afterwards, and what `finetune` said."""
    seed, began = asking.plan.seed, time.perf_counter()
    head = f"{one.store.root.stem}-{seed}"
    said = finetune(one.store.root, replace(asking, name=head))
    told = {
        "seed": seed,
        "kept": said["kept"],
        "epoch": said["best_epoch"],
        "validation": [said["before"]["R@1"], said["after"]["R@1"], *said["interval"]],
        "finetune_s": round(time.perf_counter() - began, 1),
    }
    heart = own.ranks["mean"]
    if not said["kept"]:
        return before, {**told, "own": [hits(heart, 1), hits(heart, 1)]}
    told["own"] = [hits(heart, 1), hits(by_heart(one, head), 1)]
    shutil.copytree(one.store.root / "heads" / head, other.store.root / "heads" / head)
    apply_head(other.store, head)
    return asked(other, head), told


def hits(of: np.ndarray, at: int) -> float:
    """Percent of ranks up to `at`."""
    return round(100 * float((of <= at).mean()), 2)


def row(before: np.ndarray, after: np.ndarray, sources: list[str]) -> dict[str, Any]:
    """One figure of (Q,) before and (S, Q) after, with intervals."""
    mean = after.mean(axis=0)
    gain = paired(mean, before, sources)
    times = interval_of(lambda rows: float(mean[rows].mean() / before[rows].mean()), len(before), sources)
    return {
        "before": round(float(before.mean()), 2),
        "after": round(float(mean.mean()), 2),
        "difference": [round(float(x), 2) for x in gain],
        "times": [round(float(x), 3) for x in times],
        "each_seed": [round(float(x), 2) for x in after.mean(axis=1)],
    }


def compared(before: Found, after: Sequence[Found], sources: list[str]) -> dict[str, Any]:
    """All figures; `after` one for each seed."""
    out: dict[str, Any] = {}
    for name in SCORERS:
        old, new = before.ranks[name], np.stack([of.ranks[name] for of in after])
        out[name] = {f"R@{at}": row(100.0 * (old <= at), 100.0 * (new <= at), sources) for at in AT}
        middle = interval_of(
            lambda rows, old=old, new=new: float(np.median(new[:, rows]) - np.median(old[rows])),  # type: ignore[misc]
            len(old),
            sources,
        )
        out[name]["MdR"] = [float(np.median(old)), float(np.median(new)), [float(x) for x in middle]]
    new = np.stack([of.grounding for of in after])
    out["grounding"] = {name: row(before.grounding[:, i], new[..., i], sources) for i, name in enumerate(FIGURES)}
    return out


def joined(parts: Sequence[Found]) -> Found:
    """The sentences of both halves."""
    by = {name: np.concatenate([part.ranks[name] for part in parts]) for name in SCORERS}
    return Found(by, np.concatenate([part.grounding for part in parts]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with clips.npz and queries.jsonl")
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each half")
    parser.add_argument("--recipe", default="clip4clip", help="as `finetune --recipe`")
    parser.add_argument("--hard", action="store_true", help="as `finetune --hard`")
    parser.add_argument("--head", default="mean", help="as `finetune --head`")
    parser.add_argument("--quick", action="store_true", help="one seed")
    args = parser.parse_args()
    shared = Wish(kind=args.head, recipe=args.recipe, hard=args.hard, encoder=SLUG, device="cpu")
    cases = load(args.data, films(args.data))
    texts = [json.loads(line)["query"] for line in (args.data / "queries.jsonl").read_text().splitlines()]
    with tempfile.TemporaryDirectory() as temporary:
        root, parts = Path(temporary), []
        for name, rows in zip("AB", halves(cases), strict=True):
            parts.append(made(root, name, [cases[i] for i in rows], [texts[i] for i in rows]))
        files = [pairs_file(half, root / f"{name}.jsonl") for name, half in zip("AB", parts, strict=True)]
        say("both halves before")
        before = [asked(half, None) for half in parts]
        after, runs = [], []
        for seed in range(1 if args.quick else args.seeds):
            tested: dict[int, Found] = {}
            for one, other in ((0, 1), (1, 0)):
                say(f"seed {seed}: training on half {'AB'[one]}")
                asking = replace(shared, pairs=files[one], plan=Plan(seed=seed))
                tested[other], told = moved_on(parts[one], parts[other], asking, before[other], own=before[one])
                runs.append({"trained_on": "AB"[one], **told})
            after.append(joined([tested[0], tested[1]]))
    sources = [case.source for half in parts for case in half.cases]
    sizes = {name: [len(half.cases), len(half.names)] for name, half in zip("AB", parts, strict=True)}
    settings = {"recipe": args.recipe, "hard": args.hard, "head": args.head}
    out = {**about(), **settings, "sentences_videos": sizes, **compared(joined(before), after, sources), "runs": runs}
    print(json.dumps(out))


if __name__ == "__main__":
    main()
