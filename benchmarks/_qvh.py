"""The measuring data `qvh` as grounding cases: one query in one video, or in a tape joined from many.

    load(data)                   752 cases, 735 videos of 150 s at most, one vector per 2 s
    joined(films, cases, 30)     the same queries; each case's video hidden among others on a tape of 30 minutes
    halves(cases)                two folds that share no source video (several videos come from one upload)

A tape never has a second video of the query's own source, but nothing keeps it from showing by chance what a query asks for.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from nightreel.evaluate.splits import source_of

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "qvh"
CLIP_S = 2.0


@dataclass(frozen=True)
class Case:
    """One query and where in `features` (T, D) float32 its truth (G, 2) lies, in seconds."""

    qid: int
    source: str
    video: str
    features: np.ndarray
    query: np.ndarray
    truth: np.ndarray
    step_s: float = CLIP_S

    @property
    def start_s(self) -> np.ndarray:
        return np.arange(len(self.features)) * self.step_s

    @property
    def end_s(self) -> np.ndarray:
        return self.start_s + self.step_s

    @property
    def scores(self) -> np.ndarray:
        """(T,) inner products."""
        return self.features @ self.query


Films = dict[str, np.ndarray]


def films(data: Path = DATA) -> Films:
    """(T, D) float32 of unit norm for each video."""
    clips = np.load(data / "clips.npz")
    offsets, every = clips["offsets"], clips["features"].astype(np.float32)
    every /= np.maximum(np.linalg.norm(every, axis=1, keepdims=True), 1e-12)
    return {str(name): every[offsets[i] : offsets[i + 1]] for i, name in enumerate(clips["vids"])}


def load(data: Path = DATA, of: Films | None = None) -> list[Case]:
    """One case per query, in the file's order."""
    every = films(data) if of is None else of
    vectors = np.load(data / "query_features.npy").astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cases = []
    for line, vector in zip((data / "queries.jsonl").read_text().splitlines(), vectors, strict=True):
        record = json.loads(line)
        name, truth = record["vid"], np.array(record["relevant_windows"], float)
        cases.append(Case(record["qid"], source_of(name), name, every[name], vector, truth))
    return cases


def halves(cases: list[Case]) -> tuple[list[int], list[int]]:
    """Rows of two folds, by a hash of the source."""
    side = [hashlib.blake2b(case.source.encode(), digest_size=1).digest()[0] % 2 for case in cases]
    return [i for i, s in enumerate(side) if s == 0], [i for i, s in enumerate(side) if s == 1]


def joined(of: Films, cases: list[Case], minutes: float, seed: int = 0) -> list[Case]:
    """Each case's video at a random place among whole other videos, in random order, up to `minutes`."""
    rng, names, out = np.random.default_rng(seed), sorted(of), []
    for case in cases:
        chosen, length_s = [case.video], len(case.features) * case.step_s
        for i in rng.permutation(len(names)):
            if length_s >= 60 * minutes:
                break
            if source_of(names[i]) != case.source:
                chosen.append(names[i])
                length_s += len(of[names[i]]) * case.step_s
        order = rng.permutation(len(chosen))
        before = sum(len(of[chosen[i]]) for i in order[: int(np.flatnonzero(order == 0)[0])])
        tape = np.concatenate([of[chosen[i]] for i in order])
        out.append(replace(case, features=tape, truth=case.truth + before * case.step_s))
    return out
