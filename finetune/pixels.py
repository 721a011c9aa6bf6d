"""The pictures of pairs, decoded once: `pixels.npy` (R, H, W, 3) uint8 of an encoder's geometry, mapped from disk.

    pixels = cached_pixels(folder, films, geometry, grid, "exact", workers=4)
    pixels.frames[pixels.rows("id", places)]

Films are decoded as `extract` does it, by the same killable processes with the same times, so a picture is the one whose
feature
the archive has: the tests compare what an encoder says of these with what is stored. A film that is gone or has changed
    gives
no pictures, and `faults` says why; a film that hangs is killed.

Killed before its end, it begins anew next time: what is there whole (`pixels.json` is written last) is used again. It knows
neither pairs nor networks.

Costs the decoding that `extract` took (see its report), once, and H W 3 bytes a picture on disk: 150 KB at 224 px, so 1.2
GB for 1,000 pairs of 8 frames.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..extract.errors import Refused
from ..extract.files import write_json
from ..extract.geometry import Geometry
from ..extract.sample import Grid
from ..extract.workers.messages import Ended, Job, Lane, Sampled, Setup
from ..extract.workers.pool import Pool
from ..extract.workers.process import Limits, Worker

FRAMES, FACTS = "pixels.npy", "pixels.json"
SLOTS, TICK_S, WAIT_S = 16, 0.1, 0.5
NEAR_S = 1e-4  # times of the same picture in two decodes differ by rounding only

Whole = npt.NDArray[np.int64]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Film:
    """One video and what is wanted of it.

    Attributes:
        path, backend, decode_all: how `extract` decoded it.
        places: (K,) ascending, which of the archive's frames.    times_s: (K,) when those begin.
    """

    path: str
    places: Whole
    times_s: npt.NDArray[np.float64]
    backend: str = "pyav"
    decode_all: bool = False


@dataclass(frozen=True)
class Pixels:
    """Attributes:
    frames: (R, H, W, 3) uint8, mapped.    there: (R,) which came out of the decoder.
    faults: video id -> what was wrong with it.
    """

    frames: npt.NDArray[np.uint8]
    there: npt.NDArray[np.bool_]
    faults: dict[str, str]
    first: dict[str, int]
    places: dict[str, Whole]

    def rows(self, video_id: str, places: Whole) -> Whole:
        """(K,) rows of `frames` of these frames of a video; -1 for one that did not come out, or was not wanted."""
        known = self.places.get(video_id)
        if known is None or not len(known):
            return np.full(np.shape(places), -1, np.int64)
        at = np.minimum(np.searchsorted(known, places), len(known) - 1)
        row = self.first[video_id] + at
        return np.asarray(np.where((known[at] == places) & self.there[row], row, -1), np.int64)


def cached_pixels(
    folder: Path,
    films: Mapping[str, Film],
    geometry: Geometry,
    grid: Grid,
    tier: str,
    *,
    workers: int,
    decodes: bool = True,
    limits: Limits = Limits(),  # noqa: B008
    progress: Progress = lambda done, of, what: None,
) -> Pixels:
    """The pictures of `films` (by video id), from `folder` where they are there already.

    Args:
        grid, tier: of the sampling that made the archive's features.    workers: decoding processes.
        decodes: False for the further processes of a training on several: they wait until the first one has decoded, and
            have no time limit, for that may take hours; a launcher ends them if the first one fails.

    Raises:
        Refused: the disk has not enough room.
    """
    wanted = _key(films, geometry, grid, tier)
    counts = [len(film.places) for film in films.values()]
    first = dict(zip(films, np.cumsum([0, *counts])[:-1].tolist(), strict=True))
    places = {video_id: film.places for video_id, film in films.items()}
    facts = _read(folder / FACTS)
    while not decodes and facts.get("key") != wanted:
        time.sleep(WAIT_S)
        facts = _read(folder / FACTS)
    if facts.get("key") == wanted and (folder / FRAMES).is_file():
        frames = np.load(folder / FRAMES, mmap_mode="r")
        return Pixels(frames, np.array(facts["there"], bool), facts["faults"], first, places)
    _make_room(folder, sum(counts) * geometry.nbytes)
    out = np.lib.format.open_memmap(folder / FRAMES, "w+", np.uint8, (sum(counts), *geometry.shape))
    decoding = _Decoding(films, first, out)
    setup = Setup((geometry,), (Lane(grid, 0),), SLOTS, limits.memory_bytes)
    with Pool(workers, setup, limits) as pool:
        decoding.run(pool, tier, progress)
    out.flush()
    there = decoding.there
    faults = decoding.faults
    write_json(folder / FACTS, {"key": wanted, "there": there.astype(int).tolist(), "faults": faults})
    return Pixels(np.load(folder / FRAMES, mmap_mode="r"), there, faults, first, places)


@dataclass
class _Decoding:
    """Films on their way into the file."""

    films: Mapping[str, Film]
    first: Mapping[str, int]
    out: npt.NDArray[np.uint8]
    faults: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.there = np.zeros(len(self.out), bool)

    def run(self, pool: Pool, tier: str, progress: Progress) -> None:
        """All films, each by one process."""
        left, done = list(self.films), 0
        of: dict[Worker, str] = {}
        while left or pool.busy:
            while left and (worker := pool.idle()) is not None:
                film = self.films[left[0]]
                of[worker] = left.pop(0)
                worker.start(Job(film.path, film.backend, tier, film.decode_all))
            for worker, event in pool.poll(TICK_S):
                try:
                    if isinstance(event, Sampled):
                        self._take(of[worker], event.time_s, worker.picture(event.slot, 0))
                        worker.free(event.slot)
                except ValueError as error:  # a slot that is none
                    worker.distrust(error)
                if isinstance(event, Ended):
                    done += 1
                    self._end(of[worker], None if event.fault is None else str(event.fault))
                    progress(done, len(self.films), "films decoded")

    def _take(self, video_id: str, time_s: float, picture: npt.NDArray[np.uint8]) -> None:
        """Copied if it is wanted. After a restart the same pictures come again, and are the same."""
        times_s = self.films[video_id].times_s
        time_s = max(0.0, time_s)
        at = int(np.searchsorted(times_s, time_s - NEAR_S))
        if at < len(times_s) and abs(times_s[at] - time_s) <= NEAR_S:
            row = self.first[video_id] + at
            self.out[row], self.there[row] = picture, True

    def _end(self, video_id: str, fault: str | None) -> None:
        """A fault matters where pictures that are wanted did not come."""
        low = self.first[video_id]
        missing = int((~self.there[low : low + len(self.films[video_id].places)]).sum())
        if missing:
            why = fault or "the file has other frames than when its features were made"
            self.faults[video_id] = f"{missing} of {len(self.films[video_id].places)} pictures are missing: {why}"


def _key(films: Mapping[str, Film], geometry: Geometry, grid: Grid, tier: str) -> str:
    """Changes with whatever decides a picture."""
    digest = hashlib.sha256(json.dumps([geometry.as_json(), grid.rate, tier]).encode())
    for video_id, film in films.items():
        digest.update(f"{video_id} {film.backend} {film.decode_all} {film.places.tolist()}".encode())
        digest.update(np.ascontiguousarray(film.times_s, np.float64).tobytes())
    return digest.hexdigest()


def _read(path: Path) -> dict[str, Any]:
    """What a finished cache says of itself; nothing where there is none that can be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _make_room(folder: Path, nbytes: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in (FACTS, FRAMES):  # the facts first: without them the frames count as unfinished
        (folder / name).unlink(missing_ok=True)
    free = shutil.disk_usage(folder).free
    if nbytes > 0.9 * free:
        raise Refused(
            f"{folder}: the pictures of these pairs take {nbytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free. "
            "Make room, take fewer frames of each pair (--max-frames), or fewer pairs."
        )


def used(places: Sequence[Whole]) -> Whole:
    """Ascending, each once: all frames of one video that any of its pairs wants."""
    return np.unique(np.concatenate([np.zeros(0, np.int64), *places]))
