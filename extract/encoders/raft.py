"""`raft`: how clips move, by RAFT (Teed and Deng 2020, arXiv 2003.12039) of torchvision; it knows nothing of what moves.

`raft:raft_small` (its default weights), `raft:raft_small@C_T_V1`, `raft:raft_large@C_T_SKHT_V2`, untrained
`raft:raft_small@random`, `raft:raft_small@/path/to/weights.pth` (or `.safetensors`).

RAFT gives the flow from each frame of a clip to the next; the embedding is the histogram of its directions and the column
`motion_px` its mean speed in pixels of the source per second, both in `flow.py`. Frames that are repeated are not asked
about. What the flow depends on stays float32 under autocast: all-pairs correlation, where it looks it up, and the flow
itself, as in the authors' code.

Pictures are squashed to 216x384: both are divisible by 8, as RAFT wants; none is cut off, so that motion at the edges counts;
and 16:9 keeps its shape. Frames are 1/8 s apart: RAFT was trained on motions of up to tens of pixels, and what crosses the
picture in two seconds goes 24 of them. A clip of 9 frames covers 1.1 s, and one is taken every 4 s, which costs about what
`videomae` does; `--hop 1.125` takes all, at 3.6 times the cost.

Cost of one clip (8 pairs, 12 updates): 0.23 TFLOP for raft_small, 1.05 for raft_large, counted: 58 and 263 GFLOP for a
second of video (`videomae` 45). 4 s of one CPU core for raft_small, 14 s for raft_large: with raft_small a core keeps up
with a film as it plays.

That flow and `motion_px` are right, `benchmarks/flow.py` measures with weights that it trains, the real ones being out of
reach offline: 0.47 px of error in textures it had not seen, moved by up to 4 px (3.2 px for "nothing moves").
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..clips import ClipPlan
from ..errors import UnknownEncoder
from ..geometry import Geometry
from . import flow
from .base import Clips, Embeddings, Features, Probabilities
from .device import autocast, unit
from .family import Family, Model
from .network import ClipNetwork, Facts, pieces_of, seeded
from .preprocess import Preprocessing
from .spec import EncoderSpec, absolute, is_path, nearest
from .weights import CHECKPOINTS, RANDOM, fill, from_url, read_state

if TYPE_CHECKING:
    import torch

URL = "https://download.pytorch.org/models/"
# Members of torchvision's enums and their files; the first is its `DEFAULT`. A test holds this to torchvision.
WEIGHTS: dict[str, dict[str, str]] = {
    "raft_small": {
        "C_T_V2": "raft_small_C_T_V2-01064c6d.pth",
        "C_T_V1": "raft_small_C_T_V1-ad48884c.pth",
    },
    "raft_large": {
        "C_T_SKHT_V2": "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        "C_T_SKHT_V1": "raft_large_C_T_SKHT_V1-0b8c9e55.pth",
        "C_T_SKHT_K_V2": "raft_large_C_T_SKHT_K_V2-b5c70766.pth",
        "C_T_SKHT_K_V1": "raft_large_C_T_SKHT_K_V1-4a6a5039.pth",
        "C_T_V2": "raft_large_C_T_V2-1bb1363a.pth",
        "C_T_V1": "raft_large_C_T_V1-22a6c225.pth",
    },
}
RADIUS = {"raft_small": 3, "raft_large": 4}  # of the places around each one that correlation is looked up at
UPDATES = 12  # torchvision's own number; a fingerprint has it
# Pairs that go through RAFT at once. On a CPU 1 to 8 are as fast; 64 of 216x384 take 0.6 GB for their correlations.
ON_CPU, ON_CUDA = 4, 64

# To [-1, 1], as torchvision's preset does.
PREPROCESSING = Preprocessing(Geometry((216, 384), "squash", "bilinear"), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# RAFT sees pairs, so any number of frames will do; 65 are 8 s of them, and 16 MB of pictures.
PLAN = ClipPlan(9, 1 / 8, 4.0, fewest=2, most=65)
MOTION = "motion_px"
_HISTOGRAM = (
    f"histogram of flow: {flow.HALVES} halves, {flow.GRID}x{flow.GRID} cells, {flow.DIRECTIONS} directions and still, half "
    f"of it at {flow.HALF_SPEED} diagonals/s"
)
POOLING = f"{_HISTOGRAM}; {UPDATES} updates"


def licence(weights: str) -> str:
    """What torchvision says, which is none for these, and what its documentation says they were trained on."""
    tuned = ", Sintel, KITTI and HD1K" if "SKHT" in weights else ""
    ported = ", ported from princeton-vl/RAFT" if weights.endswith("V1") else ""
    return f"not stated by torchvision{ported}; trained on FlyingChairs, FlyingThings3D{tuned}"


def build(name: str) -> "torch.nn.Module":
    """torchvision's untrained `raft_small` or `raft_large`, its correlation in float32 whatever the autocast."""
    import torch
    from torchvision.models import optical_flow

    class Correlation(optical_flow.raft.CorrBlock):  # type: ignore[misc]
        def build_pyramid(self, first: torch.Tensor, second: torch.Tensor) -> None:
            with torch.autocast("cuda" if first.is_cuda else "cpu", enabled=False):  # `meta` knows none
                super().build_pyramid(first.float(), second.float())

    make = {"raft_small": optical_flow.raft_small, "raft_large": optical_flow.raft_large}[name]
    network: torch.nn.Module = make(weights=None, corr_block=Correlation(num_levels=4, radius=RADIUS[name]))
    return network


