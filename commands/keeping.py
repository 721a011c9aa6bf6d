"""`info`, `failures`, `verify`, `remove`, `compact`: looking after an archive."""

import time
from pathlib import Path
from typing import Annotated

import typer

from .shared import ArchiveDir, EncoderOption, Json, print_json

app = typer.Typer()


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
    from ..extract.errors import UsageError
    from ..extract.store import Store
    from ..index.info import summary
    from ..report import info_text

    if duplicates:
        _duplicates(archive, encoder, threshold, json)
        return
    if threshold is not None or encoder is not None:
        raise UsageError("--threshold and --encoder belong to --duplicates; add it, or leave them out.")
    result = summary(Store.open(archive))
    print_json(result) if json else typer.echo(info_text(result))


def _duplicates(archive: Path, encoder: str | None, threshold: float | None, json: bool) -> None:
    from ..extract.store import Store
    from ..index.choose import choose_motion_encoder
    from ..index.duplicates import THRESHOLD, find_duplicates
    from ..report import duplicates_text, status
    from ..search.archive import slug_of

    store = Store.open(archive)
    slug = choose_motion_encoder(store, slug_of(store, encoder) if encoder else None)
    limit = THRESHOLD if threshold is None else threshold
    with status("comparing"):
        found = find_duplicates(store, slug, limit)
    print_json({"duplicates": found}) if json else typer.echo(duplicates_text(found, slug, limit))


@app.command(epilog="Example: nightreel failures videos.reel")
def failures(archive: ArchiveDir, json: Json = False) -> None:
    """Which videos failed or are partial, at what stage, and why."""
    from ..extract.store import Store
    from ..index.info import failures as list_failures

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
    from ..extract.store import Store
    from ..extract.verify import verify as check
    from ..index.manifest import damage
    from ..report import status

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
        list[str] | None,
        typer.Argument(metavar="VIDEO", help="Paths, file names or ids, as in results.", show_default=False),
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Instead, forget this trained head, with the features it made and their index."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Take videos out of the archive: from now on nothing finds them. The video files themselves are left alone.

    If one of them is unknown, none is removed. Their features stay on disk until `nightreel compact`. Extracting a file that is
    still among the inputs brings it back.

    With --head: a head that `finetune` made, with its run folder. Nothing brings it back. One that is in use is refused (exit
    4): `nightreel index --head none` first.
    """
    from ..extract.compact import remove_videos
    from ..extract.errors import UsageError
    from ..extract.store import Store
    from ..report import printable

    if head is not None and not videos:
        _forget(archive, head, json)
        return
    if head is not None or not videos:
        got = "both" if videos else "neither"
        raise UsageError(f"name the videos to remove, or a head as --head NAME; got {got}. Nothing was removed.")
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


def _forget(archive: Path, head: str, json: bool) -> None:
    from ..extract.store import Store
    from ..index.forget import forget_head

    began = time.perf_counter()
    forget_head(Store.open(archive), head)
    if json:
        print_json({"removed": [{"head": head}], "took_ms": round((time.perf_counter() - began) * 1e3, 2)})
        return
    typer.echo(f"removed head {head}")
    typer.echo(f"The space of its features is given back by: nightreel compact {archive}", err=True)


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

    from ..extract.compact import compact as give_back
    from ..extract.store import Store
    from ..index.build import compact_indexes
    from ..report import index_json, index_line, index_progress, status

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
