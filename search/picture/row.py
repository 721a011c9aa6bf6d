"""One sentence's row of the picture: its standardised score over time, the moments shaded in it and numbered above it.

Hours of segments are drawn as the band between the lowest and the highest score of each pixel column, with a line at the
highest, so that no peak is lost; gaps in time stay empty. It does not know: files, thumbnails, the other rows.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..curve import Curve, make_curve
from .lettering import clock, percent, tick_step_s
from .lines import Line, Span
from .measures import (
    BAND,
    BAR,
    BEST_SHADE,
    CURVE,
    INK,
    LEFT_PX,
    PALE_INK,
    PLOT_PX,
    SHADE,
    axes_at,
    is_doubtful,
    points,
    text_at,
    width_px,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


Floats = npt.NDArray[np.float64]

_LABEL_PX, _BEST_PX, _LANE_PX = 28, 38, 21  # over the curve: the sentence, the call-out, each lane of bars
_LANES, _LANES_LOW, _LOW_PX = 3, 1, 300  # lanes of a row; of one that is lower than that
_LEAST_PX = 4.0  # so wide is a moment at least: one of a second in ten hours is still seen
_NUMBER_PX = 24.0  # room for a bar's number


def draw_row(figure: "Figure", label: str, line: "Line", end_s: float, span_px: tuple[float, float]) -> "Axes":
    """Draw between two pixel rows of the figure; an empty label takes no room. The axes, for what hangs below them.

    Raises:
        ValueError: no segments, such that are out of order, or scores that are not finite.
    """
    top, bottom = span_px
    most_lanes = _LANES if bottom - top > _LOW_PX else _LANES_LOW
    if not len(line.scores):
        raise ValueError(f"line {line.label!r}: got no segments; expected at least one")
    if label:
        text_at(figure, LEFT_PX, top, label, 18, PLOT_PX, weight="bold")
        top += _LABEL_PX
    spans_px = [_in_pixels(span, end_s) for span in line.moments]
    lanes = lanes_for(spans_px[1:], most_lanes)
    over_px = _LANE_PX * max((lane + 1 for lane in lanes if lane is not None), default=0)
    over_px += _BEST_PX if line.moments else 0
    height_px = max(40.0, bottom - top - over_px)
    axes = axes_at(figure, LEFT_PX, top + over_px, PLOT_PX, height_px)
    axes.set_xlim(0, end_s)
    _curve(axes, make_curve(line.scores, line.start_s, line.end_s), end_s)
    for span, lane in zip(spans_px[1:], lanes, strict=True):
        if lane is not None:
            axes.axvspan(*(at / PLOT_PX * end_s for at in span), facecolor=SHADE, linewidth=0, zorder=1)
    _dress(axes, end_s, height_px)
    if line.moments:
        _shade_best(axes, line.moments[0], spans_px[0], end_s)
        over = axes_at(figure, LEFT_PX, top, PLOT_PX, over_px)
        over.set(xlim=(0, PLOT_PX), ylim=(over_px, 0))
        over.axis("off")
        _bars(over, spans_px[1:], lanes, over_px)
        _call_out(over, line.moments[0], spans_px[0], over_px, end_s)
    return axes


def envelope(curve: Curve, end_s: float, columns: int) -> tuple[Floats, Floats, Floats]:
    """(columns + 1,) edges in seconds, (columns,) lowest and highest z between them; NaN where nothing was seen."""
    edges = np.linspace(0.0, end_s, columns + 1)
    last = len(curve.z) - 1
    first_cell = np.clip(np.searchsorted(curve.edges, edges[:-1], "right") - 1, 0, last)
    last_cell = np.clip(np.searchsorted(curve.edges, edges[1:], "left") - 1, first_cell, last)
    outside = (edges[1:] <= curve.edges[0]) | (edges[:-1] >= curve.edges[-1])
    bounds = np.stack([first_cell, last_cell + 1], axis=1).ravel()  # every second interval is a column
    sides: list[Floats] = []
    for reduced, nothing in ((np.minimum, np.inf), (np.maximum, -np.inf)):
        side = reduced.reduceat(np.append(np.where(curve.seen, curve.z, nothing), nothing), bounds)[::2]
        sides.append(np.where(outside | np.isinf(side), np.nan, side))
    return edges, sides[0], sides[1]


def lanes_for(spans_px: Sequence[tuple[float, float]], lanes: int) -> list[int | None]:
    """For bars in the order of importance, each with its number in the middle: the first lane where it is free; None: none is.

    (0, 100), (50, 60), (110, 200), (55, 56) in 2 lanes -> 0, 1, 0, None
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(lanes)]
    out: list[int | None] = []
    for start, end in spans_px:
        middle = (start + end) / 2
        low, high = min(start, middle - _NUMBER_PX / 2), max(end, middle + _NUMBER_PX / 2)
        free = next((i for i, lane in enumerate(taken) if all(high <= a or b <= low for a, b in lane)), None)
        if free is not None:
            taken[free].append((low, high))
        out.append(free)
    return out


def _in_pixels(span: "Span", end_s: float) -> tuple[float, float]:
    """Where a span lies in the plot, widened about its middle to `_LEAST_PX`."""
    start, end = (at / end_s * PLOT_PX for at in (span.start_s, span.end_s))
    more = max(0.0, _LEAST_PX - (end - start)) / 2
    return start - more, end + more


