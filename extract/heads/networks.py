"""The networks that turn frame features into one embedding, as torch modules; imported inside functions only.

    Head(kind)                 frames (B, T, D), mask (B, T)  ->  (B, D) of unit norm
      mean                     masked mean of unit frames                      CLIP4Clip meanP: knows no order
      lstm                     an LSTM over the frames beside a residual       CLIP4Clip seqLSTM
      transformer              positions and self-attention, with a residual   CLIP4Clip seqTransf
      wti                      frames weighted by what they show               DRL's weighted token-wise interaction

Sources: Luo et al. 2021, "CLIP4Clip", section 3.3, with the parameter names of its code, so that its checkpoints load; Wang
et al. 2022, "Disentangled Representation Learning for Text-Video Retrieval", section 3.2. New `transformer` heads differ in
how they begin: their last projections are 0, so that they start as the mean of unit frames (CLIP4Clip copies layers of
CLIP's text tower, and its frames are not of unit norm).

They know nothing of archives, seconds and videos longer than `max_frames`: `apply.py` goes through those in windows.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

KINDS = ("mean", "lstm", "transformer", "wti")
MAX_FRAMES = 77  # positions that CLIP4Clip's heads have: the length of CLIP's text tower
MAX_FACTOR = 100.0  # of the logit scale (Radford et al. 2021, section 2.5)
FACTOR = 1 / 0.07  # where a new one begins, ibid.
LEAST_NORM = 1e-12
HIDDEN = -1e6  # what CLIP4Clip adds to attention at frames that are not there
NEIGHBOURS = 2  # frames to either side that a `wti` head pools a frame with


class Head(nn.Module):
    """What all heads share. `kind`, `dim` (D), and `logit_scale`, the logarithm of 1 / temperature.

    `feature_scale` multiplies the frames first: stored features are of unit norm, heads from elsewhere may want CLIP's own.
    """

    kind = "mean"

    def __init__(self, dim: int, max_frames: int = MAX_FRAMES) -> None:
        super().__init__()
        self.dim, self.max_frames, self.feature_scale = dim, max_frames, 1.0
        self.logit_scale = nn.Parameter(torch.tensor(math.log(FACTOR)))

    @property
    def factor(self) -> Tensor:
        """What cosines are multiplied with: at most 100."""
        return self.logit_scale.exp().clamp(max=MAX_FACTOR)

    def context(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) frames that know of each other; here they do not."""
        return frames

    def tokens(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) of unit norm, 0 where there is no frame; their mean is what `forward` gives.

        Args:
            frames: (B, T, D) float32.    mask: (B, T) bool, True where there is a frame.

        Raises:
            ValueError: other shapes, or more frames than the head has positions.
        """
        self._require(frames, mask)
        known = frames.masked_fill(~mask[..., None], 0.0) * self.feature_scale
        return normalize(self.context(known, mask), dim=-1, eps=LEAST_NORM).masked_fill(~mask[..., None], 0.0)

    def along(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D) of unit norm: what each frame's segment becomes in an archive, to be pooled by plain means."""
        return self.tokens(frames, mask)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """(B, D) of unit norm; 0 for a row without frames. As `tokens`."""
        return pooled(self.tokens(frames, mask), mask)

    def scores(self, text: Tensor, frames: Tensor, mask: Tensor) -> Tensor:
        """(Q, B) cosines of texts (Q, D) of unit norm."""
        return text @ self.forward(frames, mask).T

    def facts(self) -> dict[str, Any]:
        """What `make_head` needs to make one like it, as JSON."""
        return {"kind": self.kind, "dim": self.dim, "max_frames": self.max_frames, "feature_scale": self.feature_scale}

    def _require(self, frames: Tensor, mask: Tensor) -> None:
        if frames.ndim != 3 or frames.shape[2] != self.dim or mask.shape != frames.shape[:2]:
            raise ValueError(
                f"expected frames (B, T, {self.dim}) and mask (B, T), got {tuple(frames.shape)}, {tuple(mask.shape)}"
            )
        if frames.shape[1] > self.max_frames:
            raise ValueError(
                f"expected at most {self.max_frames} frames, got {frames.shape[1]}; go through them in windows"
            )


class LstmHead(Head):
    """One LSTM layer from left to right, added to the frames."""

    kind = "lstm"

    def __init__(self, dim: int, max_frames: int = MAX_FRAMES) -> None:
        super().__init__(dim, max_frames)
        self.lstm_visual = nn.LSTM(dim, dim, batch_first=True)

    def context(self, frames: Tensor, mask: Tensor) -> Tensor:
        """As `Head.context`. Frames fill rows from the left, so what comes after the last one changes nothing."""
        out: Tensor = self.lstm_visual(frames)[0]
        return frames + out


