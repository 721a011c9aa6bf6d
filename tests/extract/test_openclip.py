"""`openclip` against open_clip's own path, and every way its weights can be wrong."""

import json
import pickle
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import video_models as models
from nightreel.extract.encoders.preprocess import Preprocessing, from_open_clip, preprocess
from nightreel.extract.encoders.registry import load_encoder
from nightreel.extract.errors import UnknownEncoder, WeightsUnavailable
from nightreel.extract.geometry import Geometry

MODEL: dict[str, Any] = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1},
}
WEIGHTS = "open_clip_pytorch_model.bin"
SHAPES = [(64, 64), (40, 101), (101, 40), (20, 27), (27, 20), (33, 32), (500, 281)]


def write_folder(folder: Path, preprocess_cfg: dict[str, Any] | None = None, state: Any = None) -> Path:
    """A folder as open_clip's users have it, with a model of 0.4 M random (but fixed) parameters."""
    import open_clip
    import torch

    folder.mkdir(exist_ok=True)
    cfg = {"model_cfg": MODEL, "preprocess_cfg": preprocess_cfg or {}}
    (folder / "open_clip_config.json").write_text(json.dumps(cfg))
    if state is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            state = open_clip.CLIP(**MODEL).state_dict()
    torch.save(state, folder / WEIGHTS)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("open@clip"))


def picture(height: int, width: int) -> np.ndarray:
    """Smooth colours with edges and some noise: what a resize does to it shows, as on a photograph."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    waves = [
        np.sin(9 * x + 3 * y) * 90 + 128,
        np.cos(14 * y) * 100 + 120,
        ((x * 5).astype(int) % 2) * 180 + 30,
    ]
    noise = np.random.default_rng(0).normal(0, 8, (height, width, 3))
    return (np.stack(waves, axis=-1) + noise).clip(0, 255).astype(np.uint8)


def by_open_clip(folder: Path, frames: list[np.ndarray]) -> np.ndarray:
    import open_clip
    import torch
    from PIL import Image

    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    with torch.inference_mode():
        pixels = torch.stack([transform(Image.fromarray(frame)) for frame in frames])
        features: np.ndarray = model.eval().encode_image(pixels, normalize=True).numpy()
    return features


@pytest.mark.parametrize("resize_mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_frames_as_open_clip_sees_them(tmp_path: Path, resize_mode: str, interpolation: str) -> None:
    cfg = {
        "resize_mode": resize_mode,
        "interpolation": interpolation,
        "mean": [0.4, 0.5, 0.6],
        "fill_color": 90,
    }
    folder = write_folder(tmp_path / "model", cfg)
    frames = [picture(*shape) for shape in SHAPES]
    ours = load_encoder(f"openclip:{folder}")
    got = np.concatenate([ours.encode_frames(frame[None]) for frame in frames])
    cosine = (got * by_open_clip(folder, frames)).sum(axis=1)
    assert cosine.min() > 0.999, dict(zip(SHAPES, cosine, strict=True))


def test_real_frames_as_open_clip_sees_them(tmp_path: Path) -> None:
    """Photographs, square, wide and tall, larger and smaller than the model's input."""
    pytest.importorskip("skimage", reason="needs the extra [demo]")
    from nightreel.demo.films import photographs

    folder = write_folder(tmp_path / "model")
    ours = load_encoder(f"openclip:{folder}")
    frames = []
    for photo in photographs().values():
        frames += [photo, photo[:200, :200], photo[60:240], photo[:, 80:200], photo[::12, ::12]]
    frames = [np.ascontiguousarray(frame) for frame in frames]
    got = np.concatenate([ours.encode_frames(frame[None]) for frame in frames])
    cosine = (got * by_open_clip(folder, frames)).sum(axis=1)
    assert cosine.min() >= 0.999, sorted(cosine)[:5]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [32, (32, 32), (24, 40), (40, 24)], ids=str)