def _curve(axes: "Axes", curve: Curve, end_s: float) -> None:
    if len(curve.z) <= PLOT_PX // 2:
        low = high = np.where(curve.seen, curve.z, np.nan)
        axes.stairs(low, curve.edges, baseline=None, color=CURVE, linewidth=1.8, zorder=3)
    else:
        edges, low, high = envelope(curve, end_s, PLOT_PX)
        axes.stairs(high, edges, baseline=low, fill=True, color=BAND, linewidth=0, zorder=3)
        axes.stairs(high, edges, baseline=None, color=CURVE, linewidth=0.9, zorder=3)
    axes.axhline(0, color=PALE_INK, linewidth=0.8, zorder=2)
    axes.set_ylim(min(-1.0, float(np.nanmin(low))) - 0.3, max(1.0, float(np.nanmax(high))) + 0.3)
    if curve.flat:
        how: dict[str, Any] = {"ha": "center", "color": INK, "transform": axes.transAxes}
        axes.text(0.5, 0.6, "All scores are equal: nothing stands out.", **how, fontsize=points(16))


def _shade_best(axes: "Axes", best: "Span", span_px: tuple[float, float], end_s: float) -> None:
    """The best moment in colour with black edges (thin ones, so that they do not cover a narrow one); pale if doubtful."""
    start_s, stop_s = (at / PLOT_PX * end_s for at in span_px)
    if is_doubtful(best):
        axes.axvspan(start_s, stop_s, facecolor=SHADE, linewidth=0, zorder=1)
    else:
        edge = 1.2 if span_px[1] - span_px[0] > 12 else 0.3
        axes.axvspan(start_s, stop_s, facecolor=BEST_SHADE, edgecolor=INK, linewidth=edge, zorder=1.5)


def _bars(over: "Axes", spans_px: Sequence[tuple[float, float]], lanes: Sequence[int | None], height_px: float) -> None:
    """The moments after the best, as bars with their ranks; what finds no lane is only in the list."""
    for rank, ((start, end), lane) in enumerate(zip(spans_px, lanes, strict=True), 2):
        if lane is not None:
            y = height_px - _LANE_PX * (lane + 0.5)
            over.barh(y, end - start, 10, start, color=BAR, edgecolor=PALE_INK, linewidth=0.8, zorder=2)
            box = {"boxstyle": "circle,pad=0.12", "facecolor": "white", "edgecolor": PALE_INK, "linewidth": 0.8}
            _mark(over, (start + end) / 2, y, str(rank), 12, INK, box)


def _call_out(over: "Axes", best: "Span", span_px: tuple[float, float], height_px: float, end_s: float) -> None:
    """The best moment's number, span and confidence over its middle, moved to stay inside the plot."""
    tenths, hours = (0.1 if end_s < 120 else 1.0), end_s >= 3600
    words = f"1   {clock(best.start_s, tenths, hours)} – {clock(best.end_s, tenths, hours)}"
    if best.confidence is not None:
        words += f"   {percent(best.confidence)}"
    face, ink = ("white", INK) if is_doubtful(best) else (INK, "white")
    box = {"boxstyle": "square,pad=0.25", "facecolor": face, "edgecolor": INK, "linewidth": 1.5}
    middle = sum(span_px) / 2
    over.plot([middle, middle], [_BEST_PX / 2, height_px], color=INK, linewidth=2.4, zorder=1)
    text = _mark(over, middle, _BEST_PX / 2 - 4, words, 17, ink, box)
    half = width_px(text) / 2 + 8
    text.set_x(min(max(middle, half), PLOT_PX - half))


def _mark(over: "Axes", x: float, y: float, words: str, size_px: float, ink: str, box: dict[str, Any]) -> Any:
    how: dict[str, Any] = {"ha": "center", "va": "center_baseline", "weight": "bold", "zorder": 3}
    return over.text(x, y, words, fontsize=points(size_px), color=ink, bbox=box, **how)


def _dress(axes: "Axes", end_s: float, height_px: float) -> None:
    """Ticks, grid and what the height means."""
    step_s = tick_step_s(end_s)
    at = np.arange(0, end_s + step_s * 1e-6, step_s)
    axes.set_xticks(at, [clock(t, step_s, end_s >= 3600) for t in at], fontsize=points(14))
    for label in axes.get_xticklabels():
        label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})
    low, high = axes.get_ylim()
    step = max(1, math.ceil((high - low) * 36 / height_px))  # at most one tick in 36 px
    ticks = np.arange(np.ceil(low / step) * step, high, step)
    axes.set_yticks(ticks, [f"{t:+.0f}".replace("-", "−") if t else "0" for t in ticks], fontsize=points(14))
    how: dict[str, Any] = {
        "rotation": 90,
        "ha": "center",
        "va": "center",
        "color": PALE_INK,
        "transform": axes.transAxes,
    }
    words = "score, in standard deviations" if height_px > 230 else "score (std. dev.)" if height_px > 130 else "score"
    axes.text(-56 / PLOT_PX, 0.5, words, **how, fontsize=points(14))
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
