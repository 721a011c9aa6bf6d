"""Ctrl-C in two steps: the first asks the run to finish what it has begun, the second stops it at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # SIGTERM is what a scheduler sends


@contextmanager
def in_two_steps(on_first: Callable[[], None]) -> Iterator[None]:
    """Within it, the first SIGINT or SIGTERM calls `on_first`, the second raises KeyboardInterrupt wherever it is.

    Outside the main thread, where Python allows no signal handlers, it changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        on_first()

    # Who starts a run with `nohup` or in the background of a script has chosen that it ignores a signal.
    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before: dict[signal.Signals, Any] = {number: signal.signal(number, handle) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
