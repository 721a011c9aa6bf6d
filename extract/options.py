"""From words on the command line to the settings of a run, with an error that names the remedy for each."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from .clips import ClipWish
from .engine import Plan
from .errors import UsageError
from .metadata import read_metadata
from .run import Settings
from .workers.process import Limits

NO_WISH = ClipWish()
TIERS = ("exact", "reference", "keyframe")
MAX_FPS = 240.0


def parse_plan(
    fps: float,
    decode: str,
    batch: str,
    decode_all: bool,
    skip_still: bool,
    clips: ClipWish = NO_WISH,
    labels: int = 0,
) -> Plan:
    """A checked plan.

    Raises:
        UsageError: a value is not of its kind or out of range.
    """
    if not 0 < fps <= MAX_FPS:
        raise UsageError(f"--fps {fps}: expected samples per second above 0 and up to {MAX_FPS:.0f}, for example 1.")
    if decode not in TIERS:
        raise UsageError(f"--decode {decode}: expected one of {', '.join(TIERS)}.")
    size = None if batch == "auto" else _positive("--batch", batch)
    return Plan(fps, decode, decode_all, skip_still, batch=size, clips=clips, labels=labels)


def parse_settings(
    plan: Plan,
    device: str,
    workers: str,
    deadline: float,
    shard: str,
    metadata: Path | None,
    retry_failed: bool,
    on_stop: Callable[[], None],
) -> Settings:
    """Checked settings.

    Raises:
        UsageError: a value is not of its kind or out of range, or the metadata cannot be read.
    """
    if not 0 < deadline < math.inf:
        raise UsageError(
            f"--deadline {deadline}: expected seconds of work per second of video, above 0; for example 10."
        )
    return Settings(
        plan=plan,
        device=device,
        workers=None if workers == "auto" else _positive("--workers", workers),
        limits=replace(Limits(), multiple=deadline),
        shard=_shard(shard),
        retry_failed=retry_failed,
        metadata=read_metadata(metadata) if metadata else {},
        on_stop=on_stop,
    )


def _positive(option: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"{option} {text}: expected auto or a whole number of at least 1.")
    return int(text)


def _shard(text: str) -> tuple[int, int]:
    index, slash, count = text.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
        raise UsageError(f"--shard {text}: expected I/N with 1 <= I <= N, for example 2/4.")
    return int(index), int(count)
