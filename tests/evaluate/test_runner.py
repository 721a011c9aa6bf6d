"""What stands between metrics and archives: scores as `search` has them, predictions, stored labels."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from archives import MadeArchive, MakeArchive
from nightreel.evaluate.records import Dataset, Labelled, Query
from nightreel.evaluate.runners.classification import evaluate_scores, evaluate_store
from nightreel.evaluate.runners.grounding import evaluate_archive
from nightreel.evaluate.runners.options import described, from_files, load_array, load_positives
from nightreel.evaluate.runners.predictions import Truth, evaluate_predictions, truth_of, write_predictions
from nightreel.evaluate.runners.retrieval import evaluate_similarity, similarity
from nightreel.evaluate.runners.videos import embed_captions
from nightreel.extract.errors import Refused, UsageError
from nightreel.search.archive import Archive
from nightreel.search.search import search

# --- scores -----------------------------------------------------------------------------------------------


def test_scores_are_those_that_search_ranks_videos_by(make_archive: MakeArchive) -> None:
    rng, archive = np.random.default_rng(0), make_archive()
    ids = [archive.add(f"{i}.mp4", rng.normal(size=(int(rng.integers(3, 40)), 4))) for i in range(30)]
    opened = Archive(archive.root)
    opened.build_index()
    queries = embed_captions(opened.features(), ["red", "a green thing and a blue thing", "white"])
    scores, lowered = similarity(opened.index, ids, queries)
    assert scores.shape == (3, 30)
    for query, row in zip(queries, scores - lowered, strict=True):
        found = search(opened.store, opened.index, query, top=30, by="video")
        np.testing.assert_allclose([row[ids.index(f.video_id)] for f in found], [f.score for f in found], atol=1e-5)


def test_blocks_of_queries_change_nothing(colours: MadeArchive, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Archive(colours.root)
    opened.build_index()
    ids = colours.store.video_ids("toy")
    queries = embed_captions(opened.features(), ["red", "blue", "green", "white", "black"])
    whole, _ = similarity(opened.index, ids, queries)
    monkeypatch.setattr("nightreel.evaluate.runners.retrieval.BLOCK", 12)
    np.testing.assert_allclose(similarity(opened.index, ids, queries)[0], whole, atol=1e-6)


def test_a_weight_at_the_end_of_a_caption_is_part_of_it(colours: MadeArchive) -> None:
    opened = Archive(colours.root)
    plain, weighed = embed_captions(opened.features(), ["red blue", "red blue^2"])
    np.testing.assert_allclose(
        plain, weighed
    )  # `search` would refuse ^0 and take ^2 for a weight; the toy sees two words
    assert embed_captions(opened.features(), ["x^0"]).shape == (1, 4)


def test_intervals_draw_the_captions_of_a_video_together() -> None:
    # 4 videos with 25 captions each: all found or none. As many independent sentences would be sure to 8 %, 4 are not.
    positives = np.repeat(np.arange(4), 25)
    scores = np.zeros((100, 4))
    scores[np.arange(100), positives] = np.repeat([1, 1, -1, -1], 25)
    got = evaluate_similarity(scores, positives)
    assert got["text_to_video"]["R@1"] == 50.0
    low, high = got["intervals"]["text_to_video"]["R@1"]
    assert (low, high) == (0.0, 100.0)
    assert got["intervals"]["text_to_video"]["MdR"] == (1.0, 4.0)
    assert "dual_softmax" not in got


def test_dual_softmax_stands_under_its_own_name_and_changes_nothing_else() -> None:
    scores = np.random.default_rng(0).normal(size=(8, 8))
    raw, both = evaluate_similarity(scores), evaluate_similarity(scores, dual=True)
    assert set(both) - set(raw) == {"dual_softmax"}
    assert {key: both[key] for key in raw} == raw
    assert set(both["dual_softmax"]) == {"text_to_video", "video_to_text"}


# --- moments ----------------------------------------------------------------------------------------------


def query(number: int, video: str, *spans: tuple[float, float]) -> Query:
    return Query(f"{video}#{number}", "red", video, spans)


def prediction(qid: str, *windows: list[float]) -> dict[str, Any]:
    return {"qid": qid, "pred_relevant_windows": list(windows)}


def test_predictions_of_any_benchmark_are_ranked_by_their_score() -> None:
    truth = Truth(Dataset("charades", (query(0, "a", (0, 10)), query(1, "b", (5, 10)))))
    predictions = [prediction("b#1", [50, 60, 0.1], [5, 10, 0.9]), prediction("a#0", [90, 99], [0, 10])]
    got = evaluate_predictions(predictions, truth)
    assert got["metrics"]["R1@0.7"] == 50.0
    assert got["metrics"]["R5@0.7"] == 100.0
    assert got["intervals"]["R1@0.7"] == (0.0, 100.0)
    assert (got["queries"], got["videos"]) == (2, 2)
    tacos = Truth(Dataset("tacos", (query(0, "a", (0, 10)),)))
    assert "R1@0.1" in evaluate_predictions([prediction("a#0", [0, 10])], tacos)["metrics"]


def test_predictions_must_answer_every_query_once() -> None:
    truth = Truth(Dataset("charades", (query(0, "a", (0, 10)), query(1, "b", (5, 10)))))
    with pytest.raises(UsageError, match="1 of 2 queries without a prediction: qid b#1; the predictions have a#0"):
        evaluate_predictions([prediction("a#0", [0, 10])], truth)
    with pytest.raises(UsageError, match="qid a#0 has no 'pred_relevant_windows'; an empty list says"):
        evaluate_predictions([{"qid": "a#0"}, prediction("b#1", [0, 1])], truth)
    with pytest.raises(UsageError, match="record 0 has no 'qid'"):
        evaluate_predictions([{}], truth)


def test_predictions_of_other_queries_are_counted_and_change_nothing() -> None:
    """The file of a whole split is fine where the reader left sentences out, or some videos only are asked about."""
    truth = Truth(Dataset("charades", (query(0, "a", (0, 10)),)))
    own = evaluate_predictions([prediction("a#0", [0, 10])], truth)
    more = evaluate_predictions([prediction("a#1", [0, 1]), prediction("a#0", [0, 10])], truth)
    assert (own["unused_predictions"], more["unused_predictions"]) == (0, 1)
    assert {**more, "unused_predictions": 0} == own


def test_queries_without_spans_cannot_be_scored(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="1 of 1 queries have no span"):
        truth_of(Dataset("qvhighlights", (query(0, "a"),)), tmp_path / "test.jsonl")


def test_an_archive_grounds_each_sentence_in_its_own_video(colours: MadeArchive, tmp_path: Path) -> None:
    colours.add("long.mp4", ["blue"] * 20 + ["red"] * 10 + ["blue"] * 20)
    truth = Truth(Dataset("charades", (query(0, "mixed", (2, 4)), query(0, "long", (20, 30)))))
    got, predictions = evaluate_archive(Archive(colours.root), truth)
    assert got["metrics"]["R1@0.7"] == 100.0
    assert got["metrics"]["mIoU"] == pytest.approx(100.0)
    assert (got["missing_videos"], got["videos"]) == (0, 2)
    assert [one["qid"] for one in predictions] == ["mixed#0", "long#0"]
    assert len(predictions[1]["pred_saliency_scores"]) == 25
    assert np.argmax(predictions[1]["pred_saliency_scores"]) == 10
    write_predictions(tmp_path / "p.jsonl", predictions)
    again = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert evaluate_predictions(again, truth)["metrics"] == got["metrics"]


def test_spans_end_where_their_video_ends_if_nothing_says_how_long_it_is(colours: MadeArchive) -> None:
    told = Query("red#1", "red", "red", ((0.0, 5.0),), duration_s=5.0)
    late = Query("red#2", "red", "red", ((8.0, 9.0),))
    truth = Truth(Dataset("didemo", (query(0, "red", (0, 5)), told, late)))  # the video has 4 s
    got, _ = evaluate_archive(Archive(colours.root), truth)
    assert got["spans_cut"] == 1
    assert got["metrics"]["mIoU"] == pytest.approx(100 * (1 + 0.8 + 0) / 3)
    of_whole = evaluate_predictions([prediction(f"red#{i}", [0, 4]) for i in range(3)], truth)
    assert of_whole["metrics"]["mIoU"] == pytest.approx(100 * (0.8 + 0.8 + 0) / 3)


# --- classes ----------------------------------------------------------------------------------------------


def labelled_archive(make_archive: MakeArchive, labels: int = 5) -> MadeArchive:
    archive = make_archive(labels=labels)
    sure, unsure = (("Air Drumming", 0.9), ("yoga", 0.1)), (("yoga", 0.6), ("air drumming", 0.4))
    archive.add("drums.mp4", ["red"] * 3, labels=[sure, unsure, unsure])  # 0.57 to 0.43: the mean, not the vote
    archive.add("mat.mp4", ["red"] * 2, labels=[unsure, unsure])
    archive.add("other.mp4", ["red"], labels=[(("yoga", 1.0),)])
    return archive


def test_stored_labels_are_averaged_over_the_clips_of_a_video(make_archive: MakeArchive) -> None:
    archive = labelled_archive(make_archive)
    right = (Labelled("drums", "air_drumming"), Labelled("mat", "yoga"), Labelled("other", "abseiling"))
    got = evaluate_store(archive.store, Dataset("kinetics", labelled=right))
    assert got["metrics"] == {"top-1": pytest.approx(200 / 3), "mean-class": pytest.approx(200 / 3)}
    assert got["classes"] == [
        {"label": "abseiling", "videos": 1, "top-1": 0.0},  # never named, so never right
        {"label": "air drumming", "videos": 1, "top-1": 100.0},
        {"label": "yoga", "videos": 1, "top-1": 100.0},
    ]
    assert (got["clips"], got["labels_per_clip"], got["videos"]) == (6, 5, 3)


def test_top_5_needs_five_stored_labels(make_archive: MakeArchive) -> None:
    right = (Labelled("drums", "air drumming"), Labelled("mat", "yoga"))
    classes = ("air drumming", "yoga", "c", "d", "e", "f")
    of = Dataset("kinetics", labelled=right, classes=classes)
    few = labelled_archive(make_archive, 2)
    assert set(evaluate_store(few.store, of)["metrics"]) == {"top-1", "mean-class"}


def test_no_stored_labels_or_other_classes_are_refused(make_archive: MakeArchive, colours: MadeArchive) -> None:
    of = Dataset("kinetics", labelled=(Labelled("red", "yoga"),))
    with pytest.raises(Refused, match=r"no stored labels of toy\.\n.*--labels 5"):
        evaluate_store(colours.store, of)
    archive = make_archive(name="b.reel", labels=5)
    archive.add("red.mp4", ["red"], labels=[(("yoga", 1.0),)])
    with pytest.raises(Refused, match=r"named none of the benchmark's 1 classes \(7, ...\), only yoga.*\n.*--classes"):
        evaluate_store(archive.store, Dataset("list", labelled=(Labelled("red", "7"),)))


def test_views_of_a_video_are_averaged_and_must_agree() -> None:
    scores = [[0.6, 0.4], [0.1, 0.9], [0.8, 0.2]]
    got = evaluate_scores(scores, [1, 1, 0], owner=["x", "x", "y"])
    assert got["metrics"] == {"top-1": 100.0, "mean-class": 100.0}
    assert got["videos"] == 2
    with pytest.raises(UsageError, match="rows of the video x have different labels"):
        evaluate_scores(scores, [1, 0, 0], owner=["x", "x", "y"])


# --- files and options ------------------------------------------------------------------------------------


def test_one_of_two_ways_must_be_whole() -> None:
    ours: dict[str, Any] = {"--archive": None, "--dataset": None}
    assert from_files({"--similarity": 1}, ours, {}) is True
    assert from_files({"--similarity": None}, {"--archive": 1, "--dataset": 2}, {"--split": 3}) is False
    with pytest.raises(
        UsageError, match="got neither an archive nor files; expected either --archive --dataset\nor --sim"
    ):
        from_files({"--similarity": None}, ours, {})
    with pytest.raises(UsageError, match="got --similarity and --archive; expected either"):
        from_files({"--similarity": 1}, {**ours, "--archive": 1}, {})
    with pytest.raises(UsageError, match="--dataset not given"):
        from_files({"--similarity": None}, {**ours, "--archive": 1}, {})
    with pytest.raises(UsageError, match="--split go with --archive only"):
        from_files({"--similarity": 1}, ours, {"--split": "test", "--allow-missing": False})


def test_arrays_are_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", np.eye(2))
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "several.npz", a=np.eye(2))
    (tmp_path / "text.npy").write_text("hello")
    assert load_array(tmp_path / "good.npy").shape == (2, 2)
    for name, said in (
        ("objects.npy", "not a numpy array"),
        ("text.npy", "not a numpy array"),
        ("several.npz", "several"),
    ):
        with pytest.raises(UsageError, match=said):
            load_array(tmp_path / name)
    with pytest.raises(UsageError, match="no such file"):
        load_array(tmp_path / "none.npy")


def test_positives_from_json(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text("[[0], [1, 2]]")
    assert load_positives(path) == [[0], [1, 2]]
    path.write_text('{"0": 1}')
    with pytest.raises(UsageError, match="a JSON dict; expected a list"):
        load_positives(path)
    path.write_text("[1,")
    with pytest.raises(UsageError, match="is not JSON"):
        load_positives(path)
    np.save(tmp_path / "p.npy", np.array([1, 0]))
    assert np.asarray(load_positives(tmp_path / "p.npy")).tolist() == [1, 0]


def test_results_are_plain_and_rounded() -> None:
    got = described("retrieval", {"R@1": 100 / 3, "low": (1 / 3, 2)}, on=Path("s.npy"))
    assert json.loads(json.dumps(got)) == got
    assert (got["R@1"], got["low"], got["on"], got["dataset"]) == (33.3333, [0.3333, 2], "s.npy", None)
