"""Training CLIP's towers from pictures: the right pictures, what trains, and an end to end run on films it can tell apart."""

import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from nightreel.demo.films import write_video
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.encoders.registry import slug as slug_of
from nightreel.extract.errors import FingerprintMismatch, UsageError
from nightreel.extract.run import Settings, extract
from nightreel.extract.store import Store
from nightreel.finetune.captions.examples import Examples, build_examples
from nightreel.finetune.captions.pairs import Pair
from nightreel.finetune.captions.parts import Parts
from nightreel.finetune.frames_task import FramesTask, frames_task
from nightreel.finetune.training.loop import Plan, train

pytestmark = pytest.mark.usefixtures("one_thread")

SECONDS, FPS = 4, 4
CAPTIONS = ("a dog runs", "two cars", "rain at night", "a red door", "people dance", "snow")


class Keep:
    """Where a run writes, in memory."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def log(self, row: Any) -> None:
        self.rows.append(dict(row))

    def save(self, state: Any) -> None:
        self.state = state

    def load(self) -> None:
        return None

    @property
    def losses(self) -> list[float]:
        return [row["loss"] for row in self.rows if "loss" in row]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, write_towers: Any) -> SimpleNamespace:
    """An archive of six films, each of large squares of colours of its own, that change in the middle."""
    root = tmp_path_factory.mktemp("frames")
    spec = write_towers(root / "tiny")
    paths = []
    for number in range(len(CAPTIONS)):
        rng = np.random.default_rng(number)
        looks = [np.kron(rng.integers(0, 256, (2, 2, 3)), np.ones((32, 32, 1))).astype(np.uint8) for _ in range(2)]
        paths.append(root / f"film{number}.mp4")
        write_video(paths[-1], (looks[i // (2 * FPS)] for i in range(SECONDS * FPS)), FPS)
    extract([str(path) for path in paths], root / "archive", [spec], Settings(workers=1))
    return SimpleNamespace(root=root, spec=spec, slug=slug_of(spec), paths=paths, store=Store.open(root / "archive"))


def examples_of(made: SimpleNamespace, pairs: Sequence[Pair]) -> Examples:
    encoder: Any = load_encoder(made.spec, "cpu")
    return build_examples(made.store, made.slug, pairs, encoder.encode_text)


def parts_of(made: SimpleNamespace) -> Parts:
    """All pairs train, and the same validate: what was learned must show."""
    pairs = [Pair(str(path), None, None, said) for path, said in zip(made.paths, CAPTIONS, strict=True)]
    examples = examples_of(made, pairs)
    return Parts(examples, examples, given=True)


def task_of(
    made: SimpleNamespace, how: str = "lora", folder: str = "pixels", seed: int = 0, **options: Any
) -> FramesTask:
    torch.manual_seed(seed)
    task, faults = frames_task(
        made.store, made.slug, parts_of(made), made.root / folder, how=how, device="cpu", workers=1, **options
    )
    assert not faults
    return task


def test_untrained_videos_and_texts_are_those_of_the_archive(made: SimpleNamespace) -> None:
    """The pictures are those whose features are stored: the same frames, decoded and scaled the same way."""
    task = task_of(made)
    task.model.eval()
    with torch.inference_mode():
        video, text = task.encode(range(6))
    examples = parts_of(made).train
    for row in range(6):
        stored = np.asarray(examples.stored.of(examples.videos[examples.video[row]].video_id), np.float32)
        assert len(stored) == SECONDS
        mean = stored.mean(axis=0)
        assert float(video[row].numpy() @ mean / np.linalg.norm(mean)) > 0.99999
    assert np.abs(text.numpy() - examples.text()).max() < 1e-5


def test_fewer_frames_at_equal_steps_and_spans(made: SimpleNamespace) -> None:
    """Two of a whole film's four: the first and the last; one where the span has no more. The rest of the row is not there."""
    pairs = [Pair(str(made.paths[0]), None, None, "whole"), Pair(str(made.paths[0]), 2.0, 3.0, "a moment")]
    examples = examples_of(made, pairs)
    parts = Parts(examples, examples, given=True)
    task, _ = frames_task(
        made.store, made.slug, parts, made.root / "few", how="lora", device="cpu", frames=2, workers=1
    )
    task.model.eval()
    with torch.inference_mode():
        video, _ = task.encode([0, 1])
    stored = torch.from_numpy(np.asarray(examples.stored.of(examples.videos[0].video_id), np.float32))
    for found, places in zip(video, ([0, 3], [2]), strict=True):
        mean = stored[places].mean(dim=0)
        assert float(found @ mean / mean.norm()) > 0.99999


def test_a_step_of_lora_changes_adapters_only_and_of_all_everything(made: SimpleNamespace) -> None:
    changed = {}
    for how in ("lora", "all"):
        task = task_of(made, how, rate=1e-3)
        before = {name: p.detach().clone() for name, p in task.model.named_parameters()}
        train(task, Plan(epochs=1, batch=6, patience=9, warmup=0.0), Keep())
        # The best weights are put back at the end, so look at what the loop's own step did.
        params = [p for group in task.groups() for p in group["params"]]
        assert {id(p) for p in params} == {id(p) for p in task.model.parameters() if p.requires_grad}
        optimizer = torch.optim.AdamW(params, lr=1e-3)
        video, text = task.encode(range(6))
        (video - text).square().sum().backward()
        optimizer.step()
        changed[how] = {name for name, p in task.model.named_parameters() if not torch.equal(p, before[name])}
        assert changed[how]
    assert all("lora_" in name for name in changed["lora"])
    assert not any("lora_" in name for name in changed["all"])
    assert any("conv1" in name for name in changed["all"])


