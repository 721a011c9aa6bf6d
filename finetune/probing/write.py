"""What a probe says of every video of an archive, and the columns that it becomes in the videos table.

    said = predict_videos(store, made)                              every video that has features of all the probe's encoders
    write_column(store, "action", said, given, by="probe:sport")    then: search --where "action = 'skateboarding'"

Three columns beside the user's own metadata: `action` the class, `action_probability` 0 to 1, `action_by` who says so:
`label` for a class that the owner gave (probability 1), `probe:NAME` for a prediction. A given label is never overwritten by
a prediction; other columns, and everything else of a row, stay as they are. All rows go in with one commit.

It does not know whether a prediction is right: a video of none of the classes gets one of them too, so look at the
probability. `extract --metadata` leaves these columns alone unless its table names them too; then they are the owner's.

Costs: one pass over the features (`probe_features.py`) and one new row for each video that changes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...extract.errors import Refused, UsageError
from ...extract.metadata import BY_LABEL as GIVEN
from ...extract.segment import segment_schema
from ...extract.store import Store
from ...extract.videos import VIDEO_SCHEMA, VideoRow
from ...extract.writer import Writer
from ...search.columns import quality_types
from .features import pooled
from .methods import predict
from .stored import Made

DIGITS = 4
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a probe says of one video: its likeliest class and that one's probability."""

    video_id: str
    path: str
    label: str
    probability: float


def predict_videos(store: Store, made: Made) -> list[Prediction]:
    """The likeliest class of every video with features of all encoders of the probe, in the archive's order.

    Raises:
        Refused: there is no such video.
    """
    having = set.intersection(*(set(store.video_ids(slug)) for slug in made.slugs))
    rows = [row for row in store.videos() if row.video_id in having]
    found = [pooled(store, slug, [(row.video_id, None) for row in rows]) for slug in made.slugs]
    seen = [not any(empty[i] for _, empty in found) for i in range(len(rows))]
    if not any(seen):
        raise Refused(f"no video of {store.root} has features of {' and '.join(made.slugs)}; extract some first.")
    said = predict(made.terms, [vectors for vectors, _ in found])
    return [
        Prediction(row.video_id, row.path, made.classes[int(said[i].argmax())], float(said[i].max()))
        for i, row in enumerate(rows)
        if seen[i]
    ]


def columns_of(column: str) -> tuple[str, str, str]:
    """The class, its probability, and who says so."""
    return column, f"{column}_probability", f"{column}_by"


def check_column(store: Store, column: str) -> None:
    """Returns if the column may be written; to be asked before the work begins.

    Raises:
        UsageError: not a name, or one that the archive has for something else.
        Refused: the owner's own metadata has it.
    """
    if not _COLUMN.fullmatch(column):
        raise UsageError(
            f"--write {column!r}: expected letters, digits and '_', beginning with a letter, such as action."
        )
    taken = {*VIDEO_SCHEMA.names, *segment_schema(1, labels=True).names}
    for fingerprint in store.encoders().values():
        taken |= set(quality_types(fingerprint))
    clash = {name.casefold() for name in taken} & {name.casefold() for name in columns_of(column)}
    if clash:
        raise UsageError(
            f"--write {column}: {sorted(clash)[0]!r} is one of the archive's own columns; try my_{column}."
        )
    own = next(
        (row for row in store.videos() if column in row.metadata and columns_of(column)[2] not in row.metadata), None
    )
    if own is not None:
        raise Refused(
            f"--write {column}: your own metadata has a column of that name ({own.path}: {own.metadata[column]!r}), which a\n"
            f"prediction must not replace. Choose another name, such as predicted_{column}."
        )


def write_column(
    store: Store, column: str, said: Sequence[Prediction], given: Mapping[str, str] | None, *, by: str
) -> dict[str, Any]:
    """Write the three columns; videos that the probe says nothing of keep theirs.

    Args:
        given: video id -> its given label; None keeps those that were written as given before.    by: who predicts.

    Returns:
        {"column", "given", "predicted", "changed"}: how many videos.

    Raises:
        UsageError, Refused: as `check_column`.
    """
    check_column(store, column)
    store.refresh()  # as late as can be: another process may have written rows since
    predicted = {one.video_id: one for one in said}
    writer, counts = Writer(store), {"given": 0, "predicted": 0, "changed": 0}
    for row in store.videos():
        label, one = _given(row, column) if given is None else given.get(row.video_id), predicted.get(row.video_id)
        values: tuple[str, float, str]
        if label is not None:
            counts["given"], values = counts["given"] + 1, (label, 1.0, GIVEN)
        elif one is not None:
            counts["predicted"], values = counts["predicted"] + 1, (one.label, round(one.probability, DIGITS), by)
        else:
            continue
        metadata = {**row.metadata, **dict(zip(columns_of(column), values, strict=True))}
        if metadata != dict(row.metadata):
            writer.add(replace(row, metadata=metadata), {})
            counts["changed"] += 1
    writer.commit()
    return {"column": column, **counts}


def _given(row: VideoRow, column: str) -> str | None:
    name, _, by = columns_of(column)
    return str(row.metadata[name]) if row.metadata.get(by) == GIVEN else None
