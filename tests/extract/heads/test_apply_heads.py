"""Features that a head makes: windows, lineage, what is new and what is stale."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.compact import compact, remove_videos
from nightreel.extract.errors import FingerprintMismatch, UsageError
from nightreel.extract.heads import stored
from nightreel.extract.heads.apply import along, apply_head, not_mapped, slug_of_head, window_starts
from nightreel.extract.heads.encoder import load_stored_encoder
from nightreel.extract.heads.networks import make_head
from nightreel.extract.heads.stored import save_head
from nightreel.extract.heads.tuned import Adapter, Tuned
from nightreel.extract.store import Store
from nightreel.extract.vectors import Vectors
from nightreel.extract.verify import verify
from nightreel.extract.writer import Writer, claim_encoder

SLUG = slug_of_head("mine")


def random_tuned(kind: str, dim: int, clip_dim: int = 0) -> Tuned:
    torch.manual_seed(3)
    tuned = Tuned(make_head(kind, dim, layers=1), Adapter(dim), clip_dim)
    for name, value in tuned.named_parameters():
        if name != "head.logit_scale":
            torch.nn.init.normal_(value, std=0.4)
    return tuned.eval()


def save(archive: Any, kind: str = "lstm", name: str = "mine", context: int = 4) -> Tuned:
    tuned = random_tuned(kind, int(archive.store.encoders()["toy"]["dim"]))
    save_head(archive.store, name, tuned, base="toy", context=context)
    return tuned


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 20))
def test_windows_cover_every_frame(count: int, context: int) -> None:
    size = min(count, context)
    starts = window_starts(count, size)
    assert starts[0] == 0
    assert starts[-1] + size == count
    assert np.all(np.diff(starts) <= max(1, size // 2))


@pytest.mark.parametrize("kind", ["mean", "lstm", "transformer", "wti"])
@pytest.mark.parametrize("count", [1, 3, 8, 9, 41])
def test_each_frame_comes_from_the_window_with_the_nearest_middle(kind: str, count: int) -> None:
    tuned, context = random_tuned(kind, 6), 8
    vectors = np.random.default_rng(count).normal(size=(count, 6)).astype(np.float32)
    got = along(tuned, vectors, context)
    size = min(count, context)
    starts = window_starts(count, size)
    for t in range(count):
        distance = abs(starts + (size - 1) / 2 - t)
        options = []
        for start in starts[distance == distance.min()]:
            window = torch.from_numpy(vectors[start : start + size])[None]
            with torch.no_grad():
                out = tuned.along(window, torch.ones(1, size, dtype=torch.bool))
            options.append(np.abs(out[0, t - start].numpy() - got[t]).max())
        assert min(options) < 1e-5


def test_features_are_made_once_and_follow_the_archive(colours: Any) -> None:
    tuned = save(colours)
    assert apply_head(colours.store, "mine") == 3
    store = Store.open(colours.root)
    assert not_mapped(store, SLUG) == set()
    assert apply_head(store, "mine") == 0
    for base in store.segments("toy"):
        made = store.segments_by_id(SLUG, base.segment_id)
        for name in ("segment_id", "start_s", "end_s", "time_s", "video_id"):
            np.testing.assert_array_equal(getattr(made, name), getattr(base, name))
    for video in store.video_ids("toy"):
        plain = along(tuned, Vectors(store, "toy").of(video).astype(np.float32), 4)
        np.testing.assert_allclose(Vectors(store, SLUG).of(video), plain, atol=2e-3)
    assert verify(store).problems == []

    new = colours.add("new.mp4", ["red", "green"])
    colours.add("red.mp4", ["white"] * 7)  # extracted again
    store.refresh()
    stale = not_mapped(store, SLUG)
    assert len(stale) == 2
    assert new in stale
    assert apply_head(store, "mine") == 2
    assert not_mapped(store, SLUG) == set()
    remove_videos(store, ["green.mp4"])
    compact(store, now=True)
    store.refresh()
    assert set(store.video_ids(SLUG)) == set(store.video_ids("toy"))
    assert apply_head(store, "mine") == 0
    assert verify(store).problems == []


def test_an_adapter_says_what_each_frame_counts(colours: Any) -> None:
    tuned = save(colours, "mean")
    apply_head(colours.store, "mine")
    store = Store.open(colours.root)
    assert store.encoders()[SLUG]["columns"] == ["luma", "variance", "head_weight"]
    for video in store.video_ids("toy"):
        made, base = store.segments_of(SLUG, video), Vectors(store, "toy").of(video).astype(np.float32)
        with torch.no_grad():
            wanted = tuned.weights(torch.from_numpy(base)[None])[0]
            whole = tuned.video(torch.from_numpy(base)[None], torch.ones(1, len(base), dtype=torch.bool))[0]
        np.testing.assert_allclose(made.weight(), wanted, rtol=1e-5)
        mean = np.average(made.embedding.astype(np.float32), axis=0, weights=made.weight())
        np.testing.assert_allclose(mean / np.linalg.norm(mean), whole, atol=2e-3)
    assert verify(store).problems == []
    compact(store, now=True)
    assert store.segments_of(SLUG, video).weight() is not None


def test_other_heads_have_no_weights(colours: Any) -> None:
    save(colours, "lstm")
    apply_head(colours.store, "mine")
    assert colours.store.encoders()[SLUG]["columns"] == ["luma", "variance"]
    assert all(batch.weight() is None for batch in colours.store.segments(SLUG))


def test_lineage_stands_in_the_fingerprint(colours: Any) -> None:
    save(colours)
    apply_head(colours.store, "mine")
    base, made = colours.store.encoders()["toy"], colours.store.encoders()[SLUG]
    assert (made["spec"], made["head"]["base"], made["head"]["base_print"]["spec"]) == ("head:mine", "toy", "toy")
    assert made["weights_sha256"] != base["weights_sha256"]
    assert made["sampling"] == base["sampling"]
    assert "lstm head over windows of 4" in made["pooling"]


def test_a_head_does_not_take_features_of_another_encoder(colours: Any, make_archive: Any) -> None:
    save(colours)
    other = make_archive(name="b.reel", weights_sha256="f" * 64)
    other.add("red.mp4", ["red"] * 4)
    (other.root / "heads").mkdir()
    (colours.root / "heads" / "mine").rename(other.root / "heads" / "mine")
    with pytest.raises(FingerprintMismatch, match="weights_sha256"):
        apply_head(other.store, "mine")
    empty = make_archive(slug="elsewhere", name="c.reel")
    (empty.root / "heads").mkdir()
    (other.root / "heads" / "mine").rename(empty.root / "heads" / "mine")
    with pytest.raises(UsageError, match=r"takes features of toy, which the archive does not have; extract them"):
        apply_head(empty.store, "mine")


def test_a_segment_without_direction_stays_as_it_is_and_spoils_no_other(colours: Any) -> None:
    tuned = save(colours, context=8)
    video = colours.store.video_ids("toy")[0]
    segments = colours.store.segments_of("toy", video)
    for bad in (0.0, np.nan):
        broken = segments.embedding.copy()
        broken[1] = bad
        writer = Writer(colours.store)
        writer.add_segments("toy", segments.__class__(**{**vars(segments), "embedding": broken}))
        writer.commit()
        apply_head(colours.store, "mine")
        got = Vectors(colours.store, SLUG).of(video)
        np.testing.assert_array_equal(got[1], broken[1])
        assert np.isfinite(got[[0, 2, 3]].astype(np.float32)).all()
        np.testing.assert_allclose(np.linalg.norm(got[[0, 2, 3]].astype(np.float32), axis=1), 1, atol=2e-3)
    assert tuned is not None


def test_clip_features_join_by_time(colours: Any) -> None:
    """Clips of 2 s beside frames of 1 s: a frame gets the features of the clip over it, and the table keeps frames' spans."""
    archives = __import__("sys").modules["archives"]
    dim = int(colours.store.encoders()["toy"]["dim"])
    claim_encoder(colours.store, "clips", archives.toy_fingerprint(dim=2, spec="toy", sampling=archives.CLIPS))
    video = colours.store.video_ids("toy")[0]
    writer = Writer(colours.store)
    writer.add_segments("clips", archives.segments_for(video, np.array([[1.0, 0.0], [0.0, 1.0]]), 2.0))
    writer.commit()
    tuned = random_tuned("mean", dim, clip_dim=2)
    save_head(colours.store, "moving", tuned, base="toy", context=4, clips="clips")
    apply_head(colours.store, "moving")
    frames = torch.from_numpy(Vectors(colours.store, "toy").of(video).astype(np.float32))[None]
    clips = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]])
    with torch.no_grad():
        expected = tuned.along(frames, torch.ones(1, 4, dtype=torch.bool), clips)[0]
    np.testing.assert_allclose(Vectors(colours.store, slug_of_head("moving")).of(video), expected, atol=2e-3)


