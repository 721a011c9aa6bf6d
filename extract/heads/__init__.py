"""Temporal heads: what turns the features of frames into one embedding (Luo et al. 2021, "CLIP4Clip").

load_head(path, kind)     one of CLIP4Clip's own, as a torch module
networks.py, tuned.py     the modules               clip4clip.py   its checkpoints
stored.py                 heads of an archive       apply.py       the features they make       encoder.py   queries
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .networks import Head


def load_head(path: str | Path, kind: str) -> "Head":
    """The head of a checkpoint that CLIP4Clip's code wrote, in evaluation mode.

    Args:
        path: `.bin`, `.pt` or `.safetensors`; code in it is never run.    kind: mean, lstm, transformer or wti.

    Returns:
        A module: frames (B, T, D) float32 as they come out of CLIP, not yet of unit norm, and mask (B, T) bool, True
        where there is a frame -> (B, D) float32 of unit norm. `head.factor` is its logit scale.

    Raises:
        UsageError: no such kind.    WeightsUnavailable: no such file, not a checkpoint, or without such a head.
    """
    from .clip4clip import read_head

    return read_head(Path(path), kind)
