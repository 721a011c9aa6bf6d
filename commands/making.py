"""`extract` and `index`: what runs at night."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import ArchiveDir, Device, EncoderOption, Json, print_json

app = typer.Typer()


@app.command(epilog="Example: nightreel extract ~/Videos --archive videos.reel --encoder conse")
def extract(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="Files, folders, globs, or a .txt/.csv/.parquet list.", show_default=False
        ),
    ],
    archive: Annotated[Path, typer.Option(metavar="DIR", help="The archive to make or to add to.", show_default=False)],
    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC", help="Encoder, repeatable; see `nightreel encoders`. [default: clip and videomae]"
        ),
    ] = None,
    fps: Annotated[float, typer.Option(help="Samples per second of video, for encoders of single frames.")] = 1.0,
    clip_length: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds that a clip covers. [default: the encoder's]")
    ] = None,
    stride: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds between a clip's frames. [default: the encoder's]")
    ] = None,
    hop: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds from clip to clip. [default: the clip length; of flow, 4]"),
    ] = None,
    labels: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, help="Store the N likeliest classes of each clip, where there is a classifier."
        ),
    ] = 0,
    decode: Annotated[str, typer.Option(help="exact, reference or keyframe: which frame stands for a time.")] = "exact",
    decode_all: Annotated[
        bool, typer.Option("--decode-all", help="Decode every frame, not only what samples need: same result, slower.")
    ] = False,
    skip_still: Annotated[
        bool, typer.Option("--skip-still", help="Reuse the embedding where the picture stands still.")
    ] = False,
    workers: Annotated[str, typer.Option(metavar="N", help="Decoding processes, or auto: one per core.")] = "auto",
    device: Device = "auto",
    batch: Annotated[str, typer.Option(help="Frames per encoder call, or auto.")] = "auto",
    deadline: Annotated[
        float,
        typer.Option(metavar="X", help="Give a video up after X seconds of work per second of it (and 2 minutes)."),
    ] = 10.0,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Do only part I of N of the videos.")] = "1/1",
    metadata: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV or Parquet with a column `path` and your own columns.")
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed and partial videos again.")] = False,
    json: Json = False,
) -> None:
    """Sample frames and clips of videos, embed them, write them to an archive.

    A video that is in the archive already is skipped, so the same command resumes a run that was stopped.
    Ctrl-C finishes the videos under way; a second Ctrl-C stops at once. What a run did is kept in DIR/runs.
    Exit 3: finished, but some videos failed (see `nightreel failures`).
    """
    from ..extract import run
    from ..extract.clips import ClipWish
    from ..extract.options import parse_plan, parse_settings
    from ..report import extract_progress, print_extract_report, say_stopping

    plan = parse_plan(fps, decode, batch, decode_all, skip_still, ClipWish(clip_length, stride, hop), labels)
    settings = parse_settings(plan, device, workers, deadline, shard, metadata, retry_failed, say_stopping)
    try:
        with extract_progress() as on_progress:
            report = run.extract(inputs, archive, encoder or run.DEFAULT_ENCODERS, settings, on_progress)
    except KeyboardInterrupt:
        typer.echo("Stopped. What was finished is kept; the same command goes on from there.", err=True)
        raise typer.Exit(1) from None
    print_json(report.as_json()) if json else print_extract_report(report, archive)
    if report.failures:
        raise typer.Exit(3)


@app.command(epilog="Example: nightreel index videos.reel --memory 2GB --recall 0.98")
def index(
    archive: ArchiveDir,
    encoder: EncoderOption = None,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Use this trained head from now on (see `nightreel finetune`); `none` for none of them.",
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="What the index may take, for example 500MB. [default: as before, else 4GB]"),
    ] = None,
    recall: Annotated[
        float | None,
        typer.Option(metavar="X", help="Which share of the ten best it must find. [default: as before, else 0.95]"),
    ] = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Bring the index that `search` needs up to date with the archive: of every encoder, or of the one named.

    Only what is new is added, so run it after each `extract`; removed videos are never found, also without it. Small
    archives are searched exactly; beyond 100 000 vectors the most exact kind that fits into --memory is chosen, tuned to
    --recall on queries that are not in it, and what it finds and how fast it is are measured. Another --memory or --recall
    builds it anew. Odd sentences ("a tench and a space bar") are embedded once, to know what a query finds by chance; that
    needs the encoder's weights.

    With --head the features go through a head or adapter that `finetune` trained; `search`, `ground` and `evaluate` then use
    these instead of its encoder's, and later runs of `index` keep them up to date. `nightreel remove --head` forgets a head.
    """
    from ..extract.errors import UsageError
    from ..index.build import Settings
    from ..report import index_json, index_line, index_progress
    from ..search.archive import Archive

    if head is not None and encoder is not None:
        raise UsageError("--head NAME says which features already; leave --encoder out.")
    with index_progress() as on_progress:
        ours = Archive(archive, encoder, device)
        settings = Settings(memory, recall, device)
        built = (
            ours.build_indexes(settings, on_progress) if head is None else ours.use_head(head, settings, on_progress)
        )
    if json:
        shown = [index_json(result) for result in built]
        print_json(shown[0] if len(shown) == 1 else {"indexes": shown})
    else:
        for result in built:
            typer.echo(index_line(result))
