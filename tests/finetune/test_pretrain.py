"""Masked pre-training from videos to an encoder: it learns, goes on after kill -9, and keeps nothing that is no better."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import video_models as models
from command import nightreel
from nightreel.demo.films import write_video
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.errors import Damaged, Refused, UsageError
from nightreel.finetune.pretraining.batch import Material, Plan, batch_of
from nightreel.finetune.pretraining.footage import Footage
from nightreel.finetune.pretraining.loop import held_losses, train
from nightreel.finetune.pretraining.model import Start, start_from
from nightreel.finetune.pretraining.pretrain import Wish, held_windows, pretrain
from nightreel.finetune.training.loop import NotFinite

pytestmark = pytest.mark.usefixtures("one_thread")
PLAN = Plan(steps=6, batch=8, mask=0.75, lr=0.03, every=3, save_every_s=0.0)
GRID = (2, 16)


class Kept:
    """Where a run writes: in memory."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.saved: dict[str, Any] | None = None

    def log(self, row: Mapping[str, Any]) -> None:
        self.rows.append(dict(row))

    def save(self, state: dict[str, Any]) -> None:
        import copy

        self.saved = copy.deepcopy(state)

    def load(self) -> dict[str, Any] | None:
        return self.saved


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VideoMAE of 30 k parameters as transformers makes it, untrained."""
    import transformers

    folder = tmp_path_factory.mktemp("models") / "untrained"
    torch.manual_seed(1)
    sizes = {**models.COMMON, "tubelet_size": 2, "use_mean_pooling": False, "decoder_intermediate_size": 64}
    sizes |= {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    models.save(transformers.VideoMAEForPreTraining(transformers.VideoMAEConfig(**sizes)), folder)
    return folder


def ramps(length: int, seed: int, turn: int | None = None) -> np.ndarray:
    """(T, 32, 32, 3) uint8: in every place of 8 px the same ramp, of another brightness; in one of four directions.

    Whoever sees one place knows the others up to their brightness; whoever sees none can do no better than guess one colour.
    """
    rng = np.random.default_rng(seed)
    ramp = np.tile(np.linspace(-60, 60, 8), (8, 1))
    ramp = np.rot90(ramp, int(rng.integers(4)) if turn is None else turn)
    light = rng.integers(70, 186, (length, 4, 4)).repeat(8, 1).repeat(8, 2)
    return np.repeat((light + np.tile(ramp, (4, 4)))[..., None], 3, axis=3).astype(np.uint8)


def material(start: Start, films: int = 24, length: int = 8, held: int = 8) -> Material:
    """Films as arrays, without decoding; the first are held out."""
    pictures = np.concatenate([ramps(length, seed) for seed in range(films)])
    rows = tuple(np.arange(film * length, (film + 1) * length) for film in range(films))
    footage = Footage(pictures, models.FRAMES, tuple(map(str, range(films))), rows, held, {})
    windows = (footage.windows(range(held, films)), footage.windows(range(held)))
    return Material(footage, start.preprocessing, *windows)


def weights(start: Start) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in start.model.state_dict().items()}


def assert_same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_hidden_patches_of_a_video_it_never_saw_are_guessed_better(checkpoint: Path) -> None:
    start = start_from(str(checkpoint), 0)
    seen = material(start)
    plan = dataclasses.replace(PLAN, steps=60, every=30, lr=0.1, crops=False)
    before, blank = held_losses(start.model, plan, seen, "cpu")
    keep = Kept()
    train(start.model, plan, seen, keep, "cpu")
    after, _ = held_losses(start.model, plan, seen, "cpu")
    assert before.mean() > 0.99 * blank.mean(), "untrained, it knows no more than that a patch has one colour"
    assert after.mean() < 0.8 * blank.mean()
    held = [row["held_out"] for row in keep.rows if "held_out" in row]
    assert held == pytest.approx([before.mean(), held[1], after.mean()], rel=1e-5)
    rates = [row["lr"] for row in keep.rows if "lr" in row]
    # 8 of 256 clips, after a warm-up of 0.05 of the steps.
    assert max(rates) == pytest.approx(0.1 * 8 / 256)
    assert int(np.argmax(rates)) in (2, 3)


@pytest.mark.parametrize("stopped_after", [1, 3, 5])
def test_stopped_it_goes_on_to_the_same_weights(checkpoint: Path, stopped_after: int) -> None:
    whole = start_from(str(checkpoint), 0)
    seen, keep = material(whole), Kept()
    train(whole.model, PLAN, seen, keep, "cpu")
    first, halves, steps = start_from(str(checkpoint), 0), Kept(), iter(range(1, 99))
    with pytest.raises(KeyboardInterrupt):
        train(first.model, PLAN, seen, halves, "cpu", stop=lambda: next(steps) == stopped_after)
    torch.rand(7)  # whatever else draws random numbers
    second = start_from(str(checkpoint), 0)
    train(second.model, PLAN, seen, halves, "cpu")
    assert_same(weights(second), weights(whole))
    told = [{name: value for name, value in row.items() if name != "clips_per_s"} for row in (*keep.rows, *halves.rows)]
    assert told[: len(keep.rows)] == told[len(keep.rows) :]


def test_a_batch_in_chunks_is_the_batch(checkpoint: Path) -> None:
    found = []
    for chunk in (0, 3):
        start = start_from(str(checkpoint), 0)
        plan = dataclasses.replace(PLAN, steps=1, chunk=chunk, lr=1e-9)
        keep = Kept()
        train(start.model, plan, material(start), keep, "cpu")
        found.append((keep.rows[1]["loss"], [p.grad.clone() for p in start.model.parameters()]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for whole, chunked in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=1e-4)


def test_a_step_sees_what_its_number_says_and_nothing_is_mirrored_unless_asked(checkpoint: Path) -> None:
    start = start_from(str(checkpoint), 0)
    seen = material(start)
    plain = dataclasses.replace(PLAN, crops=False, batch=40)
    one, same, other = (batch_of(plain, seen, GRID, step) for step in (3, 3, 4))
    assert torch.equal(one.clips, same.clips)
    assert torch.equal(one.masks, same.masks)
    assert not torch.equal(one.clips, other.clips)
    assert not torch.equal(one.masks, other.masks)
    pixels = one.pixels(start.preprocessing, "cpu")
    encoder: Any = load_encoder(f"videomae:{checkpoint}")
    np.testing.assert_allclose(pixels, encoder.pixels(one.clips.numpy()), atol=1e-6)
    flipped = batch_of(dataclasses.replace(plain, flip=True), seen, GRID, 3).pixels(start.preprocessing, "cpu")
    mirrored = [not torch.equal(a, b) for a, b in zip(flipped, pixels, strict=True)]
    assert 8 <= sum(mirrored) <= 32, "about half"
    for which, (a, b) in zip(mirrored, zip(flipped, pixels, strict=True), strict=True):
        assert torch.equal(a, b.flip(-1) if which else b)


def test_training_that_runs_away_is_said(checkpoint: Path) -> None:
    start = start_from(str(checkpoint), 0)
    with pytest.raises(NotFinite, match=r"training has run away.*--lr"):
        train(start.model, dataclasses.replace(PLAN, lr=1e30, warmup=0.0), material(start), Kept(), "cpu")


def test_held_out_films_count_alike() -> None:
    rows = (np.arange(100), np.arange(100, 104), np.arange(104, 106))
    footage = Footage(np.zeros((106, 1, 1, 3), np.uint8), 4, ("a", "b", "c"), rows, 3, {})
    windows = held_windows(footage, [0, 1, 2])
    assert np.bincount(windows[:, 0]).tolist() == [22, 1, 1], "64 / 3, where there are as many"
    assert windows[[0, 21], 1].tolist() == [0, 96], "over all of it"


# --- the whole of it --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Named as UCF101's, so that what is held out does not depend on where they lie; one is broken."""
    folder = tmp_path_factory.mktemp("films")
    for seed in range(4):
        write_video(folder / f"v_Ramp_g{seed}_c1.mp4", iter(ramps(20, seed, turn=0)), 10)
    (folder / "v_Ramp_g0_c2.mp4").write_bytes(b"no film")
    return sorted(folder.iterdir())