@pytest.mark.parametrize("resize_mode", ["shortest", "squash", "longest"])
def test_pixels_as_pil_makes_them(shape: tuple[int, int], size: int | tuple[int, int], resize_mode: str) -> None:
    from open_clip.transform import PreprocessCfg, image_transform_v2
    from PIL import Image

    cfg = {"size": size, "mean": (0.0,) * 3, "std": (1.0,) * 3, "resize_mode": resize_mode, "fill_color": 7}
    expected = image_transform_v2(PreprocessCfg(**cfg), is_train=False)(Image.fromarray(picture(*shape))).numpy()
    got = preprocess(picture(*shape)[None], from_open_clip(cfg | {"interpolation": "bicubic"}))[0].numpy()
    assert got.shape == expected.shape
    # In grey values: PIL takes the sides of the window that is cropped out as float32, and rounds elsewhere then.
    assert np.abs(got - expected).max() * 255 < 2.5
    assert np.abs(got - expected).mean() * 255 < 0.4


def test_preprocessing_stands_in_fingerprints_as_it_always_did() -> None:
    """Archives compare it: a key more, or a value written otherwise, and all of them are of another encoder."""
    assert from_open_clip({"size": 8, "mean": (0, 0.1, 0.2), "std": 1, "fill_color": 3}).as_json() == {
        "size_px": [8, 8],
        "mean": [0.0, 0.1, 0.2],
        "std": [1.0, 1.0, 1.0],
        "resize_mode": "shortest",
        "interpolation": "bicubic",
        "fill": 3,
    }


def test_frames_of_the_geometry_are_only_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    how = Preprocessing(Geometry((2, 2)), (0.5, 0, 0), (0.5, 1, 0.5))
    monkeypatch.setattr("nightreel.extract.encoders.preprocess.fitted", lambda *args: pytest.fail("fitted again"))
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    frames[0, 0, 1] = (255, 255, 255)
    got = preprocess(frames, how).numpy()
    assert got.shape == (1, 3, 2, 2)
    np.testing.assert_array_equal(got[0, :, 0, 1], [1, 1, 2])
    np.testing.assert_array_equal(got[0, :, 1, 0], [-1, 0, 0])
    assert preprocess(np.empty((0, 7, 9, 3), np.uint8), how).shape == (0, 3, 2, 2)


def test_text_as_open_clip_reads_it(folder: Path) -> None:
    import open_clip
    import torch

    texts = ["a dog catches a frisbee", "two cars " * 30]
    model = open_clip.create_model(f"local-dir:{folder}").eval()
    with torch.inference_mode():
        expected = model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(texts), normalize=True)
    np.testing.assert_allclose(load_encoder(f"openclip:{folder}").encode_text(texts), expected.numpy(), atol=1e-6)


