"""`raft` against torchvision's own path, what must and must not change its answer, and every way its weights can be wrong.

Weights are untrained where a test is about the way from frames to columns, and trained here where it is about motion. Most
pictures are 128x128, the least RAFT takes: a sixth of the work of the encoder's 216x384.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import video_models as models
from nightreel.extract.encoders import flow, raft
from nightreel.extract.encoders.base import ClipEncoder, Clips, as_clips
from nightreel.extract.encoders.spec import EncoderSpec
from nightreel.extract.errors import UnknownEncoder, WeightsUnavailable

SMALL = "raft_small"


pytestmark = pytest.mark.usefixtures("one_thread")


def load(weights: object, name: str | None = SMALL) -> raft.FlowNetwork:
    return raft.load(raft.check(EncoderSpec("raft", name, str(weights))), "cpu")


@pytest.fixture(scope="module")
def encoder() -> raft.FlowNetwork:
    return load("random")


def clips(*films: np.ndarray, gap_s: float = 0.1, times_s: list[float] | None = None) -> Clips:
    """Of films (T, 128, 128, 3), which need no scaling; the source is 360x640."""
    frames = np.stack(films)
    count, length = frames.shape[:2]
    each = np.array(times_s) if times_s else np.arange(length) * gap_s
    return Clips(frames, np.tile(each, (count, 1)), np.tile([360, 640], (count, 1)))


def film(frames: int = 3, seed: int = 0) -> np.ndarray:
    return models.moving(frames, 128, 128, seed)


def checked(name: str | None, weights: str | None = None) -> str:
    return str(raft.check(EncoderSpec("raft", name, weights)))


def saved(folder: Path, state: dict[str, Any], name: str = "raft.pth") -> Path:
    torch.save(state, folder / name)
    return folder / name


def state_of(name: str = SMALL) -> dict[str, Any]:
    """The weights of torchvision's own network, with running means of batches that are not those it begins with."""
    from torchvision.models import optical_flow

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        network = getattr(optical_flow, name)()
        state: dict[str, Any] = network.state_dict()
        for key, value in state.items():
            if key.endswith(("running_mean", "running_var")):
                value.copy_(torch.rand(value.shape) + 0.5)
    return state


