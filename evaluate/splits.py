"""Splits by source video, and the check that none of them leaks: a leak is an error, not a footnote.

    splits = split_by_source(dataset.records, {"train": 0.8, "val": 0.1, "test": 0.1})
    check_leaks(splits, duplicates_between(store, slug, splits))      raises Leak, or all is well

Clips of one upload look alike (same room, same people, same camera), so a split by clips measures memory. Three ways to
leak are looked for: a video in two splits; two videos of one source; two videos with the same footage, as
`index/duplicates.py` finds it.

What it does not know: uploads of one channel or one day; sources that neither the annotation file nor the name tells
(the csv of MSR-VTT 1k-A); and what a pre-trained encoder has seen (Kinetics is part of several pre-training sets).

Costs: 7 us a record; `duplicates_between` what `find_duplicates` costs, which grows with the square of the segments.
"""

import bisect
import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..extract.errors import Refused, UsageError
from ..extract.store import Store
from ..index.duplicates import THRESHOLD, find_duplicates
from .records import Labelled, Query, bare_name

Named = Query | Labelled | str  # a record; or a video's id, its path as the archive has it, or its bare name
R = TypeVar("R", bound=Named)
Pair = Mapping[str, Any]  # of `find_duplicates`: {"a": {"video_id", "path", ...}, "b": the same, ...}

SHOWN = 5  # names of each kind in the message

_UCF = re.compile(r"(?P<source>v_[A-Za-z]+_g\d+)_c\d+")
_CUT = re.compile(r"(?P<source>[\w-]{11})_(?P<start>\d+(?:\.\d+)?)_(?P<end>\d+(?:\.\d+)?)", re.ASCII)
_ACTIVITYNET = re.compile(r"v_(?P<source>[\w-]{11})", re.ASCII)


@dataclass(frozen=True)
class Leaks:
    """What splits share. Attributes:
    videos: video -> the splits that have it.
    sources: source -> split -> its videos there, where it takes two different videos to see it.
    footage: pairs as `find_duplicates` gives them.
    """

    videos: dict[str, list[str]]
    sources: dict[str, dict[str, list[str]]]
    footage: list[Pair]

    def __bool__(self) -> bool:
        return bool(self.videos or self.sources or self.footage)

    def told(self) -> dict[str, Any]:
        """As plain values, for JSON."""
        return {"videos": self.videos, "sources": self.sources, "footage": self.footage}


class Leak(Refused):
    """Two splits share a video, a source or footage: what is measured on one was learned from the other."""

    def __init__(self, message: str, leaks: Leaks) -> None:
        super().__init__(message)
        self.leaks = leaks


def source_of(video: Named) -> str:
    """The upload that a video was cut from: what its record says, else what its name says, else what it is called.

        NUsG9BgSes0_210.0_360.0             NUsG9BgSes0         QVHighlights, MSVD: an id of 11 characters, start, end
        ---QUuC4vJs_000084_000094           ---QUuC4vJs         Kinetics
        v_QOlSCBRmfWY                       QOlSCBRmfWY         ActivityNet
        v_ApplyEyeMakeup_g08_c01            v_ApplyEyeMakeup_g08     UCF101, whose groups are one recording each

    The first three give one upload the same source in different benchmarks. Names are compared to the letter.
    """
    if not isinstance(video, str):
        return video.source or source_of(video.video)
    name = bare_name(video)
    for rule in (_UCF, _CUT, _ACTIVITYNET):
        found = rule.fullmatch(name)
        if found and (rule is not _CUT or float(found["start"]) < float(found["end"])):
            return found["source"]
    return video


def _name(video: Named) -> str:
    return video if isinstance(video, str) else video.video


def _names_of(side: Mapping[str, Any]) -> set[str]:
    """What a record may call one video of a pair."""
    return {side["video_id"], side["path"], bare_name(side["path"])}


# --- making splits --------------------------------------------------------------------------------------------


def split_by_source(
    records: Iterable[R], shares: Mapping[str, float], seed: int = 0, together: Iterable[Pair] = ()
) -> dict[str, list[R]]:
    """The records in parts of about these shares, all of one source in one part.

    A source's part is a hash of its name: no other video has a say in it, so an archive that grows keeps its splits, and
    every machine finds the same. Shares are met on average over sources, not exactly. With `together`, sources that share
    footage go as one, by the hash of one of them, drawn by another hash (by the least, large groups would crowd into the
    first part); then a new copy can move the sources that it joins.

    Args:
        shares: part -> share, above 0, together 1; their order counts.    seed: another one gives other splits.
        together: pairs as `find_duplicates` gives them.

    Raises:
        UsageError: the shares are not shares.
    """
    if any(not 0 < share <= 1 for share in shares.values()) or not math.isclose(sum(shares.values()), 1, abs_tol=1e-6):
        told = ", ".join(f"{name} {share:g}" for name, share in shares.items()) or "none"
        raise UsageError(f"shares of the splits: got {told}; expected numbers above 0 that add up to 1.")
    every = list(records)
    number = source_numbers(every, seed, together)
    names, ends = list(shares), list(itertools.accumulate(shares.values()))
    parts: dict[str, list[R]] = {name: [] for name in names}
    for record in every:
        part = bisect.bisect_right(ends, number[source_of(record)])
        parts[names[min(part, len(names) - 1)]].append(record)  # the last end may fall short of 1 by rounding
    return parts


