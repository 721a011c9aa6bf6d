"""Fine-tuning on the owner's own captions: InfoNCE, temporal heads, adapters, probes, masked pre-training."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def info_nce(video: "torch.Tensor", text: "torch.Tensor", logit_scale: "torch.Tensor | float") -> "torch.Tensor":
    """Symmetric InfoNCE of B pairs; see `loss.info_nce`, which this imports when called (torch takes seconds).

    Args:
        video, text: (B, D) unit norm; row i of one belongs to row i of the other.
        logit_scale: 1 / temperature, the factor itself and not its logarithm.

    Returns:
        A scalar.
    """
    from .training.loss import info_nce as loss

    return loss(video, text, logit_scale)
