"""CLIP models small enough to train in a test."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MODEL: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
# Not what open_clip would take where nothing is said.
PICTURES = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear", "resize_mode": "squash"}


@pytest.fixture(scope="session")
def write_towers() -> Callable[..., str]:
    """write_towers(folder, {...}) writes an open_clip folder with random but fixed weights; returns its encoder spec."""

    def write(folder: Path, more: dict[str, Any] | None = None) -> str:
        import open_clip
        import torch

        folder.mkdir()
        model = {**MODEL, **(more or {})}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model, "preprocess_cfg": PICTURES}))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            torch.save(open_clip.CLIP(**model).state_dict(), folder / "open_clip_pytorch_model.bin")
        return f"openclip:{folder}"

    return write
