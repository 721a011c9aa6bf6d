"""`--like`: footage that moves like an example, found in stored clip features without any model."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel import Archive
from nightreel.extract.errors import IndexMissing, UsageError
from nightreel.index.choose import choose_motion_encoder, sees_clips
from nightreel.search.answer import Question
from nightreel.search.curve import middles
from nightreel.search.moment import Moment
from nightreel.search.search import moments_in, peak_score, pieces

# Three ways to move, by hand: their inner products are 0, and JUMPISH is cos 0.8 from JUMP.
STAND, JUMP, TURN = np.eye(3, 4)
JUMPISH = 0.8 * JUMP + 0.6 * np.eye(4)[3]


class Reel:
    """An archive of several encoders: `reel(slug)` writes for one of them."""

    def __init__(self, root: Path) -> None:
        self._archives = sys.modules["archives"]
        self._made = self._archives.MadeArchive(root / "a.reel")
        self.root, self.store = self._made.root, self._made.store

    def __call__(self, slug: str, spec: str | None = None, clips: bool = True) -> Any:
        changes = {"sampling": self._archives.CLIPS, "has_text": False} if clips else {}
        fingerprint = self._archives.toy_fingerprint(spec=spec or slug, **changes)
        self._archives.claim_encoder(self.store, slug, fingerprint)
        self._made.slug = slug
        return self._made

    def vectors(self, slug: str, name: str, *rows: np.ndarray, **options: Any) -> str:
        """One clip of 8 s per row."""
        return self(slug).add(name, np.stack(rows), 8.0, **options)


@pytest.fixture
def reel(tmp_path: Path) -> Reel:
    return Reel(tmp_path)


@pytest.fixture
def jumps(reel: Reel, monkeypatch: pytest.MonkeyPatch) -> Reel:
    """Colours for `toy`; clips for a VideoMAE whose weights are nowhere: sport.mp4 (stand, jump, stand, jump), cat.mp4
    (turn, jumpish), one.mp4 (jump; its only clip), still.mp4 (stand, stand)."""
    for name, colours in (("sport.mp4", ["red"] * 32), ("cat.mp4", ["blue"] * 16), ("one.mp4", ["green"] * 8)):
        reel("toy", clips=False).add(name, colours)
    reel("videomae-x", "videomae:no/where")
    reel.vectors("videomae-x", "sport.mp4", STAND, JUMP, STAND, JUMP)
    reel.vectors("videomae-x", "cat.mp4", TURN, JUMPISH)
    reel.vectors("videomae-x", "one.mp4", JUMP)
    reel.vectors("videomae-x", "still.mp4", STAND, STAND)

    def refuse(spec: str, device: str) -> None:
        raise AssertionError(f"{spec} is loaded")

    Archive(reel.root).build_indexes()
    monkeypatch.setattr("nightreel.extract.heads.encoder.load_encoder", refuse)
    return reel


def spans(hits: list[Any]) -> list[tuple[str, float, float]]:
    return [(Path(hit.path).name, hit.start_s, hit.end_s) for hit in hits]


def test_footage_that_moves_alike_is_found_without_the_model(jumps: Reel) -> None:
    answer = Archive(jumps.root).ask(Question(like="sport.mp4@8-16", top=3))
    assert answer.encoder == "videomae:no/where"
    assert set(spans(answer.hits[:2])) == {("one.mp4", 0, 8), ("sport.mp4", 24, 32)}
    assert spans(answer.hits[2:]) == [("cat.mp4", 8, 16)]
    assert [hit.score for hit in answer.hits] == pytest.approx([1, 1, 0.8], abs=2e-3)
    assert all(hit.confidence is not None and 0 <= hit.confidence <= 1 for hit in answer.hits)


def test_the_example_itself_is_left_out(jumps: Reel) -> None:
    hits = Archive(jumps.root).search(like="sport.mp4@9-12", top=50)  # all of the clip that it is part of
    own = [hit for hit in hits if hit.path.endswith("sport.mp4")]
    assert own
    assert all(hit.end_s <= 8 or hit.start_s >= 16 for hit in own)
    hits = Archive(jumps.root).search(like="sport.mp4@0-32", top=50)
    assert "sport.mp4" not in {name for name, _, _ in spans(hits)}
    hits = Archive(jumps.root).search(like="sport.mp4@0-32", video="sport.mp4")
    assert hits == []
    hits = Archive(jumps.root, "toy").search(like="sport.mp4@3-5", video="sport.mp4", top=9)
    assert sorted(spans(hits)) == [("sport.mp4", 0, 3), ("sport.mp4", 5, 32)]  # and no moment bridges it


def test_an_example_and_an_expression_together(jumps: Reel) -> None:
    archive = Archive(jumps.root)
    hits = archive.search(like="sport.mp4@8-16", where="duration_s >= 16")
    assert spans(hits[:2]) == [("sport.mp4", 24, 32), ("cat.mp4", 8, 16)]
    assert "one.mp4" not in {name for name, _, _ in spans(hits)}
    assert spans(archive.search(like="sport.mp4@8-16", where="start_s = 8")) == [
        ("cat.mp4", 8, 16),
        ("still.mp4", 8, 16),
    ]
    assert archive.search(like="sport.mp4@8-16", where="video_id = 'x'") == []


def test_with_words_or_without_clips_the_encoder_is_that_of_sentences(jumps: Reel, reel: Reel) -> None:
    archive = Archive(jumps.root)
    assert archive.features(Question("red")).slug == "toy"
    assert archive.features(Question("red", like="sport.mp4@8-16")).slug == "toy"
    assert archive.features(Question(image="x.png")).slug == "toy"
    assert archive.features(Question(like="sport.mp4@8-16", without=["red"])).slug == "toy"
    assert archive.features(Question(like="sport.mp4@8-16")).slug == "videomae-x"
    assert archive.slug == "toy"
    assert Archive(jumps.root, "toy").features(Question(like="sport.mp4@8-16")).slug == "toy"


def test_of_several_clip_encoders_the_only_videomae_is_meant(reel: Reel) -> None:
    reel.vectors("raft-a", "a.mp4", JUMP)
    assert choose_motion_encoder(reel.store) == "raft-a"
    reel.vectors("s3d-a", "a.mp4", JUMP)
    with pytest.raises(UsageError, match=r"several clip encoders; choose one with --encoder: raft-a, s3d-a"):
        choose_motion_encoder(reel.store)
    reel("mae-a", "videomae:a").add("a.mp4", JUMP[None], 8.0)
    assert choose_motion_encoder(reel.store) == "mae-a"
    reel("mae-b", "videomae:b").add("a.mp4", JUMP[None], 8.0)
    with pytest.raises(UsageError, match=r"--encoder: mae-a, mae-b, raft-a, s3d-a"):
        choose_motion_encoder(reel.store)
    assert choose_motion_encoder(reel.store, "raft-a") == "raft-a"
    with pytest.raises(UsageError, match="no features of encoder 'clip'"):
        choose_motion_encoder(reel.store, "clip")
    assert [slug for slug, print_ in reel.store.encoders().items() if not sees_clips(print_)] == ["toy"]


def test_clips_alone_know_no_sentences_and_no_model_is_looked_for(reel: Reel, monkeypatch: pytest.MonkeyPatch) -> None:
    reel("videomae-x", "videomae:no/where").add("a.mp4", JUMP[None], 8.0)
    archive = Archive(reel.root)
    archive.build_indexes()
    for question in (Question("a jump"), Question(like="a.mp4@0-8", without=["a jump"])):
        with pytest.raises(UsageError, match="sees clips, not sentences") as caught:
            archive.ask(question)
        assert "--like" in str(caught.value)


def test_a_missing_index_says_how_to_build_that_one(jumps: Reel) -> None:
    import shutil

    shutil.rmtree(jumps.root / "index" / "videomae-x")
    with pytest.raises(IndexMissing, match=r"nightreel index \S+ --encoder videomae-x"):
        Archive(jumps.root).search(like="sport.mp4@8-16")


def test_all_encoders_are_indexed_or_the_one_named(jumps: Reel) -> None:
    assert [built["name"] for built in Archive(jumps.root).build_indexes()] == ["toy", "videomae-x"]
    assert [built["name"] for built in Archive(jumps.root, "videomae-x").build_indexes()] == ["videomae-x"]
    assert Archive(jumps.root).build_index()["name"] == "toy"


# --- short videos and clips that overlap ----------------------------------------------------------------------


def test_videos_of_one_and_two_clips_give_moments_that_are_their_clips(jumps: Reel) -> None:
    hits = Archive(jumps.root).search(like="sport.mp4@8-16", by="video", top=9)
    assert ("one.mp4", 0, 8) in spans(hits)
    assert ("cat.mp4", 8, 16) in spans(hits)
    (still,) = [hit for hit in hits if hit.path.endswith("still.mp4")]
    assert (still.start_s, still.end_s) == (0, 16)  # nothing stands out, so it is all of it
    assert still.score == min(hit.score for hit in hits) < 0.1  # 0 but for its length
    (moment,) = Archive(jumps.root).search(like="sport.mp4@8-16", video="still.mp4")
    assert moment.score == pytest.approx(0, abs=1e-3)
    assert np.isfinite([hit.score for hit in hits]).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_a_clip_that_laps_over_its_neighbours_is_scored_by_itself(reel: Reel, count: int) -> None:
    """Clips of 8 s every 4 s: the jump at place n has its own share of the time, up to the middle of what it laps over."""
    for place in range(count):
        rows = [JUMP if n == place else STAND for n in range(count)]
        video = reel("mae", "videomae:x").add(f"{place}.mp4", np.stack(rows), 4.0, length_s=8.0)
        segments = reel.store.segments_of("mae", video)
        rows32 = segments.embedding.astype(np.float32)
        found = moments_in(rows32, segments.start_s, segments.end_s, JUMP.astype(np.float32), 9)
        (moment, score), *others = found
        assert score == pytest.approx(1, abs=1e-3)
        assert all(score >= other for _, other in others)
        middle = (segments.start_s[place] + segments.end_s[place]) / 2
        assert moment.start_s <= middle <= moment.end_s
        assert moment.end_s - moment.start_s <= 8


def test_the_score_of_a_moment_is_that_of_the_clips_whose_share_is_in_it(reel: Reel) -> None:
    video = reel("mae", "videomae:x").add("a.mp4", np.stack([STAND, JUMP]), 4.0, length_s=8.0)  # [0, 8) [4, 8)
    segments = reel.store.segments_of("mae", video)
    scores = np.array([0, 1], np.float32)
    assert peak_score(scores, middles(segments.start_s, segments.end_s), Moment(6, 8, 1)) == 1
    assert peak_score(scores, middles(segments.start_s, segments.end_s), Moment(0, 6, 1)) == 0
    assert peak_score(scores, middles(segments.start_s, segments.end_s), Moment(0, 8, 1)) == 0.5


def test_pieces_of_a_moment_are_what_segments_cover(reel: Reel) -> None:
    video = reel("mae", "videomae:x").add("a.mp4", np.stack([STAND] * 6), 4.0, length_s=8.0)
    segments = reel.store.segments_of("mae", video)[np.array([0, 1, 4, 5])]  # [0, 8) [4, 12) [16, 24) [20, 24)
    spans_s = segments.start_s, segments.end_s
    assert pieces(Moment(2, 22, 5), *spans_s) == [Moment(2, 12, 5), Moment(16, 22, 5)]
    assert pieces(Moment(0, 12, 5), *spans_s) == [Moment(0, 12, 5)]
    assert pieces(Moment(12, 18, 5), *spans_s) == [Moment(16, 18, 5)]
