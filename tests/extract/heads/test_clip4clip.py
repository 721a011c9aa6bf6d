"""Heads of CLIP4Clip's checkpoints: its own numbers, and files that are none."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nightreel.extract.errors import UsageError, WeightsUnavailable
from nightreel.extract.heads import load_head
from nightreel.extract.heads.networks import make_head
from safetensors.torch import load_file, save_file


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("kind", ["mean", "lstm", "transformer"])
def test_embeddings_and_logits_are_those_of_clip4clips_own_code(
    kind: str, suffix: str, shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / "clip4clip" / "head.safetensors"
    if suffix == "bin":  # as their training script saves it
        torch.save(load_file(path), tmp_path / "pytorch_model.bin")
        path = tmp_path / "pytorch_model.bin"
    given, expected = (np.load(shared_data / "clip4clip" / f"{name}.npz") for name in ("inputs", "expected"))
    head = load_head(path, kind)
    text = torch.nn.functional.normalize(torch.from_numpy(given["text"]), dim=-1)
    with torch.no_grad():
        frames, mask = torch.from_numpy(given["frames"]), torch.from_numpy(given["mask"]) > 0
        np.testing.assert_allclose(head(frames, mask), expected[kind], atol=1e-5)
        logits = head.factor * head.scores(text, frames, mask)
    np.testing.assert_allclose(logits, expected[f"logits_{kind}"], atol=1e-3)


def checkpoint(path: Path, kind: str = "transformer", dim: int = 64, **changes: Any) -> Path:
    """Of a whole model, as their code writes it: head and towers, under a parallel wrapper's prefix."""
    head = make_head(kind, dim, max_frames=20, layers=3)
    state = {f"module.{name}": value.detach() for name, value in head.state_dict().items() if name != "logit_scale"}
    state |= {"module.clip.logit_scale": torch.tensor(2.0), "module.clip.text_projection": torch.zeros(32, dim)}
    state |= {"module.clip.visual.proj": torch.zeros(48, dim), **changes}
    torch.save(state, path)
    return path


@pytest.mark.parametrize("kind", ["mean", "lstm", "transformer", "wti"])
def test_sizes_come_from_the_file(kind: str, tmp_path: Path) -> None:
    head = load_head(checkpoint(tmp_path / "m.bin", kind), kind)
    assert (head.dim, head.kind, head.training) == (64, kind, False)
    assert float(head.logit_scale.detach()) == 2.0
    if kind == "transformer":
        assert (head.max_frames, head.layers) == (20, 3)


def test_a_kind_that_is_not_there_is_said_with_what_is(tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match=r"no lstm head.*lstm_visual.*it has transformer"):
        load_head(checkpoint(tmp_path / "m.bin"), "lstm")
    with pytest.raises(UsageError, match="no head 'gru'; expected one of mean, lstm, transformer, wti"):
        load_head(tmp_path / "m.bin", "gru")


def test_a_missing_part_or_another_shape_is_refused(tmp_path: Path) -> None:
    state = torch.load(checkpoint(tmp_path / "m.bin"), weights_only=True)
    del state["module.transformerClip.resblocks.1.ln_1.bias"]
    state["module.transformerClip.resblocks.0.ln_1.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "m.bin")
    with pytest.raises(WeightsUnavailable, match=r"missing: .*1\.ln_1\.bias.*shape: .*0\.ln_1\.bias"):
        load_head(tmp_path / "m.bin", "transformer")


def test_a_file_without_a_width_is_refused(tmp_path: Path) -> None:
    save_file({"clip.logit_scale": torch.tensor(1.0)}, tmp_path / "m.safetensors")
    with pytest.raises(WeightsUnavailable, match="how long its features are"):
        load_head(tmp_path / "m.safetensors", "mean")


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.bin").write_bytes(pickle.dumps({"lstm_visual.weight_ih_l0": Hostile(tmp_path / "ran")}))
    with pytest.raises(WeightsUnavailable):
        load_head(tmp_path / "evil.bin", "lstm")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_broken_files_are_said(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "m.bin").write_bytes(content)
    with pytest.raises(WeightsUnavailable, match=r"m\.bin"):
        load_head(tmp_path / "m.bin", "lstm")
