"""`timesformer`: clips through TimeSformer (Bertasius et al. 2021, arXiv 2102.05095), divided space-time attention.

Specs as of `videomae`. The embedding is the CLS token after the last norm. 8 frames, 32/30 s apart, as the Kinetics
checkpoints were trained (every 32nd of 30 fps), so a clip covers 8.5 s. The checkpoint decides how many frames: with
another number transformers' layers would cut time and place apart in the wrong places, without a word.
"""

from typing import TYPE_CHECKING, Any

from ..clips import consecutive
from .family import Family, Model
from .network import ClipNetwork, Facts, seeded
from .spec import EncoderSpec
from .transformers_clip import check, class_names, find, load_pretrained, preprocessing_in
from .weights import require_keys

if TYPE_CHECKING:
    import torch

USUAL = "facebook/timesformer-base-finetuned-k400"
STRIDE_S = 32 / 30
LICENCE = "CC BY-NC 4.0 (not for commercial use)"
SIZES: dict[str, dict[str, Any]] = {"base": {"num_labels": 0}}


def load(spec: EncoderSpec, device: str) -> ClipNetwork:
    """The encoder of a checked spec."""
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    source = find(spec, LICENCE if (spec.name or "").startswith("facebook/") else "unknown; see its page")
    labelled = False
    if source.folder is None:
        model = seeded(
            lambda: untrained(TimesformerForVideoClassification(TimesformerConfig(**SIZES[spec.name or ""])))
        )
    else:
        model, info = load_pretrained(TimesformerForVideoClassification, "timesformer", spec, source.folder)
        head = {name for name in info["missing_keys"] if name.startswith("classifier.")}
        labelled = not head
        missing, unexpected = info["missing_keys"] - head, info["unexpected_keys"]
        require_keys(str(spec), source.folder, missing=missing, unexpected=unexpected)
    config = model.config
    labels = class_names(config) if labelled else ()
    facts = Facts(source.licence, "CLS token", ("torch", "transformers"), source.revision)
    how = preprocessing_in(source.folder, config.image_size)
    network = build(model, bool(labels))
    plan = consecutive(config.num_frames, STRIDE_S)
    return ClipNetwork(str(spec), network, config.hidden_size, how, plan, facts, device, labels)


def untrained(model: Any) -> Any:
    """transformers begins with places and times of zero, for which the order of frames is nothing; trained ones are not."""
    from torch.nn.init import trunc_normal_

    embeddings = model.timesformer.embeddings
    for weights in (embeddings.position_embeddings, embeddings.time_embeddings):
        trunc_normal_(weights, std=0.02)
    return model


def build(model: Any, labelled: bool) -> "torch.nn.Module":
    """The module that `ClipNetwork` wants, of a `TimesformerForVideoClassification`."""
    import torch

    class TimeSformer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.timesformer = model.timesformer
            self.classifier = model.classifier if labelled else None

        def forward(self, pixels: torch.Tensor) -> "tuple[torch.Tensor, torch.Tensor | None]":
            features = self.timesformer(pixels).last_hidden_state[:, 0]  # (B, D)
            return features, None if self.classifier is None else self.classifier(features)

    return TimeSformer()


def _check(spec: EncoderSpec) -> EncoderSpec:
    return check(spec, USUAL, SIZES)


FAMILY = Family(
    "timesformer",
    "a download at first use, or a folder that `save_pretrained` wrote",
    (
        Model(
            f"timesformer:{USUAL}",
            "clips",
            768,
            8,
            (224, 224),
            8 * STRIDE_S,
            121_258_752,
            391_659_945_984,
            LICENCE,
            USUAL,
        ),
    ),
    load,
    _check,
)
