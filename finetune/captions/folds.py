"""Where captions are few: every one of them is held out once, by source, so that all of them say whether training helps.

A tenth of 400 captions is 40, on which a model that is better by a tenth cannot be told from chance. So below `ENOUGH`
held-out captions, and where the file names no splits, each of `FOLDS` parts of the sources is held out in turn. All parts
together tell which epoch was best; the head that is kept trains on all captions to that epoch.

What is reported is not what the best epoch has, as an epoch that was chosen on captions looks better on them than it is: each
part is measured at the epoch that the other parts choose (`honest`). Heads that were measured so saw four fifths of the
captions, so the kept one may be rather better. It does not know what trains. Costs `FOLDS` times the training.
"""

from collections.abc import Sequence

import numpy as np

from ...evaluate.records import Labelled
from ...evaluate.splits import split_by_source
from ..training.task import Validation
from .examples import Examples
from .footage import Rows
from .parts import Copies, Parts

FOLDS = 5
ENOUGH = 500  # held-out captions: R@1 is known to 2 points then


def needed(parts: Parts) -> bool:
    """Whether one split leaves too few to tell a gain from chance."""
    return not parts.given and len(parts.val) < ENOUGH


def fold_rows(examples: Examples, copies: Copies, seed: int, count: int = FOLDS) -> list[tuple[Rows, Rows]]:
    """(rows that train, rows that validate) of each fold; each row that is no weak caption validates in just one.

    Folds without a caption to validate or to train on are left out: of few sources there are fewer folds.
    """
    videos = [examples.videos[video] for video in dict.fromkeys(examples.video.tolist())]
    records = [Labelled(video.path, "pair", source=video.source) for video in videos]
    names = [f"fold {number}" for number in range(count)]
    split = split_by_source(records, dict.fromkeys(names, 1 / count), seed, together=copies)
    of_source = {str(record.source): number for number, name in enumerate(names) for record in split[name]}
    fold = np.array([of_source[source] for source in examples.sources])
    strong = np.array([not pair.weak for pair in examples.pairs])
    if not strong.any():
        strong[:] = True
    made = [(np.flatnonzero(fold != number), np.flatnonzero((fold == number) & strong)) for number in range(count)]
    return [(train, val) for train, val in made if len(train) and len(val)]


def pooled(folds: Sequence[Sequence[Validation]]) -> list[Validation]:
    """The validations of several folds, epoch by epoch, as one of all their captions; as many epochs as all have."""
    return [
        Validation(np.concatenate([of.ranks for of in epoch]), [source for of in epoch for source in of.sources])
        for epoch in zip(*folds, strict=False)
    ]


def best_of(history: Sequence[Validation]) -> int:
    """The epoch with the best validation, 0 for the untouched model; of equal ones the first."""
    best = 0
    for epoch, found in enumerate(history):
        if found.better_than(history[best]):
            best = epoch
    return best


def honest(folds: Sequence[Sequence[Validation]]) -> tuple[Validation, Validation]:
    """(the untouched model, the trained one) on the captions of all folds, each at the epoch that the other folds choose."""
    chosen = [[fold[0], fold[best_of(pooled([*folds[:at], *folds[at + 1 :]]))]] for at, fold in enumerate(folds)]
    before, after = pooled(chosen)
    return before, after
