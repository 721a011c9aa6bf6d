"""`nightreel probe`: classifiers on the stored features of an archive, measured on videos of other sources than they learned
from.

    result = probe(store, read_labels(["labels.csv"]))           trains, measures, saves `probes/probe/`
    result, said = apply_probe(store, "probe")                   what it says of every video, also later ones

Order: names are matched with videos, vectors pooled, parts made and checked for leaks, methods fitted, one chosen on held-out
rows of train, all of them measured on test. Nothing is chosen on test, so its figures and intervals (bootstrap over sources)
stand. What is saved is what was measured: fitted on train, not on test.

It does not know whether the labels are right, and a probe only says what the features hold, not what a better encoder would.

Costs: reading 2 D bytes a segment, `find_duplicates`, then the fits (`probe_methods.py`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...extract.errors import UsageError
from ...extract.metadata import BY_PROBE
from ...extract.store import Store
from ...index.duplicates import THRESHOLD
from ...search.picture.drawing import picture_format
from .labels import LabelFile
from .methods import all_methods, best
from .parts import SHARES
from .picture import draw_confusion
from .report import confusion, report
from .stored import folder_of, read_probe, save_probe
from .work import make_work
from .write import Prediction, check_column, predict_videos, write_column


@dataclass(frozen=True)
class Settings:
    """Attributes:
    encoders: specs or slugs, none to two; none takes the archive's for footage.
    name: of the probe.    write: the column that predictions go to, or None.
    plot: where the confusion picture goes, or None.
    seed, test_share: of the parts, where the labels have no split.    threshold: of copies, see `make_parts`.
    allow_missing: go on where labelled videos are not in the archive.
    """

    encoders: tuple[str, ...] = ()
    name: str = "probe"
    write: str | None = None
    plot: Path | None = None
    seed: int = 0
    test_share: float = SHARES["test"]
    threshold: float | None = THRESHOLD
    allow_missing: bool = False


def probe(store: Store, read: LabelFile, settings: Settings = Settings()) -> dict[str, Any]:
    """Train, measure and save a probe; see the README for the keys of the result.

    Raises:
        Leak: given splits share a video, an upload or footage.
        Refused: labelled videos are missing, and that was not allowed.
        UsageError: options, labels or parts that cannot be used.
    """
    _check(store, settings)
    shares = {"train": 1 - settings.test_share, "test": settings.test_share}
    work, bad = make_work(
        store,
        read.examples,
        settings.encoders,
        seed=settings.seed,
        shares=shares,
        threshold=settings.threshold,
        allow_missing=settings.allow_missing,
    )
    methods = all_methods(work.streams, work.labels, work.trained, work.parts)
    chosen = best(methods)
    result = report(methods, chosen, work)
    result["bad_rows"] = [str(row) for row in (*read.bad, *bad)]
    result["notes"] = [*read.notes, *work.parts.notes, *result["notes"]]
    measured = {key: result[key] for key in ("parts", "baselines", "metrics", "intervals")}
    slugs = [stream.slug for stream in work.streams]
    result["saved"] = str(save_probe(store, settings.name, work.classes[: work.trained], slugs, chosen, measured))
    result["wrote"] = None
    if settings.plot is not None:
        draw_confusion(
            settings.plot,
            confusion(chosen, work),
            work.classes,
            f"{chosen.name}, {result['parts']['test']['examples']} test examples",
        )
    if settings.write is not None:
        pairs = zip(work.video_ids, work.examples, strict=True)
        given = {video_id: one.record.label for video_id, one in pairs if one.span is None}
        said = predict_videos(store, read_probe(store, settings.name))
        result["wrote"] = write_column(store, settings.write, said, given, by=f"{BY_PROBE}{settings.name}")
    return result


def _check(store: Store, settings: Settings) -> None:
    """What can be known to fail before the work begins."""
    if not 0 < settings.test_share < 1:
        raise UsageError(f"--test-share {settings.test_share:g}: expected a share between 0 and 1, such as 0.2.")
    folder_of(store, settings.name)
    if settings.plot is not None:
        picture_format(settings.plot)
    if settings.write is not None:
        check_column(store, settings.write)


def apply_probe(store: Store, name: str, write: str | None = None) -> tuple[dict[str, Any], list[Prediction]]:
    """What a saved probe says of every video; with `write`, in the videos table too, given labels left as they are.

    Raises:
        UsageError, Refused: no such probe, other features, no video, or a column that cannot be written.
    """
    if write is not None:
        check_column(store, write)
    made = read_probe(store, name)
    said = predict_videos(store, made)
    wrote = None if write is None else write_column(store, write, said, None, by=f"{BY_PROBE}{name}")
    return {"probe": name, "encoders": made.slugs, "method": made.facts["method"], "wrote": wrote}, said
