"""What the training loop wants of what it trains, and what a validation is.

    Task            a model, its parameter groups, and how pairs become embeddings: stored_task.py, frames_task.py
    Validation      the rank of every validation pair's own video, and which source each pair is of

Nothing here knows archives, files or schedules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from ...evaluate.retrieval import summary

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Validation:
    """Attributes:
    ranks: (V,) int64 from 1, of each validation pair's own video for its caption; ties count against us.
    sources: (V,) which pairs belong together: intervals are drawn over these.
    """

    ranks: npt.NDArray[np.int64]
    sources: Sequence[str]

    def figures(self) -> dict[str, float]:
        """`R@1 R@5 R@10` in percent, `MdR` and `MnR`, and `MRR`, the mean of 1 / rank in percent."""
        figures = {name: round(value, 3) for name, value in summary(self.ranks).items() if name != "R@50"}
        return {**figures, "MRR": round(100 * float((1 / self.ranks).mean()), 3)}

    @property
    def hits(self) -> npt.NDArray[np.float64]:
        """(V,) 100 where the own video came first, else 0."""
        return np.where(self.ranks == 1, 100.0, 0.0)

    def better_than(self, other: "Validation") -> bool:
        """A higher R@1; where that is equal, a higher mean of 1 / rank: few validation pairs move R@1 in large steps."""
        return (self.hits.mean(), (1 / self.ranks).mean()) > (other.hits.mean(), (1 / other.ranks).mean())


@runtime_checkable
class Begins(Protocol):
    """A `Task` that knows a better start than the untouched model: what comes of it counts as its first epoch."""

    def begin(self) -> None:
        """Changes the model, always in the same way."""
        ...


class Task(Protocol):
    """What is trained. What is random (dropout, which frames) must come from torch's generators: the loop seeds them.

    Attributes:
        model: everything that is trained; its `state_dict()` is what a checkpoint holds.
        log_scale: the logarithm of what cosines are multiplied with; part of the model where it is learned. The loop clamps it.
        count: how many training pairs there are; `rows` number them from 0.
    """

    @property
    def model(self) -> nn.Module: ...
    @property
    def log_scale(self) -> Tensor: ...
    @property
    def count(self) -> int: ...

    def groups(self) -> list[dict[str, Any]]:
        """For AdamW: `params`, `lr`, `weight_decay`, `name`; `anchored` True: held to where they started, not to 0."""
        ...

    def encode(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(B, D) video and (B, D) text of these training pairs, unit norm, with gradient."""
        ...

    def false(self, rows: Sequence[int]) -> Tensor | None:
        """(B, B) bool, True where video i and text j, i != j, belong together too and are no negatives; None for none."""
        ...

    def weights(self, rows: Sequence[int]) -> Tensor | None:
        """(B,) how much each pair counts, 1 in full; None for all alike."""
        ...

    def validate(self) -> Validation:
        """Of the validation pairs, with the model as it is."""
        ...


@runtime_checkable
class Compares(Protocol):
    """A `Task` whose model does not begin as what it must beat."""

    def untouched(self) -> Validation:
        """Of the validation pairs, with what there was before any model."""
        ...


@runtime_checkable
class Orders(Protocol):
    """A `Task` that says itself which pairs make a batch, and what else is hard to tell from them."""

    def batches(self, batch: int, seed: int, epoch: int) -> list[Rows]:
        """All rows once, in as few batches as hold at most `batch`; a function of its arguments only."""
        ...

    def hard(self, rows: Sequence[int]) -> Tensor | None:
        """(B, K, D) embeddings of videos that belong to no text of the batch, without gradient; 0 for none."""
        ...
