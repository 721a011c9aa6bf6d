"""The comparison of grounding methods: nothing is tuned on what it is scored on, and other features are what they say."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bench import benchmark

families = benchmark("rivals._families")
comparison = benchmark("ground_rivals")


def questions(number: int, seconds: int = 60) -> list[Any]:
    """Random features of unit norm, one per 2 s, two questions to a source; the truth is 10-20 s."""
    rng, out = np.random.default_rng(0), []
    for i in range(number):
        features = families.unit(rng.standard_normal((seconds // 2, 96)) + 1)
        query, start = families.unit(rng.standard_normal(96)), np.arange(0, seconds, 2.0)
        scores = (features @ query).astype(float)
        out.append(families.Question(f"s{i // 2}", scores, start, start + 2, features, query, np.array([[10.0, 20.0]])))
    return out


def test_each_fold_is_scored_with_what_did_best_on_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A method with two settings, each right on one fold only: chosen fairly, it is always wrong."""
    asked = questions(8)
    asked[4:] = [replace(one, truth=np.array([[30.0, 40.0]])) for one in asked[4:]]

    def at(scores: Any, start_s: Any, end_s: Any, features: Any, query: Any, *, first_s: float) -> np.ndarray:
        return np.array([[first_s, first_s + 10, 1.0]])

    monkeypatch.setitem(comparison.METHODS, "at", SimpleNamespace(propose=at, GRID=[], PUBLISHED={}))
    grid, folds = [{"first_s": 10.0}, {"first_s": 30.0}], (list(range(4)), list(range(4, 8)))
    figures, took, chosen = comparison.tuned("at", grid, asked, folds)
    assert not figures.any()
    assert chosen == grid[::-1]
    assert (took > 0).all()
    mixed = [0, 1, 4, 5], [2, 3, 6, 7]
    figures, _, _ = comparison.tuned("at", grid, asked, mixed)
    np.testing.assert_array_equal(figures, [[100.0] * 4] * 4 + [[0.0] * 4] * 4)


def test_the_table_says_how_far_nightreel_is_ahead() -> None:
    asked = questions(12)
    table = comparison.compare(asked, (list(range(6)), list(range(6, 12))), ["whole video"], 1, published=True)
    ours, whole = table["nightreel, scores"]["shipped"], table["whole video"]
    assert whole["tuned"]["mIoU"] == pytest.approx([100 / 6] * 3, abs=0.01)
    assert whole["published"]["mIoU"] == pytest.approx(100 / 6, abs=0.01)
    assert whole["less"]["scores"]["mIoU"][0] == pytest.approx(ours["mIoU"][0] - 100 / 6, abs=0.02)
    assert ours["mIoU"][1] <= ours["mIoU"][0] <= ours["mIoU"][2]
    json.dumps(table)


def test_the_best_rivals_are_those_with_the_best_figures() -> None:
    def row(value: float) -> dict[str, Any]:
        return {"tuned": {name: [value, 0.0, 0.0] for name in comparison.FIGURES}}

    table = {
        "nightreel, scores": {"shipped": {}},
        **{name: row(value) for name, value in zip("abcd", (3, 1, 4, 2), strict=True)},
    }
    assert comparison.best(table) == ["c", "a", "d"]


def test_families_keep_what_is_asked() -> None:
    asked = questions(4)
    for name, change in families.FAMILIES.items():
        for before, after in zip(asked, change(asked), strict=True):
            assert (after.source, after.truth.tolist()) == (before.source, before.truth.tolist()), name
            assert len(after.scores) == len(after.start_s) == len(after.end_s) == len(after.features)
            assert (after.start_s[0], after.end_s[-1]) == (before.start_s[0], before.end_s[-1])
            assert after.query.shape == after.features.shape[1:]
            np.testing.assert_allclose(np.linalg.norm(after.features, axis=1), 1, rtol=1e-5)


def test_projections_keep_scores_roughly() -> None:
    asked = questions(40)
    after = np.concatenate([one.scores for one in families.projected(asked)])
    assert np.corrcoef(np.concatenate([one.scores for one in asked]), after)[0, 1] > 0.5
    assert families.projected(asked)[0].features.shape[1] == 64


def test_whitened_clips_have_equal_directions() -> None:
    asked = questions(40)
    after = np.concatenate([one.features for one in families.whitened(asked)])
    np.testing.assert_allclose(96 * after.T @ after / len(after), np.eye(96), atol=0.15)


def test_frames_are_between_clips() -> None:
    asked = questions(1)[0]
    after = families.frames([asked], feature_noise=0.0, score_noise=0.0)[0]
    assert np.diff(after.start_s).tolist() == [1.0] * 59
    # The second from 5 s has its middle at 5.5 s: three quarters of the clip around 5 s, a quarter of that around 7 s.
    np.testing.assert_allclose(
        after.features[5], families.unit(0.75 * asked.features[2] + 0.25 * asked.features[3]), atol=1e-6
    )
    noisy = families.frames([asked])[0]
    assert 0.7 < np.mean((noisy.features * after.features).sum(1)) < 0.98


def test_noise_lasts() -> None:
    noise = families.lasting(np.random.default_rng(0), (20_000, 2), 0.8)
    np.testing.assert_allclose(noise.std(0), 1, atol=0.05)
    assert np.corrcoef(noise[3:, 0], noise[:-3, 0])[0, 1] == pytest.approx(0.8**3, abs=0.04)


def test_steep_scores_keep_their_order() -> None:
    asked = questions(1)
    after = families.steep(asked)[0].scores
    assert (np.argsort(after) == np.argsort(asked[0].scores)).all()
    assert after[0] == pytest.approx(np.exp(8 * asked[0].scores[0]))


def test_quick_prints_one_object(
    shared_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "ground_rivals.py",
        "--data",
        str(shared_data / "qvh"),
        "--quick",
        "--methods",
        "Ruzzo-Tompa",
        "whole video",
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    comparison.main()
    told = json.loads(capsys.readouterr().out)["minutes"]["2.5"]
    assert told["queries"] == 251
    assert told["methods"]["Ruzzo-Tompa"]["tuned"]["mAP"][0] > told["methods"]["whole video"]["tuned"]["mAP"][0] + 10
