"""All that `finetune` trains on stored features, as a torch module; imported inside functions only.

Adapter    an affine map for frames and one for texts, the identity until it is trained
Tuned      clip features join the frames, the adapter maps them, a head pools them; texts go through the adapter alone
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from .networks import LEAST_NORM, Head, make_head, pooled


class Affine(nn.Module):
    """x -> W x + b, made unit; W is the identity and b is 0 until trained."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.eye(dim)), nn.Parameter(torch.zeros(dim))

    def plain(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D) of any norm; what is 0 stays 0."""
        return linear(x, self.weight, self.bias) * (x != 0).any(-1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., D) of unit norm; what is 0 stays 0."""
        return normalize(self.plain(x), dim=-1, eps=LEAST_NORM)


class Adapter(nn.Module):
    """One affine map for frames, one for texts. Whatever linear recipe trained them (low rank, averages) folds into these."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.video, self.text = Affine(dim), Affine(dim)


class Tuned(nn.Module):
    """All that is trained on stored features.

    Args:
        head: pools.    adapter: maps frames before the head, and texts; None leaves both as they are.
        clip_dim: of clip features that join the frames (`--with videomae`), by a linear map that starts at 0; 0 for none.
    """

    def __init__(self, head: Head, adapter: Adapter | None = None, clip_dim: int = 0) -> None:
        super().__init__()
        self.head, self.adapter, self.clip_dim = head, adapter, clip_dim
        self.join = nn.Linear(clip_dim, head.dim, bias=False) if clip_dim else None
        if self.join is not None:
            nn.init.zeros_(self.join.weight)

    @property
    def weighs(self) -> bool:
        """Whether its frames have weights: where a mean is all that is done with what an adapter makes of them."""
        return self.adapter is not None and type(self.head) is Head

    def weights(self, frames: Tensor, clips: Tensor | None = None) -> Tensor:
        """(B, T) what each frame counts in a mean: the norm that the adapter gives it, before it is made unit.

        An adapter that was trained leaves little of what says nothing, so such frames count little. 1 where nothing weighs.
        """
        if not self.weighs:
            return torch.ones(frames.shape[:2], dtype=frames.dtype, device=frames.device)
        norms: Tensor = self._mapped(frames, clips).norm(dim=-1)
        return norms

    def frames(self, frames: Tensor, clips: Tensor | None = None) -> Tensor:
        """(B, T, D): frames with what the clips over them add (0 where there is none), mapped by the adapter."""
        mapped = self._mapped(frames, clips)
        return mapped if self.adapter is None else normalize(mapped, dim=-1, eps=LEAST_NORM)

    def _mapped(self, frames: Tensor, clips: Tensor | None) -> Tensor:
        if self.join is not None and clips is not None:
            frames = normalize(frames + self.join(clips), dim=-1, eps=LEAST_NORM)
        return frames if self.adapter is None else self.adapter.video.plain(frames)

    def along(self, frames: Tensor, mask: Tensor, clips: Tensor | None = None) -> Tensor:
        """(B, T, D) of unit norm, as `Head.along`."""
        return self.head.along(self.frames(frames, clips), mask)

    def video(self, frames: Tensor, mask: Tensor, clips: Tensor | None = None) -> Tensor:
        """(B, D) of unit norm. Args: frames (B, T, D) stored features; mask (B, T) bool; clips (B, T, C) or None."""
        if self.weighs:  # the mean of its unit tokens by their weights
            return pooled(self._mapped(frames, clips).masked_fill(~mask[..., None], 0.0), mask)
        return self.head(self.frames(frames, clips), mask)  # type: ignore[no-any-return]

    def text(self, text: Tensor) -> Tensor:
        """(Q, D) of unit norm, from the encoder's (Q, D)."""
        return text if self.adapter is None else self.adapter.text(text)

    def scores(self, text: Tensor, frames: Tensor, mask: Tensor, clips: Tensor | None = None) -> Tensor:
        """(Q, B) cosines of the encoder's texts (Q, D)."""
        if self.weighs:
            return self.text(text) @ self.video(frames, mask, clips).T
        return self.head.scores(self.text(text), self.frames(frames, clips), mask)

    def facts(self) -> dict[str, Any]:
        """What `make_tuned` needs to make one like it, as JSON."""
        known = {"head": self.head.facts(), "adapter": self.adapter is not None, "clip_dim": self.clip_dim}
        return {**known, "weighs": self.weighs}


def make_tuned(facts: dict[str, Any]) -> Tuned:
    """One like that of which `facts` came, untrained.

    Raises:
        KeyError, TypeError, ValueError: they are not such facts.
    """
    head = make_head(**facts["head"])
    return Tuned(head, Adapter(head.dim) if facts["adapter"] else None, int(facts["clip_dim"]))
