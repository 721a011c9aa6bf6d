"""One decoding process, seen from the run: started when needed, killed when it hangs, grows or crashes, started again.

A process that hangs inside C cannot say so. It is known by its beats: they stop while its state is "working". Time it
waits for the run to free a slot does not count, neither for the beats nor for the deadline.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection

from ..decode.base import Effort
from ..errors import VideoError
from ..sample import Clock
from .arena import WORKING, Arena, Picture, arena_bytes, create_memory
from .messages import MAX_MESSAGE_BYTES, Ended, Event, Job, Opened, Setup, unpack


@dataclass(frozen=True, slots=True)
class Limits:
    """When a decoding process is given up.

    Attributes:
        floor_s, multiple: a video may take `floor_s + multiple * duration` seconds of work.
        stall_s: without any sign of life.    memory_bytes: of one process.
    """

    floor_s: float = 120.0
    multiple: float = 10.0
    stall_s: float = 60.0
    memory_bytes: int = 4 << 30

    def deadline_s(self, duration_s: float | None) -> float:
        """Seconds of work a video of this length may take."""
        return self.floor_s + self.multiple * (duration_s or 0.0)


class Worker:
    """A slot in the pool: at most one child process and one job at a time."""

    def __init__(self, setup: Setup, limits: Limits) -> None:
        self._setup = setup
        self._limits = limits
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection[bytes, bytes]  # while there is a child
        self._arena: Arena
        self._gave_up: VideoError | None = None
        self._worked_s = self._deadline_s = 0.0  # of the job
        self._beats, self._alive_at, self._checked_at = -1, 0.0, 0.0
        self.job: Job | None = None
        self.busy_s = 0.0  # working on videos, all of them together

    # --- work ---

    def start(self, job: Job) -> None:
        """Give it a video; starts the process if there is none."""
        if self._child is None:
            self._spawn()
        self.job, self._gave_up = job, None
        self._worked_s, self._deadline_s = 0.0, self._limits.deadline_s(None)
        self._beats, self._alive_at = -1, time.monotonic()
        self._checked_at = self._alive_at
        self._send(asdict(job))

    def free(self, slot: int) -> None:
        """The run has copied what was in a slot."""
        self._send({"free": slot})

    def picture(self, slot: int, geometry: int) -> Picture:
        """As `Arena.picture`."""
        return self._arena.picture(slot, geometry)

    @property
    def pipe(self) -> "Connection[bytes, bytes]":
        """To wait on; valid while a job runs."""
        return self._pipe

    def receive(self) -> Event | None:
        """The next event, or None when there is none now. A process that died ends its job with a fault."""
        if self.job is None:
            return None
        try:
            if not self._pipe.poll():
                return None
            event = unpack(self._pipe.recv_bytes(MAX_MESSAGE_BYTES))
        except (EOFError, OSError, ValueError) as error:
            return self._died(error)
        if isinstance(event, Opened):
            self._deadline_s = self._limits.deadline_s(event.facts.duration_s)
        if isinstance(event, Ended):
            self._account()
            self.job = None
        return event

    # --- life ---

    @property
    def has_process(self) -> bool:
        return self._child is not None

    def check(self) -> None:
        """Kill the process if it hangs, takes too long or grows too large; `receive` then tells the rest."""
        if self.job is None or self._gave_up is not None:
            return
        now = self._account()
        beats = self._arena.beats
        if beats != self._beats or self._arena.state != WORKING:
            self._beats, self._alive_at = beats, now
        if now - self._alive_at > self._limits.stall_s:
            self._give_up("timeout", f"no sign of life for {self._limits.stall_s:g} s while decoding (it hangs)")
        elif self._worked_s > self._deadline_s:
            self._give_up("timeout", f"not finished after {self._deadline_s:g} s of work (see --deadline)")
        elif _resident_bytes(self._child) > self._limits.memory_bytes:
            self._give_up("out_of_memory", f"decoding took more than {self._limits.memory_bytes >> 20} MB of memory")

    def distrust(self, error: Exception) -> None:
        """What it says makes no sense: a decoder that a hostile file has taken over, or a bug. It is stopped."""
        if self._gave_up is None and self.job is not None:
            self._give_up("crashed", f"the decoding process talked nonsense ({error}) and was stopped")

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._pipe.close()
            self._child = None

    def _account(self) -> float:
        now = time.monotonic()
        if self._arena.state == WORKING:
            self._worked_s += now - self._checked_at
            self.busy_s += now - self._checked_at
        self._checked_at = now
        return now

    def _give_up(self, kind: str, words: str) -> None:
        self._gave_up = VideoError(kind, words)
        assert self._child is not None
        self._child.kill()  # what it said before is still in the pipe

    def _died(self, error: Exception) -> Ended:
        """The end of a job whose process is gone, or talks nonsense."""
        assert self._child is not None
        if isinstance(error, ValueError):
            self.distrust(error)
        fault = self._gave_up or VideoError(*_how_it_died(self._child.wait()))
        effort = Effort(frames=self._arena.frames)
        self.kill()
        self.job = None
        return Ended(Clock(), effort, fault)

    def _spawn(self) -> None:
        ours, theirs = Pipe()
        fd = create_memory(arena_bytes(self._setup.geometries, self._setup.slots))
        try:
            self._arena = Arena(fd, self._setup.geometries, self._setup.slots)
            command = [sys.executable, "-P", "-m", f"{__package__}.child"]  # -P: not from the current folder
            command += [str(theirs.fileno()), str(fd), str(os.getpid()), self._setup.as_json()]
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # libraries' chatter; what matters comes as an event
                pass_fds=(theirs.fileno(), fd),
            )
        finally:
            os.close(fd)
            theirs.close()
        self._pipe = ours

    def _send(self, message: dict[str, object]) -> None:
        with suppress(OSError):  # it died; `receive` finds out
            self._pipe.send_bytes(json.dumps(message).encode())


def _how_it_died(code: int) -> tuple[str, str]:
    if code == -signal.SIGKILL:
        return "out_of_memory", "the decoding process was killed from outside, most likely for want of memory"
    if code < 0:
        return "crashed", f"the decoder crashed ({signal.Signals(-code).name})"
    return "crashed", f"the decoding process ended by itself (exit code {code})"


def _resident_bytes(child: "subprocess.Popen[bytes] | None") -> int:
    """Resident memory of a process; 0 where the system does not tell (then only its own limit holds)."""
    try:
        with open(f"/proc/{child.pid if child else 0}/statm", "rb") as handle:
            return int(handle.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
