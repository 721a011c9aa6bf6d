"""The direction benchmark's films: order is the only thing that tells a motion from its reverse."""

import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module", autouse=True)
def _benchmarks() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))


def test_a_reverse_path_is_the_path_run_backwards() -> None:
    from _direction_films import MOTIONS, draw_paths

    for motion in range(0, len(MOTIONS), 2):
        there = draw_paths([motion] * 5, 8, np.random.default_rng(1))
        back = draw_paths([motion + 1] * 5, 8, np.random.default_rng(1))
        np.testing.assert_allclose(there, back[:, ::-1], atol=1e-6)
        assert np.ptp(there, axis=1)[:, motion // 2].min() > 0.1


def test_what_is_held_out_was_never_seen_but_each_of_its_parts_was() -> None:
    from _direction_films import ALL, held_out

    for turn in range(4):
        held = held_out(turn)
        out = [c for c, is_out in zip(ALL, held, strict=True) if is_out]
        seen = [c for c, is_out in zip(ALL, held, strict=True) if not is_out]
        assert {c.reverse for c in out} == set(out)
        assert 0.2 < len(out) / len(ALL) < 0.3
        for part in (lambda c: c[:2], lambda c: c[1:], lambda c: (c[0], c[2])):
            assert {part(c) for c in out} <= {part(c) for c in seen}


def test_pictures_show_the_shape_in_its_colour() -> None:
    from _direction_films import COLOURS, Combination, draw_films

    red = draw_films([Combination(0, 0, 0)], 6, 32, np.random.default_rng(0))
    assert red.shape == (1, 6, 32, 32, 3)
    most = red[0, 3].reshape(-1, 3)[red[0, 3].reshape(-1, 3)[:, 0].argmax()]
    np.testing.assert_allclose(most, next(iter(COLOURS.values())), atol=8)