def flow_of(network: Any, first: "torch.Tensor", second: "torch.Tensor", updates: int = UPDATES) -> "torch.Tensor":
    """Two times (N, 3, H, W) in [-1, 1], sides of 128 or more and divisible by 8 -> (N, 2, H, W) float32: how far each pixel
    of the first went, x and y in pixels. Gradients flow."""
    found: torch.Tensor = network(first.contiguous(), second.contiguous(), num_flow_updates=updates)[-1]
    network.corr_block.corr_pyramid = []  # 9 MB a pair of 216x384 that torchvision would keep until the next call
    return found.float()


def fields(
    network: Any, pixels: "torch.Tensor", gaps_s: npt.NDArray[np.float64], updates: int = UPDATES
) -> "torch.Tensor":
    """(B, T, 3, H, W) in [-1, 1] -> (B, T - 1, 2, H, W), the flow from each frame to the next.

    Args:
        gaps_s: (B, T - 1) time between them; where there is none the network is not asked, and the flow is 0.
    """
    import torch

    batch, length, _, height, width = pixels.shape
    found = torch.zeros(batch, length - 1, 2, height, width, device=pixels.device)
    pairs = torch.from_numpy(np.argwhere(gaps_s > 0)).to(pixels.device)  # (N, 2): of which clip, which pair
    step = ON_CUDA if pixels.is_cuda else ON_CPU
    for start in range(0, len(pairs), step):
        clip, pair = pairs[start : start + step].unbind(dim=1)
        found[clip, pair] = flow_of(network, pixels[clip, pair], pixels[clip, pair + 1], updates)
    return found


