"""What of a training run does not depend on what is trained: how long, in which batches, with which random numbers. Pure.

Plan(epochs=30, batch=256)         batches(count, batch, seed, epoch)         seed_step(seed, step, rank)
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ...extract.errors import UsageError
from .task import Rows


@dataclass(frozen=True)
class Plan:
    """Attributes:
    epochs: at most.    batch: pairs that are each other's negatives, over all processes.
    chunk: how many are encoded at once; 0 for the whole batch. Fewer take less memory and twice the time.
    warmup: share of all steps in which the rates rise.    clip_norm: what the gradient's norm is cut to.
    patience: epochs without a better validation after which it stops.    seed: of batches, dropout and frames.
    last_epoch: after which it ends, the rates going as for all `epochs`, and without validation; 0 where validation decides.
    save_every_s: between checkpoints; more where writing one takes long. Changes nothing of what comes out.
    """

    epochs: int = 30
    batch: int = 256
    chunk: int = 0
    warmup: float = 0.1
    clip_norm: float = 1.0
    patience: int = 8
    seed: int = 0
    last_epoch: int = 0
    save_every_s: float = 5.0

    def facts(self) -> dict[str, Any]:
        """What decides the outcome, as JSON."""
        return {name: value for name, value in asdict(self).items() if name != "save_every_s"}


def patience_for(epochs: int) -> int:
    """Epochs to wait for a better validation: a quarter of all, and 8 at least. Rates fall as a cosine, and much is gained
    only when they are low."""
    return max(Plan.patience, epochs // 4)


def require_least(*wanted: tuple[str, int, int]) -> None:
    """Refuse an (option, number, least) whose number is less.

    Raises:
        UsageError: one is.
    """
    for option, number, least in wanted:
        if number < least:
            raise UsageError(f"{option} {number}: expected {least} or more.")


def batches(count: int, batch: int, seed: int, epoch: int) -> list[Rows]:
    """All rows in random order, in as few batches as hold at most `batch`, whose sizes differ by at most one.

    Open_clip drops the last batch where it is smaller; few pairs are too dear for that, and a batch of three would have easy
    negatives.
    """
    order = np.random.default_rng((seed, epoch)).permutation(count)
    return [np.sort(rows) for rows in np.array_split(order, math.ceil(count / batch))]


def steps_of(count: int, plan: Plan) -> int:
    """How many steps an epoch has."""
    return math.ceil(count / plan.batch)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Everything random in a step follows from its number."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)[0] >> 1))
