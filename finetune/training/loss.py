"""Symmetric InfoNCE, and which pairs of a batch are no negatives of each other. Pure functions of tensors.

    loss = info_nce(video, text, head.factor, false=false_negatives(video_ids, caption=caption_ids(captions)))

Equal to open_clip's `ClipLoss` in value and gradient where nothing is masked (tests/finetune/test_loss.py; over two
processes, tests/finetune/test_gather.py). Sources: Radford et al. 2021, "CLIP" (arXiv 2103.00020), figure 3 and section
2.5; several positives: Miech et al. 2020, "MIL-NCE" (arXiv 1912.06430), equation 1.

It does not know what was encoded, how many processes there are (`gather.py`) or how much memory there is (`gradcache.py`).

Costs of B pairs with H hard negatives each: 6 B (B + H) D operations with the gradient, and about 5 tables of (B, B)
float32: at B = 4,096 and D = 512 1.3 s on one core and 0.29 GB, 0.37 GB with a mask.
"""

import math
import re
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...extract.errors import UsageError
from ...extract.heads.networks import MAX_FACTOR

LARGEST = math.log(MAX_FACTOR) - 1e-6  # its exp is not above MAX_FACTOR in float32 either
ARTICLES = frozenset(("a", "an", "the"))


def clamped_(logit_scale: Tensor) -> None:
    """After each step: the learned logarithm comes back to where its exp is in [1, `MAX_FACTOR`], in place.

    CLIP, section 2.5, and its own code. A bound in the forward pass alone (`Head.factor`) has no gradient beyond it: what
    came there would stay for ever.
    """
    with torch.no_grad():
        logit_scale.clamp_(0.0, LARGEST)


