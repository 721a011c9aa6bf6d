"""What `nightreel evaluate` shows to people: small tables, figures in percent with their intervals below."""

from collections.abc import Mapping, Sequence
from typing import Any

WORST = 5  # classes listed


def retrieval_text(result: Mapping[str, Any]) -> str:
    """Both directions, a column per figure."""
    names = ["R@1", "R@5", "R@10", "R@50", "MdR", "MnR"]
    lines = [_head(result, "sentences"), _row("", names)]
    for key, said in (("text_to_video", "text to video"), ("video_to_text", "video to text")):
        lines.append(_row(said, [f"{result[key][name]:.1f}" for name in names]))
        lines.append(_row("  95 %", [_span(result["intervals"][key][name]) for name in names]))
        if "dual_softmax" in result:
            lines.append(_row("  dual_softmax", [f"{result['dual_softmax'][key][name]:.1f}" for name in names]))
    left_out = result["video_to_text"]["left_out"]
    lines += [f"video to text without {left_out} videos that no sentence describes"] if left_out else []
    return "\n".join(lines)


def grounding_text(result: Mapping[str, Any]) -> str:
    """One figure a line; of QVHighlights those that papers print."""
    brief = result["metrics"].get("brief")
    figures = result["metrics"] if brief is None else brief
    lines = [_head(result, "sentences")]
    for name, value in figures.items():
        bounds = result["intervals"].get(name.removeprefix("MR-full-"))
        lines.append(f"{name:22}{value:7.2f}" + (f"   95 %: {_span(bounds)}" if bounds else ""))
    return "\n".join(lines)


def classification_text(result: Mapping[str, Any]) -> str:
    """The figures, then the classes that do worst."""
    lines = [_head(result, None)]
    for name, value in result["metrics"].items():
        bounds = result["intervals"].get(name)
        lines.append(f"{name:22}{value:7.2f}" + (f"   95 %: {_span(bounds)}" if bounds else ""))
    worst = sorted(result["classes"], key=lambda row: (row["top-1"], -row["videos"]))[:WORST]
    lines += ["worst classes"] + [f"  {row['top-1']:6.2f}  {row['videos']:5} videos  {row['label']}" for row in worst]
    return "\n".join(lines)


def notes_of(result: Mapping[str, Any]) -> list[str]:
    """What whoever reads the figures must know: what they are not measured on."""
    notes = [source for source in result["sources"] if "; " in source]  # something was left out or corrected
    if result.get("missing_videos"):
        notes.append(
            f"{result['missing_videos']} videos of the benchmark are missing, with {result['missing_records']} of its "
            "records: these figures are not comparable with published ones."
        )
    if result.get("unused_predictions"):
        notes.append(f"{result['unused_predictions']} predictions answer no query here; they were not used.")
    if result.get("spans_cut"):
        notes.append(f"{result['spans_cut']} true spans ended after their video; they were cut to its length.")
    if result.get("matched_loosely"):
        notes.append(f"{result['matched_loosely']} videos were matched by a name that differs (a suffix, or v_).")
    return notes


def splits_text(result: Mapping[str, Any]) -> str:
    """A line per split, and what was compared."""
    lines = [
        f"{name:10}{one['videos']:7} videos of {one['sources']:5} sources   "
        + (f"{100 * one['share']:5.1f} %   {one['file']}" if "share" in one else f"{one['file']} ({one['first']}, ...)")
        for name, one in result["splits"].items()
    ]
    by = f", nor footage ({result['compared']})" if result["compared"] else ""
    return "\n".join([*lines, f"no two share a video or a source{by}"])


def splits_notes(result: Mapping[str, Any]) -> list[str]:
    """What was not checked."""
    notes = []
    if not result["compared"]:
        notes.append("Only names, and the sources that they tell, were compared; for footage give --archive.")
    if result.get("missing_videos"):
        notes.append(f"{result['missing_videos']} videos have no features here; their footage was not compared.")
    if result.get("left_out"):
        notes.append(f"{result['left_out']} videos of the archive have no features, and stand in no list.")
    return notes


def _head(result: Mapping[str, Any], of: str | None) -> str:
    what = f"{result['queries']} {of}, " if of else ""
    videos = f"{result['videos']} videos" if "videos" in result else ""
    by = f" ({result['encoder']})" if "encoder" in result else ""
    name = " ".join(str(part) for part in (result["dataset"], result["split"], result["on"]) if part)
    return f"{name}: {what}{videos}".rstrip(", ") + by


def _row(name: str, cells: Sequence[str]) -> str:
    return f"{name:16}" + "".join(f"{cell:>12}" for cell in cells)


def _span(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.1f}-{bounds[1]:.1f}"
