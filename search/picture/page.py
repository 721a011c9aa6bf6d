"""The page of the picture: heading, a row for each sentence (`row.py`), the strip of thumbnails under the last.

Right of each row is a panel with the best moment's own picture and all moments as a list. It does not know: files, fonts,
formats.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .lettering import clock, percent
from .lines import Line, Span
from .measures import (
    BEST,
    COUNT,
    DPI,
    GAP_PX,
    INK,
    LEFT_PX,
    PAGE_PX,
    PALE_INK,
    PANEL_PX,
    PLOT_PX,
    RIGHT_PX,
    ROW_MORE_PX,
    WIDTH_PX,
    axes_at,
    is_doubtful,
    length_s,
    points,
    text_at,
)
from .row import draw_row
from .thumbnails import Thumbnail

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_STRIP_PX, _LEADER_PX, _CAPTION_PX = (
    104,
    46,
    28,
)  # thumbnails; tick labels and leaders over them; their times under them
_BELOW_ROW_PX = 42  # tick labels, and air before the next row
_PANEL_LEFT_PX = LEFT_PX + PLOT_PX + GAP_PX


def make_page(
    asked: str,
    name: str,
    notes: Sequence[str],
    labels: Sequence[str],
    lines: Sequence["Line"],
    thumbnails: Sequence[Thumbnail],
    duration_s: float,
) -> "Figure":
    """The whole picture; all texts are already such as can be drawn, `labels` those of `lines`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height_px = PAGE_PX + ROW_MORE_PX * max(0, len(lines) - 2)
    figure = Figure(figsize=(WIDTH_PX / DPI, height_px / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)  # to measure texts with
    end_s = length_s(lines, duration_s)
    own = [_own_picture(line, thumbnails) for line in lines]
    top = _heading(figure, asked, name, notes)
    bottom = height_px - _CAPTION_PX - _STRIP_PX - _LEADER_PX
    step_px = (bottom + _BELOW_ROW_PX - top) / len(lines)
    for line, label, picture in zip(lines, labels, own, strict=True):
        told = len(lines) == 1 and label in asked
        axes = draw_row(figure, "" if told else label, line, end_s, (top, top + step_px - _BELOW_ROW_PX))
        _panel(figure, line, picture, (top, top + step_px - _BELOW_ROW_PX), end_s)
        top += step_px
    others = [thumbnail for thumbnail in thumbnails if not any(thumbnail is picture for picture in own)]
    strip = others if len(others) >= COUNT else thumbnails  # not a hole where a picture was taken out
    _strip(figure, axes, strip, end_s, bottom + _LEADER_PX)
    return figure


def _heading(figure: "Figure", asked: str, name: str, notes: Sequence[str]) -> float:
    """Title, name and notes; the first free pixel row below them."""
    room, top = WIDTH_PX - LEFT_PX - RIGHT_PX, 18.0
    for words in _two_lines(figure, asked, room):
        text_at(figure, LEFT_PX, top, words, 26, room, weight="bold")
        top += 35
    if name:
        text_at(figure, LEFT_PX, top, name, 16, room, color=PALE_INK)
        top += 25
    for note in notes:
        box = {"boxstyle": "square,pad=0.4", "facecolor": "#fff4d6", "edgecolor": INK, "linewidth": 1.2}
        text_at(figure, LEFT_PX + 7, top + 9, note, 16, room - 14, weight="bold", bbox=box)
        top += 40
    return top + 10


def _two_lines(figure: "Figure", words: str, room_px: float) -> list[str]:
    """A title in at most two lines, broken at a space if there is one in reach; the second is cut where it is drawn."""
    text = text_at(figure, 0, 0, words, 26, room_px, weight="bold")
    fits = text.get_text()
    text.remove()
    if fits == words:
        return [words]
    space = fits.rfind(" ", len(fits) // 2)
    cut = space if space > 0 else max(1, len(fits) - 1)
    return [words[:cut], words[cut:].lstrip()]


def _own_picture(line: "Line", thumbnails: Sequence[Thumbnail]) -> Thumbnail | None:
    """The picture of the best moment: the thumbnail nearest to its middle, if that is inside."""
    if not line.moments:
        return None
    best = line.moments[0]
    inside = [thumbnail for thumbnail in thumbnails if best.start_s <= thumbnail.time_s < best.end_s]
    return min(inside, key=lambda thumbnail: abs(2 * thumbnail.time_s - best.start_s - best.end_s), default=None)


def _panel(figure: "Figure", line: "Line", own: Thumbnail | None, span_px: tuple[float, float], end_s: float) -> None:
    """Whether it is there at all, the best moment's picture, and the moments as a list; between two pixel rows."""
    top, bottom = span_px
    missed = not line.moments or is_doubtful(line.moments[0])
    if missed:
        box = {"boxstyle": "square,pad=0.35", "facecolor": "white", "edgecolor": INK, "linewidth": 2}
        text_at(figure, _PANEL_LEFT_PX + 8, top + 8, "NO MATCH", 22, weight="bold", bbox=box)
        why = "Even the best is what other footage scores." if line.moments else "No moment was found."
        text_at(figure, _PANEL_LEFT_PX, top + 47, why, 14, PANEL_PX)
        top += 74
    if own is not None and bottom - top > 150:
        ratio = own.rgb.shape[1] / own.rgb.shape[0]
        height = min((bottom - top) * 0.5, PANEL_PX / ratio)
        _image(figure, own, (_PANEL_LEFT_PX, top, height * ratio, height), *((PALE_INK, 2) if missed else (BEST, 4)))
        top += height + 10
    if line.moments:
        _list(figure, line.moments, (top, bottom + 6), end_s)


def _list(figure: "Figure", moments: Sequence["Span"], span_px: tuple[float, float], end_s: float) -> None:
    (top, bottom), left, right = span_px, _PANEL_LEFT_PX + 40, _PANEL_LEFT_PX + PANEL_PX
    text_at(figure, left, top, "from – to", 13, color=PALE_INK)
    if any(span.confidence is not None for span in moments):
        text_at(figure, right, top, "confidence", 13, color=PALE_INK, ha="right")
    top, step_px = top + 20, 24.0
    room = max(1, int((bottom - top) // step_px))
    shown = moments if len(moments) <= room else moments[: max(1, room - 1)]
    tenths, hours = (0.1 if end_s < 120 else 1.0), end_s >= 3600
    for rank, span in enumerate(shown, 1):
        size_px = 18 if rank == 1 else 16
        how: dict[str, Any] = {"weight": "bold"} if rank == 1 else {}
        text_at(figure, left - 16, top, str(rank), size_px, ha="right", **how)
        text_at(
            figure,
            left,
            top,
            f"{clock(span.start_s, tenths, hours)} – {clock(span.end_s, tenths, hours)}",
            size_px,
            **how,
        )
        if span.confidence is not None:
            text_at(figure, right, top, percent(span.confidence), size_px, ha="right", **how)
        top += step_px + 3 * (rank == 1)
    if len(shown) < len(moments):
        text_at(figure, left, top, f"and {len(moments) - len(shown)} more", 14, color=PALE_INK)


def _strip(figure: "Figure", axes: "Axes", thumbnails: Sequence[Thumbnail], end_s: float, top: float) -> None:
    """Thumbnails side by side under the last axes, each with a line to its time; why there are none, if so."""
    from matplotlib.patches import ConnectionPatch

    if not thumbnails:
        words = "No pictures: the video's frames could not be read. The curve comes from what is stored of it."
        text_at(figure, LEFT_PX, top + _STRIP_PX / 3, words, 16, PLOT_PX, va="center", style="italic")
        return
    ordered = sorted(thumbnails, key=lambda thumbnail: thumbnail.time_s)
    places = max(COUNT, len(ordered))
    place_px = PLOT_PX / places
    for place, thumbnail in zip(places_for([t.time_s / end_s for t in ordered], places), ordered, strict=True):
        ratio = thumbnail.rgb.shape[1] / thumbnail.rgb.shape[0]
        height = min(_STRIP_PX, (place_px - 6) / ratio)
        middle = LEFT_PX + (place + 0.5) * place_px
        shown = _image(figure, thumbnail, (middle - height * ratio / 2, top, height * ratio, height), PALE_INK, 1)
        ends: list[Any] = [(0.5, 1), (thumbnail.time_s, 0), "axes fraction", axes.get_xaxis_transform()]
        leader = ConnectionPatch(*ends, axesA=shown, axesB=axes, color=PALE_INK, linewidth=0.8, zorder=-1)
        figure.add_artist(leader)  # below the axes, whose tick labels are on white
        words = clock(thumbnail.time_s, 0.1 if end_s < 20 else 1.0, end_s >= 3600)
        text_at(figure, middle, top + height + 4, words, 13, ha="center", color=PALE_INK)


def places_for(times: Sequence[float], places: int) -> list[int]:
    """For each of at most `places` times in order, as parts 0..1 of the axis: the free place nearest under it, in order.

    0.1, 0.15, 0.9 in 4 places -> 0, 1, 3    0.8, 0.9 in 2 -> 0, 1
    """
    out: list[int] = []
    for i, time in enumerate(times):
        before = out[-1] if out else -1
        out.append(min(max(before + 1, int(time * places)), places - len(times) + i))
    return out


def _image(figure: "Figure", thumbnail: Thumbnail, box_px: tuple[float, ...], edge: str, edge_px: float) -> "Axes":
    left, top, width, height = box_px
    axes = axes_at(figure, left, top, width, height)
    axes.imshow(thumbnail.rgb, aspect="auto", interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color=edge, linewidth=points(edge_px))
    return axes
