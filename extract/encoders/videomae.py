"""`videomae`: clips through VideoMAE (Tong et al. 2022, arXiv 2203.12602), the encoder of transformers.

`videomae:OWNER/NAME[@REVISION]` from the hub, `videomae:/folder` as `save_pretrained` writes it, `videomae:base@random`
(also `small`, `large`) untrained.

The embedding is the mean over all tokens of the last hidden state, then the norm that fine-tuned checkpoints have there
(`fc_norm`); pretrained-only checkpoints have their own norm before the mean, or none. Fine-tuned ones also say what they
see. A checkpoint of another kind is refused with its keys.

Sampling: 16 frames, 0.5 s apart, so a clip covers 8 s at any frame rate. Kinetics checkpoints were trained on 16 frames
0.13 s apart (every fourth of 30 fps); `--stride 0.133` gives that, at four times the cost.

Cost of one clip (ViT-B, 16 x 224 px): 0.36 TFLOP counted, 3 s on two CPU cores; 2.4 MB of pictures.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clips import consecutive
from .family import Family, Model
from .network import ClipNetwork, Facts, seeded
from .spec import EncoderSpec
from .transformers_clip import MEAN_TOKEN, check, class_names, find, load_pretrained, preprocessing_in
from .weights import require_keys

if TYPE_CHECKING:
    import torch

USUAL = "MCG-NJU/videomae-base-finetuned-kinetics"
STRIDE_S = 0.5
LICENCE = "CC BY-NC 4.0 (not for commercial use)"
SIZES: dict[str, dict[str, Any]] = {
    "small": {
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
        "intermediate_size": 1536,
        "num_labels": 0,
    },
    "base": {"num_labels": 0},
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "num_labels": 0,
    },
}
# Of checkpoints from pretraining; nothing of it embeds.
DECODER = ("decoder.", "encoder_to_decoder.", "mask_token")
HEAD = ("fc_norm.", "classifier.")
# In the fingerprint of checkpoints that have seen no labels; `nightreel pretrain` writes such.
PRETRAINED = "masked pre-training only: probes weakly"


def load(spec: EncoderSpec, device: str) -> ClipNetwork:
    """The encoder of a checked spec."""
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    source = find(spec, LICENCE if (spec.name or "").startswith("MCG-NJU/") else "unknown; see its page")
    if source.folder is None:
        model = seeded(lambda: VideoMAEForVideoClassification(VideoMAEConfig(**SIZES[spec.name or ""])))
        missing: set[str] = set()
    else:
        model, missing = _from_folder(spec, source.folder)
    config = model.config
    labels = () if any(name.startswith("classifier.") for name in missing) else class_names(config)
    normed = config.use_mean_pooling and not any(name.startswith("fc_norm.") for name in missing)
    network = build(model, normed, bool(labels))
    pooling = "mean of tokens, fc_norm" if normed else MEAN_TOKEN
    plan = consecutive(config.num_frames, STRIDE_S)
    unlabelled = "VideoMAEForPreTraining" in (config.architectures or ())
    training = PRETRAINED if unlabelled else None
    facts = Facts(source.licence, pooling, ("torch", "transformers"), source.revision, training)
    how = preprocessing_in(source.folder, config.image_size)
    return ClipNetwork(str(spec), network, config.hidden_size, how, plan, facts, device, labels)


def _from_folder(spec: EncoderSpec, folder: Path) -> tuple[Any, set[str]]:
    """The classification model, and which of its entries the checkpoint has not (only ever the head's)."""
    from transformers import VideoMAEForVideoClassification

    model, info = load_pretrained(VideoMAEForVideoClassification, "videomae", spec, folder)
    missing, unexpected = info["missing_keys"], info["unexpected_keys"]
    require_keys(
        str(spec),
        folder,
        missing=[name for name in missing if not name.startswith(HEAD)],
        unexpected=[name for name in unexpected if not name.startswith(DECODER)],
    )
    return model, missing


def build(model: Any, normed: bool, labelled: bool) -> "torch.nn.Module":
    """The module that `ClipNetwork` wants, of a `VideoMAEForVideoClassification`.

    Args:
        normed, labelled: whether its `fc_norm`, its `classifier` are trained ones.
    """
    import torch

    class VideoMae(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.videomae = model.videomae
            self.fc_norm = model.fc_norm if normed else None
            self.classifier = model.classifier if labelled else None

        def forward(self, pixels: torch.Tensor) -> "tuple[torch.Tensor, torch.Tensor | None]":
            tokens = self.videomae(pixels).last_hidden_state  # (B, T / tubelet * patches, D)
            features = tokens.mean(dim=1)  # (B, D)
            features = features if self.fc_norm is None else self.fc_norm(features)
            if self.classifier is None:
                return features, None
            # Without mean pooling the checkpoint's head reads its first token.
            return features, self.classifier(features if model.config.use_mean_pooling else tokens[:, 0])

    return VideoMae()


def _check(spec: EncoderSpec) -> EncoderSpec:
    return check(spec, USUAL, SIZES)


FAMILY = Family(
    "videomae",
    "a download at first use, or a folder that `save_pretrained` wrote",
    (Model(f"videomae:{USUAL}", "clips", 768, 16, (224, 224), 8.0, 86_227_200, 360_689_172_480, LICENCE, USUAL),),
    load,
    _check,
)
