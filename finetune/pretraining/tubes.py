"""Tube masks, and a clip as patches: what VideoMAE hides, and what it must say of it.

    masks = tube_masks(batch, times, places, ratio, seed)      (B, N) bool, N = times * places
    targets, mean, std = normalised(patches_of(frames, tubelet_px, patch_px))
    frames_of(patches, times, size_px, ...)                    the inverse of patches_of

A video's next frame looks like this one, so a place hidden in one frame only can be copied from its neighbours in time.
Hidden in all frames it cannot, and 90 to 95 % can be hidden at that (Tong et al. 2022, "VideoMAE", section 3.3). The order of
tokens and of numbers within a patch is that of transformers' `VideoMAEForPreTraining`; the tests hold the loss to its own.

Pure functions; no network. Costs 0.1 ms a clip for masks; patches are a copy of the pixels.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ...extract.errors import UsageError

EPSILON = 1e-6  # beside a patch's deviation, as transformers has it


def hidden_places(places: int, ratio: float) -> int:
    """How many of a frame's places are hidden: rounded down, as VideoMAE's own code does.

    0.9 of 196: 176

    Raises:
        UsageError: it hides none, or all.
    """
    hidden = int(ratio * places) if 0 < ratio < 1 else 0
    if not 0 < hidden < places:
        raise UsageError(
            f"--mask {ratio:g} of {places} places of a frame hides {hidden}: expected at least one hidden and one seen, "
            "such as 0.9 (VideoMAE hides 0.9 to 0.95)."
        )
    return hidden


def tube_masks(batch: int, times: int, places: int, ratio: float, seed: Sequence[int]) -> npt.NDArray[np.bool_]:
    """(B, times * places) True where hidden: of each clip other places, the same at all times, always equally many.

    Args:
        times: T / tubelet, how many a place has.    places: of a frame.    seed: the same gives the same masks.

    Raises:
        UsageError: see `hidden_places`.
    """
    order = np.random.default_rng(seed).random((batch, places)).argsort(axis=1, kind="stable")
    return np.tile(order < hidden_places(places, ratio), (1, times))


def patches_of(frames: Tensor, tubelet: int, patch_px: int) -> Tensor:
    """(B, T, C, H, W) -> (B, N, tubelet * patch * patch, C): N tokens by time, row and column."""
    batch, length, channels, height, width = frames.shape
    split = frames.reshape(
        batch, length // tubelet, tubelet, channels, height // patch_px, patch_px, width // patch_px, patch_px
    )
    return split.permute(0, 1, 4, 6, 2, 5, 7, 3).reshape(batch, -1, tubelet * patch_px * patch_px, channels)


def frames_of(patches: Tensor, times: int, size_px: tuple[int, int], tubelet: int, patch_px: int) -> Tensor:
    """The inverse of `patches_of`: -> (B, T, C, H, W), T = times * tubelet and (H, W) of `size_px`."""
    batch, channels = len(patches), patches.shape[-1]
    rows, columns = size_px[0] // patch_px, size_px[1] // patch_px
    split = patches.reshape(batch, times, rows, columns, tubelet, patch_px, patch_px, channels)
    return split.permute(0, 1, 4, 7, 2, 5, 3, 6).reshape(batch, times * tubelet, channels, *size_px)


def normalised(patches: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Targets of (B, N, P, C) patches, each channel of each with mean 0 and deviation 1; and these two, (B, N, 1, C).

    The deviation is the unbiased one with `EPSILON` added, so a patch of one colour is all but 0. (He et al. 2022, "MAE",
    section 4.1, and VideoMAE after it: contrast counts, brightness does not.)
    """
    mean = patches.mean(dim=-2, keepdim=True)
    deviation = patches.var(dim=-2, keepdim=True).sqrt() + EPSILON
    return (patches - mean) / deviation, mean, deviation


def of_hidden(values: Tensor, masks: Tensor) -> Tensor:
    """(B, N, ...) and (B, N) bool, as many True in each row -> (B, M, P): those that are hidden, flat, as logits are."""
    return values[masks].reshape(len(values), -1, values[0, 0].numel())


def filled_in(patches: Tensor, logits: Tensor, masks: Tensor) -> Tensor:
    """(B, N, P, C) with the hidden patches as the network says (B, M, P * C), brought to each one's own mean and deviation.

    These two are the truth's: the network was never asked for them. So colours prove nothing, edges do.
    """
    _, mean, deviation = normalised(patches)
    out = patches.clone()
    said = logits.reshape(-1, *patches.shape[2:]).to(patches.dtype)
    out[masks] = said * deviation[masks] + mean[masks]
    return out


def crop_boxes(batch: int, scales: Sequence[float], seed: Sequence[int]) -> npt.NDArray[np.float32]:
    """(B, 3) top, left and side of a square of each picture, as shares of its height and width; one of the scales, anywhere.

    VideoMAE's multi-scale crop without its changes of shape: people and letters keep their proportions.
    """
    draw = np.random.default_rng(seed)
    side = draw.choice(np.asarray(scales, np.float64), batch)
    corner = draw.random((batch, 2)) * (1 - side)[:, None]
    return np.column_stack([corner, side]).astype(np.float32)


def cropped(frames: Tensor, boxes: Tensor) -> Tensor:
    """(B, T, C, H, W) float, each clip's box (B, 3) blown up to the whole size, the same in all its frames; bilinear."""
    batch, length, channels, height, width = frames.shape
    top, left, side = boxes.unbind(dim=1)
    zero = torch.zeros_like(side)
    across = torch.stack([side, zero, 2 * left + side - 1], dim=1)
    down = torch.stack([zero, side, 2 * top + side - 1], dim=1)
    flat = frames.reshape(batch, length * channels, height, width)
    grid = torch.nn.functional.affine_grid(torch.stack([across, down], dim=1), list(flat.shape), align_corners=False)
    out = torch.nn.functional.grid_sample(flat, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return out.reshape(frames.shape)
