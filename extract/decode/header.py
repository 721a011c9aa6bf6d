"""The facts of a stream: what its container says, corrected by the first frame.

It does not know: packets, plans, pixels.
"""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from .base import VideoFacts
from .pixels import display_matrix, is_transposed


def facts_of(container: Any, stream: Any, first: Any) -> VideoFacts:
    """What the header says, corrected by the first decoded frame (None if there is none)."""
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate
    facts = VideoFacts(
        start_s=_start_s(container, stream, first),
        duration_s=_duration_s(container, stream),
        width_px=context.width,
        height_px=context.height,
        rotation_deg=0,
        fps=float(rate) if rate else None,
        codec=context.codec.canonical_name,
        frames_expected=stream.frames or None,
    )
    if first is None:
        return facts
    size = (first.width, first.height)
    width_px, height_px = size[::-1] if is_transposed(display_matrix(first)) else size
    return replace(facts, width_px=width_px, height_px=height_px, rotation_deg=int(first.rotation))


def _start_s(container: Any, stream: Any, first: Any) -> float:
    guessed = container.format.name == "avi"  # 0, while libav numbers a first frame before B-frames 1
    if stream.start_time is not None and not (guessed and first is not None):
        return float(stream.start_time * stream.time_base)
    if first is not None and first.pts is not None:
        return float(first.pts * first.time_base)
    return 0.0


def _duration_s(container: Any, stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return float(Fraction(container.duration, 1_000_000)) if container.duration else None