def test_a_video_is_mapped_again_when_its_clips_come_later(colours: Any) -> None:
    archives = __import__("sys").modules["archives"]
    claim_encoder(colours.store, "clips", archives.toy_fingerprint(dim=2, spec="toy", sampling=archives.CLIPS))
    tuned = random_tuned("mean", int(colours.store.encoders()["toy"]["dim"]), clip_dim=2)
    save_head(colours.store, "moving", tuned, base="toy", context=4, clips="clips")
    apply_head(colours.store, "moving")
    video = colours.store.video_ids("toy")[0]
    before = Vectors(colours.store, "head-moving").of(video).copy()
    writer = Writer(colours.store)
    writer.add_segments("clips", archives.segments_for(video, np.array([[1.0, 0.0], [0.0, 1.0]]), 2.0))
    writer.commit()
    assert not_mapped(colours.store, "head-moving") == {video}
    assert apply_head(colours.store, "moving") == 1
    assert np.abs(Vectors(colours.store, "head-moving").of(video) - before).max() > 0.01


def test_queries_go_through_the_head_too(colours: Any) -> None:
    tuned = save(colours)
    apply_head(colours.store, "mine")
    base, encoder = load_stored_encoder(colours.store, "toy"), load_stored_encoder(colours.store, SLUG)
    with torch.no_grad():
        expected = tuned.text(torch.from_numpy(base.encode_text(["red", "a blue car"])))
    np.testing.assert_allclose(encoder.encode_text(["red", "a blue car"]), expected, atol=1e-6)
    picture = np.full((1, 8, 8, 3), (220, 20, 20), np.uint8)
    np.testing.assert_allclose(np.linalg.norm(encoder.encode_frames(picture), axis=1), 1, atol=1e-5)


def test_a_changed_head_is_not_what_made_the_features(colours: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    save(colours)
    apply_head(colours.store, "mine")
    folder = colours.root / "heads" / "mine"
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(UsageError, match="has features that a head 'mine' made"):
        save(colours, kind="mean")
    monkeypatch.setattr(stored, "require_new", stored.folder_of)  # somebody copies another there
    save(colours, kind="mean")
    with pytest.raises(FingerprintMismatch, match="weights_sha256"):
        load_stored_encoder(colours.store, SLUG)
    with pytest.raises(FingerprintMismatch, match="never mix"):
        apply_head(colours.store, "mine")
