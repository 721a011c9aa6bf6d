"""Small video models with random weights, saved by their own libraries as users have them. Loaded by `conftest.py`."""

import importlib.util
import json
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

FRAMES, SIZE_PX = 4, 32
COMMON = {"image_size": SIZE_PX, "patch_size": 8, "num_frames": FRAMES, "hidden_size": 32, "num_hidden_layers": 2}
COMMON |= {"num_attention_heads": 2, "intermediate_size": 64}
NAMES = ("archery", "bowling", "clapping")
ROOT = Path(__file__).resolve().parents[2]


def save(model: Any, folder: Path, **processor: Any) -> Any:
    """The model and the processor that goes with it, in a folder; gives the model."""
    import transformers

    progress: Any = transformers.utils.logging
    progress.disable_progress_bar()
    model.eval().save_pretrained(folder)
    size = {"size": {"shortest_edge": SIZE_PX}, "crop_size": {"height": SIZE_PX, "width": SIZE_PX}, **processor}
    transformers.VideoMAEImageProcessor(**size).save_pretrained(folder)
    return model


def seeded(make: Any, config: Any) -> Any:
    """A model whose weights are random but always the same, and large enough for everything to matter."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = make(config)
        for name, weight in model.named_parameters():
            torch.nn.init.normal_(weight, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.2)
    return model


def videomae(folder: Path, kind: str = "VideoMAEForVideoClassification", **config: Any) -> Any:
    """A VideoMAE of 30 k parameters, as `kind` saves it."""
    import transformers

    settings = {**COMMON, "tubelet_size": 2, "id2label": dict(enumerate(NAMES)), **config}
    settings |= {"decoder_hidden_size": 16, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    return save(seeded(getattr(transformers, kind), transformers.VideoMAEConfig(**settings)), folder)


def timesformer(folder: Path, **config: Any) -> Any:
    """A TimeSformer of 30 k parameters."""
    import transformers

    made = transformers.TimesformerConfig(**COMMON, id2label=dict(enumerate(NAMES)), **config)
    return save(seeded(transformers.TimesformerForVideoClassification, made), folder)


def moving(frames: int = FRAMES, height: int = 48, width: int = 72, seed: int = 0) -> np.ndarray:
    """(T, H, W, 3) uint8: blobs that drift over a textured ground, so that order matters and scaling has something to do."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3)).repeat(8, 0).repeat(8, 1)
    out = np.empty((frames, height, width, 3), np.uint8)
    for t in range(frames):
        out[t] = ground[t % 8 : height + t % 8, (3 * t) % 8 : width + (3 * t) % 8]
        x = (7 * t + seed * 5) % (width - 12)
        out[t, height // 3 : height // 3 + 12, x : x + 12] = (255, 40, 40 * (seed % 5))
    return out


def example(language: str) -> str:
    """The one block of docs/encoders.md in a language."""
    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"```{language}\n(.*?)```", text, re.S)
    return str(block)


def write_plugin(folder: Path, name: str = "nightreel_flicker", entry: str = "flicker") -> str:
    """The example of docs/encoders.md, installed into `folder` as pip would; gives the code."""
    code, points = example("python"), example("toml")
    assert f'{entry} = "{name}:FAMILY"' in points
    (folder / f"{name}.py").write_text(code)
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[nightreel.encoders]\n{entry} = {name}:FAMILY\n")
    return code


def flicker() -> Any:
    """The encoder of docs/encoders.md, loaded without being installed."""
    space: dict[str, Any] = {"__name__": "nightreel_flicker"}
    exec(compile(example("python"), "docs/encoders.md", "exec"), space)
    return space["Flicker"]()


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.where),)


def load_benchmark(name: str) -> ModuleType:
    """A benchmark as a module, for what it shares with tests."""
    spec = importlib.util.spec_from_file_location(f"{name}_benchmark", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spoil_config(folder: Path, **changes: Any) -> None:
    """Change a saved model's config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
