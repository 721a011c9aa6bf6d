"""`torchvision`'s video networks against torchvision's own path, and everything a spec or a checkpoint can have wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import video_models as models
from nightreel.extract.clips import ClipWish, change
from nightreel.extract.encoders import torchvision_video as family
from nightreel.extract.encoders.base import Clips, as_clips
from nightreel.extract.encoders.spec import EncoderSpec
from nightreel.extract.encoders.weights import is_here
from nightreel.extract.errors import UnknownEncoder, UsageError, WeightsUnavailable

NAMES = list(family.NETWORKS)
# As few frames as keep every layer busy; mvit takes no other number.
FRAMES = {"r3d_18": 4, "mc3_18": 4, "r2plus1d_18": 4, "s3d": 13, "swin3d_t": 4, "mvit_v2_s": 16}
SMALL_PX = {"swin3d_t": 64, "mvit_v2_s": 64}  # both take other sizes than they were trained on
SIZES = [(112, 150), (180, 320), (480, 360), (720, 1280)]


pytestmark = pytest.mark.usefixtures("one_thread")


def load(name: str, weights: object) -> Any:
    return family.load(family.check(EncoderSpec("torchvision", name, str(weights))), "cpu")


def preset_of(name: str) -> Any:
    from torchvision.models import get_model_weights

    return get_model_weights(name).DEFAULT.transforms()


def made(name: str, classes: int = 400) -> Any:
    """torchvision's model with weights that are random, but always the same; large enough for everything to matter."""
    import torch
    from torchvision.models import get_model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = get_model(name, weights=None, num_classes=classes).eval().requires_grad_(False)
        for key, value in model.state_dict().items():
            if key.endswith("running_mean") or (value.ndim == 1 and key.endswith("bias")):
                value.normal_(0, 0.05)
            elif key.endswith("running_var"):
                value.uniform_(0.8, 1.2)
            elif name == "s3d" and value.ndim == 5:  # it begins with weights that let next to nothing through
                torch.nn.init.kaiming_normal_(value)
    return model


def reference(model: Any, name: str, pixels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of (B, 3, T, H, W): what the model gives its classifier, unit norm; and its softmax."""
    import torch

    classifier = getattr(model, family.NETWORKS[name].head.partition(".")[0])
    given: list[Any] = []
    hook = classifier.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    with torch.inference_mode():
        chances = model(pixels).softmax(-1).numpy()
        hook.remove()
        features = given[0].flatten(2).mean(2) if given[0].ndim > 2 else given[0]
        unit: np.ndarray = torch.nn.functional.normalize(features, dim=1).numpy()
    return unit, chances


def scene(frames: int, height: int, width: int) -> np.ndarray:
    """(T, H, W, 3) uint8: smooth colours with edges and some noise that drift, as in a film."""
    y, x = np.mgrid[0:height, 0 : width + 8 * frames] / max(height, width)
    waves = [np.sin(9 * x + 3 * y) * 90 + 128, np.cos(14 * y) * 100 + 120, (x * 5 % 2 < 1) * 180 + 30]
    noise = np.random.default_rng(0).normal(0, 8, (*x.shape, 3))
    whole = (np.stack(waves, axis=-1) + noise).clip(0, 255).astype(np.uint8)
    return np.stack([whole[:, 8 * t : width + 8 * t] for t in range(frames)])


def by_preset(name: str, frames: np.ndarray) -> Any:
    """(B, T, H, W, 3) as torchvision prepares it, (B, 3, T, h, w)."""
    import torch

    return preset_of(name)(torch.from_numpy(frames).permute(0, 1, 4, 2, 3).contiguous())


def saved(name: str, folder: Path) -> tuple[Any, Any]:
    """torchvision's model, and the encoder of a file that it was saved to."""
    import torch

    model, path = made(name), folder / f"{name}.pth"
    torch.save(model.state_dict(), path)
    encoder = load(name, path)
    path.unlink()
    return model, encoder


@pytest.mark.parametrize("name", FRAMES)
def test_features_and_probabilities_are_torchvisions_and_time_has_a_direction(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures of the network's own size, so nothing is scaled."""
    import torch
    from torchvision.models.video import mvit

    real = mvit._mvit  # an mvit's places are weights, so it must be made for the size
    monkeypatch.setattr(mvit, "_mvit", lambda **settings: real(**{**settings, "spatial_size": (64, 64)}))
    model, encoder = saved(name, tmp_path)
    preset = preset_of(name)
    forth = models.moving(FRAMES[name], *(SMALL_PX.get(name, size) for size in encoder.geometry.size_px))[None]
    both = np.concatenate([forth, forth[:, ::-1]])
    pixels = torch.from_numpy(forth.transpose(0, 4, 1, 2, 3) / 255).float()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1, 1) for values in (preset.mean, preset.std))
    features, chances = reference(model, name, (pixels - mean) / std)
    found = encoder.encode_clips(Clips(both, np.zeros(both.shape[:2]), np.zeros((2, 2), np.int64)))
    np.testing.assert_allclose(found.embedding[:1], features, atol=1e-5)
    np.testing.assert_allclose(found.probabilities[:1], chances, atol=1e-5)
    assert found.embedding.shape == (2, encoder.dim)
    assert encoder.labels[:2] == ("abseiling", "air drumming")
    assert np.abs(found.embedding[0] - found.embedding[1]).max() > 1e-4


