"""`search` and `ground`: what is asked in the morning."""

import time
from pathlib import Path
from typing import Annotated

import typer

from .shared import ArchiveDir, Device, EncoderOption, Json, print_json

app = typer.Typer()


@app.command(epilog="Example: nightreel search videos.reel 'a dog catches a frisbee' --top 5")
def search(
    archive: ArchiveDir,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="One sentence, or several.", show_default=False)
    ] = None,
    image: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture the footage should look like.")] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="VIDEO@START-END",
            help="Footage of the archive to look like; alone, to move like, if clips were extracted. It is left out itself.",
        ),
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option("--not", metavar="TEXT", help="What it should not show; repeatable.")
    ] = None,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="How many results.")] = 10,
    by: Annotated[str, typer.Option(metavar="moment|video", help="Rank moments, or each video once.")] = "moment",
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR",
            help="Only footage that passes an SQL expression, for example 'motion_px > 40 AND fps >= 50'.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Rank by this column instead, largest first: motion_px, luma, duration_s..."
        ),
    ] = None,
    video: Annotated[str | None, typer.Option(metavar="PATH|ID", help="Search in one video only.")] = None,
    skip: Annotated[int, typer.Option(metavar="N", min=0, help="Leave out the N best: the next page.")] = 0,
    diverse: Annotated[
        float, typer.Option(metavar="X", min=0, max=1, help="How much results that look like better ones fall back.")
    ] = 0.0,
    export: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Cut the results out, as MP4 files.")] = None,
    encoder: EncoderOption = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Find moments by sentence, picture or example, or list footage by what is known of it.

    The encoder of the archive's features is found from the archive. Several sentences, --image and --like are added up; any
    of them and --not may end with a weight, as in 'a dog on a beach^2'. `confidence`, 0 to 1, is the share of odd sentences
    ("a tench and a space bar") whose best video stands out less than this one: it orders results well, but cannot tell
    whether the archive has what you look for.

    --like alone compares clips, so it finds what moves alike, and loads no model; what the example itself shows is left
    out. --where takes columns of the segments (start_s, end_s, time_s, luma, variance, motion_px, labels...) and of the
    videos (path, duration_s, codec, width_px, fps, your --metadata...); all of a hit passes it. Without TEXT, --image or
    --like, the segments that pass are listed. With --sort the score is the column's value.
    """
    from ..report import export_hits, hits_table, say
    from ..search.answer import Question
    from ..search.archive import Archive

    question = Question(text, image, like, without or (), where, sort, top, by, video, skip, diverse)
    opened = Archive(archive, encoder, device)
    opened.load(question)
    began = time.perf_counter()
    answer = opened.ask(question)
    took_ms = round((time.perf_counter() - began) * 1e3, 2)
    say(answer.notes)
    if json:
        from dataclasses import asdict

        hits = [asdict(hit) for hit in answer.hits]
        print_json({"query": str(question), "encoder": answer.encoder, "results": hits, "took_ms": took_ms})
    else:
        typer.echo(hits_table(answer.hits))
    if export is not None:
        export_hits(answer.hits, export)


@app.command(epilog="Example: nightreel ground videos.reel 'the mayor cuts the ribbon' --video tape_0412.mp4")
def ground(
    archive: ArchiveDir,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What happens.", show_default=False)],
    video: Annotated[str, typer.Option(metavar="PATH|ID", help="In which video.", show_default=False)],
    top: Annotated[int, typer.Option(metavar="K", min=1, help="How many moments.")] = 5,
    encoder: EncoderOption = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Find the moment [start_s, end_s) in one video where a sentence happens.

    Needs no index. `no_match` is true if even the best moment is what unrelated footage would score by chance.
    """
    from ..report import hits_table
    from ..search.archive import Archive

    found = Archive(archive, encoder, device).ground(video, text, top=top)
    if json:
        keys = ("rank", "start_s", "end_s", "score", "confidence")
        moments = [{key: getattr(hit, key) for key in keys} for hit in found.moments]
        head = {"query": text, "video_id": found.video_id, "path": found.path}
        print_json({**head, "moments": moments, "no_match": found.no_match})
    else:
        typer.echo(hits_table(found.moments))
        if found.no_match:
            typer.echo("No match: the best moment is no better than unrelated footage would be by chance.", err=True)
