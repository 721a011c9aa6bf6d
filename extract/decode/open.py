"""Open a video by backend name: the one place where backends are listed.

Backends are imported when asked for, so that naming them costs nothing (`import av` 40 ms, `import decord`
0.6 s).
"""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path

from ..errors import UsageError
from .base import Reader


def _pyav(path: str | Path, tier: str) -> Reader:
    from .pyav import PyavReader

    return PyavReader(path, tier)


def _decord(path: str | Path, tier: str) -> Reader:
    from .decord import DecordReader

    return DecordReader(path, tier)


BACKENDS: dict[str, Callable[[str | Path, str], Reader]] = {"pyav": _pyav, "decord": _decord}


def open_video(path: str | Path, backend: str = "pyav", tier: str = "exact") -> Reader:
    """Open `path` for decoding; use it as a context manager.

    Args:
        backend: a name in `BACKENDS`.
        tier: `exact`, `reference` or `keyframe`, see `PyavReader`.

    Raises:
        UsageError: unknown backend or tier.    VideoError: the file cannot be opened.
    """
    if backend not in BACKENDS:
        near = get_close_matches(backend, BACKENDS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown decoding backend {backend!r}; expected one of {', '.join(BACKENDS)}{hint}")
    return BACKENDS[backend](path, tier)
