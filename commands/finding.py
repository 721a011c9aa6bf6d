"""`search` and `ground`: what is asked in the morning."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .shared import ArchiveDir, Device, EncoderOption, Json, print_json

if TYPE_CHECKING:
    from ..search.grounding import Grounding
    from ..search.search import Hit

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
    then: Annotated[
        list[str] | None, typer.Option(metavar="TEXT", help="What happens after it; repeatable, in order.")
    ] = None,
    within: Annotated[
        float | None, typer.Option(metavar="S", help="At most so many seconds from one moment to the next.")
    ] = None,
    top: Annotated[int, typer.Option(metavar="K", min=1, help="How many moments, or sequences.")] = 5,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the curve, the moments and frames of the video.")
    ] = None,
    encoder: EncoderOption = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Find the moment [start_s, end_s) in one video where a sentence happens.

    `confidence` is the probability that the video shows it, had right and wrong videos been equally likely before (most videos
    of an archive do not). It comes from what the same sentence scores in other videos, so it needs two others, and no index.
    `no_match` is true if the best is below 0.5. With --then, moments that follow one another, one for each sentence: the best
    sequences, each with the confidence of its least certain moment.
    """
    from ..report import hits_table, printable, say, sequences_table
    from ..search.archive import Archive

    if plot is not None:  # before a model is loaded
        from ..search.picture.drawing import picture_format

        picture_format(plot)
    later = then or []
    found = Archive(archive, encoder, device).ground(video, text, then=later, within_s=within, top=top)
    if json:
        print_json(_grounding_json(found, text, later))
    else:
        typer.echo(sequences_table(found, (text, *later)) if later else hits_table(found.moments))
    say(found.notes)
    if plot is not None:
        from ..search.picture.plot import plot as draw

        missing = draw(found, plot)
        say([*([missing] if missing else []), f"wrote {printable(plot)}"])


def _grounding_json(found: "Grounding", text: str, later: Sequence[str]) -> dict[str, Any]:
    """`then` and `sequences` only where sentences were asked for in order."""

    def facts(hit: "Hit") -> dict[str, Any]:
        return {key: getattr(hit, key) for key in ("start_s", "end_s", "score", "confidence")}

    moments = [{"rank": hit.rank, **facts(hit)} for hit in found.moments]
    head = {"query": text, "video_id": found.video_id, "path": found.path}
    out = {**head, "moments": moments, "no_match": found.no_match}
    if not later:
        return out
    sequences = []
    for one in found.sequences:
        links = [{"query": q, **facts(hit)} for q, hit in zip((text, *later), one.moments, strict=True)]
        sequences.append({"rank": one.rank, "score": one.score, "confidence": one.confidence, "moments": links})
    return {**out, "then": list(later), "sequences": sequences}
