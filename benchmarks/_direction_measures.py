"""What the direction benchmark measures: own caption against that of the reverse motion. Frames in, hits out.

It knows neither how anything was trained nor where frames come from. Costs a second.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from _direction_films import ALL, FRAME_FACTS, MOTIONS, Combination, draw_paths
from nightreel.evaluate.bootstrap import interval
from torch import Tensor, nn

Hits = npt.NDArray[np.float64]
VIEWS = ("as filmed", "reversed", "shuffled")


def measured(
    video: Callable[[Tensor], Tensor], frames: Tensor, text: Tensor, of: Sequence[Combination], seed: int
) -> dict[str, Hits]:
    """View and figure -> (N,) hits, 0 or 1.

    Args:
        video: frames (N, T, D) -> (N, D).    frames: of the films as they are.    text: (len(ALL), D), captions of ALL.
        of: N, what the films show.    seed: of the orders in which frames are shuffled.

    Ties count against the caption that is right.
    """
    own, reverse = (torch.tensor([ALL.index(c) for c in of]) for of in (of, [c.reverse for c in of]))
    row, rng = torch.arange(len(of)), np.random.default_rng(seed)
    order = torch.from_numpy(np.stack([rng.permutation(frames.shape[1]) for _ in of]))
    hits = {}
    for view, seen in zip(VIEWS, (frames, frames.flip(1), frames[row[:, None], order]), strict=True):
        right, wrong = (reverse, own) if view == "reversed" else (own, reverse)
        scores = video(seen) @ text.T
        others = scores.clone()
        others[row, right] = -torch.inf
        hits[f"{view}, direction"] = (scores[row, right] > scores[row, wrong]).double().numpy()
        hits[f"{view}, R@1"] = (scores[row, right] > others.amax(1)).double().numpy()
    return hits


def summary(hits: Sequence[Mapping[str, Hits]], of: Sequence[Sequence[Combination]]) -> dict[str, Any]:
    """View -> figure -> percent, interval over combinations of all seeds, and percent of each seed."""
    groups = [f"{seed} {c}" for seed, combinations in enumerate(of) for c in combinations]
    out: dict[str, Any] = {}
    for name in hits[0]:
        view, figure = name.split(", ")
        found = interval(100 * np.concatenate([seed[name] for seed in hits]), groups)
        of_seeds = [round(100 * float(seed[name].mean()), 1) for seed in hits]
        told = {
            "percent": round(found.value, 1),
            "interval": [round(found.low, 1), round(found.high, 1)],
            "seeds": of_seeds,
        }
        out.setdefault(view, {})[figure] = told
    return out


def one_frame(frames: int, seed: int) -> dict[str, float]:
    """How often a network tells the direction from one frame's exact place and size, and the axis, in percent.

    `any`: of a frame drawn at random; half is chance.    `first`: of the first one.
    """
    rng, told = np.random.default_rng(seed), {}
    for which in ("any", "first"):
        motions = rng.integers(0, len(MOTIONS), 8000)
        paths = draw_paths(motions.tolist(), frames, rng)
        at = rng.integers(0, frames, len(motions)) if which == "any" else np.zeros(len(motions), np.int64)
        axis = np.eye(len(MOTIONS) // 2, dtype=np.float32)[motions // 2]
        facts = torch.from_numpy(np.concatenate([paths[np.arange(len(motions)), at] * FRAME_FACTS, axis], axis=1))
        told[which] = round(100 * _probe(facts, torch.from_numpy(motions % 2).float(), seed), 1)
    return told


def _probe(facts: Tensor, back: Tensor, seed: int) -> float:
    """Trained on the first half, how many of the second half are right."""
    half = len(facts) // 2
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(facts.shape[1], 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.1)
    for _ in range(300):
        loss = nn.functional.binary_cross_entropy_with_logits(network(facts[:half])[:, 0], back[:half])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(((network(facts[half:])[:, 0] > 0) == (back[half:] > 0)).float().mean())