def info_nce(
    video: Tensor,
    text: Tensor,
    logit_scale: Tensor | float,
    *,
    false: Tensor | None = None,
    positives: Tensor | None = None,
    hard_video: Tensor | None = None,
    hard_text: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Mean of two cross-entropies: which text belongs to a video, which video to a text.

    Args:
        video, text: (B, D) unit norm; row i of one belongs to row i of the other.
        logit_scale: 1 / temperature, the factor itself and not its logarithm.
        false: (B, B) bool; [i, j]: video i and text j are no negatives of each other, though no pair either. They leave the
            denominators. The diagonal does not count.
        positives: (B, B) bool; [i, j]: video i and text j belong together too. They join the numerator (MIL-NCE). The
            diagonal always does.
        hard_video: videos that belong to no text of the batch, further negatives of the texts: (H, D) of all, or (B, H, D)
            of each its own. Rows of zeros are not there.    hard_text: the same for the videos.
        weights: (B,) of at least 0: how much a pair counts as one that is to be found; it is a negative of others in full.

    Returns:
        A scalar. With one pair and nothing hard it is 0.

    Raises:
        UsageError: shapes that do not fit, or weights of which none is above 0.
    """
    _require(video, text, {"false": false, "positives": positives})
    logits = logit_scale * video @ text.T
    eye = torch.eye(len(video), dtype=torch.bool, device=video.device)
    if false is not None:
        logits = logits.masked_fill(false & ~eye if positives is None else false & ~eye & ~positives, -torch.inf)
    right = None if positives is None else positives | eye
    of_video = _cross_entropy(logits, right, _hard(video, hard_text, logit_scale))
    of_text = _cross_entropy(logits.T, None if right is None else right.T, _hard(text, hard_video, logit_scale))
    return (_mean(of_video, weights) + _mean(of_text, weights)) / 2


def false_negatives(
    video: Tensor,
    *,
    span_s: Tensor | None = None,
    caption: Tensor | None = None,
    vectors: Tensor | None = None,
    threshold: float = 0.95,
) -> Tensor:
    """Which pairs must not be negatives of each other: those of one video, and those whose captions say the same.

    Args:
        video: (B,) integers, the same for pairs of the same video.
        span_s: (B, 2) start and end in the video. Where given, pairs of one video are false only if their spans overlap:
            other moments of a video are then negatives, the hard ones that grounding needs. Leave it out to train for
            finding videos. NaN: the whole video.
        caption: (B,) integers, the same for captions that say the same (`caption_ids`).
        vectors: (B, D) of captions, unit norm; those with a cosine of `threshold` or above count as the same. Leave them
            out where the order of words matters: "a red circle moves from left to right" and "... from right to left" have
            a cosine of 0.998 under the sentence encoder of `conse`, above "a dog runs on the grass" and "The dog is running
            on grass" with 0.954.

    Returns:
        (B, B) bool, symmetric, the diagonal False.

    Raises:
        UsageError: shapes that do not fit.
    """
    count = len(video)
    for name, given, shape in (("span_s", span_s, (count, 2)), ("caption", caption, (count,))):
        if given is not None and tuple(given.shape) != shape:
            raise UsageError(f"{name} {tuple(given.shape)} beside {count} pairs; expected {shape}")
    out = video[:, None] == video[None]
    if span_s is not None:
        start, end = span_s.nan_to_num(0.0)[:, 0], span_s[:, 1].nan_to_num(torch.inf, posinf=torch.inf)
        out &= (start[:, None] < end[None]) & (start[None] < end[:, None])
    if caption is not None:
        out |= caption[:, None] == caption[None]
    if vectors is not None:
        out |= vectors @ vectors.T >= threshold
    return out.fill_diagonal_(False)


def caption_ids(captions: Sequence[str]) -> list[int]:
    """A number per caption, the same for those that differ in case, punctuation, spaces or articles only.

    Order counts: captions with the same words in another order say another thing.
    """
    known: dict[tuple[str, ...], int] = {}
    words = (tuple(word for word in re.findall(r"\w+", c.casefold()) if word not in ARTICLES) for c in captions)
    return [known.setdefault(said, len(known)) for said in words]


def _cross_entropy(logits: Tensor, right: Tensor | None, hard: Tensor | None) -> Tensor:
    """(B,) -log of the share of what is right in its row; `hard` (B, H) logits join the denominator."""
    every = logits if hard is None else torch.cat([logits, hard], dim=1)
    if right is None:
        return cross_entropy(every, torch.arange(len(logits), device=logits.device), reduction="none")
    return every.logsumexp(1) - logits.masked_fill(~right, -torch.inf).logsumexp(1)


def _hard(anchor: Tensor, hard: Tensor | None, logit_scale: Tensor | float) -> Tensor | None:
    """(B, H) logits of the anchors (B, D) with hard negatives (H, D) or (B, H, D)."""
    if hard is None:
        return None
    if hard.ndim not in (2, 3) or hard.shape[-1] != anchor.shape[1] or (hard.ndim == 3 and len(hard) != len(anchor)):
        raise UsageError(
            f"hard negatives {tuple(hard.shape)} beside {tuple(anchor.shape)}; expected (H, D) or (B, H, D) with the same D"
        )
    there = (hard != 0).any(-1)
    logits = anchor @ hard.T if hard.ndim == 2 else torch.einsum("bd,bhd->bh", anchor, hard)
    return (logit_scale * logits).masked_fill(~there, -torch.inf)


def _mean(losses: Tensor, weights: Tensor | None) -> Tensor:
    if weights is None:
        return losses.mean()
    if weights.shape != losses.shape or bool((weights < 0).any()) or not bool((weights > 0).any()):
        raise UsageError(
            f"weights {tuple(weights.shape)} beside {len(losses)} pairs; expected one of at least 0 for each, not all 0"
        )
    return (losses * weights).sum() / weights.sum()


def _require(video: Tensor, text: Tensor, masks: dict[str, Tensor | None]) -> None:
    if video.ndim != 2 or video.shape != text.shape or not len(video):
        raise UsageError(f"videos {tuple(video.shape)} and texts {tuple(text.shape)}; expected both (B, D), B above 0")
    for name, mask in masks.items():
        if mask is not None and (mask.shape != (len(video), len(video)) or mask.dtype != torch.bool):
            raise UsageError(
                f"{name} {tuple(mask.shape)} of {mask.dtype}; expected bool ({len(video)}, {len(video)}), a row a video"
            )
