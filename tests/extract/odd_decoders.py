"""Decoders that misbehave, for `Plan(backends=("odd_decoders:odd", ...))`: PyAV's frames, and in the middle a deed.

Which deed, the file's name says: `odd-hangs.mp4` does `hangs` before frame `GOOD_FRAMES`, other films are decoded as
they are. Runs in the decoding process; nothing here is imported by tests but through `sys.modules`.

    ODD_LOG      a file that gets a line for every video that is opened
    ODD_GO       a file that `waits` waits for
    ODD_TAME     if set, no deed is done
"""

import ctypes
import json
import mmap
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from nightreel.extract.decode.base import DecodedFrame, Reader, Restart
from nightreel.extract.decode.pyav import PyavReader
from nightreel.extract.errors import VideoError

GOOD_FRAMES = 25  # at 10 frames and 1 sample a second: the samples at 0, 1 and 2 s
FOR_EVER = 1_000_000
EXCEPTIONS: dict[str, BaseException] = {
    "TypeError": TypeError("unsupported operand"),
    "EOFError": EOFError("end of something else"),
    "KeyboardInterrupt": KeyboardInterrupt(),
    "SystemExit": SystemExit(3),
    "Surrogate": ValueError("name \udcff\udc00 of no encoding\0"),
    "Long": RuntimeError("long \U0001f3ac" * 100_000),
}


class Unprintable(Exception):
    """An error whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


EXCEPTIONS["Unprintable"] = Unprintable()


def odd(path: str | Path, tier: str, decode_all: bool, threads: int) -> Reader:
    """The backend."""
    with open(os.environ["ODD_LOG"], "a") as log:
        log.write(Path(path).name + "\n")
    name = Path(path).stem
    deed = name.removeprefix("odd-") if name.startswith("odd-") and not os.environ.get("ODD_TAME") else ""
    if deed == "opens_and_dies":
        os._exit(9)
    if deed == "opens_and_raises":
        raise ZeroDivisionError("division by zero")
    return Odd(path, deed.partition("+")[0])


class Odd(Reader):
    """PyAV's frames; before one of them, the deed."""

    def __init__(self, path: str | Path, deed: str) -> None:
        self._path, self._deed = Path(path), deed
        self._inner = PyavReader(path, "exact", True, 1)
        self.facts, self.clock, self.effort = self._inner.facts, self._inner.clock, self._inner.effort
        self._inner.on_beat = lambda: self.on_beat()
        self.on_beat = lambda: None

    def frames(self) -> Iterator[DecodedFrame]:
        for number, frame in enumerate(self._inner.frames()):
            if number == GOOD_FRAMES and self._deed:
                if self._deed in EXCEPTIONS:
                    raise EXCEPTIONS[self._deed]
                yield from DEEDS[self._deed](self, frame) or ()
            yield frame

    def close(self) -> None:
        self._inner.close()


def hangs(reader: Odd, frame: DecodedFrame) -> None:
    time.sleep(FOR_EVER)


def hangs_in_c(reader: Odd, frame: DecodedFrame) -> None:
    ctypes.PyDLL(None).sleep(FOR_EVER)  # with the interpreter's lock


def spins(reader: Odd, frame: DecodedFrame) -> None:
    while True:
        pass


def segfaults(reader: Odd, frame: DecodedFrame) -> None:
    ctypes.string_at(0)


def aborts(reader: Odd, frame: DecodedFrame) -> None:
    os.abort()


def exits(reader: Odd, frame: DecodedFrame) -> None:
    os._exit(7)


def is_killed(reader: Odd, frame: DecodedFrame) -> None:
    os.kill(os.getpid(), 9)


def leaks(reader: Odd, frame: DecodedFrame) -> None:
    """Until allocating fails; and keeps it, as a library's cache would."""
    sys.modules[__name__].__dict__.setdefault("LEAK", leak := [])
    while True:
        leak.append(bytearray(8 << 20))


def grows(reader: Odd, frame: DecodedFrame) -> None:
    """Memory that the limit of the process does not count, but that is used."""
    kept = []
    while True:
        reader.on_beat()
        kept.append(mmap.mmap(-1, 8 << 20))
        kept[-1][:] = b"x" * (8 << 20)


def stands_still(reader: Odd, frame: DecodedFrame) -> Iterator[DecodedFrame]:
    """Signs of life, but no frame that counts."""
    while True:
        reader.on_beat()
        time.sleep(0.01)
        yield frame


def never_ends(reader: Odd, frame: DecodedFrame) -> Iterator[DecodedFrame]:
    time_s = frame.time_s
    while True:
        reader.on_beat()
        time.sleep(0.01)
        time_s += 0.5
        yield DecodedFrame(time_s, frame.convert)


