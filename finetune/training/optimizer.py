"""AdamW for a `Task`, with one thing more: groups that are held to where they start, an adapter to the identity.

It does not know losses or schedules: the loop sets `lr` from `base_lr` for each step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def optimizer_of(groups: Sequence[Mapping[str, Any]]) -> tuple[torch.optim.AdamW, list[list[Tensor] | None]]:
    """AdamW (betas 0.9, 0.98, epsilon 1e-6: Radford et al. 2021, table 18) and, per group, where its parameters start.

    `anchored` groups are held to their start by `pull` (L2-SP, Li et al. 2018), others decay towards 0 as AdamW does.
    """
    made: list[dict[str, Any]] = []
    anchors: list[list[Tensor] | None] = []
    for group in groups:
        params = [p for p in group["params"] if p.requires_grad]
        anchored, decay = bool(group.get("anchored")), float(group["weight_decay"])
        made.append(
            {
                "params": params,
                "lr": group["lr"],
                "base_lr": group["lr"],
                "weight_decay": 0.0 if anchored else decay,
                "pull": decay if anchored else 0.0,
                "name": group["name"],
            }
        )
        anchors.append([p.detach().clone() for p in params] if anchored and decay else None)
    return torch.optim.AdamW(made, betas=(0.9, 0.98), eps=1e-6), anchors


@torch.no_grad()
def pull(optimizer: torch.optim.Optimizer, anchors: Sequence[Sequence[Tensor] | None]) -> None:
    """Adds the gradient of `decay / 2 * |p - start|^2` for anchored groups.

    It is part of the loss and not decoupled from it, as AdamW's decay is: under AdamW every number moves by the rate whatever
    its gradient, so a decoupled pull would hold them all equally near to their start, those that matter too.
    """
    for group, starts in zip(optimizer.param_groups, anchors, strict=True):
        for p, start in zip(group["params"], starts or (), strict=False):
            if p.grad is not None:
                p.grad.add_(p - start, alpha=group["pull"])
