"""A torch network over whole clips as an encoder: what VideoMAE, TimeSformer, torchvision's networks and C3D share.

The network is any module that turns pixels (B, T, 3, H, W) float32 into (features (B, D), logits (B, C) or None);
preprocessing, sampling and the facts for the fingerprint come with it. It knows no architecture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..clips import ClipPlan
from .base import Clips, Embeddings, Features, Frames, Probabilities
from .device import CPU_PIECE, as_recorded, autocast, choose_precision, is_cuda, unit, upload
from .preprocess import Preprocessing, normalise
from .weights import state_sha256

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Facts:
    """What a fingerprint says of a network besides what can be measured.

    Attributes:
        licence: of the weights.    pooling: how tokens or places become one vector.
        libraries: whose versions are recorded.    revision: of the weights, where they have one.
        training: what they have learned from, where that is less than such weights usually have.
    """

    licence: str
    pooling: str
    libraries: tuple[str, ...] = ("torch", "torchvision")
    revision: str | None = None
    training: str | None = None


class ClipNetwork:
    """A `ClipEncoder`. Args: as the module says; `labels` are the classes of the logits."""

    def __init__(
        self,
        spec: str,
        network: "torch.nn.Module",
        dim: int,
        preprocessing: Preprocessing,
        plan: ClipPlan,
        facts: Facts,
        device: str,
        labels: Sequence[str] = (),
    ) -> None:
        import torch

        self.spec, self.dim, self.plan = spec, dim, plan
        self.columns: tuple[str, ...] = ()
        self.labels = tuple(labels)
        self.preprocessing, self.geometry = preprocessing, preprocessing.geometry
        network = network.eval().requires_grad_(False)
        self._weights_sha256 = state_sha256(network.state_dict())
        self._network: Any = network.to(torch.device(device))
        self._facts = facts
        self._device = device
        self._precision = choose_precision(device)

    def fingerprint(self) -> dict[str, Any]:
        """As `FrameEncoder.fingerprint`."""
        return {
            "spec": self.spec,
            "weights_sha256": self._weights_sha256,
            "licence": self._facts.licence,
            **({"revision": self._facts.revision} if self._facts.revision else {}),
            **({"training": self._facts.training} if self._facts.training else {}),
            "dim": self.dim,
            "size_px": list(self.geometry.size_px),
            "preprocessing": self.preprocessing.as_json(),
            "pooling": self._facts.pooling,
            "precision": as_recorded(self._precision),
            "libraries": {name: version(name) for name in self._facts.libraries},
        }

    def encode_clips(self, clips: Clips) -> Features:
        """As `ClipEncoder.encode_clips`; probabilities are the softmax of the logits."""
        import torch

        embedding: Embeddings = np.empty((len(clips), self.dim), np.float32)
        probabilities: Probabilities = np.empty((len(clips), len(self.labels)), np.float32)
        step = pieces_of(clips, self._device)
        with torch.inference_mode():
            for start in range(0, len(clips), step):
                some = slice(start, start + step)
                features, logits = self.forward(clips.frames[some])
                embedding[some] = unit(features)
                if self.labels:
                    probabilities[some] = logits.float().softmax(dim=-1).cpu().numpy()
        return Features(embedding, {}, probabilities if self.labels else None)

    def forward(self, frames: Frames) -> Any:
        """(b, T, H, W, 3) uint8 of the geometry -> the network's features and logits."""
        with autocast(self._device, self._precision):
            return self._network(self.pixels(frames))

    def pixels(self, frames: Frames) -> "torch.Tensor":
        """(b, T, H, W, 3) uint8 of the geometry -> (b, T, 3, H, W) float32, the network's input."""
        batch, length = frames.shape[:2]
        flat = upload(frames.reshape(-1, *frames.shape[2:]), self._device)
        values = normalise(flat, self.preprocessing)
        return values.reshape(batch, length, *values.shape[1:])


def pieces_of(clips: Clips, device: str) -> int:
    """How many clips go through a network at once: on a CPU as many as make `CPU_PIECE` frames, but one at least."""
    return max(1, len(clips) if is_cuda(device) else CPU_PIECE // clips.frames.shape[1])


def seeded(make: Any) -> Any:
    """What `make()` gives, with weights that are untrained but always the same; the caller's random state is left."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()
