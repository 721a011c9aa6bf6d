"""A decoding process: takes jobs, decodes, puts scaled pictures into shared memory, says so. Runs nothing else.

Started by `process.py` as `python -m nightreel.extract.workers.child`; one thread; never imports torch. It may be killed
at any instant. It cannot know that it hangs; the run sees that its beats stop. Costs 0.2 s to start and about 60 MB.

The run blocks SIGINT and SIGTERM in it, see `process.py`. It ends when the run's end of the channel closes, and on Linux
the kernel kills it with the run, even when it hangs in C.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from ..decode.base import DecodedFrame, Effort, Reader, Restart
from ..decode.open import open_video
from ..errors import VideoError
from ..sample import Clock
from .arena import IDLE, WAITING, WORKING, Arena, Picture
from .messages import NO_SLOT, Channel, Ended, Event, Job, Opened, Restarted, Sampled, Setup, pack, setup_from_json
from .still import CHECK_EVERY, is_still

PR_SET_PDEATHSIG = 1


class Child:
    """The loop: job in, events out."""

    def __init__(self, channel: Channel, arena: Arena, setup: Setup) -> None:
        self._channel = channel
        self._arena = arena
        self._setup = setup
        self._free = list(range(setup.slots))
        self._last: dict[int, Picture] = {}  # per lane, the picture that was sent last; of this video
        self._stills = 0
        self._reader: Reader | None = None  # of this video, once it is open

    def serve(self) -> None:
        """Work until the run closes the channel."""
        while True:
            message = json.loads(self._hear(wait=True) or b"")
            if "free" in message:
                self._free.append(message["free"])
            else:
                self._arena.state = WORKING
                self._arena.beat(0)  # not the frames of the video before
                self._say(self._decode(Job(**message)), before=IDLE, after=IDLE)

    def _decode(self, job: Job) -> Ended:
        """Decode one video as far as it goes. Whatever a library raises is a fault of this video."""
        decode_all = job.decode_all
        self._reader = None
        try:
            while True:
                self._last.clear()
                with open_video(job.path, job.backend, job.tier, decode_all, job.threads) as reader:
                    self._reader = reader
                    reader.on_beat = partial(self._beat, reader)
                    self._say(Opened(reader.facts))
                    try:
                        for frame, wanted in reader.samples([lane.grid for lane in self._setup.lanes]):
                            self._hand_over(frame, wanted)
                        return self._ended()
                    except Restart as restart:
                        if decode_all:
                            raise  # nothing is left out any more: it would go on for ever
                        self._say(Restarted(restart.why))
                        decode_all = True
        except VideoError as error:
            return self._ended(error)
        except MemoryError as error:
            return self._ended(VideoError("out_of_memory", f"no memory to decode this video {error}".strip()))
        except Exception as error:  # one odd file must not stop the night, whatever a library raises for it
            return self._ended(VideoError("crashed", f"{type(error).__name__}: {error}"))

    def _ended(self, fault: VideoError | None = None) -> Ended:
        reader = self._reader  # which has its own clock and effort for every time it opened the file
        return Ended(reader.clock, reader.effort, fault) if reader else Ended(Clock(), Effort(), fault)

    def _beat(self, reader: Reader) -> None:
        self._arena.beat(reader.effort.frames)

    def _hand_over(self, frame: DecodedFrame, wanted: int) -> None:
        """Put the pictures that lanes want into a slot and say so; of lanes where nothing moved, only say that."""
        lanes = [(i, lane) for i, lane in enumerate(self._setup.lanes) if wanted >> i & 1]
        pictures = {g: frame.picture(self._setup.geometries[g]) for g in {lane.geometry for _, lane in lanes}}
        still, checked = 0, 0
        if self._setup.skip_still:
            single = [
                (i, lane) for i, lane in lanes if lane.grid.frames == 1
            ]  # in a clip, stillness is what is looked at
            still = sum(1 << i for i, lane in single if self._is_still(i, pictures[lane.geometry]))
            self._stills += bool(still)
            checked = still if self._stills % CHECK_EVERY == 1 else 0
        sent = wanted & ~still | checked
        slot = self._slot() if sent else NO_SLOT
        for i, lane in lanes:
            if sent >> i & 1:
                self._arena.picture(slot, lane.geometry)[:] = pictures[lane.geometry]
                if self._setup.skip_still:
                    self._last[i] = pictures[lane.geometry]
        self._say(Sampled(slot, frame.time_s, wanted, still, checked))

    def _is_still(self, lane: int, picture: Picture) -> bool:
        return lane in self._last and is_still(self._last[lane], picture)

    def _slot(self) -> int:
        """A free slot; waits for the run to free one, and says that it waits."""
        self._arena.state = WAITING
        while message := self._hear(wait=not self._free):
            self._free.append(json.loads(message)["free"])
        self._arena.state = WORKING
        return self._free.pop()

    def _say(self, event: Event, *, before: int = WAITING, after: int = WORKING) -> None:
        """Send; it waits while the run does not read. The states are those that the run finds before and after."""
        self._arena.state = before
        try:
            self._channel.send(pack(event), wait=True)
        except OSError:
            sys.exit()  # the run is gone
        self._arena.state = after
        self._arena.beat(self._arena.frames)

    def _hear(self, *, wait: bool) -> bytes | None:
        try:
            return self._channel.receive(wait=wait)
        except (EOFError, OSError):
            sys.exit()  # the run is gone


def limit_memory(limit_bytes: int) -> None:
    """Allocations beyond `limit_bytes` fail from now on, as far as this system can (Linux does)."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash must not fill the disk with cores


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the run dies, also while it hangs in C (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)  # it died before we asked


def main(arguments: Iterator[str]) -> None:
    """Arguments: descriptor of the channel, descriptor of the memory, process id of the run, `Setup` as JSON."""
    channel_fd, memory_fd, parent, text = arguments
    die_with_parent(int(parent))
    # Encoding goes first: its threads wait for each other, and one that must wait for a core holds up all (ViT-B-32 on two
    # cores: a run of 32 s became 22 s). What decoding may need is the rest.
    os.nice(10)
    setup = setup_from_json(text)
    limit_memory(setup.memory_bytes)
    arena = Arena(int(memory_fd), setup.geometries, setup.slots)
    Child(Channel(socket.socket(fileno=int(channel_fd))), arena, setup).serve()


if __name__ == "__main__":
    if len(sys.argv) == 1:  # somebody looks into why it does not
        sys.exit("It starts here. Only a run of `nightreel extract` can use it.")
    main(iter(sys.argv[1:]))
