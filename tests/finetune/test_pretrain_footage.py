"""The pictures of pre-training: the ones shown at each stride, decoded once, and broken videos that cost only themselves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nightreel.evaluate.splits import source_of
from nightreel.extract.errors import UsageError
from nightreel.extract.geometry import Geometry
from nightreel.finetune.pretraining.films import Film, films_of, held_out, shuffled
from nightreel.finetune.pretraining.footage import PICTURES, Footage, decode_footage, points_of, read_footage

GEOMETRY = Geometry((16, 16))
KEY = {"seed": 0}


def decode(folder: Path, films: list[Film], **how: Any) -> Footage:
    settings = {"frames": 4, "held": 1, "held_points": 4, "limit_bytes": 10**9, "workers": 1, **how}
    return decode_footage(folder, KEY, films, GEOMETRY, 0.5, **settings)


def colours_of(clips: np.ndarray) -> list[str]:
    """The strongest channel of each picture of (B, T, H, W, 3), one letter each."""
    return ["".join("rgb"[int(picture.mean(axis=(0, 1)).argmax())] for picture in clip) for clip in clips]


def test_every_window_of_four_pictures_and_what_is_broken_costs_itself(tmp_path: Path, make_film: Any) -> None:
    held = make_film(tmp_path / "held.mp4", [("blue", 4.0), ("red", 4.0)])
    film = make_film(tmp_path / "a.mp4", [("red", 1.0), ("green", 1.0), ("blue", 1.0)])
    short = make_film(tmp_path / "short.mp4", [("green", 0.5), ("red", 0.5)])
    broken, cut = tmp_path / "broken.mp4", tmp_path / "cut.mp4"
    broken.write_bytes(b"no film at all" * 100)
    cut.write_bytes(film.read_bytes()[:300])
    films = [Film(path.stem, str(path)) for path in (held, broken, film, cut, short)]
    footage = decode(tmp_path / "run", films, faults={"/gone.mp4": "the file is gone"})
    assert [len(rows) for rows in footage.rows] == [4, 0, 6, 0, 2], "of the held-out film no more than was asked for"
    windows = footage.windows([2, 4])
    assert windows.tolist() == [[2, 0], [2, 1], [2, 2], [4, 0]]
    assert colours_of(footage.clips(windows)) == ["rrgg", "rggb", "ggbb", "grrr"], "the short one repeats its last"
    assert set(footage.faults) == {"/gone.mp4", str(broken), str(cut)}
    assert "no picture came out" in footage.faults[str(broken)]
    again = read_footage(tmp_path / "run", KEY)
    assert again is not None
    assert np.array_equal(again.clips(windows), footage.clips(windows))
    assert (again.films, again.held, again.faults) == (footage.films, 1, footage.faults)
    assert read_footage(tmp_path / "run", {"seed": 1}) is None, "another run's"
    with (tmp_path / "run" / PICTURES).open("ab") as file:
        file.write(b"x")
    assert read_footage(tmp_path / "run", KEY) is None, "not as it was written"


def test_a_full_cache_ends_it_and_says_what_is_left_out(tmp_path: Path, make_film: Any) -> None:
    films = [Film(str(i), str(make_film(tmp_path / f"{i}.mp4", [("red", 2.0)]))) for i in range(3)]
    footage = decode(tmp_path / "run", films, held=0, limit_bytes=6 * GEOMETRY.nbytes)
    assert len(footage.pictures) == 6
    assert [len(rows) for rows in footage.rows] == [4, 2, 0]
    assert footage.faults[films[1].path].endswith("--cache is full")
    assert footage.faults[films[2].path] == "left out: --cache is full"


def test_nothing_at_all_is_an_error_with_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no video can be used:\n  .*nothing.mp4: no picture came out"):
        decode(tmp_path / "run", [Film("a", str(tmp_path / "nothing.mp4"))])


def test_points_by_hand() -> None:
    assert points_of([0.0, 1.0, 3.0], [5, 6, 7], 0.5, 16).tolist() == [5, 5, 6, 6, 6, 6, 7]
    assert points_of([0.0, 1.0, 3.0], [5, 6, 7], 0.5, 2).tolist() == [5, 5, 6, 6, 7], "a still of two pictures at most"
    assert points_of([0.04, 0.48], [0, 1], 0.5, 16).tolist() == [0, 1], "what is shown at 0.5 s began before"
    assert points_of([0.0, 1e9], [0, 1], 0.5, 16).tolist() == [0] * 16 + [1], "a header may claim years"
    assert points_of([], [], 0.5, 16).tolist() == []


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_points_show_what_a_player_shows(steps: list[int], frames: int) -> None:
    times_s = (np.cumsum([0, *steps]) / 4.0).tolist()  # on a grid of quarters, sampled every half second or less
    want: list[int] = []
    for k in range(int(times_s[-1] / 0.5) + 1):
        shown = max(i for i, time_s in enumerate(times_s) if time_s <= k * 0.5)
        if want.count(shown) < frames:
            want.append(shown)
    # What ends between two points is shown once more: it is the video's last.
    if want[-1] != len(times_s) - 1:
        want.append(len(times_s) - 1)
    assert points_of(times_s, list(range(len(times_s))), 0.5, frames).tolist() == want


def test_only_what_is_there_as_it_was(make_archive: Any, tmp_path: Path) -> None:
    archive = make_archive()
    names = ("same.mp4", "changed.mp4", "gone.mp4", "failed.mp4")
    for name in names:
        path = tmp_path / name
        path.write_bytes(b"x" * 100)
        facts = {"path": str(path), "size_bytes": 100, "mtime": path.stat().st_mtime, "decoder": "pyav, all: odd"}
        failed = {"status": "failed", "error_kind": "unreadable"} if name == "failed.mp4" else {}
        archive.add(name, ["red"] * 2, **facts, **failed)
    (tmp_path / "changed.mp4").write_bytes(b"y" * 101)
    (tmp_path / "gone.mp4").unlink()
    films, skipped = films_of(archive.store)
    assert [(Path(film.path).name, film.backend, film.decode_all) for film in films] == [("same.mp4", "pyav", True)]
    assert {Path(path).name: why[:12] for path, why in skipped.items()} == {
        "changed.mp4": "the file has",
        "gone.mp4": "the file is ",
        "failed.mp4": "extract coul",
    }


@given(st.sets(st.integers(0, 10_000), min_size=2, max_size=40), st.integers(0, 5), st.floats(0.02, 0.9))
@example({0, 218}, 0, 0.02)  # both hash to one side, and close to one another
@settings(max_examples=60, deadline=None)
def test_something_is_held_out_and_no_source_is_on_both_sides(numbers: set[int], seed: int, share: float) -> None:
    films = [Film(f"{n}{k}", f"/v/v_Jump_g{n}_c{k}.avi") for n in sorted(numbers) for k in (1, 2)]
    train, held = held_out(films, share, seed)
    assert sorted([*train, *held], key=films.index) == films
    assert train
    assert held
    assert not {source_of(film.path) for film in train} & {source_of(film.path) for film in held}
    assert sorted(shuffled(films, seed), key=films.index) == films


def test_one_source_holds_out_nothing_and_a_share_is_a_share() -> None:
    films = [Film("a", "/v/v_Jump_g1_c1.avi"), Film("b", "/v/v_Jump_g1_c2.avi")]
    assert held_out(films, 0.5, 0) == (films, [])
    for share in (0.0, 1.0, float("nan")):
        with pytest.raises(UsageError, match="--held-out"):
            held_out(films, share, 0)
