"""What a pre-training run says at its beginning and its end, and what it leaves behind.

It trains nothing. Costs writing the encoder (4 bytes a parameter) and drawing a curve.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...extract.encoders.videomae import STRIDE_S
from ...extract.files import write_json
from ..training.run_folder import CHECKPOINT, CURVES, RESULT, RunFolder, read_metrics
from .batch import Material, Plan
from .footage import drop_footage
from .model import Start, write_encoder
from .picture import draw_losses

Losses = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # as `loop.held_losses` gives them


def notes_of(material: Material, start: Start) -> list[str]:
    """What whoever reads the figures must know."""
    footage = material.footage
    count = len(footage.pictures)
    notes = [
        f"{len(footage.films)} videos, {count} pictures, {footage.pictures.nbytes / 1e9:.2f} GB cached while the run lasts."
    ]
    if footage.faults:
        path, why = next(iter(footage.faults.items()))
        notes.append(f"{len(footage.faults)} videos are not or not wholly used (--json lists all): {path}: {why}")
    if not len(material.held):
        notes.append("Nothing is held out (one source, or none decoded): that the training loss falls says little.")
    if start.new:
        notes.append(
            f"{start.name} has no {', '.join(start.new)} (it is no pre-training checkpoint): these begin untrained."
        )
    return notes


def outcome(
    plan: Plan, stride_s: float, start: Start, material: Material, out: Path, losses: list[Losses], wall_s: float
) -> dict[str, Any]:
    """What `--json` prints."""
    footage, (before, blank), (after, _) = material.footage, losses[0], losses[1]
    told = {"before": before, "after": after, "one_colour": blank}
    held = {name: round(float(values.mean()), 4) for name, values in told.items()} if len(before) else None
    # Untrained, a network is worse than saying that every patch has one colour: to be better than that alone is not enough.
    kept = held is None or held["after"] < min(held["before"], held["one_colour"])
    return {
        "out": str(out),
        "encoder": f"videomae:{out}" if kept else None,
        "from": start.name,
        "parameters": sum(p.numel() for p in start.model.parameters()),
        "mask": plan.mask,
        "steps": plan.steps,
        "batch": plan.batch,
        "stride_s": stride_s,
        "videos": {"train": len(footage.films) - footage.held, "held_out": footage.held},
        "clips": {"train": len(material.train), "held_out": len(material.held)},
        "cache_bytes": footage.pictures.nbytes,
        "held_out_loss": held,
        "better_clips": int((after < before).sum()),
        "kept": kept,
        "wall_s": round(wall_s, 1),
        "skipped": [{"path": path, "reason": why} for path, why in footage.faults.items()],
        "next": next_step(out, stride_s) if kept else "",
    }


def next_step(out: Path, stride_s: float) -> str:
    """The command that puts the encoder to use, with the stride that it was trained with."""
    stride = "" if stride_s == STRIDE_S else f" --stride {stride_s:g}"
    return f"nightreel extract VIDEOS --archive DIR --encoder videomae:{out}{stride}"


def finish(run: RunFolder, start: Start, result: dict[str, Any]) -> None:
    """The encoder first, the checkpoint goes last: killed in between, the run is finished again."""
    held = result["held_out_loss"]
    if result["kept"]:
        write_encoder(run.path.parent, start, card(result))
    draw_losses(run.path / CURVES, read_metrics(run.path), held["one_colour"] if held else None)
    write_json(run.path / RESULT, result)
    (run.path / CHECKPOINT).unlink(missing_ok=True)
    drop_footage(run.path)


def card(result: dict[str, Any]) -> str:
    """What the encoder's README says."""
    held = result["held_out_loss"]
    measured = (
        f"Loss of hidden patches on {result['clips']['held_out']} clips of {result['videos']['held_out']} held-out videos: "
        f"{held['before']} before, {held['after']} after, {held['one_colour']} if every hidden patch were of one colour."
        if held
        else "Nothing was held out."
    )
    made = (
        f"Began as: {result['from']}. Trained by `nightreel pretrain` on {result['videos']['train']} videos, "
        f"{result['steps']} steps of {result['batch']} clips, {result['mask']:g} of each frame hidden, pictures "
        f"{result['stride_s']:g} s apart."
    )
    weak = "It has seen no labels and no words: its features tell how things look and move, and probe weakly until fine-tuned."
    return f"# VideoMAE, masked pre-training only\n\n{made}\n\n{measured}\n\n{weak}"