def restarts_for_ever(reader: Odd, frame: DecodedFrame) -> None:
    raise Restart("once more")


def finds_fault(reader: Odd, frame: DecodedFrame) -> None:
    raise VideoError("unreadable", "the data ends here")


def waits(reader: Odd, frame: DecodedFrame) -> None:
    """Says that it has begun, and goes on when it may."""
    reader._path.with_suffix(".begun").touch()
    while not os.path.exists(os.environ["ODD_GO"]):
        reader.on_beat()
        time.sleep(0.01)


def is_replaced(reader: Odd, frame: DecodedFrame) -> None:
    other = reader._path.with_suffix(".new")
    other.write_bytes(reader._path.read_bytes() + b"more")
    other.replace(reader._path)


def is_deleted(reader: Odd, frame: DecodedFrame) -> None:
    reader._path.unlink()


def gets_longer(reader: Odd, frame: DecodedFrame) -> None:
    with open(reader._path, "ab") as handle:
        handle.write(b"more")


def _say(*messages: Any) -> None:
    """To the run, past the honest way."""
    for message in messages:
        raw = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
        sent = 0
        while sent < len(raw):
            sent += os.write(int(sys.argv[1]), raw[sent : sent + 4096])


def _nonsense(*messages: Any) -> Callable[[Odd, DecodedFrame], None]:
    def say(reader: Odd, frame: DecodedFrame) -> None:
        _say(*messages)
        time.sleep(FOR_EVER)

    return say


def says_it_waits(reader: Odd, frame: DecodedFrame) -> None:
    """Marks itself as waiting for the run, and hangs."""
    with mmap.mmap(int(sys.argv[2]), 64) as memory:
        np.frombuffer(memory, np.uint64, 3)[1] = 2
        time.sleep(FOR_EVER)


def scribbles(reader: Odd, frame: DecodedFrame) -> None:
    """Writes over all of the shared memory, and crashes."""
    with mmap.mmap(int(sys.argv[2]), 64) as memory:
        memory[:] = b"\xff" * 64
    os.abort()


def cuts_memory(reader: Odd, frame: DecodedFrame) -> None:
    """Tries to take the memory away that the run looks at."""
    os.ftruncate(int(sys.argv[2]), 0)


def never_reads(reader: Odd, frame: DecodedFrame) -> None:
    """Samples without end, whose slots the run frees, which it does not want to know."""
    time_s = 100.0
    while True:
        time_s += 1
        _say({"sample": [0, time_s, 0, 0, 0]})


def closes_its_end(reader: Odd, frame: DecodedFrame) -> None:
    os.close(int(sys.argv[1]))
    time.sleep(FOR_EVER)


def leaves_a_child(reader: Odd, frame: DecodedFrame) -> None:
    """Dies, but a process that it started keeps the line to the run open for a while."""
    fd = int(sys.argv[1])
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(5)"], pass_fds=(fd,))
    os._exit(5)


def says_more_after_the_end(reader: Odd, frame: DecodedFrame) -> None:
    """What it says must not be taken for the next video's."""
    clock = {"frames": 1, "last_s": 0.0, "shortest_s": float("inf"), "longest_s": 0.0}
    effort = {"packets": 1, "sent": 1, "frames": 1, "why_all": None}
    _say({"ended": [clock, effort, None]}, {"sample": [0, 0.0, 1, 0, 0]}, {"sample": [0, 0.5, 1, 0, 0]})
    time.sleep(FOR_EVER)


def _sample(slot: Any = 0, time_s: Any = 3.0, *masks: Any) -> dict[str, Any]:
    return {"sample": [slot, time_s, *(masks or (1, 0, 0))]}


DEEDS: dict[str, Callable[[Odd, DecodedFrame], Any]] = {
    deed.__name__: deed
    for deed in (
        *(hangs, hangs_in_c, spins, segfaults, aborts, exits, is_killed, leaks, grows, stands_still),
        *(never_ends, restarts_for_ever, finds_fault, waits, is_replaced, is_deleted, gets_longer, says_it_waits),
        *(scribbles, cuts_memory, never_reads, closes_its_end, leaves_a_child, says_more_after_the_end),
    )
} | {
    "says_no_json": _nonsense(b"hello\n"),
    "says_half": _nonsense(b'{"sample": [0, 3.0'),
    "says_nothing_long": _nonsense(b"x" * (1 << 20)),
    "says_slot_minus": _nonsense(_sample(-1)),
    "says_past": _nonsense(_sample(0, 1.5)),
    "says_bad_end": _nonsense({"ended": [{}, {}, None]}),
}
