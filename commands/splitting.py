"""`evaluate splits`, `evaluate make-splits`: a leak between splits is an error, not a footnote."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import EncoderOption, Json, print_json

app = typer.Typer()

Threshold = Annotated[
    float | None, typer.Option(metavar="X", help="How alike footage must be to count as the same, up to 1.")
]


@app.command(epilog="Example: nightreel evaluate splits --archive a.reel --split train=train.txt --split test=test.csv")
def splits(
    split: Annotated[
        list[str],
        typer.Option(metavar="NAME=FILE", help="A list of videos, one a line, or a csv with a column `video`; repeat."),
    ],
    archive: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The archive with the videos, to compare their footage.")
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave the footage of videos unchecked that are not there.")
    ] = False,
    encoder: EncoderOption = None,
    threshold: Threshold = None,
    json: Json = False,
) -> None:
    """Check that no two splits share a video, an upload, or footage; if they do, name the videos and exit 4.

    Footage also counts as shared if it is encoded anew, scaled, cut or moved in time. Without --archive only names are
    compared, and the uploads that they tell (QVHighlights, Kinetics, MSVD, ActivityNet, UCF101).
    """
    from ..evaluate.runners.splits import check_lists, named
    from ..evaluate.runners.tables import splits_notes, splits_text
    from ..evaluate.splits import Leak
    from ..extract.errors import UsageError
    from ..extract.store import Store
    from ..index.duplicates import THRESHOLD
    from ..report import say, status

    files = {
        name: Path(file) for name, file in named("--split", split, "train=train.txt --split test=test.txt").items()
    }
    if archive is None and (encoder is not None or threshold is not None or allow_missing):
        raise UsageError("--encoder, --threshold and --allow-missing go with --archive; name it, or leave them out.")
    limit = THRESHOLD if threshold is None else threshold
    try:
        with status("comparing"):
            store = None if archive is None else Store.open(archive)
            result = check_lists(files, store, encoder=encoder, threshold=limit, allow_missing=allow_missing)
    except Leak as leak:
        if json:
            print_json({"task": "splits", "leaks": leak.leaks.told()})
        raise
    print_json({"task": "splits", **result, "leaks": None}) if json else typer.echo(splits_text(result))
    say(splits_notes(result))


@app.command(
    "make-splits",
    epilog="Example: nightreel evaluate make-splits --archive a.reel --out lists --part train=0.8 --part test=0.2",
)
def make_splits(
    archive: Annotated[Path, typer.Option(metavar="DIR", help="The archive with the videos.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where NAME.txt of each part goes.")],
    part: Annotated[
        list[str], typer.Option(metavar="NAME=SHARE", help="A part and its share of the sources; together 1; repeat.")
    ],
    seed: Annotated[int, typer.Option(help="Another one makes other splits.")] = 0,
    encoder: EncoderOption = None,
    threshold: Threshold = None,
    json: Json = False,
) -> None:
    """Part an archive's videos so that no upload and no footage stands in two parts; the same each time.

    A part is chosen by a hash of the upload's name, so shares are met on average, and an archive that grows keeps its
    splits (but for new copies of what it has).
    """
    from ..evaluate.runners.splits import make_lists, shares_of
    from ..evaluate.runners.tables import splits_notes, splits_text
    from ..extract.store import Store
    from ..index.duplicates import THRESHOLD
    from ..report import say, status

    shares = shares_of(part)
    limit = THRESHOLD if threshold is None else threshold
    with status("comparing"):
        result = make_lists(Store.open(archive), shares, out, seed=seed, encoder=encoder, threshold=limit)
    print_json({"task": "make-splits", "seed": seed, **result}) if json else typer.echo(splits_text(result))
    say(splits_notes(result))
