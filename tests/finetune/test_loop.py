"""The loop on a toy: texts are turned videos, and a linear map has to find the turn."""

import dataclasses
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nightreel.finetune.training.loop import NotFinite, train
from nightreel.finetune.training.optimizer import optimizer_of, pull
from nightreel.finetune.training.plan import Plan, batches, patience_for, steps_of
from nightreel.finetune.training.task import Validation
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

pytestmark = pytest.mark.usefixtures("one_thread")
DIM, TRAIN, HELD_OUT = 8, 60, 20
PLAN = Plan(epochs=12, batch=20, patience=20, save_every_s=0.0)


class Turned:
    """A `Task`: video i is a random vector, text i the same vector turned, with a little noise."""

    def __init__(self, *, lr: float = 0.1, noise: float = 0.1, drop: float = 0.0, anchored: bool = False) -> None:
        draw = torch.Generator().manual_seed(5)
        turn = torch.linalg.qr(torch.randn(DIM, DIM, generator=draw))[0]
        self._video = normalize(torch.randn(TRAIN + HELD_OUT, DIM, generator=draw), dim=1)
        self._text = normalize(self._video @ turn + noise * torch.randn(TRAIN + HELD_OUT, DIM, generator=draw), dim=1)
        self.model = nn.Linear(DIM, DIM, bias=False)
        nn.init.eye_(self.model.weight)
        self.model.register_parameter("log_scale", nn.Parameter(torch.tensor(2.5)))
        self.count, self.lr, self.drop, self.anchored = TRAIN, lr, drop, anchored
        self.seen: list[list[int]] = []

    @property
    def log_scale(self) -> Tensor:
        return self.model.log_scale

    def groups(self) -> list[dict[str, Any]]:
        return [
            {
                "params": [self.model.weight],
                "lr": self.lr,
                "weight_decay": 0.1,
                "name": "map",
                "anchored": self.anchored,
            },
            {"params": [self.model.log_scale], "lr": self.lr, "weight_decay": 0.0, "name": "scale"},
        ]

    def encode(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        self.seen.append(list(rows))
        video = dropout(self._video[rows], self.drop, training=self.model.training)
        return normalize(self.model(video), dim=1), self._text[rows]

    def weights(self, rows: Sequence[int]) -> Tensor | None:
        return None

    def false(self, rows: Sequence[int]) -> Tensor | None:
        return None

    def validate(self) -> Validation:
        with torch.no_grad():
            scores = self._text[TRAIN:] @ normalize(self.model(self._video[TRAIN:]), dim=1).T
        ranks = 1 + ((scores >= scores.diagonal()[:, None]).sum(1) - 1)
        return Validation(ranks.numpy().astype(np.int64), [f"s{i // 2}" for i in range(HELD_OUT)])


class Begun(Turned):
    """One that knows a better start: its anchors are there, also where a run is gone on with."""

    def begin(self) -> None:
        with torch.no_grad():
            self.model.weight.mul_(0.5).add_(0.1)


class InMemory:
    """A `Keep` that remembers; a saved state is a deep copy, as a file would be."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = [] if state is None else [state]

    def log(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))

    def save(self, state: dict[str, Any]) -> None:
        from copy import deepcopy

        self.states.append(deepcopy(state))

    def load(self) -> dict[str, Any] | None:
        return self.states[-1] if self.states else None


def test_finds_the_turn_and_ends_with_the_best_weights() -> None:
    task, keep = Turned(), InMemory()
    done = train(task, PLAN, keep)
    assert done.before.figures()["R@1"] < 30 < 90 <= done.after.figures()["R@1"]
    assert np.array_equal(task.validate().ranks, done.after.ranks)
    by_epoch = {row["epoch"]: row["R@1"] for row in keep.rows if "R@1" in row}
    assert sorted(by_epoch) == list(range(13))
    assert by_epoch[done.best_epoch] == max(by_epoch.values())
    losses = [row["loss"] for row in keep.rows if "loss" in row]
    assert len(losses) == 36
    assert losses[-1] < losses[0] / 2


def test_rates_rise_then_fall() -> None:
    keep = InMemory()
    train(Turned(), dataclasses.replace(PLAN, warmup=0.25), keep)
    rates = [row["lr"] for row in keep.rows if "lr" in row]
    top = int(np.argmax(rates))
    assert 7 <= top <= 9
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(0.1)
    assert rates[-1] < 0.005


@pytest.mark.parametrize(("after", "kind"), [(1, Turned), (7, Turned), (20, Turned), (7, Begun)])
def test_stopped_and_gone_on_with_is_as_if_never_stopped(after: int, kind: type[Turned]) -> None:
    whole_task, whole = kind(drop=0.3, anchored=True), InMemory()
    expected = train(whole_task, PLAN, whole)
    keep, steps = InMemory(), 0

    def stop() -> bool:
        return steps >= after

    def count(done: int, of: int, what: str) -> None:
        nonlocal steps
        steps = done

    with pytest.raises(KeyboardInterrupt):
        train(kind(drop=0.3, anchored=True), PLAN, keep, stop=stop, progress=count)
    assert keep.states[-1]["step"] == after
    torch.manual_seed(12345)  # what another process would have drawn does not matter
    task, again = kind(drop=0.3, anchored=True), InMemory(keep.states[-1])
    found = train(task, PLAN, again)
    assert found.best_epoch == expected.best_epoch
    assert np.array_equal(found.after.ranks, expected.after.ranks)
    for name, value in whole_task.model.state_dict().items():
        assert torch.equal(value, task.model.state_dict()[name])
    assert keep.rows + again.rows == whole.rows


def test_chunks_give_the_same_as_whole_batches() -> None:
    plain, chunked = Turned(), Turned()
    train(plain, dataclasses.replace(PLAN, epochs=3), InMemory())
    train(chunked, dataclasses.replace(PLAN, epochs=3, chunk=7), InMemory())
    assert max(map(len, chunked.seen)) == 7
    assert torch.allclose(plain.model.weight, chunked.model.weight, atol=1e-5)


@pytest.mark.parametrize(("epochs", "patience"), [(1, 8), (30, 8), (60, 15), (200, 50)])
def test_long_plans_wait_longer(epochs: int, patience: int) -> None:
    assert patience_for(epochs) == patience


def test_no_gain_leaves_the_model_as_it_was() -> None:
    task = Turned(lr=0.0)
    start = task.model.weight.detach().clone()
    done = train(task, dataclasses.replace(PLAN, patience=3), InMemory())
    assert (done.best_epoch, done.epochs) == (0, 3)
    assert "not gained for 3 epochs" in done.note
    assert torch.equal(task.model.weight, start)
    assert np.array_equal(done.before.ranks, done.after.ranks)


def test_a_loss_that_runs_away_is_told() -> None:
    task = Turned()
    task._video[3] = torch.nan
    with pytest.raises(NotFinite, match=r"at step 1, epoch 1.*--lr"):
        train(task, dataclasses.replace(PLAN, batch=60), InMemory())


def test_a_loss_that_runs_away_later_keeps_the_best() -> None:
    class Spoiled(Turned):
        def encode(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
            video, text = super().encode(rows)
            return (video * torch.nan if len(self.seen) > 25 else video), text

    task = Spoiled()
    done = train(task, PLAN, InMemory())
    assert done.best_epoch >= 1
    assert "at step 26" in done.note
    assert torch.isfinite(task.model.weight).all()
    assert np.array_equal(task.validate().ranks, done.after.ranks)


def test_the_scale_stays_within_its_bounds() -> None:
    task = Turned(lr=0.5)
    with torch.no_grad():
        task.log_scale.fill_(4.5)
    train(task, dataclasses.replace(PLAN, epochs=6), InMemory())
    assert 1.0 <= float(task.log_scale.detach().exp()) <= 100.0


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 5), st.integers(0, 5))
def test_batches_hold_every_row_once(count: int, batch: int, seed: int, epoch: int) -> None:
    found = batches(count, batch, seed, epoch)
    assert sorted(np.concatenate(found).tolist()) == list(range(count))
    sizes = [len(rows) for rows in found]
    assert len(found) == steps_of(count, Plan(batch=batch))
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert all(np.array_equal(a, b) for a, b in zip(found, batches(count, batch, seed, epoch), strict=True))


def test_batches_differ_by_seed_and_epoch() -> None:
    first = [batches(50, 10, seed, epoch)[0].tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(rows) for rows in first}) == 4


def test_anchored_weights_are_pulled_to_their_start() -> None:
    """By hand: with decay 0.5, a weight of 3 that started at 1 gets a gradient of 0.5 * 2 more; AdamW decays the other."""
    anchored, free = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([1.0]))
    groups = [
        {"params": [anchored], "lr": 0.1, "weight_decay": 0.5, "name": "a", "anchored": True},
        {"params": [free], "lr": 0.1, "weight_decay": 0.5, "name": "f"},
    ]
    optimizer, anchors = optimizer_of(groups)
    with torch.no_grad():
        anchored.fill_(3.0)
        free.fill_(3.0)
    anchored.grad, free.grad = torch.full((1,), 0.25), torch.zeros(1)
    pull(optimizer, anchors)
    assert anchored.grad.item() == pytest.approx(1.25)
    assert free.grad.item() == 0.0
    optimizer.step()
    assert anchored.item() == pytest.approx(2.9, abs=1e-4)  # AdamW's first step is the rate, whatever the gradient
    assert free.item() == pytest.approx(3.0 * (1 - 0.05))


def test_to_a_last_epoch_it_needs_no_validation_and_goes_the_same_way() -> None:
    class Blind(Turned):
        def validate(self) -> Validation:
            raise AssertionError("there is nothing to validate on")

    seen, blind = Turned(), Blind()
    weights: dict[int, Tensor] = {}

    def remember(step: int, of: int, what: str) -> None:
        weights[step] = seen.model.weight.detach().clone()

    train(seen, dataclasses.replace(PLAN, patience=99), InMemory(), progress=remember)
    done = train(blind, dataclasses.replace(PLAN, last_epoch=5), InMemory())
    assert (done.epochs, done.best_epoch, done.history) == (5, 5, [])
    assert torch.equal(blind.model.weight, weights[15])


def test_validation_figures_by_hand() -> None:
    found = Validation(np.array([1, 2, 1, 7]), ["a", "a", "b", "c"])
    assert found.figures() == {"R@1": 50.0, "R@5": 75.0, "R@10": 100.0, "MdR": 1.5, "MnR": 2.75, "MRR": 66.071}
    assert Validation(np.array([1, 2, 1, 6]), found.sources).better_than(found)
    assert not found.better_than(found)
    assert found.better_than(Validation(np.array([1, 2, 2, 2]), found.sources))


PROCESS = """
import sys, torch
torch.set_num_threads(1)
rank, folder, here = int(sys.argv[1]), sys.argv[2], sys.argv[3]
sys.path.insert(0, here)
from test_loop import PLAN, InMemory, Turned, train
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
task, keep = Turned(), InMemory()
done = train(task, PLAN, keep)
torch.save([task.model.state_dict(), done.best_epoch, len(keep.rows), max(map(len, task.seen))], f"{folder}/{rank}.pt")
"""


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    here = str(Path(__file__).parent)
    words = [[sys.executable, "-c", PROCESS, str(rank), str(tmp_path), here] for rank in (0, 1)]
    started = [subprocess.Popen(command) for command in words]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
    alone, keep = Turned(), InMemory()
    done = train(alone, PLAN, keep)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for name, value in alone.model.state_dict().items():
        assert torch.equal(first[0][name], second[0][name])
        assert torch.allclose(first[0][name], value, atol=1e-4)
    assert first[1] == second[1] == done.best_epoch
    assert (first[2], second[2]) == (len(keep.rows), 0), "one process writes"
    assert (first[3], second[3]) == (10, 10), "each encodes half of a batch"
