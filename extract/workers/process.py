"""One decoding process, seen from the run: started when needed, killed when it hangs, grows or crashes, started again.

A process that hangs inside C cannot say so. It is known by its beats: they stop. Time it waits for the run, which has
not read what it said, counts neither for the beats nor for the deadline.

Nothing here waits for the process, whatever it does or says: one that a hostile file has taken over may stop halfway
through a message, stop reading, or close its end and go on.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait

from ..decode.base import Effort
from ..errors import NightreelError, VideoError
from ..sample import Clock
from .arena import IDLE, WORKING, Arena, Picture, arena_bytes, create_memory
from .messages import Channel, Ended, Event, Job, Opened, Setup, unpack

_CHECK_EVERY_S, _AT_MOST_S = 0.1, 1.0
_STARTS_WITHIN_S = 300.0  # Python and its libraries may come over a slow network
_DIES_WITHIN_S = 2.0  # longer only in a system call that never returns, on a disk that does not answer
_SIGNALS = {signal.SIGINT, signal.SIGTERM}


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
        return self.floor_s + self.multiple * max(0.0, duration_s or 0.0)


class Worker:
    """A slot in the pool: at most one child process and one job at a time."""

    def __init__(self, setup: Setup, limits: Limits) -> None:
        self._setup = setup
        self._limits = limits
        self._child: subprocess.Popen[bytes] | None = None
        self._channel: Channel  # while there is a child
        self._arena: Arena
        self._gave_up: VideoError | None = None
        self._untrusted = False
        self._worked_s = self._deadline_s = 0.0  # of the job
        self._beats, self._silent_s, self._checked_at = -1, 0.0, 0.0
        self.job: Job | None = None
        self._busy_s = self._started_at = self._waited_s = 0.0  # of the jobs before; of the job

    # --- work ---

    def start(self, job: Job) -> None:
        """Give it a video; starts the process if there is none that waits for one."""
        if not self._is_ready():
            self.kill()
            self._spawn()
        self.job, self._gave_up, self._untrusted = job, None, False
        self._worked_s, self._deadline_s = 0.0, self._limits.deadline_s(None)
        self._beats, self._silent_s, self._checked_at = self._arena.beats, 0.0, time.monotonic()
        self._started_at, self._waited_s = self._checked_at, self._arena.waited_s
        if not self._beats:  # that it takes long to start is not the video's fault
            self._silent_s = self._worked_s = -_STARTS_WITHIN_S
        self._send(asdict(job))

    def free(self, slot: int) -> None:
        """The run has copied what was in a slot."""
        self._send({"free": slot})

    def picture(self, slot: int, geometry: int) -> Picture:
        """As `Arena.picture`."""
        return self._arena.picture(slot, geometry)

    @property
    def channel(self) -> Channel:
        """To wait on; valid while a job runs."""
        return self._channel

    def receive(self) -> Event | None:
        """The next event, or None when there is none now. A process that died ends its job with a fault."""
        if self.job is None:
            return None
        if self._untrusted:
            return self._lost()
        try:
            message = self._channel.receive(wait=False)
            if message is None:
                return self._lost() if self._is_gone() else None
            event = unpack(message)
        except (EOFError, OSError):
            return self._lost()
        except ValueError as error:
            self.distrust(error)
            return self._lost()
        if isinstance(event, Opened):
            self._deadline_s = self._limits.deadline_s(event.facts.duration_s)
        if isinstance(event, Ended):
            self._end(event)
        return event

    @property
    def busy_s(self) -> float:
        """Seconds of work on videos, all of them together, without waiting for the run."""
        if self.job is None:
            return self._busy_s
        passed_s = time.monotonic() - self._started_at
        return self._busy_s + max(0.0, passed_s - max(0.0, self._arena.waited_s - self._waited_s))

    # --- life ---

    @property
    def has_process(self) -> bool:
        return self._child is not None

    def check(self) -> None:
        """Kill the process if it hangs, takes too long or grows too large; `receive` then tells the rest."""
        if self.job is None or self._gave_up is not None or time.monotonic() - self._checked_at < _CHECK_EVERY_S:
            return
        looked_s = self._account()
        beats = self._arena.beats
        silent = beats == self._beats and not self._waits()
        self._silent_s = self._silent_s + looked_s if silent else 0.0
        if beats and not self._beats:
            self._worked_s = 0.0
        self._beats = beats
        if self._silent_s > self._limits.stall_s:
            self._give_up("timeout", f"no sign of life for {self._limits.stall_s:g} s while decoding (it hangs)")
        elif self._worked_s > self._deadline_s:
            self._give_up("timeout", f"not finished after {self._deadline_s:g} s of work (see --deadline)")
        elif _resident_bytes(self._child) > self._limits.memory_bytes:
            self._give_up("out_of_memory", f"decoding took more than {self._limits.memory_bytes >> 20} MB of memory")

    def distrust(self, error: Exception) -> None:
        """What it says makes no sense: a decoder that a hostile file has taken over, or a bug. It is stopped."""
        if self._gave_up is None and self.job is not None:
            self._untrusted = True  # from here on, also what it has said already
            self._give_up("crashed", f"the decoding process talked nonsense ({error}) and was stopped")

    def kill(self) -> None:
        """End the process at once, whatever it does."""
        if self._child is not None:
            self._child.kill()
            self._exit_code()
            self._channel.close()
            self._child = None

    def _account(self) -> float:
        """Count the time since the last check, unless the process waits for the run now."""
        now = time.monotonic()
        passed_s, self._checked_at = now - self._checked_at, now
        # A long time between two looks tells nothing: the run was busy, or the machine stood still for all.
        looked_s = min(passed_s, _AT_MOST_S)
        if not self._waits():
            self._worked_s += looked_s
        return looked_s

    def _give_up(self, kind: str, words: str) -> None:
        self._gave_up = VideoError(kind, words)
        assert self._child is not None
        self._child.kill()  # what it said before is still in the pipe

    def _waits(self) -> bool:
        """Whether it has nothing to do before the run reads what it said. That it says so is not enough."""
        return self._arena.state != WORKING and (self._channel.holds_more or bool(wait([self._channel.fileno()], 0)))

    def _is_gone(self) -> bool:
        """Whether it is dead. Its channel need not be closed: processes that a decoder started may have it open."""
        return self._child is None or self._gave_up is not None or self._child.poll() is not None

    def _is_ready(self) -> bool:
        """Whether there is a process that waits for a job, with nothing left to say about the last one.

        One that said it had ended, and goes on, would spoil the next video.
        """
        try:
            return not self._is_gone() and self._arena.state == IDLE and self._channel.receive(wait=False) is None
        except (EOFError, OSError, ValueError):
            return False

    def _lost(self) -> Ended:
        """The end of a job whose process is gone, or is not listened to any more.

        Raises:
            NightreelError: it could not even start.
        """
        fault = self._gave_up
        if fault is None:
            code = self._exit_code()
            if code is not None and code > 0 and not self._arena.beats:  # it never began: no video is to blame
                raise NightreelError(
                    f"decoding processes cannot start (exit code {code}). See why with: "
                    f"{sys.executable} -P -m {__package__}.child"
                )
            fault = VideoError(*_how_it_died(code))
        ended = Ended(Clock(), Effort(frames=self._arena.frames), fault)
        self._end(ended)
        return ended

    def _end(self, ended: Ended) -> None:
        """The next video must not suffer from this one: after a fault of the decoder it gets a new process."""
        self._busy_s, self.job = self.busy_s, None
        spoilt = ended.fault is not None and ended.fault.kind in ("crashed", "out_of_memory")
        if spoilt or self._gave_up is not None or _resident_bytes(self._child) > self._limits.memory_bytes // 2:
            self.kill()

    def _exit_code(self) -> int | None:
        """How the process ended; None if it lives on."""
        assert self._child is not None
        with suppress(subprocess.TimeoutExpired):
            return self._child.wait(_DIES_WITHIN_S)
        return None

    def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        fd = create_memory(arena_bytes(self._setup.geometries, self._setup.slots))
        # It inherits that these are blocked, and keeps them so: terminals and schedulers send them to the whole group,
        # but the run decides what is finished.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._arena = Arena(fd, self._setup.geometries, self._setup.slots)
            self._channel = Channel(ours)
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
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _send(self, message: dict[str, object]) -> None:
        try:
            self._channel.send(json.dumps(message).encode(), wait=False)
        except BlockingIOError:
            self.distrust(ValueError("it does not listen"))
        except OSError:  # it died; `receive` finds out
            pass


def _how_it_died(code: int | None) -> tuple[str, str]:
    if code is None:
        return "crashed", "the decoding process closed its line to the run and went on"
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