@pytest.mark.parametrize(("how", "rate"), [("lora", 1e-2), ("all", 3e-3)])
def test_learns_films_by_heart_and_is_then_an_encoder(
    made: SimpleNamespace, tmp_path: Path, how: str, rate: float
) -> None:
    task, keep = task_of(made, how, rate=rate, checkpointing=how == "all"), Keep()
    done = train(task, Plan(epochs=40, batch=6, chunk=4 if how == "lora" else 0, patience=40), keep)
    assert done.before.figures()["R@1"] < 60
    assert done.after.figures()["R@1"] == 100
    assert keep.losses[-1] < 0.1 * keep.losses[0]
    task.model.eval()
    with torch.inference_mode():
        video, text = task.encode(range(6))
    spec = task.save(tmp_path / "new")
    encoder: Any = load_encoder(spec, "cpu")
    assert np.abs(encoder.encode_text(list(CAPTIONS)) - text.numpy()).max() < 1e-5

    # The features made anew: each caption's own film is nearest to it.
    extract([str(path) for path in made.paths], tmp_path / "archive", [spec], Settings(workers=1))
    store = Store.open(tmp_path / "archive")
    means = {}
    for segments in store.segments(slug_of(spec)):
        for video_id in dict.fromkeys(segments.video_id.tolist()):
            of = np.asarray(segments.embedding, np.float32)[segments.video_id == video_id].mean(axis=0)
            means[video_id] = of / np.linalg.norm(of)
    names = {row.path: row.video_id for row in store.videos()}
    again = np.stack([means[names[str(path)]] for path in made.paths])
    assert np.abs(again - video.numpy()).max() < 2e-3  # float16 as stored
    assert (text.numpy() @ again.T).argmax(axis=1).tolist() == list(range(6))


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(made: SimpleNamespace) -> None:
    plan = Plan(epochs=4, batch=3, chunk=2, patience=9, save_every_s=0)
    whole = task_of(made, rate=1e-2)
    expected = train(whole, plan, Keep())

    kept, steps = Keep(), iter([False] * 6 + [True] * 9)
    with pytest.raises(KeyboardInterrupt):
        train(task_of(made, rate=1e-2), plan, kept, stop=lambda: next(steps))
    assert 0 < kept.state["step"] < 8
    torch.save(kept.state, file := io.BytesIO())
    file.seek(0)
    kept.load = lambda: torch.load(file)  # type: ignore[method-assign]
    again = task_of(made, rate=1e-2, seed=9)
    found = train(again, plan, kept)
    assert found.after.ranks.tolist() == expected.after.ranks.tolist()
    assert (found.best_epoch, found.epochs) == (expected.best_epoch, 4)
    state = again.model.state_dict()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_pairs_without_pictures_are_left_out(made: SimpleNamespace, tmp_path: Path) -> None:
    """A film that is gone takes its pairs with it; where all are gone, that is an error."""
    parts, path = parts_of(made), made.paths[2]
    options = {"how": "lora", "device": "cpu", "workers": 1}
    path.rename(tmp_path / "away.mp4")
    try:
        task, faults = frames_task(made.store, made.slug, parts, tmp_path / "pixels", **options)
        assert task.count == 5
        with torch.inference_mode():
            assert len(task.validate().ranks) == 5
        assert list(faults) == [str(path)]
        assert "4 of 4 pictures are missing" in faults[str(path)]
        gone = parts.train.subset([2])
        with pytest.raises(UsageError, match=r"none of 1 pairs has pictures(.|\n)*film2.mp4: 4 of 4"):
            frames_task(made.store, made.slug, Parts(gone, gone, given=True), tmp_path / "none", **options)
    finally:
        (tmp_path / "away.mp4").rename(path)


def test_the_model_that_loads_must_be_the_one_that_made_the_features(made: SimpleNamespace, tmp_path: Path) -> None:
    import json

    path = made.root / "archive" / "features" / made.slug / "encoder.json"
    said = path.read_text()
    try:
        path.write_text(json.dumps({**json.loads(said), "weights_sha256": "0" * 64}))
        with pytest.raises(FingerprintMismatch, match="weights_sha256"):
            task_of(made, folder="other")
    finally:
        path.write_text(said)
    with pytest.raises(UsageError, match="lora or all"):
        task_of(made, how="head")


def test_same_captions_and_overlapping_moments_are_no_negatives(made: SimpleNamespace) -> None:
    a, b = str(made.paths[0]), str(made.paths[1])
    pairs = [
        Pair(a, 0.0, 2.0, "one"),
        Pair(a, 1.0, 3.0, "two"),
        Pair(a, 3.0, 4.0, "three"),
        Pair(b, 0.0, 1.0, "Three!"),
    ]
    examples = examples_of(made, pairs)
    parts = Parts(examples, examples, given=True)
    task, _ = frames_task(made.store, made.slug, parts, made.root / "false", how="lora", device="cpu", workers=1)
    false = task.false([0, 1, 2, 3])
    assert false is not None
    assert false.nonzero().tolist() == [[0, 1], [1, 0], [2, 3], [3, 2]]
