"""`twostream`: two streams fused as the paper does, trained by somebody else's loop, and every way its file can be wrong.

Weights are untrained, but where a test trains them; pictures are 128x128, the least RAFT takes.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import video_models as models
from nightreel.extract.encoders import raft, twostream
from nightreel.extract.encoders.base import ClipEncoder, Clips, as_clips
from nightreel.extract.encoders.spec import EncoderSpec
from nightreel.extract.errors import UnknownEncoder, WeightsUnavailable

LABELS = ("archery", "bowling", "clapping")


pytestmark = pytest.mark.usefixtures("one_thread")


def seeded(classes: int = 0) -> Any:
    """A module whose weights are random but always the same, and whose every bias matters."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = twostream.new(classes)
        for name, weight in network.named_parameters():
            if name.endswith("bias") and not name.startswith("flow."):
                torch.nn.init.uniform_(weight, 0, 0.1)
    return network


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("twostream") / "weights.safetensors"
    twostream.save(seeded(3), path, LABELS)
    return path


def load(weights: object) -> twostream.TwoStreamEncoder:
    return twostream.load(twostream.check(EncoderSpec("twostream", "resnet18", str(weights))), "cpu")


@pytest.fixture(scope="module")
def encoder(file: Path) -> twostream.TwoStreamEncoder:
    return load(file)


def clips(*films: np.ndarray, times_s: list[float] | None = None) -> Clips:
    """Of films (11, 128, 128, 3), 1/25 s a frame; the source is 360x640."""
    each = np.array(times_s) if times_s else np.arange(11) / 25
    return Clips(np.stack(films), np.tile(each, (len(films), 1)), np.tile([360, 640], (len(films), 1)))


def film(seed: int = 0) -> np.ndarray:
    return models.moving(11, 128, 128, seed)