def test_names_files_and_defaults_are_torchvisions() -> None:
    from torchvision.models import get_model_weights

    for name, known in raft.WEIGHTS.items():
        enum: Any = get_model_weights(name)
        assert {entry.name: entry.url for entry in enum} == {key: raft.URL + file for key, file in known.items()}
        assert enum.DEFAULT.name == next(iter(known))
        for entry in enum:
            assert ("ported" in entry.meta["_docs"]) == ("ported" in raft.licence(entry.name))
            assert ("Sintel" in entry.meta["_docs"]) == ("Sintel" in raft.licence(entry.name))
            assert "license" not in entry.meta
    assert {model.spec: model.file for model in raft.FAMILY.models} == {
        "raft:raft_small@C_T_V2": f"{raft.URL}raft_small_C_T_V2-01064c6d.pth",
        "raft:raft_large@C_T_SKHT_V2": f"{raft.URL}raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    }


def test_specs_have_one_spelling() -> None:
    assert checked(None) == checked(SMALL) == checked(SMALL, "default") == checked(SMALL, "c-t-v2")
    assert checked(None) == "raft:raft_small@C_T_V2"
    assert checked("raft_large") == "raft:raft_large@C_T_SKHT_V2"
    assert checked("raft_large", "c_t_skht_k_v1") == "raft:raft_large@C_T_SKHT_K_V1"
    assert checked(SMALL, "Random") == "raft:raft_small@random"
    assert checked(SMALL, "./a@b.pth") == f"raft:raft_small@{Path('a@b.pth').resolve()}"
    assert checked(SMALL, "weights.safetensors") == f"raft:raft_small@{Path('weights.safetensors').resolve()}"


@pytest.mark.parametrize(
    ("name", "weights", "said"),
    [
        ("raft_smal", None, "Did you mean 'raft_small'?"),
        ("huge", None, "one of raft_small, raft_large"),
        ("/weights.pth", None, "raft:raft_small@/path/to/weights.pth"),
        (SMALL, "C_T_V3", "Did you mean 'C_T_V2'?"),
        (SMALL, "C_T_SKHT_V2", "Known: C_T_V2, C_T_V1;"),
        ("raft_large", "rando", "Did you mean 'random'?"),
    ],
)
def test_specs_that_mean_nothing_say_what_would(name: str, weights: str | None, said: str) -> None:
    with pytest.raises(UnknownEncoder) as caught:
        checked(name, weights)
    assert said in str(caught.value)
    assert repr(str(EncoderSpec("raft", name, weights))) in str(caught.value)


@pytest.mark.parametrize(("name", "file"), [(SMALL, "raft.pth"), ("raft_large", "raft.pth"), (SMALL, "a.safetensors")])
def test_flow_is_what_torchvision_says(tmp_path: Path, name: str, file: str) -> None:
    """Same random weights through torchvision's preset and network, pair by pair."""
    from safetensors.torch import save_file
    from torchvision.models import get_model_weights, optical_flow

    state = state_of(name)
    if file.endswith(".safetensors"):
        save_file(state, tmp_path / file)
    else:
        saved(tmp_path, {f"module.{key}": value for key, value in state.items()}, file)
    ours = load(tmp_path / file, name)
    some = clips(film(), film(seed=1))
    theirs = getattr(optical_flow, name)().eval()
    theirs.load_state_dict(state)
    enum: Any = get_model_weights(name)
    preset = enum.DEFAULT.transforms()
    found = raft.fields(ours.raft, ours.pixels(some.frames), np.diff(some.times_s))
    assert found.shape == (2, 2, 2, 128, 128)
    expected = torch.empty_like(found)
    for clip in (0, 1):
        for pair in (0, 1):
            both = (torch.tensor(some.frames[clip, at]).permute(2, 0, 1)[None] for at in (pair, pair + 1))
            with torch.inference_mode():
                expected[clip, pair] = theirs(*preset(*both))[-1][0]
    assert expected.abs().max() > 1  # or the comparison says nothing
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    # And what becomes of it.
    seconds, source = torch.tensor(np.diff(some.times_s)), torch.tensor(some.source_px)
    features = ours.encode_clips(some)
    np.testing.assert_allclose(features.embedding, flow.descriptor(expected, seconds, source), atol=1e-3)
    np.testing.assert_allclose(features.columns["motion_px"], flow.motion_px(expected, seconds, source), rtol=1e-3)


def test_an_untrained_encoder_keeps_what_every_encoder_promises(encoder: raft.FlowNetwork) -> None:
    assert isinstance(encoder, ClipEncoder)
    assert (encoder.columns, encoder.labels) == (("motion_px",), ())
    some = as_clips(models.moving(3, 90, 160)[None], encoder.geometry)
    assert some.frames.shape == (1, 3, 216, 384, 3)
    features = encoder.encode_clips(some)
    assert features.embedding.shape == (1, encoder.dim)
    assert features.probabilities is None
    assert features.columns["motion_px"].dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features.embedding, axis=1), 1, atol=1e-6)
    empty = encoder.encode_clips(some[:0])
    assert (empty.embedding.shape, empty.columns["motion_px"].shape) == ((0, 288), (0,))


def test_a_clip_says_the_same_alone_and_in_company(encoder: raft.FlowNetwork) -> None:
    some = clips(film(5), film(5, seed=1), film(5, seed=2))
    whole = encoder.encode_clips(some)
    for i in range(3):
        alone = encoder.encode_clips(some[i : i + 1])
        np.testing.assert_allclose(alone.embedding[0], whole.embedding[i], atol=1e-4)
        np.testing.assert_allclose(alone.columns["motion_px"], whole.columns["motion_px"][i : i + 1], rtol=1e-4)
    assert np.abs(whole.embedding[0] - whole.embedding[1]).max() > 1e-2


