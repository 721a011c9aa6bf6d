"""A head that CLIP4Clip's code trained, taken into an archive as it is: `nightreel finetune --from-clip4clip`."""

from pathlib import Path
from typing import Any

from ..extract.errors import UsageError
from ..extract.heads import load_head
from ..extract.heads.clip4clip import FEATURE_NORM
from ..extract.heads.stored import require_new, save_head
from ..extract.heads.tuned import Tuned
from .wish import base_of

FRAMES = 12  # that CLIP4Clip trains with on MSR-VTT, one a second


def import_head(
    folder: Path, file: Path, kind: str, name: str, *, encoder: str | None = None, max_frames: int = 0
) -> dict[str, Any]:
    """Store the head of a checkpoint; returns what `--json` prints.

    Their frames are CLIP's own, ours are of unit norm, so the head gets a scale that is only about right. And it fits the
    features only if they are of the CLIP that it was trained with, which is in the same checkpoint: this is not checked.

    Args:
        name: "" for `clip4clip-KIND`.    max_frames: that it sees together; 0 for `FRAMES`.

    Raises:
        UsageError: its features have another length than the archive's.    WeightsUnavailable: see `extract.heads.load_head`.
    """
    name = name or f"clip4clip-{kind}"
    base = base_of(folder, encoder, "cpu")
    home = require_new(base.store, name)
    head = load_head(file, kind)
    if head.dim != base.dim:
        raise UsageError(
            f"{file}: its head takes features of {head.dim} numbers, those of {base.slug} have {base.dim}. Choose the features "
            "of the CLIP that it was trained with by --encoder (ViT-B-32 and ViT-B-16 have 512)."
        )
    head.feature_scale = FEATURE_NORM
    context = min(max_frames or FRAMES, head.max_frames)
    save_head(base.store, name, Tuned(head), base=base.slug, context=context, trained={"imported": file.name})
    return {
        "name": name,
        "kind": kind,
        "train": "imported",
        "kept": True,
        "folder": str(home),
        "next": f"nightreel index {folder} --head {name}",
    }