@pytest.fixture
def archive(make_archive: Any, films: list[Path]) -> Path:
    made = make_archive()
    for path in films:
        facts = path.stat()
        made.add(path.name, ["red"] * 2, path=str(path), size_bytes=facts.st_size, mtime=facts.st_mtime)
    return Path(made.root)


def words(archive: Path, checkpoint: Path, out: Path, **more: object) -> list[object]:
    options = {
        "from": checkpoint,
        "out": out,
        "steps": 6,
        "batch": 8,
        "mask": 0.75,
        "lr": 0.03,
        "stride": 0.2,
        "every": 3,
    }
    options |= {"workers": 1, "device": "cpu", **more}
    return ["pretrain", archive, *(word for name, value in options.items() for word in (f"--{name}", value))]


def test_from_an_archive_to_an_encoder_of_it(
    archive: Path, checkpoint: Path, films: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "ours"
    done = nightreel(*words(archive, checkpoint, out), "--json")
    assert done.code == 0, done.err
    result = done.json
    held = result["held_out_loss"]
    assert result["kept"]
    assert held["after"] < 0.95 * held["one_colour"] < held["before"]
    assert result["encoder"] == f"videomae:{out}"
    assert result["videos"]["train"] + result["videos"]["held_out"] == 5
    assert [Path(row["path"]).name for row in result["skipped"]] == ["v_Ramp_g0_c2.mp4"]
    assert "not or not wholly used" in done.err
    assert json.loads((out / "run" / "result.json").read_text()) == result
    assert sorted(path.name for path in (out / "run").glob("*.*")) == [
        "config.json",
        "curves.png",
        "metrics.jsonl",
        "reconstruction.png",
        "result.json",
    ]
    encoder: Any = load_encoder(result["encoder"])
    assert encoder.plan.frames == models.FRAMES
    assert result["next"].endswith("--stride 0.2"), "as it was trained"
    assert encoder.labels == ()
    assert "masked pre-training only" in (out / "README.md").read_text()
    again = nightreel(*words(archive, checkpoint, out))
    assert again.code == 4
    assert "another --out" in again.err
    shown = nightreel(*words(archive, out, tmp_path / "more", steps=1))
    assert shown.code == 0, shown.err
    assert "loss of hidden patches" in shown.out


@pytest.mark.parametrize("lr", [1e-30, 1e-3])
def test_what_is_no_better_is_not_kept(archive: Path, checkpoint: Path, tmp_path: Path, lr: float) -> None:
    """Not at all better than before; or better, but not than guessing that each patch has one colour."""
    done = nightreel(*words(archive, checkpoint, tmp_path / "out", lr=lr, steps=2))
    assert done.code == 0, done.err
    assert "NOT KEPT" in done.out
    held = json.loads((tmp_path / "out" / "run" / "result.json").read_text())["held_out_loss"]
    assert (held["after"] < held["before"]) == (lr > 1e-9)
    assert held["after"] >= held["one_colour"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"size": "tiny"}, "--size goes with an untrained model"),
        ({"mask": 1.0}, "--mask 1"),
        ({"steps": 0}, "--steps 0: expected 1 or more"),
        ({"stride": "nan"}, "--stride nan"),
        ({"held-out": 2}, "--held-out 2"),
    ],
)
def test_words_that_cannot_be_meant(archive: Path, checkpoint: Path, tmp_path: Path, more: Any, said: str) -> None:
    done = nightreel(*words(archive, checkpoint, tmp_path / "out", **more))
    assert done.code == 2, done.err
    assert said in done.err


