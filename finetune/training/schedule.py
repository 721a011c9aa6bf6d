"""How learning rates go over a run: up in a line, down along half a cosine (Loshchilov and Hutter 2017, "SGDR")."""

import math


def warmup_cosine(step: int, warmup: int, total: int, floor: float = 0.0) -> float:
    """What the rate of a step is multiplied by, in (floor, 1].

    Args:
        step: from 0.    warmup: steps of the rise; the last of them has the full rate.
        total: all steps; after them it stays at `floor`.    floor: what the cosine goes down to.

    4 steps of warm-up of 8: 0.25 0.5 0.75 1 1 0.854 0.5 0.146
    """
    if step < warmup:
        return (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2