def test_fingerprint_is_of_the_weights_not_of_the_file(folder: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = torch.load(folder / WEIGHTS, weights_only=True)
    first = load_encoder(f"openclip:{folder}").fingerprint()
    other = write_folder(tmp_path / "other")
    (other / WEIGHTS).unlink()
    save_file({name: value.contiguous() for name, value in state.items()}, other / "open_clip_model.safetensors")
    assert load_encoder(f"openclip:{other}").fingerprint()["weights_sha256"] == first["weights_sha256"]
    state["logit_scale"] += 1
    changed = write_folder(tmp_path / "changed", state=state)
    assert load_encoder(f"openclip:{changed}").fingerprint()["weights_sha256"] != first["weights_sha256"]
    assert first["licence"] == "unknown"
    assert first["size_px"] == [32, 32]
    assert first["preprocessing"]["interpolation"] == "bicubic"


def failure(spec: str) -> str:
    with pytest.raises(WeightsUnavailable) as caught:
        load_encoder(spec)
    return str(caught.value)


def test_wrong_checkpoints_name_the_keys(folder: Path, tmp_path: Path) -> None:
    import torch

    state = torch.load(folder / WEIGHTS, weights_only=True)
    renamed = {("other" if name == "ln_final.bias" else name): value for name, value in state.items()}
    message = failure(f"openclip:{write_folder(tmp_path / 'renamed', state=renamed)}")
    assert "does not fit" in message
    assert "Missing key(s)" in message
    assert "ln_final.bias" in message
    assert "other" in message
    state["ln_final.bias"] = state["ln_final.bias"][:3]
    message = failure(f"openclip:{write_folder(tmp_path / 'short', state=state)}")
    assert "ln_final.bias" in message
    assert "size mismatch" in message


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04cut off"], ids=["empty", "text", "cut"])
@pytest.mark.parametrize("name", [WEIGHTS, "open_clip_model.safetensors"])
def test_corrupt_checkpoints(tmp_path: Path, content: bytes, name: str) -> None:
    broken = write_folder(tmp_path / "broken")
    (broken / WEIGHTS).unlink()
    (broken / name).write_bytes(content)
    message = failure(f"openclip:{broken}")
    assert str(broken) in message
    assert "Download it again" in message or "correct the name, the path or the file" in message


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_with_code_is_never_run(tmp_path: Path, zipped: bool) -> None:
    import torch

    target = tmp_path / "exploded"
    mined = write_folder(tmp_path / "mined")
    if zipped:
        torch.save({"state_dict": models.Bomb(target)}, mined / WEIGHTS)
    else:
        (mined / WEIGHTS).write_bytes(pickle.dumps(models.Bomb(target), protocol=2))
    assert "tensors only" in failure(f"openclip:{mined}")
    assert not target.exists()


def test_folders_that_lack_a_part(tmp_path: Path) -> None:
    bare = write_folder(tmp_path / "bare")
    (bare / WEIGHTS).unlink()
    assert str(bare) in failure(f"openclip:{bare}")
    (bare / "open_clip_config.json").write_text("{")
    assert "Could not load valid config" in failure(f"openclip:{bare}")
    odd = write_folder(tmp_path / "odd", {"resize_mode": "stretch"})
    assert "resize_mode 'stretch'" in failure(f"openclip:{odd}")


def test_no_checkpoint_at_a_path(tmp_path: Path) -> None:
    message = failure(f"openclip:ViT-B-32@{tmp_path}/none@home.pt")
    assert "no checkpoint at" in message
    assert "none@home.pt" in message
    (tmp_path / "weights.npz").write_bytes(b"x")
    with pytest.raises(UnknownEncoder, match=r"\.safetensors"):
        load_encoder(f"openclip:ViT-B-32@{tmp_path}/weights.npz")


@pytest.mark.parametrize("error", [OSError("no route to host"), RuntimeError("offline"), ValueError("bad url")])
@pytest.mark.parametrize("spec", ["clip", "openclip:RN50@openai", "openclip:hf-hub:timm/PE-Core-B-16"])
def test_a_download_that_fails(monkeypatch: pytest.MonkeyPatch, spec: str, error: Exception) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr("nightreel.extract.encoders.hub.reachable", lambda address: False)
    for name in ("download_pretrained", "download_pretrained_from_hf"):
        monkeypatch.setattr(f"open_clip.factory.{name}", unreachable)
    message = failure(spec)
    assert "could not be downloaded" in message
    assert str(error) in message
    assert "--encoder conse" in message


def test_random_weights_are_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("open_clip.factory._MODEL_CONFIGS", {"tiny": MODEL})
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (load_encoder("openclip:tiny@random").fingerprint() for _ in range(2))
    assert first == second
    assert first["licence"] == "none (untrained)"
    assert torch.equal(before, torch.random.get_rng_state())


def test_without_a_network_the_hub_is_not_asked_again_and_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("nightreel.extract.encoders.hub.reachable", lambda address: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    began = time.monotonic()
    assert "could not be downloaded" in failure("openclip:RN50@openai")
    assert time.monotonic() - began < 20
    assert not constants.HF_HUB_OFFLINE


def test_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    from nightreel.extract.encoders.hub import reachable

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr("urllib.request.getproxies", dict)
        assert reachable(f"http://127.0.0.1:{port}/x")
    assert not reachable(f"http://127.0.0.1:{port}/x")
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy"})
    assert reachable("https://nowhere.invalid")
