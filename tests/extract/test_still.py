"""`--skip-still`: what counts as nothing moved, worked out by hand, and that it changes no time and hardly a vector."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import decode_films as films
import numpy as np
import pytest
from nightreel.extract.decode.base import DecodedFrame
from nightreel.extract.engine import Plan
from nightreel.extract.errors import FingerprintMismatch
from nightreel.extract.geometry import Geometry
from nightreel.extract.run import Settings, extract
from nightreel.extract.sample import Grid
from nightreel.extract.store import Store
from nightreel.extract.verify import verify
from nightreel.extract.workers.arena import Arena, arena_bytes, create_memory
from nightreel.extract.workers.child import Child
from nightreel.extract.workers.messages import NO_SLOT, Lane, Sampled, Setup
from nightreel.extract.workers.still import BLOCK_PX, CHECK_EVERY, LEVELS, is_still, largest_change

MakeFilm = Callable[..., Path]


def grey(height_px: int, width_px: int, value: int = 100) -> np.ndarray:
    return np.full((height_px, width_px, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("size_px", "changed", "by", "expected"),
    [
        ((32, 32), (slice(None), slice(None)), 7, 7.0),
        ((32, 32), (slice(16, 32), slice(0, 16)), 40, 40.0),  # one block of four
        ((32, 32), (slice(8, 24), slice(8, 24)), 40, 10.0),  # a quarter of each of four blocks
        ((32, 32), (5, 5), 128, 0.5),  # one pixel of 256
        ((20, 35), (slice(16, 20), slice(32, 35)), 9, 9.0),  # the corner's block is 4 x 3 pixels
        ((20, 35), (slice(18, 20), slice(32, 35)), 9, 4.5),  # half of it
        ((20, 35), (slice(0, 8), slice(0, 16)), 9, 4.5),
        ((16, 17), (slice(0, 16), 16), 30, 30.0),  # a last column of its own
        ((17, 16), (16, slice(0, 16)), 30, 30.0),
        ((3, 5), (slice(None), slice(None)), 2, 2.0),  # smaller than a block
        ((1, 1), (0, 0), 155, 155.0),
        ((48, 64), (slice(0, 0), slice(0, 0)), 9, 0.0),
    ],
)
def test_the_largest_change(size_px: tuple[int, int], changed: Any, by: int, expected: float) -> None:
    before = grey(*size_px)
    now = before.copy()
    now[changed] += np.uint8(by)
    assert largest_change(before, now) == pytest.approx(expected)
    assert largest_change(now, before) == pytest.approx(expected)  # darker or brighter, all the same
    assert is_still(before, now) == (expected <= LEVELS)


def test_one_channel_counts_a_third() -> None:
    before = grey(16, 16)
    now = before.copy()
    now[..., 2] += 6
    assert largest_change(before, now) == pytest.approx(2.0)


def test_from_black_to_white_does_not_overflow() -> None:
    assert largest_change(grey(40, 40, 0), grey(40, 40, 255)) == 255.0


def test_it_is_the_mean_of_every_block() -> None:
    """Against the plain way to say it."""
    draw = np.random.default_rng(5)
    for height_px, width_px in ((16, 16), (17, 31), (40, 50), (224, 224)):
        before, now = draw.integers(0, 256, (2, height_px, width_px, 3), np.uint8)
        difference = np.abs(before.astype(int) - now)
        blocks = [
            difference[y : y + BLOCK_PX, x : x + BLOCK_PX].mean()
            for y in range(0, height_px, BLOCK_PX)
            for x in range(0, width_px, BLOCK_PX)
        ]
        assert largest_change(before, now) == pytest.approx(max(blocks))


def test_a_small_thing_that_moves_is_seen() -> None:
    before = grey(224, 224)
    now = before.copy()
    now[100:106, 50:56] = 200  # 36 of 50176 pixels
    assert abs(before.astype(int) - now).mean() < 0.1  # a mean over all would not see it
    assert not is_still(before, now)


def test_pictures_of_other_sizes_are_not_the_same() -> None:
    assert not is_still(grey(16, 16), grey(16, 17))


# --- the decoding process --------------------------------------------------------------------------------------


class Told(Child):
    """A decoding process without one: pictures in, what it says kept."""

    def __init__(self, rates: Iterable[float] = (1.0,)) -> None:
        shown = Geometry((16, 16))
        setup = Setup((shown,), tuple(Lane(Grid(rate), 0) for rate in rates), 4, 1 << 30, skip_still=True)
        fd = create_memory(arena_bytes(setup.geometries, setup.slots))
        super().__init__(None, Arena(fd, setup.geometries, setup.slots), setup)  # type: ignore[arg-type]
        self.said: list[Sampled] = []

    def _say(self, event: Any, **states: int) -> None:
        self.said.append(event)
        if event.slot != NO_SLOT:
            self._free.append(event.slot)

    def _slot(self) -> int:
        return self._free.pop()

    def show(self, values: Iterable[int], wanted: int = 1) -> list[tuple[int, int]]:
        """(still, checked) for pictures of these grey values, one a second."""
        before = len(self.said)
        for value in values:
            picture = grey(16, 16, value)
            self._hand_over(DecodedFrame(float(len(self.said)), lambda _, picture=picture: picture), wanted)
        return [(event.still, event.checked) for event in self.said[before:]]


def test_slow_drifts_are_compared_with_what_was_encoded() -> None:
    """One level a second: never more than one from the sample before, but after three more than two from the first."""
    child = Told()
    child._stills = CHECK_EVERY  # so that the first still picture is checked, as in every run
    still = [bool(still and not checked) for still, checked in child.show(range(100, 120))]
    encoded = [100 + i for i, reused in enumerate(still) if not reused]
    assert all(b - a <= 3 for a, b in pairwise(encoded))
    assert 4 <= len(encoded) < 12


def test_one_still_picture_in_sixteen_is_encoded_all_the_same() -> None:
    child = Told()
    found = child.show([100] * (2 * CHECK_EVERY + 2))
    assert found[0] == (0, 0)
    assert [i for i, (_, checked) in enumerate(found) if checked] == [1, 1 + CHECK_EVERY, 1 + 2 * CHECK_EVERY]
    assert all(still == 1 for still, _ in found[1:])
    assert [event.slot == NO_SLOT for event in child.said] == [bool(s and not c) for s, c in found]


def test_every_encoder_has_its_own_last_picture() -> None:
    """The second lane samples less often: what it saw last is older."""
    child = Told((2.0, 1.0))
    assert child.show([100], wanted=0b11) == [(0, 0)]
    assert child.show([150], wanted=0b01) == [(0, 0)]
    child._stills = 1  # none of the next is a check
    assert child.show([100], wanted=0b11) == [(0b10, 0)]
    assert child.show([100], wanted=0b11) == [(0b11, 0)]


# --- end to end --------------------------------------------------------------------------------------------------


def run(videos: Path, archive: Path, **plan: Any) -> dict[str, Any]:
    """The run file."""
    assert extract([str(videos)], archive, ["toy"], Settings(Plan(**plan), workers=1)).failures == []
    assert verify(Store.open(archive)).problems == []
    (file,) = (archive / "runs").glob("*.json")
    value: dict[str, Any] = json.loads(file.read_text())
    return value


def test_times_are_the_same_and_vectors_nearly(tmp_path: Path, make_film: MakeFilm) -> None:
    videos = make_film(tmp_path / "videos" / "a.mp4", [("red", 30.0), ("blue", 12.0), ("red", 3.0)]).parent
    plain, skipped = run(videos, tmp_path / "plain.reel"), run(videos, tmp_path / "skip.reel", skip_still=True)
    one, other = Store.open(tmp_path / "plain.reel"), Store.open(tmp_path / "skip.reel")
    (video_id,) = one.video_ids("toy")
    a, b = one.segments_of("toy", video_id), other.segments_of("toy", video_id)
    for column in ("segment_id", "start_s", "end_s", "time_s"):
        np.testing.assert_array_equal(getattr(a, column), getattr(b, column))
    cosines = np.sum(a.embedding.astype(np.float32) * b.embedding.astype(np.float32), axis=1)
    assert len(cosines) == 45
    assert cosines.min() >= 0.999
    assert (plain["still_reused"], plain["still_checked"]) == (0, 0)
    assert skipped["still_reused"] + skipped["still_checked"] == 45 - 3  # the first of each scene is new
    assert skipped["still_checked"] == 3
    assert 0 <= skipped["still_worst_cosine_distance"] < 1e-3


def test_a_film_that_moves_is_encoded_whole(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    films.solid_film(tmp_path / "videos" / "a.mp4", range(0, 6000, 250))
    assert run(tmp_path / "videos", tmp_path / "a.reel", skip_still=True)["still_reused"] == 0


def test_archives_with_and_without_do_not_mix(tmp_path: Path, make_film: MakeFilm) -> None:
    videos = make_film(tmp_path / "videos" / "a.mp4", [("red", 2.0)]).parent
    run(videos, tmp_path / "a.reel")
    with pytest.raises(FingerprintMismatch, match="sampling: archive has"):
        run(videos, tmp_path / "a.reel", skip_still=True)


def test_the_clock_of_a_still_film_is_not_stopped(tmp_path: Path, make_film: MakeFilm) -> None:
    """Nothing is sent for a still picture but its time; the row is that of a film like others."""
    videos = make_film(tmp_path / "videos" / "a.mp4", [("green", 7.0)]).parent
    run(videos, tmp_path / "a.reel", skip_still=True)
    (row,) = Store.open(tmp_path / "a.reel").videos()
    assert (row.status, row.duration_s, row.variable_fps) == ("done", pytest.approx(7.0), False)
