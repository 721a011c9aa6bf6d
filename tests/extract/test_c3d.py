"""`c3d` against a C3D written down here layer by layer, the names of its ports, and what a file can have wrong."""

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import video_models as models
from nightreel.extract.encoders import c3d
from nightreel.extract.encoders.base import Clips, as_clips
from nightreel.extract.encoders.spec import EncoderSpec
from nightreel.extract.errors import UnknownEncoder, WeightsUnavailable

# Channels of a C3D in which every convolution keeps 4; fc6 then gets 4 x 1 x 4 x 4 numbers.
CHANNELS, FLAT, DIM, CLASSES = 4, 64, 12, 5
LAYERS = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b", "fc6", "fc7", "fc8")
SIZES = [(180, 320), (480, 360)]

# What each port calls the layers above, in their order; from its source.
DAVIDE = ("conv1", "conv2", *LAYERS[2:])
CAFFE = (*(f"features.{i}" for i in (0, 3, 6, 8, 11, 13, 16, 18)), *(f"classifier.{i}" for i in (0, 3, 6)))
SPORTS_1M = (*(f"{name}.conv" for name in LAYERS[:8]), "fc6", "fc7", "fc8")
MMACTION = (*(f"backbone.{name}" for name in SPORTS_1M[:10]), "cls_head.fc_cls")
PORTS = {"ours": LAYERS, "davide": DAVIDE, "caffe": CAFFE, "sports_1m": SPORTS_1M, "mmaction": MMACTION}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A C3D of 6 k parameters instead of 78 M."""
    inputs = {name: 3 if name == "conv1a" else CHANNELS for name in c3d.CONVOLUTIONS}
    monkeypatch.setattr(c3d, "CONVOLUTIONS", {name: (count, CHANNELS) for name, count in inputs.items()})
    monkeypatch.setattr(c3d, "FLAT", FLAT)
    monkeypatch.setattr(c3d, "DIM", DIM)


def reference() -> tuple[Any, Any]:
    """A small C3D in two parts, up to pool5 and from fc6 on, numbered as the Caffe port's, random but always the same."""
    import torch
    from torch import nn

    def layers(*channels: tuple[int, int], pool: tuple[int, int, int] = (2, 2, 2), padding: Any = 0) -> list[nn.Module]:
        found: list[nn.Module] = []
        for inputs, outputs in channels:
            found += [nn.Conv3d(inputs, outputs, 3, padding=1), nn.ReLU()]
        return [*found, nn.MaxPool3d(pool, pool, padding)]

    one = (CHANNELS, CHANNELS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        features = nn.Sequential(
            *layers((3, CHANNELS), pool=(1, 2, 2)),
            *layers(one),
            *layers(one, one),
            *layers(one, one),
            *layers(one, one, padding=(0, 1, 1)),
        )
        dense = [nn.Linear(FLAT, DIM), nn.ReLU(), nn.Dropout(), nn.Linear(DIM, DIM), nn.ReLU(), nn.Dropout()]
        classifier = nn.Sequential(*dense, nn.Linear(DIM, CLASSES))
        for part in (features, classifier):
            for weight in part.parameters():
                nn.init.normal_(weight, 0, 0.2 if weight.ndim > 1 else 1.0)
    return features.eval(), classifier.eval()


def checkpoint(names: tuple[str, ...]) -> dict[str, Any]:
    """The weights of `reference` by a port's names."""
    ports = dict(zip(CAFFE, names, strict=True))
    state = {}
    for part, module in zip(("features", "classifier"), reference(), strict=True):
        for key, value in module.state_dict().items():
            number, _, kind = key.partition(".")
            state[f"{ports[f'{part}.{number}']}.{kind}"] = value
    return state


def load(path: object) -> Any:
    return c3d.load(c3d.check(EncoderSpec("c3d", str(path))), "cpu")


def saved(folder: Path, state: dict[str, Any], name: str = "c3d.pth") -> Path:
    import torch

    torch.save(state, folder / name)
    return folder / name


def by_port(frames: np.ndarray, port: str) -> tuple[np.ndarray, np.ndarray]:
    """(T, H, W, 3) -> fc6 and probabilities, prepared as a port's own scripts do: 171x128, the middle, less a mean."""
    import torch
    from PIL import Image

    pictures = [Image.fromarray(frame).resize((171, 128), Image.Resampling.BILINEAR) for frame in frames]
    pixels = np.stack([np.asarray(picture, np.float32) for picture in pictures])[:, 8:120, 30:142]
    rgb = port in ("sports_1m", "mmaction")
    pixels = pixels - np.float32([104, 117, 128]) if rgb else pixels[..., ::-1] - np.float32([90, 98, 102])
    features, classifier = reference()
    with torch.inference_mode():
        flat = features(torch.from_numpy(pixels.transpose(3, 0, 1, 2)[None].copy())).flatten(1)
        fc6 = classifier[:2](flat)
        chances = classifier(flat).softmax(-1)
    return (fc6 / fc6.norm()).numpy(), chances.numpy()


@pytest.mark.parametrize("port", PORTS)
def test_the_names_of_every_port_are_understood(small: None, tmp_path: Path, port: str) -> None:
    encoder = load(saved(tmp_path, {"meta": "x", "state_dict": checkpoint(PORTS[port])}))
    for size in SIZES:
        frames = models.moving(16, *size)
        fc6, chances = by_port(frames, port)
        found = encoder.encode_clips(as_clips(frames[None], encoder.geometry))
        assert np.sum(found.embedding * fc6) >= 0.999, size
        np.testing.assert_allclose(found.probabilities, chances, atol=0.02)
    assert encoder.labels == tuple(f"class {i}" for i in range(CLASSES))
    assert encoder.fingerprint()["licence"] == "unknown"


@pytest.mark.parametrize("port", ["davide", "mmaction"])
def test_pictures_that_need_no_scaling_give_the_same_numbers(small: None, tmp_path: Path, port: str) -> None:
    encoder = load(saved(tmp_path, checkpoint(PORTS[port])))
    frames = models.moving(16, 128, 171)
    fc6, chances = by_port(frames, port)
    cropped = np.ascontiguousarray(frames[None, :, 8:120, 30:142])
    both = np.concatenate([cropped, cropped[:, ::-1]])
    found = encoder.encode_clips(Clips(both, np.zeros((2, 16)), np.zeros((2, 2), np.int64)))
    np.testing.assert_allclose(found.embedding[:1], fc6, atol=1e-5)
    np.testing.assert_allclose(found.probabilities[:1], chances, atol=1e-5)
    assert np.abs(found.embedding[0] - found.embedding[1]).max() > 1e-3  # backwards


def test_weights_without_classifier_embed_the_same(small: None, tmp_path: Path) -> None:
    state = checkpoint(DAVIDE)
    clips = as_clips(models.moving(16, 112, 112)[None], c3d.GEOMETRY)
    whole = load(saved(tmp_path, state)).encode_clips(clips)
    state = {f"module.{key}": value for key, value in state.items() if not key.startswith("fc8.")}
    for without in ((), ("module.fc7.weight", "module.fc7.bias")):
        encoder = load(
            saved(tmp_path, {key: value for key, value in state.items() if key not in without}, "c3d.pickle")
        )
        found = encoder.encode_clips(clips)
        assert (encoder.labels, found.probabilities) == ((), None)
        np.testing.assert_array_equal(found.embedding, whole.embedding)


def failure(path: object) -> str:
    with pytest.raises(WeightsUnavailable) as caught:
        load(path)
    return str(caught.value)


def test_checkpoints_that_do_not_fit_name_the_keys(small: None, tmp_path: Path) -> None:
    import torch

    spoilt: dict[str, Callable[[dict[str, Any]], Any]] = {
        "1 missing: conv1a.weight": lambda some: some.pop("conv1.weight"),
        "1 missing: fc6.bias": lambda some: some.pop("fc6.bias"),
        "2 missing: fc7.bias, fc7.weight": lambda some: [some.pop("fc7.weight"), some.pop("fc7.bias")],
        "1 missing: fc8.bias": lambda some: some.pop("fc8.bias"),
        "1 unexpected: fc8.bias": lambda some: [some.pop(f"fc{i}.weight") for i in (7, 8)] and some.pop("fc7.bias"),
        "1 unexpected: bn1.weight": lambda some: some.update({"bn1.weight": torch.zeros(4)}),
        "1 unexpected: step": lambda some: some.update(step=torch.zeros(1)),
        "1 unexpected: conv1a.conv.bias": lambda some: some.update({"conv1a.conv.bias": torch.zeros(4)}),
        "1 of another shape: conv2a.weight": lambda some: some.update({"conv2.weight": torch.zeros(4, 4, 1, 3, 3)}),
    }
    for said, spoil in spoilt.items():
        state = checkpoint(DAVIDE)
        spoil(state)
        message = failure(saved(tmp_path, state))
        assert f"does not fit this architecture: {said}. " in message
        assert str(tmp_path / "c3d.pth") in message


@pytest.mark.parametrize("name", ["c3d.pth", "c3d.pickle"])
def test_files_that_are_no_checkpoints(tmp_path: Path, name: str) -> None:
    mined = saved(tmp_path, {"conv1.weight": models.Bomb(tmp_path / "exploded")}, name)
    assert "tensors only" in failure(mined)
    assert not (tmp_path / "exploded").exists()
    assert "no checkpoint at" in failure(tmp_path / "none.pth")


def test_layers_have_the_shapes_of_the_paper() -> None:
    """C x T x H x W into and out of each convolution, and numbers into and out of each dense layer, worked out by hand."""
    import torch

    table = {
        "conv1a": ((3, 16, 112, 112), (64, 16, 112, 112)),
        "conv2a": ((64, 16, 56, 56), (128, 16, 56, 56)),
        "conv3a": ((128, 8, 28, 28), (256, 8, 28, 28)),
        "conv3b": ((256, 8, 28, 28), (256, 8, 28, 28)),
        "conv4a": ((256, 4, 14, 14), (512, 4, 14, 14)),
        "conv4b": ((512, 4, 14, 14), (512, 4, 14, 14)),
        "conv5a": ((512, 2, 7, 7), (512, 2, 7, 7)),
        "conv5b": ((512, 2, 7, 7), (512, 2, 7, 7)),
        "fc6": ((8192,), (4096,)),
        "fc7": ((4096,), (4096,)),
        "fc8": ((4096,), (487,)),
    }
    seen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(module: Any, args: Any, out: Any) -> None:
            seen[name] = (tuple(args[0].shape[1:]), tuple(out.shape[1:]))

        return hook

    with torch.device("meta"), torch.inference_mode():
        network = c3d.build(487)
        for name, layer in network.named_children():
            layer.register_forward_hook(watch(name))
        network(torch.empty(1, 16, 3, 112, 112))
    assert seen == table


def test_parameters_and_flops_are_counted() -> None:
    """Once by hand: 27 multiplications with an addition for each pair of channels and place, two flops each."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network = c3d.build()
        network(torch.empty(1, 16, 3, 112, 112))
    places = [
        prod(shape)
        for shape in [(16, 112, 112), (16, 56, 56), *[(8, 28, 28)] * 2, *[(4, 14, 14)] * 2, *[(2, 7, 7)] * 2]
    ]
    pairs = [inputs * outputs for inputs, outputs in c3d.CONVOLUTIONS.values()]
    flops = 2 * (27 * sum(a * b for a, b in zip(places, pairs, strict=True)) + 8192 * 4096)
    biases = sum(outputs for _, outputs in c3d.CONVOLUTIONS.values()) + 4096
    (model,) = c3d.FAMILY.models
    assert model.flops == flops == counter.get_total_flops()
    assert model.parameters == 27 * sum(pairs) + 8192 * 4096 + biases == sum(p.numel() for p in network.parameters())
    assert (model.dim, model.frames, model.size_px) == (c3d.DIM, 16, (112, 112))


def test_untrained_c3d_has_a_plan_and_knows_which_way_time_goes() -> None:
    import torch

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    encoder: Any = c3d.load(EncoderSpec("c3d", None, "random"), "cpu")
    assert torch.equal(before, torch.random.get_rng_state())
    plan = encoder.plan
    assert (plan.frames, plan.fewest, plan.most, plan.length_s, plan.hop_s) == (16, 0, 0, 0.64, 0.64)
    assert c3d.FAMILY.models[0].seconds == 0.64
    forth = as_clips(models.moving(16, 112, 112)[None], encoder.geometry)
    back = Clips(forth.frames[:, ::-1], forth.times_s, forth.source_px)
    a, b = encoder.encode_clips(forth), encoder.encode_clips(back)
    assert a.embedding.shape == (1, 4096)
    assert a.probabilities is None
    assert np.sum(a.embedding * b.embedding) < 0.9999
    fingerprint = encoder.fingerprint()
    assert fingerprint["licence"] == "none (untrained)"
    assert fingerprint["preprocessing"]["resize_px"] == [128, 171]
    np.testing.assert_allclose(fingerprint["preprocessing"]["mean"], np.array([102, 98, 90]) / 255)


def test_specs_are_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert str(c3d.check(EncoderSpec("c3d", None, "random"))) == "c3d@random"
    for name in ("c3d.pickle", "./c3d.pickle"):
        assert str(c3d.check(EncoderSpec("c3d", name))) == f"c3d:{tmp_path}/c3d.pickle"
    (model,) = c3d.FAMILY.models
    assert str(c3d.check(EncoderSpec("c3d", model.spec.partition(":")[2]))) == model.spec
    for name, weights in (
        (None, None),
        ("sports1m", None),
        (None, "sports1m"),
        ("random", None),
        ("/a/c3d.pth", "random"),
    ):
        with pytest.raises(UnknownEncoder, match=r"a file of yours .* Write for example 'c3d:/path/to/c3d.pth'"):
            c3d.check(EncoderSpec("c3d", name, weights))
