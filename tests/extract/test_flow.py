"""What flow fields say: worked examples, and what must not matter or must."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nightreel.extract.encoders import flow

HEIGHT, WIDTH = 32, 48


pytestmark = pytest.mark.usefixtures("one_thread")


def steady(right: float, down: float, pairs: int = 4, size: tuple[int, int] = (HEIGHT, WIDTH)) -> torch.Tensor:
    """(1, P, 2, H, W): everything goes so many pixels in each pair."""
    return torch.tensor([right, down]).view(1, 1, 2, 1, 1).expand(1, pairs, 2, *size)


def gaps(*seconds: float) -> torch.Tensor:
    return torch.tensor([seconds])


def source(height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    return torch.tensor([[height, width]])


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a * b).sum())


@pytest.mark.parametrize("scale", [1, 2, 5, 2.5])
def test_five_pixels_in_a_tenth_of_a_second_are_fifty_times_the_scale(scale: float) -> None:
    """A picture of 216x384 of a source `scale` times as large; 8 pairs 0.1 s apart, all of it 5 px to the right."""
    found = flow.motion_px(
        steady(5, 0, 8, (216, 384)), gaps(*[0.1] * 8), source(round(216 * scale), round(384 * scale))
    )
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx([50 * scale], rel=1e-6)


def test_each_axis_is_scaled_by_its_own() -> None:
    """A 640x480 source squashed to 384x216: x by 5/3, y by 20/9. 3 and 4 px are 5 and 8.89; together 10.2 in 0.1 s."""
    found = flow.motion_px(steady(3, 4, 1, (216, 384)), gaps(0.1), source(480, 640))
    assert found.tolist() == pytest.approx([10 * math.hypot(5, 80 / 9)], rel=1e-6)
    assert flow.motion_px(steady(3, 0, 1, (216, 384)), gaps(0.1), source(480, 640)).tolist() == pytest.approx([50])


def test_speed_is_way_through_time_however_frames_are_spaced() -> None:
    """4 px in 0.04 s, then 8 in 0.08: 100 px/s both times. A repeated frame takes no time, whatever its flow says."""
    field = steady(1, 0, 3) * torch.tensor([4.0, 8.0, 77.0]).view(1, 3, 1, 1, 1)
    assert flow.motion_px(field, gaps(0.04, 0.08, 0), source()).tolist() == pytest.approx([100])


def test_what_takes_no_time_has_no_speed() -> None:
    clips = torch.cat([steady(0, 0), steady(7, 7), steady(7, 7)])
    seconds = torch.tensor([[0.1] * 4, [0.0] * 4, [0.1] * 4])
    both = source().expand(3, 2)
    assert flow.motion_px(clips, seconds, both)[:2].tolist() == [0, 0]
    assert flow.motion_px(clips, seconds, both)[2] > 0
    assert flow.motion_px(clips[:, :0], seconds[:, :0], both).tolist() == [0, 0, 0]
    assert flow.motion_px(clips[:0], seconds[:0], both[:0]).shape == (0,)
    assert flow.descriptor(clips[:0], seconds[:0], both[:0]).shape == (0, flow.DIM)


@pytest.mark.parametrize(
    ("speed", "expected"),
    [
        ((0, 0), {8: 1}),
        ((0.05, 0), {0: 0.5, 8: 0.5}),
        ((0, 0.05), {2: 0.5, 8: 0.5}),  # down
        ((-0.15, 0), {4: 0.75, 8: 0.25}),
        ((0, -0.45), {6: 0.9, 8: 0.1}),
        ((0.05 * math.cos(math.pi / 8), 0.05 * math.sin(math.pi / 8)), {0: 0.25, 1: 0.25, 8: 0.5}),
        ((0.05 * math.cos(math.pi / 16), -0.05 * math.sin(math.pi / 16)), {0: 0.375, 7: 0.125, 8: 0.5}),
    ],
)
def test_a_pixel_has_one_vote_split_by_speed_and_angle(speed: tuple[float, float], expected: dict[int, float]) -> None:
    (found,) = flow.votes(torch.tensor(speed, dtype=torch.float32).view(1, 2, 1, 1)).flatten(1)
    assert found.tolist() == pytest.approx([expected.get(k, 0) for k in range(flow.BINS)], abs=1e-6)


def test_halves_of_the_time_share_what_lies_across_the_middle() -> None:
    thirds = [[2 / 3, 0], [1 / 3, 1 / 3], [0, 2 / 3]]
    np.testing.assert_allclose(flow.in_halves(gaps(0.1, 0.1, 0.1))[0], thirds, atol=1e-6)
    np.testing.assert_allclose(flow.in_halves(gaps(0.5))[0], [[1, 1]])
    np.testing.assert_allclose(flow.in_halves(gaps(0.3, 0, 0.1))[0], [[1, 0.5], [0, 0], [0, 0.5]], atol=1e-6)
    np.testing.assert_array_equal(flow.in_halves(gaps(0, 0)), np.zeros((1, 2, 2)))
    assert flow.in_halves(torch.zeros(3, 0)).shape == (3, 0, 2)


def test_the_descriptor_says_where_and_which_way() -> None:
    """The upper left cell of 16 goes right at 0.05 diagonals a second, the others stand: two bins change, in both halves."""
    field = torch.zeros(1, 2, 2, HEIGHT, WIDTH)
    field[:, :, 0, : HEIGHT // 4, : WIDTH // 4] = 0.05 * math.hypot(HEIGHT, WIDTH) / 10
    found = flow.descriptor(field, gaps(0.1, 0.1), source()).view(2, 4, 4, 9)
    expected = torch.zeros(2, 4, 4, 9)
    expected[..., 8] = 1
    expected[:, 0, 0, 0] = expected[:, 0, 0, 8] = 0.5
    np.testing.assert_allclose(found.square() * 32, expected, atol=1e-5)


def test_a_still_clip_is_a_direction_of_its_own() -> None:
    still = flow.descriptor(steady(0, 0), gaps(*[0.1] * 4), source())
    expected = torch.zeros(2, 4, 4, 9)
    expected[..., 8] = 1 / math.sqrt(32)
    np.testing.assert_allclose(still, expected.view(1, -1), atol=1e-6)
    without_time = flow.descriptor(steady(9, 9), gaps(0, 0, 0, 0), source())
    np.testing.assert_array_equal(without_time, still)
    np.testing.assert_array_equal(flow.descriptor(steady(0, 0, 0), torch.zeros(1, 0), source()), still)
    fast = flow.descriptor(steady(99, 0), gaps(*[0.01] * 4), source())
    assert cosine(still, fast) < 0.05


def test_backwards_and_mirrored_motion_differ() -> None:
    seconds = gaps(*[0.1] * 4)
    right = flow.descriptor(steady(5, 1), seconds, source())
    for other in ((-5, 1), (5, -1), (-5, -1), (1, 5)):  # mirrored, upside down, backwards, turned
        assert cosine(right, flow.descriptor(steady(*other), seconds, source())) < 0.9
    assert cosine(right, right) == pytest.approx(1, abs=1e-5)


def test_the_order_of_motions_counts() -> None:
    """Right and then left is not left and then right, though the same in sum; a clip of both backwards is itself."""
    both = torch.cat([steady(5, 0, 2), steady(-5, 0, 2)], dim=1)
    seconds = gaps(*[0.1] * 4)
    forth, back = (flow.descriptor(field, seconds, source()) for field in (both, both.flip(1)))
    assert cosine(forth, back) < 0.9
    backwards = flow.descriptor(-both.flip(1), seconds, source())  # what reversed frames give
    np.testing.assert_allclose(backwards, forth, atol=1e-6)


def test_resolution_and_frame_rate_do_not_matter() -> None:
    """The same motion of a source twice as large, seen in a picture half as large, in twice as many steps."""
    expected = flow.descriptor(steady(4, -2), gaps(*[0.1] * 4), source(480, 720))
    assert cosine(expected, flow.descriptor(steady(4, -2), gaps(*[0.1] * 4), source(960, 1440))) > 0.99999
    small = steady(2, -1, 4, (HEIGHT // 2, WIDTH // 2))
    assert cosine(expected, flow.descriptor(small, gaps(*[0.1] * 4), source(480, 720))) > 0.99999
    slower = flow.descriptor(steady(2, -1, 8), gaps(*[0.05] * 8), source(480, 720))
    assert cosine(expected, slower) > 0.99999
    assert cosine(expected, flow.descriptor(steady(4, -2), gaps(*[0.2] * 4), source(480, 720))) < 0.999  # half as fast


def test_angles_are_those_on_the_screen() -> None:
    """10 px to the right and 10 down in a square picture of a source twice as wide as high go down by 26.6 degrees."""
    squashed = flow.descriptor(steady(10, 10, 1, (32, 32)), gaps(0.1), source(32, 64))
    plain = flow.descriptor(steady(20, 10, 1, (32, 64)), gaps(0.1), source(32, 64))
    assert cosine(squashed, plain) > 0.99999


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(4, 17), st.integers(4, 17)),
    px=st.sampled_from([0.0, 1e-6, 1.0, 1e4]),
    seconds=st.lists(st.sampled_from([0.0, 1e-4, 0.04, 3.0]), min_size=1, max_size=5),
)
def test_whatever_the_flow_the_descriptor_has_length_one(
    seed: int, size: tuple[int, int], px: float, seconds: list[float]
) -> None:
    random = torch.Generator().manual_seed(seed)
    field = torch.randn(2, len(seconds), 2, *size, generator=random) * px
    both_gaps, both = torch.tensor([seconds, seconds[::-1]]), torch.tensor([[72, 128], [1080, 9]])
    found = flow.descriptor(field, both_gaps, both)
    np.testing.assert_allclose(found.norm(dim=1), 1, atol=1e-4)
    assert bool((found >= 0).all())
    np.testing.assert_allclose(flow.in_halves(both_gaps).sum(dim=1), 1.0 if any(seconds) else 0.0, atol=1e-5)
    speed = flow.motion_px(field, both_gaps, both)
    assert bool(torch.isfinite(speed).all())
    for i in (0, 1):  # alone as in company
        np.testing.assert_allclose(
            flow.descriptor(field[i : i + 1], both_gaps[i : i + 1], both[i : i + 1])[0], found[i], atol=1e-6
        )
