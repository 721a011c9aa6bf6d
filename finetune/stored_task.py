"""`--train head` and `adapter`: pairs of stored features, a `Task` for `loop.py`.

Each step takes other frames of each pair (one at random of each of T parts of its span); validation takes the same ones
each time, and ranks all footage of the validation pairs for each of their captions. Pairs of one video whose spans overlap,
copies of it, and captions that say the same are no negatives of each other, and all right answers in validation.

It knows neither schedules nor files. Costs, per pair and step, T frames of 2 D bytes from the page cache and 6 T D^2 operations
for an adapter; a transformer of L layers 72 L T D^2 more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..evaluate.retrieval import ranks
from ..extract.heads.networks import make_head
from ..extract.heads.tuned import Tuned
from .captions.collate import collate
from .captions.examples import Examples
from .captions.parts import Copies, alike
from .closed_form import whitening
from .negatives import VideoClip
from .training.loss import caption_ids, false_negatives
from .training.plan import batches
from .training.task import Rows, Validation

AT_ONCE = 512  # validation pairs that go through the head together


@dataclass(frozen=True)
class Rates:
    """Attributes:
    head: of new parts: a head, the map of clips, the logit scale.    adapter: of what starts as the identity.
    decay: of the head's weights towards 0.    pull: of the adapter's towards where it starts.
    """

    head: float = 1e-3
    adapter: float = 1e-3
    decay: float = 0.2
    pull: float = 0.1


class StoredTask:
    """Args:
    tuned: what is trained; the parts that it has.
    train, val: of the same archive.    copies: pairs of videos with the same footage, as `find_duplicates` gives them.
    recipe: how spans, batches and hard negatives are drawn; None: spans as they are, batches at random, none.
    """

    def __init__(
        self,
        tuned: Tuned,
        train: Examples,
        val: Examples,
        rates: Rates = Rates(),
        *,
        copies: Copies = (),
        device: str = "cpu",
        recipe: VideoClip | None = None,
    ) -> None:
        self.model, self.log_scale, self.count = tuned.to(device), tuned.head.logit_scale, len(train)
        self._train, self._val, self._rates, self._device = train, val, rates, device
        self._alike, self._caption = (torch.from_numpy(alike(train, copies)), torch.tensor(caption_of(train)))
        self._span = torch.from_numpy(train.span)
        self._texts = torch.from_numpy(train.texts).to(device)
        self._right, self._recipe = right_answers(val, copies), recipe

    def groups(self) -> list[dict[str, Any]]:
        """As `Task.groups`: matrices decay, biases and scales do not; an adapter is held to where it starts."""
        tuned, rates = self.model, self._rates
        scale = tuned.head.logit_scale
        rest = [p for p in tuned.head.parameters() if p is not scale]
        rest += [] if tuned.join is None else list(tuned.join.parameters())
        adapter = [] if tuned.adapter is None else list(tuned.adapter.parameters())
        made = [
            {
                "name": "matrices",
                "params": [p for p in rest if p.ndim > 1],
                "lr": rates.head,
                "weight_decay": rates.decay,
            },
            {"name": "vectors", "params": [p for p in rest if p.ndim < 2], "lr": rates.head, "weight_decay": 0.0},
            {"name": "adapter", "params": adapter, "lr": rates.adapter, "weight_decay": rates.pull, "anchored": True},
            {"name": "scale", "params": [scale], "lr": rates.head, "weight_decay": 0.0},
        ]
        return [group for group in made if group["params"]]

    def encode(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """As `Task.encode`."""
        draw = np.random.default_rng(int(torch.randint(2**62, ())))
        if self._recipe is None:
            batch = collate(self._train, rows, draw)
        else:
            batch = collate(self._recipe.drawn(rows, draw), range(len(rows)), draw)
        frames, mask, clips = self._moved(batch)
        text = self._texts[torch.from_numpy(self._train.caption[list(rows)]).to(self._device)]
        return self.model.video(frames, mask, clips), self.model.text(text)

    def false(self, rows: Sequence[int]) -> Tensor | None:
        """As `Task.false`."""
        at = torch.tensor(list(rows))
        # Spans that are drawn anew may overlap where the captions' do not.
        span = self._span[at] if self._recipe is None else None
        return false_negatives(self._alike[at], span_s=span, caption=self._caption[at]).to(self._device)

    def weights(self, rows: Sequence[int]) -> Tensor | None:
        """As `Task.weights`: of the pairs' own."""
        return torch.from_numpy(self._train.weight[list(rows)]).to(self._device)

    def batches(self, batch: int, seed: int, epoch: int) -> list[Rows]:
        """As `Orders.batches`."""
        if self._recipe is None:
            return batches(self.count, batch, seed, epoch)
        return self._recipe.batches(batch, seed, epoch)

    @torch.no_grad()
    def hard(self, rows: Sequence[int]) -> Tensor | None:
        """As `Orders.hard`."""
        found = None if self._recipe is None else self._recipe.hard(rows)
        if found is None:
            return None
        batch, there = found
        video = self.model.video(*self._moved(batch)).float().reshape(*there.shape, -1)
        return video * there[..., None].to(video)

    @torch.no_grad()
    def validate(self) -> Validation:
        """As `Task.validate`."""
        return self._validated(self.model)

    @torch.no_grad()
    def untouched(self) -> Validation:
        """As `Compares.untouched`: the mean of the stored frames, and captions as the encoder has them."""
        return self._validated(Tuned(make_head("mean", self.model.head.dim, max_frames=self._val.max_frames)))

    def _validated(self, model: Tuned) -> Validation:
        first, _ = self._val.items()
        videos = []
        for low in range(0, len(first), AT_ONCE):
            frames, mask, clips = self._moved(collate(self._val, first[low : low + AT_ONCE]))
            videos.append(model.video(frames, mask, clips).float())
        text = model.text(torch.from_numpy(self._val.text()).to(self._device)).float()
        scores = (text @ torch.cat(videos).T).cpu().numpy()
        return Validation(ranks(scores, self._right), self._val.sources)

    def _moved(self, batch: tuple[Tensor, Tensor, Tensor | None]) -> tuple[Tensor, Tensor, Tensor | None]:
        frames, mask, clips = batch
        clips = None if clips is None else clips.to(self._device, non_blocking=True)
        return frames.to(self._device, non_blocking=True), mask.to(self._device, non_blocking=True), clips


