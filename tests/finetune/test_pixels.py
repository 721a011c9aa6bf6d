"""Pictures of pairs, decoded once: the right ones, kept, made anew when something changed, and missing with a reason."""

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nightreel.extract.errors import Refused
from nightreel.extract.geometry import Geometry
from nightreel.extract.sample import Grid
from nightreel.finetune import pixels as module
from nightreel.finetune.pixels import Film, Pixels, cached_pixels, used

GEOMETRY = Geometry((16, 16))
SCENES = [("red", 2.0), ("green", 2.0), ("blue", 2.0)]


def film(path: Path, places: list[int], **how: Any) -> Film:
    """At 1 fps, frame k begins at k seconds."""
    return Film(str(path), np.array(places), np.array(places, np.float64), **how)


def cached(folder: Path, films: dict[str, Film], geometry: Geometry = GEOMETRY) -> Pixels:
    return cached_pixels(folder, films, geometry, Grid(1.0), "exact", workers=1)


def colour_of(pixels: Pixels, video_id: str, places: list[int]) -> list[str]:
    """The strongest channel of each."""
    rows = pixels.rows(video_id, np.array(places))
    assert (rows >= 0).all()
    return [("red", "green", "blue")[int(np.argmax(pixels.frames[row].mean(axis=(0, 1))))] for row in rows]


def test_the_right_pictures_once_and_kept(tmp_path: Path, make_film: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    films = {
        "a": film(make_film(tmp_path / "a.mp4", SCENES), [0, 3, 5]),
        "b": film(make_film(tmp_path / "b.mp4", SCENES[::-1]), [1, 2]),
    }
    pixels = cached(tmp_path / "cache", films)
    assert pixels.frames.shape == (5, 16, 16, 3)
    assert colour_of(pixels, "a", [0, 3, 5]) == ["red", "green", "blue"]
    assert colour_of(pixels, "b", [2, 1]) == ["green", "blue"]
    assert pixels.rows("a", np.array([1, 4, 9])).tolist() == [-1, -1, -1]  # never asked for
    assert pixels.rows("c", np.array([0])).tolist() == [-1]
    assert not pixels.faults

    def no_pool(*_: Any) -> None:
        raise AssertionError("decoded again")

    with monkeypatch.context() as patch:
        patch.setattr(module, "Pool", no_pool)
        again = cached(tmp_path / "cache", films)
        assert np.array_equal(again.frames, pixels.frames)
        assert colour_of(again, "b", [1]) == ["blue"]
        # Another size, another time, or a cache that was not finished: that is not what is there.
        for change in ("size", "place", "unfinished"):
            shutil.copytree(tmp_path / "cache", tmp_path / change)
            geometry = Geometry((8, 8)) if change == "size" else GEOMETRY
            other = films | ({"b": film(tmp_path / "b.mp4", [1, 3])} if change == "place" else {})
            if change == "unfinished":
                (tmp_path / change / module.FACTS).unlink()
            with pytest.raises(AssertionError, match="decoded again"):
                cached(tmp_path / change, other, geometry)


def test_films_that_are_gone_or_shorter_say_so(tmp_path: Path, make_film: Any) -> None:
    films = {
        "gone": film(tmp_path / "gone.mp4", [0, 1]),
        "short": film(make_film(tmp_path / "short.mp4", [("red", 2.0)]), [0, 1, 5]),
        "fine": film(make_film(tmp_path / "fine.mp4", SCENES), [4], decode_all=True),
    }
    pixels = cached(tmp_path / "cache", films)
    assert set(pixels.faults) == {"gone", "short"}
    assert "2 of 2 pictures are missing" in pixels.faults["gone"]
    assert pixels.faults["short"] == (
        "1 of 3 pictures are missing: the file has other frames than when its features were made"
    )
    assert pixels.rows("gone", np.array([0, 1])).tolist() == [-1, -1]
    assert (pixels.rows("short", np.array([0, 1, 5])) >= 0).tolist() == [True, True, False]
    assert colour_of(pixels, "fine", [4]) == ["blue"]
    kept = cached(tmp_path / "cache", films)
    assert (kept.faults, kept.there.tolist()) == (pixels.faults, pixels.there.tolist())


def test_further_processes_wait_for_the_first(tmp_path: Path, make_film: Any) -> None:
    films = {"a": film(make_film(tmp_path / "a.mp4", SCENES), [0, 3, 5])}
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / module.FACTS).write_text('{"key": "of other films"}')
    with ThreadPoolExecutor(1) as others:
        waits = others.submit(
            cached_pixels, tmp_path / "cache", films, GEOMETRY, Grid(1.0), "exact", workers=1, decodes=False
        )
        time.sleep(0.2)
        assert not waits.done()
        cached(tmp_path / "cache", films)
        assert colour_of(waits.result(timeout=20), "a", [0, 3, 5]) == ["red", "green", "blue"]


def test_a_full_disk_is_said_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(Refused, match="fewer frames"):
        cached(tmp_path / "cache", {"a": film(tmp_path / "a.mp4", [0, 1])})


def test_used_frames_of_several_pairs() -> None:
    assert used([np.array([3, 5]), np.array([1, 3])]).tolist() == [1, 3, 5]
    assert used([]).tolist() == []
