"""`finetune`: the owner's own captions."""

from pathlib import Path
from typing import Annotated

import typer

from .shared import ArchiveDir, Device, EncoderOption, Json, print_json

app = typer.Typer()


@app.command(epilog="Example: nightreel finetune videos.reel --pairs captions.csv --head transformer --name players")
def finetune(
    archive: ArchiveDir,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A .csv, .jsonl or .parquet with columns video and caption (and perhaps start_s, end_s).",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The file is a benchmark's: msrvtt, msvd, didemo, activitynet, charades ..."),
    ] = None,
    subtitles: Annotated[
        bool,
        typer.Option("--subtitles", help="Also learn from .srt and .vtt files beside the videos; they count half."),
    ] = False,
    head: Annotated[
        str, typer.Option(metavar="KIND", help="mean, lstm, transformer or wti; mean knows no order of frames.")
    ] = "mean",
    train: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            help="adapter or head on stored features; lora or all on frames. [default: adapter; with a --head, head]",
        ),
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What to call the head. [default: what is trained]")] = "",
    clips: Annotated[
        str | None, typer.Option("--with", metavar="SPEC", help="Features of clips that join the frames: videomae.")
    ] = None,
    from_clip4clip: Annotated[
        Path | None,
        typer.Option(
            "--from-clip4clip", metavar="FILE", help="Instead of training: towers and head of a CLIP4Clip checkpoint."
        ),
    ] = None,
    epochs: Annotated[
        int, typer.Option(help="At most; it ends when a quarter of them (8 at least) gained nothing.")
    ] = 30,
    batch: Annotated[int, typer.Option(help="Pairs that are each other's negatives.")] = 256,
    chunk: Annotated[
        int, typer.Option(help="Encode so many of a batch at once: less memory, same result. 0: all.")
    ] = 0,
    lr: Annotated[float | None, typer.Option(help="The highest rate. [default: 1e-3; lora 1e-4; all 1e-7]")] = None,
    max_frames: Annotated[
        int | None, typer.Option("--max-frames", help="Of a caption's span, at most. [default: 32; on frames 8]")
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="clip4clip: captions' spans, batches at random. videoclip: spans around them, batches of videos alike.",
        ),
    ] = "clip4clip",
    hard: Annotated[
        bool, typer.Option("--hard", help="With videoclip: also footage that the index mistakes for what captions say.")
    ] = False,
    skip_copies: Annotated[
        bool, typer.Option("--skip-copies", help="Do not look for the same footage in both parts (slow if many hours).")
    ] = False,
    seed: Annotated[int, typer.Option(help="Another one holds out other videos and draws other batches.")] = 0,
    encoder: EncoderOption = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Teach an archive your own words: train on captions, measure on videos held out by source, keep only what gained.

    What trains on stored features takes seconds to minutes, and no video is decoded again. If held-out captions see no gain, it
    says so, and the archive stays as it was. Killed or stopped, the same command goes on from DIR/heads/NAME/run, where the
    configuration, metrics, curves and logs for TensorBoard are. Then: nightreel index DIR --head NAME.
    """
    from ..extract.errors import UsageError
    from ..finetune.importing import import_checkpoint
    from ..finetune.training.gather import ranks
    from ..finetune.training.plan import Plan, patience_for
    from ..finetune.tuning import finetune as run
    from ..finetune.wish import Wish
    from ..report import say
    from .finetuning_text import bad_rows_text, finetune_text, trained

    if from_clip4clip is not None:
        if pairs is not None or subtitles or train is not None:
            raise UsageError(
                "--from-clip4clip takes towers and a head as they are; --pairs, --subtitles and --train do not go with it."
            )
        result = import_checkpoint(archive, from_clip4clip, head, name, encoder=encoder, max_frames=max_frames or 0)
    else:
        plan = Plan(epochs=epochs, batch=batch, chunk=chunk, patience=patience_for(epochs), seed=seed)
        wish = Wish(
            pairs,
            dataset,
            subtitles,
            head,
            train or "",
            name,
            clips,
            max_frames or 0,
            encoder,
            device,
            not skip_copies,
            lr,
            recipe,
            hard,
            plan,
        )
        result = trained(run, archive, wish)
        if ranks()[0]:  # of several processes, one speaks
            return
    print_json(result) if json else typer.echo(finetune_text(result))
    say(bad_rows_text(result.get("bad_rows", [])))
