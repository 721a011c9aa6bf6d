"""`--train lora` and `all`: CLIP's towers from the pictures of pairs, a `Task` for `loop.py`.

    task = frames_task(store, slug, parts, folder, how="lora", device="cuda")
    train(task, plan, keep)
    spec = task.save(folder)                 # then: nightreel extract ... --encoder SPEC makes the features anew

A video is the mean of its unit frames, made unit (CLIP4Clip's meanP): the result is a pair of towers and no head, so that
whoever wants a temporal head trains one on the new features, in minutes. `lora` trains low-rank adapters (`towers.py`) at
1e-4, `all` every weight at 1e-7, matrices decaying by 0.2 (Luo et al. 2021, "CLIP4Clip", section 4.2 and its code; what is
new there trains at 1e-4). The frames of a pair are those of the archive at equal steps, always the same, so that each is
decoded once. No picture is flipped or cropped at random: a flip would make "left to right" a lie.

Costs, per pair and step, at most 3 passes (5 with checkpointing and gradient caching) of T frames through the picture tower,
where training on stored features costs none. One core, 4 frames and 2 texts forward and backward by `lora`: ViT-B-32 5 s,
PE-Core-B-16 28 s (cores shared with other work): this wants a GPU.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..evaluate.retrieval import ranks
from ..extract.encoders.device import autocast, choose_precision
from ..extract.encoders.preprocess import preprocess
from ..extract.errors import UsageError
from ..extract.fingerprint import MODEL_KEYS, require_same
from ..extract.heads.networks import pooled
from ..extract.run import available_cores
from ..extract.sample import Grid
from ..extract.store import Store
from .captions.collate import frame_places
from .captions.examples import Examples
from .captions.footage import Rows
from .captions.parts import Parts, alike
from .pixels import Film, Pixels, Progress, cached_pixels, used
from .stored_task import right_answers
from .towers import Towers, Trained, add_lora, load_towers, merge, save_towers
from .training.gather import ranks as ranks_of_processes
from .training.loss import LARGEST, caption_ids, false_negatives
from .training.task import Validation

FRAMES = 8  # of a pair
LORA_RATE, ALL_RATE, DECAY = 1e-4, 1e-7, 0.2
AT_ONCE = 64  # pairs that are validated together


class FramesTask:
    """Args:
    towers: what is trained.    how: `lora` or `all`.
    parts: pairs that train and validate; each has a frame in `pixels`.    frames: of a pair, at most.
    rate: of what trains; None for `LORA_RATE` or `ALL_RATE`.
    checkpointing: keep activations at the borders of blocks only: less memory, a pass more.
    """

    def __init__(
        self,
        towers: Towers,
        how: str,
        parts: Parts,
        pixels: Pixels,
        *,
        frames: int = FRAMES,
        rate: float | None = None,
        checkpointing: bool = False,
    ) -> None:
        self._towers, self._how, self._parts, self._pixels = towers, how, parts, pixels
        self._rate = rate if rate is not None else (LORA_RATE if how == "lora" else ALL_RATE)
        self.count = len(parts.train)
        towers.model.requires_grad_(how == "all")
        self._lora = add_lora(towers.model) if how == "lora" else None
        if checkpointing:
            towers.model.set_grad_checkpointing(True)  # type: ignore[operator]
        self.model: nn.Module = Trained(towers.model)
        self.log_scale: Tensor = towers.model.logit_scale  # type: ignore[assignment]
        with torch.no_grad():
            self.log_scale.clamp_(max=LARGEST)
        self._device = str(next(towers.model.parameters()).device)
        self._rows = {part: self._pictures(examples, frames) for part, examples in self._examples().items()}
        self._tokens = {part: self._tokenized(examples) for part, examples in self._examples().items()}
        self._alike = torch.from_numpy(alike(parts.train, parts.copies))
        self._caption = torch.tensor(caption_ids([pair.caption for pair in parts.train.pairs]))
        self._span = torch.from_numpy(parts.train.span)
        self._right = right_answers(parts.val, parts.copies)

    def groups(self) -> list[dict[str, Any]]:
        """As `Task.groups`. The logit scale trains with all weights, and stays as it is beside adapters."""
        trains = [p for p in self.model.parameters() if p.requires_grad]
        if self._how == "lora":
            return [{"name": "lora", "params": trains, "lr": self._rate, "weight_decay": 0.0}]
        return [
            {"name": "matrices", "params": [p for p in trains if p.ndim > 1], "lr": self._rate, "weight_decay": DECAY},
            {"name": "vectors", "params": [p for p in trains if p.ndim < 2], "lr": self._rate, "weight_decay": 0.0},
        ]

    def encode(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """As `Task.encode`."""
        at = np.asarray(rows, np.int64)
        return self._videos(self._rows["train"][at]), self._texts(self._tokens["train"][at])

    def false(self, rows: Sequence[int]) -> Tensor | None:
        """As `Task.false`."""
        at = torch.tensor(list(rows))
        same = false_negatives(self._alike[at], span_s=self._span[at], caption=self._caption[at])
        return same.to(self._device)

    def weights(self, rows: Sequence[int]) -> Tensor | None:
        """As `Task.weights`: of the pairs' own."""
        return torch.from_numpy(self._parts.train.weight[list(rows)]).to(self._device)

    def validate(self) -> Validation:
        """As `Task.validate`."""
        val = self._parts.val
        first, _ = val.items()
        with autocast(self._device, choose_precision(self._device)):
            videos = [
                self._videos(self._rows["val"][first[low : low + AT_ONCE]]) for low in range(0, len(first), AT_ONCE)
            ]
            tokens = self._tokens["val"]
            texts = [self._texts(tokens[low : low + AT_ONCE]) for low in range(0, len(tokens), AT_ONCE)]
        scores = (torch.cat(texts) @ torch.cat(videos).T).cpu().numpy()
        return Validation(ranks(scores, self._right), val.sources)

    def save(self, folder: Path) -> str:
        """Writes the towers, adapters merged into them; returns the spec of the encoder. Nothing can train afterwards.

        Raises:
            NightreelError: see `save_towers`.
        """
        if self._lora is not None:
            merge(self._lora)
            self._lora = None
        return save_towers(self._towers, folder)

    def _examples(self) -> dict[str, Examples]:
        return {"train": self._parts.train, "val": self._parts.val}

    def _pictures(self, examples: Examples, frames: int) -> Rows:
        """(N, T) rows of the pixels of each pair, -1 for none."""
        places, filled = taken(examples, frames)
        out = np.full(places.shape, -1, np.int64)
        for row, video in enumerate(examples.video.tolist()):
            there = filled[row]
            out[row, there] = self._pixels.rows(examples.videos[video].video_id, places[row, there])
        return out

    def _tokenized(self, examples: Examples) -> Tensor:
        """(N, L) int64."""
        return self._towers.tokenizer([pair.caption for pair in examples.pairs])  # type: ignore[no-any-return]

    def _videos(self, rows: Rows) -> Tensor:
        """(B, T) rows of pixels -> (B, D) float32 of unit norm."""
        mask = rows >= 0
        pictures = preprocess(self._pixels.frames[rows[mask]], self._towers.how, self._device)
        found = normalize(self._towers.model.encode_image(pictures).float(), dim=-1)  # type: ignore[operator]
        where = torch.from_numpy(mask).to(found.device)
        tokens = found.new_zeros(*rows.shape, found.shape[1])
        return pooled(tokens.masked_scatter(where[..., None], found), where)

    def _texts(self, tokens: Tensor) -> Tensor:
        """(B, L) -> (B, D) float32 of unit norm."""
        found = self._towers.model.encode_text(tokens.to(self._device))  # type: ignore[operator]
        return normalize(found.float(), dim=-1)


