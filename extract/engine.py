"""Videos through decoders and encoders: the loop of a run. Knows nothing of archives.

    tasks -> Pool (decoding processes) -> pictures, clips -> Batches (encoding thread) -> rows -> finished tasks

One thread does everything but decode and encode. Videos finish in any order. A video whose decoder fails gets one more
try with the second backend; nothing else in the run notices.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .attempt import Attempt, settle, wants_second_opinion
from .batches import Batches
from .clips import ClipWish, change
from .encoders.base import ClipEncoder, Encoder, own_columns
from .errors import VideoError
from .geometry import Geometry
from .looks import COLUMNS
from .sample import Grid
from .take import ClipTake, Kind
from .workers.messages import Ended, Event, Job, Lane, Opened, Restarted, Sampled, Setup
from .workers.pool import Pool
from .workers.process import Limits, Worker

SLOTS = 16  # pictures a decoding process may be ahead
TICK_S = 0.1


@dataclass(frozen=True, slots=True)
class Plan:
    """How videos are sampled and decoded.

    Attributes:
        fps: samples per second of video.
        tier: `exact` (the frame shown at the time), `reference`, `keyframe` (the last such picture before it).
        decode_all: decode every frame instead of those that samples depend on; the same result, slower.
        skip_still: reuse the embedding where nothing moved, see `workers/still.py`.
        backends: decoders: the first is used, the second gives a second opinion after a fault.
        batch: frames per encoder call; None for automatic.
        clips: what is to be different from the plans of clip encoders.
        labels: how many of a clip's likeliest classes to keep.
    """

    fps: float = 1.0
    tier: str = "exact"
    decode_all: bool = False
    skip_still: bool = False
    backends: tuple[str, ...] = ("pyav", "decord")
    batch: int | None = None
    clips: ClipWish = ClipWish()
    labels: int = 0

    def kind(self, encoder: Encoder) -> Kind:
        """What the rows of an encoder will be.

        Raises:
            UsageError: it does not take the clips that are wished for.
        """
        clips = change(encoder.plan, self.clips, encoder.spec) if isinstance(encoder, ClipEncoder) else None
        return Kind((*COLUMNS, *own_columns(encoder)), clips)

    def sampling(self, kind: Kind) -> dict[str, object]:
        """What of the plan decides times and pixels, for the fingerprint."""
        if kind.plan:
            return {**kind.plan.as_json(), "decode": self.tier}
        return {"fps": self.fps, "decode": self.tier, **({"skip_still": True} if self.skip_still else {})}


@dataclass
class Task:
    """One video on its way through the run; `note` is the caller's own."""

    path: str
    note: Any = None
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def attempt(self) -> Attempt:
        return self.attempts[-1]

    def settled(self) -> tuple[Attempt, VideoError | None]:
        """As `attempt.settle`."""
        return settle(self.attempts)


def setup_of(encoders: Mapping[str, Encoder], kinds: Mapping[str, Kind], plan: Plan, limits: Limits) -> Setup:
    """The lanes of all encoders; equal geometries share one picture."""
    geometries: list[Geometry] = list(dict.fromkeys(encoder.geometry for encoder in encoders.values()))
    grids = [clips.grid if (clips := kinds[slug].plan) else Grid(plan.fps) for slug in encoders]
    lanes = [Lane(grid, geometries.index(e.geometry)) for grid, e in zip(grids, encoders.values(), strict=True)]
    return Setup(tuple(geometries), tuple(lanes), SLOTS, limits.memory_bytes, plan.skip_still)


