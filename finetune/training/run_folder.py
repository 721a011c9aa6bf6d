"""The folder of one training run: what was asked, what was measured, and the checkpoint while it is not finished.

    config.json      all that decides the outcome: a run goes on only with the same
    metrics.jsonl    a line per step (loss, rate, factor, norm) and per validation (R@1 ...)
    curves.png       both against the step
    tensorboard/     the same for TensorBoard, where that is installed
    checkpoint.pt    there while the run is unfinished: killed, it goes on from here
    result.json      there when it is finished

It does not know what is trained. Costs a flush per line, and a checkpoint's bytes twice on disk while it is replaced.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...extract.errors import Damaged, Refused
from ...extract.files import write_atomic, write_json
from .checkpoint import load_checkpoint, save_checkpoint

CONFIG, METRICS, CHECKPOINT, RESULT, CURVES = (
    "config.json",
    "metrics.jsonl",
    "checkpoint.pt",
    "result.json",
    "curves.png",
)
SHOWN = 8  # differences in a message


class RunFolder:
    """Opened for one run: an unfinished one of the same settings is gone on with, what a finished one left is replaced.

    Args:
        path: made where it is not there.    config: as JSON.    writes: False for the further processes of a run on several.
        shown: whether there are curves and logs for TensorBoard.

    Raises:
        Refused: an unfinished run with other settings is there.    Damaged: its files are broken.
    """

    def __init__(self, path: Path, config: Mapping[str, Any], *, writes: bool = True, shown: bool = True) -> None:
        self.path, self.writes, self.shown, self.notes = path, writes, shown, list[str]()
        self._board: Any = None
        self._state: dict[str, Any] | None = None
        config = json.loads(json.dumps(config))
        if (path / CHECKPOINT).exists():
            _require_same(path, config)
            self._state = load_checkpoint(path / CHECKPOINT)
        if not writes:
            return
        path.mkdir(parents=True, exist_ok=True)
        kept = [] if self._state is None else [row for row in read_metrics(path) if row["step"] <= self._state["step"]]
        (path / RESULT).unlink(missing_ok=True)
        write_json(path / CONFIG, config)
        text = "".join(json.dumps(row) + "\n" for row in kept)
        write_atomic(path / METRICS, lambda temporary: _write(temporary, text))
        self._metrics = (path / METRICS).open("a", encoding="utf-8")
        if shown:
            self._board = self._open_board(kept[-1]["step"] + 1 if kept else None)

    @property
    def resumed(self) -> bool:
        """Whether an unfinished run is gone on with."""
        return self._state is not None

    def log(self, row: Mapping[str, Any]) -> None:
        """One line of the metrics; every line has `step`."""
        if not self.writes:
            return
        self._metrics.write(json.dumps(row) + "\n")
        self._metrics.flush()
        if self._board is not None:
            for name, value in row.items():
                if name not in ("step", "epoch"):
                    self._board.add_scalar(name.replace("@", "_at_"), value, row["step"])

    def save(self, state: dict[str, Any]) -> None:
        """A checkpoint: whole, or the one before stays."""
        save_checkpoint(self.path / CHECKPOINT, state)

    def load(self) -> dict[str, Any] | None:
        """The checkpoint to go on from, or None."""
        return self._state

    def finish(self, result: Mapping[str, Any]) -> None:
        """The run has ended: its result and its curves stay, its checkpoint goes."""
        if not self.writes:
            return
        if self.shown:
            draw_curves(self.path, read_metrics(self.path))
        write_json(self.path / RESULT, result)
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def close(self) -> None:
        """Lets go of the open files."""
        if self.writes:
            self._metrics.close()
        if self._board is not None:
            self._board.close()

    def _open_board(self, purge_step: int | None) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.notes.append(
                "TensorBoard is not installed, so there are no logs for it: pip install 'nightreel[train]'"
            )
            return None
        if purge_step is None:
            for old in (self.path / "tensorboard").glob("events.out.tfevents.*"):
                old.unlink()
        return SummaryWriter(str(self.path / "tensorboard"), purge_step=purge_step)


def finished(path: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The result of a finished run of just these settings, or None."""
    if (path / CHECKPOINT).exists() or not (path / RESULT).exists():
        return None
    try:
        then = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        result = json.loads((path / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return dict(result) if then == json.loads(json.dumps(config)) else None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's metrics, up to one that was cut short when it was killed."""
    rows: list[dict[str, Any]] = []
    if (path / METRICS).exists():
        for line in (path / METRICS).read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                break
            rows.append(row)
    return rows


def differences(then: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> list[str]:
    """`batch: 256 then, 128 now` for every setting that differs, also within settings."""
    out: list[str] = []
    for name in dict.fromkeys([*then, *now]):
        a, b = then.get(name), now.get(name)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            out += differences(a, b, f"{within}{name}.")
        elif a != b:
            out.append(f"{within}{name}: {json.dumps(a)} then, {json.dumps(b)} now")
    return out


def draw_curves(path: Path, rows: list[dict[str, Any]]) -> None:
    """`curves.png`: loss (if anything was trained) above validation R@1, against the step; dashed: the untouched model."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    losses = [(row["step"], row["loss"]) for row in rows if "loss" in row]
    recalls = [(row["step"], row["R@1"]) for row in rows if "R@1" in row]
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    *others, below = np.atleast_1d(figure.subplots(1 + bool(losses), 1, sharex=True))
    for above in others:
        above.plot(*zip(*losses, strict=True), color="tab:blue", linewidth=1)
        above.set_ylabel("loss")
    if recalls:
        below.plot(*zip(*recalls, strict=True), color="tab:green", marker=".", label="validation")
        below.axhline(recalls[0][1], color="tab:grey", linestyle="--", label="untouched model")
        below.legend(loc="best")
    below.set_ylabel("R@1, percent")
    below.set_xlabel("step")
    for axes in (*others, below):
        axes.grid(alpha=0.3)
    write_atomic(path / CURVES, lambda temporary: figure.savefig(temporary, format="png", dpi=100))


def _require_same(path: Path, config: Mapping[str, Any]) -> None:
    try:
        then = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Damaged(
            f"{path / CONFIG} cannot be read ({error}). Delete {path} to train from the beginning."
        ) from error
    differing = differences(then, config)
    if differing:
        listed = "\n  ".join(differing[:SHOWN] + [f"... and {len(differing) - SHOWN} more"] * (len(differing) > SHOWN))
        raise Refused(
            f"{path} holds an unfinished run with other settings:\n  {listed}\n"
            f"Repeat it with those to go on, choose another --name, or delete {path} to begin anew."
        )


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
