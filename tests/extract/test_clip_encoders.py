"""What every clip encoder must keep: one body over all families, on small or untrained weights; each in the pipeline too."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import video_models as models
from nightreel.extract.clips import ClipMaker, ClipWish
from nightreel.extract.encoders.base import ClipEncoder, Clips, Features, as_clips
from nightreel.extract.encoders.family import Family
from nightreel.extract.encoders.registry import FAMILIES, load_encoder
from nightreel.extract.engine import Plan
from nightreel.extract.errors import UsageError
from nightreel.extract.run import Settings, extract
from nightreel.extract.store import Store
from nightreel.extract.verify import verify

MakeFilm = Callable[..., Path]


def make_videomae(folder: Path) -> Any:
    models.videomae(folder)
    return load_encoder(f"videomae:{folder}")


def make_timesformer(folder: Path) -> Any:
    models.timesformer(folder)
    return load_encoder(f"timesformer:{folder}")


def make_flicker(folder: Path) -> Any:
    return models.flicker()


def make(spec: str) -> Callable[[Path], Any]:
    return lambda folder: load_encoder(spec)


ENCODERS: dict[str, Callable[[Path], Any]] = {
    "videomae": make_videomae,
    "timesformer": make_timesformer,
    "torchvision:r2plus1d_18@random": make("torchvision:r2plus1d_18@random"),
    "torchvision:swin3d_t@random": make("torchvision:swin3d_t@random"),
    "c3d@random": make("c3d@random"),
    "raft:raft_small@random": make("raft:raft_small@random"),
    "twostream:resnet18@random": make("twostream:resnet18@random"),
    "flicker": make_flicker,
}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=list(ENCODERS))
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return ENCODERS[request.param](tmp_path_factory.mktemp("weights"))


def frames_of(encoder: Any) -> int:
    """As few frames as the encoder takes, to be quick."""
    return max(2, encoder.plan.fewest or encoder.plan.frames)


def clips_for(encoder: Any, count: int = 2, seed: int = 0) -> Clips:
    frames = np.stack([models.moving(frames_of(encoder), 48, 72, seed + i) for i in range(count)])
    return as_clips(frames, encoder.geometry, encoder.plan.stride_s)


def assert_features(found: Features, encoder: Any, count: int) -> None:
    assert found.embedding.shape == (count, encoder.dim)
    assert found.embedding.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found.embedding, axis=1), 1, atol=1e-5)
    assert set(found.columns) == set(encoder.columns)
    for column in found.columns.values():
        assert column.shape == (count,)
        assert column.dtype == np.float32
        assert np.isfinite(column).all()
    if encoder.labels:
        assert found.probabilities is not None
        assert found.probabilities.shape == (count, len(encoder.labels))
        np.testing.assert_allclose(found.probabilities.sum(axis=1), 1, atol=1e-4)


def test_every_family_of_clips_is_here() -> None:
    of_clips = {name for name, family in FAMILIES.items() if any(model.features == "clips" for model in family.models)}
    assert of_clips <= {name.partition(":")[0].partition("@")[0] for name in ENCODERS}


def test_it_is_a_clip_encoder_with_a_sensible_plan(encoder: Any) -> None:
    assert isinstance(encoder, ClipEncoder)
    assert encoder.plan.frames >= 2
    assert encoder.plan.stride_s > 0
    assert encoder.plan.hop_s >= encoder.plan.length_s - 1e-9  # by default nothing is encoded twice
    assert (encoder.plan.fewest or 2) <= encoder.plan.frames <= (encoder.plan.most or encoder.plan.frames)


def test_clips_become_unit_vectors(encoder: Any) -> None:
    assert_features(encoder.encode_clips(clips_for(encoder)), encoder, 2)


def test_clips_without_anything_in_them_have_a_direction(encoder: Any) -> None:
    frames = np.stack([np.full((frames_of(encoder), 48, 72, 3), grey, np.uint8) for grey in (0, 255)])
    assert_features(encoder.encode_clips(as_clips(frames, encoder.geometry)), encoder, 2)


def test_one_frame_repeated_is_a_clip(encoder: Any) -> None:
    """What comes of a video of one frame: all times are equal."""
    picture = clips_for(encoder).frames[0, 0]
    plan = replace(encoder.plan, frames=frames_of(encoder))
    maker = ClipMaker(plan, (48, 72))
    clips = [*maker.push(0.0, picture), *maker.finish(0.0)]
    assert len(clips) == 1
    found = encoder.encode_clips(Clips.of(clips))
    assert_features(found, encoder, 1)
    assert found.columns.get("motion_px", np.zeros(1))[0] == 0


def test_same_clips_same_features(encoder: Any) -> None:
    first, second = (encoder.encode_clips(clips_for(encoder)) for _ in range(2))
    np.testing.assert_array_equal(first.embedding, second.embedding)


def test_a_clip_does_not_depend_on_the_batch(encoder: Any) -> None:
    clips = clips_for(encoder, 3)
    together = encoder.encode_clips(clips)
    alone = [encoder.encode_clips(clips[i : i + 1]) for i in range(3)]
    np.testing.assert_allclose(together.embedding, np.concatenate([one.embedding for one in alone]), atol=1e-4)
    for name, column in together.columns.items():
        np.testing.assert_allclose(column, np.concatenate([one.columns[name] for one in alone]), rtol=1e-3)


def test_a_clip_and_its_reversal_differ(encoder: Any) -> None:
    """The check against temporal leakage: an encoder for which order is nothing need not be one of clips."""
    clips = clips_for(encoder)
    reversed_ = Clips(np.ascontiguousarray(clips.frames[:, ::-1]), clips.times_s, clips.source_px)
    a, b = encoder.encode_clips(clips).embedding, encoder.encode_clips(reversed_).embedding
    assert np.sum(a * b, axis=1).max() < 1 - 1e-6


def test_clips_are_only_read(encoder: Any) -> None:
    clips = clips_for(encoder)
    clips.frames.setflags(write=False)
    before = clips.frames.copy()
    encoder.encode_clips(clips)
    np.testing.assert_array_equal(clips.frames, before)


def test_no_clips_no_features(encoder: Any) -> None:
    none = clips_for(encoder)[0:0]
    assert encoder.encode_clips(none).embedding.shape == (0, encoder.dim)


def test_bfloat16_autocast_points_the_same_way(encoder: Any) -> None:
    """What a GPU would do, on the CPU, where it is never chosen."""
    if not hasattr(encoder, "_precision"):
        pytest.skip("it does not run on torch")
    clips = clips_for(encoder)
    full = encoder.encode_clips(clips)
    encoder._precision = "bfloat16"
    try:
        half = encoder.encode_clips(clips)
    finally:
        encoder._precision = "float32"
    assert_features(half, encoder, 2)
    assert np.sum(half.embedding * full.embedding, axis=1).min() >= 0.99


def test_fingerprint_is_json_and_stable(encoder: Any) -> None:
    fingerprint = encoder.fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint == encoder.fingerprint()
    assert {"weights_sha256", "licence", "dim", "size_px", "preprocessing", "pooling", "precision"} <= set(fingerprint)
    assert fingerprint["dim"] == encoder.dim


@pytest.fixture
def in_registry(encoder: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """The spec under which a run finds this very encoder."""
    monkeypatch.setitem(
        FAMILIES, "tested", Family("tested", "nothing", (), lambda spec, device: encoder, lambda spec: spec)
    )
    return "tested"


def test_videos_of_every_length_go_through_the_pipeline(
    encoder: Any, in_registry: str, make_film: MakeFilm, tmp_path: Path
) -> None:
    """One frame, less than a clip, and several clips: half-open spans that cover the video and nothing else."""
    frames, stride_s = frames_of(encoder), encoder.plan.stride_s
    length_s = frames * stride_s
    few = ClipWish(length_s, stride_s) if frames < encoder.plan.frames else ClipWish()
    make_film(tmp_path / "films" / "one.mp4", [("red", 0.1)])
    for name, seconds in (("short", 0.6), ("long", max(1.0, 2.5 * length_s))):
        make_film(tmp_path / "films" / f"{name}.mp4", [("red", seconds / 2), ("blue", seconds / 2)])
    plan = Plan(labels=2 if encoder.labels else 0, clips=few)
    report = extract(
        [str(tmp_path / "films")], tmp_path / "a.reel", [in_registry, "toy"], Settings(plan=plan, device="cpu")
    )
    assert (report.done, report.failures) == (3, [])
    store = Store.open(tmp_path / "a.reel")
    assert verify(store).problems == []
    ends = {row.video_id: row.duration_s for row in store.videos()}
    columns = store.encoders()["tested"]["columns"]
    assert columns == ["luma", "variance", *encoder.columns, "repeated"]
    for video_id in ends:
        found = store.segments_of("tested", video_id)
        assert list(found.quality) == columns
        assert found.start_s[0] == 0
        assert found.end_s[-1] == ends[video_id]
        assert np.all(found.start_s[1:] <= found.end_s[:-1])
        assert np.all(np.diff(found.start_s) > 0)
        assert np.all(found.quality["repeated"] < encoder.plan.frames)
        assert (found.labels is not None) == bool(encoder.labels)
        if found.labels is not None:
            for labels in found.labels:
                assert [p for _, p in labels] == sorted((p for _, p in labels), reverse=True)
                assert len(labels) == 2
    short = next(row for row in store.videos() if row.path.endswith("short.mp4"))
    assert store.segments_of("tested", short.video_id).quality["repeated"][0] > 0 or length_s <= 0.6


def test_what_a_run_of_clips_cannot_do_is_said_before_it_begins(
    in_registry: str, make_film: MakeFilm, tmp_path: Path
) -> None:
    film = make_film(tmp_path / "a.mp4", [("red", 1.0)])
    with pytest.raises(UsageError, match="--decode keyframe"):
        extract([str(film)], tmp_path / "a.reel", [in_registry], Settings(plan=Plan(tier="keyframe")))
    assert not (tmp_path / "a.reel").exists()
