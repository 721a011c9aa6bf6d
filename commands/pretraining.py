"""`pretrain`: VideoMAE on the archive's own videos."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .shared import ArchiveDir, Device, Json, print_json

app = typer.Typer()


@app.command(epilog="Example: nightreel pretrain videos.reel --size small --steps 20000 --batch 64 --out our-videomae")
def pretrain(
    archive: ArchiveDir,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="SPEC", help="A VideoMAE to go on from: videomae, a folder, or OWNER/NAME of the hub."
        ),
    ] = None,
    size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Of an untrained one: tiny, small or base. [default: small]")
    ] = None,
    steps: Annotated[int, typer.Option(help="How many batches.")] = 2000,
    batch: Annotated[int, typer.Option(help="Clips of a step.")] = 32,
    chunk: Annotated[int, typer.Option(help="Clips at once: less memory, the same result up to rounding. 0: all.")] = 0,
    mask: Annotated[
        float, typer.Option(help="Share of each frame that is hidden, the same places in all of them.")
    ] = 0.9,
    lr: Annotated[float, typer.Option(help="The rate for 256 clips a step; others in proportion.")] = 1.5e-4,
    stride: Annotated[float, typer.Option(metavar="SECONDS", help="From one picture of a clip to the next.")] = 0.5,
    flip: Annotated[
        bool, typer.Option("--flip", help="Mirror half of the clips. Left and right mean nothing then.")
    ] = False,
    crops: Annotated[
        bool, typer.Option("--crops/--no-crops", help="See a square of each clip, of 0.66 to 1 of it.")
    ] = True,
    held_out: Annotated[float, typer.Option("--held-out", help="Share of the videos that are only measured on.")] = 0.1,
    every: Annotated[int, typer.Option(help="Steps from one look at them to the next.")] = 200,
    cache: Annotated[
        float, typer.Option(metavar="GB", help="Of decoded pictures on disk, at most; 1.1 hold an hour at 0.5 s.")
    ] = 20.0,
    workers: Annotated[int | None, typer.Option(help="Decoding processes. [default: all cores]")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Of the encoder and its run. [default: DIR/pretrained/videomae-SIZE or -continued]"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another one holds out other videos and hides other places.")] = 0,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Train VideoMAE on an archive's own videos, without labels: hide 90 % of each clip, and learn to guess it.

    Each video is decoded once, as by extract, then thousands of clips are cut from it. Some videos are held out, and the
    encoder is written only where the hidden patches of these are guessed better than before. Killed or stopped, the same
    command goes on. Such features know no words and probe weakly; they are for fine-tuning, and for what moves alike.
    """
    from ..finetune.pretraining.batch import Plan
    from ..finetune.pretraining.pretrain import Wish
    from ..finetune.pretraining.pretrain import pretrain as run
    from .finetuning_text import trained

    plan = Plan(steps=steps, batch=batch, chunk=chunk, mask=mask, lr=lr, crops=crops, flip=flip, every=every, seed=seed)
    wish = Wish(start, size, out, stride, held_out, cache, workers, device, plan)
    result = trained(run, archive, wish)
    print_json(result) if json else typer.echo(_text(result))


def _text(result: dict[str, Any]) -> str:
    """The closing lines: what was measured, whether it is kept, and what to do next."""
    from ..report import printable

    videos, clips, held = result["videos"], result["clips"], result["held_out_loss"]
    lines = [
        f"{result['from']}, {result['parameters'] / 1e6:.1f} M parameters: {result['steps']} steps of {result['batch']} "
        f"clips, {result['mask']:g} hidden; {videos['train']} videos with {clips['train']} clips, {result['wall_s']:.0f} s"
    ]
    if held:
        lines.append(
            f"loss of hidden patches on {clips['held_out']} clips of {videos['held_out']} videos held out: "
            f"{held['before']:.4f} before, {held['after']:.4f} after (one colour a patch: {held['one_colour']:.4f}); "
            f"better on {result['better_clips']} of them"
        )
    folder = printable(result["out"])
    if result["kept"]:
        lines += [
            f"kept in {folder}; look at {folder}/run/reconstruction.png and curves.png",
            f"Next: {result['next']}",
        ]
    else:
        lines.append(
            f"NOT KEPT: no better than before, or than one colour a patch. More steps or videos help; curves: {folder}/run"
        )
    return "\n".join(lines)