def source_numbers(records: Sequence[Named], seed: int, together: Iterable[Pair] = ()) -> dict[str, float]:
    """Source -> a number in [0, 1): its hash, or that of one of the sources that it shares footage with. What `split_by_source`
    splits by: a part has the sources from the sum of the shares before it up to its own."""
    source_named = {_name(record): source_of(record) for record in records}
    number = {source: _unit_hash(f"{seed}:{source}") for source in map(source_of, records)}
    parent = {source: source for source in number}

    def root(source: str) -> str:
        while parent[source] != source:
            parent[source] = source = parent[parent[source]]
        return source

    def drawn(source: str) -> tuple[float, str]:
        return _unit_hash(f"{seed}:together:{source}"), source

    for pair in together:
        names = _names_of(pair["a"]) | _names_of(pair["b"])
        roots = sorted({root(source_named[name]) for name in names & source_named.keys()}, key=drawn)
        for other in roots[1:]:
            parent[other] = roots[0]
    return {source: number[root(source)] for source in number}


def _unit_hash(text: str) -> float:
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / (1 << 53)


# --- checking them --------------------------------------------------------------------------------------------


def check_leaks(splits: Mapping[str, Iterable[Named]], pairs: Iterable[Pair] = ()) -> None:
    """Returns if no two splits share a video, a source, or footage.

    Args:
        splits: name -> records, or names or paths of videos.
        pairs: as `find_duplicates` gives them; those within a split, or of videos in none, do not matter.

    Raises:
        Leak: they do; it names the videos (all of them in `leaks`) and what to do.
    """
    held = {name: list(records) for name, records in splits.items()}
    leaks = Leaks(_shared_videos(held), _shared_sources(held), pairs_between(held, pairs))
    if leaks:
        raise Leak(
            f"the splits {', '.join(held)} leak:\n" + "\n".join(f"  {line}" for line in _lines(leaks)) + "\n"
            "Expected all videos of one source, and all copies of one footage, in one split. Move or remove these, or make\n"
            "splits without leaks: nightreel evaluate make-splits (split_by_source, for records)."
            + ("\nWhere footage only looks alike, raise what counts as the same: --threshold" if leaks.footage else ""),
            leaks,
        )


def _shared_videos(held: Mapping[str, list[Named]]) -> dict[str, list[str]]:
    splits_of: dict[str, dict[str, None]] = {}
    for split, records in held.items():
        for record in records:
            splits_of.setdefault(_name(record), {})[split] = None
    return {video: list(splits) for video, splits in splits_of.items() if len(splits) > 1}


def _shared_sources(held: Mapping[str, list[Named]]) -> dict[str, dict[str, list[str]]]:
    videos_of: dict[str, dict[str, dict[str, None]]] = {}
    for split, records in held.items():
        for record in records:
            videos_of.setdefault(source_of(record), {}).setdefault(split, {})[_name(record)] = None
    return {
        source: {split: list(videos) for split, videos in found.items()}
        for source, found in videos_of.items()
        if len(found) > 1 and len(set().union(*found.values())) > 1
    }


def _lines(leaks: Leaks) -> list[str]:
    """What leaks, in words: `SHOWN` names of each kind."""
    by_splits: dict[tuple[str, str], list[str]] = {}
    for video, splits in leaks.videos.items():
        by_splits.setdefault(("in", " and ".join(splits)), []).append(video)
    for source, found in leaks.sources.items():
        first = ", ".join(f"{' and '.join(videos[:2])} in {split}" for split, videos in found.items())
        by_splits.setdefault(("from sources in", " and ".join(found)), []).append(f"{source} ({first})")
    lines = [_told(" ".join(where), names) for where, names in by_splits.items()]
    for pair in leaks.footage[:SHOWN]:
        a, b = (f"{end['path']} [{end['start_s']:g}, {end['end_s']:g}) s" for end in (pair["a"], pair["b"]))
        lines.append(f"the same footage: {a} and {b}, similarity {pair['similarity']:.2f}")
    more = len(leaks.footage) - SHOWN
    return [*lines, f"and {more} more pairs with the same footage"] if more > 0 else lines


def _told(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"


# --- copies of footage ----------------------------------------------------------------------------------------


def pairs_between(splits: Mapping[str, Iterable[Named]], pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs of which one video is in one split and the other in another, in the order given."""
    splits_of: dict[str, set[str]] = {}
    for split, records in splits.items():
        for record in records:
            splits_of.setdefault(_name(record), set()).add(split)

    def of(side: Mapping[str, Any]) -> set[str]:
        return set().union(*(splits_of.get(name, ()) for name in _names_of(side)))

    found = ((pair, of(pair["a"]), of(pair["b"])) for pair in pairs)
    return [pair for pair, a, b in found if a and b and len(a | b) > 1]


def duplicates_between(
    store: Store, slug: str, splits: Mapping[str, Iterable[Named]], threshold: float = THRESHOLD
) -> list[Pair]:
    """Near-duplicate footage between the splits, by an encoder's stored features; see `find_duplicates`.

    Of a film with many copies in two splits not every pair may be found, but one is: look again after a remedy.

    Raises:
        Refused: the archive has no features of some of the videos, which would go unchecked.
    """
    held = {name: list(records) for name, records in splits.items()}
    seen = set(store.video_ids(slug))
    known = {
        name for row in store.videos() if row.video_id in seen for name in (row.video_id, row.path, bare_name(row.path))
    }
    missing = [
        name for name in dict.fromkeys(_name(r) for records in held.values() for r in records) if name not in known
    ]
    if missing:
        raise Refused(
            f"{_told('videos of the splits have no features', missing)}.\n"
            f"Expected all of them in the archive, with features of {slug}, or they go unchecked.\n"
            "Extract them, or leave them out. Of exact copies the archive has one: keep the one whose path it names."
        )
    return pairs_between(held, find_duplicates(store, slug, threshold))
