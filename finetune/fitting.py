"""The ways to train for one command: once with a part held out, in folds, or from frames. Each measures first and writes later.

    measured = in_folds(job, examples, parts, run)      what held-out captions say, epoch by epoch
    measured.write(trained)                             only if that is a gain: the head, and the command that uses it

It does not decide what a gain is (`gain.py`), nor when to stop (`loop.py`).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..extract.encoders.registry import torch_device
from ..extract.heads.networks import make_head
from ..extract.heads.stored import print_of, save_head
from ..extract.heads.tuned import Adapter, Tuned
from .captions.examples import Examples
from .captions.folds import best_of, fold_rows, honest, pooled
from .captions.parts import Parts
from .captions.question import asks_for_videos, of_videos
from .frames_task import frames_task
from .negatives import VideoClip
from .probing.parts import KIND
from .stored_task import AdapterTask, StoredTask
from .training.loop import Progress, Trained, train
from .training.plan import Plan, steps_of
from .training.run_folder import RunFolder, finished
from .training.task import Task, Validation
from .wish import VIDEOCLIP, Base, Wish


@dataclass(frozen=True)
class Job:
    """What all trainings of one command share.

    Attributes:
        clips: slug of the clips that join the frames, or None.    home: where the head goes.    writes: this process does.
        stop: asked after each step.    progress: what a bar shows.    say: notes for whoever asked.
    """

    base: Base
    wish: Wish
    clips: str | None
    home: Path
    writes: bool
    stop: Callable[[], bool]
    progress: Progress
    say: Callable[[str], None]


@dataclass(frozen=True)
class Measured:
    """What held-out captions say.

    Attributes:
        before, after: held-out captions with the untouched model and the trained one.
        history: validations of the untouched model and of each epoch.    best_epoch: to keep.    epochs: that were trained.
        pairs: how many trained and validated.    bad: videos that could not be used, and why.
        steps: of an epoch.    lead: epochs that have none.
        write: keeps what was trained, with these facts about it, and returns the command that uses it.
    """

    before: Validation
    after: Validation
    history: list[Validation]
    best_epoch: int
    epochs: int
    pairs: dict[str, int]
    steps: int
    lead: int
    write: Callable[[Mapping[str, Any]], str]
    bad: Mapping[str, str]


def in_one(job: Job, parts: Parts, run: RunFolder) -> Measured:
    """On stored features, with one part held out."""
    task = stored_task(job, parts.train, asked(parts.val, videos=asks_for_videos(parts.train)), parts)
    done = trained(job, task, job.wish.plan, run)
    pairs = {"train": len(parts.train), "val": len(parts.val)}
    return _measured(job, done, pairs, lambda facts: save(job, task, facts))


def in_folds(job: Job, examples: Examples, parts: Parts, run: RunFolder) -> Measured:
    """On stored features, each part of the sources held out once; `write` trains on all captions first."""
    kinds = [KIND.get((pair.split or "").casefold()) for pair in examples.pairs]
    every = examples.subset([row for row, kind in enumerate(kinds) if kind != "test"])
    plan, folds = job.wish.plan, fold_rows(every, parts.copies, job.wish.plan.seed)
    histories = []
    for number, (train_rows, val_rows) in enumerate(folds, 1):
        val = asked(every.subset(val_rows), videos=asks_for_videos(every))
        fold = replace(parts, train=every.subset(train_rows), val=val)
        told = replace(job, progress=_prefixed(job.progress, f"part {number} of {len(folds)}, "))
        histories.append(_fold(told, fold, run.path / f"fold-{number}"))
    history = pooled(histories)
    best = best_of(history)

    def write(facts: Mapping[str, Any]) -> str:
        task = stored_task(job, every, fold.val, parts)
        trained(job, task, replace(plan, last_epoch=best), run)
        return save(job, task, facts)

    pairs = {"train": len(every), "val": len(history[0].ranks), "folds": len(folds)}
    lead = int(job.wish.train == "adapter")
    steps = steps_of(len(every), plan)
    return Measured(*honest(histories), history, best, len(history) - 1, pairs, steps, lead, write, {})


def on_frames(job: Job, parts: Parts, run: RunFolder) -> Measured:
    """CLIP's towers, from pictures, with one part held out."""
    wish = job.wish
    task, faults = frames_task(
        job.base.store,
        job.base.slug,
        parts,
        job.home / "pixels",
        how=wish.train,
        device=torch_device(wish.device, needed=True),
        frames=wish.max_frames,
        rate=wish.rate,
        progress=job.progress,
    )
    done = trained(job, task, wish.plan, run)

    def write(facts: Mapping[str, Any]) -> str:
        spec = task.save(job.home)
        return f"nightreel extract VIDEOS --archive NEW.reel --encoder {spec}"

    pairs = {"train": task.count, "val": len(done.before.ranks)}
    return replace(_measured(job, done, pairs, write), bad=faults)


