"""Probe queries: a fixed bank of sentences, or footage where there can be none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.errors import FingerprintMismatch, UsageError, WeightsUnavailable
from nightreel.index import probes as probing
from nightreel.index.build import build_index
from nightreel.index.open import open_index
from nightreel.index.probes import Probes, footage, make_probes, read_probes, sentences, write_probes


class Words(ToyEncoder):
    """Colour words are all that the toy encoder knows; of other sentences it gets their length."""

    def encode_text(self, texts: Any) -> np.ndarray:
        return np.array([[len(text), 1, 2, 3] for text in texts], np.float32)


@pytest.fixture
def toys(colours: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Three videos of an encoder with text, and a bank that needs no torchvision."""
    monkeypatch.setattr(probing, "sentences", lambda: [f"a {'x' * n}" for n in range(150)])
    return colours


def test_the_bank_is_always_the_same_four_hundred() -> None:
    bank = sentences()
    assert (len(bank), len(set(bank))) == (400, 400)
    assert bank == sentences()
    assert all(text.startswith("a ") and " and a " in text for text in bank)


def test_sentences_are_embedded_in_batches_and_made_unit(toys: Any) -> None:
    made = make_probes(toys.store, "toy", Words)
    assert (made.kind, made.why, made.vectors.shape) == ("sentences", "", (150, 4))
    assert made.vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(made.vectors, axis=1), 1)
    assert np.array_equal(made.sentences, made.vectors)
    assert made.vectors[0, 0] < made.vectors[100, 0] < made.vectors[149, 0]  # in order over batches


@pytest.mark.parametrize(
    "error", [WeightsUnavailable("no weights here\nget them"), UsageError("no such"), FingerprintMismatch("others")]
)
def test_without_the_encoder_footage_stands_in(toys: Any, error: Exception) -> None:
    def load() -> Any:
        raise error

    made = make_probes(toys.store, "toy", load)
    assert (made.kind, made.why) == ("footage", str(error).splitlines()[0])
    assert made.sentences.shape == (0, 4)
    assert make_probes(toys.store, "toy", None).why == "the encoder was not at hand"


def test_an_encoder_without_text_is_not_even_loaded(make_archive: Callable[..., Any]) -> None:
    silent = make_archive("silent", has_text=False)
    silent.add("red.mp4", ["red"])

    def load() -> Any:
        raise AssertionError("loaded")

    made = make_probes(silent.store, "silent", load)
    assert (made.kind, made.why, len(made.vectors)) == ("footage", "the encoder has no text", 1)


def test_footage_is_a_segment_of_each_video_and_the_same_every_time(colours: Any) -> None:
    made = footage(colours.store, "toy", "because")
    assert (made.kind, made.why, made.vectors.shape) == ("footage", "because", (3, 4))
    known = np.concatenate([batch.embedding for batch in colours.store.segments("toy")]).astype(np.float32)
    assert np.allclose((made.vectors @ known.T).max(1), 1, atol=1e-3)
    assert np.array_equal(made.vectors, footage(colours.store, "toy", "because").vectors)


def test_footage_of_nothing_is_nothing(make_archive: Callable[..., Any]) -> None:
    assert footage(make_archive().store, "toy", "").vectors.shape == (0, 4)


def test_probes_are_read_as_written(tmp_path: Path) -> None:
    vectors = np.eye(3, 4, dtype=np.float32)
    write_probes(tmp_path / "p.npy", Probes(vectors, "footage", "so"))
    named = {"file": "p.npy", "count": 3, "kind": "footage", "why": "so"}
    again = read_probes(tmp_path, named)
    assert (again.kind, again.why) == ("footage", "so")
    assert np.array_equal(again.vectors, vectors)
    with pytest.raises(ValueError, match="expected 4 rows"):
        read_probes(tmp_path, {**named, "count": 4})


def test_sentences_replace_footage_once_the_encoder_is_there_and_are_then_kept(toys: Any) -> None:
    calls = []

    def load() -> Any:
        calls.append(1)
        return Words()

    def kind() -> str:
        return str(open_index(toys.store, "toy").header["probes"]["kind"])

    build_index(toys.store, "toy")
    assert kind() == "footage"
    build_index(toys.store, "toy", load=load)
    assert (kind(), len(calls)) == ("sentences", 1)
    build_index(toys.store, "toy", load=load)
    toys.add("new.mp4", ["white"] * 3)
    build_index(toys.store, "toy", load=load)
    build_index(toys.store, "toy")  # the encoder is gone again: what was embedded is kept
    assert (kind(), len(calls)) == ("sentences", 1)
