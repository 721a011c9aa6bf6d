"""The rival grounding methods: what all of them promise, and each against its description, by hand or by a slow reference."""

import importlib
import inspect
import sys
from itertools import combinations, product
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.search.moment import suppress, temporal_iou
from nightreel.search.proposals import maximal_segments

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def benchmark(name: str) -> ModuleType:
    """A module of benchmarks/, which is on no path: scripts there import one another as neighbours."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


METHODS: dict[str, ModuleType] = benchmark("rivals").METHODS
on_track = benchmark("rivals._track")
families = benchmark("rivals._families")


def film(step_s: float, seed: int = 0) -> tuple[np.ndarray, ...]:
    """150 s with another picture in each of 0-40, 40-70, 70-110, 110-150 s; the sentence fits the second. Scores, start, end,
    features, query."""
    rng = np.random.default_rng(seed)
    pictures = np.eye(8)[:4]
    start = np.arange(0, 150, step_s)
    shot = np.searchsorted([40.0, 70.0, 110.0], start, side="right")
    features = families.unit(pictures[shot] + 0.1 * rng.standard_normal((len(start), 8)))
    query = families.unit(np.array([0.1, 1, 0.2, 0.1, 0.3, 0, 0, 0]))
    return features @ query, start, start + step_s, features, query


def propose(name: str, *given: Any, **setting: Any) -> np.ndarray:
    return METHODS[name].propose(*given, **setting)


def spans(
    name: str, scores: list[float] | np.ndarray, step_s: float = 1.0, **setting: Any
) -> list[tuple[float, float]]:
    """What a method that needs no features finds in samples of `step_s`."""
    start = np.arange(len(scores)) * step_s
    return [(a, b) for a, b, _ in propose(name, scores, start, start + step_s, **setting)]


def test_every_file_is_a_method() -> None:
    files = {path.stem for path in (BENCHMARKS / "rivals").glob("[!_]*.py")}
    assert files == {method.__name__.rsplit(".", 1)[1] for method in METHODS.values()}


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_parameters_and_no_grid_is_out_of_proportion(name: str) -> None:
    method = METHODS[name]
    known = {
        key for key, value in inspect.signature(method.propose).parameters.items() if value.kind == value.KEYWORD_ONLY
    }
    assert all(set(setting) <= known for setting in [method.PUBLISHED, *method.GRID])
    assert len({tuple(sorted(setting.items(), key=str)) for setting in method.GRID}) == len(method.GRID)
    assert len(method.GRID) == 1 if name == "whole video" else 8 <= len(method.GRID) <= 72


@pytest.mark.parametrize(("name", "step_s"), list(product(METHODS, (0.5, 1.0, 2.0))))
def test_a_plain_moment_is_found_at_any_step(name: str, step_s: float) -> None:
    """Published settings. Ten hits are few at a fine step, and the plateau's edges meet no window of some."""
    found = propose(name, *film(step_s), **METHODS[name].PUBLISHED)
    best = temporal_iou(found[:, :2], [(40.0, 70.0)]).max()
    assert best >= {"whole video": 0.2, "merged hits": 0.15}.get(name, 0.4)


@pytest.mark.parametrize("name", METHODS)
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_what_all_promise(name: str, data: st.DataObject) -> None:
    method, count = METHODS[name], data.draw(st.integers(1, 40))
    values = data.draw(
        st.lists(st.sampled_from((-1.0, 0.0, 0.1, 0.15, 0.3, 0.31, 2.0)), min_size=count, max_size=count)
    )
    step_s = data.draw(st.sampled_from((0.5, 2.0, 5.0)))
    setting = data.draw(st.sampled_from([method.PUBLISHED, *method.GRID]))
    start = 3.0 + np.arange(count) * step_s
    features = np.random.default_rng(count).standard_normal((count, 6)).astype(np.float32)
    found = propose(name, values, start, start + step_s, features, features[0], **setting)
    assert found.shape[1:] == (3,)
    assert 1 <= len(found) <= 10
    assert (found[:, 0] < found[:, 1]).all()
    assert np.isin(found[:, 0], start).all()
    assert np.isin(found[:, 1], start + step_s).all()
    assert (np.diff(found[:, 2]) <= 0).all()
    again = propose(name, values, start, start + step_s, features, features[0], **setting)
    np.testing.assert_array_equal(found, again)


@pytest.mark.parametrize("name", METHODS)
def test_bad_input_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="T >= 1"):
        propose(name, [0.1, 0.2], [0.0], [1.0], np.ones((2, 2)))
    with pytest.raises(ValueError, match="T >= 1"):
        propose(name, [], [], [], np.ones((0, 2)))
    with pytest.raises(ValueError, match=r"scores\[1\] is not finite"):
        propose(name, [0.1, np.nan], [0.0, 1.0], [1.0, 2.0], np.ones((2, 2)))


