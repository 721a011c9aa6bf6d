"""The confusion picture of `nightreel probe --plot`: of each true class, which share was taken for which.

Rows are true classes, columns what they were taken for; each row's shares add up to 1, so that rare classes are as plain to
see as frequent ones. Up to 40 classes have their names at the axes, up to 12 also the number of examples in each cell.

It does not know probes or archives. Costs about a second to load matplotlib, once, then 0.3 s.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...extract.errors import UsageError
from ...extract.files import write_atomic
from ...search.picture.drawing import FORMATS, picture_format
from ...search.picture.lettering import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMED, COUNTED = 40, 12  # classes
LONG = 24  # letters of a class's name
SIDE_PX, DPI = 1000, 100


def shares_of(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """(C, C) counts, rows true classes -> shares of each row; 0 where a class has no example."""
    total = counts.sum(axis=1, keepdims=True)
    return np.asarray(counts / np.maximum(total, 1), np.float64)


def draw_confusion(target: Path, counts: npt.NDArray[np.int64], classes: Sequence[str], title: str) -> None:
    """Write the picture, whole or not at all; equal input gives equal bytes.

    Args:
        target: ends in .png, .svg or .pdf.    counts: (C, C) examples, rows are true classes.    classes: C names.

    Raises:
        UsageError: another ending, or the file cannot be written.
    """
    import matplotlib

    kind = picture_format(target)
    words, families = drawable([title, *classes])
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"font.family": families, "text.parse_math": False, "svg.hashsalt": "nightreel"})
        figure = _figure(
            counts, words[0], [name if len(name) <= LONG else f"{name[: LONG - 1]}…" for name in words[1:]]
        )

        def save(path: Path) -> None:
            with open(path, "wb") as file:
                figure.savefig(file, format=kind, metadata=FORMATS[kind])

        try:
            write_atomic(target, save)
        except OSError as error:
            raise UsageError(
                f"--plot {target}: the file cannot be written ({error.strerror or error}); "
                "expected a folder with room that you may write to. Name another place"
            ) from error


def _figure(counts: npt.NDArray[np.int64], title: str, names: Sequence[str]) -> "Figure":
    from matplotlib.figure import Figure

    shares, classes = shares_of(counts), len(names)
    figure = Figure(figsize=(SIDE_PX / DPI, SIDE_PX / DPI), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=12)
    axes.set_xlabel("taken for")
    axes.set_ylabel("true class")
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    if classes > NAMED:
        return figure
    size = 11 if classes <= COUNTED else 7
    axes.set_xticks(range(classes), names, rotation=90, fontsize=size)
    axes.set_yticks(range(classes), names, fontsize=size)
    if classes <= COUNTED:
        for row, column in np.argwhere(counts > 0):
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=ink, fontsize=size)
    return figure
