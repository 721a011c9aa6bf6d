"""Which videos pre-training looks at: those that the archive lists and that are still where they were, some held out.

    films, skipped = films_of(store)
    train, held = held_out(films, share, seed)

It does not know of copies of footage that were encoded again, which may stand on both sides of the split. Costs a stat for
each video.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...evaluate.splits import source_numbers, source_of
from ...extract.errors import UsageError
from ...extract.known import size_and_time
from ...extract.store import Store


@dataclass(frozen=True)
class Film:
    """One video of the archive. Attributes: `backend` and `decode_all` are how `extract` decoded it."""

    video_id: str
    path: str
    backend: str = "pyav"
    decode_all: bool = False


def films_of(store: Store) -> tuple[list[Film], dict[str, str]]:
    """What the archive has and is still where it was, and path -> why not of the others."""
    films: list[Film] = []
    skipped: dict[str, str] = {}
    for row in store.videos():
        found = size_and_time(Path(row.path))
        if row.status not in ("done", "partial"):
            skipped[row.path] = f"extract could not read it: {row.error_kind}"
        elif found == (None, None):
            skipped[row.path] = "the file is gone"
        elif row.mtime is not None and found != (row.size_bytes, row.mtime):
            skipped[row.path] = "the file has changed since it was extracted; extract it again"
        else:
            backend, _, why_all = (row.decoder or "pyav").partition(",")
            films.append(Film(row.video_id, row.path, backend, bool(why_all)))
    return films, skipped


def held_out(films: Sequence[Film], share: float, seed: int) -> tuple[list[Film], list[Film]]:
    """(those that train, those that are held out), never one source on both sides; at least one each where there are two.

    By the hash of the source's name, so an archive that grows keeps what was held out (`evaluate/splits.py`); sources may all
    hash to one side, and then the one nearest to the other goes there.

    Raises:
        UsageError: no share.
    """
    if not 0 < share < 1:
        raise UsageError(f"--held-out {share:g}: expected a share of the videos above 0 and below 1.")
    number = source_numbers([film.path for film in films], seed)
    if len(number) < 2:
        return list(films), []
    order = sorted(number, key=lambda source: number[source])
    below = sum(value < 1 - share for value in number.values())
    held = set(order[min(max(below, 1), len(order) - 1) :])
    return [f for f in films if source_of(f.path) not in held], [f for f in films if source_of(f.path) in held]


def shuffled(films: Sequence[Film], seed: int) -> list[Film]:
    """In an order that does not follow names or dates, for where not all of them fit."""
    return sorted(films, key=lambda film: hashlib.blake2b(f"{seed} {film.video_id}".encode()).digest())