class TransformerHead(Head):
    """Learned positions and pre-norm blocks of self-attention, added to the frames."""

    kind = "transformer"

    def __init__(self, dim: int, max_frames: int = MAX_FRAMES, layers: int = 4, heads: int | None = None) -> None:
        super().__init__(dim, max_frames)
        self.layers, self.heads = layers, max(1, dim // 64) if heads is None else heads
        self.frame_position_embeddings = nn.Embedding(max_frames, dim)
        nn.init.normal_(self.frame_position_embeddings.weight, std=0.1 / math.sqrt(dim))
        self.transformerClip = Blocks(dim, layers, self.heads)

    def context(self, frames: Tensor, mask: Tensor) -> Tensor:
        """As `Head.context`."""
        x = frames + self.frame_position_embeddings.weight[: frames.shape[1]]
        hidden = (~mask[:, None, :]).to(x.dtype) * HIDDEN  # (B, 1, T): what no frame attends to
        hidden = hidden.expand(-1, x.shape[1], -1).repeat_interleave(self.heads, dim=0)
        out: Tensor = frames + self.transformerClip(x, hidden)
        return out

    def facts(self) -> dict[str, Any]:
        """As `Head.facts`."""
        return {**super().facts(), "layers": self.layers, "heads": self.heads}


class Blocks(nn.Module):
    """Blocks one after the other."""

    def __init__(self, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList([Block(dim, heads) for _ in range(layers)])

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """As `Block.forward`."""
        for block in self.resblocks:
            x = block(x, hidden)
        return x


class Block(nn.Module):
    """CLIP's residual attention block; its norms have the epsilon of CLIP4Clip's."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(dim, eps=1e-12), nn.LayerNorm(dim, eps=1e-12)
        self.mlp = Mlp(dim)
        for last in (self.attn.out_proj, self.mlp.c_proj):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D); `hidden` (B * heads, T, T) is added to the attention."""
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, attn_mask=hidden, need_weights=False)[0]
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class Mlp(nn.Module):
    """CLIP's two layers with QuickGELU between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.c_fc, self.c_proj = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D)."""
        y = self.c_fc(x)
        out: Tensor = self.c_proj(y * torch.sigmoid(1.702 * y))
        return out


class WtiHead(Head):
    """Frames weighted by a small network; texts and frames meet token by token.

    A text is usually one token here, as archives keep no others; `scores` takes several too.
    """

    kind = "wti"

    def __init__(self, dim: int, max_frames: int = MAX_FRAMES) -> None:
        super().__init__(dim, max_frames)
        self.video_weight_fc = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, 1))
        self.text_weight_fc = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(inplace=True), nn.Linear(dim, 1))

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """As `Head.forward`: the sum of the weighted frames, made unit; of the halves of `scores` that without a maximum."""
        tokens = self.tokens(frames, mask)
        return normalize((self._weights(tokens, mask)[..., None] * tokens).sum(1), dim=-1, eps=LEAST_NORM)

    def along(self, frames: Tensor, mask: Tensor) -> Tensor:
        """As `Head.along`: each frame pooled with its `NEIGHBOURS` to either side as the head weighs them."""
        tokens, width = self.tokens(frames, mask), 2 * NEIGHBOURS + 1
        near = nn.functional.pad(tokens, (0, 0, NEIGHBOURS, NEIGHBOURS)).unfold(1, width, 1).transpose(2, 3)
        there = nn.functional.pad(mask, (NEIGHBOURS, NEIGHBOURS)).unfold(1, width, 1)
        flat = self._weights(near.flatten(0, 1), there.flatten(0, 1)).view(there.shape)
        out = normalize((flat[..., None] * near).sum(2), dim=-1, eps=LEAST_NORM)
        return out.masked_fill(~mask[..., None], 0.0)

    def scores(self, text: Tensor, frames: Tensor, mask: Tensor, text_mask: Tensor | None = None) -> Tensor:
        """(Q, B): DRL equation 5, the mean of both directions: each token's best partner, summed with the tokens' weights.

        Args:
            text: (Q, D), or (Q, N, D) with `text_mask` (Q, N); unit norm.
        """
        words = text[:, None] if text.ndim == 2 else text
        said = words.new_ones(words.shape[:2], dtype=torch.bool) if text_mask is None else text_mask
        tokens = self.tokens(frames, mask)
        cosines = torch.einsum("qnd,btd->qbnt", words, tokens)
        least = torch.finfo(cosines.dtype).min
        to_video = cosines.masked_fill(~mask[None, :, None], least).amax(3)  # (Q, B, N)
        to_text = cosines.masked_fill(~said[:, None, :, None], least).amax(2)  # (Q, B, T)
        of_words = softmax_of(self.text_weight_fc(words), said)
        return (
            torch.einsum("qbn,qn->qb", to_video, of_words)
            + torch.einsum("qbt,bt->qb", to_text.masked_fill(~mask[None], 0.0), self._weights(tokens, mask))
        ) / 2

    def _weights(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return softmax_of(self.video_weight_fc(tokens), mask)


def softmax_of(logits: Tensor, mask: Tensor) -> Tensor:
    """(B, T) weights that sum to 1 over what the mask lets through, 0 elsewhere; from (B, T, 1)."""
    weights = torch.softmax(logits.squeeze(-1).masked_fill(~mask, torch.finfo(logits.dtype).min), dim=-1)
    return weights.masked_fill(~mask, 0.0)


def pooled(tokens: Tensor, mask: Tensor) -> Tensor:
    """(B, D) of unit norm: the mean of the tokens that are there."""
    count = mask.sum(1, keepdim=True).clamp(min=1).to(tokens.dtype)
    return normalize(tokens.sum(1) / count, dim=-1, eps=LEAST_NORM)


def make_head(
    kind: str,
    dim: int,
    *,
    max_frames: int = MAX_FRAMES,
    layers: int = 4,
    heads: int | None = None,
    feature_scale: float = 1.0,
) -> Head:
    """A new head of a kind; `layers` and `heads` are of `transformer` only.

    Raises:
        ValueError: no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"no head {kind!r}; expected one of {', '.join(KINDS)}")
    head: Head = {"mean": Head, "lstm": LstmHead, "wti": WtiHead}.get(kind, Head)(dim, max_frames)
    if kind == "transformer":
        head = TransformerHead(dim, max_frames, layers, heads)
    head.feature_scale = feature_scale
    return head


def mask_of(counts: Sequence[int], frames: int) -> Tensor:
    """(B, T) bool: the first `counts[i]` of row i are there."""
    return torch.arange(frames)[None] < torch.as_tensor(counts)[:, None]