def test_a_clip_backwards_is_another(encoder: raft.FlowNetwork) -> None:
    forth = encoder.encode_clips(clips(film()))
    back = encoder.encode_clips(clips(film()[::-1]))
    assert np.sum(forth.embedding * back.embedding) < 0.999


def test_repeated_frames_are_not_asked_about(encoder: raft.FlowNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tail that repeats its last frame says what the clip without it says; RAFT sees each pair with time once."""
    asked: list[int] = []
    plain = raft.flow_of

    def counting(network: Any, first: torch.Tensor, *rest: Any) -> torch.Tensor:
        asked.append(len(first))
        return plain(network, first, *rest)

    monkeypatch.setattr(raft, "flow_of", counting)
    short = film(3)
    tail = np.concatenate([short, short[-1:], short[-1:]])
    expected = encoder.encode_clips(clips(short))
    found = encoder.encode_clips(clips(tail, times_s=[0.0, 0.1, 0.2, 0.2, 0.2]))
    assert asked == [2, 2]
    np.testing.assert_allclose(found.embedding, expected.embedding, atol=1e-5)
    np.testing.assert_allclose(found.columns["motion_px"], expected.columns["motion_px"], rtol=1e-5)


def test_a_clip_of_one_frame_repeated_is_still(encoder: raft.FlowNetwork) -> None:
    one = film(1)
    found = encoder.encode_clips(clips(np.concatenate([one] * 4), times_s=[0.3] * 4))
    assert found.columns["motion_px"].tolist() == [0]
    still = found.embedding[0].reshape(-1, flow.BINS)
    np.testing.assert_allclose(still[:, -1], 1 / np.sqrt(32), atol=1e-6)
    assert not still[:, :-1].any()
    alone = encoder.encode_clips(clips(one, times_s=[0.3]))
    np.testing.assert_array_equal(alone.embedding, found.embedding)


def test_motion_is_in_pixels_of_the_source(encoder: raft.FlowNetwork) -> None:
    """The same frames, said to be of a video twice as large: twice as many pixels, the same picture of motion."""
    once = clips(film())
    twice = Clips(once.frames, once.times_s, once.source_px * 2)
    slow = Clips(once.frames, once.times_s * 4, once.source_px)
    found, large, slower = (encoder.encode_clips(some) for some in (once, twice, slow))
    np.testing.assert_allclose(large.columns["motion_px"], 2 * found.columns["motion_px"], rtol=1e-6)
    np.testing.assert_allclose(large.embedding, found.embedding, atol=1e-6)
    np.testing.assert_allclose(slower.columns["motion_px"], found.columns["motion_px"] / 4, rtol=1e-6)
    assert np.abs(slower.embedding - found.embedding).max() > 1e-3


def test_correlation_and_flow_stay_float32_under_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    network: Any = raft.seeded(lambda: raft.build(SMALL)).eval()
    first, second = (torch.rand(1, 3, 128, 128) * 2 - 1 for _ in range(2))
    kinds: list[tuple[torch.dtype, torch.dtype]] = []
    plain = network.corr_block.index_pyramid

    def watching(centroids_coords: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = plain(centroids_coords=centroids_coords)
        kinds.append((network.corr_block.corr_pyramid[0].dtype, found.dtype))
        return found

    monkeypatch.setattr(network.corr_block, "index_pyramid", watching)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = raft.flow_of(network, first, second)
    assert set(kinds) == {(torch.float32, torch.float32)}
    assert len(kinds) == raft.UPDATES
    assert found.dtype == torch.float32
    assert network.corr_block.corr_pyramid == []


def test_random_weights_are_always_the_same() -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (load("random").fingerprint() for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert first == second
    assert first["licence"] == "none (untrained)"
    assert "12 updates" in first["pooling"]
    assert "2 halves, 4x4 cells, 8 directions and still" in first["pooling"]
    assert (first["dim"], first["size_px"], first["preprocessing"]["resize_mode"]) == (288, [216, 384], "squash")


def test_a_local_file_says_nothing_of_its_licence(tmp_path: Path) -> None:
    about = load(saved(tmp_path, {"state_dict": state_of()})).fingerprint()
    assert about["licence"] == "unknown"
    assert about["weights_sha256"] != load("random").fingerprint()["weights_sha256"]


def failure(weights: object, name: str = SMALL) -> str:
    with pytest.raises(WeightsUnavailable) as caught:
        load(weights, name)
    return str(caught.value)


def test_checkpoints_that_do_not_fit_name_the_keys(tmp_path: Path) -> None:
    state = state_of()
    head = "update_block.flow_head.conv2.bias"
    message = failure(saved(tmp_path, {key: value for key, value in state.items() if key != head}))
    assert f"does not fit this architecture: 1 missing: {head}. " in message
    assert str(tmp_path / "raft.pth") in message
    assert "1 unexpected: step" in failure(saved(tmp_path, {**state, "step": torch.zeros(1)}))
    assert f"1 of another shape: {head}" in failure(saved(tmp_path, {**state, head: torch.zeros(3)}))
    assert "missing: context_encoder" in failure(saved(tmp_path, state), "raft_large")
    # The authors' own names are not torchvision's.
    assert "1 unexpected: fnet.conv1.weight" in failure(saved(tmp_path, {**state, "fnet.conv1.weight": torch.ones(1)}))


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    mined = saved(tmp_path, {"feature_encoder.conv.weight": models.Bomb(tmp_path / "exploded")})
    assert "tensors only" in failure(mined)
    assert not (tmp_path / "exploded").exists()
    assert "no checkpoint at" in failure(tmp_path / "none.pth")
    for name in ("cut.pth", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04cut off")
        assert str(tmp_path / name) in failure(tmp_path / name)


def test_weights_that_cannot_be_had_name_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("nightreel.extract.encoders.hub.reachable", lambda address: False)
    message = failure("C_T_V1")
    assert f"{raft.URL}raft_small_C_T_V1-ad48884c.pth" in message
    assert "raft:raft_small@/path/to/weights.pth" in message


@pytest.mark.parametrize("model", raft.FAMILY.models, ids=lambda model: model.spec)
def test_parameters_and_flops_are_counted(model: Any) -> None:
    """torchvision counts as many parameters."""
    from torch.utils.flop_counter import FlopCounterMode
    from torchvision.models import get_model_weights

    name = model.spec.split(":")[1].split("@")[0]
    enum: Any = get_model_weights(name)
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network = raft.build(name)
        raft.fields(network, torch.empty(1, model.frames, 3, *model.size_px), np.ones((1, model.frames - 1)))
    assert counter.get_total_flops() == model.flops
    assert sum(p.numel() for p in network.parameters()) == model.parameters == enum.DEFAULT.meta["num_params"]
    assert (model.frames, model.size_px, model.seconds) == (9, (216, 384), 4.0)


def test_training_brings_the_error_below_half_a_pixel() -> None:
    """raft_small with two levels of correlation instead of four, so that pictures may be 64x64; motions of up to 1.5 px. The
    whole network, up to 4 px, and `motion_px` of films take minutes: `benchmarks/flow.py`."""
    from torchvision.models.optical_flow import raft_small
    from torchvision.models.optical_flow.raft import CorrBlock

    benchmark = models.load_benchmark("flow")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = raft_small(corr_block=CorrBlock(num_levels=2, radius=3))
    how = {"side": 64, "updates": 2}
    before = benchmark.held_out(network, benchmark.blobs, 1.5, **how)
    benchmark.train(network, 200, 0, 1.5, first_px=8.0, batch=8, **how)
    after = benchmark.held_out(network, benchmark.blobs, 1.5, **how)
    assert after < 0.5 < benchmark.standing(1.5) < before, (before, after)
