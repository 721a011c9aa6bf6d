"""Not waiting for a model hub that cannot be reached.

Without a network, huggingface_hub tries every file six times with growing pauses: open_clip's default weights fail
after 50 s and 26 warnings. Here one look-up of the hub's address, `PROBE_S` at most, decides; where it fails, what
lies in the local cache is still found, and the rest fails at once. It knows no model and no file.
"""

import logging
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

PROBE_S = 3.0


@contextmanager
def quick_to_fail() -> Iterator[None]:
    """Inside, the hub is asked only if it can be reached, and loggers keep quiet: the exception says it all."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    disabled = logging.root.manager.disable
    constants.HF_HUB_OFFLINE = before or not reachable(constants.ENDPOINT)
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(disabled)
        constants.HF_HUB_OFFLINE = before


def reachable(address: str, timeout_s: float = PROBE_S) -> bool:
    """Whether a TCP connection to the address's host can be made; True behind a proxy, which alone could tell."""
    if urllib.request.getproxies():
        return True
    parts = urlsplit(address)
    answers: list[bool] = []

    def probe() -> None:
        try:
            port = parts.port or (80 if parts.scheme == "http" else 443)
            socket.create_connection((parts.hostname or "", port), timeout=timeout_s).close()
        except OSError:
            return
        answers.append(True)

    # A thread, because looking up a name has no timeout of its own and may take half a minute.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return bool(answers)
