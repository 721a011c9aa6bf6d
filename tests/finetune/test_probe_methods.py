"""What is chosen is chosen on held-out rows of train, and fusing knows what neither stream knows alone."""

from collections.abc import Iterator

import numpy as np
import pytest
from nightreel.finetune.probing.linear import Linear
from nightreel.finetune.probing.methods import GRID, Method, Stream, all_methods, best, predict
from nightreel.finetune.probing.parts import Parts

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    """The stronger half of the strengths, every other, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightreel.finetune.probing.methods.GRID", GRID[2:14:2])
        yield


def parts_of(count: int, test: int, folds: int = 3) -> Parts:
    train = np.arange(count - test)
    held = [train[i::folds] for i in range(folds)]
    pairs = tuple((np.setdiff1d(train, of), of) for of in held)
    return Parts(train, np.arange(count - test, count), pairs, False, None)


def two_streams(count: int = 160, noise: float = 0.4) -> tuple[list[Stream], np.ndarray]:
    """Class = 2 * colour + motion; one stream knows the colour, the other the motion."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, count)
    streams = []
    for slug, part in (("colour", labels // 2), ("motion", labels % 2)):
        x = np.eye(2)[part] @ rng.normal(size=(2, 6)) + noise * rng.normal(size=(count, 6))
        streams.append(Stream(slug, (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)))
    return streams, labels


@pytest.fixture(scope="module")
def fused(one_thread: None, short: None) -> list[Method]:
    """All methods on `two_streams`, of which the last 60 are the test."""
    streams, labels = two_streams()
    return all_methods(streams, labels, 4, parts_of(160, 60))


def test_fusing_beats_each_stream_where_each_knows_half(fused: list[Method]) -> None:
    labels = two_streams()[1]
    methods, parts = fused, parts_of(160, 60)
    assert [method.name for method in methods] == [
        "linear:colour",
        "linear:motion",
        "k-NN:colour",
        "k-NN:motion",
        "average:colour+motion",
        "weighted:colour+motion",
        "joined:colour+motion",
    ]
    hits = {m.name: (m.test.argmax(axis=1) == labels[parts.test]).mean() for m in methods}
    assert max(hits["linear:colour"], hits["linear:motion"]) < 0.65  # half of it is a guess
    assert min(hits["average:colour+motion"], hits["joined:colour+motion"]) > 0.8
    assert len(best(methods).name.split("+")) == 2


def test_a_mixture_is_what_its_parts_say(fused: list[Method]) -> None:
    streams, parts = two_streams()[0], parts_of(160, 60)
    first, second, *_, average, weighted, joined = fused
    np.testing.assert_allclose(average.test, (first.test + second.test) / 2)
    share = weighted.terms[0].share
    np.testing.assert_allclose(weighted.held, share * first.held + (1 - share) * second.held)
    assert sum(term.share for term in weighted.terms) == pytest.approx(1)
    assert weighted.top1 >= average.top1  # a half is among the shares that are tried
    both = [stream.vectors for stream in streams]
    np.testing.assert_allclose(predict(joined.terms, both)[parts.test], joined.test)


def test_labels_of_test_change_nothing_that_is_chosen(fused: list[Method]) -> None:
    streams, labels = two_streams()
    parts = parts_of(160, 60)
    other = labels.copy()
    other[parts.test] = 3 - other[parts.test]
    for a, b in zip(fused, all_methods(streams, other, 4, parts), strict=True):
        assert (a.l2, a.top1, a.loss) == (b.l2, b.top1, b.loss)
        np.testing.assert_array_equal(a.test, b.test)


def test_noise_is_held_down_and_what_is_plain_is_not() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 120)
    noise = Stream("noise", rng.normal(size=(120, 40)).astype(np.float32))
    sharp = np.eye(2)[labels] + 0.05 * rng.normal(size=(120, 2))
    plain = Stream("plain", np.asarray(sharp / np.linalg.norm(sharp, axis=1, keepdims=True), np.float32))
    of_noise, *_ = all_methods([noise], labels, 2, parts_of(120, 40))
    of_plain, *_ = all_methods([plain], labels, 2, parts_of(120, 40))
    assert of_noise.l2 is not None
    assert of_plain.l2 is not None
    assert of_noise.l2 >= 1 > 1e-2 >= of_plain.l2
    assert {of_noise.l2, of_plain.l2} <= set(GRID)
    assert of_plain.top1 == 100


def test_strengths_that_are_far_too_strong_do_not_end_the_path() -> None:
    """Of many classes, the first steps gain next to nothing."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(40), 6)[rng.permutation(240)]
    x = np.eye(40)[labels] + 0.2 * rng.normal(size=(240, 40))
    stream = Stream("s", np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True), np.float32))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nightreel.finetune.probing.methods.GRID", (1e4, 1e3, 300.0, 100.0, 1.0, 1e-2, 1e-3))
        linear, *_ = all_methods([stream], labels, 40, parts_of(240, 60))
    assert linear.l2 is not None
    assert linear.l2 <= 1e-2


def test_a_class_that_some_folds_do_not_know_is_no_obstacle() -> None:
    streams, labels = two_streams()
    labels[:100] = labels[:100] % 3
    labels[0] = 3  # once in train: the fold that holds it out cannot know it
    found = best(all_methods(streams[:1], labels, 4, parts_of(160, 60)))
    assert np.isfinite(found.test).all()
    assert found.test.shape == (60, 4)


def test_the_best_is_the_first_of_equals() -> None:
    def method(name: str, top1: float, loss: float) -> Method:
        return Method(name, (), np.zeros((0, 2)), np.zeros((0, 2)), top1, loss)

    assert best([method("a", 50, 2), method("b", 60, 3), method("c", 60, 1)]).name == "b"


def test_streams_of_other_loudness_count_alike_when_joined(fused: list[Method]) -> None:
    streams, labels = two_streams()
    loud = [Stream("colour", 100 * streams[0].vectors), streams[1]]
    quiet, noisy = fused[-1], all_methods(loud, labels, 4, parts_of(160, 60))[-1]
    np.testing.assert_allclose(quiet.test, noisy.test, atol=1e-3)
    assert isinstance(quiet.terms[0].model, Linear)
