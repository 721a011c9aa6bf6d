"""What the commands show to people: progress on stderr, tables as plain text. Nothing here is parsed by programs."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from .extract.encoders.family import Family
    from .extract.record import Progress, Report
    from .search.grounding import Grounding
    from .search.search import Hit


@contextmanager
def status(what: str) -> Iterator[None]:
    """A spinner on stderr while something of unknown length runs; nothing where stderr is not a terminal."""
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def index_progress() -> "Iterator[Callable[[str, int, int], None]]":
    """A bar with ETA on stderr for every index; nothing where stderr is not a terminal."""
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    columns = (bars.TextColumn("indexing {task.description}"), bars.BarColumn(), bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda what, done, of: bar.update(task, description=what, completed=done, total=of)


@contextmanager
def extract_progress() -> "Iterator[Callable[[Progress], None]]":
    """A bar with count and ETA on stderr, from the first video to the last; failures are said as they come, and are
    all that is said where stderr is no terminal."""
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[sofar]}"),
        bars.TimeRemainingColumn(),
    )
    # stdout stays what it is: it may be a file, and what is printed to it is data.
    bar = bars.Progress(
        *columns, console=console, disable=not console.is_terminal, transient=True, redirect_stdout=False
    )
    task = bar.add_task("", total=None, sofar="")
    began, extracted_s, failures = time.perf_counter(), 0.0, 0

    def show(progress: "Progress") -> None:
        nonlocal extracted_s, failures
        bar.start()
        failures += progress.outcome in ("failed", "partial")
        extracted_s += 0.0 if progress.outcome == "skipped" else progress.video_s
        speed = extracted_s / (time.perf_counter() - began)
        sofar = f"{clock(extracted_s)} of video, {speed:.0f} x real time" + (f", {failures} failed" if failures else "")
        bar.update(task, total=progress.of, completed=progress.number, description=progress.path.name[:40], sofar=sofar)
        if progress.outcome in ("failed", "partial"):
            name = printable(progress.path)
            console.print(f"{progress.outcome}: {name}: {progress.note}", markup=False, highlight=False, soft_wrap=True)
        if progress.number == progress.of:
            bar.stop()

    try:
        yield show
    finally:
        bar.stop()


def say_stopping() -> None:
    """After the first Ctrl-C."""
    typer.echo("\nStopping: the videos under way are finished first. Press Ctrl-C again to stop at once.", err=True)


def print_extract_report(report: "Report", archive: Path) -> None:
    """The closing lines of `nightreel extract`."""
    segments = ", ".join(f"{count} of {slug}" for slug, count in report.segments.items())
    speed = f", {report.video_s / report.wall_s:.1f} x real time" if report.wall_s else ""
    busy = report.utilisation
    typer.echo(
        f"{report.videos} videos: {report.done} done, {report.partial} partial, {report.failed} failed, "
        f"{report.skipped} already there\n"
        f"segments: {segments}; {clock(report.video_s)} of video in {report.wall_s:.1f} s{speed}\n"
        f"busy: decode {busy['decode']:.2f}, encode {busy['encode']:.2f}, write {busy['write']:.2f} of the time"
    )
    kinds = Counter(failure["error_kind"] for failure in report.failures)
    if kinds:
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        typer.echo(f"not done: {told}. Why: nightreel failures {archive}", err=True)
    typer.echo(f"More about this run: {report.run_file}\nNext: nightreel index {archive}", err=True)


def hits_table(hits: "Sequence[Hit]") -> str:
    """Ranked moments, one a line."""
    if not hits:
        return "nothing found"
    lines = ["rank   score  conf.  moment                 video"]
    for hit in hits:
        lines.append(
            f"{hit.rank:4}  {hit.score:6.3f}  {_confidence(hit)}  {_span(hit.start_s, hit.end_s)}  {printable(Path(hit.path))}"
        )
    return "\n".join(lines)


def sequences_table(found: "Grounding", texts: "Sequence[str]") -> str:
    """Ranked sequences, a line for each of their moments."""
    if not found.sequences:
        return "nothing found"
    lines = [f"rank   score  conf.  moment                 in {printable(Path(found.path))}"]
    for one in found.sequences:
        for hit, text in zip(one.moments, texts, strict=True):
            head = f"{one.rank:4}  {one.score:6.3f}" if hit.rank == 1 else " " * 12
            what = printable(text) if hit.rank == 1 else f"then {printable(text)}"
            lines.append(f"{head}  {_confidence(hit)}  {_span(hit.start_s, hit.end_s)}  {what}")
    return "\n".join(lines)


def index_json(built: dict[str, Any]) -> dict[str, Any]:
    """One index that was built, for programs; `left_out` only where something was. What was asked for, `info` tells."""
    keys = ("name", "kind", "vectors", "bytes", "recall_at_10", "latency_ms_p50", "added", "removed")
    return {key: built[key] for key in (*keys, *(["left_out"] if built["left_out"] else []))}


def index_line(built: dict[str, Any]) -> str:
    """One index that was built."""
    left_out = f", {built['left_out']} left out: they have no direction" if built["left_out"] else ""
    line = (
        f"index {built['name']}: {built['vectors']} vectors ({built['added']} new, {built['removed']} gone{left_out}), "
        f"{built['bytes'] / 1e6:.1f} MB, {built['kind']} (recall@10 {built['recall_at_10']}), "
        f"{built['latency_ms_p50']} ms per query"
    )
    if built["no_sentences"]:
        line += f"\n  Footage stood in for probe sentences, so `confidence` is rougher: {built['no_sentences']}"
    if built["recall_at_10"] is not None and built["recall_at_10"] < built["recall_asked"]:
        line += (
            f"\n  That is less than the recall of {built['recall_asked']:g} that was asked for: nothing more exact fits into "
            f"{built['memory']}. Give it more --memory."
        )
    return line


def duplicates_text(found: list[dict[str, Any]], slug: str, threshold: float) -> str:
    """Pairs of spans of the same footage, two lines each."""
    if not found:
        return f"no footage of one video stands in another ({slug}, similarity of {threshold:g} or more)"
    lines = [
        f"{len(found)} pair{'s' * (len(found) > 1)} of the same footage ({slug}, similarity of {threshold:g} or more)"
    ]
    for pair in found:
        a, b = pair["a"], pair["b"]
        seconds = f"{clock(a['end_s'] - a['start_s'])}"
        lines += [
            f"{seconds:>10}  {pair['similarity']:.3f}  {_span(a['start_s'], a['end_s'])}  {printable(Path(a['path']))}",
            f"{'':10}    =    {_span(b['start_s'], b['end_s'])}  {printable(Path(b['path']))}",
        ]
    return "\n".join(lines)


def _span(start_s: float, end_s: float) -> str:
    text = f"{clock(start_s)} - {clock(end_s)}"
    return f"{text:21}"


def _confidence(hit: "Hit") -> str:
    return "    -" if hit.confidence is None else f"{hit.confidence:5.2f}"


def info_text(info: dict[str, Any]) -> str:
    """`nightreel info` for people."""
    by_status = ", ".join(f"{count} {name}" for name, count in info["status"].items()) or "none yet"
    lines = [
        f"{info['archive']}: {info['videos']} videos ({by_status}), {clock(info['video_s'])}, {info['commits']} commits"
    ]
    for slug, e in info["encoders"].items():
        lines.append(
            f"features {slug}: {e['segments']} segments of {e['videos']} videos, D = {e['dim']}, "
            f"{e['bytes'] / 1e6:.1f} MB, {_sampling(e['sampling'])}, licence {e['licence']}{_lineage(info, e['head'])}"
        )
    for name, i in info["indexes"].items():
        missing = i["missing_videos"]
        lacks = "1 video is" if missing == 1 else f"{missing} videos are"
        stale = f"; STALE: {lacks} not in it, run `nightreel index` again" if i["stale"] else ""
        hidden = f", {i['hidden']} hidden until `nightreel compact`" if i["hidden"] else ""
        parts = f"{i['parts']} part{'s' * (i['parts'] != 1)}{hidden}"
        lines.append(
            f"index {name}: {i['kind']}, {i['vectors']} vectors in {parts}, {i['bytes'] / 1e6:.1f} MB of {i['memory']}, "
            f"recall@10 {i['recall_at_10']} of {i['recall_asked']:g} asked, {i['latency_ms_p50']} ms per query{stale}"
        )
    return "\n".join(lines)


def _lineage(info: dict[str, Any], head: dict[str, Any] | None) -> str:
    if head is None:
        return ""
    used = info["heads_in_use"].get(head["base"]) == head["name"]
    return f"; head {head['name']} over {head['base']}, {'in use' if used else 'not in use'}"


def _sampling(plan: dict[str, Any]) -> str:
    if "hop_s" in plan:
        clip = f"{plan['frames_per_clip']} frames over {plan['frames_per_clip'] * plan['stride_s']:.3g} s"
        return f"clips of {clip} every {plan['hop_s']:.3g} s ({plan['decode']})"
    return f"{plan['fps']:g} a second ({plan['decode']})"


def encoder_rows(families: "Iterable[Family]") -> list[dict[str, Any]]:
    """One dict per listed model, for `nightreel encoders --json`."""
    from .extract.encoders.weights import is_here

    return [
        {
            "family": family.name,
            "spec": model.spec,
            "features": model.features,
            "dim": model.dim,
            "frames": model.frames,
            "size_px": list(model.size_px),
            "video_s": round(model.seconds, 4),
            "parameters": model.parameters,
            "gflops_per_video_s": None if model.flops_per_s is None else round(model.flops_per_s / 1e9, 2),
            "licence": model.licence,
            "weights_here": is_here(model.file),
            "needs": family.needs,
        }
        for family in families
        for model in family.models
    ]


def encoders_text(rows: list[dict[str, Any]], aliases: dict[str, str]) -> str:
    """`nightreel encoders` for people."""
    short = {spec: alias for alias, spec in aliases.items()}
    lines = []
    for row in rows:
        height, width = row["size_px"]
        frames = f"{row['frames']} frames of" if row["frames"] > 1 else "1 frame of"
        costs = []
        if row["parameters"] is not None:
            costs.append(f"{row['parameters'] / 1e6:.1f} M parameters")
        if row["gflops_per_video_s"] is not None:
            costs.append(f"{row['gflops_per_video_s']:g} GFLOP for a second of video")
        called = f"  (short: {short[row['spec']]})" if row["spec"] in short else ""
        here = "on this machine" if row["weights_here"] else f"not here yet: {row['needs']}"
        lines.append(f"{row['spec']}{called}")
        lines.append(
            f"    {row['features']}: D = {row['dim']}, from {frames} {width}x{height} px per {row['video_s']:.3g} s"
        )
        lines += [f"    {', '.join(costs)}"] if costs else []
        lines += [f"    licence of the weights: {row['licence']}", f"    weights: {here}"]
    return "\n".join(lines)


def say(notes: "Sequence[str]") -> None:
    """Notes to whoever asked, on stderr."""
    for note in notes:
        typer.echo(note, err=True)


def export_hits(hits: "Sequence[Hit]", folder: Path) -> None:
    """Cut hits out, saying on stderr what was written and what could not be."""
    from .search.cut import export

    for hit, result in export(hits, folder):
        told = f"wrote {printable(result)}" if isinstance(result, Path) else f"rank {hit.rank}: not cut: {result}"
        typer.echo(told, err=True)


def clock(seconds: float) -> str:
    """3725.4 -> `1:02:05.4`, 65.2 -> `1:05.2`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{rest:04.1f}" if hours else f"{minutes}:{rest:04.1f}"


def printable(path: Path | str) -> str:
    """A path or text that any terminal can show: control characters and broken bytes escaped."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