def trained(job: Job, task: Task, plan: Plan, run: RunFolder) -> Trained:
    """One training, told of where it goes on or ends early."""
    if run.resumed:
        job.say(f"Going on with the unfinished run in {run.path}.")
    done = train(task, plan, run, stop=job.stop, progress=job.progress)
    if done.note:
        job.say(f"Stopped after {done.epochs} epochs: {done.note}")
    return done


def stored_task(job: Job, train_on: Examples, val: Examples, parts: Parts) -> StoredTask:
    """An untrained head with its pairs; the same one each time."""
    import torch

    wish, base = job.wish, job.base
    torch.manual_seed(wish.plan.seed)
    clip_dim = 0 if job.clips is None else int(base.store.encoders()[job.clips]["dim"])
    tuned = Tuned(make_head(wish.kind, base.dim, max_frames=wish.max_frames), Adapter(base.dim), clip_dim)
    device = torch_device(wish.device, needed=True)
    made = AdapterTask if wish.train == "adapter" else StoredTask
    recipe = None
    if wish.recipe == VIDEOCLIP:
        recipe = VideoClip(train_on, base.features.index if wish.hard else None, parts.copies)
    return made(tuned, train_on, val, wish.rates, copies=parts.copies, device=device, recipe=recipe)


def save(job: Job, task: StoredTask, facts: Mapping[str, Any]) -> str:
    """The head of the archive, and the command that puts it to use."""
    if job.writes:
        save_head(
            job.base.store,
            job.wish.name,
            task.model.cpu(),
            base=job.base.slug,
            context=job.wish.max_frames,
            clips=job.clips,
            trained=facts,
        )
    return f"nightreel index {job.base.store.root} --head {job.wish.name}"


def asked(val: Examples, *, videos: bool) -> Examples:
    """What is validated: the captions' videos, or the footage that they are of."""
    return of_videos(val) if videos else val


def config_of(job: Job, train_on: Examples, val: Examples) -> dict[str, Any]:
    """All that decides the outcome, as JSON; the pairs by a digest."""
    digest = hashlib.sha256()
    for part in (train_on, val):
        places = zip(part.pairs, part.video.tolist(), part.low.tolist(), part.high.tolist(), strict=True)
        for pair, video, low, high in places:
            line = f"{part.videos[video].video_id} {low} {high} {pair.weight} {pair.caption}\n"
            digest.update(line.encode())
        digest.update(b"\n")
    wish, prints = job.wish, job.base.store.encoders()
    return {
        "train": wish.train,
        "head": wish.kind,
        "max_frames": wish.max_frames,
        "features": print_of(prints[job.base.slug]),
        "clips": None if job.clips is None else print_of(prints[job.clips]),
        "pairs": {"train": len(train_on), "val": len(val), "sha256": digest.hexdigest()},
        "rate": wish.rate,
        "recipe": [wish.recipe, wish.hard],
        "rates": None if wish.on_frames else asdict(wish.rates),
        "plan": wish.plan.facts(),
    }


def _fold(job: Job, fold: Parts, path: Path) -> list[Validation]:
    """The validations of one fold, from its result where it is finished."""
    config = config_of(job, fold.train, fold.val)
    result = finished(path, config)
    if result is not None:
        ranks = np.asarray(result["ranks"], np.int64)
    else:
        run = RunFolder(path, config, writes=job.writes, shown=False)
        try:
            task = stored_task(job, fold.train, fold.val, fold)
            done = trained(job, task, replace(job.wish.plan, patience=job.wish.plan.epochs), run)
            ranks = np.array([of.ranks for of in done.history])
            run.finish({"ranks": ranks.tolist()})
        finally:
            run.close()
    return [Validation(of, fold.val.sources) for of in ranks]


def _measured(job: Job, done: Trained, pairs: dict[str, int], write: Callable[[Mapping[str, Any]], str]) -> Measured:
    steps = steps_of(pairs["train"], job.wish.plan)
    return Measured(
        done.before,
        done.after,
        done.history,
        done.best_epoch,
        done.epochs,
        pairs,
        steps,
        int(job.wish.train == "adapter"),
        write,
        {},
    )


def _prefixed(progress: Progress, prefix: str) -> Progress:
    return lambda done, of, what: progress(done, of, prefix + what)


def curve(measured: Measured) -> Sequence[dict[str, Any]]:
    """The validations of all epochs as lines of a run's metrics."""
    return [
        {"step": max(0, epoch - measured.lead) * measured.steps, "epoch": epoch, **found.figures()}
        for epoch, found in enumerate(measured.history)
    ]
