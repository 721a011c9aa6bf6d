"""What `nightreel probe` shows to people: a line per method, what guessing gets, who is taken for whom.

It knows only the result's keys. Names of files and classes are the owner's, so they are made printable.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...search.picture.lettering import printable

SHOWN, LISTED = 5, 20  # confusions; rows that were left out


def probe_text(result: Mapping[str, Any]) -> str:
    """Methods with their figures, then the chosen one's mistakes."""
    parts, lines = result["parts"], [_head(result)]
    for name in ("train", "test"):
        one = parts[name]
        lines.append(f"{name:6}{one['examples']:7} examples, {one['videos']} videos of {one['sources']} sources")
    figures = list(result["metrics"])
    lines += ["", f"{'percent of test':40}" + "".join(f"{name:>12}" for name in figures) + f"{'held out':>12}"]
    for row in result["methods"]:
        mark = "> " if row["method"] == result["chosen"] else "  "
        cells = "".join(f"{row['test'][name]:12.1f}" for name in figures)
        lines.append(f"{mark}{printable(row['method']):38}{cells}{row['held_out']['top-1']:12.1f}")
    spans = "".join(f"{_span(result['intervals'].get(name)):>12}" for name in figures)
    base = result["baselines"]
    lines.append(f"  {'95 %, over sources':38}{spans}".rstrip())
    lines.append(f"  {'always ' + printable(base['majority']['label']):38}{base['majority']['top-1']:12.1f}")
    lines.append(f"  {'chance':38}{base['chance']:12.1f}")
    gain = result["gain"]
    if gain is not None:
        lines += [
            "",
            f"{gain['method']} over {gain['over']}: {gain['top-1']:+.1f} top-1, 95 %: {_span(gain['interval'])}",
        ]
    if result["confused"]:
        lines += ["", "most often mistaken"]
        for row in result["confused"][:SHOWN]:
            lines.append(f"{row['examples']:7}  {printable(row['label'])} taken for {printable(row['taken_for'])}")
    return "\n".join([*lines, "", f"saved {printable(result['saved'])}", *_wrote(result["wrote"])])


def predictions_text(result: Mapping[str, Any]) -> str:
    """A line per video, then how many of each class."""
    rows = result["predictions"]
    lines = [f"{row['probability']:5.2f}  {printable(row['label']):24}  {printable(row['path'])}" for row in rows]
    counts = Counter(row["label"] for row in rows).most_common()
    told = ", ".join(f"{count} {printable(label)}" for label, count in counts)
    return "\n".join([*lines, f"{len(rows)} videos: {told}", *_wrote(result["wrote"])])


def notes_of(result: Mapping[str, Any]) -> list[str]:
    """Rows that were left out, and what makes the figures shaky."""
    rows = result["bad_rows"]
    bad = [f"left out: {printable(row)}" for row in rows[:LISTED]]
    more = [f"left out: {len(rows) - LISTED} more rows; --json has them all"] if len(rows) > LISTED else []
    return [*bad, *more, *map(printable, result["notes"])]


def _head(result: Mapping[str, Any]) -> str:
    whole, parts = result["labelled"], result["parts"]
    how = "parts as given" if parts["given"] else "parted by source"
    copies = "" if parts["copies"] is None else f", {parts['copies']} copies of footage" if not parts["given"] else ""
    held = "a validation part" if parts["folds"] == 1 else f"{parts['folds']} folds of train"
    encoders = " and ".join(result["encoders"])
    return f"{whole['examples']} examples of {whole['classes']} classes in {encoders}; {how}{copies}; chosen on {held}"


def _wrote(wrote: Mapping[str, Any] | None) -> list[str]:
    if wrote is None:
        return []
    column = wrote["column"]
    return [f"{column}: {wrote['given']} videos with their given label, {wrote['predicted']} predicted"]


def _span(bounds: Sequence[float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.1f}-{bounds[1]:.1f}"
