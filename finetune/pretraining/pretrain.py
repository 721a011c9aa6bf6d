"""An archive's own videos in, an encoder that has looked at them out: what `nightreel pretrain` does.

    pretrain(archive, wish)      decodes, trains, measures on held-out videos, writes the encoder

    OUT/config.json model.safetensors preprocessor_config.json README.md        for --encoder videomae:OUT
    OUT/run/config.json metrics.jsonl curves.png reconstruction.png result.json tensorboard/
    OUT/run/checkpoint.pt footage.u8 footage.json      while it is unfinished

The encoder is written only where the held-out videos' hidden patches are guessed better than before, and better than by
saying that each has one colour. What was learned is how these videos look and move, not what they are called: features of
masked pre-training alone probe weakly, and `README.md` says so.

It knows neither masks nor networks from within. One device.
"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...extract.errors import Refused, UsageError
from ...extract.store import Store
from ..training.loop import Progress
from ..training.plan import require_least
from ..training.run_folder import CHECKPOINT, RunFolder
from .batch import Material, Plan, grid_of, held_batch
from .films import films_of, held_out, shuffled
from .footage import Footage, Whole, decode_footage, read_footage
from .loop import held_losses, train
from .model import WEIGHTS, Start, new_start, start_from
from .picture import draw_reconstructions, reconstructions
from .report import finish, notes_of, outcome
from .tubes import hidden_places

RUN, PICTURE = "run", "reconstruction.png"
HELD_CLIPS, SHOWN_CLIPS = 64, 3
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    Attributes:
        start: a checkpoint to go on from (`start_from`), or None for an untrained model of `size`.
        out: the encoder's folder; None for one in the archive.    stride_s: seconds between a clip's pictures.
        share: of the videos' sources that are held out.    cache_gb: of pictures on disk, at most.
        workers: decoding processes; None for one a core.
    """

    start: str | None = None
    size: str | None = None
    out: Path | None = None
    stride_s: float = 0.5
    share: float = 0.1
    cache_gb: float = 20.0
    workers: int | None = None
    device: str = "auto"
    plan: Plan = field(default_factory=Plan)


def pretrain(
    folder: Path,
    wish: Wish,
    *,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress = lambda done, of, what: None,
    say: Say = lambda note: None,
) -> dict[str, Any]:
    """Train on an archive's videos; returns what `--json` prints.

    Raises:
        UsageError: the wish does not fit together, or no video can be used.    Refused: there is an encoder already, or an
        unfinished run with other settings.    WeightsUnavailable: of `start`.    NotFinite: see `loop.train`.
        KeyboardInterrupt: stopped.
    """
    from ...extract.encoders.registry import torch_device

    checked(wish)
    store = Store.open(folder)
    device = torch_device(wish.device, needed=True)
    size = wish.size or "small"
    start = new_start(size, wish.plan.seed) if wish.start is None else start_from(wish.start, wish.plan.seed)
    hidden_places(grid_of(start.model.config)[1], wish.plan.mask)
    out = Path(
        os.path.abspath(wish.out or store.root / "pretrained" / f"videomae-{'continued' if wish.start else size}")
    )
    require_free(out)
    run = RunFolder(out / RUN, config_of(store, wish, start))
    try:
        for note in run.notes:
            say(note)
        if run.resumed:
            say(f"Going on with an unfinished run in {run.path}.")
        footage = footage_of(store, wish, start, run.path, progress)
        material = material_of(footage, start)
        for note in notes_of(material, start):
            say(note)
        start.model.to(device)
        draw = picture_of(start, wish.plan, material, device, run.path / PICTURE)
        began = time.perf_counter()
        losses = [held_losses(start.model, wish.plan, material, device)]
        train(start.model, wish.plan, material, run, device, stop=stop, progress=progress, look=draw)
        losses.append(held_losses(start.model, wish.plan, material, device))
        result = outcome(wish.plan, wish.stride_s, start, material, out, losses, time.perf_counter() - began)
        finish(run, start, result)
    finally:
        run.close()
    return result


def checked(wish: Wish) -> None:
    """Raises:
    UsageError: something in it does not fit.
    """
    if wish.start is not None and wish.size is not None:
        raise UsageError("--size goes with an untrained model; --from brings its own. Give one of them.")
    plan = wish.plan
    require_least(
        ("--steps", plan.steps, 1),
        ("--batch", plan.batch, 1),
        ("--chunk", plan.chunk, 0),
        ("--every", plan.every, 1),
    )
    for option, number in (("--lr", plan.lr), ("--stride", wish.stride_s), ("--cache", wish.cache_gb)):
        if not 0 < number < math.inf:
            raise UsageError(f"{option} {number:g}: expected a number above 0.")