CODE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from nightreel.finetune.pretraining.pretrain import Wish, pretrain
from nightreel.finetune.pretraining.batch import Plan
archive, checkpoint, out = map(Path, sys.argv[1:])
plan = Plan(steps=40, batch=8, mask=0.75, lr=0.1, every=20, save_every_s=0.0)
wish = Wish(str(checkpoint), out=out, stride_s=0.2, workers=1, device="cpu", plan=plan)
pretrain(archive, wish, progress=lambda done, of, what: print(done, what, flush=True))
"""


def test_killed_it_goes_on_to_the_same_weights(
    archive: Path, checkpoint: Path, films: list[Path], tmp_path: Path
) -> None:
    plan = Plan(steps=40, batch=8, mask=0.75, lr=0.1, every=20, save_every_s=0.0)
    wish = Wish(str(checkpoint), stride_s=0.2, workers=1, device="cpu", plan=plan)
    unbroken = pretrain(archive, dataclasses.replace(wish, out=tmp_path / "unbroken"))
    killed = dataclasses.replace(wish, out=tmp_path / "killed")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CODE, str(archive), str(checkpoint), str(killed.out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(b"17 loss"):
            break
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()
    run = tmp_path / "killed" / "run"
    assert 0 < torch.load(run / "checkpoint.pt", weights_only=True)["step"] < 40
    with pytest.raises(Refused, match=r"unfinished run with other settings:\n  plan.batch: 8 then, 9 now"):
        pretrain(archive, dataclasses.replace(killed, plan=dataclasses.replace(plan, batch=9)))
    saved = (run / "checkpoint.pt").read_bytes()
    (run / "checkpoint.pt").write_bytes(saved[: len(saved) // 2])
    with pytest.raises(Damaged, match=r"checkpoint.pt cannot be read"):
        pretrain(archive, killed)
    (run / "checkpoint.pt").write_bytes(saved)
    notes: list[str] = []
    resumed = pretrain(archive, killed, say=notes.append)
    assert notes[0].startswith("Going on with")
    assert resumed["held_out_loss"] == unbroken["held_out_loss"]
    one, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("killed", "unbroken"))
    assert one == other
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in steps if "loss" in row] == list(range(1, 41)), "no step twice"


def test_no_video_left_is_said_with_the_reasons(make_archive: Any, checkpoint: Path, tmp_path: Path) -> None:
    made = make_archive()
    made.add("gone.mp4", ["red"] * 2, path="/films/gone.mp4")
    with pytest.raises(UsageError, match=r"no video can be used:\n  /films/gone.mp4: the file is gone"):
        pretrain(made.root, Wish(str(checkpoint), out=tmp_path / "out", device="cpu", plan=PLAN))


@pytest.mark.gpu
def test_bfloat16_on_a_gpu_learns_as_float32_does(checkpoint: Path) -> None:
    found = []
    for device in ("cpu", "cuda"):
        start = start_from(str(checkpoint), 0)
        seen = material(start)
        start.model.to(device)
        plan = dataclasses.replace(PLAN, steps=60, every=60, lr=0.1, crops=False)
        train(start.model, plan, seen, Kept(), device)
        found.append(held_losses(start.model, plan, seen, device)[0].mean())
    assert found[1] == pytest.approx(found[0], rel=0.1)
    assert max(found) < 0.9
