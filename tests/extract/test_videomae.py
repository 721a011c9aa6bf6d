"""VideoMAE and TimeSformer against transformers' own processor and model, on small checkpoints it saved itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import video_models as models
from nightreel.extract.clips import ClipWish, change
from nightreel.extract.encoders.base import as_clips
from nightreel.extract.encoders.registry import load_encoder, resolve
from nightreel.extract.errors import UnknownEncoder, UsageError, WeightsUnavailable

SIZES = [(32, 32), (48, 72), (90, 33), (33, 90), (240, 320), (720, 1280)]


def reference_pixels(folder: Path, clips: np.ndarray) -> Any:
    """What transformers' processor makes of (B, T, H, W, 3)."""
    from transformers import VideoMAEImageProcessor

    processor = VideoMAEImageProcessor.from_pretrained(folder)
    return processor([list(clip) for clip in clips], return_tensors="pt")["pixel_values"]


def unit(values: Any) -> np.ndarray:
    array: np.ndarray = values.detach().numpy()
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def two_clips(height: int, width: int, frames: int = models.FRAMES) -> np.ndarray:
    return np.stack([models.moving(frames, height, width, seed) for seed in (0, 1)])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_finetuned_videomae_is_the_normed_mean_of_its_tokens(tmp_path: Path, size: tuple[int, int]) -> None:
    model = models.videomae(tmp_path)
    encoder: Any = load_encoder(f"videomae:{tmp_path}")
    clips = two_clips(*size)
    pixels = reference_pixels(tmp_path, clips)
    expected = unit(model.fc_norm(model.videomae(pixels).last_hidden_state.mean(1)))
    found = encoder.encode_clips(as_clips(clips, encoder.geometry))
    assert np.sum(found.embedding * expected, axis=1).min() >= 0.999
    chances = model(pixels).logits.softmax(-1).detach().numpy()
    np.testing.assert_allclose(found.probabilities, chances, atol=0.02)
    assert encoder.labels == models.NAMES
    assert (encoder.dim, encoder.plan.frames, encoder.plan.length_s) == (32, 4, 2.0)


def test_pixels_that_need_no_scaling_are_the_processors_own(tmp_path: Path) -> None:
    model = models.videomae(tmp_path)
    encoder: Any = load_encoder(f"videomae:{tmp_path}")
    clips = two_clips(32, 32)
    pixels = reference_pixels(tmp_path, clips)
    np.testing.assert_allclose(encoder.pixels(clips).numpy(), pixels.numpy(), atol=1e-5)
    expected = unit(model.fc_norm(model.videomae(pixels).last_hidden_state.mean(1)))
    np.testing.assert_allclose(encoder.encode_clips(as_clips(clips, encoder.geometry)).embedding, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["VideoMAEForPreTraining", "VideoMAEModel"])
@pytest.mark.parametrize("mean_pooling", [True, False])
def test_checkpoints_without_a_head_load_and_have_no_labels(tmp_path: Path, kind: str, mean_pooling: bool) -> None:
    """With `use_mean_pooling` there is no norm behind the encoder (and none is trained for the mean); otherwise its own."""
    model = models.videomae(tmp_path, kind, use_mean_pooling=mean_pooling)
    encoder: Any = load_encoder(f"videomae:{tmp_path}")
    clips = two_clips(48, 72)
    bare = model if kind == "VideoMAEModel" else model.videomae
    pixels = reference_pixels(tmp_path, clips)
    # The pretraining model's encoder wants a mask; its parts are the same.
    tokens = bare.encoder(bare.embeddings(pixels, None)).last_hidden_state
    expected = unit((tokens if bare.layernorm is None else bare.layernorm(tokens)).mean(1))
    found = encoder.encode_clips(as_clips(clips, encoder.geometry))
    assert np.sum(found.embedding * expected, axis=1).min() >= 0.999
    assert (encoder.labels, found.probabilities) == ((), None)
    assert encoder.fingerprint()["pooling"] == "mean of tokens"


def test_the_head_is_no_part_of_an_embedding_made_without_it(tmp_path: Path) -> None:
    """A missing head is filled with noise by transformers; none of it may reach an embedding or the fingerprint."""
    models.videomae(tmp_path, "VideoMAEModel")
    first, second = (load_encoder(f"videomae:{tmp_path}") for _ in range(2))
    assert first.fingerprint() == second.fingerprint()


def test_finetuned_timesformer_is_its_class_token(tmp_path: Path) -> None:
    model = models.timesformer(tmp_path)
    encoder: Any = load_encoder(f"timesformer:{tmp_path}")
    for size in SIZES:
        clips = two_clips(*size)
        pixels = reference_pixels(tmp_path, clips)
        found = encoder.encode_clips(as_clips(clips, encoder.geometry))
        expected = unit(model.timesformer(pixels).last_hidden_state[:, 0])
        assert np.sum(found.embedding * expected, axis=1).min() >= 0.999
        np.testing.assert_allclose(found.probabilities, model(pixels).logits.softmax(-1).detach().numpy(), atol=0.02)
    assert encoder.plan.length_s == pytest.approx(4 * 32 / 30)