def given(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Random pictures (B, 11, 3, 64, 64), and flow that spares us RAFT."""
    random = torch.Generator().manual_seed(seed)
    pixels = torch.rand(count, 11, 3, 64, 64, generator=random) * 2 - 1
    return pixels, torch.randn(count, 10, 2, 64, 64, generator=random) * 3


def test_flow_is_stacked_as_in_the_paper() -> None:
    """x and y of each field in turn, less their mean over the picture, cut off at 20 px, in [-1, 1]."""
    found = torch.zeros(1, 10, 2, 1, 4)
    found[0, 0, 0, 0] = torch.tensor([1.0, 2.0, 3.0, 6.0])  # the mean is 3
    found[0, 3, 1, 0] = torch.tensor([0.0, 0.0, 0.0, 80.0])  # 20
    found[0, 9] = 7.0  # what the camera does
    stack = twostream.stacked(found)
    assert stack.shape == (1, 20, 1, 4)
    np.testing.assert_allclose(stack[0, 0, 0], [-0.1, -0.05, 0, 0.15], atol=1e-6)
    np.testing.assert_allclose(stack[0, 7, 0], [-1, -1, -1, 1])
    assert not stack[0, [i for i in range(20) if i not in (0, 7)]].any()


def test_probabilities_are_the_mean_of_two_softmaxes() -> None:
    """0.9 0.1 and 0.5 0.5 make 0.7 0.3; logits out of all bounds make no NaN."""
    spatial, temporal = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.0, 0.0]])
    np.testing.assert_allclose(twostream.fused(spatial, temporal).exp(), [[0.7, 0.3]], atol=1e-6)
    far = twostream.fused(torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]]))
    np.testing.assert_allclose(far.exp(), [[0.5, 0.5]])


def test_what_is_saved_is_what_is_loaded(encoder: twostream.TwoStreamEncoder) -> None:
    """Embedding and probabilities of the encoder are those of the module that was saved, stream by stream."""
    network = seeded(3).eval()
    some = clips(film(), film(1))
    assert (encoder.labels, encoder.columns) == (LABELS, ("motion_px",))
    features = encoder.encode_clips(some)
    pixels = torch.tensor(some.frames).permute(0, 1, 4, 2, 3) / 127.5 - 1
    with torch.inference_mode():
        found = torch.stack(
            [
                torch.stack([raft.flow_of(network.flow, clip[i : i + 1], clip[i + 1 : i + 2])[0] for i in range(10)])
                for clip in pixels
            ]
        )
        spatial, temporal = network.streams(pixels[:, 5], found)
        both = [logits.softmax(dim=-1) for logits in network.classify(spatial, temporal)]
        fused, logits = network(pixels)
    np.testing.assert_allclose(features.probabilities, (both[0] + both[1]) / 2, atol=1e-4)
    np.testing.assert_allclose(logits.softmax(dim=-1), (both[0] + both[1]) / 2, atol=1e-4)
    np.testing.assert_allclose(np.sum(features.probabilities, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(features.embedding, fused, atol=1e-3)
    ways = found * torch.tensor([640 / 128, 360 / 128]).view(1, 1, 2, 1, 1)
    np.testing.assert_allclose(features.columns["motion_px"], ways.norm(dim=2).mean(dim=(1, 2, 3)) * 25, rtol=1e-3)


def test_a_cosine_is_the_mean_of_both_streams(encoder: twostream.TwoStreamEncoder) -> None:
    one, other = encoder.encode_clips(clips(film(), film(1))).embedding
    np.testing.assert_allclose([np.linalg.norm(one), np.linalg.norm(other)], 1, atol=1e-6)
    streams = [(one[part] @ other[part]) * 2 for part in (slice(0, 512), slice(512, 1024))]
    assert one @ other == pytest.approx(sum(streams) / 2, abs=1e-6)
    for part in (slice(0, 512), slice(512, 1024)):
        assert np.linalg.norm(one[part]) == pytest.approx(0.5**0.5, abs=1e-6)
        assert np.abs(one[part] - other[part]).max() > 1e-3


def test_an_untrained_encoder_keeps_what_every_encoder_promises() -> None:
    encoder = load("random")
    assert isinstance(encoder, ClipEncoder)
    assert (encoder.labels, encoder.dim, encoder.plan.frames) == ((), 1024, 11)
    features = encoder.encode_clips(as_clips(models.moving(11, 90, 160)[None], encoder.geometry, 1 / 25))
    assert features.embedding.shape == (1, 1024)
    assert features.probabilities is None
    np.testing.assert_allclose(np.linalg.norm(features.embedding, axis=1), 1, atol=1e-6)
    first, second = (load("random").fingerprint() for _ in range(2))
    assert first == second
    assert first["licence"] == "none (untrained)"
    assert first["size_px"] == [224, 224]


def test_a_clip_says_the_same_alone_and_in_company(encoder: twostream.TwoStreamEncoder) -> None:
    some = clips(film(), film(1))
    whole = encoder.encode_clips(some)
    alone = encoder.encode_clips(some[1:])
    np.testing.assert_allclose(alone.embedding[0], whole.embedding[1], atol=1e-4)
    assert alone.probabilities is not None
    assert whole.probabilities is not None
    np.testing.assert_allclose(alone.probabilities[0], whole.probabilities[1], atol=1e-4)


def test_a_clip_backwards_looks_the_same_and_moves_otherwise(encoder: twostream.TwoStreamEncoder) -> None:
    """The middle picture is the same; the flow is not."""
    forth, back = (encoder.encode_clips(clips(some)).embedding[0] for some in (film(), film()[::-1]))
    np.testing.assert_allclose(forth[:512], back[:512], atol=1e-6)
    assert np.abs(forth[512:] - back[512:]).max() > 1e-3


@pytest.mark.parametrize("weights", ["random", "saved"])
def test_a_still_clip_has_a_direction_in_both_streams(file: Path, weights: str) -> None:
    """Untrained, the temporal stream says 0 of flow that is 0; what comes of that points evenly."""
    encoder = load(file if weights == "saved" else weights)
    found = encoder.encode_clips(clips(np.repeat(film()[:1], 11, axis=0), times_s=[0.2] * 11))
    assert found.columns["motion_px"].tolist() == [0]
    for part in (slice(0, 512), slice(512, 1024)):
        assert np.linalg.norm(found.embedding[0, part]) == pytest.approx(0.5**0.5, abs=1e-6)


def test_flow_between_repeated_frames_is_nothing(encoder: twostream.TwoStreamEncoder) -> None:
    """12.5 fps footage at 25 points a second: every frame twice, and half of the pairs without time."""
    frames = film()[np.arange(11) // 2]
    times_s = (np.arange(11) // 2 * 0.08).tolist()
    features = encoder.encode_clips(clips(frames, times_s=times_s))
    pixels = torch.tensor(frames).permute(0, 3, 1, 2)[None] / 127.5 - 1
    with torch.inference_mode():
        found = torch.zeros(1, 10, 2, 128, 128)
        for i in (1, 3, 5, 7, 9):
            found[0, i] = raft.flow_of(encoder.raft, pixels[0, i : i + 1], pixels[0, i + 1 : i + 2])[0]
        expected, _ = seeded(3).eval()(pixels, found)
    np.testing.assert_allclose(features.embedding, expected, atol=1e-3)


def test_gradients_reach_both_streams_and_flow_only_if_asked() -> None:
    network = seeded(3).train()
    pixels = torch.rand(1, 11, 3, 128, 128, requires_grad=False) * 2 - 1
    _, logits = network(pixels)
    logits.sum().backward()
    with_gradient = {name.split(".")[0] for name, weight in network.named_parameters() if weight.grad is not None}
    assert with_gradient == {"spatial", "temporal"}
    network.flow.requires_grad_(True)
    raft.fields(network.flow, pixels[:, :2], np.ones((1, 1)), updates=2).sum().backward()
    assert all(weight.grad is not None for weight in network.flow.parameters())


def test_the_temporal_stream_learns_which_way_things_move() -> None:
    """The upper half goes right and the lower left, or the other way round: the same picture, the same mean flow. Eight steps
    on noise, then what was not seen."""
    network = seeded(2).train()
    weights = [*network.spatial.parameters(), *network.temporal.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=1e-3)

    def batch(seed: int, count: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        pixels, found = given(count, seed)
        truth = torch.arange(count) % 2
        found[:, :, 0, :32] += (2 * truth - 1).view(-1, 1, 1, 1) * 5
        found[:, :, 0, 32:] -= (2 * truth - 1).view(-1, 1, 1, 1) * 5
        return pixels, found, truth

    for step in range(8):
        pixels, found, truth = batch(step)
        _, logits = network(pixels, found)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits, truth).backward()
        optimizer.step()
    with torch.inference_mode():  # with the batch's own mean and variance: eight steps are too few for the running ones
        pixels, found, truth = batch(99)
        _, logits = network(pixels, found)
    assert logits.argmax(dim=1).tolist() == truth.tolist()


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    network = seeded(2)
    twostream.save(network, tmp_path / "bare.safetensors")
    torch.save({"state_dict": network.state_dict()}, tmp_path / "bare.pth")
    for name in ("bare.safetensors", "bare.pth"):
        encoder = load(tmp_path / name)
        assert encoder.labels == ("class 0", "class 1")
        assert encoder.fingerprint()["licence"] == "unknown"
    twostream.save(seeded(), tmp_path / "none.safetensors")
    assert load(tmp_path / "none.safetensors").labels == ()
    with pytest.raises(ValueError, match="3 labels for 2 classes"):
        twostream.save(network, tmp_path / "bare.safetensors", LABELS)


def failure(weights: object) -> str:
    with pytest.raises(WeightsUnavailable) as caught:
        load(weights)
    return str(caught.value)


@pytest.mark.parametrize(
    "told", ["archery", '["one"]', '{"a": 1, "b": 2}', '["one", "two", 3]', "[" * 100_000], ids=range(5)
)
def test_names_that_are_none_are_refused(file: Path, tmp_path: Path, told: str) -> None:
    from safetensors.torch import load_file, save_file

    save_file(load_file(file), tmp_path / "odd.safetensors", {"labels": told})
    message = failure(tmp_path / "odd.safetensors")
    assert "expected a JSON list of 3 names" in message
    assert "twostream.save" in message
    assert len(message) < 1000


def test_checkpoints_that_do_not_fit_name_the_keys(tmp_path: Path) -> None:
    state: dict[str, Any] = seeded(2).state_dict()
    path = tmp_path / "weights.pth"

    def message(**changed: Any) -> str:
        both = {**state, **{name.replace("__", "."): value for name, value in changed.items()}}
        torch.save({name: value for name, value in both.items() if value is not None}, path)
        return failure(path)

    assert "1 missing: temporal.fc.bias. " in message(temporal__fc__bias=None)
    assert "2 missing: temporal.fc.bias, temporal.fc.weight" in message(
        temporal__fc__bias=None, temporal__fc__weight=None
    )
    assert "unexpected: spatial.fc.bias, temporal.fc.bias" in message(spatial__fc__weight=None)
    assert "1 unexpected: fusion.weight" in message(fusion__weight=torch.zeros(1))
    assert "1 of another shape: temporal.conv1.weight" in message(temporal__conv1__weight=torch.zeros(64, 3, 7, 7))
    assert "unexpected: spatial.fc.bias, spatial.fc.weight" in message(spatial__fc__weight=torch.tensor(1.0))
    torch.save({name: value for name, value in state.items() if not name.startswith("flow.")}, path)
    assert "missing: flow.context_encoder" in failure(path)
    assert str(path) in failure(path)


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    torch.save({"spatial.fc.weight": models.Bomb(tmp_path / "exploded")}, tmp_path / "mined.pth")
    assert "tensors only" in failure(tmp_path / "mined.pth")
    assert not (tmp_path / "exploded").exists()
    assert "no checkpoint at" in failure(tmp_path / "none.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08")
    assert str(tmp_path / "cut.safetensors") in failure(tmp_path / "cut.safetensors")


def checked(name: str | None, weights: str | None) -> str:
    return str(twostream.check(EncoderSpec("twostream", name, weights)))


def test_specs_have_one_spelling() -> None:
    assert checked(None, "random") == checked("resnet18", "Random") == "twostream:resnet18@random"
    assert checked("resnet18", "./a@b.pth") == f"twostream:resnet18@{Path('a@b.pth').resolve()}"
    assert checked("resnet18", "a.safetensors") == f"twostream:resnet18@{Path('a.safetensors').resolve()}"


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("resnet81", "random", "Did you mean 'resnet18'?"),
        ("vgg", "random", "Known: resnet18."),
        ("/weights.pth", None, "twostream:resnet18@/path/to/weights.safetensors"),
        ("resnet18", None, "nobody publishes weights for it"),
        (None, None, "got none"),
        ("resnet18", "radom", "Did you mean 'random'?"),
    ],
)
def test_specs_that_mean_nothing_say_what_would(name: str | None, weights: str | None, said: str) -> None:
    with pytest.raises(UnknownEncoder) as caught:
        checked(name, weights)
    assert said in str(caught.value)
    assert repr(str(EncoderSpec("twostream", name, weights))) in str(caught.value)


def test_the_file_is_what_its_documentation_says(file: Path) -> None:
    """Three networks under their names, in torchvision's own, and the classes in the metadata."""
    import safetensors
    from torchvision.models import resnet18
    from torchvision.models.optical_flow import raft_small

    with safetensors.safe_open(file, "pt") as opened:
        assert json.loads(opened.metadata()["labels"]) == list(LABELS)
        names = set(opened.keys())
    networks = {"spatial": resnet18(), "temporal": resnet18(), "flow": raft_small()}
    assert names == {f"{part}.{name}" for part, network in networks.items() for name in network.state_dict()}


def test_parameters_and_flops_are_counted() -> None:
    """Parameters also by hand: two resnet18 without `fc`, one with 20 channels instead of 3 in 64 filters of 7x7, and RAFT."""
    from torch.utils.flop_counter import FlopCounterMode

    (model,) = twostream.FAMILY.models
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network = twostream.new()
        network(torch.empty(1, model.frames, 3, *model.size_px))
    assert counter.get_total_flops() == model.flops
    resnet18 = 11_689_512 - 512 * 1000 - 1000
    assert model.parameters == sum(p.numel() for p in network.parameters())
    assert model.parameters == 2 * resnet18 + 17 * 64 * 49 + 990_162
    assert (model.dim, model.frames, model.size_px, model.seconds) == (1024, 11, (224, 224), 4.0)
