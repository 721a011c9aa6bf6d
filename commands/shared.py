"""What several commands share: their common options, and how a result is printed."""

from pathlib import Path
from typing import Annotated, Any

import typer

ArchiveDir = Annotated[Path, typer.Argument(metavar="DIR", help="The archive folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
EncoderOption = Annotated[
    str | None, typer.Option("--encoder", metavar="SPEC", help="Which features, if the archive has several kinds.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:0.")]


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    from ..extract.files import json_text

    typer.echo(json_text(value))
