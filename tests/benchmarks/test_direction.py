"""The direction benchmark: only order tells a motion from its reverse, and what is counted is what the benchmark says."""

import itertools
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from bench import benchmark
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.heads.networks import make_head
from nightreel.extract.heads.tuned import Adapter, Tuned
from nightreel.finetune.training.loss import clamped_, false_negatives, info_nce
from torch.nn.functional import normalize

films = benchmark("_direction_films")
measures = benchmark("_direction_measures")
Combination = films.Combination


@given(st.integers(0, 3))
def test_what_is_held_out_was_seen_in_parts_but_never_whole(turn: int) -> None:
    held = {c for c, out in zip(films.ALL, films.held_out(turn), strict=True) if out}
    trained = set(films.ALL) - held
    assert len(held) == len(films.ALL) // 4
    assert {c.reverse for c in held} == held
    for a, b in itertools.combinations(range(3), 2):
        assert {(c[a], c[b]) for c in held} <= {(c[a], c[b]) for c in trained}


@given(st.integers(0, len(films.MOTIONS) - 1), st.integers(2, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_a_path_run_backwards_is_a_path_of_the_reverse_motion_as_likely(motion: int, frames: int, seed: int) -> None:
    one, other = (films.draw_paths([m] * 4, frames, np.random.default_rng(seed)) for m in (motion, motion ^ 1))
    np.testing.assert_allclose(one[:, ::-1], other, atol=1e-6)
    assert (np.abs(one[..., :2]) <= films.REACH + 1e-6).all()
    assert ((one[..., 2] > films.RADII[0] - 1e-6) & (one[..., 2] < films.RADII[1] + 1e-6)).all()


def test_a_path_goes_where_its_caption_says() -> None:
    paths = films.draw_paths(range(len(films.MOTIONS)), 8, np.random.default_rng(0))
    went = np.sign(np.round(paths[:, -1] - paths[:, 0], 4)).astype(int).tolist()
    assert went == [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
    assert [words.split()[-1] for words in films.MOTIONS] == ["right", "left", "bottom", "top", "big", "small"]


def test_what_stands_still_stands_where_its_caption_says() -> None:
    number = len(films.MOTIONS) + films.STANDS.index("is big and at the bottom left")
    paths = films.draw_paths([number] * 20, 3, np.random.default_rng(0))
    assert (paths == paths[:, :1]).all()
    assert (paths[..., 0] < -films.REACH / 3).all()
    assert (paths[..., 1] > films.REACH / 3).all()
    assert (paths[..., 2] > np.sqrt(np.prod(films.RADII)) - 1e-6).all()


def test_shapes_cover_what_they_should() -> None:
    at = np.array([[[0.0, 0.0, 0.5]]], np.float32)
    area = {shape: films.coverage(at, shape, 64).mean() * 4 for shape in films.SHAPES}  # of a field of 2 x 2
    expected = {"circle": np.pi * 0.25, "bar": 0.4, "pole": 0.4, "cross": 2 * 0.3 - 0.3**2}
    assert area == pytest.approx(expected, rel=0.03)


def test_a_film_shows_its_colour_on_grey_and_its_caption_says_so() -> None:
    red = Combination(list(films.COLOURS).index("red"), films.SHAPES.index("circle"), 0)
    pictures = films.draw_films([red], 4, 32, np.random.default_rng(1))[0]
    colours = Counter(map(tuple, pictures.reshape(-1, 3).tolist())).most_common(2)
    (ground, _), (shape, _) = colours
    assert len(set(ground)) == 1
    assert shape == films.COLOURS["red"]
    assert red.caption() == "a red circle moves from left to right"
    assert red.reverse.caption(1) == "the red circle moves from right to left"


def test_films_are_files_of_the_right_length(tmp_path: Path) -> None:
    paths = films.write_films(tmp_path, films.ALL[:2], np.random.default_rng(0), seconds=2, fps=4, size_px=64)
    assert [path.name for path in paths] == ["0000.mp4", "0001.mp4"]
    with av.open(str(paths[1])) as container:
        shown = [(float(frame.time), frame.width) for frame in container.decode(video=0)]
    assert shown == [(i / 4, 64) for i in range(8)]


def test_hits_by_hand() -> None:
    # Two motions; a film's only feature is its first frame: 0 where it begins left, 1 where right.
    of = [films.ALL[0], films.ALL[0].reverse]
    frames = torch.tensor([[[0.0], [1.0]], [[1.0], [0.0]]])
    text = torch.zeros(len(films.ALL), 2)
    text[0], text[1] = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])

    def video(seen: torch.Tensor) -> torch.Tensor:
        return torch.cat([1 - seen[:, 0], seen[:, 0]], dim=1)

    hits = measures.measured(video, frames, text, of, 0)
    for view in ("as filmed", "reversed"):
        assert hits[f"{view}, direction"].tolist() == [1, 1]
        assert hits[f"{view}, R@1"].tolist() == [1, 1]
    text[1] = text[0]  # captions alike: a tie is no hit
    tied = measures.measured(video, frames, text, of, 0)
    assert not any(values.any() for values in tied.values())


def test_only_heads_that_see_order_tell_the_direction_of_held_out_combinations() -> None:
    """As the benchmark on stored features, in seconds: towers that know colour, shape, place and size without training."""
    seen = {kind: direction_of(kind) for kind in ("mean", "transformer")}
    assert 35 < seen["mean"]["as filmed, direction"] < 65
    assert seen["mean"]["as filmed, direction"] == pytest.approx(100 - seen["mean"]["reversed, direction"], abs=1)
    assert seen["transformer"]["as filmed, direction"] > 90
    assert seen["transformer"]["reversed, direction"] > 90
    assert 35 < seen["transformer"]["shuffled, direction"] < 65


def direction_of(kind: str, steps: int = 200, frames: int = 6, dim: int = 32) -> dict[str, float]:
    """Percent of hits of a head after training with InfoNCE on combinations that are not held out."""
    torch.manual_seed(0)
    known = torch.randn(4 + 4 + 3, dim)
    words = torch.randn(4 + 4 + len(films.MOTIONS), dim)
    rng = np.random.default_rng(0)
    places = {c: place for place, c in enumerate(films.ALL)}

    def features(of: list[Combination]) -> torch.Tensor:
        paths = torch.from_numpy(films.draw_paths([c.motion for c in of], frames, rng) * films.FRAME_FACTS)
        what = torch.eye(4)[[[c.colour, c.shape] for c in of]].flatten(1)[:, None].expand(-1, frames, -1)
        return normalize(torch.cat([what, paths], dim=2) @ known, dim=-1)

    text = normalize(words[[[c.colour, 4 + c.shape, 8 + c.motion] for c in films.ALL]].sum(1), dim=-1)
    held = films.held_out(0)
    trained = [c for c, out in zip(films.ALL, held, strict=True) if not out]
    tuned = Tuned(make_head(kind, dim, max_frames=frames, layers=1), Adapter(dim))
    optimizer = torch.optim.AdamW(tuned.parameters(), 3e-3)
    for _ in range(steps):
        of = [trained[i] for i in rng.integers(0, len(trained), 96)]
        at = torch.tensor([places[c] for c in of])
        video = tuned.video(features(of), torch.ones(len(of), frames, dtype=torch.bool))
        loss = info_nce(video, tuned.text(text[at]), tuned.head.factor, false=false_negatives(at))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        clamped_(tuned.head.logit_scale)
    tested = [c for c, out in zip(films.ALL, held, strict=True) if out] * 10
    with torch.no_grad():
        hits = measures.measured(
            lambda x: tuned.video(x, torch.ones(x.shape[:2], dtype=torch.bool)),
            features(tested),
            tuned.text(text),
            tested,
            0,
        )
    return {name: 100 * float(values.mean()) for name, values in hits.items()}
