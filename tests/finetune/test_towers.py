"""CLIP's towers: adapters that start at nothing and merge to the same, checkpoints of what trains, folders that load."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.errors import NightreelError, UsageError
from nightreel.finetune.towers import (
    CONFIG,
    WEIGHTS,
    Towers,
    Trained,
    add_lora,
    load_towers,
    lora_targets,
    merge,
    save_towers,
)
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("one_thread")

WriteTowers = Callable[..., str]
TIMM = {"timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "linear", "image_size": 160}


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory, write_towers: WriteTowers) -> str:
    return write_towers(tmp_path_factory.mktemp("towers") / "tiny", {"quick_gelu": True})


@pytest.fixture
def towers(spec: str) -> Towers:
    return load_towers(spec, "cpu")


def inputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(1, 400, (3, 16), generator=generator)
    tokens[:, 9] = 49407  # the end of the text
    return torch.randn(3, 3, 32, 32, generator=generator), tokens


def outputs(model: Any) -> tuple[Tensor, Tensor]:
    pixels, tokens = inputs()
    return model.encode_image(pixels), model.encode_text(tokens)


def train_steps(model: nn.Module, count: int = 3) -> None:
    """Towards nothing in particular, with rates that move everything."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(count):
        optimizer.zero_grad()
        video, text = outputs(model)
        (video - text).square().sum().backward()
        optimizer.step()


def test_adapters_start_at_the_original_train_alone_and_merge_to_the_same(towers: Towers) -> None:
    model = towers.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        original = outputs(model)
    peft = add_lora(model)
    model.train()
    for found, expected in zip(outputs(model), original, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    train_steps(model)
    trains = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trains
    assert all("lora_" in name for name in trains)
    after = {name.replace(".base_layer", ""): value for name, value in model.state_dict().items()}
    assert {name for name in before if not torch.equal(after[name], before[name])} == set()
    assert all(after[name.replace(".base_layer", "")].any() for name in trains)  # the zeros of B have moved too
    model.eval()
    with torch.inference_mode():
        tuned = outputs(model)
    for found, was in zip(tuned, original, strict=True):
        assert float((found - was).abs().max()) > 1e-3
    merge(peft)
    assert set(model.state_dict()) == set(before)
    with torch.inference_mode():
        for merged, unmerged in zip(outputs(model), tuned, strict=True):
            torch.testing.assert_close(merged, unmerged, rtol=0, atol=1e-5)


def test_adapters_are_in_attention_and_mlps_of_both_towers(towers: Towers) -> None:
    linear, attention = lora_targets(towers.model)
    blocks = ["visual.transformer.resblocks.0", "visual.transformer.resblocks.1", "transformer.resblocks.0"]
    assert sorted(attention) == sorted(f"{block}.attn.in_proj_weight" for block in blocks)
    assert sorted(linear) == sorted(f"{block}.mlp.{layer}" for block in blocks for layer in ("c_fc", "c_proj"))


def test_towers_of_timm_get_adapters_in_all_of_attention() -> None:
    """PE-Core and SigLIP have picture towers of timm, whose attention is made of plain linear layers."""
    import open_clip

    model = open_clip.CLIP(24, TIMM, {"context_length": 16, "width": 8, "heads": 2, "layers": 1})
    linear, attention = lora_targets(model)
    assert attention == ["transformer.resblocks.0.attn.in_proj_weight"]
    assert {name.split(".", 4)[-1] for name in linear if ".blocks.0." in name} == {
        "attn.qkv",
        "attn.proj",
        "mlp.fc1",
        "mlp.fc2",
    }
    add_lora(model)
    (model.encode_image(torch.randn(2, 3, 160, 160)).sum() + model.encode_text(inputs()[1]).sum()).backward()
    gradients = [p.grad for name, p in model.named_parameters() if "lora_B" in name]
    assert len(gradients) == len(linear) + len(attention)
    assert all(gradient is not None and gradient.any() for gradient in gradients)


def test_checkpointing_gives_the_same_gradients(towers: Towers) -> None:
    add_lora(towers.model)
    train_steps(towers.model, 1)
    gradients = []
    for on in (False, True):
        towers.model.set_grad_checkpointing(on)  # type: ignore[operator]
        towers.model.train().zero_grad()
        sum(out.square().sum() for out in outputs(towers.model)).backward()  # type: ignore[union-attr]
        gradients.append({n: p.grad.clone() for n, p in towers.model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_a_checkpoint_holds_what_trains_and_brings_it_back(spec: str) -> None:
    one, other = load_towers(spec, "cpu").model, load_towers(spec, "cpu").model
    for model in (one, other):
        torch.manual_seed(0)
        add_lora(model)
    train_steps(one)
    state = Trained(one).state_dict()
    assert state
    assert all("lora_" in name for name in state)
    Trained(other).load_state_dict(state)
    for a, b in zip(outputs(one), outputs(other), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(KeyError, match="another run"):
        Trained(other).load_state_dict({**state, "more": torch.zeros(1)})


def test_batch_norms_stay_as_they_are() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    trained = Trained(network).train()
    trained.towers(torch.randn(8, 3))
    assert network[2].training
    assert not network[1].training
    assert torch.equal(network[1].running_mean, torch.zeros(3))


def test_what_is_saved_loads_as_an_encoder_with_the_same_embeddings(towers: Towers, tmp_path: Path) -> None:
    """Activation and normalisation of pictures, which a bare file of weights does not tell, come along."""
    peft = add_lora(towers.model)
    train_steps(towers.model)
    merge(peft)
    before = load_encoder(towers.encoder.spec, "cpu")
    spec = save_towers(towers, tmp_path / "new")
    again: Any = load_encoder(spec, "cpu")
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), np.uint8)
    expected = towers.encoder.encode_frames(frames)
    assert np.abs(again.encode_frames(frames) - expected).max() < 1e-5
    assert np.abs(again.encode_text(["a dog"]) - towers.encoder.encode_text(["a dog"])).max() < 1e-5
    assert np.abs(again.encode_frames(frames) - before.encode_frames(frames)).max() > 1e-3  # type: ignore[union-attr]
    assert again.fingerprint()["preprocessing"] == towers.encoder.fingerprint()["preprocessing"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted([CONFIG, WEIGHTS])


@pytest.mark.parametrize("wrong", ["quick_gelu", "mean"])
def test_a_folder_that_would_load_as_another_model_is_refused(towers: Towers, tmp_path: Path, wrong: str) -> None:
    if wrong == "mean":
        towers.config["preprocess_cfg"]["mean"] = [0.5, 0.5, 0.5]
    else:
        towers.config["model_cfg"]["quick_gelu"] = False
    with pytest.raises(NightreelError, match="differs by"):
        save_towers(towers, tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())


def test_only_open_clip_has_towers_to_train() -> None:
    with pytest.raises(UsageError, match="--train adapter or head"):
        load_towers("toy", "cpu")
