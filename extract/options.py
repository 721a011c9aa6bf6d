"""From words on the command line to the settings of a run, with an error that names the remedy for each."""

from pathlib import Path

from .errors import UsageError
from .metadata import read_metadata
from .run import Settings
from .video import Plan

TIERS = ("exact", "reference", "keyframe")
MAX_FPS = 240.0


def parse_settings(
    fps: float, decode: str, device: str, batch: str, shard: str, metadata: Path | None, retry_failed: bool
) -> Settings:
    """Checked settings.

    Raises:
        UsageError: a value is not of its kind or out of range.
    """
    if not 0 < fps <= MAX_FPS:
        raise UsageError(f"--fps {fps}: expected samples per second above 0 and up to {MAX_FPS:.0f}, for example 1.")
    if decode not in TIERS:
        raise UsageError(f"--decode {decode}: expected one of {', '.join(TIERS)}.")
    plan = (
        Plan(fps=fps, tier=decode) if batch == "auto" else Plan(fps=fps, tier=decode, batch=_positive("--batch", batch))
    )
    return Settings(
        plan=plan,
        device=device,
        shard=_shard(shard),
        retry_failed=retry_failed,
        metadata=read_metadata(metadata) if metadata else {},
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
