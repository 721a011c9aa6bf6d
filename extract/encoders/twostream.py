"""`twostream`: what is seen and how it moves, side by side, after Simonyan and Zisserman 2014 (arXiv 1406.2199).

`twostream:resnet18@/path/to/weights.safetensors` (or `.pt`, `.pth`), untrained `twostream:resnet18@random`. Nobody publishes
such weights: they are yours, trained with `new` and written with `save`. One file holds three networks:

    spatial.    torchvision's resnet18 on one picture, the middle one of 11
    temporal.   the same on 10 flow fields: its first convolution takes 20 channels
    flow.       torchvision's raft_small, which makes them; see `raft`

`spatial.fc` and `temporal.fc` are the classifiers; without both there are no probabilities. The names of the classes are in the
file's metadata, `labels`, a JSON list; without it (`.pt` has no metadata) they are `class 0`, `class 1`...

As in the paper: flow of consecutive frames, x and y of each in turn; each field less its mean, against camera motion; streams
fused late, by the mean of their softmaxes. The embedding is fused the same way: both features (512 each) at unit length, side
by side, so that a cosine is the mean of the two streams' cosines. How we differ: resnet18 and RAFT for CNN-M and Brox's flow;
flow is cut off at +-20 px and divided by 20, as is usual since TSN (Wang et al. 2016, arXiv 1608.00859), after its mean is
taken off; one clip is embedded, the paper averages 25 places of a video with ten crops each.

Pictures are squashed to 224x224, what resnet18 was made for and RAFT can take. Frames are 1/25 s apart, the paper's, so one
clip covers 0.44 s; one is taken every 4 s, because 10 flow fields cost much and what people do goes on for seconds (the paper
looks every 0.3 s; `--hop 0.44` takes all, at 9 times the cost). Where a film has fewer frames a second, some are repeated,
and the flow between those is 0.

Cost of one clip: 0.18 TFLOP counted, 46 GFLOP for a second of video; 95 % of it is RAFT. 3 s of one CPU core.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..clips import ClipPlan
from ..errors import UnknownEncoder, WeightsUnavailable
from ..geometry import Geometry
from . import raft
from .device import autocast
from .family import Family, Model
from .network import Facts, seeded
from .preprocess import Preprocessing
from .spec import EncoderSpec, absolute, is_path, nearest
from .weights import CHECKPOINTS, RANDOM, State, fill, read_state

if TYPE_CHECKING:
    import torch

NAME, FLOW = "resnet18", "raft_small"
FIELDS = 10  # the paper's L
DIM = 2 * 512
MOST_PX = 20.0  # where flow is cut off
# To [-1, 1] as RAFT wants it; the spatial stream turns that into ImageNet's mean and variance, so that its weights can be
# those of a resnet18 trained there, as the paper's were.
PREPROCESSING = Preprocessing(Geometry((224, 224), "squash", "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLAN = ClipPlan(FIELDS + 1, 1 / 25, 4.0)
POOLING = (
    f"mean over places of the middle picture and of {FIELDS} flow fields, unit length each; fields less their mean, of "
    f"+-{MOST_PX:g} px; {raft.UPDATES} updates"
)


def new(classes: int = 0) -> "torch.nn.Module":
    """The module, untrained, for training or for `fill`. Seed torch before, if it should be the same again.

    It takes (B, 11, 3, 224, 224) in [-1, 1] and gives (B, 1024) features of length 1 and (B, classes) logarithms of the
    fused probabilities (None without classes). `flow` asks for no gradients, as in the paper, where flow is given; fill it
    with the weights of a trained RAFT first. To train the streams each by itself, as the paper does, give `streams` flow
    made once, and `classify` what comes out.
    """
    import torch

    class TwoStream(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spatial, self.temporal = _resnet(3, classes), _resnet(2 * FIELDS, classes)
            self.flow = raft.build(FLOW).requires_grad_(False)
            for name, values in (("mean", MEAN), ("std", STD)):
                self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

        def forward(
            self, pixels: torch.Tensor, found: torch.Tensor | None = None
        ) -> tuple[torch.Tensor, torch.Tensor | None]:
            """`found`: the flow (B, 10, 2, H, W), where the caller has it."""
            if found is None:
                found = raft.fields(self.flow, pixels, np.ones((len(pixels), FIELDS)))
            spatial, temporal = self.streams(pixels[:, FIELDS // 2], found)
            features = torch.cat([_unit(spatial), _unit(temporal)], dim=1) / 2**0.5
            logits = self.classify(spatial, temporal)
            return features, None if logits is None else fused(*logits)

        def streams(self, picture: torch.Tensor, found: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            """(B, 3, H, W) in [-1, 1] and (B, 10, 2, H, W) pixels -> features of both streams, (B, 512) each."""
            mean, std = self.get_buffer("mean"), self.get_buffer("std")
            return _pooled(self.spatial, (picture / 2 + 0.5 - mean) / std), _pooled(self.temporal, stacked(found))

        def classify(self, spatial: torch.Tensor, temporal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
            """Features -> logits of both streams, (B, classes) each."""
            return (self.spatial.fc(spatial), self.temporal.fc(temporal)) if classes else None

    return TwoStream()


def stacked(found: "torch.Tensor") -> "torch.Tensor":
    """(B, 10, 2, H, W) pixels -> (B, 20, H, W) in [-1, 1]: x1 y1 x2 y2..., each less its mean over the picture."""
    own = found - found.mean(dim=(-2, -1), keepdim=True)
    return (own.clamp(-MOST_PX, MOST_PX) / MOST_PX).flatten(1, 2)


def fused(spatial: "torch.Tensor", temporal: "torch.Tensor") -> "torch.Tensor":
    """Logits (B, C) of two streams -> (B, C) logarithms of the mean of their softmaxes, so that softmax gives that mean."""
    import math

    import torch

    spatial, temporal = spatial.float().log_softmax(dim=-1), temporal.float().log_softmax(dim=-1)
    return torch.logaddexp(spatial, temporal) - math.log(2)


def save(network: "torch.nn.Module", path: Path, labels: Sequence[str] = ()) -> None:
    """Write a module of `new` as `twostream:resnet18@/path.safetensors` reads it, with the names of its classes.

    Raises:
        ValueError: not as many names as classes.
    """
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    classes = classes_of(state)
    if labels and len(labels) != classes:
        raise ValueError(f"{path}: got {len(labels)} labels for {classes} classes; expected one for each, or none")
    save_file(state, path, {"labels": json.dumps(list(labels))} if labels else None)


def classes_of(state: State) -> int:
    """How many classes a checkpoint has; 0 without a classifier."""
    weight = state.get("spatial.fc.weight")
    return 0 if weight is None or not weight.ndim else len(weight)


def labels_in(path: Path, classes: int, spec: str) -> tuple[str, ...]:
    """Names of a checkpoint's classes: those that `save` wrote, or `class 0`, `class 1`...

    Raises:
        WeightsUnavailable: names that are no list of as many strings.
    """
    import safetensors

    told: str | None = None
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, "pt") as file:
            told = (file.metadata() or {}).get("labels")
    if told is None:
        return tuple(f"class {i}" for i in range(classes))
    try:
        names = json.loads(told)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(names) != classes:
            raise ValueError("it is something else")
    except (ValueError, RecursionError) as error:  # json raises both
        raise WeightsUnavailable(
            f"encoder {spec!r}: {path} says in its metadata `labels` {told[:80]!r}; expected a JSON list of {classes} "
            f"names, one for each class ({error}). Write it again with `twostream.save`."
        ) from error
    return tuple(names)


class TwoStreamEncoder(raft.FlowNetwork):
    """A `ClipEncoder`; made by `load`."""

    @property
    def raft(self) -> Any:
        return self._network.flow

    def look(
        self, pixels: "torch.Tensor", found: "torch.Tensor", gaps_s: "torch.Tensor", source_px: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor | None]":
        with autocast(self._device, self._precision):
            features, logits = self._network(pixels, found)
        return features, logits


def load(spec: EncoderSpec, device: str) -> TwoStreamEncoder:
    """The encoder of a checked spec.

    Raises:
        WeightsUnavailable: no such file, or other weights in it.
    """
    labels: tuple[str, ...] = ()
    if spec.weights == RANDOM:
        network = seeded(new)
    else:
        path = Path(spec.weights or "")
        state = read_state(path, str(spec))
        labels = labels_in(path, classes_of(state), str(spec))
        network = seeded(lambda: new(classes_of(state)))
        fill(network, state, str(spec), path)
    facts = Facts("none (untrained)" if spec.weights == RANDOM else "unknown", POOLING)
    return TwoStreamEncoder(str(spec), network, DIM, PREPROCESSING, PLAN, facts, device, labels)


def check(spec: EncoderSpec) -> EncoderSpec:
    """The spec as it is stored: the path absolute.

    Raises:
        UnknownEncoder: another network, or neither a path nor `@random`.
    """
    name, weights = spec.name or NAME, spec.weights
    if name != NAME:
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: expected {EXAMPLE!r} or 'twostream:{NAME}@{RANDOM}'; "
            f"got the network {name!r}.{nearest(name, [NAME])} Known: {NAME}."
        )
    if weights is not None and weights.lower() == RANDOM:
        return EncoderSpec(spec.family, name, RANDOM)
    if weights is not None and (is_path(weights) or weights.endswith(CHECKPOINTS)):
        return EncoderSpec(spec.family, name, absolute(weights))
    raise UnknownEncoder(
        f"encoder {str(spec)!r}: nobody publishes weights for it; expected a file of yours ({', '.join(CHECKPOINTS)}), got "
        f"{'none' if weights is None else repr(weights)}.{nearest(weights or '', [RANDOM])} Write "
        f"'twostream:{NAME}@/path/to/weights.safetensors', or 'twostream:{NAME}@{RANDOM}' for untrained ones."
    )


def _resnet(channels: int, classes: int) -> Any:
    """torchvision's resnet18, its first convolution for so many channels; without classes it has no `fc`."""
    import torch
    from torchvision.models import resnet18

    network: Any = resnet18(weights=None, num_classes=max(classes, 1))
    if channels != 3:
        network.conv1 = torch.nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        torch.nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")  # as torchvision's own
    if not classes:
        network.fc = torch.nn.Identity()
    return network


def _pooled(network: Any, pixels: "torch.Tensor") -> "torch.Tensor":
    """(B, C, H, W) -> (B, 512), what the classifier of a resnet gets."""
    x = network.maxpool(network.relu(network.bn1(network.conv1(pixels))))
    pooled: torch.Tensor = network.avgpool(network.layer4(network.layer3(network.layer2(network.layer1(x)))))
    return pooled.flatten(1)


def _unit(features: "torch.Tensor") -> "torch.Tensor":
    """(B, D) >= 0 -> float32 of length 1. All 0, as an untrained stream gives a clip that stands still, points evenly."""
    import torch

    return torch.nn.functional.normalize(features.float() + 1e-6, dim=-1)


EXAMPLE = f"twostream:{NAME}@/path/to/weights.safetensors"
FAMILY = Family(
    "twostream",
    "a file of yours: give its path instead of this one",
    (
        Model(
            EXAMPLE,
            "clips",
            DIM,
            PLAN.frames,
            PREPROCESSING.geometry.size_px,
            PLAN.span_s,
            23396498,
            184374321152,
            "that of your file",
            EXAMPLE.partition("@")[2],
        ),
    ),
    load,
    check,
)
