"""Which labelled videos train a probe, which choose its settings and which measure it: never one source in two of these.

    parts = make_parts(store, slug, records)      train and test by source video, copies of footage together; or as the file
    says parts.folds                                   (fit, held): what settings are chosen on, inside of train

Where the labels have a split, it is kept, and it is checked that train, validation and test share no video, upload or footage
(`Leak`). Without a test part, `val` measures, as for Kinetics. Where they have none, a source goes to test by the hash of its
name. Settings are chosen on `val` where there is one; else on five folds of train by source, so that each trained video is
once held out; of more than `MANY` only on the first, as five fits of many cost more than they tell.

It does not know features or classes. Costs what `find_duplicates` costs, which grows with the square of the archive's
segments: `threshold=None` leaves that out, and says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...evaluate.records import Labelled
from ...evaluate.splits import check_leaks, duplicates_between, source_of, split_by_source
from ...extract.errors import Refused, UsageError
from ...extract.store import Store
from ...index.duplicates import THRESHOLD, find_duplicates
from .linear import Whole

FOLDS, MANY = 5, 2000
SHARES = {"train": 0.8, "test": 0.2}
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validate", "validation", "dev"),
    "test": ("test", "testing"),
}
KIND = {name: kind for kind, names in NAMES.items() for name in names}


@dataclass(frozen=True)
class Parts:
    """Rows of the examples.

    Attributes:
        train, test: (N,) rows.    folds: (rows to fit, rows held out), all of them of `train`.
        given: whether the labels said so.    footage: pairs of copies that were found, None where it was not looked for.
        notes: what whoever reads the figures must know.
    """

    train: Whole
    test: Whole
    folds: tuple[tuple[Whole, Whole], ...]
    given: bool
    footage: int | None
    notes: tuple[str, ...] = ()

    @property
    def held(self) -> Whole:
        """The rows that are held out in some fold, in the order of the folds."""
        return np.concatenate([held for _, held in self.folds])


def make_parts(
    store: Store,
    slug: str,
    records: Sequence[Labelled],
    *,
    seed: int = 0,
    shares: Mapping[str, float] = SHARES,
    threshold: float | None = THRESHOLD,
) -> Parts:
    """Parts of the records (several of one video go together), each video by a name that the archive has for it.

    Args:
        slug: of the features that footage is compared by.    seed, shares: where the labels have no split.
        threshold: how alike footage is that counts as the same; None compares none.

    Raises:
        Leak: the given splits share something.
        UsageError: some records have a split and some none, a split of another name, or a part stays empty.
    """
    splits = {record.split for record in records}
    if None in splits and len(splits) > 1:
        first = next(record.video for record in records if record.split is None)
        raise UsageError(f"--labels: some rows have a split, {first} has none; expected all or none. Give it one.")
    if splits == {None}:
        return _by_source(store, slug, records, seed, shares, threshold)
    return _given(store, slug, records, seed, threshold)


def _by_source(
    store: Store,
    slug: str,
    records: Sequence[Labelled],
    seed: int,
    shares: Mapping[str, float],
    threshold: float | None,
) -> Parts:
    copies = [] if threshold is None else find_duplicates(store, slug, threshold)
    rows = _rows(records)
    parts = split_by_source(_videos(records), shares, seed, together=copies)
    train, test = (_rows_of(parts[name], rows) for name in ("train", "test"))
    for name, of in (("train", train), ("test", test)):
        if not len(of):
            joined = (
                f"{len(copies)} pairs of spans show the same footage, and what shares footage goes as one.\n"
                "Where it only looks alike, raise what counts as the same (--threshold), or do without: --skip-copies.\n"
            )
            raise UsageError(
                f"{name} got none of {len(rows)} labelled videos of {len(set(map(source_of, records)))} sources.\n"
                f"{joined if copies else ''}"
                "A source goes to a part by its hash, so shares are met on many: label more videos, or try --seed."
            )
    return Parts(train, test, _folds(records, train, seed, copies), False, None if threshold is None else len(copies))


def _given(store: Store, slug: str, records: Sequence[Labelled], seed: int, threshold: float | None) -> Parts:
    parts: dict[str, list[Labelled]] = {}
    for record in records:
        kind = KIND.get(str(record.split).casefold())
        if kind is None:
            known = ", ".join(KIND)
            raise UsageError(f"--labels: {record.video} is of split {record.split!r}; expected one of {known}.")
        parts.setdefault(kind, []).append(record)
    check_leaks(parts, () if threshold is None else duplicates_between(store, slug, parts, threshold))
    notes = []
    if "test" not in parts and "val" in parts:
        parts["test"] = parts.pop("val")
        notes.append(
            "The labels have no test split: the validation split measures, and settings are chosen inside train."
        )
    if not {"train", "test"} <= parts.keys():
        raise UsageError(
            f"--labels: got the splits {', '.join(parts)}; expected train and test (or val) and perhaps both.\n"
            "Give the other file too, as in --labels train=FILE --labels test=FILE, or leave the splits out."
        )
    rows = _rows(records)
    train, test = _rows_of(parts["train"], rows), _rows_of(parts["test"], rows)
    if "val" not in parts:
        return Parts(
            train, test, _folds(records, train, seed, ()), True, None if threshold is None else 0, tuple(notes)
        )
    held = _rows_of(parts["val"], rows)
    return Parts(np.union1d(train, held), test, ((train, held),), True, None if threshold is None else 0)


def _folds(
    records: Sequence[Labelled], train: Whole, seed: int, copies: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Whole, Whole], ...]:
    """Train parted by source, each part held out once.

    Raises:
        Refused: there is one source only.
    """
    of_train = [records[i] for i in train]
    rows = _rows(records)
    names = [str(i) for i in range(FOLDS)]
    # Another seed than that of train and test, or the hashes of train would all fall into the first folds.
    parts = split_by_source(_videos(of_train), dict.fromkeys(names, 1 / FOLDS), seed + 1_000_003, together=copies)
    held = [np.intersect1d(_rows_of(part, rows), train) for part in parts.values()]
    held = [of for of in held if 0 < len(of) < len(train)]
    if not held:
        raise Refused(
            f"the {len(train)} trained examples are of one source, or all show the same footage: nothing can be held out to\n"
            "choose settings on. Expected two sources or more; label more videos, or name splits with a `val`."
        )
    return tuple((np.setdiff1d(train, of), of) for of in held[: FOLDS if len(train) <= MANY else 1])


def _rows(records: Sequence[Labelled]) -> dict[str, list[int]]:
    """Video -> rows of the records."""
    out: dict[str, list[int]] = {}
    for row, record in enumerate(records):
        out.setdefault(record.video, []).append(row)
    return out


def _videos(records: Sequence[Labelled]) -> list[Labelled]:
    """The first record of each video."""
    return list({record.video: record for record in reversed(records)}.values())[::-1]


def _rows_of(records: Sequence[Labelled], rows: Mapping[str, Sequence[int]]) -> Whole:
    videos = dict.fromkeys(record.video for record in records)
    return np.array(sorted(row for video in videos for row in rows[video]), np.int64)
