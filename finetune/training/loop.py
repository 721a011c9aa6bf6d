"""The training loop, one for every `--train`: InfoNCE, AdamW, warm-up and cosine, early stopping, resumable to the bit.

    train(task, plan, keep)     until the epochs are over or validation gains no more; the model has its best weights then

A step is a pure function of the weights, the optimizer's state, the seed and the step's number, so a run that was killed goes
on from its last checkpoint to the same weights as one that was not (on CPU; GPUs add in any order). It knows nothing of
archives, heads or files: `task.py` says what it wants of them. Under torchrun each process encodes its share of every batch,
negatives are gathered over all of them, and gradients are averaged.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ...extract.errors import NightreelError
from .gather import average_gradients, gather, ranks, same_everywhere
from .gradcache import backward_cached
from .loss import clamped_, info_nce
from .optimizer import optimizer_of, pull
from .plan import Plan, batches, seed_step, steps_of
from .schedule import warmup_cosine
from .task import Begins, Compares, Orders, Rows, Task, Validation

Progress = Callable[[int, int, str], None]  # steps done, of at most, what to say beside
State = dict[str, Any]


def silent(done: int, of: int, what: str) -> None:
    """A `Progress` that says nothing."""


class Keep(Protocol):
    """Where a run writes: `run_folder.RunFolder`."""

    def log(self, row: Mapping[str, Any]) -> None:
        """One line of the metrics."""
        ...

    def save(self, state: State) -> None:
        """A checkpoint, whole or not at all."""
        ...

    def load(self) -> State | None:
        """The last checkpoint, or None at the beginning."""
        ...


@dataclass(frozen=True)
class Trained:
    """Attributes:
    history: validations, of the untouched model first and then of each epoch; empty where nothing validates.
    best_epoch: whose weights the model has, from 1; 0 for the untouched one's.
    epochs: that were trained.    note: why it stopped before the last one, or "".
    """

    history: list[Validation]
    best_epoch: int
    epochs: int
    note: str

    @property
    def before(self) -> Validation:
        """Of the untouched model."""
        return self.history[0]

    @property
    def after(self) -> Validation:
        """Of the model as it is now."""
        return self.history[self.best_epoch]


class NotFinite(NightreelError):
    """The loss or its gradient is not a number any more."""


def train(
    task: Task,
    plan: Plan,
    keep: Keep,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = silent,
) -> Trained:
    """Train `task.model`; it has its best weights afterwards, those of its beginning where no epoch was better.

    Without a validation (`plan.last_epoch`), its weights after that epoch.

    Args:
        stop: asked after each step; where it says True, a checkpoint is written and KeyboardInterrupt raised.

    Raises:
        NotFinite: the loss was not a number, before any epoch was better.    KeyboardInterrupt: see `stop`.
    """
    run = _Run(task, plan, keep)
    note = ""
    while not run.over:
        try:
            run.train_step()
        except NotFinite as error:
            if not run.best_epoch:
                raise
            note = str(error)
            break
        if run.step % run.per_epoch == 0:
            run.validate(run.epoch)
        progress(run.step, run.total, run.told)
        asked = stop()
        run.save_now_and_then(asked)
        if asked:
            raise KeyboardInterrupt
    if not note and not plan.last_epoch and run.step < run.total:
        note = f"validation has not gained for {plan.patience} epochs"
    run.save_now_and_then(at_once=True)
    task.model.load_state_dict(run.best)
    return Trained(run.history, run.best_epoch, run.epoch, note)


class _Run:
    """The state of a run between two steps: the model, the optimizer, how far it is and what was best."""

    def __init__(self, task: Task, plan: Plan, keep: Keep) -> None:
        self.task, self.plan, self.keep = task, plan, keep
        self.rank, self.world = ranks()
        same_everywhere(task.model.parameters())
        self.lead = int(isinstance(task, Begins))
        self.per_epoch = steps_of(task.count, plan)
        self.total = (plan.epochs - self.lead) * self.per_epoch
        self.step, self.best_epoch, self.best = 0, 0, copied(task.model)
        self.history: list[Validation] = []
        self._drawn: tuple[int, list[Rows]] = (-1, [])
        self.told, self._recall = "", ""
        self._saved_at, self._save_s = time.monotonic(), 0.0
        saved = keep.load()
        if saved is None and not plan.last_epoch:
            self.validate(0)
        if isinstance(task, Begins):
            task.begin()
        self.optimizer, self.anchors = optimizer_of(task.groups())
        if saved is not None:
            self._restore(saved)
        elif self.lead:
            self.validate(self.lead)

    @property
    def epoch(self) -> int:
        """How many are done."""
        return self.lead + self.step // self.per_epoch

    @property
    def over(self) -> bool:
        """Whether all epochs that are asked for are done, or validation has not gained for long enough."""
        if self.plan.last_epoch:
            return self.epoch >= self.plan.last_epoch
        return self.step >= self.total or self.epoch - self.best_epoch >= self.plan.patience

    def train_step(self) -> None:
        """One batch.

        Raises:
            NotFinite: the loss or its gradient is not; the weights are as before.
        """
        epoch, at = self.epoch, self.step % self.per_epoch
        if self._drawn[0] != epoch:
            self._drawn = (epoch, drawn(self.task, self.plan, epoch))
        rows = self._drawn[1][at]
        factor = warmup_cosine(self.step, round(self.plan.warmup * self.total), self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        seed_step(self.plan.seed, self.step, self.rank)
        self.task.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = backward(self.task, rows, self.plan.chunk, self.rank, self.world)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        average_gradients(parameters)
        pull(self.optimizer, self.anchors)
        norm = float(nn.utils.clip_grad_norm_(parameters, self.plan.clip_norm))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise NotFinite(
                f"the loss was {loss:g} (its gradient's norm {norm:g}) at step {self.step + 1}, epoch {epoch + 1}: training "
                "has run away. Lower the rate (--lr), or look for broken vectors with `nightreel verify`."
            )
        self.optimizer.step()
        clamped_(self.task.log_scale)
        self.step += 1
        rate = self.optimizer.param_groups[0]["lr"]
        scale = float(self.task.log_scale.detach().exp())
        self._log({"step": self.step, "epoch": epoch + 1, "loss": loss, "lr": rate, "factor": scale, "norm": norm})
        self.told = f"loss {loss:.3f}{self._recall}"

    def validate(self, epoch: int) -> None:
        """At the end of an epoch: is it the best so far? Without a validation the last one is."""
        if self.plan.last_epoch:
            self.best_epoch = epoch
            self.best = copied(self.task.model) if epoch == self.plan.last_epoch else self.best
            return
        self.task.model.eval()
        with torch.inference_mode():
            found = self.task.untouched() if not epoch and isinstance(self.task, Compares) else self.task.validate()
        found = Validation(from_first(found.ranks, self.world), found.sources)
        self._log({"step": self.step, "epoch": epoch, **found.figures()})
        if self.history and found.better_than(self.history[self.best_epoch]):
            self.best_epoch, self.best = epoch, copied(self.task.model)
        self.history.append(found)
        self._recall = f", R@1 {self.history[self.best_epoch].figures()['R@1']:.1f}"

    def _log(self, row: dict[str, Any]) -> None:
        if not self.rank:
            self.keep.log({name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()})

    def save_now_and_then(self, at_once: bool) -> None:
        """A checkpoint, where the last one is old enough: writing takes at most a twentieth of the time."""
        if self.rank or not (
            at_once or time.monotonic() - self._saved_at >= max(self.plan.save_every_s, 20 * self._save_s)
        ):
            return
        began = time.monotonic()
        self.keep.save(self.state())
        self._saved_at = time.monotonic()
        self._save_s = self._saved_at - began

    def state(self) -> State:
        """All that another process needs to go on as this one would have."""
        return {
            "step": self.step,
            "model": self.task.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_epoch": self.best_epoch,
            "ranks": torch.from_numpy(np.array([of.ranks for of in self.history], np.int64)),
            "sources": list(self.history[0].sources) if self.history else [],
        }

    def _restore(self, saved: State) -> None:
        self.task.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.step, self.best, self.best_epoch = saved["step"], saved["best"], saved["best_epoch"]
        self.history = [Validation(of, saved["sources"]) for of in saved["ranks"].numpy()]


def drawn(task: Task, plan: Plan, epoch: int) -> list[Rows]:
    """The batches of an epoch."""
    if isinstance(task, Orders):
        return task.batches(plan.batch, plan.seed, epoch)
    return batches(task.count, plan.batch, plan.seed, epoch)


def backward(task: Task, rows: Rows, chunk: int, rank: int, world: int) -> float:
    """The gradient of one batch's loss in the parameters; returns the loss. Rows are of all processes."""
    own = np.array_split(rows, world)[rank]

    hard = task.hard(own.tolist()) if isinstance(task, Orders) else None
    about = {"false": task.false(rows.tolist()), "weights": task.weights(rows.tolist())}

    def loss_of(video: Tensor, text: Tensor) -> Tensor:
        harder = None if hard is None else gather(hard)
        return info_nce(gather(video), gather(text), task.log_scale.exp(), hard_video=harder, **about)

    return float(backward_cached(encode_of(task), own.tolist(), loss_of, chunk or len(own)))


def encode_of(task: Task) -> Callable[[Sequence[int]], tuple[Tensor, Tensor]]:
    """The task's `encode`, in bfloat16 where it runs on CUDA; what comes out is float32."""
    device = next(task.model.parameters()).device

    def encode(rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            video, text = task.encode(rows)
        # What is not trained (texts, where only a head is) stands in the loss all the same.
        parts = (video.float(), text.float())
        if torch.is_grad_enabled():
            parts = tuple(part if part.requires_grad else part.requires_grad_() for part in parts)  # type: ignore[assignment]
        return parts

    return encode


def copied(model: nn.Module) -> dict[str, Tensor]:
    """The model's state, on the CPU, not to change with it."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def from_first(ranks: Rows, world: int) -> Rows:
    """The first process's ranks everywhere: all must agree on when to stop."""
    if world == 1:
        return ranks
    told = [ranks]
    torch.distributed.broadcast_object_list(told, src=0)
    return told[0]