@pytest.mark.parametrize("family", ["videomae", "timesformer"])
def test_the_checkpoint_decides_how_many_frames(tmp_path: Path, family: str) -> None:
    getattr(models, family)(tmp_path)
    encoder: Any = load_encoder(f"{family}:{tmp_path}")
    with pytest.raises(UsageError, match="takes 4"):
        change(encoder.plan, ClipWish(length_s=3.0, stride_s=0.5), encoder.spec)


def test_a_processor_that_resizes_further_than_it_crops_is_followed(tmp_path: Path) -> None:
    model = models.videomae(tmp_path)
    models.save(model, tmp_path, size={"shortest_edge": 40}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4])
    encoder: Any = load_encoder(f"videomae:{tmp_path}")
    clips = two_clips(60, 80)
    expected = unit(model.fc_norm(model.videomae(reference_pixels(tmp_path, clips)).last_hidden_state.mean(1)))
    found = encoder.encode_clips(as_clips(clips, encoder.geometry)).embedding
    assert np.sum(found * expected, axis=1).min() >= 0.999
    assert encoder.geometry.resize_px == (40, 40)
    assert encoder.fingerprint()["preprocessing"]["mean"] == [0.4, 0.5, 0.6]


def load_state(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def save_state(folder: Path, state: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("family", ["videomae", "timesformer"])
def test_a_checkpoint_that_lacks_or_adds_something_is_refused_by_name(tmp_path: Path, family: str) -> None:
    getattr(models, family)(tmp_path)
    state = load_state(tmp_path)
    (gone,) = [name for name in state if name.endswith("layer.1.output.dense.weight")]
    state["extra.weight"] = state.pop(gone)
    save_state(tmp_path, state)
    with pytest.raises(WeightsUnavailable) as caught:
        load_encoder(f"{family}:{tmp_path}")
    assert "1 missing" in str(caught.value)
    assert gone in str(caught.value)
    assert "1 unexpected: extra.weight" in str(caught.value)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    models.videomae(tmp_path)
    models.spoil_config(tmp_path, intermediate_size=48)
    with pytest.raises(WeightsUnavailable, match=r"cannot be loaded.*mismatch"):
        load_encoder(f"videomae:{tmp_path}")


def test_a_checkpoint_of_another_family_is_refused(tmp_path: Path) -> None:
    models.timesformer(tmp_path)
    with pytest.raises(WeightsUnavailable, match="model_type 'timesformer', expected 'videomae'"):
        load_encoder(f"videomae:{tmp_path}")


def test_a_checkpoint_cut_off_or_missing_is_refused(tmp_path: Path) -> None:
    models.videomae(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(WeightsUnavailable, match="cannot be loaded"):
        load_encoder(f"videomae:{tmp_path}")
    weights.unlink()
    with pytest.raises(WeightsUnavailable, match="but no weights"):
        load_encoder(f"videomae:{tmp_path}")


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    import torch

    models.videomae(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({"videomae.x": models.Bomb(tmp_path / "exploded")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsUnavailable, match="cannot be loaded"):
        load_encoder(f"videomae:{tmp_path}")
    assert not (tmp_path / "exploded").exists()


def test_a_model_card_beside_the_weights_tells_the_licence(tmp_path: Path) -> None:
    models.videomae(tmp_path)
    assert load_encoder(f"videomae:{tmp_path}").fingerprint()["licence"] == "unknown"
    (tmp_path / "README.md").write_text('---\nlicense: "cc-by-nc-4.0"\n---\n')
    assert load_encoder(f"videomae:{tmp_path}").fingerprint()["licence"] == "cc-by-nc-4.0"


def test_specs_have_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models.videomae(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    assert resolve("videomae") == "videomae:MCG-NJU/videomae-base-finetuned-kinetics"
    assert resolve("videomae:./m") == f"videomae:{tmp_path / 'm'}"
    assert resolve("videomae:MCG-NJU/videomae-large@0123abc") == "videomae:MCG-NJU/videomae-large@0123abc"
    assert resolve("timesformer") == "timesformer:facebook/timesformer-base-finetuned-k400"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("videomae:bass@random", ["Did you mean 'base'?", "OWNER/NAME"]),
        ("videomae:base", ["'videomae:SIZE@random'", "small, base, large"]),
        ("videomae:a/b/c", ["OWNER/NAME"]),
        ("videomae:/no/such/folder", ["folder with config.json", "/no/such/folder"]),
    ],
)
def test_specs_that_cannot_be_meant_say_what_would_be(spec: str, said: list[str]) -> None:
    with pytest.raises(UnknownEncoder) as caught:
        resolve(spec)
    for words in said:
        assert words in str(caught.value)


def test_without_a_network_the_remedy_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailable, match=r"MCG-NJU/nothing is not on this machine.*videomae:/path/to/folder"):
        load_encoder("videomae:MCG-NJU/nothing")
