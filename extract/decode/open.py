"""Open a video by backend name: the one place where backends are listed.

Backends are imported when asked for, so that naming them costs nothing (`import av` 40 ms, `import decord`
0.6 s). A backend that is not in the list is named `module:callable` and takes the same arguments; it is for your own
decoders and for tests with decoders that misbehave.
"""

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from ..errors import UsageError
from .base import Reader

Backend = Callable[[str | Path, str, bool, int], Reader]


def _pyav(path: str | Path, tier: str, decode_all: bool, threads: int) -> Reader:
    from .pyav import PyavReader

    return PyavReader(path, tier, decode_all, threads)


def _decord(path: str | Path, tier: str, decode_all: bool, threads: int) -> Reader:
    from .decord import DecordReader

    return DecordReader(path, tier)


BACKENDS: dict[str, Backend] = {"pyav": _pyav, "decord": _decord}


def open_video(
    path: str | Path, backend: str = "pyav", tier: str = "exact", decode_all: bool = False, threads: int = 0
) -> Reader:
    """Open `path` for decoding; use it as a context manager.

    Args:
        backend: a name in `BACKENDS`, or `module:callable`.
        tier: `exact`, `reference` or `keyframe`, see `PyavReader`.
        decode_all: send the decoder everything, also what no sample depends on.
        threads: of the decoder, 0 for one per core; decord takes no notice.

    Raises:
        UsageError: unknown backend or tier.    VideoError: the file cannot be opened.
    """
    return _backend(backend)(path, tier, decode_all, threads)


def _backend(name: str) -> Backend:
    if name in BACKENDS:
        return BACKENDS[name]
    module, colon, attribute = name.partition(":")
    if colon:
        try:
            found: Backend = getattr(import_module(module), attribute)
            return found
        except (ImportError, AttributeError) as error:
            raise UsageError(f"decoding backend {name!r} cannot be imported: {error}") from error
    near = get_close_matches(name, BACKENDS, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UsageError(f"unknown decoding backend {name!r}; expected one of {', '.join(BACKENDS)}{hint}")
