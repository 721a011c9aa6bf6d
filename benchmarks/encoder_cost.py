"""Parameters and floating point operations of every listed encoder, counted on the real architectures.

    python benchmarks/encoder_cost.py

Protocol: the module that embeds (no text tower, no classifier) is built without weights on torch's `meta` device, which
computes shapes only, and run on one input under `FlopCounterMode`: two operations for a multiplication with its addition,
convolutions, matrix products and attention only. Prints JSON: per spec the two numbers, beside what `nightreel encoders`
says, and operations per second of video with the encoder's own sampling. `tests/extract/test_encoder_cost.py` holds the
registry to it.
"""

import json
import platform
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from nightreel.extract.encoders.family import Model
from nightreel.extract.encoders.registry import FAMILIES
from torch.utils.flop_counter import FlopCounterMode

Build = Callable[[], torch.nn.Module]


def videomae() -> torch.nn.Module:
    from nightreel.extract.encoders.videomae import build
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    return build(VideoMAEForVideoClassification(VideoMAEConfig(num_labels=0)), normed=True, labelled=False)


def timesformer() -> torch.nn.Module:
    from nightreel.extract.encoders.timesformer import build
    from transformers import TimesformerConfig, TimesformerForVideoClassification

    return build(TimesformerForVideoClassification(TimesformerConfig(num_labels=0)), labelled=False)


def openclip() -> torch.nn.Module:
    """The picture tower alone; open_clip has no way to build it on `meta`, so it is moved there."""
    import open_clip

    settings = open_clip.get_model_config("PE-Core-B-16")
    with torch.device("cpu"):
        tower = open_clip.model._build_vision_tower(settings["embed_dim"], settings["vision_cfg"])
    return tower.to("meta")


def torchvision(name: str) -> torch.nn.Module:
    from nightreel.extract.encoders.torchvision_video import untrained

    return untrained(name)


def c3d() -> torch.nn.Module:
    from nightreel.extract.encoders.c3d import build

    return build()


def raft(name: str) -> torch.nn.Module:
    """RAFT on the pairs of one clip."""
    from nightreel.extract.encoders.raft import build, fields

    class Fields(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = build(name)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return fields(self.network, pixels, np.ones((1, pixels.shape[1] - 1)))

    return Fields()


def twostream() -> torch.nn.Module:
    from nightreel.extract.encoders.twostream import new

    return new()


def conse() -> torch.nn.Module:
    import timm
    from nightreel.extract.encoders.conse import ARCHITECTURE

    return timm.create_model(ARCHITECTURE, pretrained=False)


BUILD: dict[str, Build] = {
    "openclip:PE-Core-B-16@meta": openclip,
    "videomae:MCG-NJU/videomae-base-finetuned-kinetics": videomae,
    "timesformer:facebook/timesformer-base-finetuned-k400": timesformer,
    "c3d:/path/to/c3d.pth": c3d,
    "twostream:resnet18@/path/to/weights.safetensors": twostream,
    "conse": conse,
}
BUILD |= {model.spec: partial(raft, model.spec.split(":")[1].split("@")[0]) for model in FAMILIES["raft"].models}
BUILD |= {
    model.spec: partial(torchvision, model.spec.split(":")[1].split("@")[0]) for model in FAMILIES["torchvision"].models
}


def listed() -> list[Model]:
    """Every model that `nightreel encoders` lists and that has a network."""
    return [model for family in FAMILIES.values() for model in family.models if model.flops is not None]


def count(model: Model) -> tuple[int, int]:
    """(parameters, operations for one input) of a listed model."""
    shape = (1, *([model.frames] if model.features == "clips" else []), 3, *model.size_px)
    with torch.device("meta"):
        network = BUILD[model.spec]().eval().requires_grad_(False)
        return sum(p.numel() for p in network.parameters()), operations(lambda: network(torch.empty(shape)))


def operations(run: Callable[[], Any]) -> int:
    """Floating point operations of a call."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run()
    return int(counter.get_total_flops())


def main() -> None:
    rows = {}
    for model in listed():
        parameters, flops = count(model)
        rows[model.spec] = {
            "parameters": parameters,
            "flops": flops,
            "listed": [model.parameters, model.flops],
            "gflops_per_video_s": round(flops / model.seconds / 1e9, 2),
        }
    print(json.dumps({"machine": platform.machine(), "torch": torch.__version__, "encoders": rows}, indent=2))


if __name__ == "__main__":
    main()
