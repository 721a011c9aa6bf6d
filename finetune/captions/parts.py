"""Which pairs train and which validate: by source video, checked for leaks before the first step.

    parts = split_examples(examples, store, slug)
    parts.train, parts.val, parts.notes

Where the file has a column `split` it is kept, and it is checked that the parts share no video, upload or footage (`Leak`).
Pairs without a split there (subtitles, say) go where their source is, else they train. Where the file has no split, a source
goes to a part by the hash of its name, copies of footage together (`evaluate/splits.py`).

Few sources: a hash meets a share of 10 % on many sources only, and of 8 videos it leaves the validation empty two times of
five. So below `FEW` those of the highest hashes validate, as many as the share asks for and at least 2 (1 of fewer than 6):
of 8 videos, 2. The notes say how few there are: a gain on them is a hint, and no more. One source cannot be split.

Copies that would tie more than a tenth of the sources together are not taken for copies (`credible`).

Weak captions (weight below 1) train but do not validate, as long as there are others.

It does not know features or losses. Costs what `find_duplicates` costs, which grows with the square of the archive's segments
(2 to 5 s for 10 000, 30 s for 50 000 at D = 512): above `MOST_SEGMENTS` copies are not looked for, and the notes say so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...evaluate.records import Labelled
from ...evaluate.splits import check_leaks, split_by_source
from ...extract.errors import UsageError
from ...extract.store import Store
from ...index.duplicates import find_duplicates
from ..probing.parts import KIND
from .examples import Examples
from .footage import Rows

Copies = Sequence[Mapping[str, Any]]

MOST_SEGMENTS = 50_000  # of the archive, for looking for copies: 30 to 60 s
STRICTER = (0.0, 0.8, 0.85, 0.9, 0.95, 0.98)  # similarities of copies that are tried, the first of what was found
MOST_ALIKE, LEAST_ALIKE = 0.1, 5  # of the sources, and how many at least, that copies may tie together
FEW = 20  # sources of which a hash may leave hardly any to the validation


@dataclass(frozen=True)
class Parts:
    """Attributes:
    train, val: their pairs, numbered from 0 each.
    given: whether the file said which are which.
    notes: what whoever reads the figures must know.
    copies: pairs of videos with the same footage, as `find_duplicates` gives them.
    """

    train: Examples
    val: Examples
    given: bool
    notes: tuple[str, ...] = ()
    copies: tuple[Mapping[str, Any], ...] = ()


def split_examples(
    examples: Examples, store: Store, slug: str, *, share: float = 0.1, seed: int = 0, footage: bool = True
) -> Parts:
    """The pairs in two parts, never one source in both.

    Args:
        slug: of the features that footage is compared by.    share: of the sources that validate, if the file has no splits.
        footage: whether to look for copies of footage.

    Raises:
        Leak: the file's splits share something.
        UsageError: a split of another name, no pair that trains, or one source only.
    """
    if not 0 < share < 1:
        raise UsageError(f"share of the validation {share:g}: expected a number above 0 and below 1.")
    notes: list[str] = []
    copies: Copies = ()
    if footage and store.segment_count(slug) > MOST_SEGMENTS:
        notes.append(
            f"Copies of footage were not looked for: {store.segment_count(slug)} segments are more than {MOST_SEGMENTS}. "
            "Splits by hand are checked by: nightreel evaluate splits"
        )
    elif footage:
        found = find_duplicates(store, slug)
        copies = credible(examples, found)
        if len(copies) < len(found):
            notes.append(
                f"{len(found) - len(copies)} of {len(found)} spans that look alike are not taken for copies of footage: with "
                f"them, more than {MOST_ALIKE:.0%} of the videos would be one and the same."
            )
    kinds = _given(examples)
    rows = {kind: np.flatnonzero(kinds == kind) for kind in ("train", "val", "test")}
    check_leaks({kind: _records(examples, of) for kind, of in rows.items() if len(of)}, copies)
    if not len(rows["train"]):
        raise UsageError("--pairs: no pair trains; expected some with the split train, or no column split.")
    given = bool(len(rows["val"]))
    if not given:
        held = held_out(examples.subset(rows["train"]), copies, share, seed, notes)
        rows["train"], rows["val"] = rows["train"][~held], rows["train"][held]
    strong = rows["val"][[not examples.pairs[row].weak for row in rows["val"].tolist()]]
    if 0 < len(strong) < len(rows["val"]):
        notes.append(f"{len(rows['val']) - len(strong)} weak captions of the validation's videos are not used.")
        rows["val"] = strong
    if len(rows["test"]):
        notes.append(f"{len(rows['test'])} pairs of the split test are not looked at.")
    return Parts(examples.subset(rows["train"]), examples.subset(rows["val"]), given, tuple(notes), tuple(copies))


def alike(examples: Examples, copies: Copies) -> Rows:
    """(N,) numbers of the pairs' videos, the same where they share footage; `loss.false_negatives` takes them."""
    groups = _grouped([video.video_id for video in examples.videos], copies, {})
    return np.array([groups[video.video_id] for video in examples.videos], np.int64)[examples.video]