def taken(examples: Examples, frames: int) -> tuple[Rows, np.ndarray[Any, np.dtype[np.bool_]]]:
    """(N, T) which frames of its video each pair takes, at equal steps, and which of these places are filled."""
    places, filled = frame_places(examples.high - examples.low, frames)
    return places + examples.low[:, None], filled


def frames_task(
    store: Store,
    slug: str,
    parts: Parts,
    folder: Path,
    *,
    how: str,
    device: str,
    frames: int = FRAMES,
    rate: float | None = None,
    checkpointing: bool = False,
    workers: int | None = None,
    progress: Progress = lambda done, of, what: None,
) -> tuple[FramesTask, dict[str, str]]:
    """The archive's encoder with the pictures of its pairs, ready to train; and video id -> what was wrong with its
    pictures.

    Pairs without any picture are left out. Loading the model takes seconds, decoding what `extract` took.

    Args:
        slug: of features that an open_clip model made.    folder: where the pictures are kept (`pixels.py`).
        how: `lora` or `all`.    rate, checkpointing, frames: as of `FramesTask`.    workers: decoding processes; None for
            all cores.

    Raises:
        UsageError: another kind of encoder or of `how`, or no pair has pictures.    FingerprintMismatch: the model that
        loads is not the one that made the features.    WeightsUnavailable: it cannot be loaded.    Refused: the disk is
        full.
    """
    if how not in ("lora", "all"):
        raise UsageError(f"--train {how}: expected lora or all for training from frames.")
    fingerprint = store.encoders()[slug]
    towers = load_towers(str(fingerprint["spec"]), device)
    remedy = "Give --encoder the checkpoint that made the features, or extract with the one that is here now."
    require_same(fingerprint, towers.encoder.fingerprint(), MODEL_KEYS, remedy=remedy)
    sampling = fingerprint["sampling"]
    pixels = cached_pixels(
        folder,
        films_of(store, parts, frames),
        towers.how.geometry,
        Grid(float(sampling["fps"])),
        str(sampling["decode"]),
        workers=workers or available_cores(),
        decodes=ranks_of_processes()[0] == 0,
        progress=progress,
    )
    train, val = (with_pictures(examples, pixels, frames) for examples in (parts.train, parts.val))
    kept = replace(parts, train=train, val=val)
    task = FramesTask(towers, how, kept, pixels, frames=frames, rate=rate, checkpointing=checkpointing)
    return task, by_path(parts.train, pixels.faults) | by_path(parts.val, pixels.faults)


