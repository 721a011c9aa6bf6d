"""What encoders do alike on every device: hand frames over, choose the precision, go through a batch in pieces.

On CUDA the network runs under autocast, in bfloat16 where the device has it and in float16 elsewhere; pixels, norms and
everything after the network stay float32. On the CPU all is float32, although bfloat16 would be up to twice as fast
with some networks on some processors: archives made on two CPUs then agree.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import Embeddings, Frames

if TYPE_CHECKING:
    import torch

# Frames that go through a network at once on a CPU, where larger pieces fall out of the caches: `conse` 21 frames a
# second and core by 8, 16 by 32; ViT-B-32 10 and ResNet-50 6.5 by any number up to 32.
CPU_PIECE = 8


def is_cuda(device: str) -> bool:
    """`cuda`, `cuda:1`..."""
    return device.partition(":")[0] == "cuda"


def choose_precision(device: str) -> str:
    """The type a network computes in: `float32`, `bfloat16` or `float16`."""
    import torch

    if not is_cuda(device):
        return "float32"
    with torch.cuda.device(device):
        # Devices before Ampere only emulate bfloat16, slower than float32.
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def as_recorded(precision: str) -> str:
    """As `precision` stands in a fingerprint: `float32`, `bfloat16 autocast`, `float16 autocast`."""
    return precision if precision == "float32" else f"{precision} autocast"


def autocast(device: str, precision: str) -> AbstractContextManager[Any]:
    """Run the network in this precision; its weights stay float32. Does nothing for `float32`."""
    import torch

    kind = device.partition(":")[0]
    if precision == "float32":
        return torch.autocast(kind, enabled=False)
    return torch.autocast(kind, dtype=getattr(torch, precision))


def upload(frames: Frames, device: str) -> "torch.Tensor":
    """(B, H, W, 3) uint8 -> (B, 3, H, W) uint8 on `device`, channels last in memory; `frames` may change afterwards."""
    import torch

    # torch warns about arrays that cannot be written to; we only read.
    pixels = torch.from_numpy(np.require(frames, requirements=["C", "W"]))
    if is_cuda(device):  # as uint8, a quarter of the bytes; out of pinned memory without waiting for the copy's end
        pixels = pixels.pin_memory()
    return pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)


def pieces(frames: Frames, device: str) -> Iterator[Frames]:
    """The batch in parts: on a CPU of `CPU_PIECE` frames, elsewhere whole."""
    step = CPU_PIECE if device.partition(":")[0] == "cpu" else max(1, len(frames))
    for start in range(0, len(frames), step):
        yield frames[start : start + step]


def encode(frames: Frames, dim: int, device: str, embed: "Callable[[Frames], torch.Tensor]") -> Embeddings:
    """(B, H, W, 3) -> (B, dim) float32, unit norm, where `embed` makes (b, dim) of any length and type of b frames."""
    import torch

    out = np.empty((len(frames), dim), np.float32)
    start = 0
    with torch.inference_mode():
        for piece in pieces(frames, device):
            out[start : start + len(piece)] = unit(embed(piece))
            start += len(piece)
    return out


def unit(vectors: "torch.Tensor") -> Embeddings:
    """(N, D) of any type and device -> (N, D) float32, unit norm."""
    import torch

    normed: Embeddings = torch.nn.functional.normalize(vectors.float(), dim=-1).cpu().numpy()
    return normed
