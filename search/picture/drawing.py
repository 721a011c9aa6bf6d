"""The picture behind `nightreel ground ... --plot out.png`: where in a video a sentence is found, at a glance.

From top to bottom: what was asked; for each sentence its score over time with the found moments shaded and numbered, the best
one in a black call-out; pictures of the video under the time they show. At the right the moments as a list, and the best one's
own picture. The best moment is told by black as well as by colour, so the picture may be printed grey.

It does not know: archives, videos, how moments are found. Costs on two busy cores: 0.6 to 1.3 s to load matplotlib, once; then
0.4 to 0.9 s for a picture, whether of 20 or of 36 000 segments. It sets matplotlib's global parameters while it draws, so one
thread at a time; it never loads pyplot and never opens a display.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...extract.errors import UsageError
from ...extract.files import write_atomic
from .lettering import drawable
from .lines import Line
from .measures import COUNT, length_s
from .page import make_page
from .thumbnails import Thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# By ending: what the file would say of when it was made and by whom is left out, so that equal input gives equal bytes.
FORMATS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def picture_format(target: Path) -> str:
    """What kind of file `target` is to be, by its ending; to be asked before the work begins.

    Raises:
        UsageError: matplotlib could write it, but we cannot promise equal bytes; or there is no such kind.
    """
    ending = target.suffix.lower().removeprefix(".")
    if ending not in FORMATS:
        got = f"one that ends in {target.suffix!r}" if ending else "a name without an ending"
        raise UsageError(
            f"--plot {target}: got {got}; expected {', '.join('.' + name for name in FORMATS)}. "
            f"Try: --plot {target.with_suffix('.png')}"
        )
    return ending


def picture_times(lines: Sequence[Line], duration_s: float, count: int = COUNT) -> list[float]:
    """The times of the thumbnails that `draw` has a place for: `count` along the video, then the middle of each best moment."""
    whole_s = length_s(lines, duration_s)
    best = [(line.moments[0].start_s + line.moments[0].end_s) / 2 for line in lines if line.moments]
    return [*((i + 0.5) * whole_s / count for i in range(count)), *best]


def draw(
    target: Path,
    title: str,
    lines: Sequence[Line],
    thumbnails: Sequence[Thumbnail],
    duration_s: float,
    note: str = "",
) -> None:
    """Write the picture, whole or not at all: 1600 x 800 px, 230 px more for each sentence after the second.

    Args:
        target: ends in .png, .svg or .pdf.
        title: what was asked; what follows its last line break, as the video's name, is set smaller.
        lines: at least one; a sentence that the title does not contain stands over its curve.
        thumbnails: see `picture_times`. One inside a best moment is shown as its picture, and the others along
            the axis; without any the picture says that none could be read.
        note: said under the title, each line in a box.

    Raises:
        UsageError: another ending, or the file cannot be written.
        ValueError: no lines, or a line without segments, with such out of order or with scores that are not finite.
    """
    kind = picture_format(target)
    if not lines:
        raise ValueError("lines: got none; expected one for each sentence")
    asked, _, name = title.rpartition("\n") if "\n" in title else (title, "", "")
    notes = [words for words in note.split("\n") if words]
    texts, families = drawable([asked, name, *(line.label for line in lines), *notes])
    labels, notes = texts[2 : 2 + len(lines)], texts[2 + len(lines) :]
    with _our_style(families):
        figure = make_page(texts[0], texts[1], notes, labels, lines, thumbnails, duration_s)
        try:
            write_atomic(target, lambda temporary: _save(figure, temporary, kind))
        except OSError as error:
            raise UsageError(
                f"--plot {target}: the file cannot be written ({error.strerror or error}); "
                "expected a folder with room that you may write to. Name another place"
            ) from error


def _save(figure: "Figure", path: Path, kind: str) -> None:
    with open(path, "wb") as file:
        figure.savefig(file, format=kind, metadata=FORMATS[kind])


@contextmanager
def _our_style(families: Sequence[str]) -> Iterator[None]:
    """matplotlib's own defaults, whatever the user's matplotlibrc says, and nothing in a text but letters."""
    import matplotlib

    fonts = logging.getLogger("matplotlib.font_manager")
    level = fonts.level
    fonts.setLevel(logging.ERROR)  # that a font has no bold is no news
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "font.family": list(families),
                "font.enable_last_resort": False,
                "text.parse_math": False,
                "text.usetex": False,
                "axes.unicode_minus": True,
                "svg.hashsalt": "nightreel",
            }
        )
        try:
            yield
        finally:
            fonts.setLevel(level)