class AdapterTask(StoredTask):
    """A `StoredTask` that starts from the map that needs no training (`closed_form.py`)."""

    def begin(self) -> None:
        """As `Begins.begin`."""
        adapter = self.model.adapter
        assert adapter is not None
        with torch.no_grad():
            for side, (weight, bias) in zip((adapter.video, adapter.text), whitening(self._train), strict=True):
                side.weight.copy_(torch.from_numpy(weight))
                side.bias.copy_(torch.from_numpy(bias))


def caption_of(examples: Examples) -> list[int]:
    """N numbers, the same for pairs whose captions say the same."""
    return caption_ids([pair.caption for pair in examples.pairs])


def right_answers(examples: Examples, copies: Copies = ()) -> npt.NDArray[np.bool_]:
    """(N, M) which of the M pieces of footage (`Examples.items`) answer the caption of each pair.

    Its own; those that overlap it in its video, or in a copy; and those of pairs whose captions say the same.
    """
    _, item = examples.items()
    same = false_negatives(
        torch.from_numpy(alike(examples, copies)),
        span_s=torch.from_numpy(examples.span),
        caption=torch.tensor(caption_of(examples)),
    ).numpy()
    same |= np.eye(len(examples), dtype=bool)
    right = np.zeros((len(examples), int(item.max()) + 1), bool)
    queries, pairs = np.nonzero(same)
    right[queries, item[pairs]] = True
    return right
