"""`--train head` and `adapter`: what is masked, what counts as right, and that training on stored features learns."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from nightreel.extract.heads.networks import make_head
from nightreel.extract.heads.tuned import Adapter, Tuned
from nightreel.finetune.captions.collate import collate
from nightreel.finetune.captions.examples import Examples, build_examples
from nightreel.finetune.captions.pairs import Pair
from nightreel.finetune.stored_task import AdapterTask, Rates, StoredTask, right_answers
from nightreel.finetune.training.loop import train
from nightreel.finetune.training.plan import Plan

pytestmark = pytest.mark.usefixtures("one_thread")
DIM, HELD_OUT = 4, 40


def texts_of(sentences: Any) -> np.ndarray:
    """A vector that a sentence always has."""
    made = [np.random.default_rng(sum(map(ord, text))).standard_normal(DIM) for text in sentences]
    return np.stack([v / np.linalg.norm(v) for v in made]).astype(np.float32)


@pytest.fixture
def few(make_archive: Callable[..., Any]) -> Examples:
    """Five pairs: two spans of `a` that overlap, a third that does not, and `b` twice, once with the words of the third."""
    archive = make_archive()
    archive.add("a.mp4", np.eye(4)[[0, 1, 2, 3, 0, 1]])
    archive.add("b.mp4", np.eye(4)[[3, 2, 1]])
    pairs = [
        Pair("a.mp4", 0.0, 3.0, "one"),
        Pair("a.mp4", 2.0, 4.0, "two"),
        Pair("a.mp4", 4.0, 6.0, "The three."),
        Pair("b.mp4", None, None, "four"),
        Pair("b.mp4", None, None, "three"),
    ]
    return build_examples(archive.store, "toy", pairs, texts_of, max_frames=4)


def task_of(examples: Examples, kind: str = "mean", **more: Any) -> StoredTask:
    torch.manual_seed(0)
    tuned = Tuned(make_head(kind, DIM, max_frames=4), Adapter(DIM))
    return StoredTask(tuned, examples, examples, **more)


def test_which_pairs_are_no_negatives(few: Examples) -> None:
    found = task_of(few).false([0, 1, 2, 3, 4])
    assert found is not None
    expected = np.zeros((5, 5), bool)
    for i, j in ((0, 1), (3, 4), (2, 4)):  # overlap, the same video, the same words
        expected[i, j] = expected[j, i] = True
    assert np.array_equal(found.numpy(), expected)


def test_which_footage_answers_a_caption(few: Examples) -> None:
    """Four pieces: a 0-3, a 2-4, a 4-6, b."""
    assert right_answers(few).astype(int).tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 1],
        [0, 0, 0, 1],
        [0, 0, 1, 1],
    ]


def test_untrained_it_ranks_as_the_mean_of_frames_does(few: Examples) -> None:
    found = task_of(few).validate()
    eye = np.eye(4)
    spans = [eye[[0, 1, 2]], eye[[2, 3]], eye[[0, 1]], eye[[3, 2, 1]]]
    videos = np.stack([span.mean(0) / np.linalg.norm(span.mean(0)) for span in spans])
    scores = texts_of(["one", "two", "The three.", "four", "three"]) @ videos.T
    right = right_answers(few)
    expected = [1 + int(((row >= row[own].max()) & ~own).sum()) for row, own in zip(scores, right, strict=True)]
    assert found.ranks.tolist() == expected
    assert list(found.sources) == few.sources


@pytest.mark.parametrize("kind", ["lstm", "transformer", "wti"])
def test_untouched_is_the_mean_of_frames_whatever_the_head_begins_as(few: Examples, kind: str) -> None:
    task = task_of(few, kind)
    for value in task.model.parameters():
        torch.nn.init.normal_(value)
    assert task.untouched().ranks.tolist() == task_of(few).validate().ranks.tolist()


def test_the_same_seed_draws_the_same_frames(few: Examples) -> None:
    task = task_of(few.subset([0, 3]))
    torch.manual_seed(7)
    first, _ = task.encode([0, 1])
    torch.manual_seed(7)
    again, _ = task.encode([0, 1])
    assert torch.equal(first, again)


@pytest.mark.parametrize("kind", ["mean", "lstm", "transformer", "wti"])
def test_every_parameter_is_in_one_group(few: Examples, kind: str) -> None:
    task = task_of(few, kind)
    grouped = [id(p) for group in task.groups() for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in task.model.parameters())
    by_name = {group["name"]: group for group in task.groups()}
    assert by_name["adapter"]["anchored"]
    assert by_name["scale"]["weight_decay"] == 0


class Nothing:
    """A `Keep` that keeps nothing."""

    def log(self, row: Any) -> None: ...
    def save(self, state: Any) -> None: ...
    def load(self) -> None: ...


@pytest.mark.parametrize("kind", ["lstm", "transformer"])
def test_a_temporal_head_learns_the_order_of_frames_and_the_mean_cannot(
    make_archive: Callable[..., Any], kind: str
) -> None:
    """Videos show x then y, or y then x; captions say which came first. Held out: other videos."""
    archive, draw, pairs = make_archive(), np.random.default_rng(0), []
    for number in range(HELD_OUT + 60):
        first, second = draw.permutation(4)[:2]
        frames = np.eye(4)[[first, first, second, second]] + 0.1 * draw.standard_normal((4, 4))
        archive.add(f"{number}.mp4", frames)
        pairs.append(Pair(f"{number}.mp4", None, None, f"{first} before {second}"))
    examples = build_examples(archive.store, "toy", pairs, order_texts, max_frames=4)
    val, own = examples.subset(range(HELD_OUT)), [pair.caption for pair in pairs[:HELD_OUT]]
    right = {}
    for head in ("mean", kind):
        torch.manual_seed(0)
        tuned = Tuned(make_head(head, DIM, max_frames=4, layers=1), Adapter(DIM))
        task = StoredTask(tuned, examples.subset(range(HELD_OUT, len(pairs))), val, Rates(0.03, 0.03, 0, 0.01))
        train(task, Plan(epochs=40, batch=60, last_epoch=40), Nothing())
        with torch.no_grad():
            videos = tuned.eval().video(*collate(val, range(HELD_OUT)))
            scores = [
                (videos * tuned.text(torch.from_numpy(order_texts(said)))).sum(1)
                for said in (own, [caption[::-1].replace("erofeb", "before") for caption in own])
            ]
        right[head] = float((scores[0] > scores[1]).double().mean())
    assert right[kind] >= 0.9
    assert 0.3 <= right["mean"] <= 0.7


def order_texts(sentences: Any) -> np.ndarray:
    """`2 before 3` as its own direction of the plane of axes 2 and 3: nearer to 2."""
    out = np.zeros((len(sentences), DIM), np.float32)
    for row, text in enumerate(sentences):
        first, second = int(text[0]), int(text[-1])
        out[row, first], out[row, second] = 0.9, 0.436
    return out


def test_an_adapter_starts_from_its_closed_form_and_that_is_its_first_epoch(few: Examples) -> None:
    tuned = Tuned(make_head("mean", DIM, max_frames=4), Adapter(DIM))
    task = AdapterTask(tuned, few, few)
    untouched = task.validate()
    done = train(task, Plan(epochs=4, batch=5, last_epoch=0, patience=9), Nothing())
    assert len(done.history) == 5
    assert done.history[0].ranks.tolist() == untouched.ranks.tolist()
    task = AdapterTask(Tuned(make_head("mean", DIM, max_frames=4), Adapter(DIM)), few, few)
    task.begin()
    assert task.validate().ranks.tolist() == done.history[1].ranks.tolist()
    expected = {name: value.clone() for name, value in task.model.state_dict().items()}
    again = AdapterTask(Tuned(make_head("mean", DIM, max_frames=4), Adapter(DIM)), few, few)
    assert train(again, Plan(epochs=4, batch=5, last_epoch=1), Nothing()).epochs == 1
    for name, value in again.model.state_dict().items():
        assert torch.equal(value, expected[name])
