"""The adapter that needs no training: against plain arithmetic, on few pairs, and where nothing varies."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nightreel.finetune.captions.examples import Examples, build_examples
from nightreel.finetune.captions.pairs import Pair
from nightreel.finetune.closed_form import CENTRE_TEXT, scaled, whitening

DIM = 4


def made(archive: Any, videos: dict[str, np.ndarray], texts: dict[str, np.ndarray], pairs: list[Pair]) -> Examples:
    for name, vectors in videos.items():
        archive.add(name, vectors)
    return build_examples(archive.store, "toy", pairs, lambda said: np.stack([texts[text] for text in said]))


@pytest.fixture
def examples(make_archive: Callable[..., Any]) -> Examples:
    draw = np.random.default_rng(4)
    videos = {f"{n}.mp4": draw.standard_normal((6, DIM)) + 1 for n in range(5)}
    texts = {f"t{n}": draw.standard_normal(DIM).astype(np.float32) for n in range(6)}
    texts = {name: vector / np.linalg.norm(vector) for name, vector in texts.items()}
    pairs = [Pair(f"{n % 5}.mp4", float(n % 3), float(n % 3 + 2), f"t{n}") for n in range(6)]
    return made(make_archive(), videos, texts, pairs)


def test_against_plain_loops(examples: Examples) -> None:
    frames = [np.asarray(examples.stored.of(video.video_id), np.float64) for video in examples.videos]
    within = sum(np.outer(f - of.mean(0), f - of.mean(0)) for of in frames for f in of)
    shown = np.stack(
        [frames[v][low:high].mean(0) for v, low, high in zip(examples.video, examples.low, examples.high, strict=True)]
    )
    text = examples.text().astype(np.float64)
    gap = np.cov((text - shown).T, bias=True)
    noise = within / np.trace(within) + gap / np.trace(gap)
    noise = 0.8 * noise * DIM / np.trace(noise) + 0.2 * np.eye(DIM)
    (weight, bias), (weight_text, bias_text) = whitening(examples, power=0.5, shrink=0.2)
    # With p = 1/2, W C W is a multiple of the identity.
    product = weight @ noise @ weight.T
    assert np.allclose(product, np.eye(DIM) * product[0, 0], atol=1e-3)
    assert (weight**2).sum() == pytest.approx(DIM, rel=1e-5)
    assert np.array_equal(weight, weight_text)
    assert np.allclose(weight @ np.concatenate(frames).mean(0) + bias, 0, atol=1e-5)
    assert np.allclose(CENTRE_TEXT * weight @ text.mean(0) + bias_text, 0, atol=1e-5)


def test_power_0_only_centres(examples: Examples) -> None:
    (weight, _), _ = whitening(examples, power=0.0)
    assert np.allclose(weight, np.eye(DIM), atol=1e-6)


def test_one_pair_of_a_standing_picture_gives_something_finite(make_archive: Callable[..., Any]) -> None:
    one = np.eye(DIM, dtype=np.float32)[0]
    found = made(make_archive(), {"a.mp4": np.tile(one, (3, 1))}, {"t": one}, [Pair("a.mp4", None, None, "t")])
    for weight, bias in whitening(found):
        assert np.isfinite(weight).all()
        assert np.isfinite(bias).all()
        assert np.allclose(weight, np.eye(DIM), atol=1e-6)


def test_scaled_by_hand() -> None:
    assert np.allclose(scaled(np.diag([3.0, 1.0])), np.diag([1.5, 0.5]))
    assert np.array_equal(scaled(np.zeros((2, 2))), np.eye(2))
