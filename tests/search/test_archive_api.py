"""`Archive`: what Python users call, on archives whose answers are known."""

from typing import Any

import pytest
from nightreel import Archive
from nightreel.extract.encoders.toy import ToyEncoder
from nightreel.extract.errors import FingerprintMismatch, IndexMissing, UsageError
from nightreel.extract.videos import VideoRow
from nightreel.extract.writer import Writer
from PIL import Image


@pytest.fixture
def archive(colours: Any) -> Archive:
    archive = Archive(colours.root)
    archive.build_index()
    return archive


def names(hits: list[Any]) -> list[str]:
    return [hit.path.rpartition("/")[2] for hit in hits]


def test_search_gives_typed_hits_in_order(archive: Archive) -> None:
    hits = archive.search("something red", by="video")
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert set(names(hits[:2])) == {"red.mp4", "mixed.mp4"}
    assert hits[0].score == pytest.approx(1, abs=1e-3)
    assert hits[2].score == pytest.approx(0.2, abs=1e-3)
    confidences = [hit.confidence for hit in hits if hit.confidence is not None]
    assert confidences == sorted(confidences, reverse=True)
    assert archive.store.find_video(hits[0].video_id).path == hits[0].path


def test_search_by_a_picture(archive: Archive, tmp_path: Any) -> None:
    Image.new("RGB", (8, 8), (0, 255, 0)).save(tmp_path / "green.png")
    assert names(archive.search(image=tmp_path / "green.png", by="video"))[0] == "green.mp4"


def test_search_by_footage_takes_only_that_span(archive: Archive) -> None:
    assert names(archive.search(like="mixed.mp4@2-4", video="mixed", top=1)) == ["mixed.mp4"]
    (hit,) = archive.search(like="red.mp4@0-2", video="mixed", by="video")
    assert (hit.start_s, hit.end_s) == (2.0, 4.0)
    hit, *_ = archive.search(like="mixed.mp4@0:00-0:02", video="mixed")
    assert hit.score == pytest.approx(1, abs=1e-3)
    assert (hit.start_s, hit.end_s) != (2.0, 4.0)


def test_without_lowers(archive: Archive) -> None:
    def score(name: str, **options: Any) -> float:
        return next(h.score for h in archive.search("red or green", by="video", **options) if name in h.path)

    assert score("green.mp4", without=["green"]) < score("green.mp4")
    assert names(archive.search("red or green", without=["green"], by="video"))[-1] == "green.mp4"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing to search for"),
        ({"text": " "}, "sentence is empty"),
        ({"text": "red", "by": "frame"}, "by = 'frame'"),
        ({"text": "red", "top": 0}, "top = 0"),
        ({"text": "red", "video": "nobody"}, "no video 'nobody'"),
        ({"like": "red.mp4"}, "expected VIDEO@START-END"),
        ({"like": "nobody.mp4@1-2"}, "no video 'nobody.mp4'"),
        ({"like": "red.mp4@4-9"}, r"has no footage there; it ends at 4.0 s"),
        ({"image": "missing.png"}, "no such picture"),
    ],
)
def test_wrong_questions(archive: Archive, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        archive.search(**options)


def test_search_without_an_index_says_how_to_build_it(colours: Any) -> None:
    with pytest.raises(IndexMissing, match="nightreel index"):
        Archive(colours.root).search("red")


def test_ground_needs_no_index_and_agrees_with_one(colours: Any) -> None:
    before = Archive(colours.root).ground("mixed.mp4", "red")
    assert not (colours.root / "index").exists()
    Archive(colours.root).build_index()
    after = Archive(colours.root).ground("mixed.mp4", "red")
    assert before == after
    assert (before.moments[0].start_s, before.moments[0].end_s) == (2.0, 4.0)
    assert before.path == "/films/mixed.mp4"


def test_ground_says_when_nothing_matches(colours: Any) -> None:
    for n in range(30):
        colours.add(f"{n}.mp4", ["red", "orange", "white", "black"])
    archive = Archive(colours.root)
    assert archive.ground("green.mp4", "red").no_match
    assert not archive.ground("green.mp4", "green").no_match


def test_ground_of_a_failed_video_says_why_and_how_to_try_again(colours: Any) -> None:
    out = Writer(colours.store)
    out.add(VideoRow("00", "/films/bad.mp4", "failed", error_kind="encrypted", error="locked"), {})
    out.commit()
    with pytest.raises(UsageError, match=r"ended failed \(encrypted: locked\)") as caught:
        Archive(colours.root).ground("bad.mp4", "red")
    assert "--retry-failed" in str(caught.value)


def test_several_encoders_with_text_ask_to_choose(colours: Any, make_archive: Any) -> None:
    make_archive("second").add("red.mp4", ["red"])
    with pytest.raises(UsageError, match="choose one with --encoder: second, toy"):
        Archive(colours.root).search("red")
    assert Archive(colours.root, "second").slug == "second"
    assert Archive(colours.root, "toy").slug == "toy"


@pytest.mark.parametrize("encoder", ["conse", "clip"])
def test_an_encoder_that_the_archive_has_not(colours: Any, encoder: str) -> None:
    with pytest.raises(UsageError, match="it has: toy"):
        Archive(colours.root, encoder)


def test_a_query_encoder_with_other_weights_is_refused(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    class Changed(ToyEncoder):
        def fingerprint(self) -> dict[str, Any]:
            return {**super().fingerprint(), "weights_sha256": "ff"}

    monkeypatch.setattr("nightreel.extract.heads.encoder.load_encoder", lambda spec, device: Changed())
    for ask in (lambda a: a.search("red"), lambda a: a.ground("red.mp4", "red")):
        with pytest.raises(FingerprintMismatch, match='weights_sha256: archive has null, this run has "ff"') as caught:
            ask(Archive(archive.store.root))
        assert "Bring the weights back" in str(caught.value)


def test_rebuilding_replaces_the_open_index(archive: Archive, colours: Any) -> None:
    assert archive.index.size == 15
    colours.add("new.mp4", ["yellow"] * 3)
    assert archive.build_index()["added"] == 3
    assert archive.index.size == 18
    assert names(archive.search("yellow", by="video"))[0] == "new.mp4"


def test_the_model_is_loaded_once(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load(spec: str, device: str) -> ToyEncoder:
        loads.append(spec)
        return ToyEncoder()

    monkeypatch.setattr("nightreel.extract.heads.encoder.load_encoder", load)
    opened = Archive(archive.store.root)
    opened.build_index()  # embeds the probe sentences, or has those of before
    for text in ("red", "green", "blue"):
        opened.search(text)
    assert loads == ["toy"]


def test_parts_that_cancel_out_are_refused(colours: Any) -> None:
    opened = Archive(colours.root)
    opened.build_index()
    with pytest.raises(UsageError, match="cancel out"):
        opened.search("red", without=["red", "red"])


def test_ground_sees_what_others_have_committed_since(colours: Any) -> None:
    opened = Archive(colours.root)
    colours.add("later.mp4", ["blue", "blue", "red", "red", "blue", "blue"])
    assert opened.ground("later.mp4", "red").moments[0].start_s == 2.0
