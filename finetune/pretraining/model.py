"""VideoMAE before its first step and after its last: made, taken from a checkpoint, and written as `--encoder` reads it.

    start = new_start("small", seed)              untrained
    start = start_from("videomae:/folder")        a checkpoint, of pre-training or fine-tuned; also a hub name
    write_encoder(folder, start, about)           config.json, model.safetensors, preprocessor_config.json, README.md

Sizes are those of VideoMAE's own code: a decoder of 4 layers and half the width (Tong et al. 2022, appendix). `tiny` is
ViT-Ti's width with it, for trials on a CPU. The encoder ends in its own norm, as published pre-training checkpoints have it.

It does not know footage or training. Costs 4 bytes a parameter on disk: tiny 6, small 24, base 94 million.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...extract.encoders.preprocess import Preprocessing
from ...extract.encoders.registry import parse_spec
from ...extract.encoders.spec import absolute, is_path
from ...extract.encoders.transformers_clip import FILES, check, find, load_pretrained, preprocessing_in
from ...extract.encoders.videomae import HEAD, LICENCE, SIZES, USUAL
from ...extract.encoders.weights import require_keys, state_sha256
from ...extract.errors import UsageError
from ...extract.files import fsync_dir, write_atomic

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
YOURS = "yours (trained from nothing on your own videos)"


def _size(width: int, heads: int, decoder_width: int, decoder_heads: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "num_hidden_layers": 12,
        "num_attention_heads": heads,
        "intermediate_size": 4 * width,
        "decoder_hidden_size": decoder_width,
        "decoder_num_hidden_layers": 4,
        "decoder_num_attention_heads": decoder_heads,
        "decoder_intermediate_size": 4 * decoder_width,
        "use_mean_pooling": False,  # the encoder's own norm at its end
    }


PIXELS = 224
NEW = {"tiny": _size(192, 3, 96, 3), "small": _size(384, 6, 192, 3), "base": _size(768, 12, 384, 6)}


@dataclass(frozen=True)
class Start:
    """Attributes:
    model: a `VideoMAEForPreTraining`.    preprocessing: of its pixels.    licence: of what it began with.
    name: what that is.    sha256: of its weights.    folder: where they came from, or None.
    new: parts that the checkpoint had not, and that begin untrained.
    """

    model: Any
    preprocessing: Preprocessing
    licence: str
    name: str
    sha256: str
    folder: Path | None = None
    new: tuple[str, ...] = ()


def new_start(size: str, seed: int) -> Start:
    """An untrained model; the same for the same seed.

    Raises:
        UsageError: no such size.
    """
    from transformers import VideoMAEConfig, VideoMAEForPreTraining

    if size not in NEW:
        raise UsageError(f"--size {size}: expected one of {', '.join(NEW)}; other models by --from.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = VideoMAEForPreTraining(VideoMAEConfig(**NEW[size]))
    how = preprocessing_in(None, PIXELS)
    return Start(model, how, YOURS, f"untrained {size}", state_sha256(model.state_dict()))


def start_from(spec: str, seed: int) -> Start:
    """The model of a checkpoint; where that has no decoder (it was fine-tuned), a new one.

    Args:
        spec: `videomae:...`, a folder, or OWNER/NAME of the hub.

    Raises:
        UsageError: it cannot be meant.    WeightsUnavailable: it is not here, or not a VideoMAE.
    """
    from transformers import VideoMAEForPreTraining

    is_spec = spec == "videomae" or spec.startswith("videomae:")
    parsed = check(parse_spec(spec if is_spec else f"videomae:{_place(spec)}"), USUAL, SIZES)
    source = find(parsed, LICENCE if (parsed.name or "").startswith("MCG-NJU/") else "unknown; see its page")
    if source.folder is None:
        raise UsageError(f"--from {spec}: untrained models are made by --size {parsed.name}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, info = load_pretrained(VideoMAEForPreTraining, "videomae", parsed, source.folder)
        if "mask_token" in info["missing_keys"]:  # transformers 5 leaves in it what the memory held before
            torch.nn.init.trunc_normal_(model.mask_token, std=0.02)
    fresh = ("decoder.", "encoder_to_decoder.", "mask_token")
    require_keys(
        str(parsed),
        source.folder,
        missing=[name for name in info["missing_keys"] if not name.startswith(fresh)],
        unexpected=[name for name in info["unexpected_keys"] if not name.startswith(HEAD)],
    )
    how = preprocessing_in(source.folder, model.config.image_size)
    new = tuple(sorted({name.partition(".")[0] for name in info["missing_keys"]}))
    sha256 = state_sha256(model.state_dict())
    return Start(model, how, source.licence, str(parsed), sha256, source.folder, new)


def write_encoder(folder: Path, start: Start, about: str) -> None:
    """The model as a folder that `--encoder videomae:FOLDER` loads; whole, or without weights, at any instant.

    Args:
        about: what the card says of its making, as Markdown.
    """
    from transformers.utils import logging as quiet

    library: Any = quiet
    library.disable_progress_bar()
    part = folder / f".tmp-{CONFIG}"
    shutil.rmtree(part, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        start.model.save_pretrained(part)
        _write_processor(part, start)
        for path in sorted(part.iterdir(), key=lambda path: path.name == WEIGHTS):  # the weights last
            write_atomic(folder / path.name, lambda temporary, path=path: _moved(path, temporary))  # type: ignore[misc]
        text = f"---\nlicense: {start.licence}\n---\n\n{about}\n"
        write_atomic(folder / CARD, lambda temporary: _write(temporary, text))
    finally:
        shutil.rmtree(part, ignore_errors=True)
    fsync_dir(folder)


def _moved(path: Path, to: Path) -> None:
    path.replace(to)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _write_processor(folder: Path, start: Start) -> None:
    """That of the checkpoint it began with, else transformers' own for this size."""
    from transformers import VideoMAEImageProcessor

    names = [name for name in FILES if name.endswith("preprocessor_config.json")]
    found = [start.folder / name for name in names if start.folder is not None and (start.folder / name).is_file()]
    for path in found:
        shutil.copyfile(path, folder / path.name)
    if not found:
        px = start.model.config.image_size
        size = {"size": {"shortest_edge": px}, "crop_size": {"height": px, "width": px}}
        VideoMAEImageProcessor(**size).save_pretrained(folder)  # type: ignore[arg-type]


def _place(spec: str) -> str:
    """A folder, where it is one or looks like one; else a name of the hub."""
    return absolute(spec) if is_path(spec) or Path(spec).is_dir() else spec