def credible(examples: Examples, copies: Copies) -> Copies:
    """The copies without those by which a large part of all sources would be one: of the likest, as many as do not do that.

    What ties hundreds of uploads to one another is no copy: talking heads whose features say no more than that, or the title
    of a series. Kept, it would leave next to nothing to validate on.
    """
    source = {video.video_id: video.source for video in examples.videos}
    here = sorted({examples.videos[video].video_id for video in examples.video.tolist()})
    most = max(LEAST_ALIKE, MOST_ALIKE * len({source[name] for name in here}))
    for threshold in STRICTER:
        kept = [pair for pair in copies if pair["similarity"] >= threshold]
        groups = _grouped(here, kept, source)
        tied: dict[int, set[str]] = {}
        for name, group in groups.items():
            tied.setdefault(group, set()).add(source[name])
        if max(map(len, tied.values()), default=0) <= most:
            return kept
    return ()


def _grouped(names: Sequence[str], copies: Copies, source: Mapping[str, str]) -> dict[str, int]:
    """Video id -> a number, the same for those of one source (where known) and for those that copies tie to one another."""
    root = {name: name for name in names}

    def of(name: str) -> str:
        while root[name] != name:
            root[name] = name = root[root[name]]
        return name

    first: dict[str, str] = {}
    for name in names if source else ():
        root[of(name)] = of(first.setdefault(source[name], name))
    for pair in copies:
        a, b = (pair[end]["video_id"] for end in "ab")
        if a in root and b in root:
            root[of(b)] = of(a)
    number = {name: at for at, name in enumerate(names)}
    return {name: number[of(name)] for name in names}


def _records(examples: Examples, rows: Rows) -> list[Labelled]:
    """One record of each video of these pairs, named as the archive names it."""
    videos = (examples.videos[video] for video in dict.fromkeys(examples.video[rows].tolist()))
    return [Labelled(video.path, "pair", source=video.source) for video in videos]


# --- as the file says -----------------------------------------------------------------------------------------


def _given(examples: Examples) -> npt.NDArray[np.str_]:
    """(N,) `train`, `val` or `test` of each pair."""
    kinds: list[str | None] = []
    for pair in examples.pairs:
        kind = None if pair.split is None else KIND.get(pair.split.casefold())
        if kind is None and pair.split is not None:
            raise UsageError(f"{pair.line}: the split is {pair.split!r}; expected one of {', '.join(KIND)}.")
        kinds.append(kind)
    of_source = {source: kind for source, kind in zip(examples.sources, kinds, strict=True) if kind is not None}
    return np.array([kind or of_source.get(of, "train") for of, kind in zip(examples.sources, kinds, strict=True)])


# --- by source --------------------------------------------------------------------------------------------------


def held_out(examples: Examples, copies: Copies, share: float, seed: int, notes: list[str]) -> npt.NDArray[np.bool_]:
    """(N,) which pairs validate; the module says how few sources are treated. Adds to the notes.

    Raises:
        UsageError: all pairs are of one source.
    """
    records = _records(examples, np.arange(len(examples)))
    sources = {str(record.source) for record in records}
    of_strong = {examples.videos[v].source for v, p in zip(examples.video, examples.pairs, strict=True) if not p.weak}
    counted = of_strong or sources

    def held(wanted: float) -> set[str]:
        parts = split_by_source(records, {"train": 1 - wanted, "val": wanted}, seed, together=copies)
        return {str(record.source) for record in parts["val"]}

    of_val = held(share)
    if len(counted) < FEW or not of_val & counted or of_val == sources:
        of_val = _fewest(held, sources, counted, max(1 if len(counted) < 6 else 2, round(len(counted) * share)))
        notes.append(
            f"{len(of_val & counted)} of only {len(counted)} source videos validate: what is measured on so few is a hint."
        )
    return np.array([source in of_val for source in examples.sources])


def _fewest(held: Callable[[float], set[str]], sources: set[str], counted: set[str], least: int) -> set[str]:
    """The fewest sources with `least` of the counted, or as many as leave some to train: what a share holds grows with it."""
    for wanted in range(least, 0, -1):
        low, high = 0.0, 1 - 2.0**-40
        for _ in range(44):
            middle = (low + high) / 2
            low, high = (low, middle) if len(held(middle) & counted) >= wanted else (middle, high)
        found = held(high)
        if found & counted and found != sources:
            return found
    several = "one upload" if len(sources) == 1 else f"{len(sources)} uploads that show the same footage"
    raise UsageError(
        f"--pairs: all captions are of {several} ({min(sources)}), so nothing can be held out to see whether training\n"
        "helps. Expected captions of two videos that were not cut from one: caption another video, or say by a column\n"
        "`source` which belong together, or by a column `split` (train, val) which validate."
    )
