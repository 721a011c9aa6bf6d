"""CLIP at the size of a toy, for the direction benchmark: open_clip's own classes, trained here from nothing with InfoNCE.

    towers = make_towers(seed)                     open_clip.CLIP of 32 x 32 pictures and the words of the captions
    train(towers, head, films, PICTURES_FIRST)     single pictures: what there is, how big and where
    train(towers, head, films, FILMS)              films, end to end: towers, adapter and head
    save_towers(towers, folder)                    a folder for `nightreel extract --encoder openclip:FOLDER`

Two stages, as with CLIP4Clip: CLIP from pictures first, then films with a low rate for the towers and a high one for
what is new. From films alone the towers unlearn where shapes are (which is noise to colours and shapes) before a head
finds a use for it: in the same time `lstm` did not get beyond chance.

In every batch each film stands beside one of the same colour and shape that runs the other way, as a hard negative.

It does not know what is measured. A step of 64 films and 16 pictures takes 100 ms on one core, one of 96 pictures 40
ms.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _direction_films import ALL, PHRASES, PLACE, STILL, Combination, Pictures, draw_films
from torch import Tensor, nn

DIM, SIZE_PX, FRAMES, VOCABULARY = 64, 32, 6, 48
MODEL: dict[str, Any] = {
    "embed_dim": DIM,
    "vision_cfg": {"image_size": SIZE_PX, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": VOCABULARY, "width": 64, "heads": 4, "layers": 1},
}
PICTURES = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}


@dataclass(frozen=True)
class Training:
    """Attributes:
    steps: of AdamW.    films, pictures: in a batch; films is even.    towers, head: rates, highest after `warmup` steps.
    """

    steps: int
    films: int
    pictures: int
    towers: float
    head: float
    warmup: int = 50


PICTURES_FIRST = Training(600, 0, 96, 2e-3, 1e-3)
PICTURES_ONLY = Training(1200, 0, 96, 1e-3, 1e-3)  # of a transformer; at 2e-3 one of two had not found left and right
FILMS = Training(600, 64, 16, 2e-4, 1e-2)
HEAD_RATES = {"transformer": 1e-3}  # at 1e-2 it does not train; the others need more


def make_towers(seed: int, *, convolutions: bool = False) -> Any:
    """A new open_clip model. `convolutions`: three of them see pictures, not a transformer: three times as fast."""
    import open_clip

    torch.manual_seed(seed)
    towers = open_clip.CLIP(**MODEL)
    if convolutions:
        towers.visual = Convolutions()
    return towers


class Convolutions(nn.Sequential):
    """(N, 3, 32, 32) -> (N, 64)."""

    def __init__(self) -> None:
        widths, layers = (3, 16, 32, 64), []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(4, after), nn.ReLU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(widths[-1] * (SIZE_PX // 8) ** 2, DIM))


def frame_features(towers: Any, films: Pictures) -> Tensor:
    """(N, T, D) of unit norm, of (N, T, H, W, 3)."""
    pixels = torch.from_numpy(films).flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
    return towers.encode_image(pixels, normalize=True).unflatten(0, films.shape[:2])


def text_features(towers: Any, of: Sequence[Combination], phrases: Sequence[int] | None = None) -> Tensor:
    """(N, D) of unit norm: of the captions, in these phrases."""
    at = torch.tensor([PLACE[c] for c in of])
    return towers.encode_text(
        _captions()[at, torch.tensor([0] * len(of) if phrases is None else phrases)], normalize=True
    )


def train(towers: Any, tuned: Any, of: Sequence[Combination], how: Training, seed: int) -> float:
    """Symmetric InfoNCE over films of the combinations `of`, and pictures of all that stand still; the last step's loss.

    Args:
        tuned: `nightreel.extract.heads.tuned.Tuned`: an adapter and a head. A picture is a film that stands still.

    Pairs of the same colour, shape and motion are no negatives of each other.
    """
    from nightreel.finetune.training.loss import clamped_, false_negatives, info_nce

    rng = np.random.default_rng(seed)
    parameters = [*towers.parameters(), *tuned.parameters()]
    groups = [
        {"params": list(module.parameters()), "most": most}
        for module, most in ((towers, how.towers), (tuned, how.head))
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    loss = torch.tensor(0.0)
    for step in range(how.steps):
        for group in optimizer.param_groups:
            group["lr"] = group["most"] * min(1, (step + 1) / how.warmup) * (1 + np.cos(np.pi * step / how.steps)) / 2
        moving = [of[i] for i in rng.integers(0, len(of), how.films // 2)]
        both = moving + [combination.reverse for combination in moving]
        videos = [_encoded(towers, tuned, both, FRAMES, rng)] if both else []
        still = [STILL[i] for i in rng.integers(0, len(STILL), how.pictures)]
        videos += [_encoded(towers, tuned, still, 1, rng)] if still else []
        both += still
        text = tuned.text(text_features(towers, both, rng.integers(0, len(PHRASES), len(both)).tolist()))
        false = false_negatives(torch.tensor([PLACE[combination] for combination in both]))
        loss = info_nce(torch.cat(videos), text, tuned.head.factor, false=false)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        clamped_(tuned.head.logit_scale)
    return loss.item()


def _encoded(towers: Any, tuned: Any, of: Sequence[Combination], frames: int, rng: np.random.Generator) -> Tensor:
    """(N, D) of new films."""
    seen = frame_features(towers, draw_films(of, frames, SIZE_PX, rng)).expand(-1, FRAMES, -1)
    return tuned.video(seen, torch.ones(seen.shape[:2], dtype=torch.bool))


# --- words ------------------------------------------------------------------------------------------------------


@cache
def _captions() -> Tensor:
    """(combinations, phrases, L) of all captions, ids renumbered to those that occur."""
    ids = _open_clip_ids()
    return torch.searchsorted(_occurring(), ids).where(ids > 0, 0).clamp(max=VOCABULARY - 1)


@cache
def _open_clip_ids() -> Tensor:
    import open_clip

    tokenizer = open_clip.SimpleTokenizer(context_length=MODEL["text_cfg"]["context_length"])
    said = [combination.caption(phrase) for combination in ALL + STILL for phrase in range(len(PHRASES))]
    return tokenizer(said).unflatten(0, (-1, len(PHRASES)))


@cache
def _occurring() -> Tensor:
    """(VOCABULARY,) ids of open_clip, ascending, the last that of the end; unused places hold ids that do not occur."""
    found = _open_clip_ids().unique()
    spare = torch.arange(VOCABULARY - len(found)) + found[-2] - VOCABULARY
    return torch.cat([found, spare[~torch.isin(spare, found)]]).sort().values


def save_towers(towers: Any, folder: Path) -> str:
    """Write an open_clip folder, its words renumbered to open_clip's; the encoder spec. Not with `convolutions`."""
    folder.mkdir(parents=True)
    model = {**MODEL, "text_cfg": {**MODEL["text_cfg"], "vocab_size": 49408}}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": PICTURES}))
    state = dict(towers.state_dict())
    words = torch.zeros(49408, MODEL["text_cfg"]["width"])
    words[_occurring()] = state["token_embedding.weight"][: len(_occurring())]
    torch.save({**state, "token_embedding.weight": words}, folder / "open_clip_pytorch_model.bin")
    return f"openclip:{folder}"