class Engine:
    """One run's decoders and encoders.

    Args:
        kinds: of the rows, by encoder slug, in the order of `setup`'s lanes.

    Attributes:
        stopping: set it, and no new video is begun; those under way are finished.
    """

    def __init__(
        self, kinds: Mapping[str, Kind], plan: Plan, setup: Setup, pool: Pool, batches: Batches, threads: int = 1
    ) -> None:
        self._kinds = kinds
        self._geometry_of = [lane.geometry for lane in setup.lanes]
        self._plan = plan
        self._pool = pool
        self._batches = batches
        self._threads = threads
        self._under_way: list[Task] = []
        self._by_worker: dict[Worker, Task] = {}
        self._again: list[Task] = []
        self.stopping = False

    def run(self, tasks: Iterator[Task | None]) -> Iterator[Task | None]:
        """Finished tasks as they finish, and None whenever `TICK_S` passed.

        `tasks` may yield None for "not now, ask again when something has finished".
        """
        more = True
        while True:
            more = self._feed(tasks, more and not self.stopping)
            if not more and not self._under_way:
                return
            self._turn()
            finished = [task for task in self._under_way if self._is_finished(task)]
            self._under_way = [task for task in self._under_way if task not in finished]
            yield from finished
            yield None

    def _feed(self, tasks: Iterator[Task | None], more: bool) -> bool:
        """Give idle workers videos, second opinions first; False when there are no new ones left."""
        while (worker := self._pool.idle()) is not None:
            if self._again:
                self._start(worker, self._again.pop(), self._plan.backends[1])
                continue
            try:
                task = next(tasks) if more else None
            except StopIteration:
                return False
            if task is None:
                return more
            self._under_way.append(task)
            self._start(worker, task, self._plan.backends[0])
        return more

    def _start(self, worker: Worker, task: Task, backend: str) -> None:
        tier = self._plan.tier if backend == self._plan.backends[0] or self._plan.tier != "reference" else "exact"
        job = Job(task.path, backend, tier, self._plan.decode_all, self._threads)
        task.attempts.append(Attempt(job, self._kinds))
        self._by_worker[worker] = task
        worker.start(job)

    def _turn(self) -> None:
        """Take what decoders have, hand out what encoders have."""
        if not self._pool.busy:
            self._batches.flush()  # no picture comes now that could fill them
        if self._batches.behind or not self._pool.busy:
            self._pool.check()
            self._batches.deliver(TICK_S)
            return
        for worker, event in self._pool.poll(TICK_S):
            try:
                self._handle(worker, self._by_worker[worker], event)
            except (ValueError, IndexError) as error:
                worker.distrust(error)
        self._batches.deliver()

    def _handle(self, worker: Worker, task: Task, event: Event) -> None:
        attempt = task.attempt
        match event:
            case Opened():
                attempt.facts = event.facts
            case Restarted():
                attempt.restart(event.why)
            case Sampled():
                self._take(worker, attempt, event)
            case Ended():
                attempt.end(event)
                self._finish_clips(attempt)
                alone = len(task.attempts) == 1 < len(self._plan.backends)
                if alone and wants_second_opinion(attempt):
                    self._again.append(task)

    def _take(self, worker: Worker, attempt: Attempt, event: Sampled) -> None:
        """Copy the pictures of one sample to the encoders' batches, and free their slot."""
        for i, (slug, take) in enumerate(attempt.takes.items()):
            bit = 1 << i
            if not event.wanted & bit or take.fault is not None:
                continue
            if event.still & bit and not event.checked & bit:
                take.repeat(event.time_s)
                continue
            picture = worker.picture(event.slot, self._geometry_of[i])  # before a row is expected that never comes
            if isinstance(take, ClipTake):
                facts = attempt.facts
                source_px = (facts.height_px, facts.width_px) if facts else picture.shape[:2]
                for index, clip in take.push(event.time_s, picture, source_px):
                    self._batches.add(slug, take, index, clip)
                continue
            reused = take.row_of[-1] if event.checked & bit else None
            index = take.expect(event.time_s)
            if reused is not None:
                take.checks.append((index, reused))
            self._batches.add(slug, take, index, picture.copy())
        if event.slot >= 0:
            worker.free(event.slot)

    def _finish_clips(self, attempt: Attempt) -> None:
        """Encode the clips that were waiting for more frames; behind a fault nobody knows what is shown."""
        end_s = attempt.facts.duration_s if attempt.facts and attempt.fault is None else None
        for slug, take in attempt.takes.items():
            if isinstance(take, ClipTake) and take.fault is None:
                for index, clip in take.finish(attempt.clock.last_s or 0.0, end_s):
                    self._batches.add(slug, take, index, clip)

    def _is_finished(self, task: Task) -> bool:
        return task not in self._again and all(attempt.finished for attempt in task.attempts)
