"""The command line: parse, call one library function, print. stdout is data, stderr is progress and messages.

Everything heavy is imported inside the commands, so that `nightreel --help` answers at once.
"""

import errno
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="nightreel",
    help="Index video archives overnight, find moments in them by sentence in the morning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ArchiveDir = Annotated[Path, typer.Argument(metavar="DIR", help="The archive folder.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object on stdout.")]
EncoderOption = Annotated[
    str | None, typer.Option("--encoder", metavar="SPEC", help="Which features, if the archive has several kinds.")
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:0.")]


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    from .extract.files import json_text

    typer.echo(json_text(value))


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
    from .extract import run
    from .extract.clips import ClipWish
    from .extract.options import parse_plan, parse_settings
    from .report import extract_progress, print_extract_report, say_stopping

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
    """
    from .index.build import Settings
    from .report import index_json, index_line, index_progress
    from .search.archive import Archive

    with index_progress() as on_progress:
        built = Archive(archive, encoder, device).build_indexes(Settings(memory, recall, device), on_progress)
    if json:
        shown = [index_json(result) for result in built]
        print_json(shown[0] if len(shown) == 1 else {"indexes": shown})
    else:
        for result in built:
            typer.echo(index_line(result))


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
    from .report import export_hits, hits_table, say
    from .search.answer import Question
    from .search.archive import Archive

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
    from .report import hits_table
    from .search.archive import Archive

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


@app.command(epilog="Example: nightreel info videos.reel --duplicates")
def info(
    archive: ArchiveDir,
    duplicates: Annotated[
        bool, typer.Option("--duplicates", help="Instead, list footage that stands in two videos (nearly) alike.")
    ] = False,
    threshold: Annotated[
        float | None, typer.Option(metavar="X", help="How alike footage must be to count as the same, up to 1.")
    ] = None,
    encoder: EncoderOption = None,
    json: Json = False,
) -> None:
    """What the archive holds: videos, hours, features, indexes.

    With --duplicates: the same footage in two videos, also encoded anew, scaled, cut or moved in time. Black, white and
    fading pictures never count, nor does what one video shows twice. Clips are compared where there are any.
    """
    from .extract.errors import UsageError
    from .extract.store import Store
    from .index.info import summary
    from .report import info_text

    if duplicates:
        _duplicates(archive, encoder, threshold, json)
        return
    if threshold is not None or encoder is not None:
        raise UsageError("--threshold and --encoder belong to --duplicates; add it, or leave them out.")
    result = summary(Store.open(archive))
    print_json(result) if json else typer.echo(info_text(result))


def _duplicates(archive: Path, encoder: str | None, threshold: float | None, json: bool) -> None:
    from .extract.store import Store
    from .index.choose import choose_motion_encoder
    from .index.duplicates import THRESHOLD, find_duplicates
    from .report import duplicates_text, status
    from .search.archive import slug_of

    store = Store.open(archive)
    slug = choose_motion_encoder(store, slug_of(store, encoder) if encoder else None)
    limit = THRESHOLD if threshold is None else threshold
    with status("comparing"):
        found = find_duplicates(store, slug, limit)
    print_json({"duplicates": found}) if json else typer.echo(duplicates_text(found, slug, limit))


@app.command(epilog="Example: nightreel failures videos.reel")
def failures(archive: ArchiveDir, json: Json = False) -> None:
    """Which videos failed or are partial, at what stage, and why."""
    from .extract.store import Store
    from .index.info import failures as list_failures

    rows = list_failures(Store.open(archive))
    if json:
        print_json({"failures": rows})
        return
    for row in rows:
        typer.echo(f"{row['status']:8}{row['error_kind']:18}{row['path']}\n        {row['stage']}: {row['error']}")
    if not rows:
        typer.echo("no failures", err=True)


@app.command(epilog="Example: nightreel verify videos.reel")
def verify(archive: ArchiveDir, json: Json = False) -> None:
    """Check every committed file of the archive and its indexes: checksums, columns, ids, spans. Exit 4 if something is
    wrong."""
    from .extract.store import Store
    from .extract.verify import verify as check
    from .index.manifest import damage
    from .report import status

    store = Store.open(archive)
    with status("verifying"):
        found = check(store)
        found.problems += damage(store)
    if json:
        print_json({"clean": found.clean, **vars(found)})
    else:
        for problem in found.problems:
            typer.echo(problem)
        left = f", {len(found.orphans)} files that no commit names, left by stopped runs" if found.orphans else ""
        typer.echo(f"{'clean' if found.clean else 'damaged'}: {found.files} files, {found.rows} rows{left}")
    if not found.clean:
        raise typer.Exit(4)


@app.command(epilog="Example: nightreel remove videos.reel tape_0412.mp4")
def remove(
    archive: ArchiveDir,
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO", help="Paths, file names or ids, as in results.", show_default=False)
    ],
    json: Json = False,
) -> None:
    """Take videos out of the archive: from now on nothing finds them. The video files themselves are left alone.

    If one of them is unknown, none is removed. Their features stay on disk until `nightreel compact`. Extracting a file that is
    still among the inputs brings it back.
    """
    from .extract.compact import remove_videos
    from .extract.store import Store
    from .report import printable

    began = time.perf_counter()
    rows = remove_videos(Store.open(archive), videos)
    took_ms = round((time.perf_counter() - began) * 1e3, 2)
    if json:
        print_json({"removed": [{"video_id": r.video_id, "path": r.path} for r in rows], "took_ms": took_ms})
        return
    for row in rows:
        typer.echo(f"removed {row.video_id}  {printable(Path(row.path))}")
    typer.echo(f"Their space is given back by: nightreel compact {archive}", err=True)
    typer.echo("Extracting the same files again brings them back.", err=True)


@app.command(epilog="Example: nightreel compact videos.reel")
def compact(
    archive: ArchiveDir,
    now: Annotated[
        bool, typer.Option("--now", help="Delete at once, also what a search that is under way may still read.")
    ] = False,
    json: Json = False,
) -> None:
    """Give back the space of videos that were removed or extracted again, and sweep up after runs that were killed.

    Safe at any time, also beside other commands. Files are written anew without what no longer counts; the old ones are kept
    for an hour, for searches under way, and deleted by a later `compact`, or at once with --now. Indexes that hide something,
    or consist of several parts, are built anew as one.
    """
    from dataclasses import asdict

    from .extract.compact import compact as give_back
    from .extract.store import Store
    from .index.build import compact_indexes
    from .report import index_json, index_line, index_progress, status

    store = Store.open(archive)
    with status("compacting"):
        done = give_back(store, now=now)
    with index_progress() as on_progress:
        indexes = compact_indexes(store, on_progress)
    if json:
        print_json({**asdict(done), "indexes": [index_json(built) for built in indexes]})
        return
    for built in indexes:
        typer.echo(index_line(built))
    typer.echo(
        f"{done.files_rewritten} files rewritten, {done.files_deleted} deleted, {done.orphans_deleted} left by killed runs "
        f"deleted: {abs(done.bytes_freed) / 1e6:.1f} MB {'less' if done.bytes_freed >= 0 else 'more'} on disk"
    )
    if done.bytes_waiting:
        typer.echo(
            f"{done.bytes_waiting / 1e6:.1f} MB are kept for searches under way. In an hour: nightreel compact {archive}\n"
            "At once: add --now",
            err=True,
        )


@app.command(epilog="Example: nightreel encoders")
def encoders(json: Json = False) -> None:
    """List the encoders: what they see, how large and how costly they are, under which licence, what they need.

    Other names and weights of the same families work too; the figures are of those listed, with their own sampling.
    """
    from .extract.encoders.registry import ALIASES, families
    from .report import encoder_rows, encoders_text

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
    from .demo.tour import run_demo
    from .report import extract_progress

    with extract_progress() as on_progress:
        result = run_demo(folder, lambda line: typer.echo(line, err=json), on_progress)
    if json:
        print_json(result)


def main() -> None:
    """Run the command line; every error that a person can act on becomes one message and an exit code."""
    from .extract.errors import NightreelError

    try:
        app()
    except NightreelError as error:
        typer.echo(f"nightreel: {error}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        what = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        remedy = "What was committed before is safe; free the disk, then repeat." if full else "Nothing was lost."
        typer.echo(f"nightreel: {what}\n{remedy}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
