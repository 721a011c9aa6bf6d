"""`torchvision`: clips through the video networks of torchvision, trained on Kinetics-400.

`torchvision:NAME` (its default weights), `torchvision:NAME@KINETICS400_V1`, `torchvision:NAME@/path/to/weights.pth` (or
`.safetensors`; another number of classes, or no classifier, is all right), untrained `torchvision:NAME@random`. NAME is

    r3d_18, mc3_18, r2plus1d_18    Tran et al. 2018, arXiv 1711.11248    512: mean over time and places
    s3d                            Xie et al. 2018, arXiv 1712.04851     1024: mean over time and places
    swin3d_t, swin3d_s, swin3d_b   Liu et al. 2022, arXiv 2106.13230     768, 768, 1024: mean of tokens
    mvit_v1_b, mvit_v2_s           Fan et al. 2021, arXiv 2104.11227; Li et al. 2022, arXiv 2112.01526
                                                                         768: class token

The embedding is what the classifier gets; with trained weights the classifier answers too. Clips follow one another and
are sampled as torchvision measured its weights: 16 frames at 15 fps (ResNets), 128 at 15 (s3d), 32 at 15 (swin3d), 16 at
7.5 (mvit). All but mvit take other numbers of frames.

Preprocessing is the weights' own preset to the grey value, also in what is wrong with it: it scales down without
antialiasing. With antialiasing the least cosine of untrained embeddings to the preset's, on 13 real films of 320x180 to
1280x720, was 0.9998 (ResNets, s3d), 0.9993 (swin3d) and 0.9980 (mvit); pixels were off by up to 9 grey values on average.

Cost of one clip, seconds of one CPU core: r3d_18 and mc3_18 0.85, r2plus1d_18 1.4, s3d 8, swin3d_t 5.3, mvit_v2_s 2.5;
flops are counted below. The pictures of a clip are 0.6 MB (ResNets) to 19 MB (s3d).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..clips import ClipPlan, consecutive
from ..errors import UnknownEncoder
from ..geometry import ALIASED, Geometry
from .family import Family, Model
from .network import ClipNetwork, Facts, seeded
from .preprocess import Preprocessing
from .spec import EncoderSpec, absolute, is_path, nearest
from .weights import CHECKPOINTS, RANDOM, State, fill, from_url, read_state

if TYPE_CHECKING:
    import torch

K400, K400_22K = "KINETICS400_V1", "KINETICS400_IMAGENET22K_V1"
URL = "https://download.pytorch.org/models/"
MOST_FRAMES = 256  # no network sets a limit, but memory does: r2plus1d_18 takes 1.5 GB for as many


@dataclass(frozen=True, slots=True)
class Network:
    """What is to be known of an architecture before torchvision is imported; a test holds it to torchvision.

    Attributes:
        dim: D.    head: the module that makes logits of it, by its name in a checkpoint.    pooling: how D came about.
        frames, fps: of one clip, as torchvision's documentation of the weights says.
        size_px: height and width of the input.    fewest, most: frames that it takes.
        weights: members of torchvision's enum; `DEFAULT` is the first.    origin: from where torchvision ported them.
    """

    dim: int
    head: str
    frames: int
    fps: float
    size_px: int = 224
    fewest: int = 1
    most: int = MOST_FRAMES
    pooling: str = "mean over time and places"
    weights: tuple[str, ...] = (K400,)
    origin: str = ""

    @property
    def plan(self) -> ClipPlan:
        return consecutive(self.frames, 1 / self.fps, fewest=self.fewest, most=self.most)

    def licence(self, weights: str) -> str:
        """What torchvision says: its own licence, and that the data a model was trained on may set terms of its own."""
        data = "ImageNet-22K and Kinetics-400" if weights == K400_22K else "Kinetics-400"
        ported = f", ported from {self.origin}" if self.origin else ""
        return f"BSD-3-Clause (torchvision{ported}); trained on {data}"


RESNET = Network(512, "fc", 16, 15, size_px=112)
SWIN = "SwinTransformer/Video-Swin-Transformer"
NETWORKS = {
    "r2plus1d_18": RESNET,
    "r3d_18": RESNET,
    "mc3_18": RESNET,
    # Documented are 14; from 13 on the last pooling has the two steps that it needs.
    "s3d": Network(1024, "classifier.1", 128, 15, fewest=13),
    "swin3d_t": Network(768, "head", 32, 15, pooling="mean of tokens", origin=SWIN),
    "swin3d_s": Network(768, "head", 32, 15, pooling="mean of tokens", origin=SWIN),
    "swin3d_b": Network(1024, "head", 32, 15, pooling="mean of tokens", weights=(K400, K400_22K), origin=SWIN),
    # Their places in time are learnt, one for each two frames of 16.
    "mvit_v1_b": Network(
        768, "head.1", 16, 7.5, fewest=16, most=16, pooling="class token", origin="facebookresearch/pytorchvideo"
    ),
    "mvit_v2_s": Network(
        768, "head.1", 16, 7.5, fewest=16, most=16, pooling="class token", origin="facebookresearch/SlowFast"
    ),
}


def load(spec: EncoderSpec, device: str) -> ClipNetwork:
    """The encoder of a checked spec."""
    from torchvision.models import get_model_weights

    name, weights = spec.name or "", spec.weights or ""
    known = NETWORKS[name]
    entry: Any = get_model_weights(name)[weights if weights in known.weights else known.weights[0]]
    labels: tuple[str, ...] = ()
    if weights == RANDOM:
        licence, network = "none (untrained)", seeded(lambda: untrained(name))
    else:
        official = weights in known.weights
        licence = known.licence(weights) if official else "unknown"
        state = from_url(entry.url, str(spec), licence) if official else read_state(Path(weights), str(spec))
        network, classes = trained(name, state, str(spec), entry.url if official else weights)
        labels = class_names(classes, entry.meta["categories"])
    facts = Facts(licence, known.pooling)
    how = preprocessing_of(entry.transforms())
    return ClipNetwork(str(spec), network, known.dim, how, known.plan, facts, device, labels)


def untrained(name: str) -> "torch.nn.Module":
    """The network without a classifier, with the weights that torchvision begins with (none on the `meta` device)."""
    from torchvision.models import get_model

    return _split(get_model(name, weights=None), NETWORKS[name].head, labelled=False)


def trained(name: str, state: State, spec: str, source: str) -> "tuple[torch.nn.Module, int]":
    """The network with the weights of a checkpoint, and how many classes its classifier has; 0 without one.

    Raises:
        WeightsUnavailable: they are not those of this architecture.
    """
    import torch
    from torchvision.models import get_model

    head = NETWORKS[name].head
    attribute = head.partition(".")[0]
    labelled = any(key.startswith(f"{attribute}.") for key in state)
    classes = len(state[f"{head}.weight"]) if f"{head}.weight" in state else 400
    with torch.device("meta"):  # or the first weights, which `fill` replaces all, cost up to 9 s
        model: Any = get_model(name, weights=None, num_classes=classes)
    if not labelled:
        setattr(model, attribute, torch.nn.Identity())
    model.to_empty(device="cpu")
    fill(model, state, spec, source)
    return _split(model, head, labelled=labelled), classes if labelled else 0


def _split(model: Any, head: str, *, labelled: bool) -> "torch.nn.Module":
    """The module that `ClipNetwork` wants: torchvision's, its classifier beside it instead of behind it."""
    import torch

    last: Any = model.get_submodule(head) if labelled else None
    setattr(model, head.partition(".")[0], torch.nn.Identity())

    class Split(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, self.head = model, last

        def forward(self, pixels: torch.Tensor) -> "tuple[torch.Tensor, torch.Tensor | None]":
            features = self.network(pixels.transpose(1, 2))  # (B, 3, T, H, W) -> (B, D)
            if self.head is None:
                return features, None
            # s3d classifies every place by a 1x1x1 convolution and takes the mean: the same as after the mean.
            return features, torch.nn.functional.linear(features, self.head.weight.flatten(1), self.head.bias)

    return Split()


def class_names(classes: int, categories: list[str]) -> tuple[str, ...]:
    """Of a classifier; those of Kinetics where their number is the same, as fine-tuned weights say no names."""
    return tuple(categories) if classes == len(categories) else tuple(f"class {i}" for i in range(classes))


def preprocessing_of(preset: Any) -> Preprocessing:
    """Of torchvision's `VideoClassification`: two sizes to resize to give up the aspect ratio, one is the short side."""
    to: list[int] = preset.resize_size
    height_px, width_px = preset.crop_size
    mode = "squash" if len(to) == 2 else "shortest"
    geometry = Geometry((height_px, width_px), mode, ALIASED, resize_px=(to[0], to[-1]))
    return Preprocessing(geometry, tuple(preset.mean), tuple(preset.std))


def check(spec: EncoderSpec) -> EncoderSpec:
    """The spec as it is stored: the weights named, in torchvision's spelling, paths absolute.

    Raises:
        UnknownEncoder: no such network, or no such weights of it.
    """
    name, weights = spec.name, spec.weights
    if name not in NETWORKS:
        said = "no network named" if name is None else f"torchvision has no video network {name!r}"
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: {said}.{nearest(name or '', NETWORKS)} Known: {', '.join(NETWORKS)}. "
            "Write for example 'torchvision:r2plus1d_18'."
        )
    known = NETWORKS[name].weights
    if weights is None or weights.upper() == "DEFAULT":
        return EncoderSpec(spec.family, name, known[0])
    if is_path(weights) or weights.endswith(CHECKPOINTS):
        return EncoderSpec(spec.family, name, absolute(weights))
    for entry in (RANDOM, *known):
        if weights.lower() == entry.lower():
            return EncoderSpec(spec.family, name, entry)
    raise UnknownEncoder(
        f"encoder {str(spec)!r}: {name} has no weights {weights!r}.{nearest(weights, [RANDOM, *known])} Known: "
        f"{', '.join(known)}; or a local file {', '.join(CHECKPOINTS)}, or 'torchvision:{name}@{RANDOM}' for untrained "
        f"weights. Write 'torchvision:{name}@{known[0]}'."
    )


def _listed(name: str, file: str, parameters: int, flops: int) -> Model:
    known = NETWORKS[name]
    weights, size_px = known.weights[0], (known.size_px, known.size_px)
    spec, seconds, licence = f"torchvision:{name}@{weights}", known.plan.length_s, known.licence(weights)
    return Model(spec, "clips", known.dim, known.frames, size_px, seconds, parameters, flops, licence, URL + file)


FAMILY = Family(
    "torchvision",
    "a download at first use, or a local checkpoint (`@/path/weights.pth`)",
    (
        _listed("r2plus1d_18", "r2plus1d_18-91a641e6.pth", 31300125, 81037752320),
        _listed("r3d_18", "r3d_18-b3b3357e.pth", 33166272, 81392697344),
        _listed("mc3_18", "mc3_18-a90a0ba3.pth", 11490240, 86684860416),
        _listed("s3d", "s3d-d76dad2f.pth", 7910048, 287653789696),
        _listed("swin3d_t", "swin3d_t-7615ae03.pth", 27850470, 175527690240),
        _listed("mvit_v2_s", "mvit_v2_s-ae3be167.pth", 34230144, 128447017344),
    ),
    load,
    check,
)
