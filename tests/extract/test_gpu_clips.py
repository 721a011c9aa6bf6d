"""On a CUDA device clip embeddings are those of the CPU. Run with NIGHTREEL_REQUIRE_GPU=1 where there must be a device."""

from typing import Any

import numpy as np
import pytest
import video_models as models
from nightreel.extract.encoders.base import as_clips
from nightreel.extract.encoders.registry import load_encoder

SPECS = [
    "videomae:small@random",
    "timesformer:base@random",
    "torchvision:r2plus1d_18@random",
    "c3d@random",
    "raft:raft_small@random",
    "twostream:resnet18@random",
]


@pytest.mark.gpu
@pytest.mark.parametrize("spec", SPECS)
def test_cuda_and_cpu_agree_on_clips(spec: str) -> None:
    on_cpu: Any = load_encoder(spec, "cpu")
    on_cuda: Any = load_encoder(spec, "cuda")
    clips = np.stack([models.moving(on_cpu.plan.frames, 240, 320, seed) for seed in (0, 1)])
    expected = on_cpu.encode_clips(as_clips(clips, on_cpu.geometry))
    got = on_cuda.encode_clips(as_clips(clips, on_cuda.geometry))
    assert np.sum(got.embedding * expected.embedding, axis=1).min() >= 0.999
    np.testing.assert_allclose(np.linalg.norm(got.embedding, axis=1), 1, atol=1e-5)
    for name in on_cpu.columns:
        np.testing.assert_allclose(got.columns[name], expected.columns[name], rtol=0.02)
    assert on_cuda.fingerprint()["precision"] != "float32"
