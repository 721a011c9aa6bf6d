"""From entries to a dataset: the last step of every reader, where nothing goes missing unseen."""

from pathlib import Path
from typing import Any

from ..records import Dataset, Labelled, Query, Source
from .files import Notes, bad

NO_TEXT = "entries left out: the sentence is blank"
REPEATED = "entries left out: the video stands above with the same class"
CONTRADICTED = "entries left out: the video stands above with another class"


def told(query_id: str, text: str, video: str, where: str, notes: Notes, **facts: Any) -> list[Query]:
    """The query in a list, or an empty list where its text is blank, which is noted."""
    if not text.strip():
        notes.add(NO_TEXT, where)
        return []
    return [Query(query_id, text.strip(), video, **facts)]


def finished(name: str, path: Path, queries: list[Query], entries: int, notes: Notes) -> Dataset:
    """The dataset of one file of sentences.

    Raises:
        UsageError: no query is left, or two have one id.
    """
    if not queries:
        bad(path, "", f"no query ({_left_out(notes)})", "an annotation file with sentences")
    seen: set[str] = set()
    for query in queries:
        if query.query_id in seen:
            bad(path, "", f"the query id {query.query_id} twice", "each id once", "Is one file joined to another?")
        seen.add(query.query_id)
    return Dataset(name, tuple(queries), sources=(Source(path.name, entries, notes.taken()),))


def labelled(
    name: str, path: Path, found: list[tuple[str, Labelled]], notes: Notes, classes: tuple[str, ...] = ()
) -> Dataset:
    """The dataset of one file of (where, label); a video counts once, by its first class.

    Raises:
        UsageError: no label, or one that is not among the classes where these are known.
    """
    if not found:
        bad(path, "", f"no label ({_left_out(notes)})", "a list of videos and their classes")
    known, kept = set(classes), dict[str, Labelled]()
    for where, record in found:
        if classes and record.label not in known:
            bad(path, where, record.label, f"one of the {len(classes)} classes, such as {classes[0]!r}")
        before = kept.setdefault(record.video, record)
        if before is not record:
            notes.add(REPEATED if before.label == record.label else CONTRADICTED, where)
    source = Source(path.name, len(found), notes.taken())
    return Dataset(name, labelled=tuple(kept.values()), sources=(source,), classes=classes)


def _left_out(notes: Notes) -> str:
    return "; ".join(map(str, notes.taken())) or "nothing in it"
