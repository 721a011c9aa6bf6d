"""`c3d`: clips through C3D (Tran et al. 2015, arXiv 1412.0767): the 4096 numbers after `fc6` and its ReLU.

`c3d:/path/to/weights`, untrained `c3d@random`. Nothing is downloaded: these weights have no one home. The names of the
well-known PyTorch ports are understood:

    conv1.weight               DavideA/c3d-pytorch, jfzhang95/pytorch-video-recognition
    features.0.weight          the converted Caffe weights that jfzhang95's begins with
    conv1a.conv.weight         open-mmlab/mmaction2, after Sports-1M; with `backbone.` and `cls_head.` after UCF101

Without `fc8` there are no probabilities. As in all of them, `pool5` pads both sides of the picture by one.

Preprocessing as Tran's: to 128x171 px whatever the aspect ratio, the middle 112x112, grey values 0 to 255 less a mean.
His mean is of every pixel of 16 frames (the "mean cube" of Sports-1M); we take one of each channel, as jfzhang95 does: 102,
98, 90 of R, G, B. His pictures came from OpenCV, blue first, hence so do those of weights converted from his. mmaction2's
are red first, less 104, 117, 128. Which it is, the names in the checkpoint tell. The network here takes red first; where
the weights do not, `conv1a` is turned round as it is loaded.

Sampling: 16 frames 1/25 s apart, because C3D saw frames as they come, and those of UCF101, on which most weights were tuned,
come 25 a second. A clip is 0.64 s; `--hop 4` takes one in six. Cost of a clip: 77 GFLOP counted, 0.95 s of one CPU core.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clips import consecutive
from ..errors import UnknownEncoder
from ..geometry import Geometry
from .family import Family, Model
from .network import ClipNetwork, Facts, seeded
from .preprocess import Preprocessing
from .spec import EncoderSpec, absolute, is_path
from .weights import CHECKPOINTS, RANDOM, State, fill, read_state

if TYPE_CHECKING:
    import torch

DIM = 4096
FRAMES, STRIDE_S = 16, 1 / 25
GEOMETRY = Geometry((112, 112), "squash", "bilinear", resize_px=(128, 171))
SUFFIXES = (*CHECKPOINTS, ".pickle")  # c3d.pickle is what the oldest port calls it; it is read as tensors only, too

# Channels in and out of each 3x3x3 convolution, then what is pooled after it: kernel and stride, padding.
CONVOLUTIONS = {
    "conv1a": (3, 64),
    "conv2a": (64, 128),
    "conv3a": (128, 256),
    "conv3b": (256, 256),
    "conv4a": (256, 512),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}
POOLS = {
    "conv1a": ((1, 2, 2), (0, 0, 0)),
    "conv2a": ((2, 2, 2), (0, 0, 0)),
    "conv3b": ((2, 2, 2), (0, 0, 0)),
    "conv4b": ((2, 2, 2), (0, 0, 0)),
    "conv5b": ((2, 2, 2), (0, 1, 1)),
}
FLAT = 512 * 1 * 4 * 4  # what pool5 leaves of 16 x 112 x 112

# Numbers of the modules in `features.` and `classifier.`, of the port that has no names.
_NUMBERED = dict(zip(CONVOLUTIONS, (0, 3, 6, 8, 11, 13, 16, 18), strict=True))
_DENSE = {"fc6": 0, "fc7": 3, "fc8": 6}


@dataclass(frozen=True, slots=True)
class Colours:
    """How the pictures were that weights were trained on.

    Attributes:
        mean: subtracted, of R, G, B, in grey values.    bgr: whether blue is the first channel.
    """

    mean: tuple[float, float, float]
    bgr: bool

    @property
    def preprocessing(self) -> Preprocessing:
        """In the terms of values in [0, 1]."""
        red, green, blue = (value / 255 for value in self.mean)
        return Preprocessing(GEOMETRY, (red, green, blue), (1 / 255, 1 / 255, 1 / 255))


TRAN = Colours((102, 98, 90), bgr=True)
MMACTION = Colours((104, 117, 128), bgr=False)


def load(spec: EncoderSpec, device: str) -> ClipNetwork:
    """The encoder of a checked spec."""
    colours, classes = TRAN, 0
    if spec.weights == RANDOM:
        network: Any = seeded(untrained)
    else:
        network, colours, classes = trained(read_state(Path(spec.name or ""), str(spec)), str(spec))
    facts = Facts("none (untrained)" if spec.weights == RANDOM else "unknown", "fc6 after ReLU", ("torch",))
    labels = [f"class {i}" for i in range(classes)]
    plan = consecutive(FRAMES, STRIDE_S)
    return ClipNetwork(str(spec), network, DIM, colours.preprocessing, plan, facts, device, labels)


def untrained() -> "torch.nn.Module":
    """Without a classifier, with weights after He et al. 2015 (arXiv 1502.01852), which keep the size of what goes through; so
    that what comes out is of the clip and not of the biases."""
    import torch

    network = build()
    for layer in network.children():
        torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")  # type: ignore[arg-type]
        torch.nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return network


def trained(found: State, spec: str) -> "tuple[torch.nn.Module, Colours, int]":
    """The network with the weights of a checkpoint, how its pictures were, and how many classes it has; 0: no classifier.

    Raises:
        WeightsUnavailable: an entry is missing, unknown or of another shape.
    """
    import torch

    state, colours = renamed(found)
    classes = len(state["fc8.weight"]) if "fc8.weight" in state else 0
    if not any(name.startswith("fc8.") for name in state):  # then fc7 has nothing to lead to
        state = {name: value for name, value in state.items() if name not in ("fc7.weight", "fc7.bias")}
    network: Any = build(classes)
    fill(network, state, spec, spec.partition(":")[2])
    if colours.bgr:
        with torch.no_grad():
            network.conv1a.weight.copy_(network.conv1a.weight.flip(1))
    return network, colours, classes


def build(classes: int = 0) -> "torch.nn.Module":
    """The module that `ClipNetwork` wants: (B, 16, 3, 112, 112) -> (B, 4096) and (B, classes) logits, None without classes."""
    import torch
    from torch.nn.functional import max_pool3d, relu

    class C3D(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, (inputs, outputs) in CONVOLUTIONS.items():
                self.add_module(name, torch.nn.Conv3d(inputs, outputs, kernel_size=3, padding=1))
            self.fc6 = torch.nn.Linear(FLAT, DIM)
            if classes:
                self.fc7, self.fc8 = torch.nn.Linear(DIM, DIM), torch.nn.Linear(DIM, classes)

        def forward(self, pixels: torch.Tensor) -> "tuple[torch.Tensor, torch.Tensor | None]":
            x = pixels.transpose(1, 2)  # (B, 3, T, H, W)
            for name in CONVOLUTIONS:
                x = relu(self.get_submodule(name)(x))
                if name in POOLS:
                    size, padding = POOLS[name]
                    x = max_pool3d(x, size, padding=padding)
            features = relu(self.fc6(x.flatten(1)))  # (B, 512, 1, 4, 4) -> (B, 4096)
            return features, self.fc8(relu(self.fc7(features))) if classes else None

    return C3D()


def renamed(found: State) -> tuple[State, Colours]:
    """A checkpoint's entries by the names of this module, and whose pictures its names speak of.

    conv1.weight, features.0.weight, backbone.conv1a.conv.weight -> conv1a.weight; what is not known keeps its name.
    """
    names = _names()
    state: State = {}
    for key, value in found.items():
        module, _, kind = key.rpartition(".")
        name = f"{names[module]}.{kind}" if module in names else key
        state[key if name in state else name] = value  # of two that mean the same, the second is not understood
    of_mmaction = any(key.endswith(".conv.weight") for key in found)
    return state, MMACTION if of_mmaction else TRAN


def _names() -> dict[str, str]:
    """Each port's name of a module -> ours."""
    names = {"conv1": "conv1a", "conv2": "conv2a", "cls_head.fc_cls": "fc8"}
    for name, number in _NUMBERED.items():
        names |= {f"features.{number}": name, f"{name}.conv": name, f"backbone.{name}.conv": name}
    for name, number in _DENSE.items():
        names |= {f"classifier.{number}": name, f"backbone.{name}": name}
    return names


def check(spec: EncoderSpec) -> EncoderSpec:
    """The spec as it is stored: the path absolute.

    Raises:
        UnknownEncoder: neither a path nor `@random`.
    """
    name, weights = spec.name, spec.weights
    if name is None and weights == RANDOM:
        return spec
    if name is not None and weights is None and (is_path(name) or name.endswith(SUFFIXES)):
        return EncoderSpec(spec.family, absolute(name), None)
    raise UnknownEncoder(
        f"encoder {str(spec)!r}: C3D's weights are a file of yours ({', '.join(SUFFIXES)}); expected its path, or "
        f"'c3d@{RANDOM}' for untrained weights. Write for example {EXAMPLE!r}."
    )


EXAMPLE = "c3d:/path/to/c3d.pth"
FAMILY = Family(
    "c3d",
    "a file of yours: give its path instead of this one",
    (
        Model(
            EXAMPLE,
            "clips",
            DIM,
            FRAMES,
            GEOMETRY.size_px,
            FRAMES * STRIDE_S,
            61214464,
            77060374528,
            "that of your file",
            EXAMPLE.partition(":")[2],
        ),
    ),
    load,
    check,
)
