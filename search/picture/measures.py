"""What the parts of the picture share: its measures and colours, and how to put things at a pixel from the upper left.

It does not know: what is drawn. matplotlib is only loaded by who makes the figure.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..grounding import is_no_match
from .lines import Line, Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text


DPI = 100
WIDTH_PX, PAGE_PX, ROW_MORE_PX = 1600, 800, 230  # the last for each sentence after the second
LEFT_PX, RIGHT_PX, PANEL_PX, GAP_PX = 84, 24, 330, 40
PLOT_PX = WIDTH_PX - LEFT_PX - GAP_PX - PANEL_PX - RIGHT_PX
COUNT, HEIGHT_PX = 8, 240  # thumbnails along the time axis; sharp also as the best moment's own picture

# Okabe and Ito's blue and orange, which colour-blind people can tell apart; the rest is black and greys.
CURVE, BAND, BEST, BEST_SHADE = "#0072b2", "#9cc6e0", "#e69f00", "#f3c14f"
INK, PALE_INK, SHADE, BAR = "#000000", "#555555", "#ececec", "#c4c4c4"


def is_doubtful(span: "Span") -> bool:
    """Whether a moment is what unrelated footage would score by chance, as `ground` says with `no_match`."""
    return is_no_match(span.confidence)


def length_s(lines: Sequence["Line"], duration_s: float) -> float:
    """How long the time axis is: the video, and all that is known of it."""
    ends = [float(np.max(line.end_s)) for line in lines if len(line.end_s)]
    return max([duration_s, *ends, *(span.end_s for line in lines for span in line.moments)])


def points(px: float) -> float:
    """Sizes of fonts and widths of lines are in points."""
    return px * 72 / DPI


def axes_at(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Axes in a box of pixels."""
    whole_w, whole_h = figure.get_size_inches() * DPI
    return figure.add_axes((left / whole_w, 1 - (top + height) / whole_h, width / whole_w, height / whole_h))


def text_at(
    figure: "Figure", left: float, top: float, words: str, size_px: float, room_px: float = 0, **how: Any
) -> "Text":
    """A text whose upper left corner (or what `how` says) is at a pixel; cut to `room_px`, if that is given."""
    whole_w, whole_h = figure.get_size_inches() * DPI
    how = {"va": "top", "ha": "left", "color": INK, **how}
    text = figure.text(left / whole_w, 1 - top / whole_h, words, fontsize=points(size_px), **how)
    if room_px:
        shorten(text, room_px)
    return text


def width_px(text: "Text") -> float:
    """How wide a text is, without its box."""
    return float(text.get_window_extent().width)


def shorten(text: "Text", room_px: float) -> None:
    """Cut a text that is too wide to the longest beginning that fits, with an ellipsis."""
    words = text.get_text()
    if width_px(text) <= room_px:
        return
    low, high = 0, len(words) - 1  # characters kept: `low` fit, more than `high` do not
    while low < high:
        middle = (low + high + 1) // 2
        text.set_text(words[:middle].rstrip() + "…")
        low, high = (middle, high) if width_px(text) <= room_px else (low, middle - 1)
    text.set_text(words[:low].rstrip() + "…")