def require_free(out: Path) -> None:
    """Raises:
    Refused: a finished encoder is there, or something that no run left.
    """
    if (out / RUN / CHECKPOINT).exists():
        return
    if (out / WEIGHTS).exists() or (out.is_dir() and any(out.iterdir()) and not (out / RUN).is_dir()) or out.is_file():
        raise Refused(
            f"{out} holds an encoder or other things already; expected a new or empty folder, or an unfinished run. "
            "Choose another --out, or delete it. To train that encoder further: --from it, with another --out."
        )


def config_of(store: Store, wish: Wish, start: Start) -> dict[str, Any]:
    """All that decides the outcome but the footage, as JSON."""
    return {
        "archive": str(store.root.resolve()),
        "start": {"name": start.name, "weights_sha256": start.sha256},
        "held_out": wish.share,
        "stride_s": wish.stride_s,
        "cache_gb": wish.cache_gb,
        "model": {
            name: value for name, value in start.model.config.to_dict().items() if name != "transformers_version"
        },
        "plan": wish.plan.facts(),
    }


def footage_of(store: Store, wish: Wish, start: Start, folder: Path, progress: Progress) -> Footage:
    """From the run's folder where a run before decoded it, else of the archive's videos as they are now."""
    from ...extract.run import available_cores

    frames, geometry = start.model.config.num_frames, start.preprocessing.geometry
    key = {
        "archive": str(store.root.resolve()),
        "geometry": geometry.as_json(),
        "stride_s": wish.stride_s,
        "frames": frames,
        "cache_gb": wish.cache_gb,
        "share": wish.share,
        "seed": wish.plan.seed,
    }
    found = read_footage(folder, key)
    if found is not None:
        return found
    films, skipped = films_of(store)
    train_films, held = held_out(films, wish.share, wish.plan.seed)
    return decode_footage(
        folder,
        key,
        [*held, *shuffled(train_films, wish.plan.seed)],
        geometry,
        wish.stride_s,
        frames=frames,
        held=len(held),
        held_points=frames * clips_each(len(held)),
        limit_bytes=int(wish.cache_gb * 1e9),
        workers=wish.workers or available_cores(),
        faults=skipped,
        progress=progress,
    )


def clips_each(films: int) -> int:
    """Of how many clips a held-out film is looked at."""
    return math.ceil(HELD_CLIPS / max(1, films))


def material_of(footage: Footage, start: Start) -> Material:
    """What trains and what is looked at. A film of one picture is neither: nothing moves in it.

    Raises:
        UsageError: nothing is left to train on.
    """
    moving = [film for film, rows in enumerate(footage.rows) if len(rows) > 1]
    windows = footage.windows([film for film in moving if film >= footage.held])
    if not len(windows):
        few = "\n  ".join(f"{path}: {why}" for path, why in list(footage.faults.items())[:5])
        raise UsageError(
            f"no video with more than one picture is left to train on.\n  {few}\nTake a smaller --stride, or more videos."
        )
    return Material(
        footage, start.preprocessing, windows, held_windows(footage, [f for f in moving if f < footage.held])
    )


def held_windows(footage: Footage, films: list[int]) -> Whole:
    """(V, 2) at equal steps of each film, so that all films count alike."""
    picked = [np.zeros((0, 2), np.int64)]
    for film in films:
        windows = footage.windows([film])
        places = np.linspace(0, len(windows) - 1, min(len(windows), clips_each(len(films)))).round().astype(np.int64)
        picked.append(windows[np.unique(places)])
    return np.concatenate(picked)


def picture_of(start: Start, plan: Plan, material: Material, device: str, path: Path) -> Callable[[int], None]:
    """Call it to draw what the model says now beside what it said at the beginning, of held-out clips where there are any."""
    if not len(material.held):
        material = replace(material, held=material.train[:: max(1, len(material.train) // SHOWN_CLIPS)])
    places = np.linspace(0, len(material.held) - 1, SHOWN_CLIPS).round().astype(int)
    shown = replace(material, held=material.held[np.unique(places)])
    batch = held_batch(plan, shown, grid_of(start.model.config), 0, len(shown.held))
    before = reconstructions(start.model, batch, start.preprocessing, device)

    def draw(step: int) -> None:
        after = reconstructions(start.model, batch, start.preprocessing, device)["guessed"]
        rows = {"original": before["original"], "hidden": before["hidden"], "before": before["guessed"]}
        draw_reconstructions(path, {**rows, f"step {step}": after})

    return draw