@pytest.mark.parametrize("name", ["Diwan shots", "TAG", "DSE-VTG stage"])
def test_features_are_asked_for(name: str) -> None:
    with pytest.raises(ValueError, match="needs features"):
        propose(name, [0.1, 0.2], [0.0, 1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="needs features"):
        propose(name, [0.1, 0.2], [0.0, 1.0], [1.0, 2.0], np.ones((3, 2)))


def test_merged_hits_by_hand() -> None:
    # The hits are samples 1, 2, 5, 8: 1 and 2 are one apart, 5 and 8 three.
    scores = [0, 5, 4, 0, 0, 7, 0, 0, 6, 0]
    assert spans("merged hits", scores, hits=4, gap_s=2.0) == [(5, 6), (8, 9), (1, 3)]
    assert spans("merged hits", scores, hits=4, gap_s=3.0) == [(1, 9)]
    assert spans("merged hits", scores, step_s=2.0, hits=4, gap_s=4.0) == [(10, 12), (16, 18), (2, 6)]


def test_vtg_gpt_by_hand() -> None:
    # In 0 to 1 already. Two are in the bin from .9, two in that from .8: at least three, so .8 it is, and .8 is not above it.
    scores = np.array([0.0, 1.0, 0.85, 0.1, 0.1, 0.1, 0.9, 0.8, 0.2])
    found = propose("VTG-GPT", scores, np.arange(9), np.arange(9) + 1, above_s=3.0, gap_s=2.0)
    np.testing.assert_allclose(found, [(1, 3, 0.5 * 2 / 3 + 0.5 * 0.925), (6, 7, 0.5 / 3 + 0.5 * 0.9)])


def test_tfvtg_windows_by_hand() -> None:
    # Sizes 2 and 4 of eight samples; 0.1 is below the floor, so three are left outside of 2-4: .5 - (.3 + .4 + .3) / 3.
    scores = [0.1, 0.3, 0.5, 0.5, 0.4, 0.1, 0.1, 0.3]
    setting = {"stride_s": 2.0, "floor": 0.2, "dynamic": False}
    found = propose("TFVTG", scores, np.arange(8), np.arange(8) + 1, **setting)
    np.testing.assert_allclose(found[0], (2, 4, 0.5 - 1 / 3))
    slow = {}
    for size, first in product((2, 4), range(8)):
        if first + size <= 8:
            high = [s for s in scores if s > 0.2]
            inside = [s for s in scores[first : first + size] if s > 0.2]
            rest = len(high) - len(inside)
            slow[first, first + size] = sum(inside) / size - (sum(high) - sum(inside)) / max(rest, 1)
    best = sorted(slow.values(), reverse=True)[:10]
    np.testing.assert_allclose(
        propose("TFVTG", scores, np.arange(8), np.arange(8) + 1, **setting, overlap=1.0)[:, 2], best
    )


def test_tfvtg_moves_a_start_back_to_where_the_rise_began() -> None:
    values = np.array([0.3, 0.3, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6])
    began = METHODS["TFVTG"].rise_began(values, np.ones(9, bool), 0.01)
    # Differences are .1 at samples 2, 3, 4; the two samples after them still have a rise among their last three.
    assert began.tolist() == [0, 1, 1, 1, 1, 1, 1, 7, 8]


def test_tag_clusters_hold_together_in_time() -> None:
    one, two = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    values = np.array([one, one, one, two, one, one, two, two, two], np.float32)
    assert len(set(np.flatnonzero(np.diff(METHODS["TAG"].cluster(values, 2, 1))).tolist())) == 3
    assert np.flatnonzero(np.diff(METHODS["TAG"].cluster(values, 2, 3))).tolist() == [5]


def test_p2s_by_hand() -> None:
    # The peak is 1; half of it lies at 3 to 7. The second peak, .4, ends where .2 is not exceeded.
    scores = [0.0, 0.1, 0.3, 0.6, 1.0, 0.9, 0.6, 0.3, 0.1, 0.4, 0.3, 0.2]
    assert spans("P2S", scores, part=0.5, smooth_s=1.0) == [(3, 7), (9, 11)]


def test_ruzzo_tompa_of_the_paper() -> None:
    values = np.array([4, -5, 3, -3, 1, 2, -2, 2, -2, 1, 5], float)
    assert METHODS["Ruzzo-Tompa"].maximal(values).tolist() == [[0, 1], [2, 3], [4, 11]]


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=40))
def test_ruzzo_tompa_is_nightreels(values: list[int]) -> None:
    mine = METHODS["Ruzzo-Tompa"].maximal(np.array(values, float))
    theirs = maximal_segments(np.array(values, float))
    assert mine.tolist() == theirs.tolist()


