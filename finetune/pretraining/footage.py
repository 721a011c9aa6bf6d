"""The pictures that pre-training looks at: each video decoded once, one picture every `stride_s`, uint8, mapped from disk.

    footage = read_footage(folder, key) or decode_footage(folder, key, films, geometry, stride_s, frames=16, ...)
    footage.clips(windows)                    (B, T, H, W, 3) of (B, 2): which film, from which picture on

A clip is any `frames` pictures one after another, so one cached hour holds thousands of clips, which overlap. The picture of
a moment is the one shown then (`extract/sample.py`); of one that stands longer than a clip, a clip's length is kept. A video
shorter than a clip repeats its last picture, as `extract` does.

Videos are decoded as `extract` does it, by the same killable processes: one that hangs, crashes them or is damaged costs
itself only, and gives what came before. Killed before its end, the cache begins anew next time. What does not fit into
`limit_bytes` is left out: films are decoded in the order given, and the first that does not fit ends it.

Once it is whole, the videos are not needed any more: a run that was killed goes on from it, even where files were moved or
the archive has grown.

Costs the decoding that `extract` took, and H W 3 bytes a picture: 150 KB at 224 px, so 1.1 GB an hour of video at 0.5 s. A
clip of 16 is 2.4 MB read.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ...extract.errors import UsageError
from ...extract.files import write_json
from ...extract.geometry import Geometry
from ...extract.sample import TOLERANCE_S, Grid
from ...extract.workers.messages import Ended, Job, Lane, Restarted, Sampled, Setup
from ...extract.workers.pool import Pool
from ...extract.workers.process import Limits, Worker
from ..pixels import SLOTS, TICK_S
from .films import Film

PICTURES, FACTS = "footage.u8", "footage.json"

Whole = npt.NDArray[np.int64]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Footage:
    """Attributes:
    pictures: (R, H, W, 3) uint8, mapped.    frames: T of a clip.
    films: N paths.    rows: of each, which pictures are shown one stride after another; empty where none came.
    held: how many of the films, from the first on, are held out.    faults: path -> what was wrong with it.
    """

    pictures: npt.NDArray[np.uint8]
    frames: int
    films: tuple[str, ...]
    rows: tuple[Whole, ...]
    held: int
    faults: dict[str, str]

    def windows(self, films: Sequence[int]) -> Whole:
        """(W, 2) film and first point of every clip of these films; of one that is shorter than a clip there is one."""
        counts = [(film, max(1, len(self.rows[film]) - self.frames + 1)) for film in films if len(self.rows[film])]
        return np.concatenate(
            [np.zeros((0, 2), np.int64)]
            + [np.stack([np.full(count, film), np.arange(count)], axis=1) for film, count in counts]
        )

    def clips(self, windows: Whole) -> npt.NDArray[np.uint8]:
        """(B, T, H, W, 3) of (B, 2) windows."""
        steps = np.arange(self.frames)
        rows = [
            self.rows[film][np.minimum(first + steps, len(self.rows[film]) - 1)] for film, first in windows.tolist()
        ]
        return self.pictures[np.array(rows, np.int64).reshape(-1, self.frames)]


def read_footage(folder: Path, key: Mapping[str, Any]) -> Footage | None:
    """What `decode_footage` left there for the same key; None where it did not, or not to its end."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        size = (folder / PICTURES).stat().st_size
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict) or facts.get("key") != dict(key) or size != math.prod(facts["shape"]):
        return None
    return Footage(
        np.memmap(folder / PICTURES, np.uint8, "r", shape=tuple(facts["shape"])),
        facts["frames"],
        tuple(facts["films"]),
        tuple(np.array(of, np.int64) for of in facts["rows"]),
        facts["held"],
        facts["faults"],
    )


