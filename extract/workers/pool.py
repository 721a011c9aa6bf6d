"""Several decoding processes, and what they say, as one stream of events.

Processes start when there is work for them and stay for the whole run; one that was killed is replaced at the next
video. The caller owns the clock: it must `poll` at least every second or so, because that is when hanging processes
are found.
"""

from collections.abc import Iterator
from multiprocessing.connection import wait
from types import TracebackType
from typing import Self

from .messages import Event, Setup
from .process import Limits, Worker

_AT_ONCE = 16  # events of one worker before the others have their turn


class Pool:
    """Use it as a context manager; leaving it kills what still runs."""

    def __init__(self, workers: int, setup: Setup, limits: Limits) -> None:
        self._workers = [Worker(setup, limits) for _ in range(workers)]

    def idle(self) -> Worker | None:
        """A worker without a job, rather one that has its process already."""
        free = [worker for worker in self._workers if worker.job is None]
        return min(free, key=lambda worker: not worker.has_process, default=None)

    @property
    def busy(self) -> int:
        """How many videos are being decoded."""
        return sum(worker.job is not None for worker in self._workers)

    @property
    def busy_s(self) -> float:
        """Seconds of work of all workers together, without waiting for the run."""
        return sum(worker.busy_s for worker in self._workers)

    def poll(self, timeout_s: float) -> Iterator[tuple[Worker, Event]]:
        """What the workers say within `timeout_s`, as soon as one says something. A picture must be copied and its
        slot freed before the next event is asked for."""
        working = [worker for worker in self._workers if worker.job is not None]
        here = any(worker.channel.holds_more for worker in working)  # said already, so there is nothing to wait for
        wait([worker.channel.fileno() for worker in working], 0 if here or not working else timeout_s)
        for worker in working:
            worker.check()
            for _ in range(_AT_ONCE):
                event = worker.receive()
                if event is None:
                    break
                yield worker, event

    def check(self) -> None:
        """Look for hanging processes, when there is no time to poll."""
        for worker in self._workers:
            worker.check()

    def kill(self) -> None:
        """End all processes at once."""
        for worker in self._workers:
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