def films_of(store: Store, parts: Parts, frames: int) -> dict[str, Film]:
    """What is wanted of each video, by id."""
    wanted: dict[str, list[Rows]] = {}
    for examples in (parts.train, parts.val):
        places, filled = taken(examples, frames)
        for row, video in enumerate(examples.video.tolist()):
            wanted.setdefault(examples.videos[video].video_id, []).append(places[row, filled[row]])
    footage = {video.video_id: video for examples in (parts.train, parts.val) for video in examples.videos}
    decoder = {row.video_id: row.decoder or "pyav" for row in store.videos()}
    out = {}
    for video_id, of_pairs in wanted.items():
        places = used(of_pairs)
        backend, _, why_all = decoder[video_id].partition(",")
        start_s = footage[video_id].start_s[places]
        out[video_id] = Film(footage[video_id].path, places, start_s, backend, decode_all=bool(why_all))
    return out


def with_pictures(examples: Examples, pixels: Pixels, frames: int) -> Examples:
    """The pairs that have a picture at least.

    Raises:
        UsageError: none has.
    """
    places, filled = taken(examples, frames)
    ids = [examples.videos[video].video_id for video in examples.video.tolist()]
    kept = [row for row, video_id in enumerate(ids) if (pixels.rows(video_id, places[row, filled[row]]) >= 0).any()]
    if not kept:
        few = "\n  ".join(f"{path}: {why}" for path, why in list(by_path(examples, pixels.faults).items())[:5])
        raise UsageError(
            f"none of {len(examples)} pairs has pictures:\n  {few}\nTraining from frames needs the films where they were."
        )
    return examples.subset(kept)


def by_path(examples: Examples, faults: Mapping[str, str]) -> dict[str, str]:
    """Faults by video id, by path: of the videos that are examples."""
    return {video.path: faults[video.video_id] for video in examples.videos if video.video_id in faults}