@pytest.mark.parametrize("name", ["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "swin3d_t"])
def test_pictures_of_other_sizes_as_torchvision_sees_them(name: str, tmp_path: Path) -> None:
    model, encoder = saved(name, tmp_path)
    for size in SIZES[-1:] if name == "s3d" else SIZES[1::2]:
        frames = scene(13 if name == "s3d" else 2, *size)[None]
        expected, chances = reference(model, name, by_preset(name, frames))
        found = encoder.encode_clips(as_clips(frames, encoder.geometry))
        assert np.sum(found.embedding * expected, axis=1).min() >= 0.99999, size
        np.testing.assert_allclose(found.probabilities, chances, atol=1e-3)


def real_frames(path: Path, count: int, fps: float) -> np.ndarray:
    """(T, H, W, 3) of a video, from its start."""
    import av

    frames: list[np.ndarray] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            while frame.time is not None and len(frames) < count and frame.time >= len(frames) / fps:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == count:
                break
    return np.stack(frames)


def test_real_frames_as_torchvision_sees_them(shared_data: Path, tmp_path: Path) -> None:
    """320x180 to 1280x720. Untrained, also other films have cosines of 0.98 and more; so what is not common to all is
    compared, too."""
    model, encoder = saved("mc3_18", tmp_path)
    ours, theirs = [], []
    for film in ("nasa_13013", "world", "cup", "bedroom", "01_dog", "02_cups"):
        frames = real_frames(shared_data / "clips" / f"{film}.mp4", 4, 15)[None]
        ours.append(encoder.encode_clips(as_clips(frames, encoder.geometry)).embedding[0])
        theirs.append(reference(model, "mc3_18", by_preset("mc3_18", frames))[0][0])
    got, expected = np.array(ours), np.array(theirs)
    assert (got * expected).sum(axis=1).min() >= 0.99999
    own, common = got - expected.mean(axis=0), expected - expected.mean(axis=0)
    assert ((own * common).sum(axis=1) / np.linalg.norm(own, axis=1) / np.linalg.norm(common, axis=1)).min() >= 0.999


@pytest.mark.parametrize("name", ["r3d_18", "s3d", "swin3d_t", "mvit_v2_s"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_the_presets(name: str, size: tuple[int, int]) -> None:
    """Blocks of 8 px in random colours, the worst there can be for who antialiases: the preset does not, nor do we."""
    import torch
    from nightreel.extract.encoders.preprocess import preprocess

    assert preset_of(name).interpolation.value == "bilinear"
    frames = models.moving(1, *size)[None]
    how = family.preprocessing_of(preset_of(name))
    got = preprocess(frames[0], how)
    grey = (got - by_preset(name, frames)[0].transpose(0, 1)).abs() * torch.tensor(how.std).view(3, 1, 1) * 255
    assert grey.max() < 1.01  # a half that is rounded the other way
    assert grey.mean() < 0.01


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_of_a_network_is_what_torchvision_says(name: str) -> None:
    from torchvision.models import get_model_weights

    known, entries = family.NETWORKS[name], get_model_weights(name)
    assert {entry.name for entry in entries} == set(known.weights)
    assert entries.DEFAULT.name == known.weights[0]
    for entry in entries:
        said = entry.meta["_docs"]
        assert f"`frame_rate={known.fps:g}`" in said
        assert f"`clip_len={known.frames}`" in said
        assert entry.transforms().crop_size == [known.size_px, known.size_px]
        assert "license" not in entry.meta
        assert ("ported" in said) == bool(known.origin)
        assert known.origin in entry.meta["recipe"]
    assert family.NETWORKS["swin3d_b"].licence(family.K400_22K).endswith("trained on ImageNet-22K and Kinetics-400")


@pytest.mark.parametrize("name", NAMES)
def test_parameters_and_flops_are_counted(name: str) -> None:
    """Without data, on the `meta` device. None of these networks has a fused attention that the counter could miss: its
    sum is what torchvision publishes (`_ops`, with the classifier and half of it) for 16 frames."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from torchvision.models import get_model_weights

    known, meta = family.NETWORKS[name], get_model_weights(name).DEFAULT.meta
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network = family.untrained(name).eval()
        features, logits = network(torch.empty(1, known.frames, 3, known.size_px, known.size_px))
    assert features.shape == (1, known.dim)
    assert logits is None
    parameters, flops = sum(weight.numel() for weight in network.parameters()), counter.get_total_flops()
    assert parameters == meta["num_params"] - 400 * (known.dim + 1)
    assert flops / 2e9 * 16 / known.frames == pytest.approx(meta["_ops"], rel=2e-4)
    for model in family.FAMILY.models:
        if model.spec.startswith(f"torchvision:{name}@"):
            assert (model.parameters, model.flops) == (parameters, flops)


def test_the_listed_models_are_those_that_load() -> None:
    from torchvision.models import get_model_weights

    assert len(family.FAMILY.models) == 6
    for model in family.FAMILY.models:
        name, _, weights = model.spec.partition(":")[2].partition("@")
        assert family.check(EncoderSpec("torchvision", name, weights)) == EncoderSpec("torchvision", name, weights)
        assert model.file == get_model_weights(name)[weights].url
        assert "trained on Kinetics-400" in model.licence


def test_sampling_is_that_of_the_weights() -> None:
    plans = {name: known.plan for name, known in family.NETWORKS.items()}
    seconds = {"r3d_18": 16 / 15, "s3d": 128 / 15, "swin3d_b": 32 / 15, "mvit_v1_b": 16 / 7.5}
    for name, length_s in seconds.items():
        assert plans[name].length_s == pytest.approx(length_s)
        assert plans[name].hop_s == plans[name].length_s
    assert change(plans["s3d"], ClipWish(length_s=1.0, stride_s=1 / 13), "s3d").frames == 13
    for name in ("s3d", "mvit_v2_s"):
        with pytest.raises(UsageError, match="is 12 frames a clip"):
            change(plans[name], ClipWish(length_s=1.0, stride_s=1 / 12), name)


@pytest.mark.parametrize(
    ("name", "takes", "refuses"),
    [("r3d_18", [1, 2, 33], []), ("s3d", [13, 14], [12]), ("swin3d_t", [1, 3, 33], []), ("mvit_v2_s", [16], [14, 17])],
)
def test_numbers_of_frames_that_a_network_takes(name: str, takes: list[int], refuses: list[int]) -> None:
    import torch

    known = family.NETWORKS[name]
    assert known.fewest == takes[0]

    def forward(frames: int) -> Any:
        return network(torch.empty(1, frames, 3, known.size_px, known.size_px))[0].shape

    with torch.device("meta"), torch.inference_mode():
        network = family.untrained(name).eval()
        for frames in takes:
            assert forward(frames) == (1, known.dim)
        for frames in refuses:
            with pytest.raises(RuntimeError):
                forward(frames)


def test_specs_get_one_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def spelt(name: str, weights: str | None) -> str:
        return str(family.check(EncoderSpec("torchvision", name, weights)))

    for weights in (None, "DEFAULT", "kinetics400_v1", "KINETICS400_V1"):
        assert spelt("swin3d_b", weights) == "torchvision:swin3d_b@KINETICS400_V1"
    assert spelt("swin3d_b", "KINETICS400_IMAGENET22K_V1") == "torchvision:swin3d_b@KINETICS400_IMAGENET22K_V1"
    assert spelt("s3d", "random") == "torchvision:s3d@random"
    assert spelt("s3d", "w.pth") == f"torchvision:s3d@{tmp_path}/w.pth"
    assert spelt("s3d", "./w@1.safetensors") == f"torchvision:s3d@{tmp_path}/w@1.safetensors"


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        (None, None, ["no network named", "Known: r2plus1d_18, ", "mvit_v2_s", "Write for example"]),
        ("r2plus1d18", None, ["no video network 'r2plus1d18'", "Did you mean 'r2plus1d_18'?"]),
        ("resnet50", "DEFAULT", ["no video network 'resnet50'"]),
        ("s3d", "KINETICS_V1", ["Did you mean 'KINETICS400_V1'?", "Write 'torchvision:s3d@KINETICS400_V1'"]),
        ("s3d", "KINETICS400_IMAGENET22K_V1", ["s3d has no weights", "Known: KINETICS400_V1; or", "s3d@random"]),
        ("mc3_18", "randon", ["Did you mean 'random'?"]),
    ],
)
def test_unknown_specs_say_what_would_be_right(name: str | None, weights: str | None, said: list[str]) -> None:
    with pytest.raises(UnknownEncoder) as caught:
        family.check(EncoderSpec("torchvision", name, weights))
    for words in said:
        assert words in str(caught.value)


def failure(name: str, weights: object) -> str:
    with pytest.raises(WeightsUnavailable) as caught:
        load(name, weights)
    return str(caught.value)


def test_checkpoints_of_other_classes_or_none(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    model = made("mc3_18", classes=7)
    state = model.state_dict()
    save_file(state, tmp_path / "seven.safetensors")
    seven = load("mc3_18", tmp_path / "seven.safetensors")
    frames = models.moving(2, 112, 112)[None]
    clips = Clips(frames, np.zeros((1, 2)), np.zeros((1, 2), np.int64))
    found = seven.encode_clips(clips)
    assert seven.labels == tuple(f"class {i}" for i in range(7))
    assert found.probabilities.shape == (1, 7)
    assert seven.fingerprint()["licence"] == "unknown"
    headless = {f"module.{key}": value for key, value in state.items() if "fc." not in key}
    torch.save({"epoch": 3, "model": headless}, tmp_path / "none.pth")
    none = load("mc3_18", tmp_path / "none.pth")
    bare = none.encode_clips(clips)
    assert (none.labels, bare.probabilities) == ((), None)
    np.testing.assert_array_equal(bare.embedding, found.embedding)


def test_checkpoints_that_do_not_fit_name_the_keys(tmp_path: Path) -> None:
    import torch

    state = made("mc3_18").state_dict()
    spoilt: dict[str, Callable[[dict[str, Any]], None]] = {
        "1 missing: stem.0.weight": lambda some: some.pop("stem.0.weight"),
        "1 unexpected: extra.weight": lambda some: some.update({"extra.weight": torch.zeros(1)}),
        "1 of another shape: layer1.0.conv1.1.bias": lambda some: some.update(
            {"layer1.0.conv1.1.bias": torch.zeros(1)}
        ),
        "1 missing: fc.bias": lambda some: some.pop("fc.bias"),
        "1 missing: fc.weight": lambda some: some.pop("fc.weight"),
    }
    for said, spoil in spoilt.items():
        some = dict(state)
        spoil(some)
        torch.save(some, tmp_path / "spoilt.pth")
        message = failure("mc3_18", tmp_path / "spoilt.pth")
        assert f"does not fit this architecture: {said}. " in message
        assert str(tmp_path / "spoilt.pth") in message
    assert "r3d_18" in (message := failure("r3d_18", tmp_path / "spoilt.pth"))
    assert "of another shape" in message


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    import torch

    torch.save({"state_dict": {"fc.weight": models.Bomb(tmp_path / "exploded")}}, tmp_path / "mined.pth")
    assert "tensors only" in failure("mc3_18", tmp_path / "mined.pth")
    assert not (tmp_path / "exploded").exists()
    (tmp_path / "cut.safetensors").write_bytes(b"PK")
    assert "Download it again" in failure("mc3_18", tmp_path / "cut.safetensors")
    assert "no checkpoint at" in failure("mc3_18", tmp_path / "none.pth")


def test_official_weights_are_found_where_torch_keeps_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    listed = next(model for model in family.FAMILY.models if ":mc3_18@" in model.spec)
    monkeypatch.setattr("nightreel.extract.encoders.hub.reachable", lambda address: False)
    assert not is_here(listed.file)
    assert "torchvision:mc3_18@/path/to/weights.pth" in failure("mc3_18", "DEFAULT")
    kept = tmp_path / "hub" / "checkpoints" / "mc3_18-a90a0ba3.pth"
    kept.parent.mkdir(parents=True)
    torch.save(made("mc3_18").state_dict(), kept)
    assert is_here(listed.file)
    encoder = load("mc3_18", "KINETICS400_V1")
    assert encoder.spec == listed.spec
    assert (len(encoder.labels), encoder.labels[-1]) == (400, "zumba")
    fingerprint = encoder.fingerprint()
    assert fingerprint["licence"] == listed.licence == "BSD-3-Clause (torchvision); trained on Kinetics-400"
    assert (fingerprint["dim"], fingerprint["size_px"]) == (listed.dim, list(listed.size_px))
    assert fingerprint["preprocessing"] == {
        "size_px": [112, 112],
        "resize_px": [128, 171],
        "resize_mode": "squash",
        "interpolation": "bilinear, aliased",
        "fill": 0,
        "mean": [0.43216, 0.394666, 0.37645],
        "std": [0.22803, 0.22145, 0.216989],
    }


def test_untrained_weights_are_always_the_same_and_say_nothing() -> None:
    import torch

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (load("mc3_18", "random") for _ in range(2))
    assert first.fingerprint() == second.fingerprint()
    assert first.fingerprint()["licence"] == "none (untrained)"
    assert first.labels == ()
    assert torch.equal(before, torch.random.get_rng_state())
