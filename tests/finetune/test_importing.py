"""What CLIP4Clip's code trained, whole: towers that `extract` loads, then the head on their features."""

from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from command import nightreel
from nightreel.extract.encoders.openclip import OpenClipEncoder
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.heads.networks import make_head
from nightreel.extract.heads.stored import load_stored, names
from nightreel.extract.store import Store
from nightreel.finetune.importing import architecture, tower_state
from open_clip.model import build_model_from_openai_state_dict

pytestmark = pytest.mark.usefixtures("one_thread")

MODEL: dict[str, Any] = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 128, "head_width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 3},
}


def checkpoint(path: Path, seed: int = 0, **more: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """A file as CLIP4Clip writes it, with random weights; returns the towers' part under OpenAI's names."""
    torch.manual_seed(seed)
    towers = open_clip.CLIP(**MODEL).state_dict()
    head = make_head("transformer", 16, max_frames=6, layers=1, heads=1).state_dict()
    state = {f"clip.{name}": value for name, value in towers.items()}
    state |= {name: value for name, value in head.items() if name != "logit_scale"}
    torch.save({name: value for name, value in {**state, **more}.items() if value is not None}, path)
    return towers


def test_towers_then_the_head_on_their_features(make_film: Any, tmp_path: Path) -> None:
    film, archive, file = (
        make_film(tmp_path / "film.mp4", [("red", 3.0)]),
        tmp_path / "a.reel",
        tmp_path / "pytorch_model.bin.2",
    )
    assert nightreel("extract", film, "--archive", archive, "--encoder", "toy").code == 0
    state = checkpoint(file)
    words = ("finetune", archive, "--from-clip4clip", file, "--head", "transformer", "--json")
    towers = nightreel(*words).json
    assert (towers["kind"], towers["folder"]) == ("towers", str(archive / "heads" / "clip4clip"))
    assert names(Store.open(archive)) == []
    assert nightreel(*words).json == towers  # asked again, there is nothing to do

    reference = build_model_from_openai_state_dict(dict(state), cast_dtype=torch.float32).float()
    reference.load_state_dict(state)  # it had rounded them to half precision
    encoder = load_encoder(towers["next"].split()[-1], "cpu")
    assert isinstance(encoder, OpenClipEncoder)
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    mean, std = (np.array(open_clip.constants.__dict__[f"OPENAI_DATASET_{what}"]) for what in ("MEAN", "STD"))
    pixels = torch.from_numpy(((picture / 255 - mean) / std).transpose(0, 3, 1, 2)).float()
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(reference.encode_image(pixels), dim=-1)
        text = torch.nn.functional.normalize(reference.encode_text(encoder.tokenizer(["a red ball"])), dim=-1)
    np.testing.assert_allclose(encoder.encode_frames(picture), wanted, atol=1e-5)
    np.testing.assert_allclose(encoder.encode_text(["a red ball"]), text, atol=1e-5)

    extract = [str(film) if word == "VIDEOS" else word for word in towers["next"].split()[1:]]
    assert nightreel(*extract).code == 0
    head = nightreel(*words).json
    assert (head["kind"], head["name"]) == ("transformer", "clip4clip-transformer")
    made = load_stored(Store.open(archive), head["name"])[1]
    assert made.base_print["spec"] == towers["next"].split()[-1]
    assert nightreel(*head["next"].split()[1:]).code == 0
    found = nightreel("search", archive, "a red ball", "--encoder", "head:clip4clip-transformer", "--json").json
    assert found["encoder"] == "head:clip4clip-transformer"


@pytest.mark.parametrize(
    ("harm", "code", "told"),
    [
        ({"clip.visual.conv2.weight": torch.zeros(2, 2)}, 2, "expected linear_patch 2d"),
        ({"clip.visual.proj": torch.zeros(3, 16)}, 1, "of another shape: visual.proj"),
        (
            {"clip.visual.conv1.weight": torch.zeros(300_032, 0, 8, 8)},
            1,
            "of another shape",
        ),  # terabytes, were it built
        ({"clip.visual.more": torch.zeros(1)}, 1, "1 unexpected: visual.more"),
        ({"clip.visual.conv1.weight": None}, 1, "not OpenAI's ViT"),
    ],
)
def test_towers_of_another_kind_are_refused_and_leave_nothing(
    colours: Any, tmp_path: Path, harm: dict[str, torch.Tensor | None], code: int, told: str
) -> None:
    checkpoint(tmp_path / "m.bin", **harm)
    done = nightreel("finetune", colours.root, "--from-clip4clip", tmp_path / "m.bin")
    assert (done.code, told in done.err) == (code, True), done.err
    assert not list((colours.root / "heads").glob("*/*"))


def test_other_towers_need_another_name(colours: Any, tmp_path: Path) -> None:
    for seed in (0, 1):
        checkpoint(tmp_path / f"{seed}.bin", seed)
    assert nightreel("finetune", colours.root, "--from-clip4clip", tmp_path / "0.bin").code == 0
    weights = colours.root / "heads" / "clip4clip" / "open_clip_model.safetensors"
    before = weights.read_bytes()
    done = nightreel("finetune", colours.root, "--from-clip4clip", tmp_path / "1.bin")
    assert (done.code, "choose --name" in done.err, weights.read_bytes()) == (2, True, before)
    assert nightreel("finetune", colours.root, "--from-clip4clip", tmp_path / "1.bin", "--name", "two").code == 0


def test_a_named_encoder_gets_the_head_whatever_the_towers(make_archive: Any, tmp_path: Path) -> None:
    archive = make_archive(dim=16)
    archive.add("a.mp4", np.random.default_rng(0).normal(size=(4, 16)))
    checkpoint(tmp_path / "m.bin")
    words = ("--from-clip4clip", tmp_path / "m.bin", "--head", "transformer", "--encoder", "toy", "--json")
    assert nightreel("finetune", archive.root, *words).json["name"] == "clip4clip-transformer"


def test_the_architecture_is_read_from_the_weights(tmp_path: Path) -> None:
    state = checkpoint(tmp_path / "m.bin")
    assert architecture(state) == MODEL
    assert tower_state({"video_weight_fc.0.weight": torch.zeros(1), "clip.logit_scale": torch.zeros(())}) == {}
    assert set(tower_state({f"clip.{n}": v for n, v in state.items()} | {"clip.vocab_size": torch.tensor(3)})) == set(
        state
    )
