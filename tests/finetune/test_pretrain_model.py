"""What pre-training writes is what `--encoder videomae:FOLDER` reads; what it begins with is what the folder has."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import video_models as models
from nightreel.extract.encoders.base import as_clips
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.encoders.transformers_clip import preprocessing_in
from nightreel.extract.errors import UnknownEncoder, UsageError, WeightsUnavailable
from nightreel.finetune.pretraining.model import NEW, new_start, start_from, write_encoder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    models.videomae(folder, "VideoMAEForPreTraining", use_mean_pooling=False)
    return folder


def test_the_encoder_embeds_as_the_trained_model_does(checkpoint: Path, tmp_path: Path) -> None:
    start = start_from(str(checkpoint), 0)
    assert start.new == ()
    with torch.no_grad():
        for weight in start.model.parameters():
            weight += 0.01  # as if it had been trained
    write_encoder(tmp_path / "out", start, "# About")
    encoder: Any = load_encoder(f"videomae:{tmp_path / 'out'}")
    clips = np.stack([models.moving(models.FRAMES, 32, 32, seed) for seed in (0, 1)])
    found = encoder.encode_clips(as_clips(clips, encoder.geometry)).embedding
    bare = start.model.videomae.eval()
    with torch.inference_mode():
        pixels = encoder.pixels(clips)
        tokens = bare.layernorm(bare.encoder(bare.embeddings(pixels, None)).last_hidden_state).mean(dim=1)
    expected = tokens / tokens.norm(dim=1, keepdim=True)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert abs(float((found[0] * found[1]).sum())) < 0.9999, "it tells clips apart"
    said = encoder.fingerprint()
    assert (said["pooling"], said["licence"], encoder.labels) == ("mean of tokens", "unknown", ())
    assert "pre-training only" in said["training"]
    assert preprocessing_in(tmp_path / "out", 32) == start.preprocessing
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]


def test_a_decoder_that_was_trained_goes_on_and_one_that_is_not_there_is_said(checkpoint: Path, tmp_path: Path) -> None:
    again = start_from(f"videomae:{checkpoint}", 5)
    assert again.sha256 == start_from(str(checkpoint), 6).sha256, "nothing of it is drawn anew"
    tuned = models.videomae(tmp_path / "tuned")
    assert "training" not in load_encoder(f"videomae:{tmp_path / 'tuned'}").fingerprint()
    start = start_from(str(tmp_path / "tuned"), 5)
    assert start.new == ("decoder", "encoder_to_decoder", "mask_token")
    for name, weight in tuned.videomae.state_dict().items():
        assert torch.equal(start.model.videomae.state_dict()[name], weight), name
    assert start_from(str(tmp_path / "tuned"), 5).sha256 == start.sha256, "the new decoder is the seed's"
    write_encoder(tmp_path / "out", start, "")
    assert load_encoder(f"videomae:{tmp_path / 'out'}").fingerprint()["pooling"] == "mean of tokens"


def test_a_licence_is_handed_on(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    start = start_from(str(checkpoint), 0)
    (checkpoint / "README.md").unlink()
    write_encoder(tmp_path / "out", start, "")
    assert load_encoder(f"videomae:{tmp_path / 'out'}").fingerprint()["licence"] == "cc-by-nc-4.0"


def test_an_untrained_one_is_its_seeds_and_keeps_the_callers_random_numbers() -> None:
    torch.manual_seed(3)
    drawn = torch.rand(2)
    torch.manual_seed(3)
    one, same, other = (new_start("tiny", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(2), drawn)
    assert one.sha256 == same.sha256 != other.sha256
    assert one.preprocessing.geometry.size_px == (224, 224)
    assert one.licence.startswith("yours")
    assert sum(p.numel() for p in one.model.parameters()) == pytest.approx(6e6, rel=0.1)
    assert {of["decoder_num_hidden_layers"] for of in NEW.values()} == {4}


@pytest.mark.parametrize(
    ("spec", "error", "said"),
    [
        ("videomae:base@random", UsageError, "--size base"),
        ("./nowhere", UnknownEncoder, "no config.json"),
        ("toy", UnknownEncoder, "OWNER/NAME"),
    ],
)
def test_what_cannot_be_begun_with_is_refused(spec: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        start_from(spec, 0)
    with pytest.raises(UsageError, match=r"--size huge: expected one of tiny, small, base"):
        new_start("huge", 0)


def test_a_damaged_checkpoint_is_refused_at_both_ends(checkpoint: Path, tmp_path: Path) -> None:
    write_encoder(tmp_path, start_from(str(checkpoint), 0), "")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsUnavailable, match="cannot be loaded"):
        start_from(str(tmp_path), 0)
    with pytest.raises(WeightsUnavailable, match="cannot be loaded"):
        load_encoder(f"videomae:{tmp_path}")


def test_a_checkpoint_that_lacks_a_part_of_the_encoder_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    write_encoder(tmp_path, start_from(str(checkpoint), 0), "")
    state = load_file(tmp_path / "model.safetensors")
    del state["videomae.layernorm.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsUnavailable, match=r"1 missing: videomae.layernorm.weight"):
        start_from(str(tmp_path), 0)
