"""What a step of masked pre-training sees: which clips, cropped how, which places hidden; a pure function of seed and step.

    Plan                                     what decides the outcome, besides the footage
    batch_of(plan, material, grid, step)     what trains
    held_batch(plan, material, grid, ...)    what is only looked at: whole pictures, always the same places hidden

It knows no network but its grid: (T / tubelet, places of a frame). Cropping and normalising happen on the device, so that
uint8 travels: 2.4 MB a clip of 16 pictures of 224 px.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...extract.encoders.preprocess import Preprocessing
from .footage import Footage, Whole
from .tubes import crop_boxes, cropped, tube_masks

SCALES = (1.0, 0.875, 0.75, 0.66)
PER = 256  # clips that the rate is for
HELD_SEED = 0x7E1D  # of the held-out clips' masks, which are the same in every run


@dataclass(frozen=True)
class Plan:
    """Attributes:
    steps: in all.    batch: clips of a step.    chunk: how many go through the network at once; 0 for the whole batch.
    mask: share of a frame's places that is hidden.    lr: for `PER` clips a step.    warmup: share of the steps.
    flip: mirror half of the clips.    every: steps from one look at the held-out clips to the next.
    save_every_s: between checkpoints; more where writing one takes long. Changes nothing of what comes out.
    """

    steps: int = 2000
    batch: int = 32
    chunk: int = 0
    mask: float = 0.9
    lr: float = 1.5e-4
    warmup: float = 0.05
    decay: float = 0.05
    clip_norm: float = 1.0
    crops: bool = True
    flip: bool = False
    every: int = 200
    seed: int = 0
    save_every_s: float = 60.0

    def facts(self) -> dict[str, Any]:
        """What decides the outcome, as JSON."""
        return {name: value for name, value in asdict(self).items() if name != "save_every_s"}


@dataclass(frozen=True)
class Material:
    """Attributes:
    train: (W, 2) windows of the footage to draw from.    held: (V, 2) that are only looked at; may be none.
    """

    footage: Footage
    how: Preprocessing
    train: Whole
    held: Whole


@dataclass(frozen=True)
class Batch:
    """Attributes: clips (B, T, H, W, 3) uint8, boxes (B, 3), mirrored (B,) and masks (B, N) bool, on the CPU."""

    clips: Tensor
    boxes: Tensor | None
    mirrored: Tensor | None
    masks: Tensor

    def part(self, low: int, high: int) -> "Batch":
        """Clips [low, high)."""
        boxes, mirrored = (None if of is None else of[low:high] for of in (self.boxes, self.mirrored))
        return Batch(self.clips[low:high], boxes, mirrored, self.masks[low:high])

    def pixels(self, how: Preprocessing, device: str) -> Tensor:
        """(B, T, 3, H, W) float32, the network's input, on the device; cropped and mirrored there."""
        frames = self.clips.to(device, non_blocking=True).permute(0, 1, 4, 2, 3).float()
        if self.boxes is not None:
            frames = cropped(frames, self.boxes.to(device))
        if self.mirrored is not None:
            frames = torch.where(self.mirrored.to(device)[:, None, None, None, None], frames.flip(-1), frames)
        mean, std = (frames.new_tensor(values).view(3, 1, 1) for values in (how.mean, how.std))
        return (frames / 255 - mean) / std


def batch_of(plan: Plan, material: Material, grid: Sequence[int], step: int) -> Batch:
    """What step `step` sees: any windows, all equally likely, so a video counts by its length."""
    draw = np.random.default_rng((plan.seed, step))
    windows = material.train[draw.integers(len(material.train), size=plan.batch)]
    boxes = torch.from_numpy(crop_boxes(plan.batch, SCALES, (plan.seed, step, 1))) if plan.crops else None
    mirrored = torch.from_numpy(draw.random(plan.batch) < 0.5) if plan.flip else None
    masks = torch.from_numpy(tube_masks(plan.batch, grid[0], grid[1], plan.mask, (plan.seed, step, 2)))
    return Batch(torch.from_numpy(material.footage.clips(windows)), boxes, mirrored, masks)


def held_batch(plan: Plan, material: Material, grid: Sequence[int], low: int, high: int) -> Batch:
    """Held-out clips [low, high), whole, with masks that depend on nothing but their place and the ratio."""
    masks = [tube_masks(1, grid[0], grid[1], plan.mask, (HELD_SEED, at)) for at in range(low, high)]
    return Batch(
        torch.from_numpy(material.footage.clips(material.held[low:high])),
        None,
        None,
        torch.from_numpy(np.concatenate(masks)),
    )


def grid_of(config: Any) -> tuple[int, int]:
    """(T / tubelet, places of a frame) of a model's configuration."""
    return config.num_frames // config.tubelet_size, (config.image_size // config.patch_size) ** 2
