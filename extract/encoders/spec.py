"""A spec in parts, and what its parts can be; knows no family and no model."""

import difflib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """`family:name@weights`, in parts; None where a part is not given. `str()` puts it together again."""

    family: str
    name: str | None = None
    weights: str | None = None

    def __str__(self) -> str:
        name = "" if self.name is None else f":{self.name}"
        return self.family + name + ("" if self.weights is None else f"@{self.weights}")


def absolute(path: str) -> str:
    """Absolute, so that one checkpoint has one spec wherever the command is run from."""
    return str(Path(path).expanduser().resolve())


def is_path(text: str) -> bool:
    """Whether a part of a spec is meant as a path: `/x`, `./x`, `~/x`, or with a separator and on disk."""
    return text.startswith(("/", ".", "~")) or (os.sep in text and os.path.exists(text))


def nearest(got: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the known name closest to `got`, or nothing."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(got.lower(), by_lower, n=1, cutoff=0.6)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""