@given(st.lists(st.floats(-1, 1, width=16), min_size=2, max_size=30))
def test_components_are_the_runs_above_levels(values: list[float]) -> None:
    curve, slow = np.array(values), set()
    for level in range(5):
        above = curve >= curve.min() + np.ptp(curve) * (level + 0.5) / 5
        slow |= {tuple(pair) for pair in on_track.runs(above).tolist()}
    assert {tuple(pair) for pair in METHODS["level sets, excess mass"].components(curve, 5).tolist()} == slow


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=30),
    st.sampled_from((0.0, 0.3, 0.5, 1.0)),
)
def test_suppression_is_nightreels(pairs: list[tuple[int, int]], overlap: float) -> None:
    spans = np.array([(a, a + b) for a, b in pairs], float)
    assert on_track.apart(spans, overlap) == suppress(spans, -np.arange(len(spans)), overlap, 10).tolist()


def test_excess_mass_by_hand() -> None:
    # Two levels of deviation 1: z is -1 and 1. The hill: 4 s of 1 - .5 each, by 4 ** .5.
    scores = np.array([0, 0, 1, 1, 0, 0, 1, 1], float)
    found = propose(
        "level sets, excess mass",
        scores,
        np.arange(8) * 2.0,
        np.arange(8) * 2.0 + 2,
        background=0.5,
        per_doubling=0.0,
        power=0.5,
        sigma_s=0.0,
    )
    np.testing.assert_allclose(found, [(4, 8, 1.0), (12, 16, 1.0)])
    longer = propose(
        "level sets, excess mass",
        scores,
        np.arange(8) * 37.5,
        np.arange(8) * 37.5 + 37.5,
        background=0.5,
        per_doubling=0.3,
        power=0.5,
        sigma_s=0.0,
    )  # 300 s: one doubling
    np.testing.assert_allclose(longer[0, 2], 75 * (1 - 0.8) / 75**0.5)


def test_all_pairs_are_all() -> None:
    scores = np.random.default_rng(0).standard_normal(12)
    z = (scores - scores.mean()) / scores.std()
    slow = [
        (z[a:b].mean() - np.delete(z, slice(a, b)).mean()) * (b - a) ** 0.4
        for a, b in combinations(range(13), 2)
        if b - a <= 5
    ]
    found = propose("all pairs", scores, np.arange(12), np.arange(12) + 1, power=0.4, longest_s=5.0, overlap=1.0)
    np.testing.assert_allclose(found[:, 2], sorted(slow, reverse=True)[:10])


def test_trial_puts_the_best_segment_before_the_list() -> None:
    given = film(2.0)[:3]
    found = propose("trial", *given)
    np.testing.assert_array_equal(found[0, :2], propose("Ruzzo-Tompa", *given)[0, :2])
    rest = propose("level sets, excess mass", *given)
    assert {tuple(row) for row in found[1:]} <= {tuple(row) for row in rest}


def test_diwan_joins_neighbours_that_both_fit() -> None:
    _, start, end, features, _ = film(2.0)
    middle = families.unit(np.array([0, 1.0, 1.0, 0, 0, 0, 0, 0]))
    setting = {"window_s": 4.0, "deviations": 1.0}
    one = propose("Diwan shots", features @ middle, start, end, features, **setting, level=1.1)
    assert {(40.0, 70.0), (70.0, 110.0)} <= {tuple(row[:2]) for row in one}
    assert tuple(propose("Diwan shots", features @ middle, start, end, features, **setting, level=0.7)[0, :2]) == (
        40.0,
        110.0,
    )


def test_power_transform_is_the_likeliest() -> None:
    from scipy.stats import boxcox, boxcox_normmax

    values = np.random.default_rng(0).lognormal(0, 0.7, 200)
    mine, theirs = on_track.box_cox(values), boxcox(values, boxcox_normmax(values, method="mle"))
    np.testing.assert_allclose(on_track.standardised(mine), on_track.standardised(theirs), atol=1e-3)
    assert (np.argsort(on_track.box_cox(values - 1)) == np.argsort(values)).all()  # not all positive


def test_pairs_between_points() -> None:
    assert on_track.between(np.array([0, 2, 3, 7]), 4).tolist() == [[0, 2], [2, 3], [3, 7], [0, 3]]
