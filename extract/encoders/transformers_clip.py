"""What `videomae` and `timesformer` share: specs, folders and preprocessing of video models of transformers."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UnknownEncoder, WeightsUnavailable
from ..geometry import Geometry
from . import hub
from .preprocess import Preprocessing
from .spec import EncoderSpec, absolute, is_path, nearest
from .weights import RANDOM, from_hub, one_line, weights_in

FILES = ("config.json", "preprocessor_config.json", "video_preprocessor_config.json", "README.md")
MEAN_TOKEN = "mean of tokens"
# What these models' processors do where a folder does not say: the numbers of ImageNet, and all that fits.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_RESAMPLE = {2: "bilinear", 3: "bicubic"}  # PIL's numbers


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model is: its folder (None: made at random), licence and, from the hub, its commit."""

    folder: Path | None
    licence: str
    revision: str | None = None


def check(spec: EncoderSpec, usual: str, sizes: Iterable[str]) -> EncoderSpec:
    """The spec as it is stored: paths absolute, the usual name where there is none.

    Raises:
        UnknownEncoder: neither a repository, a folder, nor a size with `@random`.
    """
    family, known = spec.family, list(sizes)
    name, weights = spec.name or usual, spec.weights
    if is_path(name):
        folder = Path(absolute(name))
        if not (folder / "config.json").is_file() or weights is not None:
            raise UnknownEncoder(
                f"encoder {str(spec)!r}: expected a folder with config.json and model.safetensors, as `save_pretrained` "
                f"writes it; got {folder}{f' and {weights!r} as well' if weights else ', which has no config.json'}. "
                f"Write for example '{family}:/path/to/folder'."
            )
        return EncoderSpec(family, str(folder), None)
    is_size = weights == RANDOM and name in known
    is_repository = weights != RANDOM and name.count("/") == 1
    if not (is_size or is_repository):
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: expected '{family}:OWNER/NAME' of the hub, '{family}:/path/to/folder', or "
            f"untrained '{family}:SIZE@{RANDOM}' with a size of {', '.join(known)}.{nearest(name, [usual, *known])}"
        )
    return EncoderSpec(family, name, weights)


def find(spec: EncoderSpec, licence: str) -> Source:
    """Where the model of a checked spec is, downloaded if it must be.

    Raises:
        WeightsUnavailable: it is not to be had.
    """
    name = spec.name or ""
    if spec.weights == RANDOM:
        return Source(None, "none (untrained)")
    if is_path(name):
        if not weights_in(Path(name)):
            raise WeightsUnavailable(
                f"encoder {str(spec)!r}: {name} has a config.json but no weights; expected model.safetensors beside it. "
                "Copy the whole folder."
            )
        return Source(Path(name), _licence_beside(Path(name)))
    folder = from_hub(name, spec.weights, FILES, str(spec), licence)
    return Source(folder, licence, folder.name)  # a snapshot's folder is named by its commit


def load_pretrained(kind: Any, model_type: str, spec: EncoderSpec, folder: Path) -> tuple[Any, dict[str, set[str]]]:
    """A model of class `kind` out of a folder, and transformers' word on which keys were missing or unexpected.

    Raises:
        WeightsUnavailable: another type of model, or a checkpoint that cannot be read or has other shapes.
    """
    import pickle

    from safetensors import SafetensorError
    from transformers.utils import logging as quiet

    library: Any = quiet

    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        if found != model_type:
            raise ValueError(f"its config.json says model_type {found!r}, expected {model_type!r}")
        library.disable_progress_bar()
        with hub.quick_to_fail():  # quiet: what matters of its report is judged here
            model, info = kind.from_pretrained(
                folder, local_files_only=True, weights_only=True, output_loading_info=True, dtype="float32"
            )
    except (
        OSError,
        EOFError,
        RuntimeError,
        ValueError,
        TypeError,
        KeyError,
        SafetensorError,
        pickle.UnpicklingError,
    ) as error:
        raise WeightsUnavailable(
            f"encoder {str(spec)!r}: {folder} cannot be loaded: {one_line(error, 600)}. Expected a folder that "
            "`save_pretrained` wrote for this architecture; copy or download it again."
        ) from error
    return model, info


def class_names(config: Any) -> tuple[str, ...]:
    """The classes of a classifier, in the order of its logits; none without one."""
    names: dict[int, str] = config.id2label or {}
    return tuple(str(names[i]) for i in range(config.num_labels)) if config.num_labels else ()


def preprocessing_in(folder: Path | None, size_px: int) -> Preprocessing:
    """What the folder's processor does: resize the short side, crop the middle, normalise; to half a grey value."""
    said: dict[str, Any] = {}
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if folder is not None and (folder / name).is_file():
            said = json.loads((folder / name).read_text(encoding="utf-8"))
            break
    size, crop = said.get("size", {}), said.get("crop_size", {})
    cropped = (crop.get("height", size_px), crop.get("width", size_px)) if isinstance(crop, dict) else (crop, crop)
    interpolation = _RESAMPLE.get(said.get("resample", 2), "bilinear")
    mean, std = tuple(said.get("image_mean") or MEAN), tuple(said.get("image_std") or STD)
    if isinstance(size, dict) and "height" in size:
        fitted = (size["height"], size["width"])
        return Preprocessing(_geometry(cropped, fitted, "squash", interpolation), mean, std)
    edge = size.get("shortest_edge", size_px) if isinstance(size, dict) else size
    return Preprocessing(_geometry(cropped, (edge, edge), "shortest", interpolation), mean, std)


def _geometry(size_px: tuple[int, int], resize_px: tuple[int, int], mode: str, interpolation: str) -> Geometry:
    return Geometry(size_px, mode, interpolation, half_px="down", resize_px=None if size_px == resize_px else resize_px)


def _licence_beside(folder: Path) -> str:
    """What the model card in a folder says of its licence; what it does not say is not guessed."""
    card = folder / "README.md"
    if card.is_file():
        for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:40]:
            key, colon, value = line.partition(":")
            if key.strip() == "license" and colon:
                return value.strip().strip("\"'")
    return "unknown"
