"""`probe`: classifiers on stored features, measured, saved, and what they say written beside the videos."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .shared import ArchiveDir, Json, print_json
from .splitting import Threshold

if TYPE_CHECKING:
    from ..extract.store import Store

app = typer.Typer()


@app.command(epilog="Example: nightreel probe videos.reel --labels sports.csv --plot confusion.png --write action")
def probe(
    archive: ArchiveDir,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[SPLIT=]FILE",
            help="A .csv, .jsonl or .parquet with columns video and label (and perhaps split, source, start_s, end_s); repeat.",
        ),
    ] = None,
    apply: Annotated[
        str | None, typer.Option(metavar="NAME", help="Instead of training: what this probe says of every video.")
    ] = None,
    write: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Write the classes of all videos into this column, to use in --where."),
    ] = None,
    encoder: Annotated[
        list[str] | None, typer.Option("--encoder", metavar="SPEC", help="Whose features; twice to fuse two encoders.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The files are a benchmark's: kinetics, ucf, ssv2 or list."),
    ] = None,
    classes: Annotated[Path | None, typer.Option(metavar="FILE", help="The benchmark's file of class names.")] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What to save the probe as.")] = "probe",
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw who is taken for whom.")] = None,
    test_share: Annotated[
        float, typer.Option("--test-share", metavar="X", help="The share of sources that only measures.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Another one parts the videos otherwise.")] = 0,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Go on without labelled videos that are not there.")
    ] = False,
    threshold: Threshold = None,
    skip_copies: Annotated[
        bool, typer.Option("--skip-copies", help="Do not look for the same footage in both parts (slow if many hours).")
    ] = False,
    json: Json = False,
) -> None:
    """Train linear and k-NN classifiers on stored features: top-1, top-5 on videos of sources that they never saw.

    Videos are parted by source and copies of footage stay together; a `split` column is kept instead, and a leak between its
    parts is an error. Strength and method are chosen inside of train. With two encoders also late fusion: the average of their
    probabilities, a weighted one, and one classifier on both; `gain` says what the better one brings. Figures stand beside
    chance and the most frequent class.

    The method that did best on held-out rows is saved in DIR/probes/NAME. --write COLUMN stores the classes of all videos, for
    `search --where "COLUMN = 'skateboarding'"`: given labels as they are, else the prediction; COLUMN_probability and COLUMN_by
    (label, probe:NAME) say how sure, and who. After new videos: --apply NAME --write COLUMN.
    """
    from ..extract.errors import UsageError
    from ..extract.store import Store

    if (not labels) == (apply is None):
        got = "both" if labels else "neither"
        raise UsageError(f"got {got}; expected --labels FILE to train a probe, or --apply NAME to use one.")
    store = Store.open(archive)
    if apply is not None:
        if encoder or dataset or classes or plot:
            raise UsageError(
                "--encoder, --dataset, --classes and --plot go with --labels; --apply takes NAME and --write."
            )
        _apply(store, apply, write, json)
        return
    from ..evaluate.runners.options import described
    from ..finetune.probing.labels import read_labels
    from ..finetune.probing.probe import Settings
    from ..finetune.probing.probe import probe as train
    from ..finetune.probing.text import notes_of, probe_text
    from ..index.duplicates import THRESHOLD
    from ..report import printable, say, status

    if skip_copies and threshold is not None:
        raise UsageError("--threshold says what a copy is, --skip-copies that none is looked for; leave one out.")
    limit = None if skip_copies else THRESHOLD if threshold is None else threshold
    read = read_labels(labels or (), dataset, classes)
    settings = Settings(
        tuple(encoder or ()), name, write, plot, seed, test_share, threshold=limit, allow_missing=allow_missing
    )
    with status("probing"):
        result = described("probe", train(store, read, settings), on=archive)
    print_json(result) if json else typer.echo(probe_text(result))
    say([*notes_of(result), *([f"wrote {printable(plot)}"] if plot else [])])


def _apply(store: "Store", name: str, write: str | None, json: bool) -> None:
    from ..evaluate.runners.options import described
    from ..finetune.probing.probe import apply_probe
    from ..finetune.probing.text import predictions_text

    result, said = apply_probe(store, name, write)
    rows = [
        {"video_id": one.video_id, "path": one.path, "label": one.label, "probability": one.probability} for one in said
    ]
    result = described("probe", {**result, "predictions": rows}, on=store.root)
    print_json(result) if json else typer.echo(predictions_text(result))
