"""What a pre-training run shows: clips with what was hidden and what was guessed, and its curve.

    rows = reconstructions(model, batch, how, device)     {"original", "hidden", "guessed"}: (B, T, H, W, 3) uint8
    draw_reconstructions(path, rows, times)
    draw_losses(path, metrics)

Where a patch was hidden, its mean and contrast are the truth's, for the network guesses neither (`tubes.filled_in`): look at
edges and at motion, not at colours.

Costs a forward pass of the clips shown, and 1 s of drawing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...extract.encoders.device import autocast
from ...extract.encoders.preprocess import Preprocessing
from ...extract.files import write_atomic
from .batch import Batch
from .loop import precision
from .tubes import filled_in, frames_of, patches_of

GREY = 0.5  # of a hidden patch
SHOWN = 6  # pictures of a clip
Pictures = npt.NDArray[np.uint8]


def reconstructions(model: Any, batch: Batch, how: Preprocessing, device: str) -> dict[str, Pictures]:
    """Each (B, T, H, W, 3): the clips, the clips with what was hidden in grey, and with what the network says there."""
    config, masks = model.config, batch.masks.to(device)
    pixels = batch.pixels(how, device)
    model.eval()
    with torch.inference_mode(), autocast(device, precision(device)):
        logits = model(pixels, bool_masked_pos=masks).logits.float()
    mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in (how.mean, how.std))
    patches = patches_of(pixels * std + mean, config.tubelet_size, config.patch_size)
    hidden = torch.where(masks[..., None, None], GREY, patches)
    shape = (pixels.shape[1] // config.tubelet_size, (pixels.shape[3], pixels.shape[4]))
    out = {}
    for name, values in (("original", patches), ("hidden", hidden), ("guessed", filled_in(patches, logits, masks))):
        frames = frames_of(values, *shape, config.tubelet_size, config.patch_size)
        out[name] = (frames.clamp(0, 1) * 255).round().byte().permute(0, 1, 3, 4, 2).cpu().numpy()
    return out


def draw_reconstructions(path: Path, rows: Mapping[str, Pictures]) -> None:
    """A PNG: of each clip a row per name, `SHOWN` pictures at equal steps.

    Args:
        rows: name -> (B, T, H, W, 3).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    clips, length, height, width = next(iter(rows.values())).shape[:4]
    at = np.unique(np.linspace(0, length - 1, min(SHOWN, length)).round().astype(int))
    strips = [np.concatenate(list(of[clip][at]), axis=1) for clip in range(clips) for of in rows.values()]
    across = len(at) * width
    figure = Figure(figsize=(9, 0.5 + 8 * len(strips) * height / across), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.imshow(np.concatenate(strips), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([(strip + 0.5) * height for strip in range(len(strips))], list(rows) * clips, fontsize=7)
    axes.hlines([clip * len(rows) * height - 0.5 for clip in range(1, clips)], -0.5, across - 0.5, color="black")
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


def draw_losses(path: Path, metrics: Sequence[Mapping[str, Any]], blank: float | None) -> None:
    """A PNG: the loss of the training and of the held-out clips against the step; dashed, what guessing nothing costs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, label, style in (
        ("loss", "training", {"linewidth": 0.8}),
        ("held_out", "held-out videos", {"marker": "."}),
    ):
        points = [(row["step"], row[name]) for row in metrics if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, **style)
    if blank is not None:
        axes.axhline(blank, color="tab:grey", linestyle="--", label="held-out, one colour a patch")
    axes.set_xlabel("step")
    axes.set_ylabel("loss of hidden patches")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=100))