class FlowNetwork(ClipNetwork):
    """A `ClipEncoder` on the flow of a clip's pairs: what `raft` and `twostream` share. Args: as of `ClipNetwork`."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.columns = (MOTION,)

    @property
    def raft(self) -> Any:
        """What gives the flow."""
        return self._network

    def look(
        self, pixels: "torch.Tensor", found: "torch.Tensor", gaps_s: "torch.Tensor", source_px: "torch.Tensor"
    ) -> "tuple[torch.Tensor, torch.Tensor | None]":
        """(b, T, 3, H, W) pixels and (b, T - 1, 2, H, W) flow -> (b, D) features, and logits if there are `labels`."""
        return flow.descriptor(found, gaps_s, source_px), None

    def encode_clips(self, clips: Clips) -> Features:
        """As `ClipEncoder.encode_clips`."""
        import torch

        embedding: Embeddings = np.empty((len(clips), self.dim), np.float32)
        motion: Embeddings = np.empty(len(clips), np.float32)
        probabilities: Probabilities = np.empty((len(clips), len(self.labels)), np.float32)
        step = pieces_of(clips, self._device)
        with torch.inference_mode():
            for start in range(0, len(clips), step):
                some = slice(start, start + step)
                part = clips[some]
                pixels = self.pixels(part.frames)
                times_s = np.diff(part.times_s, axis=1)
                gaps_s = torch.from_numpy(times_s).to(pixels.device, torch.float32)
                source_px = torch.from_numpy(part.source_px).to(pixels.device)
                with autocast(self._device, self._precision):
                    found = fields(self.raft, pixels, times_s)
                features, logits = self.look(pixels, found, gaps_s, source_px)
                embedding[some] = unit(features)
                motion[some] = flow.motion_px(found, gaps_s, source_px).cpu().numpy()
                if logits is not None:
                    probabilities[some] = logits.float().softmax(dim=-1).cpu().numpy()
        return Features(embedding, {MOTION: motion}, probabilities if self.labels else None)


def load(spec: EncoderSpec, device: str) -> FlowNetwork:
    """The encoder of a checked spec.

    Raises:
        WeightsUnavailable: they are not to be had, or not those of this network.
    """
    name, weights = spec.name or "", spec.weights or ""
    network, terms = seeded(lambda: build(name)), "none (untrained)"
    if weights in WEIGHTS[name]:
        terms, url = licence(weights), URL + WEIGHTS[name][weights]
        fill(network, from_url(url, str(spec), terms), str(spec), url)
    elif weights != RANDOM:
        terms = "unknown"
        fill(network, read_state(Path(weights), str(spec)), str(spec), weights)
    return FlowNetwork(str(spec), network, flow.DIM, PREPROCESSING, PLAN, Facts(terms, POOLING), device)


def check(spec: EncoderSpec) -> EncoderSpec:
    """The spec as it is stored: the weights named, in torchvision's spelling, paths absolute.

    Raises:
        UnknownEncoder: no such network, or no such weights of it.
    """
    name = spec.name or "raft_small"
    if name not in WEIGHTS:
        raise UnknownEncoder(
            f"encoder {str(spec)!r}: expected raft:NAME or raft:NAME@WEIGHTS with one of {', '.join(WEIGHTS)}; got "
            f"{name!r}.{nearest(name, WEIGHTS)} A checkpoint goes with its network: 'raft:raft_small@/path/to/weights.pth'."
        )
    weights, known = spec.weights, list(WEIGHTS[name])
    if weights is None or weights.upper() == "DEFAULT":
        return EncoderSpec(spec.family, name, known[0])
    if is_path(weights) or weights.endswith(CHECKPOINTS):
        return EncoderSpec(spec.family, name, absolute(weights))
    for entry in (RANDOM, *known):
        if weights.lower().replace("-", "_") == entry.lower():
            return EncoderSpec(spec.family, name, entry)
    raise UnknownEncoder(
        f"encoder {str(spec)!r}: {name} has no weights {weights!r}.{nearest(weights, [RANDOM, *known])} Known: "
        f"{', '.join(known)}; or a local file {', '.join(CHECKPOINTS)}, or 'raft:{name}@{RANDOM}' for untrained weights. "
        f"Write 'raft:{name}@{known[0]}'."
    )


def _listed(name: str, parameters: int, flops: int) -> Model:
    weights, file = next(iter(WEIGHTS[name].items()))
    size_px, terms = PREPROCESSING.geometry.size_px, licence(weights)
    spec = f"raft:{name}@{weights}"
    return Model(spec, "clips", flow.DIM, PLAN.frames, size_px, PLAN.span_s, parameters, flops, terms, URL + file)


FAMILY = Family(
    "raft",
    "a download at first use, or a local checkpoint (`@/path/weights.pth`)",
    (_listed("raft_small", 990162, 233822453760), _listed("raft_large", 5257536, 1053359603712)),
    load,
    check,
)
