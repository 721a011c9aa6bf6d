"""What `finetune` and `pretrain` share and show to people: a training with a bar on stderr, and the closing lines."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..report import printable

SHOWN = 10  # bad rows


@contextmanager
def training_bar() -> Iterator[Callable[[int, int, str], None]]:
    """A bar with the time that is left on stderr; nothing where stderr is not a terminal."""
    from rich import progress as bars
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of, what: bar.update(task, description=what, completed=done, total=of)


def finetune_text(result: Mapping[str, Any]) -> str:
    """The closing lines: what was measured, whether it is kept, and what to do next."""
    if "after" not in result:
        towers = result["kind"] == "towers"
        what = f"towers {result['name']}" if towers else f"head {result['name']} ({result['kind']})"
        then = "\nThen the same command again stores the head, on their features." if towers else ""
        return f"{what} imported into {printable(result['folder'])}\nNext: {result['next']}{then}"
    pairs, low_high = result["pairs"], result["interval"]
    names = ("R@1", "R@5", "R@10", "MdR")
    lines = [
        f"{result['train']} {result['name']}: {pairs['train']} captions trained, {pairs['val']} of other videos held out; "
        f"best after {result['best_epoch']} of {result['epochs']} epochs",
        f"{result['asked']:12}" + "".join(f"{name:>8}" for name in names),
        *(f"{when:12}" + "".join(f"{result[when][name]:8.1f}" for name in names) for when in ("before", "after")),
        f"R@1 {result['after']['R@1'] - result['before']['R@1']:+.1f}, 95 % {low_high[0]:+.1f} to {low_high[1]:+.1f}",
    ]
    if result["kept"]:
        lines += [f"kept in {printable(result['folder'])}", f"Next: {result['next']}"]
    else:
        lines.append("NOT KEPT: that is no gain beyond chance, so no head was written and the archive is as it was. ")
        lines.append(
            "More captions help most; curves of what was tried: " + printable(result["folder"]) + "/run/curves.png"
        )
    return "\n".join(lines)


def bad_rows_text(rows: list[dict[str, str]]) -> list[str]:
    """The rows that were left out, the first of them with line and reason."""
    if not rows:
        return []
    more = f"  ... and {len(rows) - SHOWN} more (--json lists all)"
    listed = [f"  {printable(row['line'])}: {printable(row['reason'])}" for row in rows[:SHOWN]]
    return [f"{len(rows)} rows were left out:", *listed, *([more] if len(rows) > SHOWN else [])]


def trained(run: Callable[..., dict[str, Any]], archive: Path, wish: Any) -> dict[str, Any]:
    """A training with a bar; the first Ctrl-C writes a checkpoint and stops."""
    import typer

    from ..extract.interrupt import in_two_steps
    from ..report import say

    asked = False

    def stop() -> None:
        nonlocal asked
        asked = True
        say(["\nStopping after this step. Press Ctrl-C again to stop at once."])

    try:
        with in_two_steps(stop), training_bar() as progress:
            return run(archive, wish, stop=lambda: asked, progress=progress, say=lambda note: say([note]))
    except KeyboardInterrupt:
        say(["Stopped. What was trained is kept; the same command goes on from there."])
        raise typer.Exit(1) from None
