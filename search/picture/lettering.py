"""Words and clock times for a picture: what cannot be drawn is escaped, times are written as a player writes them.

Fonts: DejaVu Sans, which comes with matplotlib (Latin, Greek, Cyrillic, Arabic, Hebrew and more); for other scripts any
installed font that has them; `\\u96fb` where none has. So a picture may look different on a machine with other fonts.

It does not know: layout. Costs: nothing worth saying; with characters outside DejaVu about 1 ms per installed font.
"""

import math
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

FAMILY = "DejaVu Sans"
# Invisible, but they shape the letters beside them; all other formatting characters may reorder or hide text.
_JOINERS = "\u200c\u200d"
_CHARS_KEPT = 600  # of a text; more would not be read, and takes long to measure
_STEPS_S = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14_400,
    21_600,
    43_200,
    86_400,
)


def printable(text: str) -> str:
    """One line, with control, formatting and unassigned characters escaped as Python does; a byte that is no UTF-8 as `\\xff`.

    "a\\nb" -> "a\\\\nb".    At most 600 characters and an ellipsis.
    """
    kept = "".join(_shown(char) for char in text[:_CHARS_KEPT])
    return kept if len(text) <= _CHARS_KEPT else kept + "…"


def drawable(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """The texts made `printable` and with what no font has escaped; and the font families to draw them with, in order."""
    texts = [printable(text) for text in texts]
    missing = {char for char in set("".join(texts)) - {" "} if not _has(FAMILY, char)}
    families = [FAMILY, *_families_for(frozenset(missing))]
    lost = {char for char in missing if not any(_has(family, char) for family in families[1:])}
    return ["".join(_escaped(char) if char in lost else char for char in text) for text in texts], families


def clock(time_s: float, step_s: float = 1.0, hours: bool = False) -> str:
    """`m:ss`, or `h:mm:ss` from an hour on or where `hours` asks for it; tenths where steps are below a second.

    75.0 -> 1:15    3723.0 -> 1:02:03    9.96, step 0.1 -> 0:10.0
    """
    tenths = max(0, round(time_s * 10)) if step_s < 1 else 10 * max(0, math.floor(time_s + 0.5))
    whole, tenth = divmod(tenths, 10)
    minutes, seconds = divmod(whole, 60)
    end = f"{seconds:02}.{tenth}" if step_s < 1 else f"{seconds:02}"
    if hours or minutes >= 60:
        return f"{minutes // 60}:{minutes % 60:02}:{end}"
    return f"{minutes}:{end}"


def tick_step_s(duration_s: float, most: int = 12) -> float:
    """Seconds between the ticks of an axis: the smallest round step that gives at most `most` of them.

    20 s -> 2    3 h -> 900    10 h -> 3600
    """
    for step_s in _STEPS_S:
        if duration_s / step_s <= most:
            return step_s
    return float(math.ceil(duration_s / most / 86_400) * 86_400)


def percent(confidence: float) -> str:
    """0.923 -> "92 %". It never says 0 or 100, which nobody can know."""
    value = round(100 * confidence)
    return "< 1 %" if value < 1 else "> 99 %" if value > 99 else f"{value} %"


def _shown(char: str) -> str:
    if char in _JOINERS:
        return char
    return _escaped(char) if unicodedata.category(char)[0] in "C" or char in "\u2028\u2029" else char


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a file name that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def _families_for(missing: frozenset[str]) -> Iterable[str]:
    """Installed families that have some of the characters, as few as come first by name."""
    from matplotlib.font_manager import fontManager

    left = set(missing)
    for family in sorted({entry.name for entry in fontManager.ttflist} - {FAMILY}) if left else ():
        # The last resort font has a box for every character there is.
        if not family.startswith("Last Resort") and (covered := {char for char in left if _has(family, char)}):
            yield family
            left -= covered
        if not left:
            return


def _has(family: str, char: str) -> bool:
    """Whether a family can draw it, in all its weights."""
    fonts = _fonts(family)
    return bool(fonts) and all(font.get_char_index(ord(char)) for font in fonts)


@cache
def _fonts(family: str) -> "tuple[FT2Font, ...]":
    """The upright fonts of a family; none if one cannot be drawn with (a damaged file, colour pictures for letters)."""
    from matplotlib.font_manager import fontManager, get_font

    paths = sorted({entry.fname for entry in fontManager.ttflist if entry.name == family and entry.style == "normal"})
    try:
        fonts = [get_font(path) for path in paths]
    except (OSError, RuntimeError):
        return ()
    return tuple(fonts) if all(font.scalable for font in fonts) else ()
