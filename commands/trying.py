"""`encoders` and `demo`: what there is to try."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import Json, print_json

app = typer.Typer()


@app.command(epilog="Example: nightreel encoders")
def encoders(json: Json = False) -> None:
    """List the encoders: what they see, how large and how costly they are, under which licence, what they need.

    Other names and weights of the same families work too; the figures are of those listed, with their own sampling.
    """
    from ..extract.encoders.registry import ALIASES, families
    from ..report import encoder_rows, encoders_text

    rows = encoder_rows(families().values())
    if json:
        print_json({"encoders": rows, "aliases": ALIASES})
    else:
        typer.echo(encoders_text(rows, ALIASES))


@app.command(epilog="Example: nightreel demo ~/Videos")
def demo(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="Your own videos.", show_default=False)
    ] = None,
    json: Json = False,
) -> None:
    """The whole way, offline, in about a minute: on small films it makes itself, or on FOLDER."""
    from ..demo.tour import run_demo
    from ..report import extract_progress

    with extract_progress() as on_progress:
        result = run_demo(folder, lambda line: typer.echo(line, err=json), on_progress)
    if json:
        print_json(result)
