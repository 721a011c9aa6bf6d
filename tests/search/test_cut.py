"""Cutting moments out: the right frames, the right sound, whole files or none."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from nightreel.extract.decode.open import open_video
from nightreel.extract.errors import VideoError
from nightreel.search.cut import cut, export
from nightreel.search.search import Hit

MakeFilm = Callable[..., Path]


def colours_of(path: Path) -> list[tuple[float, str]]:
    """(time, strongest channel) of every frame."""
    with open_video(path) as reader:
        return [(frame.time_s, "rgb"[int(frame.rgb().mean((0, 1)).argmax())]) for frame in reader.frames()]


def with_sound(path: Path, seconds: int) -> Path:
    """Grey pictures at 10 fps, and a tone that begins at 2 s."""
    with av.open(str(path), "w") as out:
        video: Any = out.add_stream("libx264", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio: Any = out.add_stream("aac", rate=16_000, layout="mono")
        for _ in range(seconds * 10):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")))
        t = np.arange(seconds * 16_000) / 16_000
        tone = np.where(t >= 2, 0.5 * np.sin(2 * np.pi * 440 * t), 0).astype(np.float32)
        for at in range(0, len(tone), 1024):
            samples = av.AudioFrame.from_ndarray(tone[None, at : at + 1024], format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 16_000, at, Fraction(1, 16_000)
            out.mux(audio.encode(samples))
        out.mux(video.encode())
        out.mux(audio.encode())
    return path


def test_the_frames_of_the_moment_and_no_others(tmp_path: Path, make_film: MakeFilm) -> None:
    film = make_film(tmp_path / "film.mp4", [("red", 3.0), ("green", 2.0), ("blue", 3.0)])
    cut(film, 3.0, 5.0, tmp_path / "out" / "green.mp4")
    frames = colours_of(tmp_path / "out" / "green.mp4")
    assert len(frames) == 20
    assert {colour for _, colour in frames} == {"g"}
    assert [time_s for time_s, _ in frames] == pytest.approx([i / 10 for i in range(20)], abs=1e-3)
    cut(film, 2.5, 3.5, tmp_path / "both.mp4")
    assert "".join(colour for _, colour in colours_of(tmp_path / "both.mp4")) == "rrrrrggggg"


def test_sound_comes_along_in_step(tmp_path: Path) -> None:
    cut(with_sound(tmp_path / "film.mp4", 5), 1.0, 4.0, tmp_path / "cut.mp4")
    with av.open(str(tmp_path / "cut.mp4")) as made:
        loud = np.concatenate([np.abs(frame.to_ndarray()).max(0) for frame in made.decode(audio=0)])
    assert len(loud) / 48_000 == pytest.approx(3.0, abs=0.1)
    assert np.argmax(loud > 0.2) / 48_000 == pytest.approx(1.0, abs=0.1)  # the tone of 2 s, one second in


def test_odd_sizes_and_faults(tmp_path: Path, make_film: MakeFilm) -> None:
    film = make_film(tmp_path / "film.mp4", [("red", 2.0)])
    with pytest.raises(VideoError, match=r"shows nothing from 50\.0"):
        cut(film, 50.0, 60.0, tmp_path / "late.mp4")
    gone = Hit(1, "x", str(tmp_path / "gone.mp4"), 0.0, 1.0, 0.5, None)
    here = Hit(2, "y", str(film), 0.0, 1.0, 0.4, None)
    results = [result for _, result in export([gone, here], tmp_path / "out")]
    assert isinstance(results[0], VideoError)
    assert "no such file" in str(results[0])
    assert results[1] == tmp_path / "out" / "002_film_0.0-1.0.mp4"
    assert sorted(path.name for path in tmp_path.rglob("*.mp4")) == ["002_film_0.0-1.0.mp4", "film.mp4"]
    assert len(colours_of(tmp_path / "out" / "002_film_0.0-1.0.mp4")) == 10


def test_a_single_pixel_and_an_odd_size(tmp_path: Path) -> None:
    from nightreel.search.cut import _even

    assert _even(np.zeros((1, 1, 3), np.uint8)).shape == (2, 2, 3)
    assert _even(np.zeros((5, 8, 3), np.uint8)).shape == (4, 8, 3)
