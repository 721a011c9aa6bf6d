"""Shared memory between the run and a decoding process: what one side writes, the other reads."""

import os
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from nightreel.extract.geometry import Geometry
from nightreel.extract.workers.arena import (
    IDLE,
    WAITING,
    WORKING,
    Arena,
    arena_bytes,
    create_memory,
    slot_bytes,
)

GEOMETRIES = (Geometry((4, 6)), Geometry((3, 3), "squash", "bilinear"))
SLOTS = 3


@pytest.fixture
def fd() -> Iterator[int]:
    memory = create_memory(arena_bytes(GEOMETRIES, SLOTS))
    yield memory
    os.close(memory)


def test_sizes() -> None:
    assert slot_bytes(GEOMETRIES) == 4 * 6 * 3 + 3 * 3 * 3
    assert arena_bytes(GEOMETRIES, SLOTS) == 64 + 3 * 99


def test_every_picture_has_its_own_place(fd: int) -> None:
    ours, theirs = Arena(fd, GEOMETRIES, SLOTS), Arena(fd, GEOMETRIES, SLOTS)
    value = 1
    for slot in range(SLOTS):
        for geometry in range(2):
            theirs.picture(slot, geometry)[:] = value
            value += 1
    theirs.beat(7)
    theirs.state = WAITING
    found = [int(ours.picture(s, g).max()) for s in range(SLOTS) for g in range(2)]
    assert found == [int(ours.picture(s, g).min()) for s in range(SLOTS) for g in range(2)] == [1, 2, 3, 4, 5, 6]
    assert [ours.picture(0, g).shape for g in range(2)] == [(4, 6, 3), (3, 3, 3)]
    assert (ours.beats, ours.frames, ours.state) == (1, 7, WAITING)


def test_the_header(fd: int) -> None:
    ours, theirs = Arena(fd, GEOMETRIES, SLOTS), Arena(fd, GEOMETRIES, SLOTS)
    assert (ours.beats, ours.frames, ours.state) == (0, 0, IDLE)
    for count in range(5):
        theirs.beat(count)
    theirs.state = WORKING
    assert (ours.beats, ours.frames, ours.state) == (5, 4, WORKING)


@pytest.mark.parametrize(("slot", "geometry"), [(-1, 0), (SLOTS, 0), (0, -1), (0, 2), (1 << 60, 0)])
def test_there_is_no_other_place(fd: int, slot: int, geometry: int) -> None:
    with pytest.raises(ValueError, match=f"slot {slot}, geometry {geometry}"):
        Arena(fd, GEOMETRIES, SLOTS).picture(slot, geometry)


def test_a_header_of_nonsense_is_numbers_that_a_table_holds(fd: int) -> None:
    os.pwrite(fd, b"\xff" * 64, 0)
    arena = Arena(fd, GEOMETRIES, SLOTS)
    assert arena.frames == (1 << 63) - 1
    assert arena.state not in (IDLE, WORKING, WAITING)
    assert arena.beats == (1 << 64) - 1


def test_pictures_outlive_the_arena(fd: int) -> None:
    """A process that is replaced gets a new arena; what still refers to the old one must not crash."""
    arena = Arena(fd, GEOMETRIES, SLOTS)
    picture = arena.picture(1, 1)
    picture[:] = 9
    del arena
    np.testing.assert_array_equal(picture, 9)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has memory that can be sealed")
def test_it_cannot_be_made_smaller(fd: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)


def test_it_has_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]) -> None:
    """Also where there is no `memfd_create`: nobody has to clean up after a run that was killed."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory = create_memory(1000)
    try:
        assert os.fstat(memory).st_size == 1000
        assert os.listdir(tmp_path) == []
    finally:
        os.close(memory)
