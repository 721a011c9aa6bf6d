"""The steps of masked pre-training: clips in, hidden patches guessed, AdamW, resumable to the last bit.

    train(model, plan, material, keep)      all steps of a plan; the last weights are in the model then
    held_losses(model, plan, material)      of each held-out clip

As VideoMAE trains (Tong et al. 2022, appendix, "pre-training"): AdamW with betas 0.9 and 0.95, decay 0.05 on matrices, a rate
of 1.5e-4 for 256 clips and in proportion for other batches, warm-up and cosine, multi-scale crops; its warm-up of 40 of 800
epochs is 0.05 here. We cut the gradient's norm to 1, which its code leaves to the user, and mirror nothing unless asked:
mirrored, "left to right" is a lie.

A step is a pure function of the weights, the optimizer's state, the seed and the step's number, so a run that was killed goes
on to the same weights as one that was not (on CPU with as many threads; GPUs add in any order). The next batch is gathered
from disk while the network works.

It knows no archive and no files, and runs on one device.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ...extract.encoders.device import autocast, is_cuda
from ..training.loop import Keep, NotFinite, Progress
from ..training.plan import seed_step
from ..training.schedule import warmup_cosine
from .batch import PER, Batch, Material, Plan, batch_of, grid_of, held_batch
from .tubes import normalised, of_hidden, patches_of


def held_losses(
    model: Any, plan: Plan, material: Material, device: str
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(V,) the loss of each held-out clip, and what it would be if every hidden patch were guessed to be of one colour."""
    model.eval()
    found: list[Tensor] = []
    blank: list[Tensor] = []
    grid, config = grid_of(model.config), model.config
    size = plan.chunk or plan.batch
    with torch.inference_mode():
        for low in range(0, len(material.held), size):
            batch = held_batch(plan, material, grid, low, min(low + size, len(material.held)))
            pixels, masks = batch.pixels(material.how, device), batch.masks.to(device)
            with autocast(device, precision(device)):
                logits = model(pixels, bool_masked_pos=masks).logits.float()
            patches = patches_of(pixels, config.tubelet_size, config.patch_size)
            truth = of_hidden(normalised(patches)[0], masks)
            found.append((logits - truth).square().mean(dim=(1, 2)).cpu())
            blank.append(truth.square().mean(dim=(1, 2)).cpu())
    if not found:
        return np.zeros(0), np.zeros(0)
    return torch.cat(found).double().numpy(), torch.cat(blank).double().numpy()


def precision(device: str) -> str:
    """bfloat16 under autocast on CUDA: it has float32's range, so no loss is scaled; float32 elsewhere."""
    return "bfloat16" if is_cuda(device) else "float32"


def optimizer_of(model: nn.Module, plan: Plan, device: str) -> torch.optim.AdamW:
    """As the module says; vectors (norms, biases, the mask token) do not decay."""
    trains = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trains if p.squeeze().ndim > 1], "weight_decay": plan.decay},
        {"params": [p for p in trains if p.squeeze().ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.lr, betas=(0.9, 0.95), fused=is_cuda(device))


def train(
    model: Any,
    plan: Plan,
    material: Material,
    keep: Keep,
    device: str,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda done, of, what: None,
    look: Callable[[int], None] = lambda step: None,
) -> None:
    """All steps that are left of `plan`. Rows of the metrics: `step, loss, lr, norm, clips_per_s`, and `step, held_out`.

    Args:
        stop: asked after each step; where it says True, a checkpoint is written and KeyboardInterrupt raised.
        look: called after each look at the held-out clips, with the step.

    Raises:
        NotFinite: the loss is not a number any more.    KeyboardInterrupt: see `stop`.
    """
    run = _Run(model, plan, material, keep, device)
    with ThreadPoolExecutor(1) as ahead:
        waiting = ahead.submit(run.batch, run.step)
        while run.step < plan.steps:
            batch = waiting.result()
            waiting = ahead.submit(run.batch, run.step + 1)
            run.train_step(batch)
            asked = stop()
            if run.step % plan.every == 0 or run.step == plan.steps:
                run.look()
                look(run.step)
            progress(run.step, plan.steps, run.told)
            run.save_now_and_then(asked)
            if asked:
                raise KeyboardInterrupt
    run.save_now_and_then(at_once=True)


class _Run:
    """A run between two steps: the model, the optimizer, how far it is."""

    def __init__(self, model: Any, plan: Plan, material: Material, keep: Keep, device: str) -> None:
        self.model, self.plan, self.material, self.keep, self.device = model, plan, material, keep, device
        self.optimizer = optimizer_of(model, plan, device)
        self.grid = grid_of(model.config)
        self.step, self.told, self._held = 0, "", math.nan
        saved = keep.load()
        if saved is None:
            self.look()
        else:
            model.load_state_dict(saved["model"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self._held = saved["step"], saved["held"]
        self._saved_at, self._save_s = time.monotonic(), 0.0

    def batch(self, step: int) -> Batch:
        """As `batch_of`, in memory that goes to a GPU without waiting."""
        made = batch_of(self.plan, self.material, self.grid, step)
        return Batch(made.clips.pin_memory(), made.boxes, made.mirrored, made.masks) if is_cuda(self.device) else made

    def train_step(self, batch: Batch) -> None:
        """One batch.

        Raises:
            NotFinite: the loss or its gradient is not; the weights are as before.
        """
        began, plan = time.perf_counter(), self.plan
        rate = plan.lr * plan.batch / PER * warmup_cosine(self.step, round(plan.warmup * plan.steps), plan.steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        seed_step(plan.seed, self.step, 0)
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._backward(batch)
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), plan.clip_norm))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise NotFinite(
                f"the loss was {loss:g} (its gradient's norm {norm:g}) at step {self.step + 1}: training has run away. "
                "Begin anew with a lower rate (--lr) and another --out."
            )
        self.optimizer.step()
        self.step += 1
        speed = plan.batch / (time.perf_counter() - began)
        self._log({"step": self.step, "loss": loss, "lr": rate, "norm": norm, "clips_per_s": speed})
        held = "" if math.isnan(self._held) else f", held out {self._held:.3f}"
        self.told = f"loss {loss:.3f}{held}"

    def _backward(self, batch: Batch) -> float:
        """The gradient of a batch's mean loss, chunk by chunk; returns the loss."""
        size, total = self.plan.chunk or self.plan.batch, torch.zeros((), device=self.device)
        for low in range(0, self.plan.batch, size):
            part = batch.part(low, low + size)
            with autocast(self.device, precision(self.device)):
                said = self.model(
                    part.pixels(self.material.how, self.device), bool_masked_pos=part.masks.to(self.device)
                )
            loss = said.loss * (len(part.clips) / self.plan.batch)
            loss.backward()
            total += loss.detach()
        return float(total)

    def look(self) -> None:
        """The loss of the held-out clips, where there are any."""
        if len(self.material.held):
            self._held = float(held_losses(self.model, self.plan, self.material, self.device)[0].mean())
            self._log({"step": self.step, "held_out": self._held})

    def save_now_and_then(self, at_once: bool) -> None:
        """A checkpoint, where the last one is old enough: writing takes at most a twentieth of the time."""
        if not (at_once or time.monotonic() - self._saved_at >= max(self.plan.save_every_s, 20 * self._save_s)):
            return
        began = time.monotonic()
        state = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        self.keep.save({**state, "step": self.step, "held": self._held})
        self._saved_at = time.monotonic()
        self._save_s = self._saved_at - began

    def _log(self, row: dict[str, Any]) -> None:
        self.keep.log(
            {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in row.items()}
        )
