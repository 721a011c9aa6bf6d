"""Captions in, a head of the archive out: what `nightreel finetune` does.

    result = finetune(archive, Wish(pairs=Path("captions.csv")))

It reads pairs, parts them by source, trains, measures on captions of held-out sources, and keeps what ranks better than the
untouched features: else the run's folder tells what was tried, and the archive stays as it was. Where captions are few, all of
them are held out in turn (`folds.py`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..evaluate.runners.videos import embed_captions
from ..extract.errors import UsageError
from ..extract.heads.stored import require_new
from .captions.examples import Examples, build_examples
from .captions.folds import needed
from .captions.parts import Parts, split_examples
from .captions.question import asks_for_videos
from .fitting import Job, Measured, config_of, curve, in_folds, in_one, on_frames
from .towers import WEIGHTS
from .training.gain import gain
from .training.gather import joined
from .training.loop import Progress, silent
from .training.run_folder import RunFolder
from .wish import Wish, base_of, checked, clips_of, pairs_of

RUN = "run"


def finetune(
    folder: Path,
    wish: Wish,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = silent,
    say: Callable[[str], None] = lambda note: None,
) -> dict[str, Any]:
    """Train on an archive's captions; returns what `--json` prints.

    Args:
        stop: asked after each step.    progress: steps done, of at most, what to say beside.    say: takes notes.

    Raises:
        UsageError: the wish does not fit together or the archive, or no pair is left.    Refused: an unfinished run of this
        name has other settings.    Leak: the file's splits share videos.    NotFinite: see `loop.train`.
        KeyboardInterrupt: it was stopped; the same call goes on.
    """
    rank, _ = joined()
    if rank:  # one process speaks for all
        progress, say = silent, lambda note: None
    wish = checked(wish)
    base = base_of(folder, wish.encoder, wish.device)
    home = require_new(base.store, wish.name)
    if (home / WEIGHTS).exists():
        raise UsageError(f"{home} holds trained towers already, which features may come from. Choose another --name.")
    read = pairs_of(base, wish)
    clips = None if wish.clips is None else clips_of(base.store, wish.clips)
    job = Job(base, wish, clips, home, not rank, stop, progress, say)
    examples = build_examples(
        base.store,
        base.slug,
        read.pairs,
        lambda texts: embed_captions(base.features, texts),
        max_frames=wish.max_frames,
        clips=clips,
        progress=lambda what, done, of: progress(done, of, what),
    )
    parts = split_examples(examples, base.store, base.slug, seed=wish.plan.seed, footage=wish.footage)
    bad = [{"line": row.line, "reason": row.reason} for row in (*read.bad, *examples.bad)]
    return _run(job, examples, parts, bad)


def _run(job: Job, examples: Examples, parts: Parts, bad: list[dict[str, str]]) -> dict[str, Any]:
    folds = needed(parts) and not job.wish.on_frames
    for note in parts.notes:
        # How few validate is not so where all of them do in turn.
        if not (folds and "validat" in note):
            job.say(note)
    run = RunFolder(job.home / RUN, config_of(job, parts.train, parts.val), writes=job.writes)
    try:
        for note in run.notes:
            job.say(note)
        if job.wish.on_frames:
            measured = on_frames(job, parts, run)
        else:
            measured = in_folds(job, examples, parts, run) if folds else in_one(job, parts, run)
        result = _result(job, measured)
        on_videos = not job.wish.on_frames and asks_for_videos(examples if folds else parts.train)
        result["asked"] = "which video" if on_videos else "which moment"
        result["bad_rows"] = bad + [{"line": path, "reason": why} for path, why in measured.bad.items()]
        if result["kept"]:
            result["next"] = measured.write({key: value for key, value in result.items() if key != "bad_rows"})
        if folds:
            for row in curve(measured):
                run.log(row)
        run.finish(result)
    finally:
        run.close()
    return result


def _result(job: Job, measured: Measured) -> dict[str, Any]:
    found = gain(measured.before, measured.after)
    return {
        "name": job.wish.name,
        "kind": job.wish.kind,
        "train": job.wish.train,
        "pairs": measured.pairs,
        "epochs": measured.epochs,
        "best_epoch": measured.best_epoch,
        "before": measured.before.figures(),
        "after": measured.after.figures(),
        "interval": found.facts(),
        "kept": found.sure and measured.best_epoch > 0,
        "folder": str(job.home),
        "next": "",
    }
