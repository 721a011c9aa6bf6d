"""`evaluate retrieval`, `grounding`, `classification`: measured as the benchmarks measure. Splits are in `splitting.py`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from . import splitting
from .shared import Device, EncoderOption, Json, print_json

app = typer.Typer()
evaluate = typer.Typer(
    no_args_is_help=True,
    help="Measure as the benchmarks measure: on an archive, or on scores and predictions of any method.",
    epilog="Example: nightreel evaluate retrieval -h",
)
app.add_typer(evaluate, name="evaluate")

ArchiveOption = Annotated[Path | None, typer.Option("--archive", metavar="DIR", help="The archive with its videos.")]
Annotations = Annotated[
    Path | None, typer.Option("--annotations", metavar="FILE", help="The benchmark's own annotation file.")
]
Split = Annotated[
    str | None, typer.Option("--split", metavar="S", help="Only this split, where the file names splits.")
]
Videos = Annotated[
    Path | None, typer.Option("--videos", metavar="FILE", help="Only these videos: a list of names, one a line.")
]
AllowMissing = Annotated[
    bool, typer.Option("--allow-missing", help="Measure without the videos that are not there; the result counts them.")
]


@evaluate.command(
    epilog="Example: nightreel evaluate retrieval --archive a.reel --dataset msrvtt --annotations test_1k.csv"
)
def retrieval(
    archive: ArchiveOption = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="msrvtt, msvd, didemo or activitynet.")] = None,
    annotations: Annotations = None,
    split: Split = None,
    videos: Videos = None,
    similarity: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Instead of an archive: scores, a row per sentence.")
    ] = None,
    positives: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The right column of each row: numbers or lists (.npy, .json), or a bool matrix."
        ),
    ] = None,
    dual_softmax: Annotated[
        bool, typer.Option("--dual-softmax", help="Also with dual softmax, which looks at all sentences at once.")
    ] = False,
    allow_missing: AllowMissing = False,
    encoder: EncoderOption = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Text to video and video to text: R@1, 5, 10, 50 in percent, median and mean rank, with 95 % bootstrap intervals.

    On an archive, every video of the benchmark is scored as `search --by video` does; several captions a video are fine.
    Ties count against us. Without --positives, --similarity must be square, and its diagonal is right.
    """
    from ..evaluate.runners.options import described, from_files, load_array, load_positives, read_records
    from ..evaluate.runners.retrieval import evaluate_archive, evaluate_similarity
    from ..evaluate.runners.tables import retrieval_text
    from ..extract.errors import UsageError
    from ..report import status
    from ..search.archive import Archive

    ours = {"--archive": archive, "--dataset": dataset, "--annotations": annotations}
    more = {"--split": split, "--videos": videos, "--encoder": encoder, "--allow-missing": allow_missing}
    if from_files({"--similarity": similarity}, ours, more):
        scores = load_array(_path(similarity))
        right = None if positives is None else load_positives(positives)
        figures = evaluate_similarity(scores, right, dual=dual_softmax)
        result = described("retrieval", figures, on=_path(similarity))
    else:
        if positives is not None:
            raise UsageError("--positives goes with --similarity only; a benchmark's file says what is right")
        records = read_records("retrieval", str(dataset), _path(annotations), split=split, videos=videos)
        opened = Archive(_path(archive), encoder, device)
        opened.load()
        with status("scoring"):
            figures = evaluate_archive(opened, records, allow_missing=allow_missing, dual=dual_softmax)
        result = described("retrieval", figures, on=_path(archive), dataset=records, split=split)
    _print(result, retrieval_text, json)


