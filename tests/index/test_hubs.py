"""Hubs: what is near to everything is lowered, all else keeps its score to the last bit."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.index import probes
from nightreel.index.build import build_index
from nightreel.index.hubs import CUT, FULL, LEAST, hubness, penalties, usual
from nightreel.index.open import open_index

DIM, VIDEOS = 24, 30


def test_hubness_is_the_mean_with_the_probes() -> None:
    assert hubness(np.array([0.3, 0.1], np.float32)) == pytest.approx(0.2)
    assert hubness(np.zeros(0, np.float32)) == 0.0


def test_penalties_by_hand() -> None:
    values = np.array([0.1] * 10 + [0.2] * 10 + [0.3] * 10 + [2.0])  # the median is 0.2, and the deviation from it 0.1
    middle, deviation = usual(values)
    assert (middle, deviation) == (pytest.approx(0.2), pytest.approx(1.4826 * 0.1))
    assert penalties(values, middle, deviation)[-1] == pytest.approx(1.8)  # all that is above the middle
    assert not penalties(values, middle, deviation)[:-1].any()
    half = np.array([middle + (CUT + FULL) / 2 * deviation])
    assert penalties(half, middle, deviation)[0] == pytest.approx(0.5 * (half[0] - middle))
    assert usual(np.full(50, 0.2)) == (pytest.approx(0.2), 1e-3)  # equal ones have a little room


def test_few_videos_have_no_hubs() -> None:
    values = np.r_[np.full(LEAST - 2, 0.1), 9.0]
    assert usual(values)[1] == usual(np.zeros(0))[1] == np.inf
    assert not penalties(values, *usual(values)).any()
    assert penalties(np.r_[values, 0.1], *usual(np.r_[values, 0.1])).any()


class Sentences(ToyEncoder):
    """Sentences lie apart from pictures, about a direction of their own."""

    def encode_text(self, texts: Any) -> np.ndarray:
        vectors = np.random.default_rng(1).normal(size=(len(texts), DIM))
        vectors[:, 0] += 8
        return vectors.astype(np.float32)


@pytest.fixture
def with_slate(make_archive: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Videos that each show something of their own, and a slate that is near to every sentence; indexed."""
    monkeypatch.setattr(probes, "sentences", lambda: ["x"] * 200)
    archive, rng = make_archive("rand", dim=DIM, spec="toy"), np.random.default_rng(0)
    for n in range(VIDEOS):
        archive.add(f"{n}.mp4", rng.normal(size=DIM) + 0.3 * rng.normal(size=(4, DIM)))
    archive.add("slate.mp4", np.eye(1, DIM).repeat(4, axis=0))
    build_index(archive.store, "rand", load=Sentences)
    return archive


def test_a_slate_is_lowered_and_others_are_not(with_slate: Any) -> None:
    index = open_index(with_slate.store, "rand")
    id_of = sys.modules["archives"].id_of
    assert index.penalty(id_of("slate.mp4")) > 0.05
    assert [index.penalty(id_of(f"{n}.mp4")) for n in range(VIDEOS)] == [0.0] * VIDEOS
    assert index.penalty("of another archive") == 0.0


def test_a_removed_slate_is_no_hub_any_more(with_slate: Any) -> None:
    slate = sys.modules["archives"].id_of("slate.mp4")
    assert open_index(with_slate.store, "rand").penalty(slate) > 0
    with_slate.remove(slate)
    assert open_index(with_slate.store, "rand").penalty(slate) == 0.0
