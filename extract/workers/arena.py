"""Pictures from a decoding process to the run's, through shared memory: a header and a fixed number of equal slots.

    header   beats | state | frames decoded | ns waited   (uint64 each; written by the decoding process, read by the run)
    slot 0   picture of geometry 0 | of geometry 1 | ...
    slot 1   ...

The memory has no name (memfd, or an unlinked file where there is none), so whoever is killed leaves nothing behind.
Who may write a slot is settled by messages: the decoding process owns it until it says "filled", the run until it
says "free". Costs one page per 4 KB that was ever used, whatever the length of the video.
"""

import fcntl
import mmap
import os
import tempfile
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..geometry import Geometry

IDLE, WORKING, WAITING = 0, 1, 2  # states; WAITING: for a free slot, which is not the video's fault
_HEADER_BYTES = 64
_BEATS, _STATE, _FRAMES, _WAITED_NS = 0, 1, 2, 3
_MOST_FRAMES = (1 << 63) - 1  # what a table holds; a decoder that writes where it should not may leave anything here

Picture = npt.NDArray[np.uint8]


class Arena:
    """Both sides' view of one worker's memory.

    Args:
        fd: of the memory, see `create_memory`.    geometries: of the pictures in a slot.    slots: how many.
    """

    def __init__(self, fd: int, geometries: Sequence[Geometry], slots: int) -> None:
        self._geometries = list(geometries)
        self._slots = slots
        self._map = mmap.mmap(fd, arena_bytes(geometries, slots))
        self._header = np.frombuffer(self._map, np.uint64, count=4)
        self._since_ns = 0  # when the state was last set, on the side that sets it

    def picture(self, slot: int, geometry: int) -> Picture:
        """(H, W, 3) uint8 view of one picture.

        Raises:
            ValueError: there is no such slot or geometry; the other side may be broken or hostile.
        """
        if not (0 <= slot < self._slots and 0 <= geometry < len(self._geometries)):
            raise ValueError(f"slot {slot}, geometry {geometry}: expected < {self._slots}, {len(self._geometries)}")
        offset = _HEADER_BYTES + slot * slot_bytes(self._geometries)
        offset += slot_bytes(self._geometries[:geometry])
        shown = self._geometries[geometry]
        return np.frombuffer(self._map, np.uint8, shown.nbytes, offset).reshape(shown.shape)

    def beat(self, frames: int) -> None:
        """A sign of life: something was read or decoded; `frames` came out of the decoder so far."""
        self._header[_BEATS] += np.uint64(1)
        self._header[_FRAMES] = frames

    @property
    def beats(self) -> int:
        return int(self._header[_BEATS])

    @property
    def frames(self) -> int:
        return min(int(self._header[_FRAMES]), _MOST_FRAMES)

    @property
    def state(self) -> int:
        return int(self._header[_STATE])

    @state.setter
    def state(self, value: int) -> None:
        now_ns = time.monotonic_ns()
        if self._header[_STATE] == WAITING:
            self._header[_WAITED_NS] += np.uint64(now_ns - self._since_ns)
        self._since_ns = now_ns
        self._header[_STATE] = value

    @property
    def waited_s(self) -> float:
        """How long the decoding process was in the state WAITING, all its videos together."""
        return float(self._header[_WAITED_NS]) / 1e9


def slot_bytes(geometries: Sequence[Geometry]) -> int:
    return sum(geometry.nbytes for geometry in geometries)


def arena_bytes(geometries: Sequence[Geometry], slots: int) -> int:
    return _HEADER_BYTES + slots * slot_bytes(geometries)


def create_memory(size_bytes: int) -> int:
    """A file descriptor of that many zero bytes that exist nowhere but in memory (or in an unlinked file)."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("nightreel", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, size_bytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)  # reading what was cut off would kill the run
        return fd
    fd, name = tempfile.mkstemp(prefix="nightreel-")
    os.unlink(name)
    os.ftruncate(fd, size_bytes)
    return fd
