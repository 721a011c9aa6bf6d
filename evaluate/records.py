"""What a benchmark's annotation file says, whatever its format: sentences of videos, or labels of videos.

    Dataset("charades", sources=(Source("charades_sta_test.txt", 3720, notes),))
    ├── Query("3MSZA#0", "a person turns a light on", "3MSZA", spans=((24.3, 30.4),), duration_s=30.96)
    └── Labelled("-3B32lodo2M_000059_000069", "abseiling", split="val")     a classification set has these instead

A query without spans is one of retrieval: the whole video is its answer. `video` is the name that the benchmark gives,
without folder and suffix, so it is what a file's stem is compared with. What a reader left out or corrected stands in
`sources`: a number that rests on fewer queries than the paper's says so. Knows nothing of formats, archives and files.

Costs 7 us a record.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..extract.errors import UsageError
from ..extract.inputs import SUFFIXES

Span = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Query:
    """One sentence (or paragraph) and the video that it describes.

    Attributes:
        query_id: unique within its dataset.
        text: what is asked, not blank.
        video: the video's name in the dataset, without folder and suffix.
        spans: all moments that answer, half-open `(start_s, end_s)` seconds; empty where the whole video answers.
        duration_s: of the video where the file says it, else None.
        split: `train`, `val`, `test` or what the file calls it; None where it does not say.
        source: the upload that the video was cut from where the file says it; else `splits.source_of` goes by the name.
    """

    query_id: str
    text: str
    video: str
    spans: tuple[Span, ...] = ()
    duration_s: float | None = None
    split: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("query_id", self.query_id), ("text", self.text), ("video", self.video)):
            if not value.strip():
                raise ValueError(f"{name} of a query is blank: {self}")
        duration_s = math.inf if self.duration_s is None else self.duration_s
        if self.duration_s is not None and not 0 < duration_s < math.inf:
            raise ValueError(f"{self.duration_s = } of query {self.query_id!r}; expected seconds above 0, or None")
        for start_s, end_s in self.spans:
            if not 0 <= start_s < end_s <= duration_s or end_s == math.inf:
                raise ValueError(
                    f"span [{start_s}, {end_s}) of query {self.query_id!r}; expected 0 <= start_s < end_s <= {duration_s}"
                )


@dataclass(frozen=True, slots=True)
class Labelled:
    """One video and its class.

    Attributes:
        video: the video's name in the dataset, without folder and suffix.
        label: the class's name, or its number as text where only numbers are known.
        split, source: as of `Query`.
    """

    video: str
    label: str
    split: str | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if not self.video.strip() or not self.label.strip():
            raise ValueError(f"video and label must not be blank: {self}")


Record = Query | Labelled


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader left out or corrected: in words, how often, and where for the first time."""

    what: str
    count: int
    first: str

    def __str__(self) -> str:
        return f"{self.count} {self.what} (first: {self.first})"


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was read: its name, how many entries (lines, sentences) it has, and what was not taken as it stands."""

    file: str
    entries: int
    notes: tuple[Note, ...] = ()

    def __str__(self) -> str:
        return "; ".join([f"{self.file}: {self.entries} entries", *map(str, self.notes)])


@dataclass(frozen=True, slots=True)
class Dataset:
    """The records of one benchmark: queries or labels, never both, in the files' order.

    Attributes:
        classes: the class names in the order of their numbers, where the files say it.
    """

    name: str
    queries: tuple[Query, ...] = ()
    labelled: tuple[Labelled, ...] = ()
    sources: tuple[Source, ...] = ()
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.queries) == bool(self.labelled):
            raise ValueError(
                f"{self.name}: {len(self.queries)} queries and {len(self.labelled)} labels; expected one kind of record"
            )
        if len({query.query_id for query in self.queries}) < len(self.queries):
            raise ValueError(f"{self.name}: query ids are not unique")
        if self.classes:
            known = set(self.classes)
            if len(known) < len(self.classes):
                raise ValueError(f"{self.name}: class names are not unique")
            unknown = next((record.label for record in self.labelled if record.label not in known), None)
            if unknown is not None:
                raise ValueError(f"{self.name}: label {unknown!r} is not among the {len(known)} classes")

    @property
    def records(self) -> tuple[Record, ...]:
        """The queries, or the labels."""
        return self.queries or self.labelled

    @property
    def videos(self) -> list[str]:
        """The videos' names, each once, in the order of the records."""
        return list(dict.fromkeys(record.video for record in self.records))

    @property
    def splits(self) -> list[str]:
        """The names of the splits that records name, sorted."""
        return sorted({record.split for record in self.records if record.split is not None})

    def only(self, split: str) -> "Dataset":
        """The records of one split.

        Raises:
            UsageError: no record is of this split.
        """
        if split not in self.splits:
            known = f"one of {', '.join(self.splits)}" if self.splits else "none: the file names no splits"
            raise UsageError(
                f"split {split!r} of {self.name}: no such split; expected {known}.\n"
                "Where each split is a file of its own, name that file; a list of a split's videos goes with --videos."
            )
        return self._kept(lambda record: record.split == split)

    def of_videos(self, names: Iterable[str]) -> "Dataset":
        """The records of the named videos (a published split is often a list of names).

        Raises:
            UsageError: names without any record, which would go missing unseen.
        """
        wanted, known = dict.fromkeys(map(bare_name, names)), set(self.videos)
        missing = [name for name in wanted if name not in known]
        if missing or not wanted:
            raise UsageError(
                f"{self.name}: got a list of {len(wanted)} videos, {len(missing)} of them without annotations "
                f"({', '.join(missing[:3])}); expected names that the annotation file has, such as {self.videos[0]}."
            )
        return self._kept(lambda record: record.video in wanted)

    def _kept(self, keep: Callable[[Record], bool]) -> "Dataset":
        return replace(
            self,
            queries=tuple(query for query in self.queries if keep(query)),
            labelled=tuple(record for record in self.labelled if keep(record)),
        )


def bare_name(path: str) -> str:
    """`ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi` -> `v_ApplyEyeMakeup_g08_c01`: without folder and video suffix.

    Only suffixes of video files go: `bP5KfdFJzC4_660.0_810.0` has none.
    """
    name = re.split(r"[/\\]", path.strip())[-1]
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and dot + suffix.lower() in SUFFIXES else name