@evaluate.command(
    epilog="Example: nightreel evaluate grounding --archive a.reel --dataset charades --annotations charades_sta_test.txt"
)
def grounding(
    archive: ArchiveOption = None,
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME", help="qvhighlights, charades, activitynet, didemo or tacos.")
    ] = None,
    annotations: Annotations = None,
    split: Split = None,
    videos: Videos = None,
    durations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Charades' csv, which says how long its videos are.")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Instead of an archive: predictions, as --save writes them."),
    ] = None,
    ground_truth: Annotated[
        Path | None, typer.Option("--ground-truth", metavar="FILE", help="The annotation file that they answer.")
    ] = None,
    truth_format: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="Which benchmark's file that is; as for --dataset.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Write the predictions, in QVHighlights' format.")
    ] = None,
    allow_missing: AllowMissing = False,
    encoder: EncoderOption = None,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Moments by the benchmark's protocol, in percent, with 95 % bootstrap intervals over source videos.

    QVHighlights: R1, mAP, by length, highlights, every figure as its own evaluator gives it. Others: R1 and R5 at IoU 0.3,
    0.5, 0.7 (TACoS: and 0.1), mIoU. On an archive, each sentence is grounded in its video as `ground` does; no index needed.
    """
    from ..evaluate.runners.grounding import evaluate_archive
    from ..evaluate.runners.options import described, from_files, read_records
    from ..evaluate.runners.predictions import evaluate_predictions, read_predictions, truth_of, write_predictions
    from ..evaluate.runners.tables import grounding_text
    from ..report import status
    from ..search.archive import Archive

    ours = {"--archive": archive, "--dataset": dataset, "--annotations": annotations}
    files = {"--predictions": predictions, "--ground-truth": ground_truth, "--format": truth_format}
    of_files = from_files(files, ours, {"--encoder": encoder, "--save": save, "--allow-missing": allow_missing})
    path, name = (ground_truth, truth_format) if of_files else (annotations, dataset)
    records = read_records("grounding", str(name), _path(path), split=split, videos=videos, durations=durations)
    truth = truth_of(records, _path(path))
    if of_files:
        figures = evaluate_predictions(read_predictions(_path(predictions)), truth)
    else:
        opened = Archive(_path(archive), encoder, device)
        with status("grounding"):
            figures, found = evaluate_archive(opened, truth, allow_missing=allow_missing)
        if save is not None:
            write_predictions(save, found)
    on = _path(predictions if of_files else archive)
    _print(described("grounding", figures, on=on, dataset=records, split=split), grounding_text, json)


@evaluate.command(
    epilog="Example: nightreel evaluate classification --archive a.reel --dataset kinetics --annotations validate.csv"
)
def classification(
    archive: ArchiveOption = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="kinetics, ucf, ssv2 or list.")] = None,
    annotations: Annotations = None,
    split: Split = None,
    videos: Videos = None,
    classes: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The benchmark's file of class names, where its list has numbers."),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="Instead of an archive: scores, a row per video or view.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE.npy", help="The right class of each row, a number from 0.")
    ] = None,
    owner: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npy", help="Whose view each row is; the probabilities of a video's views are averaged."
        ),
    ] = None,
    allow_missing: AllowMissing = False,
    encoder: EncoderOption = None,
    json: Json = False,
) -> None:
    """Top-1, top-5 and the mean over classes, in percent, with 95 % bootstrap intervals over source videos.

    On an archive: from the labels that `extract --labels N` stored, averaged over a video's clips. Classes that a clip does
    not name among its N count as 0, and ties count against us.
    """
    from ..evaluate.runners.classification import evaluate_scores, evaluate_store
    from ..evaluate.runners.options import described, from_files, load_array, read_records
    from ..evaluate.runners.tables import classification_text
    from ..extract.errors import UsageError
    from ..extract.store import Store
    from ..report import status

    ours = {"--archive": archive, "--dataset": dataset, "--annotations": annotations}
    more = {"--split": split, "--videos": videos, "--encoder": encoder, "--allow-missing": allow_missing}
    if from_files({"--scores": scores, "--labels": labels}, ours, {**more, "--classes": classes}):
        views = None if owner is None else load_array(owner)
        figures = evaluate_scores(load_array(_path(scores)), load_array(_path(labels)), owner=views)
        result = described("classification", figures, on=_path(scores))
    else:
        if owner is not None:
            raise UsageError("--owner goes with --scores only; an archive knows whose its clips are")
        of = _path(annotations)
        records = read_records("classification", str(dataset), of, split=split, videos=videos, classes=classes)
        with status("reading labels"):
            figures = evaluate_store(Store.open(_path(archive)), records, encoder=encoder, allow_missing=allow_missing)
        result = described("classification", figures, on=_path(archive), dataset=records, split=split)
    _print(result, classification_text, json)


evaluate.add_typer(splitting.app)


def _path(path: Path | None) -> Path:
    """One that `from_files` has made sure of."""
    assert path is not None
    return path


def _print(result: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str], json: bool) -> None:
    from ..evaluate.runners.tables import notes_of
    from ..report import say

    print_json(result) if json else typer.echo(text(result))
    say(notes_of(result))
