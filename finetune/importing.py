"""What CLIP4Clip's code trained, taken into an archive as it is: `nightreel finetune --from-clip4clip`.

    import_checkpoint(archive, file, "transformer", "")       first the towers, for `extract`; then, on their features, the head

A checkpoint holds CLIP's two towers, fine-tuned, and a head that was trained on what these say. So the towers come first, as a
folder that open_clip reads; once the archive has their features, the same command stores the head. Of a file that holds a head
only, the head is stored at once (as with `--encoder`), and that it fits the features cannot be checked.

Costs reading the file, and for towers writing it again (600 MB for ViT-B). It knows ViT towers only, and no 3D patches.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..extract.encoders.openclip import OpenClipEncoder
from ..extract.encoders.preprocess import from_open_clip
from ..extract.encoders.weights import read_state, require_fit, state_sha256
from ..extract.errors import UsageError, WeightsUnavailable
from ..extract.heads import load_head
from ..extract.heads.clip4clip import FEATURE_NORM
from ..extract.heads.stored import folder_of, require_new, save_head
from ..extract.heads.tuned import Tuned
from ..extract.store import Store
from .towers import CONFIG, WEIGHTS, Towers, save_towers
from .wish import base_of

FRAMES = 12  # that CLIP4Clip trains with on MSR-VTT, one a second
CLIP = "clip."  # how names of its towers begin; then they are OpenAI's
HEAD_WIDTH = 64  # of OpenAI's transformers
CUBES = "visual.conv2.weight"  # of `--linear_patch 3d`
NO_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # that OpenAI's files have among their weights

State = Mapping[str, Any]


def import_checkpoint(
    folder: Path, file: Path, kind: str, name: str, *, encoder: str | None = None, max_frames: int = 0
) -> dict[str, Any]:
    """Store the towers of a checkpoint, or where the archive has their features, its head; returns what `--json` prints.

    Args:
        name: "" for `clip4clip` (towers) and `clip4clip-KIND` (a head).
        encoder: of features that the head is to go with, whatever the towers; None: those of the towers.
        max_frames: that a head sees together; 0 for `FRAMES`.

    Raises:
        UsageError: its features have another length than the archive's, or its towers are of a kind that is not read.
        WeightsUnavailable: see `extract.heads.load_head`; or the towers lack weights.
    """
    state = {} if encoder else tower_state(read_state(file, "clip4clip"))
    if state:
        store, digest = Store.open(folder), state_sha256(state)
        fits = [slug for slug, said in store.encoders().items() if said.get("weights_sha256") == digest]
        if not fits:
            return _towers(store, file, state, name or "clip4clip", digest)
        encoder = fits[0]
    return _head(folder, file, kind, name or f"clip4clip-{kind}", encoder, max_frames)


def tower_state(state: State) -> dict[str, Any]:
    """The towers' weights under OpenAI's names, float32, as open_clip has them; nothing where the file holds none."""
    own = {name.removeprefix(CLIP): value.float() for name, value in state.items() if name.startswith(CLIP)}
    own = {name: value for name, value in own.items() if name not in NO_WEIGHTS}
    return own if any(name.startswith("visual.") for name in own) else {}


def architecture(state: State) -> dict[str, Any]:
    """open_clip's `model_cfg` for weights of OpenAI's ViT towers (as `open_clip.model.build_model_from_openai_state_dict`).

    Raises:
        KeyError, IndexError, ValueError: they are not of such towers.
    """
    width, patch = state["visual.conv1.weight"].shape[0], state["visual.conv1.weight"].shape[-1]
    side = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    context, text_width = state["positional_embedding"].shape

    def layers(prefix: str) -> int:
        blocks = f"{prefix}transformer.resblocks."
        return len({name.removeprefix(blocks).split(".")[0] for name in state if name.startswith(blocks)})

    return {
        "embed_dim": state["text_projection"].shape[1],
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": patch * side,
            "layers": layers("visual."),
            "width": width,
            "head_width": min(HEAD_WIDTH, width),
            "patch_size": patch,
        },
        "text_cfg": {
            "context_length": context,
            "vocab_size": len(state["token_embedding.weight"]),
            "width": text_width,
            "heads": max(1, text_width // HEAD_WIDTH),
            "layers": layers(""),
        },
    }


def _towers(store: Store, file: Path, state: State, name: str, digest: str) -> dict[str, Any]:
    import open_clip
    import torch
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    home = folder_of(store, name)
    if (home / CONFIG).exists() or (home / WEIGHTS).exists():
        known = (home / WEIGHTS).is_file() and state_sha256(read_state(home / WEIGHTS, name)) == digest
        if not known:
            raise UsageError(
                f"{home} holds other towers already, and features may have been made with them: choose --name."
            )
        return _said(store, name, home, f"openclip:{home.absolute()}")
    if CUBES in state:
        raise UsageError(
            f"{file}: its towers take cubes of several frames (linear_patch 3d); expected linear_patch 2d."
        )
    try:
        model_cfg = architecture(state)
        with torch.device("meta"):  # a hostile file may ask for any size
            unfilled = open_clip.CLIP(**model_cfg)
    except (KeyError, IndexError, ValueError, AttributeError, AssertionError, RuntimeError) as error:
        raise WeightsUnavailable(
            f"{file}: its towers are not OpenAI's ViT ({type(error).__name__}: {error}); expected ViT-B/32 or ViT-B/16."
        ) from error
    require_fit(unfilled, dict(state), name, file)
    model = open_clip.CLIP(**model_cfg)
    model.load_state_dict(state)
    pictures = {
        "size": model_cfg["vision_cfg"]["image_size"],
        "mode": "RGB",
        "mean": list(OPENAI_DATASET_MEAN),
        "std": list(OPENAI_DATASET_STD),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "fill_color": 0,
    }
    how = from_open_clip(pictures)
    words = open_clip.SimpleTokenizer(context_length=model_cfg["text_cfg"]["context_length"])
    encoder = OpenClipEncoder(name, model.eval().requires_grad_(False), words, how, digest, "cpu")
    config = {"model_cfg": model_cfg, "preprocess_cfg": pictures}
    return _said(store, name, home, save_towers(Towers(model, words, how, config, encoder), home))


def _said(store: Store, name: str, home: Path, spec: str) -> dict[str, Any]:
    todo = f"nightreel extract VIDEOS --archive {store.root} --encoder {spec}"
    return {"name": name, "kind": "towers", "train": "imported", "kept": True, "folder": str(home), "next": todo}


def _head(folder: Path, file: Path, kind: str, name: str, encoder: str | None, max_frames: int) -> dict[str, Any]:
    """Their frames are CLIP's own, ours are of unit norm, so the head gets a scale that is only about right."""
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
