"""QVHighlights' protocol: its own sample, every number; small cases by hand; a plain reference for highlight AP."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.evaluate.highlights import clip_precision, qvhighlights_metrics
from nightreel.extract.errors import UsageError


def jsonl(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def leaves(tree: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], float]:
    out = {}
    for key, value in tree.items():
        out |= leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return out


def test_every_number_of_the_benchmarks_own_evaluator(shared_data: Path) -> None:
    folder = shared_data / "qvh"
    predictions, truths = jsonl(folder / "sample_predictions.jsonl"), jsonl(folder / "queries.jsonl")
    want = leaves(json.loads((folder / "sample_metrics.json").read_text()))
    began = time.process_time()
    got = leaves(qvhighlights_metrics(predictions, truths))
    took_s = time.process_time() - began
    assert list(got) == list(want)
    assert len(want) == 104
    for key, value in want.items():
        assert got[key] == pytest.approx(value, abs=0.0101), key
    assert took_s < 3


def query(qid: int, windows: list[list[float]], **more: Any) -> dict[str, Any]:
    return {"qid": qid, "duration": 150, "relevant_windows": windows, **more}


def found(qid: int, *windows: list[float], **more: Any) -> dict[str, Any]:
    return {"qid": qid, "pred_relevant_windows": list(windows), **more}


def test_lengths_choose_true_windows_not_predictions() -> None:
    truths = [query(1, [[0, 8], [50, 100]]), query(2, [[20, 40]])]  # short and long; middle
    predictions = [found(1, [50, 100, 0.9], [0, 8, 0.5]), found(2, [20, 40, 0.1])]
    got = qvhighlights_metrics(predictions, truths)
    assert got["full"]["MR-mAP"]["average"] == 100.0
    assert got["long"]["MR-R1"]["0.95"] == 100.0
    assert got["middle"]["MR-mAP"]["average"] == 100.0
    assert got["short"]["MR-R1"]["0.5"] == 0.0  # the first prediction is of the long window
    assert got["short"]["MR-mAP"]["0.5"] == 50.0  # and stays before the right one
    assert list(got["brief"]) == [
        "MR-full-R1@0.5",
        "MR-full-R1@0.7",
        "MR-full-mAP",
        "MR-full-mAP@0.5",
        "MR-full-mAP@0.75",
        "MR-long-mAP",
        "MR-middle-mAP",
        "MR-short-mAP",
    ]


def test_borders_of_the_ranges() -> None:
    got = qvhighlights_metrics([found(1, [0, 10, 1])], [query(1, [[0, 10], [20, 50]])])
    assert set(got) == {"brief", "full", "middle", "short"}  # 10 s is short, 30 s is middle


def test_r1_takes_the_first_listed_and_ap_the_best_scored() -> None:
    got = qvhighlights_metrics([found(1, [100, 110, 0.1], [0, 20, 0.9])], [query(1, [[0, 20]])])
    assert got["full"]["MR-R1"]["0.5"] == 0.0
    assert got["full"]["MR-mAP"]["0.5"] == 100.0
    unscored = qvhighlights_metrics([found(1, [100, 110], [0, 20])], [query(1, [[0, 20]])])
    assert unscored["full"]["MR-mAP"]["0.5"] == 50.0


def test_nothing_found_counts_as_missed() -> None:
    got = qvhighlights_metrics([found(1), found(2, [0, 20, 1])], [query(1, [[0, 20]]), query(2, [[0, 20]])])
    assert got["full"]["MR-mAP"]["average"] == got["full"]["MR-R1"]["0.5"] == 50.0


def test_highlights_by_hand() -> None:
    # 3 clips in 7 s; annotators agree on the first clip at 2, two at 3, one at 4.
    truth = query(1, [[0, 4]], duration=7, relevant_clip_ids=[0, 1], saliency_scores=[[2, 3, 4], [1, 1, 1]])
    best_first = {"qid": 1, "pred_saliency_scores": [0.9, 0.5, 0.1, 5.0][:3]}
    got = qvhighlights_metrics([best_first], [truth])
    assert got["HL-min-Fair"] == {"HL-mAP": 100.0, "HL-Hit1": 100.0}
    assert got["HL-min-Good"] == {"HL-mAP": 66.67, "HL-Hit1": 100.0}
    assert got["HL-min-VeryGood"] == {"HL-mAP": 33.33, "HL-Hit1": 100.0}
    assert got["brief"]["HL-min-VeryGood-mAP"] == 33.33
    assert "full" not in got
    beyond = {"qid": 1, "pred_saliency_scores": [0.9, 0.5, 0.1, 5.0]}
    assert qvhighlights_metrics([beyond], [truth])["HL-min-Fair"] == {"HL-mAP": 100.0, "HL-Hit1": 0.0}
    # The right clip second of three distinct scores: precision 1/2; a missing last clip counts as 0, above -1.
    second = {"qid": 1, "pred_saliency_scores": [-1.0, 0.5]}
    assert qvhighlights_metrics([second], [truth])["HL-min-Fair"]["HL-mAP"] == 33.33


def plain_clip_precision(scores: list[float], positive: list[bool]) -> float:
    """Precision at each threshold at which a positive enters, the best at that recall or a higher one, plain mean."""
    points = []
    for threshold in sorted(set(scores), reverse=True):
        chosen = [p for s, p in zip(scores, positive, strict=True) if s >= threshold]
        points.append((sum(chosen), sum(chosen) / len(chosen)))
    precisions, before = [], 0
    for count, _ in points:
        if count > before:
            precisions.append(max(p for c, p in points if c >= count))
        before = count
    return sum(precisions) / len(precisions) if precisions else 0.0


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.booleans()), min_size=1, max_size=12))
@settings(max_examples=150, deadline=None)
def test_clip_precision_equals_the_plain_one(clips: list[tuple[int, bool, bool]]) -> None:
    scores = [float(s) for s, _, _ in clips]
    labels = [[a, b] for _, a, b in clips]
    want = [plain_clip_precision(scores, [row[k] for row in labels]) for k in range(2)]
    np.testing.assert_allclose(clip_precision(scores, labels), want)


def test_bad_input_is_explained() -> None:
    truths = [query(1, [[0, 8]]), query(2, [[0, 8]])]
    with pytest.raises(UsageError, match=r"1 of 2 queries without a prediction: qid 2; the predictions have 1\."):
        qvhighlights_metrics([found(1, [0, 8, 1])], truths)
    with pytest.raises(UsageError, match=r"1 predictions of queries without a ground truth: qid 3; leave"):
        qvhighlights_metrics([found(i, [0, 8, 1]) for i in (1, 2, 3)], truths)
    with pytest.raises(UsageError, match="qid 1 appears twice"):
        qvhighlights_metrics([found(1, [0, 8, 1])] * 2, truths)
    with pytest.raises(UsageError, match="no 'qid', only 'vid'"):
        qvhighlights_metrics([{"vid": 1}], truths)
    with pytest.raises(UsageError, match="predictions: no records"):
        qvhighlights_metrics([], truths)
    with pytest.raises(UsageError, match="1 of 2 records have 'pred_relevant_windows', qid 2 has not"):
        qvhighlights_metrics([found(1, [0, 8, 1]), {"qid": 2}], truths)
    with pytest.raises(UsageError, match="neither pred_relevant_windows"):
        qvhighlights_metrics([{"qid": 1}, {"qid": 2}], truths)
    both = [found(1, [0, 8, 1]), found(2, [0, 8, 1])]
    with pytest.raises(UsageError, match="qid 2 has no 'relevant_windows'"):
        qvhighlights_metrics(both, [truths[0], {"qid": 2}])
    with pytest.raises(UsageError, match="qid 2 has no relevant_windows; leave it out"):
        qvhighlights_metrics(both, [truths[0], query(2, [])])
    with pytest.raises(UsageError, match=r"qid 1: pred_relevant_windows must be lists of start_s, end_s"):
        qvhighlights_metrics([found(1, [0]), both[1]], truths)
    with pytest.raises(UsageError, match=r"qid 1: pred_relevant_windows .* finite; got"):
        qvhighlights_metrics([found(1, [0, float("nan"), 1]), both[1]], truths)
    clips = {"pred_saliency_scores": [1.0]}
    broken = query(1, [[0, 8]], relevant_clip_ids=[75], saliency_scores=[[1, 1, 1]])
    with pytest.raises(
        UsageError, match=r"qid 1 has relevant_clip_ids \(1,\), saliency_scores \(1, 3\) and duration 150"
    ):
        qvhighlights_metrics([{"qid": 1, **clips}], [broken])


@pytest.mark.parametrize(
    "windows", [None, 5, "0 5", {"0": 5}, [0, 5], [["a", 5]], [[0, 5, 1, 2]], [[0, 5], [0, 5, 1]], [[]]]
)
def test_windows_that_are_none(windows: object) -> None:
    with pytest.raises(UsageError, match=r"qid 1: pred_relevant_windows must be lists of start_s, end_s.* got "):
        qvhighlights_metrics([{"qid": 1, "pred_relevant_windows": windows}], [query(1, [[0, 8]])])


@pytest.mark.parametrize("scores", [None, [], ["x"], 5, [[1.0]], [float("inf")]])
def test_saliency_that_is_none(scores: object) -> None:
    truth = query(1, [[0, 8]], relevant_clip_ids=[0], saliency_scores=[[1, 1, 1]])
    with pytest.raises(
        UsageError, match="predictions: qid 1 has pred_saliency_scores that are no list of finite numbers"
    ):
        qvhighlights_metrics([{"qid": 1, "pred_saliency_scores": scores}], [truth])


@pytest.mark.parametrize(
    "broken",
    [{"relevant_clip_ids": [-1]}, {"duration": "long"}, {"saliency_scores": [[1, None, 1]]}, {"saliency_scores": "x"}],
)
def test_true_saliency_that_is_none(broken: dict[str, object]) -> None:
    truth = query(1, [[0, 8]], relevant_clip_ids=[0], saliency_scores=[[1, 1, 1]]) | broken
    with pytest.raises(UsageError, match="ground truth: qid 1 has relevant_clip_ids"):
        qvhighlights_metrics([{"qid": 1, "pred_saliency_scores": [1.0]}], [truth])


def test_a_qid_is_the_same_as_a_number_and_as_text() -> None:
    truths = [query(1, [[0, 8]]), query(2, [[0, 8]])]
    as_text = [{**found(qid, [0, 8, 1]), "qid": str(qid)} for qid in (2, 1)]
    assert qvhighlights_metrics(as_text, truths) == qvhighlights_metrics(
        [found(1, [0, 8, 1]), found(2, [0, 8, 1])], truths
    )
    with pytest.raises(UsageError, match="qid 1 appears twice"):
        qvhighlights_metrics([found(1, [0, 8, 1]), {**found(1, [0, 8, 1]), "qid": "1"}], truths)
