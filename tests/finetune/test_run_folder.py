"""A run's folder: goes on with the same settings only, drops what came after the checkpoint, and draws what it measured."""

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from nightreel.extract.errors import Damaged, Refused
from nightreel.finetune.training.checkpoint import load_checkpoint, save_checkpoint
from nightreel.finetune.training.run_folder import RunFolder, differences, finished, read_metrics
from PIL import Image

CONFIG = {"train": "head", "plan": {"batch": 256, "seed": 0}}


def rows(path: Path) -> list[int]:
    return [row["step"] for row in read_metrics(path)]


def unfinished(path: Path) -> RunFolder:
    run = RunFolder(path, CONFIG, shown=False)
    run.log({"step": 0, "R@1": 25.0})
    for step in (1, 2, 3):
        run.log({"step": step, "loss": 1.0 / step})
        if step == 2:
            run.save({"step": step, "model": {"weight": torch.tensor([1.5, 2.5])}})
    run.close()
    return run


def test_goes_on_from_its_checkpoint_and_forgets_what_came_after(tmp_path: Path) -> None:
    assert not unfinished(tmp_path / "run").resumed
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # killed while writing
    run = RunFolder(tmp_path / "run", CONFIG, shown=False)
    assert run.resumed
    state = run.load()
    assert state is not None
    assert state["step"] == 2
    assert torch.equal(state["model"]["weight"], torch.tensor([1.5, 2.5]))
    assert rows(tmp_path / "run") == [0, 1, 2]
    run.log({"step": 3, "loss": 0.1})
    run.close()
    assert rows(tmp_path / "run") == [0, 1, 2, 3]


def test_other_settings_are_refused_by_name(tmp_path: Path) -> None:
    unfinished(tmp_path / "run")
    other = {"train": "head", "plan": {"batch": 128, "seed": 0, "warmup": 0.1}}
    with pytest.raises(Refused) as told:
        RunFolder(tmp_path / "run", other)
    assert "plan.batch: 256 then, 128 now" in str(told.value)
    assert "plan.warmup: null then, 0.1 now" in str(told.value)
    assert "seed" not in str(told.value)
    assert "--name" in str(told.value)
    assert rows(tmp_path / "run") == [0, 1, 2, 3], "a refusal changes nothing"


def test_a_finished_run_leaves_its_result_and_is_replaced_by_the_next(tmp_path: Path) -> None:
    unfinished(tmp_path / "run")
    run = RunFolder(tmp_path / "run", CONFIG, shown=False)
    assert finished(tmp_path / "run", CONFIG) is None
    run.finish({"kept": True})
    run.close()
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
    assert finished(tmp_path / "run", CONFIG) == {"kept": True}
    assert finished(tmp_path / "run", {**CONFIG, "train": "adapter"}) is None
    again = RunFolder(tmp_path / "run", {**CONFIG, "train": "adapter"}, shown=False)
    again.close()
    assert not again.resumed
    assert rows(tmp_path / "run") == []
    assert finished(tmp_path / "run", CONFIG) is None


def test_curves_and_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    run = RunFolder(tmp_path, CONFIG)
    for step in range(6):
        run.log({"step": step, "R@1": 20.0 + step} if step % 3 == 0 else {"step": step, "loss": 3.0 - step / 2})
    run.finish({})
    run.close()
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (800, 600)
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 10
    assert len(list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))) == 1
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logs = EventAccumulator(str(tmp_path / "tensorboard"))
    logs.Reload()
    assert [(event.step, event.value) for event in logs.Scalars("R_at_1")] == [(0, 20.0), (3, 23.0)]


def test_without_tensorboard_it_says_so_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any, **more: Any) -> Any:
        if name == "torch.utils.tensorboard":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    run = RunFolder(tmp_path, CONFIG)
    run.log({"step": 0, "loss": 1.0})
    run.close()
    assert len(run.notes) == 1
    assert "nightreel[train]" in run.notes[0]
    assert rows(tmp_path) == [0]


def test_further_processes_write_nothing(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run", CONFIG, writes=False)
    run.log({"step": 0})
    run.finish({})
    run.close()
    assert not (tmp_path / "run").exists()


def test_a_broken_checkpoint_is_told(tmp_path: Path) -> None:
    unfinished(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(Damaged, match=r"checkpoint\.pt cannot be read"):
        RunFolder(tmp_path, CONFIG)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(Damaged, match=r"config\.json cannot be read"):
        RunFolder(tmp_path, CONFIG)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("pwned",))

    torch.save({"model": Hostile()}, tmp_path / "c.pt")
    with pytest.raises(Damaged, match="Delete it"):
        load_checkpoint(tmp_path / "c.pt")
    save_checkpoint(tmp_path / "c.pt", {"step": 1})
    assert load_checkpoint(tmp_path / "c.pt") == {"step": 1}


def test_differences_by_hand() -> None:
    assert differences({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}) == []
    assert differences({"a": 1, "b": {"c": 2}}, {"b": {"c": [3]}}) == ["a: 1 then, null now", "b.c: 2 then, [3] now"]