def decode_footage(
    folder: Path,
    key: Mapping[str, Any],
    films: Sequence[Film],
    geometry: Geometry,
    stride_s: float,
    *,
    frames: int,
    held: int,
    held_points: int,
    limit_bytes: int,
    workers: int,
    faults: Mapping[str, str] = MappingProxyType({}),
    limits: Limits = Limits(),  # noqa: B008
    progress: Progress = lambda done, of, what: None,
) -> Footage:
    """The pictures of `films`, or as many as fit.

    Args:
        key: plain values; another one is other footage.    frames: of a clip.
        held: how many of the films, from the first on, are held out; of those `held_points` pictures are enough.
        faults: of videos that are not among the films, to be kept with the others.    workers: decoding processes.

    Raises:
        UsageError: not one picture came out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drop_footage(folder)
    room = min(limit_bytes, int(0.9 * shutil.disk_usage(folder).free))
    most = [held_points if film < held else room for film in range(len(films))]
    setup = Setup((geometry,), (Lane(Grid(1 / stride_s), 0),), SLOTS, limits.memory_bytes)
    with Pool(workers, setup, limits) as pool, (folder / PICTURES).open("wb") as out:
        decoding = _Decoding(films, most, out, room // geometry.nbytes)
        decoding.run(pool, progress)
    faults = {**faults, **decoding.faults}
    if not decoding.count:
        few = "\n  ".join(f"{path}: {why}" for path, why in list(faults.items())[:5]) or "there are none"
        raise UsageError(
            f"no video can be used:\n  {few}\nPre-training needs the videos where they were, or extracted again."
        )
    points = zip(decoding.times_s, decoding.rows, strict=True)
    facts = {
        "key": dict(key),
        "shape": [decoding.count, *geometry.shape],
        "frames": frames,
        "films": [film.path for film in films],
        "rows": [points_of(times_s, rows, stride_s, frames).tolist() for times_s, rows in points],
        "held": held,
        "faults": faults,
    }
    write_json(folder / FACTS, facts)
    made = read_footage(folder, key)
    assert made is not None, "what was just written"
    return made


def drop_footage(folder: Path) -> None:
    """The cache is not needed any more."""
    for name in (FACTS, PICTURES):
        (folder / name).unlink(missing_ok=True)


@dataclass
class _Decoding:
    """Films on their way into the file, `room` pictures at most."""

    films: Sequence[Film]
    most: Sequence[int]
    out: BinaryIO
    room: int
    count: int = 0
    faults: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.times_s: list[list[float]] = [[] for _ in self.films]
        self.rows: list[list[int]] = [[] for _ in self.films]
        self.of: dict[Worker, int] = {}

    def run(self, pool: Pool, progress: Progress) -> None:
        """All films, each by one process, until there is no room."""
        begun = done = 0
        while begun < len(self.films) or pool.busy:
            while begun < len(self.films) and (worker := pool.idle()) is not None:
                film = self.films[begun]
                self.of[worker] = begun
                begun += 1
                worker.start(Job(film.path, film.backend, "exact", film.decode_all))
            for worker, event in pool.poll(TICK_S):
                if isinstance(event, Ended):
                    done += 1
                    self._end(self.of[worker], event)
                    progress(done, len(self.films), "videos decoded")
                else:
                    self._handle(worker, event)
                if self.count >= self.room:
                    self._full(begun, {self.of[worker] for worker in self.of if worker.job is not None})
                    return

    def _handle(self, worker: Worker, event: object) -> None:
        film = self.of[worker]
        try:
            if isinstance(event, Restarted):
                self.times_s[film], self.rows[film] = [], []
            if isinstance(event, Sampled):
                if len(self.rows[film]) < self.most[film]:
                    self.out.write(np.ascontiguousarray(worker.picture(event.slot, 0)).data)
                    self.times_s[film].append(event.time_s)
                    self.rows[film].append(self.count)
                    self.count += 1
                worker.free(event.slot)
        except (ValueError, IndexError) as error:  # a slot that is none
            worker.distrust(error)

    def _end(self, film: int, ended: Ended) -> None:
        path = self.films[film].path
        if not self.rows[film]:
            self.faults[path] = f"no picture came out: {ended.fault or 'it has none'}"
        elif ended.fault is not None:
            self.faults[path] = f"used up to {self.times_s[film][-1]:.1f} s: {ended.fault}"

    def _full(self, begun: int, under_way: set[int]) -> None:
        for film in under_way:
            last = f"used up to {self.times_s[film][-1]:.1f} s" if self.rows[film] else "left out"
            self.faults[self.films[film].path] = f"{last}: --cache is full"
        for film in range(begun, len(self.films)):
            self.faults[self.films[film].path] = "left out: --cache is full"


def points_of(times_s: Sequence[float], rows: Sequence[int], stride_s: float, frames: int) -> Whole:
    """(P,) of the points 0, stride, 2 stride ... up to the last picture's time: the row of the picture shown then.

    A picture that stands at more than `frames` points counts as if it stood at `frames`: more of it would be clips without
    any motion, and a header may claim that the last but one stands for years.

    times 0 1 3, rows 5 6 7, stride 0.5: 5 5 6 6 6 6 7        the same with frames 2: 5 5 6 6 7
    """
    if not rows:
        return np.zeros(0, np.int64)
    at = np.asarray(times_s, np.float64)
    first = np.ceil((at - TOLERANCE_S) / stride_s)  # the first point that each is shown at
    first[0] = 0  # nothing was shown before it
    shown = np.diff(first, append=first[-1] + 1)
    return np.repeat(np.asarray(rows, np.int64), np.clip(shown, 0, frames).astype(np.int64))
